package ort

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/x448/float16"
)

// A Type is that of a tensor's elements, with ONNX's numbers.
type Type int32

// The types that tensors here can have.
const (
	Float32 Type = 1
	Uint8   Type = 2
	Int8    Type = 3
	Int32   Type = 6
	Int64   Type = 7
	Bool    Type = 9
	Float16 Type = 10
	Float64 Type = 11
)

var typeNames = map[Type]string{Float32: "float32", Uint8: "uint8", Int8: "int8", Int32: "int32", Int64: "int64", Bool: "bool", Float16: "float16", Float64: "float64"}

func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", int32(t))
}

var typeSizes = map[Type]int{Float32: 4, Uint8: 1, Int8: 1, Int32: 4, Int64: 8, Bool: 1, Float16: 2, Float64: 8}

// A Port is an input or output of a model.
type Port struct {
	Name  string
	Type  Type // 0: no tensor
	Shape []int64
}

// String writes it as "images float32[?, 3, 640, 640]"; "?" is a size that the model leaves open.
func (p Port) String() string {
	if p.Type == 0 {
		return p.Name + " (no tensor)"
	}
	sizes := make([]string, len(p.Shape))
	for i, n := range p.Shape {
		if sizes[i] = fmt.Sprint(n); n < 0 {
			sizes[i] = "?"
		}
	}
	return fmt.Sprintf("%s %v[%s]", p.Name, p.Type, strings.Join(sizes, ", "))
}

// A Tensor is an array of numbers, row by row. Those of other types become float32, as which integers
// are exact up to 2²⁴.
type Tensor struct {
	Shape  []int64
	Values []float32
	Bytes  []uint8 // of an input of bytes, in place of Values
}

// A Session is a model, ready to run. It is not safe for concurrent use.
type Session struct {
	Inputs, Outputs []Port

	session uintptr
	path    string
}

// Options say where a model runs.
type Options struct {
	Threads  int  // of the CPU; 0: 1
	CUDA     bool // on an NVIDIA device, where the library can
	TensorRT bool // there by TensorRT, which takes minutes to prepare a model
	Index    int  // of the device
}

// Load reads a model. On the CPU its operators run on so many threads, which do not spin while they
// wait: other engines work in between. The caller closes it.
func Load(path string, o Options) (s *Session, err error) {
	if _, err := Open(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
			s, err = nil, fmt.Errorf("%s: %w", path, err)
		}
	}()
	s = &Session{path: path}
	var options uintptr
	if err := call(createSessionOptions, uintptr(unsafe.Pointer(&options))); err != nil {
		return s, err
	}
	defer release(releaseSessionOptions, options)
	if err := call(setIntraOpNumThreads, options, uintptr(max(1, o.Threads))); err != nil {
		return s, err
	}
	if err := call(setInterOpNumThreads, options, 1); err != nil {
		return s, err
	}
	// An arena of its own holds all that a model ever needed, beside those of other models and engines; without,
	// they all use what the C library keeps.
	for _, f := range []int{disableCPUMemArena, disableMemPattern} {
		if err := call(f, options); err != nil {
			return s, err
		}
	}
	key, off := cstring("session.intra_op.allow_spinning"), cstring("0")
	if err := call(addSessionConfigEntry, options, uintptr(unsafe.Pointer(key)), uintptr(unsafe.Pointer(off))); err != nil {
		return s, err
	}
	if err := o.append(options); err != nil {
		return s, err
	}
	name := cstring(path)
	if err := call(createSession, engine.env, uintptr(unsafe.Pointer(name)), options, uintptr(unsafe.Pointer(&s.session))); err != nil {
		return s, err
	}
	if s.Inputs, err = s.ports(sessionGetInputCount, sessionGetInputName, sessionGetInputTypeInfo); err != nil {
		return s, err
	}
	s.Outputs, err = s.ports(sessionGetOutputCount, sessionGetOutputName, sessionGetOutputTypeInfo)
	return s, err
}

const tensorRT = "TensorrtExecutionProvider"

// Check tells what the library lacks for the options.
func (o Options) Check() error {
	if !o.TensorRT {
		return nil
	}
	names, err := Providers()
	if err == nil && !slices.Contains(names, tensorRT) {
		err = fmt.Errorf("%s has no %s; it has %s. Set ONNXRUNTIME to the folder of an ONNX Runtime built with TensorRT", engine.library.Path, tensorRT, strings.Join(names, ", "))
	}
	return err
}

