// Package ort runs ONNX models by ONNX Runtime, through its C API, without cgo.
//
// The C API is one table of functions, the same from version 1.MinMinor on; later versions only add
// to its end.
package ort

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Functions by their place in the table OrtApi (onnxruntime_c_api.h).
const (
	getErrorMessage                = 2
	createEnv                      = 3
	createSession                  = 7
	run                            = 9
	createSessionOptions           = 10
	disableMemPattern              = 17
	disableCPUMemArena             = 19
	setIntraOpNumThreads           = 24
	setInterOpNumThreads           = 25
	sessionGetInputCount           = 30
	sessionGetOutputCount          = 31
	sessionGetInputTypeInfo        = 33
	sessionGetOutputTypeInfo       = 34
	sessionGetInputName            = 36
	sessionGetOutputName           = 37
	createTensorWithDataAsOrtValue = 49
	isTensor                       = 50
	getTensorMutableData           = 51
	castTypeInfoToTensorInfo       = 55
	getTensorElementType           = 60
	getDimensionsCount             = 61
	getDimensions                  = 62
	getTensorTypeAndShape          = 65
	createCPUMemoryInfo            = 69
	allocatorFree                  = 76
	getAllocatorWithDefaultOptions = 78
	releaseStatus                  = 93
	releaseSession                 = 95
	releaseValue                   = 96
	releaseTypeInfo                = 98
	releaseTensorTypeAndShapeInfo  = 99
	releaseSessionOptions          = 100
	sessionGetModelMetadata        = 111
	modelMetadataLookup            = 116
	releaseModelMetadata           = 118
	getAvailableProviders          = 125
	releaseAvailableProviders      = 126
	addSessionConfigEntry          = 130
	functions                      = 131
)

// engine is the library in use.
var engine struct {
	library                Library
	handle                 uintptr
	api                    [functions]uintptr
	env, memory, allocator uintptr
}

var open = sync.OnceValue(func() error {
	lib, err := Find()
	if err != nil {
		return err
	}
	if err := load(lib); err != nil {
		return fmt.Errorf("load ONNX Runtime %s: %w\n`make onnxruntime` fetches one that fits this machine", lib.Path, err)
	}
	engine.library = lib
	return nil
})

// Open loads the ONNX Runtime that Find finds; a process does so once.
func Open() (Library, error) {
	err := open()
	return engine.library, err
}

func load(lib Library) error {
	h, err := purego.Dlopen(lib.Path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return err
	}
	getBase, err := purego.Dlsym(h, "OrtGetApiBase")
	if err != nil {
		return err
	}
	engine.handle = h
	base, _, _ := purego.SyscallN(getBase)
	if base == 0 {
		return fmt.Errorf("OrtGetApiBase returned nothing")
	}
	getAPI := at[uintptr](base)
	table, _, _ := purego.SyscallN(getAPI, MinMinor)
	if table == 0 {
		return fmt.Errorf("it is older than 1.%d", MinMinor)
	}
	engine.api = at[[functions]uintptr](table)
	const warningsAndBelowAreSilent = 3
	name := cstring("must")
	if err := call(createEnv, warningsAndBelowAreSilent, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&engine.env))); err != nil {
		return err
	}
	const arena, ordinary = 1, 0
	if err := call(createCPUMemoryInfo, arena, ordinary, uintptr(unsafe.Pointer(&engine.memory))); err != nil {
		return err
	}
	return call(getAllocatorWithDefaultOptions, uintptr(unsafe.Pointer(&engine.allocator)))
}

// call runs a function that returns a status.
//
//go:uintptrescapes
func call(function int, args ...uintptr) error {
	status, _, _ := purego.SyscallN(engine.api[function], args...)
	return check(status)
}

// check turns a status into an error and frees it.
func check(status uintptr) error {
	if status == 0 {
		return nil
	}
	message, _, _ := purego.SyscallN(engine.api[getErrorMessage], status)
	err := fmt.Errorf("ONNX Runtime: %s", goString(message))
	purego.SyscallN(engine.api[releaseStatus], status)
	return err
}

func release(function int, object uintptr) {
	if object != 0 {
		purego.SyscallN(engine.api[function], object)
	}
}

// at reads a value of C memory.
func at[T any](address uintptr) T { return *pointer[T](address) }

// pointer turns an address in C memory into a pointer. The detour keeps vet from taking it for one
// into Go's.
func pointer[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

func cstring(s string) *byte { return &append([]byte(s), 0)[0] }

func goString(address uintptr) string {
	n := 0
	for at[byte](address+uintptr(n)) != 0 {
		n++
	}
	return string(unsafe.Slice(pointer[byte](address), n))
}
