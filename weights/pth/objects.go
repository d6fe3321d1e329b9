package pth

import (
	"math"
	"slices"
	"strings"
)

// dicts are the classes that a state dict may be of.
var dicts = map[global]bool{"collections.OrderedDict": true, "collections.defaultdict": true, "builtins.dict": true, "__builtin__.dict": true}

// programs are the modules by which a pickle makes Python run something; no file of weights has them.
var programs = []string{
	"os", "posix", "nt", "pty", "sys", "subprocess", "multiprocessing", "commands", "popen2", "shutil", "socket", "ssl", "http", "urllib", "urllib2", "requests",
	"importlib", "runpy", "code", "codeop", "ctypes", "pickle", "_pickle", "dill", "cloudpickle", "marshal", "webbrowser", "asyncio", "pip", "site", "atexit",
}

// evaluators are builtins likewise.
var evaluators = []string{"eval", "exec", "execfile", "compile", "open", "file", "input", "raw_input", "__import__", "breakpoint", "apply", "globals", "locals", "vars", "memoryview", "help", "exit", "quit"}

// runs tells whether a function makes Python run a program.
func (g global) runs() bool {
	module, name := string(g), ""
	if dot := strings.LastIndexByte(module, '.'); dot >= 0 {
		module, name = module[:dot], module[dot+1:]
	}
	root, _, _ := strings.Cut(module, ".")
	if root == "builtins" || root == "__builtin__" || root == "__builtins__" {
		return slices.Contains(evaluators, name)
	}
	return slices.Contains(programs, root)
}

// skip leaves out what a function or class would make of arguments.
func (m *machine) skip(g global, args any) any {
	if g.runs() {
		fail("it calls %s, which runs a program; nothing was run. If you trust whoever made the file, load it in Python and save its state_dict() alone", g)
	}
	if m.hasTensor(args, 0) {
		return unread(g)
	}
	if list, ok := args.(tuple); ok && len(list) > 0 && strings.HasSuffix(string(g), "._reconstructor") {
		if class, ok := list[0].(global); ok { // what copyreg makes an object of
			g = class
		}
	}
	m.skipped[string(g)] = true
	return object(g)
}

// maxLooks limits how many values are looked through for tensors; beyond it one counts as found.
const maxLooks = 1 << 20

// hasTensor tells whether a value is or holds a tensor or its storage, as far down as arguments go.
func (m *machine) hasTensor(v any, depth int) bool {
	if m.looks++; depth > 8 || m.looks > maxLooks {
		return m.looks > maxLooks
	}
	holds := func(v any) bool { return m.hasTensor(v, depth+1) }
	switch v := v.(type) {
	case *Tensor, *storage, unread:
		return true
	case tuple:
		return slices.ContainsFunc(v, holds)
	case *list:
		return slices.ContainsFunc(v.items, holds)
	case *dict:
		for _, item := range v.items {
			if holds(item) {
				return true
			}
		}
	}
	return false
}

// storages maps torch's storage classes to data types; that of Untyped leaves it to the tensors.
var storages = map[string]string{
	"Float": "F32", "Double": "F64", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8",
	"Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64", "ComplexDouble": "C128", "Untyped": "",
}

// dtypes maps torch's element types, which newer tensors name beside an untyped storage.
var dtypes = map[global]string{
	"torch.float32": "F32", "torch.float64": "F64", "torch.float16": "F16", "torch.bfloat16": "BF16",
	"torch.float8_e4m3fn": "F8_E4M3", "torch.float8_e5m2": "F8_E5M2", "torch.complex64": "C64", "torch.complex128": "C128",
	"torch.int64": "I64", "torch.int32": "I32", "torch.int16": "I16", "torch.int8": "I8",
	"torch.uint64": "U64", "torch.uint32": "U32", "torch.uint16": "U16", "torch.uint8": "U8", "torch.bool": "BOOL",
}