// append adds what computes elsewhere than on the CPU; what it cannot is left to the CPU.
func (o Options) append(options uintptr) error {
	if err := o.Check(); err != nil {
		return err
	}
	names, err := Providers()
	if err != nil {
		return err
	}
	for _, p := range []struct {
		wanted       bool
		name, symbol string
	}{
		{o.TensorRT, tensorRT, "OrtSessionOptionsAppendExecutionProvider_Tensorrt"},
		{o.CUDA || o.TensorRT, "CUDAExecutionProvider", "OrtSessionOptionsAppendExecutionProvider_CUDA"},
	} {
		if p.wanted && slices.Contains(names, p.name) {
			add, err := purego.Dlsym(engine.handle, p.symbol)
			if err != nil {
				return err
			}
			status, _, _ := purego.SyscallN(add, options, uintptr(o.Index))
			if err := check(status); err != nil {
				return err
			}
		}
	}
	return nil
}

// Providers lists what the library can compute with, such as CPUExecutionProvider.
func Providers() ([]string, error) {
	if _, err := Open(); err != nil {
		return nil, err
	}
	var list uintptr
	var n int32
	if err := call(getAvailableProviders, uintptr(unsafe.Pointer(&list)), uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	defer purego.SyscallN(engine.api[releaseAvailableProviders], list, uintptr(n))
	names := make([]string, n)
	for i := range names {
		names[i] = goString(at[uintptr](list + uintptr(i)*unsafe.Sizeof(list)))
	}
	return names, nil
}

// Close frees the model.
func (s *Session) Close() {
	release(releaseSession, s.session)
	s.session = 0
}

// Metadata returns a text that the model carries under a key, "" where there is none.
func (s *Session) Metadata(key string) (string, error) {
	var all, text uintptr
	if err := call(sessionGetModelMetadata, s.session, uintptr(unsafe.Pointer(&all))); err != nil {
		return "", err
	}
	defer release(releaseModelMetadata, all)
	name := cstring(key)
	err := call(modelMetadataLookup, all, engine.allocator, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&text)))
	if err != nil || text == 0 {
		return "", err
	}
	defer call(allocatorFree, engine.allocator, text)
	return goString(text), nil
}

func (s *Session) ports(count, name, info int) ([]Port, error) {
	var n uintptr
	if err := call(count, s.session, uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	ports := make([]Port, n)
	for i := range ports {
		var text, typ uintptr
		if err := call(name, s.session, uintptr(i), engine.allocator, uintptr(unsafe.Pointer(&text))); err != nil {
			return nil, err
		}
		ports[i].Name = goString(text)
		if err := call(allocatorFree, engine.allocator, text); err != nil {
			return nil, err
		}
		if err := call(info, s.session, uintptr(i), uintptr(unsafe.Pointer(&typ))); err != nil {
			return nil, err
		}
		err := ports[i].describe(typ)
		release(releaseTypeInfo, typ)
		if err != nil {
			return nil, err
		}
	}
	return ports, nil
}

func (p *Port) describe(info uintptr) (err error) {
	var tensor uintptr // belongs to info
	if err := call(castTypeInfoToTensorInfo, info, uintptr(unsafe.Pointer(&tensor))); err != nil || tensor == 0 {
		return err
	}
	p.Type, p.Shape, err = shape(tensor)
	return err
}

// shape reads an OrtTensorTypeAndShapeInfo.
func shape(info uintptr) (t Type, sizes []int64, err error) {
	var dims uintptr
	if err := call(getTensorElementType, info, uintptr(unsafe.Pointer(&t))); err != nil {
		return 0, nil, err
	}
	if err := call(getDimensionsCount, info, uintptr(unsafe.Pointer(&dims))); err != nil {
		return 0, nil, err
	}
	sizes = make([]int64, dims)
	if dims == 0 {
		return t, sizes, nil
	}
	return t, sizes, call(getDimensions, info, uintptr(unsafe.Pointer(&sizes[0])), dims)
}

// Run computes the outputs named from the inputs, which are in the order of Inputs and have their
// types. A tensor whose values are not as many as its shape says is a mistake of the caller.
func (s *Session) Run(inputs []Tensor, outputs ...string) (results []Tensor, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("run %s: %w", s.path, err)
		}
	}()
	in, out := make([]uintptr, len(inputs)), make([]uintptr, len(outputs))
	defer func() {
		for _, v := range append(in, out...) {
			release(releaseValue, v)
		}
	}()
	inNames, outNames := make([]*byte, len(inputs)), make([]*byte, len(outputs))
	data := make([][]byte, len(inputs)) // which C reads until the run has ended
	for i, t := range inputs {
		p := s.Inputs[i]
		inNames[i] = cstring(p.Name)
		if p.Type == Uint8 && t.Bytes != nil {
			data[i] = t.Bytes
		} else if data[i], err = encode(t.Values, p.Type); err != nil {
			return nil, fmt.Errorf("input %v: %w", p, err)
		}
		dims := append(slices.Clone(t.Shape), 0)
		err := call(createTensorWithDataAsOrtValue, engine.memory, uintptr(unsafe.Pointer(unsafe.SliceData(data[i]))), uintptr(len(data[i])),
			uintptr(unsafe.Pointer(&dims[0])), uintptr(len(t.Shape)), uintptr(p.Type), uintptr(unsafe.Pointer(&in[i])))
		if err != nil {
			return nil, fmt.Errorf("input %v, given %v: %w", p, t.Shape, err)
		}
	}
	for i, name := range outputs {
		outNames[i] = cstring(name)
	}
	if err := call(run, s.session, 0, uintptr(unsafe.Pointer(unsafe.SliceData(inNames))), uintptr(unsafe.Pointer(unsafe.SliceData(in))), uintptr(len(in)),
		uintptr(unsafe.Pointer(unsafe.SliceData(outNames))), uintptr(len(out)), uintptr(unsafe.Pointer(unsafe.SliceData(out)))); err != nil {
		return nil, err
	}
	runtime.KeepAlive(data) // their addresses are in C memory or in slices
	runtime.KeepAlive(inNames)
	runtime.KeepAlive(outNames)
	results = make([]Tensor, len(outputs))
	for i, v := range out {
		if results[i], err = read(v); err != nil {
			return nil, fmt.Errorf("output %s: %w", outputs[i], err)
		}
	}
	return results, nil
}

