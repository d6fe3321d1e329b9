package torch

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// opt marks an argument that the schema declares optional and that is given.
type opt struct{ v any }

// optional wraps a tensor for an optional argument; nil becomes none.
func optional(t *Tensor) any {
	if t == nil {
		return nil
	}
	return opt{t}
}

type dtypeArg DType

// An operator is a name as C strings.
type operator struct {
	name            string
	cName, cVariant []byte
}

var operators = map[string]*operator{}

// op looks an operator up by "name" or "name.overload" of the aten namespace, or with another before it,
// as in "mkldnn::name".
func op(name string) *operator {
	if o, ok := operators[name]; ok {
		return o
	}
	base, variant := name, ""
	for i := range name {
		if name[i] == '.' {
			base, variant = name[:i], name[i+1:]
			break
		}
	}
	space := "aten::"
	if strings.Contains(base, "::") {
		space = ""
	}
	o := &operator{space + name, cstring(space + base), cstring(variant)}
	operators[name] = o
	return o
}

// stack is the argument stack of the dispatcher: a call consumes the handles in it and leaves its
// results from index 0.
var stack [32]uint64

// call runs an operator with all arguments of its schema and returns its first n results.
func call(name string, n int, args ...any) []*Tensor {
	dispatch(name, args)
	r := make([]*Tensor, n)
	for i := range r {
		r[i] = wrap(uintptr(stack[i]))
	}
	return r
}

// call1 is call for an operator with one result.
func call1(name string, args ...any) *Tensor {
	dispatch(name, args)
	return wrap(uintptr(stack[0]))
}

func dispatch(name string, args []any) {
	inDo(name)
	o := op(name)
	// Handles made for arguments belong to the call; where it cannot take place they would leak.
	for _, a := range args {
		if dead(a) {
			panic(&Error{o.name, describeAll(args), "an argument is nil or was freed"})
		}
	}
	var words [24]uint64 // building an argument may call into libtorch, but never the dispatcher
	for i, a := range args {
		words[i] = word(a)
	}
	copy(stack[:], words[:len(args)])
	r, _, _ := purego.SyscallN(lib.callDispatcher, uintptr(unsafe.Pointer(&o.cName[0])), uintptr(unsafe.Pointer(&o.cVariant[0])),
		uintptr(unsafe.Pointer(&stack[0])), abi)
	check(r, o.name, args...)
}

// inDo catches calls from other threads than the engine's, where there is no scope and perhaps no
// library yet.
func inDo(op string) {
	if len(scopes) == 0 {
		panic("torch: " + op + " called outside Do")
	}
}

// dead reports whether an argument holds a tensor that is not there.
func dead(a any) bool {
	switch a := a.(type) {
	case *Tensor:
		return a == nil || a.h == 0
	case []*Tensor:
		return slices.ContainsFunc(a, func(t *Tensor) bool { return dead(t) })
	case opt:
		return dead(a.v)
	case []any:
		return slices.ContainsFunc(a, dead)
	}
	return false
}

// word turns an argument into its slot on the stack.
func word(a any) uint64 {
	switch a := a.(type) {
	case nil:
		return 0
	case *Tensor:
		return handle(a)
	case int:
		return uint64(a)
	case int64:
		return uint64(a)
	case float64:
		return math.Float64bits(a)
	case bool:
		if a {
			return 1
		}
		return 0
	case dtypeArg:
		return uint64(uint32(engine.codes[a]))
	case string:
		b := cstring(a)
		r, _, _ := purego.SyscallN(lib.newString, uintptr(unsafe.Pointer(&b[0])), uintptr(len(a)), uintptr(unsafe.Pointer(&out[0])))
		check(r, "new_string_handle", a)
		return uint64(out[0])
	case []int64:
		l := newList(len(a))
		for _, v := range a {
			push(l, uint64(v))
		}
		return uint64(l)
	case []*Tensor:
		l := newList(len(a))
		for _, t := range a {
			push(l, handle(t))
		}
		return uint64(l)
	case []any: // a list of optionals
		l := newList(len(a))
		for _, v := range a {
			push(l, word(v))
		}
		return uint64(l)
	case opt:
		return box(word(a.v))
	}
	panic(fmt.Sprintf("torch: no argument of type %T", a))
}

// handle returns a fresh handle on t for a call to consume.
func handle(t *Tensor) uint64 {
	r, _, _ := purego.SyscallN(lib.newTensorHandle, t.handle("new_tensor_handle"), uintptr(unsafe.Pointer(&out[0])))
	check(r, "new_tensor_handle")
	return uint64(out[0])
}

// handle is t's own handle, for calls that leave it alone.
func (t *Tensor) handle(op string) uintptr {
	if dead(t) {
		panic(&Error{op, []string{"none"}, "the tensor is nil or was freed"})
	}
	return t.h
}

func newList(n int) uintptr {
	r, _, _ := purego.SyscallN(lib.newList, uintptr(n), uintptr(unsafe.Pointer(&out[0])))
	check(r, "new_list")
	return out[0]
}

func push(list uintptr, w uint64) {
	r, _, _ := purego.SyscallN(lib.listPushBack, list, uintptr(w))
	check(r, "list_push_back")
}

// box puts a word on libtorch's heap, as optional values are passed.
func box(w uint64) uint64 {
	if lib.newIValue == 0 { // before 2.13 the callee frees a plain malloced word
		p, _, _ := purego.SyscallN(lib.malloc, 8)
		*(*uint64)(pointer(p)) = w
		return uint64(p)
	}
	r, _, _ := purego.SyscallN(lib.newIValue, uintptr(unsafe.Pointer(&out[0])))
	check(r, "new_stable_ivalue")
	*(*uint64)(pointer(out[0])) = w
	return uint64(out[0])
}
