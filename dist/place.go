// Package dist joins the processes that a launcher started, on one machine or on several, into a group
// whose gradients are summed: by MPI on CPUs and by NCCL on GPUs, both through their C libraries. Beside
// the group there is a line of text from every process to the first, over which work is handed out and
// failures are told.
package dist

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// A Place says which of how many processes this one is.
type Place struct {
	Rank, Size           int
	LocalRank, LocalSize int    // among those on this machine; LocalSize is 1 where the launcher does not tell
	Launcher             string // whose variables told, for people
	Master               string // host:port at which rank 0 waits for the others; "" where MPI introduces them
}

// Alone is the place of a process that nobody launched as one of several.
var Alone = Place{Size: 1, LocalSize: 1}

// A launcher is the variables by which one kind of launcher tells a process its place.
type launcher struct {
	name                                            string
	rank, size, localRank, localSize, needs, master string
}

var launchers = []launcher{
	// torchrun, accelerate, Kubeflow's PyTorchJob and Trainer, must run --processes
	{name: "RANK and WORLD_SIZE", rank: "RANK", size: "WORLD_SIZE", localRank: "LOCAL_RANK", localSize: "LOCAL_WORLD_SIZE", master: "MASTER_ADDR"},
	{name: "Open MPI", rank: "OMPI_COMM_WORLD_RANK", size: "OMPI_COMM_WORLD_SIZE", localRank: "OMPI_COMM_WORLD_LOCAL_RANK", localSize: "OMPI_COMM_WORLD_LOCAL_SIZE"},
	{name: "MPICH", rank: "PMI_RANK", size: "PMI_SIZE", localRank: "MPI_LOCALRANKID", localSize: "MPI_LOCALNRANKS"},
	// SLURM_NTASKS is there in a batch script too, which is one process; SLURM_STEP_ID is srun's.
	{name: "Slurm", rank: "SLURM_PROCID", size: "SLURM_NTASKS", localRank: "SLURM_LOCALID", needs: "SLURM_STEP_ID", master: "SLURM_STEP_NODELIST"},
}

// FromEnvironment reads the place of this process from what its launcher set; without any it is Alone.
func FromEnvironment() (Place, error) { return place(os.Getenv) }

func place(env func(string) string) (Place, error) {
	for _, l := range launchers {
		if env(l.rank) == "" || env(l.size) == "" || l.needs != "" && env(l.needs) == "" {
			continue
		}
		p := Place{Launcher: l.name, LocalSize: 1}
		for _, v := range []struct {
			to   *int
			name string
			must bool
		}{{&p.Rank, l.rank, true}, {&p.Size, l.size, true}, {&p.LocalRank, l.localRank, false}, {&p.LocalSize, l.localSize, false}} {
			text := env(v.name)
			if text == "" && !v.must {
				continue
			}
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return Alone, fmt.Errorf("%s is %q; a launcher sets it to a whole number: unset it to run as one process", v.name, text)
			}
			*v.to = n
		}
		if p.Size < 1 || p.Rank >= p.Size {
			return Alone, fmt.Errorf("%s is %d and %s is %d; ranks count from 0 to one less than the size", l.rank, p.Rank, l.size, p.Size)
		}
		if p.LocalSize == 1 && l.name == "Slurm" {
			p.LocalSize = tasksHere(env("SLURM_STEP_TASKS_PER_NODE"), env("SLURM_NODEID"))
		}
		if p.Size == 1 {
			return Alone, nil
		}
		var err error
		p.Master, err = l.masterOf(env)
		return p, err
	}
	return Alone, nil
}

// masterOf returns where rank 0 listens, by MASTER_ADDR and MASTER_PORT or by Slurm's list of nodes.
func (l launcher) masterOf(env func(string) string) (string, error) {
	host, port := env("MASTER_ADDR"), env("MASTER_PORT")
	if host == "" && l.name == "Slurm" {
		if env("PMI_FD") != "" || env("PMI_RANK") != "" || env("PMIX_RANK") != "" { // srun --mpi=pmi2 or pmix
			return "", nil
		}
		host = firstNode(cmp.Or(env("SLURM_STEP_NODELIST"), env("SLURM_JOB_NODELIST")))
		if port == "" {
			job, _ := strconv.Atoi(env("SLURM_JOB_ID"))
			step, _ := strconv.Atoi(env("SLURM_STEP_ID"))
			port = strconv.Itoa(20000 + (job*16+step)%10000) // apart from those of other jobs on the node
		}
	}
	if host == "" && port == "" && l.master == "" {
		return "", nil // an MPI launcher
	}
	if host == "" || port == "" {
		return "", fmt.Errorf("%s tell of %s processes, but MASTER_ADDR is %q and MASTER_PORT %q; rank 0 waits there for the others: set both", l.name, env(l.size), host, port)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65534 {
		return "", fmt.Errorf("MASTER_PORT is %q; it must be a port number up to 65534", port)
	}
	if strings.EqualFold(env("TORCHELASTIC_USE_AGENT_STORE"), "true") {
		n++ // torchrun itself listens at MASTER_PORT
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

// firstNode expands the first name of Slurm's list of nodes: "gpu[03-05,7],cpu1" begins with gpu03.
func firstNode(list string) string {
	prefix, rest, ranges := strings.Cut(list, "[")
	if first, _, several := strings.Cut(prefix, ","); several || !ranges {
		return first
	}
	inside, suffix, _ := strings.Cut(rest, "]")
	suffix, _, _ = strings.Cut(suffix, ",")
	end := strings.IndexAny(inside, "-,")
	if end < 0 {
		end = len(inside)
	}
	return prefix + inside[:end] + suffix
}

// tasksHere reads Slurm's counts of tasks per node, such as "2(x3),1"; 1 where it cannot tell.
func tasksHere(counts, node string) int {
	at, err := strconv.Atoi(node)
	if err != nil {
		return 1
	}
	for _, group := range strings.Split(counts, ",") {
		count, times, repeated := strings.Cut(strings.TrimSuffix(group, ")"), "(x")
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return 1
		}
		k := 1
		if repeated {
			if k, err = strconv.Atoi(times); err != nil {
				return 1
			}
		}
		if at -= k; at < 0 {
			return n
		}
	}
	return 1
}
