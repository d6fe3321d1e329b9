// Package torch drives libtorch from Go through its stable C ABI, without cgo, headers or a
// compiler: tensors with scoped memory, operators with autograd, fused optimizers, CPU and CUDA.
//
// All tensor work of a process runs on one goroutine locked to one thread, because grad mode, error
// texts and the OpenMP pool of libtorch belong to a thread. [Do] runs a function there, see its example.
//
// Inside Do operators panic with an [*Error] that names the operator and the shapes of its
// arguments; Do returns it as an error. Every tensor made inside Do or a [Scope] is freed at its
// end, except those that were kept; no Go value needs a finalizer. Nothing here but [Open], [Do] and
// [Describe] may be called outside Do.
package torch

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"
	"must/torch/libtorch"
)

// abi is the version of the stable ABI that this package's calls are written for: 2.10.
const abi = 2<<56 | 10<<48

// DeviceVariable is the environment variable that names the device where [Options] do not: so tests run on a GPU.
const DeviceVariable = "MUST_DEVICE"

// An Options says how to open libtorch.
type Options struct {
	Threads int    // size of the OpenMP pool; 0: one per CPU that this process may use
	Device  string // "cpu", "cuda" or "cuda:1"; "": cpu
}

// lib holds the addresses of the C functions in use; see the two shim.h headers of a wheel.
var lib struct {
	callDispatcher, setRequiresGrad, newTensorHandle, deleteTensor, emptyStrided,
	getDataPtr, getSizes, getStrides, getDim, getNumel, getDtype, getDeviceType,
	assignTensors, copyTensor, gradModeSet, gradModeGet, deviceIndex,
	newList, listPushBack, listGet, listSize, deleteList, newString,
	emptyPinned, exceptionWhat, newIValue, malloc, pthreadSelf, mutableGrad uintptr

	abiVersion func() uint64
	subtract   func(a, b uintptr, alpha float64, ret unsafe.Pointer) int32
	full       func(size unsafe.Pointer, n int64, value float64, dtype, layout, device unsafe.Pointer, index int32, pin, ret unsafe.Pointer) int32
	fill       func(a uintptr, value float64) int32
	numThreads func(ret unsafe.Pointer) int32
}

var engine struct {
	mu      sync.Mutex
	opened  bool
	err     error
	work    chan func()
	thread  atomic.Uint64 // the pthread that serves work
	library libtorch.Library
	cpu     int32
	cuda    int32
	device  Device
	threads int
	dtypes  map[int32]DType
	codes   [numDTypes]int32
}

// A Device is where a tensor lives.
type Device struct {
	CUDA  bool
	Index int
}

func (d Device) String() string {
	if d.CUDA {
		return fmt.Sprintf("cuda:%d", d.Index)
	}
	return "cpu"
}

// CPU is the host.
var CPU = Device{}

// Open finds and loads libtorch and starts the engine's thread. A process opens it once: calling it
// again returns the first call's result, or an error where another device is asked for. [Do] calls
// it with the defaults.
func Open(o Options) error {
	engine.mu.Lock()
	defer engine.mu.Unlock()
	o.Device = cmp.Or(o.Device, os.Getenv(DeviceVariable))
	if engine.opened {
		if d, err := parseDevice(o.Device); engine.err == nil && o.Device != "" && (err != nil || d != engine.device) {
			return cmp.Or(err, fmt.Errorf("device %v: libtorch is already open in this process with device %v", d, engine.device))
		}
		return engine.err
	}
	engine.opened = true
	if engine.err = open(o); engine.err != nil {
		return engine.err
	}
	engine.work = make(chan func())
	go serve()
	if engine.device.CUDA { // whether its driver is there shows only in use
		tried := make(chan error)
		engine.work <- func() { tried <- try(func() { Zeros(Float, 1) }) }
		if err := <-tried; err != nil {
			engine.err = fmt.Errorf("device %v cannot be used: %w\n`must doctor` tells what this machine has; --device cpu works everywhere", engine.device, err)
		}
	}
	return engine.err
}

