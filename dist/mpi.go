package dist

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"
)

// An abi is what differs between the MPI libraries: their handles and constants. Everything else is the
// same C function by the same name.
type abi struct {
	name                                            string
	world, float, bytes, sum, errorsReturn, inPlace uintptr
	funneled                                        uintptr
}

var (
	standardABI = abi{"the standard ABI of MPI 5", 0x101, 0x210, 0x247, 0x21, 0x143, 1, 1024}
	mpichABI    = abi{"MPICH's ABI", 0x44000000, 0x4c00040a, 0x4c00010d, 0x58000003, 0x54000001, ^uintptr(0), 1}
)

// abiOf tells the libraries apart by symbols that only one of them has.
func abiOf(h uintptr) (abi, error) {
	has := func(name string) uintptr {
		p, _ := purego.Dlsym(h, name)
		return p
	}
	if has("MPI_Init_thread") == 0 {
		return abi{}, fmt.Errorf("it has no MPI_Init_thread: it is no MPI library")
	}
	if has("ompi_mpi_comm_world") != 0 { // its handles are addresses
		return abi{"Open MPI's ABI", has("ompi_mpi_comm_world"), has("ompi_mpi_float"), has("ompi_mpi_byte"), has("ompi_mpi_op_sum"), has("ompi_mpi_errors_return"), 1, 1}, nil
	}
	if has("MPIR_Dup_fn") != 0 { // what it exports beyond the standard
		return mpichABI, nil
	}
	if has("MPI_Abi_get_version") != 0 {
		return standardABI, nil
	}
	return abi{}, fmt.Errorf("it is neither Open MPI's, nor of the MPICH family, nor of the standard ABI of MPI 5")
}

// mpi is the world of an MPI library. All its calls run on one thread, as MPI_THREAD_FUNNELED wants it.
type mpi struct {
	lib        MPILibrary
	abi        abi
	handle     uintptr
	rank, size int
	work       chan func()

	allReduce, broadcast, barrier, errorString, finalize uintptr
}

// openMPI opens and initialises the library. What its launcher, or ours, has put into the environment
// tells it who the others are.
func openMPI(l MPILibrary) (*mpi, error) {
	m := &mpi{lib: l, work: make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlocked: the library's thread ends with the process
		for f := range m.work {
			f()
		}
	}()
	var err error
	m.do(func() { err = m.init() })
	if err != nil {
		return nil, fmt.Errorf("MPI library %s: %w", l.Path, err)
	}
	return m, nil
}

func (m *mpi) do(f func()) {
	done := make(chan struct{})
	m.work <- func() { defer close(done); f() }
	<-done
}

func (m *mpi) init() (err error) {
	// Open MPI opens its parts by itself, and they look for its symbols among the global ones.
	if m.handle, err = purego.Dlopen(m.lib.Path, purego.RTLD_NOW|purego.RTLD_GLOBAL); err != nil {
		return err
	}
	if m.abi, err = abiOf(m.handle); err != nil {
		return err
	}
	symbols := map[string]uintptr{}
	for _, name := range []string{"Init_thread", "Comm_size", "Comm_rank", "Comm_set_errhandler", "Allreduce", "Bcast", "Barrier", "Error_string", "Finalize"} {
		if symbols[name], err = purego.Dlsym(m.handle, "MPI_"+name); err != nil {
			return err
		}
	}
	m.allReduce, m.broadcast, m.barrier = symbols["Allreduce"], symbols["Bcast"], symbols["Barrier"]
	m.errorString, m.finalize = symbols["Error_string"], symbols["Finalize"]
	var provided, rank, size int32
	if err := m.call("MPI_Init_thread", symbols["Init_thread"], 0, 0, m.abi.funneled, uintptr(unsafe.Pointer(&provided))); err != nil {
		return err
	}
	if err := m.call("MPI_Comm_set_errhandler", symbols["Comm_set_errhandler"], m.abi.world, m.abi.errorsReturn); err != nil {
		return err
	}
	if err := m.call("MPI_Comm_rank", symbols["Comm_rank"], m.abi.world, uintptr(unsafe.Pointer(&rank))); err != nil {
		return err
	}
	if err := m.call("MPI_Comm_size", symbols["Comm_size"], m.abi.world, uintptr(unsafe.Pointer(&size))); err != nil {
		return err
	}
	m.rank, m.size = int(rank), int(size)
	return nil
}

// call runs a function of the library, which returns 0 or the code of an error.
//
//go:uintptrescapes
func (m *mpi) call(name string, f uintptr, args ...uintptr) error {
	r, _, _ := purego.SyscallN(f, args...)
	code := int32(r)
	if code == 0 {
		return nil
	}
	text, length := make([]byte, 8192), int32(0) // no library's texts are longer
	purego.SyscallN(m.errorString, uintptr(code), uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(&length)))
	return fmt.Errorf("%s: %s", name, strings.TrimSpace(string(text[:max(0, min(int(length), len(text)))])))
}

// most is how many values one call sums: counts are 32 bits wide, and more at once is not faster.
const most = 1 << 26

func (m *mpi) AllReduce(p unsafe.Pointer, n int) (err error) {
	m.do(func() {
		for ; n > 0 && err == nil; n -= most {
			err = m.call("MPI_Allreduce", m.allReduce, m.abi.inPlace, uintptr(p), uintptr(min(n, most)), m.abi.float, m.abi.sum, m.abi.world)
			p = unsafe.Add(p, 4*min(n, most))
		}
	})
	return err
}

func (m *mpi) Broadcast(p unsafe.Pointer, bytes int) (err error) {
	m.do(func() {
		for ; bytes > 0 && err == nil; bytes -= most {
			err = m.call("MPI_Bcast", m.broadcast, uintptr(p), uintptr(min(bytes, most)), m.abi.bytes, 0, m.abi.world)
			p = unsafe.Add(p, min(bytes, most))
		}
	})
	return err
}

func (m *mpi) Barrier() (err error) {
	m.do(func() { err = m.call("MPI_Barrier", m.barrier, m.abi.world) })
	return err
}

func (m *mpi) Close() (err error) {
	m.do(func() { err = m.call("MPI_Finalize", m.finalize) })
	return err
}

func (m *mpi) String() string {
	return fmt.Sprintf("MPI: %s, %s (%s)", m.lib.Path, m.abi.name, m.lib.Reason)
}

// Exit ends the process as a C program ends, where a launcher made the world: MPICH takes leave of its launcher
// only then, and a launcher that has not heard that kills the other processes.
func Exit(code int) {
	if launched.Load() {
		if exit, err := purego.Dlsym(purego.RTLD_DEFAULT, "exit"); err == nil {
			purego.SyscallN(exit, uintptr(code))
		}
	}
	os.Exit(code)
}

var launched atomic.Bool

// cenv sets or, with an empty value, unsets variables in the C environment, which Go's own does not reach.
func cenv(vars map[string]string) {
	set, _ := purego.Dlsym(purego.RTLD_DEFAULT, "setenv")
	unset, _ := purego.Dlsym(purego.RTLD_DEFAULT, "unsetenv")
	for name, value := range vars {
		n, v := append([]byte(name), 0), append([]byte(value), 0)
		if value == "" {
			os.Unsetenv(name)
			purego.SyscallN(unset, uintptr(unsafe.Pointer(&n[0])))
			continue
		}
		os.Setenv(name, value)
		purego.SyscallN(set, uintptr(unsafe.Pointer(&n[0])), uintptr(unsafe.Pointer(&v[0])), 1)
	}
}
