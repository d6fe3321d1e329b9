package torch

import (
	"fmt"
	"math"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// A DType is the type of a tensor's elements.
type DType int

// The element types in use.
const (
	Float DType = iota // 32 bits
	BFloat16
	Half
	Double
	Uint8
	Int32
	Int64
	Bool
	numDTypes
)

func (d DType) cName() string {
	return [...]string{"float32", "bfloat16", "float16", "float64", "uint8", "int32", "int64", "bool"}[d]
}

func (d DType) String() string { return d.cName() }

// Size returns the bytes of one element.
func (d DType) Size() int { return [...]int{4, 2, 2, 8, 1, 4, 8, 1}[d] }

// A Tensor is a handle on a tensor of libtorch. It belongs to the scope it was made in, which frees
// it, unless [Tensor.Keep] took it out.
type Tensor struct {
	h     uintptr
	scope int // index of the owning scope + 1, 0: kept by the caller
	slot  int // position in that scope
}

var (
	scopes [][]*Tensor
	live   int
)

// Live returns the number of tensor handles in existence: the measure of leaks.
func Live() int { return live }

// Scope runs f and frees every tensor made in it that was not kept or returned from [Scoped].
func Scope(f func()) {
	inDo("Scope")
	scope(f)
}

// scope is Scope for [Do], which opens the outermost.
func scope(f func()) {
	scopes = append(scopes, nil)
	depth := len(scopes)
	defer func() {
		for len(scopes) >= depth { // deeper ones are open only when f panicked
			closeScope()
		}
	}()
	f()
}

// Scoped is Scope for a function with a result, which moves to the surrounding scope.
func Scoped(f func() *Tensor) (t *Tensor) {
	Scope(func() {
		if t = f(); t != nil {
			t.Keep()
		}
	})
	if t != nil {
		t.adopt()
	}
	return t
}

// Return takes tensors out of the innermost scope into the one around it, where they stay when that ends.
func Return(ts ...*Tensor) {
	for _, t := range ts {
		if t.scope != len(scopes) {
			continue // it was there before, or its caller keeps it
		}
		t.Keep()
		around := &scopes[len(scopes)-2]
		t.scope, t.slot = len(scopes)-1, len(*around)
		*around = append(*around, t)
	}
}

func closeScope() {
	top := scopes[len(scopes)-1]
	scopes = scopes[:len(scopes)-1]
	for _, t := range top {
		if t != nil {
			t.scope = 0
			t.Free()
		}
	}
}

func wrap(h uintptr) *Tensor {
	live++
	t := &Tensor{h: h}
	t.adopt()
	return t
}

func (t *Tensor) adopt() {
	top := &scopes[len(scopes)-1]
	t.scope, t.slot = len(scopes), len(*top)
	*top = append(*top, t)
}

// Keep takes t out of its scope: from now on the caller frees it.
func (t *Tensor) Keep() *Tensor {
	if t.scope > 0 {
		scopes[t.scope-1][t.slot] = nil
		t.scope = 0
	}
	return t
}

// Free releases t at once. Freeing twice is harmless.
func (t *Tensor) Free() {
	if t == nil || t.h == 0 {
		return
	}
	t.Keep()
	purego.SyscallN(lib.deleteTensor, t.h)
	t.h = 0
	live--
}

// out receives the results of C calls; all calls come from one thread.
var out [2]uintptr

func check(r uintptr, op string, args ...any) {
	if int32(r) != 0 {
		fail(op, args...)
	}
}

// Shape returns the sizes of t.
func (t *Tensor) Shape() []int64 { return t.ints(lib.getSizes) }

// Strides returns the strides of t, in elements.
func (t *Tensor) Strides() []int64 { return t.ints(lib.getStrides) }

func (t *Tensor) ints(fn uintptr) []int64 {
	n := t.Dim()
	if n == 0 {
		return nil
	}
	r, _, _ := purego.SyscallN(fn, t.h, uintptr(unsafe.Pointer(&out[0])))
	check(r, "shape", t)
	return append([]int64(nil), unsafe.Slice((*int64)(pointer(out[0])), n)...)
}

// Size returns the length of one dimension; a negative one counts from the end.
func (t *Tensor) Size(dim int) int64 {
	s := t.Shape()
	i := dim
	if i < 0 {
		i += len(s)
	}
	if i < 0 || i >= len(s) {
		panic(&Error{"size", describeAll([]any{t, dim}), "no such dimension"})
	}
	return s[i]
}

// Dim returns the number of dimensions.
func (t *Tensor) Dim() int { return int(t.int(lib.getDim)) }

// Len returns the number of elements.
func (t *Tensor) Len() int64 { return t.int(lib.getNumel) }

// DType returns the type of the elements.
func (t *Tensor) DType() DType { return engine.dtypes[int32(t.int(lib.getDtype))] }

// Device returns where t lives.
func (t *Tensor) Device() Device {
	if int32(t.int(lib.getDeviceType)) == engine.cpu {
		return CPU
	}
	return Device{CUDA: true, Index: int(int32(t.int(lib.deviceIndex)))}
}

func (t *Tensor) int(fn uintptr) int64 {
	out[0] = 0
	r, _, _ := purego.SyscallN(fn, t.handle("shape"), uintptr(unsafe.Pointer(&out[0])))
	check(r, "shape")
	return int64(out[0])
}

func (t *Tensor) data() unsafe.Pointer {
	r, _, _ := purego.SyscallN(lib.getDataPtr, t.handle("data_ptr"), uintptr(unsafe.Pointer(&out[0])))
	check(r, "data_ptr", t)
	return pointer(out[0])
}

func describe(a any) string {
	switch a := a.(type) {
	case *Tensor:
		if a == nil || a.h == 0 {
			return "none"
		}
		s := strings.ReplaceAll(strings.Trim(fmt.Sprint(a.Shape()), "[]"), " ", ", ")
		return fmt.Sprintf("%v[%s]", a.DType(), s)
	case []*Tensor:
		var s []string
		for i, t := range a {
			if i == 4 {
				s = append(s, fmt.Sprintf("… %d in all", len(a)))
				break
			}
			s = append(s, describe(t))
		}
		return "(" + strings.Join(s, ", ") + ")"
	case opt:
		return describe(a.v)
	case dtypeArg:
		return DType(a).String()
	case nil:
		return "none"
	}
	return fmt.Sprint(a)
}

func describeAll(args []any) []string {
	s := make([]string, len(args))
	for i, a := range args {
		s[i] = describe(a)
	}
	return s
}

// String gives type and shape, such as "float32[2, 3]".
func (t *Tensor) String() string { return describe(t) }

// Empty returns a tensor of the given shape with arbitrary contents, on the device in use.
func Empty(d DType, shape ...int64) *Tensor { return empty(d, engine.device, shape) }

func empty(d DType, dev Device, shape []int64) *Tensor {
	t, r := allocate(lib.emptyStrided, d, dev, shape)
	check(r, "empty", d, shape)
	return t
}

// pinned returns a tensor in host memory that a GPU reads by itself; nil where there is none to be had.
func pinned(d DType, shape []int64) *Tensor {
	if lib.emptyPinned == 0 {
		return nil
	}
	t, r := allocate(lib.emptyPinned, d, CPU, shape)
	if int32(r) != 0 {
		return nil
	}
	return t
}

func allocate(by uintptr, d DType, dev Device, shape []int64) (*Tensor, uintptr) {
	inDo("empty")
	n := len(shape)
	strides := make([]int64, n+1)
	sizes := append(make([]int64, 0, n+1), shape...)
	sizes = append(sizes, 1)
	step := int64(1)
	for i := n - 1; i >= 0; i-- {
		strides[i] = step
		step *= max(shape[i], 1)
	}
	kind := engine.cpu
	if dev.CUDA {
		kind = engine.cuda
	}
	r, _, _ := purego.SyscallN(by, uintptr(n), uintptr(unsafe.Pointer(&sizes[0])), uintptr(unsafe.Pointer(&strides[0])),
		uintptr(engine.codes[d]), uintptr(kind), uintptr(dev.Index), uintptr(unsafe.Pointer(&out[0])))
	if int32(r) != 0 {
		return nil, r
	}
	return wrap(out[0]), r
}

// Full returns a tensor filled with one value, on the device in use.
func Full(d DType, value float64, shape ...int64) *Tensor {
	t := Empty(d, shape...)
	t.Fill(value)
	return t
}

// Zeros returns a tensor of zeros, on the device in use.
func Zeros(d DType, shape ...int64) *Tensor { return Full(d, 0, shape...) }

// Fill sets every element of t, in place.
func (t *Tensor) Fill(value float64) *Tensor {
	check(uintptr(lib.fill(t.handle("fill_"), value)), "fill_", t, value)
	return t
}

// Element is a Go type that tensors can be made of and read into.
type Element interface {
	~float32 | ~float64 | ~uint8 | ~int32 | ~int64
}

func dtypeOf[T Element]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return Float
	case float64:
		return Double
	case uint8:
		return Uint8
	case int32:
		return Int32
	}
	return Int64
}

