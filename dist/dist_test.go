package dist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

const role = "MUST_TEST_ROLE"

// The test binary is also what its tests launch several of.
func TestMain(m *testing.M) {
	if r := os.Getenv(role); r != "" {
		Exit(play(r))
	}
	os.Exit(m.Run())
}

// play is one process of a world.
func play(role string) int {
	Watch()
	p, err := FromEnvironment()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	w, err := Join(p, Options{Version: "test", Fatal: func(text string) {
		if text != "" {
			fmt.Println("FATAL", text)
		}
		os.Exit(3)
	}})
	if err != nil {
		fmt.Println("FATAL", err)
		return 1
	}
	if err := act(role, w); err != nil {
		if w.Fail(err) {
			fmt.Println("FATAL", w.Describe(), err)
		}
		return 1
	}
	if err := w.Close(); err != nil {
		fmt.Println("close:", err)
		return 1
	}
	return 0
}

func act(role string, w *World) error {
	sum := func(n int) error {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i%7) + float32(w.Rank)
		}
		if err := w.AllReduce(unsafe.Pointer(unsafe.SliceData(x)), n); err != nil {
			return err
		}
		for i, v := range x {
			want := float32(w.Size*(i%7) + w.Size*(w.Size-1)/2)
			if v != want {
				return fmt.Errorf("sum %d of %d is %v, want %v", i, n, v, want)
			}
		}
		return nil
	}
	for _, n := range []int{0, 1, 1000, 1 << 18} {
		if err := sum(n); err != nil {
			return err
		}
	}
	switch role {
	case "works":
		b := []byte("........")
		if w.Rank == 0 {
			copy(b, "tell all")
		}
		if err := w.Broadcast(unsafe.Pointer(&b[0]), len(b)); err != nil || string(b) != "tell all" {
			return fmt.Errorf("%q was broadcast: %w", b, err)
		}
		if w.Rank == 0 {
			for i := range 3 {
				if err := w.Order(i); err != nil {
					return err
				}
			}
		} else {
			for i := range 3 {
				var got int
				if more, err := w.Next(&got); !more || err != nil || got != i {
					return fmt.Errorf("order %d, want %d; %w", got, i, err)
				}
			}
		}
		for range 3 {
			if err := w.Barrier(); err != nil {
				return err
			}
		}
		fmt.Printf("rank %d of %d by %v\n", w.Rank, w.Size, w.Group)
	case "killed":
		if w.Rank == 1 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		for {
			if err := sum(1000); err != nil { // hangs for want of rank 1
				time.Sleep(time.Minute)
			}
		}
	case "killed leader":
		if w.Rank == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return w.Barrier()
	case "fails":
		if w.Rank == w.Size-1 {
			return errors.New("the disk is full")
		}
		return sum(1 << 20)
	}
	return nil
}

// library returns the MPI that tests run with.
func library(t *testing.T) MPILibrary {
	t.Helper()
	l, err := FindMPI(false)
	if err != nil {
		t.Skipf("no MPI: %v", err)
	}
	return l
}

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func launch(t *testing.T, n int, what string, env ...string) (string, error) {
	t.Helper()
	var out output
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := Launch(ctx, n, func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(append(os.Environ(), role+"="+what), env...)
		c.Stdout, c.Stderr = &out, &out
		return c
	})
	if ctx.Err() != nil {
		t.Fatalf("%s: not done after a minute:\n%s", what, out.text.String())
	}
	return out.text.String(), err
}

