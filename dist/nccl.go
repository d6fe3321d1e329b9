package dist

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// nccl is a communicator of NCCL, for memory of GPUs. It is called on the thread that computes, so that
// what it does lines up with the operators on that thread's stream; a call returns before the GPU is done,
// as theirs do. It is written by NCCL's documentation and has never run for want of GPUs.
type nccl struct {
	path       string
	rank, size int
	comm       uintptr
	stream     func() (uintptr, error)

	allReduce, broadcast, asyncError, destroy, errorString, lastError uintptr
}

// NCCL's constants, by nccl.h.
const (
	ncclUint8      = 1
	ncclFloat32    = 7
	ncclSum        = 0
	ncclInProgress = 7
	ncclIDBytes    = 128
)

// An ncclID introduces the ranks to each other; rank 0 makes it and tells the others.
type ncclID [ncclIDBytes]byte

type ncclLibrary struct {
	path   string
	handle uintptr
}

func loadNCCL() (*ncclLibrary, error) {
	path, _ := FindNCCL()
	if path == "" {
		return nil, errors.New("no NCCL, by which GPUs are joined, was found: `python3 -m pip install nvidia-nccl-cu13` fetches it, or set NCCL to the folder of libnccl.so.2")
	}
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("NCCL: %w", err)
	}
	return &ncclLibrary{path, h}, nil
}

// newID makes the id of a new communicator.
func (l *ncclLibrary) newID() (*ncclID, error) {
	f, err := purego.Dlsym(l.handle, "ncclGetUniqueId")
	if err != nil {
		return nil, err
	}
	id := new(ncclID)
	if r, _, _ := purego.SyscallN(f, uintptr(unsafe.Pointer(id))); int32(r) != 0 {
		return nil, fmt.Errorf("ncclGetUniqueId failed with code %d; NCCL_DEBUG=WARN tells more", int32(r))
	}
	return id, nil
}

// open joins the communicator of an id. It waits for all ranks, and uses CUDA's device of that number from
// this thread on.
func (l *ncclLibrary) open(id *ncclID, rank, size, device int, stream func() (uintptr, error)) (*nccl, error) {
	n := &nccl{path: l.path, rank: rank, size: size, stream: stream}
	for name, to := range map[string]*uintptr{
		"ncclAllReduce": &n.allReduce, "ncclBroadcast": &n.broadcast, "ncclCommGetAsyncError": &n.asyncError,
		"ncclCommDestroy": &n.destroy, "ncclGetErrorString": &n.errorString, "ncclGetLastError": &n.lastError,
	} {
		var err error
		if *to, err = purego.Dlsym(l.handle, name); err != nil {
			return nil, fmt.Errorf("%s: %w", l.path, err)
		}
	}
	set, err := purego.Dlsym(purego.RTLD_DEFAULT, "cudaSetDevice")
	if err != nil {
		return nil, fmt.Errorf("CUDA's runtime is not loaded: %w", err)
	}
	if r, _, _ := purego.SyscallN(set, uintptr(device)); int32(r) != 0 {
		return nil, fmt.Errorf("cudaSetDevice(%d) failed with code %d: are there as many GPUs as processes on this machine?", device, int32(r))
	}
	comm := new(uintptr)
	// The newer call takes the id by its address; the older one takes its 128 bytes by value.
	if scalable, err := purego.Dlsym(l.handle, "ncclCommInitRankScalable"); err == nil {
		r, _, _ := purego.SyscallN(scalable, uintptr(unsafe.Pointer(comm)), uintptr(size), uintptr(rank), 1, uintptr(unsafe.Pointer(id)), 0)
		if err := n.check("ncclCommInitRankScalable", r); err != nil {
			return nil, err
		}
	} else {
		var initRank func(comm unsafe.Pointer, size int32, id ncclValue, rank int32) int32
		f, err := purego.Dlsym(l.handle, "ncclCommInitRank")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.path, err)
		}
		purego.RegisterFunc(&initRank, f)
		if err := n.check("ncclCommInitRank", uintptr(initRank(unsafe.Pointer(comm), int32(size), ncclValue{*id}, int32(rank)))); err != nil {
			return nil, err
		}
	}
	n.comm = *comm
	return n, nil
}

// An ncclValue is ncclUniqueId as C passes it.
type ncclValue struct{ Internal [ncclIDBytes]byte }

func (n *nccl) check(name string, r uintptr) error {
	code := int32(r)
	if code == 0 {
		return nil
	}
	text, _, _ := purego.SyscallN(n.errorString, uintptr(code))
	more, _, _ := purego.SyscallN(n.lastError, n.comm)
	return fmt.Errorf("%s: %s; %s (NCCL_DEBUG=WARN tells more)", name, cstring(text), cstring(more))
}

// failed tells of what went wrong since, in a call that had returned.
func (n *nccl) failed() error {
	code := new(int32)
	if r, _, _ := purego.SyscallN(n.asyncError, n.comm, uintptr(unsafe.Pointer(code))); int32(r) != 0 {
		return n.check("ncclCommGetAsyncError", r)
	}
	if *code == ncclInProgress {
		return nil
	}
	return n.check("NCCL", uintptr(*code))
}

func (n *nccl) AllReduce(p unsafe.Pointer, count int) error {
	if err := n.failed(); err != nil {
		return err
	}
	stream, err := n.stream()
	if err != nil {
		return err
	}
	r, _, _ := purego.SyscallN(n.allReduce, uintptr(p), uintptr(p), uintptr(count), ncclFloat32, ncclSum, n.comm, stream)
	return n.check("ncclAllReduce", r)
}

func (n *nccl) Broadcast(p unsafe.Pointer, bytes int) error {
	if err := n.failed(); err != nil {
		return err
	}
	stream, err := n.stream()
	if err != nil {
		return err
	}
	r, _, _ := purego.SyscallN(n.broadcast, uintptr(p), uintptr(p), uintptr(bytes), ncclUint8, 0, n.comm, stream)
	return n.check("ncclBroadcast", r)
}

func (n *nccl) Close() error {
	r, _, _ := purego.SyscallN(n.destroy, n.comm)
	return n.check("ncclCommDestroy", r)
}

func (n *nccl) String() string { return "NCCL: " + n.path }

// cstring reads a C string.
func cstring(p uintptr) string {
	if p == 0 {
		return ""
	}
	b := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), 1<<12)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