// From copies a Go slice into a tensor on the device in use. It panics with an [*Error] when the
// shape does not hold as many elements as the slice.
func From[T Element](v []T, shape ...int64) *Tensor { return fromOn(engine.device, v, shape) }

func fromOn[T Element](dev Device, v []T, shape []int64) *Tensor {
	d, n := dtypeOf[T](), count(shape)
	if n != int64(len(v)) {
		panic(&Error{"from", []string{fmt.Sprint(d, shape)}, fmt.Sprintf("%d values do not fill this shape", len(v))})
	}
	var t *Tensor
	if dev != CPU && n > 0 {
		t = pinned(d, shape)
	}
	direct := t != nil // the device reads it by itself, and the host goes on
	if t == nil {
		t = empty(d, CPU, shape)
	}
	if n > 0 {
		copy(unsafe.Slice((*T)(t.data()), n), v)
	}
	if dev == CPU {
		return t
	}
	g := empty(d, dev, shape)
	NoGrad(func() { g.copy(t, direct) })
	t.Free() // of pinned memory once it has been read
	return g
}

// Number returns a 0-dimensional float32 tensor on the CPU, which operators combine with tensors of
// any device and floating type without changing that type.
func Number(v float64) *Tensor { return fromOn(CPU, []float32{float32(v)}, nil) }

