package dist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// lifeline is set for processes whose standard input ends when the one that launched them does.
const lifeline = "MUST_LIFELINE"

// Watch asks this process to stop, as Ctrl-C does, when the process that launched it is gone.
func Watch() {
	if os.Getenv(lifeline) == "" {
		return
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
}

// grace is how long processes may go on after one of them failed; they end by themselves within moments, but
// where they wait for one that never came.
const grace = 5 * time.Second

// Launch runs n processes of a command on this machine and waits for all. When ctx ends they are asked to
// stop, as by Ctrl-C. Where one fails the others are ended, if they do not end by themselves. The error is an
// *exec.ExitError where the process has said what went wrong, and else names the process.
func Launch(ctx context.Context, n int, command func() *exec.Cmd) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	type ended struct {
		rank int
		err  error
	}
	results := make(chan ended)
	var started []*exec.Cmd
	signal := func(s syscall.Signal) {
		for _, c := range started {
			c.Process.Signal(s)
		}
	}
	for rank := range n {
		c := command()
		size, r := strconv.Itoa(n), strconv.Itoa(rank)
		c.Env = append(c.Environ(), "RANK="+r, "WORLD_SIZE="+size, "LOCAL_RANK="+r, "LOCAL_WORLD_SIZE="+size,
			"MASTER_ADDR=127.0.0.1", "MASTER_PORT="+strconv.Itoa(port), "TORCHELASTIC_USE_AGENT_STORE=", lifeline+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process, which tells the others once
		stdin, err := c.StdinPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			signal(syscall.SIGKILL)
			return fmt.Errorf("process %d of %d: %w", rank, n, err)
		}
		started = append(started, c)
		go func() {
			err := c.Wait()
			stdin.Close()
			results <- ended{rank, err}
		}()
	}
	defer context.AfterFunc(ctx, func() { signal(syscall.SIGTERM) })()
	var first, silent error
	var over atomic.Bool // who ends by a signal from now on ends by ours
	for range n {
		e := <-results
		if e.err == nil {
			continue
		}
		if first == nil {
			first = e.err
			defer time.AfterFunc(grace, func() { over.Store(true); signal(syscall.SIGKILL) }).Stop()
		}
		// One that was killed is what others fail of, though they may be the first to end.
		if exit, ok := errors.AsType[*exec.ExitError](e.err); (!ok || !exit.Exited()) && silent == nil && !over.Load() {
			silent = fmt.Errorf("process %d of %d (pid %d) ended without a word: %v; all processes end here, and the same command goes on from what was saved last",
				e.rank, n, started[e.rank].Process.Pid, e.err)
		}
	}
	if silent != nil {
		return silent
	}
	return first
}
