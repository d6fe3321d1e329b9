package dist

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"unsafe"
)

// A Group computes together: every rank calls the same functions in the same order. Memory is that of the
// device: the host's for MPI, a GPU's for NCCL.
type Group interface {
	// AllReduce replaces n float32 values at p by their sums over all ranks, in place. All ranks end with the
	// same bytes.
	AllReduce(p unsafe.Pointer, n int) error

	// Broadcast replaces so many bytes at p by those of rank 0.
	Broadcast(p unsafe.Pointer, bytes int) error

	// Close leaves the group, which all ranks do together.
	Close() error

	String() string
}

// A World is all processes of a run. The nil World is a process of its own: rank 0 of 1.
type World struct {
	Place
	Group
	line *line
}

// Options says how a world is joined.
type Options struct {
	CUDA    bool                    // the group is one of GPUs; call Join on the thread that computes
	Device  int                     // number of the GPU
	Stream  func() (uintptr, error) // the stream that this thread's operators run on
	Version string                  // of the program, which is to be the same everywhere
	Log     func(string)            // hears what takes long; may be nil
	Fatal   func(text string)       // ends this process where another one failed; with a text, says it first
}

// Join meets the other processes of a place and joins them into a group.
func Join(p Place, o Options) (*World, error) {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	w := &World{Place: p}
	var err error
	if p.Master == "" {
		err = w.joinMPI(o)
	} else {
		err = w.joinMaster(o)
	}
	if err != nil {
		return nil, fmt.Errorf("process %d of %d (by the variables of %s): %w", p.Rank, p.Size, p.Launcher, err)
	}
	return w, nil
}

// joinMPI joins a world that an MPI launcher has made: rank 0 tells over it where it listens.
func (w *World) joinMPI(o Options) error {
	lib, err := FindMPI(w.Launcher == "Open MPI" || os.Getenv("PMIX_RANK") != "")
	if err != nil {
		return err
	}
	m, err := openMPI(lib)
	if err != nil {
		return err
	}
	launched.Store(true)
	if m.rank != w.Rank || m.size != w.Size {
		return fmt.Errorf("the MPI library %s takes this for process %d of %d: it does not belong to the launcher; set MPI to the folder of the launcher's own library", lib.Path, m.rank, m.size)
	}
	var listener net.Listener
	where := new([1 << 12]byte) // JSON, the rest is zeros
	if w.Rank == 0 {
		if listener, err = net.Listen("tcp", ":0"); err != nil {
			return err
		}
		b, err := json.Marshal(addresses(listener.Addr().(*net.TCPAddr).Port))
		if err != nil || len(b) >= len(where) {
			return fmt.Errorf("the addresses of this machine take %d bytes: %w", len(b), err)
		}
		copy(where[:], b)
	}
	if err := m.Broadcast(unsafe.Pointer(where), len(where)); err != nil {
		return err
	}
	var addresses []string
	if err := json.Unmarshal(where[:clen(where[:])], &addresses); err != nil {
		return err
	}
	if !o.CUDA {
		w.Group = m
	}
	return w.meet(o, listener, addresses, nil)
}

func clen(b []byte) int {
	for i, c := range b {
		if c == 0 {
			return i
		}
	}
	return len(b)
}

// addresses lists where this machine can be reached at a port: by its name and by the addresses of its
// networks.
func addresses(port int) []string {
	var found []string
	p := strconv.Itoa(port)
	if all, err := net.InterfaceAddrs(); err == nil {
		for _, a := range all {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() && len(found) < 30 {
				found = append(found, net.JoinHostPort(n.IP.String(), p))
			}
		}
	}
	if host, err := os.Hostname(); err == nil {
		found = append(found, net.JoinHostPort(host, p))
	}
	return append(found, net.JoinHostPort("127.0.0.1", p)) // last, for machines without a network
}

// joinMaster joins processes that know where rank 0 listens and nothing else of each other.
func (w *World) joinMaster(o Options) error {
	host, port, err := net.SplitHostPort(w.Master)
	if err != nil {
		return err
	}
	var lib MPILibrary
	if !o.CUDA {
		if lib, err = FindMPI(false); err != nil {
			return err
		}
	}
	var listener net.Listener
	if w.Rank == 0 {
		if listener, err = net.Listen("tcp", ":"+port); err != nil {
			return fmt.Errorf("rank 0 listens there for the others: %w; set MASTER_PORT to a free port", err)
		}
	}
	return w.meet(o, listener, []string{w.Master}, func(l *line) error {
		if o.CUDA {
			return nil
		}
		if w.Rank == 0 {
			host = "127.0.0.1"
		}
		id := strconv.Itoa(w.Rank)
		cenv(map[string]string{
			"PMI_PORT": net.JoinHostPort(host, strconv.Itoa(l.welcome.PMI)), "PMI_ID": id, "PMI_RANK": id, "PMI_SIZE": strconv.Itoa(w.Size),
			"PMI_FD": "", "PMIX_RANK": "", "PMIX_NAMESPACE": "", // of a launcher above ours
		})
		m, err := openMPI(lib)
		if err != nil {
			return err
		}
		if m.rank != w.Rank || m.size != w.Size {
			return fmt.Errorf("the MPI library %s takes this for process %d of %d; it does not find the others by PMI_PORT: use MPICH (`make mpi`), or the launcher that belongs to it", lib.Path, m.rank, m.size)
		}
		w.Group = m
		return nil
	})
}