// serve is the engine's thread. A function that ends its goroutine (as testing's FailNow does) takes
// the thread with it, so another one takes over.
func serve() {
	runtime.LockOSThread()
	defer func() {
		engine.thread.Store(0)
		go serve()
	}()
	engine.thread.Store(uint64(thisThread()))
	for f := range engine.work {
		f()
	}
}

func open(o Options) error {
	device, err := parseDevice(o.Device)
	if err != nil {
		return err
	}
	find := libtorch.Find
	if device.CUDA {
		find = libtorch.FindCUDA
	}
	l, err := find()
	if err != nil {
		return err
	}
	threads := o.Threads
	if threads <= 0 {
		threads, _ = strconv.Atoi(os.Getenv("OMP_NUM_THREADS"))
	}
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0) // which knows a container's share
	}
	keepMemory()
	// libgomp reads the C environment when it is loaded; Go's own copy does not reach it. Its waiting
	// is left as it is, a short spin: OMP_WAIT_POLICY=passive costs small networks 15 to 50 %, even
	// with a busy loader beside them (BenchmarkTrain/loaded).
	setenv("OMP_NUM_THREADS", strconv.Itoa(threads))
	for _, p := range l.Preload {
		if _, err := dlopen(p); err != nil {
			return fmt.Errorf("load a part of the libtorch in %s: %w\n`make libtorch` fetches one that fits this machine; `must doctor` tells which are looked at", l.Dir, err)
		}
	}
	c10, err := dlopen(l.C10)
	if err != nil {
		return fmt.Errorf("load libtorch: %w\n`make libtorch` fetches one that fits this machine; `must doctor` tells which are looked at", err)
	}
	h, err := dlopen(l.CPULib)
	if err != nil {
		return fmt.Errorf("load libtorch: %w\n`make libtorch` fetches one that fits this machine; `must doctor` tells which are looked at", err)
	}
	if device.CUDA {
		for _, p := range append(l.PreloadCUDA, l.CUDALib) {
			if _, err := dlopen(p); err != nil {
				return fmt.Errorf("load the CUDA part of libtorch: %w\nuse --device cpu, or set LIBTORCH to a CUDA build that this machine's driver can run", err)
			}
		}
	}
	if err := bind(h, c10, l); err != nil {
		return err
	}
	engine.library, engine.device = l, device
	var n uint32
	if lib.numThreads(unsafe.Pointer(&n)) == 0 {
		engine.threads = int(n)
	}
	return nil
}

// dlopen opens a library for those that follow to link to.
func dlopen(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
}

func parseDevice(s string) (Device, error) {
	switch {
	case s == "" || s == "cpu":
		return CPU, nil
	case s == "cuda":
		return Device{CUDA: true}, nil
	case len(s) > 5 && s[:5] == "cuda:":
		if i, err := strconv.Atoi(s[5:]); err == nil && i >= 0 {
			return Device{CUDA: true, Index: i}, nil
		}
	}
	return CPU, fmt.Errorf("device %q: use cpu, cuda or cuda:N", s)
}