// read copies a value of ONNX Runtime's.
func read(value uintptr) (t Tensor, err error) {
	var is int32
	if err := call(isTensor, value, uintptr(unsafe.Pointer(&is))); err != nil {
		return t, err
	}
	if is == 0 {
		return t, fmt.Errorf("it is no tensor")
	}
	var info, data uintptr
	if err := call(getTensorTypeAndShape, value, uintptr(unsafe.Pointer(&info))); err != nil {
		return t, err
	}
	defer release(releaseTensorTypeAndShapeInfo, info)
	typ, sizes, err := shape(info)
	if err != nil {
		return t, err
	}
	if err := call(getTensorMutableData, value, uintptr(unsafe.Pointer(&data))); err != nil {
		return t, err
	}
	n := 1
	for _, s := range sizes {
		n *= int(s)
	}
	size := typeSizes[typ]
	if size == 0 {
		return t, fmt.Errorf("it is of %v, which is no number", typ)
	}
	t.Shape = sizes
	if n > 0 {
		t.Values = decode(unsafe.Slice(pointer[byte](data), n*size), typ)
	}
	return t, nil
}

// encode stores values as a type.
func encode(values []float32, t Type) ([]byte, error) {
	switch t {
	case Float32:
		return bytesOf(values), nil
	case Float64:
		return bytesOf(convert(values, func(v float32) float64 { return float64(v) })), nil
	case Float16:
		return bytesOf(convert(values, func(v float32) uint16 { return float16.Fromfloat32(v).Bits() })), nil
	case Uint8:
		return convert(values, func(v float32) uint8 { return uint8(min(max(math.Round(float64(v)), 0), 255)) }), nil
	case Int32:
		return bytesOf(convert(values, func(v float32) int32 { return int32(v) })), nil
	case Int64:
		return bytesOf(convert(values, func(v float32) int64 { return int64(v) })), nil
	case Bool:
		return convert(values, func(v float32) uint8 {
			if v != 0 {
				return 1
			}
			return 0
		}), nil
	}
	return nil, fmt.Errorf("no values of %v can be given", t)
}

// decode copies an array of a type of typeSizes.
func decode(b []byte, t Type) []float32 {
	switch t {
	case Float32:
		return slices.Clone(view[float32](b))
	case Float64:
		return convert(view[float64](b), func(v float64) float32 { return float32(v) })
	case Float16:
		return convert(view[uint16](b), func(v uint16) float32 { return float16.Frombits(v).Float32() })
	case Int8:
		return convert(view[int8](b), func(v int8) float32 { return float32(v) })
	case Int32:
		return convert(view[int32](b), func(v int32) float32 { return float32(v) })
	case Int64:
		return convert(view[int64](b), func(v int64) float32 { return float32(v) })
	default: // Uint8, Bool
		return convert(b, func(v uint8) float32 { return float32(v) })
	}
}

func convert[A, B any](a []A, f func(A) B) []B {
	b := make([]B, len(a))
	for i, v := range a {
		b[i] = f(v)
	}
	return b
}

func bytesOf[T any](v []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(t)))
}

func view[T any](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}