// call gives the result of the few functions that state dicts are made by.
func (m *machine) call(function, arguments any) any {
	f, ok := function.(global)
	args, ok2 := arguments.(tuple)
	if !ok || !ok2 {
		fail("it calls what is no function, or without arguments")
	}
	want := func(n int) {
		if len(args) < n {
			fail("%s has %d arguments, needs %d", f, len(args), n)
		}
	}
	switch {
	case dicts[f]:
		d := newDict()
		if len(args) == 1 { // Python 2 hands the items over
			if pairs, ok := args[0].(*list); ok {
				m.push(d)
				for _, p := range pairs.items {
					m.set(pair(p))
				}
				m.pop()
			}
		}
		return d
	case f == "torch._utils._rebuild_tensor", f == "torch._utils._rebuild_tensor_v2":
		want(4)
		return view(args[0], args[1], args[2], args[3], "")
	case f == "torch._utils._rebuild_tensor_v3":
		want(7)
		g, _ := args[6].(global)
		dtype, ok := dtypes[g]
		if !ok {
			fail("a tensor of type %v, which is not known", args[6])
		}
		return view(args[0], args[1], args[2], args[3], dtype)
	case f == "torch._utils._rebuild_parameter", f == "torch._utils._rebuild_parameter_with_state", f == "torch.Size":
		want(1)
		return args[0]
	case f == "torch._tensor._rebuild_from_type_v2":
		want(3)
		if g, _ := args[0].(global); !strings.HasPrefix(string(g), "torch._utils._rebuild_tensor") {
			fail("it rebuilds a tensor by %v, which is not run", args[0])
		}
		return m.call(args[0], args[2])
	}
	return m.skip(f, args)
}

// pair takes a key and its value apart.
func pair(v any) []any {
	switch v := v.(type) {
	case tuple:
		return v
	case *list:
		return v.items
	}
	return []any{v} // which no dict takes
}

// persistent gives what the pickle refers to outside of itself: the storage of a tensor.
func (m *machine) persistent(id any) any {
	t, _ := id.(tuple)
	if len(t) > 0 && t[0] == "module" { // the source of a class, in old files
		return object("module")
	}
	if len(t) < 5 || t[0] != "storage" {
		fail("it refers to what is no storage")
	}
	class, _ := t[1].(global)
	name := string(class)
	short, isStorage := strings.CutSuffix(name[strings.LastIndexByte(name, '.')+1:], "Storage")
	dtype, known := storages[short]
	if !known || !isStorage || !strings.HasPrefix(name, "torch.") {
		fail("a storage of class %q, which is not known", name)
	}
	key, ok := t[2].(string)
	items, ok2 := t[4].(int64)
	if !ok || !ok2 || items < 0 {
		fail("a storage of %v items under the key %v", t[4], t[2])
	}
	if len(t) > 5 && t[5] != nil {
		fail("a view of a storage, as torch wrote before 0.4; in Python, load the file and save it anew")
	}
	s := &storage{dtype: dtype, item: max(1, itemSize[dtype]), items: items}
	if m.storage == nil {
		fail("a storage where there is none")
	}
	s, err := m.storage(key, s)
	if err != nil {
		panic(failure{err})
	}
	return s
}

// view makes a tensor after checking that it lies in its storage and is no larger.
func view(where, offset, size, stride any, dtype string) *Tensor {
	s, ok := where.(*storage)
	first, ok2 := offset.(int64)
	shape, ok3 := ints(size)
	strides, ok4 := ints(stride)
	if !ok || !ok2 || !ok3 || !ok4 || first < 0 || len(shape) != len(strides) || len(shape) > 64 {
		fail("a tensor without storage, offset, size or strides")
	}
	if s.dtype != "" && dtype != "" && s.dtype != dtype || s.dtype == "" && dtype == "" {
		fail("a tensor of type %q in a storage of %q", dtype, s.dtype)
	}
	if dtype == "" {
		dtype = s.dtype
	}
	if s.items > math.MaxInt64/s.item {
		fail("a storage of %d items", s.items)
	}
	items := s.items * s.item / itemSize[dtype]
	count, last := int64(1), first
	empty := slices.Contains(shape, 0)
	for i, n := range shape {
		switch {
		case empty:
		case n > 0 && count > items/n:
			fail("a tensor of shape %v in a storage of %d items", shape, items)
		case n > 1 && strides[i] > (items-last)/(n-1):
			fail("a tensor of shape %v and strides %v from %d on, beyond its storage of %d items", shape, strides, first, items)
		default:
			count *= n
			last += (n - 1) * strides[i]
		}
	}
	if !empty && last >= items {
		fail("a tensor from %d on, beyond its storage of %d items", first, items)
	}
	return &Tensor{DType: dtype, Shape: shape, storage: s, offset: first, strides: strides}
}

// ints reads a tuple of numbers, none negative.
func ints(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	n := make([]int64, len(t))
	for i, x := range t {
		d, isInt := x.(int64)
		if !isInt || d < 0 {
			return nil, false
		}
		n[i] = d
	}
	return n, ok
}