// bind looks every symbol up, so that a library that lacks one is refused at the start by name.
func bind(cpu, c10 uintptr, l libtorch.Library) error {
	var missing []string
	find := func(h uintptr, name string) uintptr {
		p, err := purego.Dlsym(h, name)
		if err != nil {
			missing = append(missing, name)
		}
		return p
	}
	for _, s := range []struct {
		to   *uintptr
		name string
	}{
		{&lib.callDispatcher, "torch_call_dispatcher"},
		{&lib.setRequiresGrad, "torch_set_requires_grad"},
		{&lib.newTensorHandle, "aoti_torch_new_tensor_handle"},
		{&lib.deleteTensor, "aoti_torch_delete_tensor_object"},
		{&lib.emptyStrided, "aoti_torch_empty_strided"},
		{&lib.getDataPtr, "aoti_torch_get_data_ptr"},
		{&lib.getSizes, "aoti_torch_get_sizes"},
		{&lib.getStrides, "aoti_torch_get_strides"},
		{&lib.getDim, "aoti_torch_get_dim"},
		{&lib.getNumel, "aoti_torch_get_numel"},
		{&lib.getDtype, "aoti_torch_get_dtype"},
		{&lib.getDeviceType, "aoti_torch_get_device_type"},
		{&lib.deviceIndex, "aoti_torch_get_device_index"},
		{&lib.assignTensors, "aoti_torch_assign_tensors"},
		{&lib.copyTensor, "aoti_torch_copy_"},
		{&lib.gradModeSet, "aoti_torch_grad_mode_set_enabled"},
		{&lib.gradModeGet, "aoti_torch_grad_mode_is_enabled"},
		{&lib.newList, "torch_new_list_reserve_size"},
		{&lib.listPushBack, "torch_list_push_back"},
		{&lib.listGet, "torch_list_get_item"},
		{&lib.listSize, "torch_list_size"},
		{&lib.deleteList, "torch_delete_list"},
		{&lib.newString, "torch_new_string_handle"},
	} {
		*s.to = find(cpu, s.name)
	}
	// The one C++ symbol: .grad has no accessor in the stable ABI.
	lib.mutableGrad = find(c10, "_ZN3c1010TensorImpl12mutable_gradEv")
	lib.malloc, lib.pthreadSelf = find(purego.RTLD_DEFAULT, "malloc"), find(purego.RTLD_DEFAULT, "pthread_self")
	for _, s := range []struct {
		to   any
		name string
	}{
		{&lib.abiVersion, "aoti_torch_abi_version"},
		{&lib.subtract, "aoti_torch_aten_subtract_Tensor"},
		{&lib.full, "aoti_torch_aten_full"},
		{&lib.fill, "aoti_torch_aten_fill__Scalar"},
		{&lib.numThreads, "torch_get_num_threads"},
	} {
		if p := find(cpu, s.name); p != 0 {
			purego.RegisterFunc(s.to, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the libtorch in %s (version %s) lacks %v: must needs 2.11 or newer; run `make libtorch` for one that fits", l.Dir, l.Version, missing)
	}
	// Newer than the oldest supported version: error texts and boxed optionals came with 2.13.
	lib.exceptionWhat, _ = purego.Dlsym(cpu, "torch_exception_get_what_without_backtrace")
	lib.newIValue, _ = purego.Dlsym(cpu, "torch_new_stable_ivalue")
	lib.emptyPinned, _ = purego.Dlsym(cpu, "aoti_torch_empty_strided_pinned")
	code := func(name string) int32 {
		r, _, _ := purego.SyscallN(find(cpu, name))
		return int32(r)
	}
	engine.cpu, engine.cuda = code("aoti_torch_device_type_cpu"), code("aoti_torch_device_type_cuda")
	engine.dtypes = map[int32]DType{}
	for d := range numDTypes {
		c := code("aoti_torch_dtype_" + d.cName())
		engine.codes[d], engine.dtypes[c] = c, d
	}
	return nil
}

// keepMemory tells glibc's allocator to hold on to what libtorch frees. By default every large
// activation is mapped and unmapped anew, and its pages faulted in: a third of a small network's
// training time (BenchmarkTrain), at no saving in peak memory.
func keepMemory() {
	mallopt, err := purego.Dlsym(purego.RTLD_DEFAULT, "mallopt")
	if err != nil { // another libc
		return
	}
	const trimThreshold, topPad, mmapThreshold, arenaMax = -1, -2, -3, -8
	for _, o := range [][2]int{{arenaMax, 1}, {mmapThreshold, 1 << 30}, {trimThreshold, math.MaxInt32}, {topPad, 32 << 20}} {
		purego.SyscallN(mallopt, uintptr(o[0]), uintptr(o[1]))
	}
}

func setenv(name, value string) {
	os.Setenv(name, value)
	if p, err := purego.Dlsym(purego.RTLD_DEFAULT, "setenv"); err == nil {
		n, v := cstring(name), cstring(value)
		purego.SyscallN(p, uintptr(unsafe.Pointer(&n[0])), uintptr(unsafe.Pointer(&v[0])), 1)
	}
}

func cstring(s string) []byte { return append([]byte(s), 0) }

// An Info describes the libtorch in use.
type Info struct {
	Library libtorch.Library
	ABI     string // of the library, such as "2.15.0"
	Threads int
	Device  Device
}

// Describe opens libtorch if need be and says what is in use.
func Describe() (Info, error) {
	if err := Open(Options{}); err != nil {
		return Info{}, err
	}
	v := lib.abiVersion()
	return Info{engine.library, fmt.Sprintf("%d.%d.%d", v>>56, v>>48&0xff, v>>40&0xff), engine.threads, engine.device}, nil
}

// Do runs f on the engine's thread, inside a scope, and returns the error of the operator that
// failed in it, if one did. A call from within Do runs f at once. What else f panics with reaches
// the caller as a [*Panic]. Only one goroutine is served at a time: a function inside Do must not
// wait for another that calls Do.
func Do(f func()) error {
	if err := Open(Options{}); err != nil {
		return err
	}
	if onEngine() {
		return try(f)
	}
	var err error
	var other *Panic
	returned := false
	done := make(chan struct{})
	engine.work <- func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				other, returned = &Panic{r, debug.Stack()}, true
			}
		}()
		err = try(f)
		returned = true
	}
	<-done
	if other != nil {
		panic(other)
	}
	if !returned {
		runtime.Goexit()
	}
	return err
}