// Scalar is Number for a constant of the program, such as a threshold: it is made once and shared.
func Scalar(v float64) *Tensor { return scalarOn(CPU, v) }

type constant struct {
	dev Device
	v   float64
}

var constants = map[constant]*Tensor{}

func scalarOn(dev Device, v float64) *Tensor {
	c := constant{dev, v}
	if t := constants[c]; !dead(t) {
		return t
	}
	t := fromOn(dev, []float32{float32(v)}, nil)
	if len(constants) < 256 && !math.IsNaN(v) { // a bound, should values that change come here after all
		constants[c] = t.Keep()
	}
	return t
}

// Values copies the elements of t into a Go slice, row-major. It panics with an [*Error] when T is
// not the Go type of t's elements.
func Values[T Element](t *Tensor) []T {
	v := make([]T, t.Len())
	CopyTo(v, t)
	return v
}

// CopyTo is Values into a slice of the caller, of t's length.
func CopyTo[T Element](dst []T, t *Tensor) {
	n := t.Len()
	if d := t.DType(); d != dtypeOf[T]() && !(d == Bool && dtypeOf[T]() == Uint8) {
		panic(&Error{"values", []string{t.String()}, fmt.Sprintf("not a tensor of %v", dtypeOf[T]())})
	}
	if n != int64(len(dst)) {
		panic(&Error{"values", []string{t.String()}, fmt.Sprintf("does not fill a slice of %d", len(dst))})
	}
	Scope(func() {
		c := t.Detach().To(CPU).Contiguous()
		if n > 0 {
			copy(dst, unsafe.Slice((*T)(c.data()), n))
		}
	})
}

// Item returns the only element of t, of whatever type, as a float64.
func (t *Tensor) Item() (v float64) {
	if t.Len() != 1 {
		panic(&Error{"item", []string{t.String()}, "not a single element"})
	}
	Scope(func() { v = Values[float64](t.Detach().As(Double))[0] })
	return v
}

// To returns t on another device; t itself if it is there. It is not differentiable.
func (t *Tensor) To(dev Device) *Tensor {
	if t.Device() == dev {
		return t
	}
	g := empty(t.DType(), dev, t.Shape())
	NoGrad(func() { g.Copy(t) })
	return g
}

// Copy overwrites the elements of t by those of src, converting the type.
func (t *Tensor) Copy(src *Tensor) *Tensor { return t.copy(src, false) }

// copy is Copy; ahead lets the host go on before a GPU has read pinned memory.
func (t *Tensor) copy(src *Tensor, ahead bool) *Tensor {
	nonBlocking := uintptr(0)
	if ahead {
		nonBlocking = 1
	}
	r, _, _ := purego.SyscallN(lib.copyTensor, t.handle("copy_"), src.handle("copy_"), nonBlocking)
	check(r, "copy_", t, src)
	return t
}

// Load overwrites the elements of t by those of a Go slice. It is not recorded, not of a leaf either.
func Load[T Element](t *Tensor, v []T) {
	Scope(func() { t.Detach().Copy(fromOn(CPU, v, t.Shape())) })
}