// Processes of our own launcher find each other, sum, and hand out work; with both ABIs of MPICH.
func TestWorld(t *testing.T) {
	l := library(t)
	own := t.TempDir() // the library without the standard ABI beside it
	files, err := filepath.Glob(filepath.Join(filepath.Dir(l.Path), "lib*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasPrefix(filepath.Base(f), "libmpi_abi") {
			if err := os.Symlink(f, filepath.Join(own, filepath.Base(f))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		n         int
		mpi, want string
	}{{2, filepath.Dir(l.Path), "libmpi_abi"}, {3, own, "libmpi.so.12"}} {
		if m, _ := filepath.Glob(filepath.Join(c.mpi, c.want+"*")); len(m) == 0 {
			continue // another MPI than ours
		}
		out, err := launch(t, c.n, "works", "MPI="+c.mpi)
		if err != nil {
			t.Errorf("%s, %d processes: %v\n%s", c.want, c.n, err, out)
		}
		for rank := range c.n {
			if !strings.Contains(out, fmt.Sprintf("rank %d of %d by MPI: ", rank, c.n)) || !strings.Contains(out, c.want) {
				t.Errorf("%s: rank %d is missing:\n%s", c.want, rank, out)
			}
		}
	}
}

// So do those of MPICH's launcher.
func TestMPIExec(t *testing.T) {
	l := library(t)
	if l.MPIExec == "" {
		t.Skip("no mpiexec beside ", l.Path)
	}
	c := exec.Command(l.MPIExec, "-n", "3", os.Args[0])
	c.Env = append(os.Environ(), role+"=works")
	out, err := c.CombinedOutput()
	if err != nil || strings.Count(string(out), " of 3 by MPI") != 3 {
		t.Errorf("%v:\n%s", err, out)
	}
}

// One that dies or fails ends all, and one message names it.
func TestFailures(t *testing.T) {
	library(t)
	for _, c := range []struct{ what, want string }{
		{"killed", "process 1 of 3 (pid"}, {"killed leader", "process 0 of 3 (pid"}, {"fails", "process 2 of 3 (pid"},
	} {
		began := time.Now()
		out, err := launch(t, 3, c.what)
		if err == nil {
			t.Errorf("%s: no error", c.what)
		}
		if said := strings.Count(out, "FATAL"); c.what == "fails" {
			if said != 1 || !strings.Contains(out, c.want) {
				t.Errorf("%s: want one message with %q:\n%s", c.what, c.want, out)
			}
		} else if said > 0 || err == nil || !strings.Contains(err.Error(), c.want) { // our launcher says it
			t.Errorf("%s: %v, want %q:\n%s", c.what, err, c.want, out)
		}
		if c.what == "fails" && !strings.Contains(out, "the disk is full") {
			t.Errorf("the reason is missing:\n%s", out)
		}
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("%s: it took %v", c.what, d)
		}
	}
}

// A stop is passed on, and processes end with the one that launched them.
func TestStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var c *exec.Cmd
	time.AfterFunc(300*time.Millisecond, cancel)
	err := Launch(ctx, 1, func() *exec.Cmd {
		c = exec.Command("sleep", "60")
		return c
	})
	if err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("%v, want the signal to end", err)
	}
}

// Every launcher's variables are understood.
func TestPlace(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want Place
		err  string
	}{
		"nobody": {nil, Alone, ""},
		"torchrun": {map[string]string{"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True"},
			Place{3, 4, 1, 2, "RANK and WORLD_SIZE", "a:29501"}, ""},
		"Kubeflow": {map[string]string{"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "fd00::1", "MASTER_PORT": "23456"},
			Place{1, 2, 0, 1, "RANK and WORLD_SIZE", "[fd00::1]:23456"}, ""},
		"one":                    {map[string]string{"RANK": "0", "WORLD_SIZE": "1"}, Alone, ""},
		"Open MPI":               {map[string]string{"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, Place{1, 2, 1, 2, "Open MPI", ""}, ""},
		"Open MPI with a master": {map[string]string{"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, Place{1, 2, 0, 1, "Open MPI", "a:1"}, ""},
		"MPICH":                  {map[string]string{"PMI_RANK": "0", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}, Place{0, 2, 0, 2, "MPICH", ""}, ""},
		"a batch script":         {map[string]string{"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Alone, ""},
		"Slurm": {map[string]string{"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_NODEID": "2", "SLURM_STEP_ID": "1", "SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "gpu[03-05,7]", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"},
			Place{5, 8, 1, 2, "Slurm", "gpu03:21233"}, ""},
		"Slurm with PMIx": {map[string]string{"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "PMIX_RANK": "1"}, Place{1, 2, 0, 1, "Slurm", ""}, ""},
		"no address":      {map[string]string{"RANK": "0", "WORLD_SIZE": "2"}, Alone, "MASTER_ADDR"},
		"no number":       {map[string]string{"RANK": "first", "WORLD_SIZE": "2"}, Alone, "RANK"},
		"out of range":    {map[string]string{"PMI_RANK": "2", "PMI_SIZE": "2"}, Alone, "PMI_RANK"},
		"bad port":        {map[string]string{"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "http"}, Alone, "MASTER_PORT"},
	} {
		got, err := place(func(v string) string { return c.env[v] })
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: %+v, want %+v; %v", name, got, c.want, err)
		}
	}
	for list, want := range map[string]string{"n1": "n1", "n1,n2": "n1", "n[1-3]": "n1", "n[07,9]-ib": "n07-ib", "a,n[1-3]": "a"} {
		if got := firstNode(list); got != want {
			t.Errorf("first of %s is %s, want %s", list, got, want)
		}
	}
}

// The directory tells which ranks share a machine.
func TestMapping(t *testing.T) {
	for want, machines := range map[string][]string{
		"(vector,(0,1,2))":                 {"a", "a"},
		"(vector,(0,1,1),(1,1,2),(0,1,1))": {"a", "b", "b", "a"},
		"(vector,(0,1,1),(1,1,1),(2,1,1))": {"a", "b", "c"},
	} {
		if got := mapping(machines); got != want {
			t.Errorf("%v: %s, want %s", machines, got, want)
		}
	}
}

// A missing NCCL is told with a remedy. Nothing else of it runs without GPUs.
func TestNoNCCL(t *testing.T) {
	t.Setenv("NCCL", t.TempDir())
	if _, err := loadNCCL(); err == nil || !strings.Contains(err.Error(), "pip install nvidia-nccl") {
		t.Error(err)
	}
}