// DoErr is Do for a function that may fail by itself.
func DoErr(f func() error) error {
	var inner error
	if err := Do(func() { inner = f() }); err != nil {
		return err
	}
	return inner
}

// onEngine reports whether it is called on the engine's thread. That is looked up before the caller's
// own: once it is known no other goroutine runs on it, while a goroutine that first asked for its own may
// have left a thread that became the engine's in between.
func onEngine() bool {
	thread := engine.thread.Load()
	return uint64(thisThread()) == thread
}

func thisThread() uintptr {
	id, _, _ := purego.SyscallN(lib.pthreadSelf)
	return id
}

// try runs f in a scope and turns its [*Error] into a result.
func try(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	scope(f)
	return nil
}

// A Panic is a panic on the engine's thread, passed on to the goroutine that called [Do].
type Panic struct {
	Value any
	Stack []byte // where it happened
}

func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// Unwrap returns the value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// An Error is a failed operator.
type Error struct {
	Op   string   // such as aten::conv2d
	Args []string // types and shapes of its tensors, and the values of its other arguments
	Text string   // what libtorch said
}

func (e *Error) Error() string {
	s := e.Op + "("
	for i, a := range e.Args {
		if i > 0 {
			s += ", "
		}
		s += a
	}
	return s + "): " + e.Text
}

// fail panics with what the last failed call left behind.
func fail(op string, args ...any) {
	e := &Error{Op: op, Args: describeAll(args), Text: "failed; libtorch before 2.13 prints the reason to stderr"}
	if lib.exceptionWhat != 0 {
		p, _, _ := purego.SyscallN(lib.exceptionWhat)
		e.Text = gostring(p)
	}
	panic(e)
}

// OutOfMemory reports whether an operator failed for want of memory, of the host or of a GPU.
func OutOfMemory(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (strings.Contains(e.Text, "out of memory") || strings.Contains(e.Text, "can't allocate memory"))
}

// ErrNotFinite is returned, wrapped, where a value that must be finite is not.
var ErrNotFinite = errors.New("not finite")

func gostring(p uintptr) string {
	if p == 0 {
		return ""
	}
	b := unsafe.Slice((*byte)(pointer(p)), 1<<14)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// pointer turns a C address into an unsafe.Pointer; the memory is libtorch's, so Go's collector has
// no say in it.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