// meet opens the line, lets then make the group of it where that is needed, and NCCL's where GPUs compute.
func (w *World) meet(o Options, listener net.Listener, addresses []string, then func(l *line) error) (err error) {
	var n *ncclLibrary
	if o.CUDA {
		if n, err = loadNCCL(); err != nil {
			return err
		}
	}
	if w.Rank == 0 {
		w.line, err = lead(listener, w.Place, o.Version, o.Log, func(wel *welcome) error {
			if n != nil {
				id, err := n.newID()
				if err == nil {
					wel.NCCL = id[:]
				}
				return err
			}
			if then == nil {
				return nil
			}
			var machines []string
			for _, h := range wel.All {
				machines = append(machines, h.Machine)
			}
			var err error
			wel.PMI, err = serveDirectory(machines)
			return err
		})
	} else {
		w.line, err = follow(addresses, w.Place, o.Version, o.Log)
	}
	if err != nil {
		return err
	}
	w.line.listen(o.Fatal) // from now on nobody waits for one that is gone
	if then != nil {
		err = then(w.line)
	}
	if err == nil && n != nil {
		if len(w.line.welcome.NCCL) != ncclIDBytes {
			return errors.New("process 0 does not compute on a GPU, this one does: give all the same --device")
		}
		w.Group, err = n.open((*ncclID)(w.line.welcome.NCCL), w.Rank, w.Size, o.Device, o.Stream)
	}
	if err != nil {
		w.Fail(err)
	}
	return err
}

// Leads reports whether this process is the one that writes files and talks to people.
func (w *World) Leads() bool { return w == nil || w.Rank == 0 }

// Count returns the number of processes.
func (w *World) Count() int {
	if w == nil {
		return 1
	}
	return w.Size
}

// Number returns the rank.
func (w *World) Number() int {
	if w == nil {
		return 0
	}
	return w.Rank
}

// Order hands a value to all other ranks, which get it from Next. Rank 0 calls it.
func (w *World) Order(v any) error {
	if w == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.line.tell(message{Kind: kindOrder, Order: b})
}

// Next waits for rank 0's next order, without using the processor meanwhile, and decodes it. It returns
// false when there are no more.
func (w *World) Next(v any) (bool, error) {
	b, ok := <-w.line.orders
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(b, v)
}

// AllReduce is the group's. MPI waits for others by asking again and again, as fast as it can; so processes of
// CPUs wait for each other here first, without using the processor that another one may need to catch up.
func (w *World) AllReduce(p unsafe.Pointer, n int) error {
	if _, cpu := w.Group.(*mpi); cpu {
		if err := w.line.barrier(); err != nil {
			return err
		}
	}
	return w.Group.AllReduce(p, n)
}

// Barrier waits until all ranks have come to it, without using the processor meanwhile.
func (w *World) Barrier() error {
	if w == nil {
		return nil
	}
	return w.line.barrier()
}

// Fail tells the others that this process ends by an error, and they end too. It reports whether it is left
// to this process to tell people: rank 0 does it for the others.
func (w *World) Fail(err error) (tell bool) {
	if w == nil || w.line == nil {
		return true
	}
	return w.line.fail(err.Error())
}

// Describe names this process for people, as other processes' failures are told.
func (w *World) Describe() string { return name(w.Size, w.line.welcome.All[w.Rank]) }

// Machines counts the machines of the world, for people.
func (w *World) Machines() string {
	seen := map[string]bool{}
	for _, h := range w.line.welcome.All {
		seen[h.Machine] = true
	}
	if len(seen) == 1 {
		return "one machine"
	}
	return fmt.Sprintf("%d machines", len(seen))
}

// Close leaves the world in order; all ranks do.
func (w *World) Close() error {
	if w == nil {
		return nil
	}
	w.line.bye() // first: who waits for orders is to leave the group too
	err := w.Group.Close()
	w.line.close()
	return err
}
