package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"must/machine"
	"must/run"
)

// A jobCmd is what the processes of must run --jobs are started with. It goes on until its work is done
// or its standard input ends, as it does when the process that started it dies. Its standard output is
// the error that it ends with.
type jobCmd struct {
	Out   string `arg:""`
	Stage string `arg:""`
	Part  string `arg:"" optional:""`
}

func (c *jobCmd) Run(ctx context.Context, a *app) error {
	r, err := run.Open(c.Out)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := a.engine(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	r.Display = a.display
	err = r.RunJob(ctx, run.Job{Stage: c.Stage, Part: c.Part})
	switch {
	case ctx.Err() != nil: // the state is saved, and the one who asked for it knows
		return status(interrupted)
	case err != nil:
		a.printf("%v", err)
		return status(1)
	}
	return nil
}

// threadsOf returns the share of the threads that each of so many processes has.
func (a *app) threadsOf(jobs int) int {
	return max(1, cmp.Or(a.options.Threads, runtime.NumCPU())/max(1, jobs))
}

// spawn starts this program again for each job, with its share of the threads.
func (a *app) spawn(out string) run.Spawn {
	all := a.threadsOf(1)
	return func(ctx context.Context, j run.Job, beside int, lock *os.File) (peakMB float64, err error) {
		self, err := os.Executable()
		if err != nil {
			return 0, err
		}
		args := []string{"--device", a.options.Device, "--threads", strconv.Itoa(max(1, all/max(1, beside)))}
		if a.display == nil {
			args = append(args, "--quiet")
		}
		args = append(args, "job", out, j.Stage)
		if j.Part != "" {
			args = append(args, j.Part)
		}
		cmd := exec.Command(self, args...)
		cmd.ExtraFiles = []*os.File{lock}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process, which tells the others
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return 0, err
		}
		defer stdin.Close()
		defer context.AfterFunc(ctx, func() { stdin.Close() })()
		var fault bytes.Buffer
		cmd.Stdout, cmd.Stderr = &fault, &relay{line: func(s string) { a.display.Logf("%s", s) }}
		if err = cmd.Run(); err != nil && fault.Len() > 0 {
			err = errors.New(fault.String())
		}
		if cmd.ProcessState != nil {
			peakMB = float64(machine.PeakOf(cmd.ProcessState)) / 1e6
		}
		return peakMB, err
	}
}

// A relay passes on whole lines.
type relay struct {
	line  func(string)
	begun []byte
}

func (r *relay) Write(p []byte) (int, error) {
	r.begun = append(r.begun, p...)
	for {
		line, rest, whole := bytes.Cut(r.begun, []byte{'\n'})
		if !whole {
			return len(p), nil
		}
		r.line(string(line))
		r.begun = append([]byte(nil), rest...)
	}
}
