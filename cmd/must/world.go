package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"must/dist"
	"must/recipe"
	"must/torch"
	"must/train"
)

// worldFlags are those of verbs whose work several processes can share.
type worldFlags struct {
	Processes int `help:"Processes that compute together, each its part of every batch: on CPUs each has its share of the threads, on GPUs each its own. On several machines a launcher starts them: see docs/cluster.md." placeholder:"N"`
}

// takePlace reads which process of how many this is, and takes its share of the machine.
func (a *app) takePlace() (err error) {
	if a.place, err = dist.FromEnvironment(); err != nil || a.place.Size == 1 {
		return err
	}
	dist.Watch()
	if a.place.Rank > 0 { // the first one talks to people
		a.display = nil
	}
	if n := a.place.LocalSize; n > 1 {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/n)) // which threads and loaders follow
	}
	if a.options.Device == "cuda" {
		a.options.Device += ":" + strconv.Itoa(a.place.LocalRank)
	}
	return nil
}

// join meets the other processes, if there are any, and opens the engine.
func (a *app) join() error {
	if err := a.engine(); err != nil || a.place.Size == 1 {
		return err
	}
	o := dist.Options{Version: recipe.Version, Log: func(s string) { a.display.Logf("%s", s) }, Fatal: a.fatal, Stream: torch.Stream}
	join := func() (err error) {
		a.world, err = dist.Join(a.place, o)
		return err
	}
	var gpu bool
	if _, index, ok := strings.Cut(a.options.Device, "cuda:"); ok {
		o.CUDA, gpu = true, true
		o.Device, _ = strconv.Atoi(index)
	}
	var err error
	if gpu { // NCCL belongs to the thread that computes
		err = torch.DoErr(join)
	} else {
		err = join()
	}
	if err == nil {
		a.display.Logf("%d processes on %s compute together: %v", a.place.Size, a.world.Machines(), a.world.Group)
	}
	return err
}

// share is join for a run into a folder that all processes see.
func (a *app) share(out string) error {
	if err := a.join(); err != nil || a.world == nil {
		return err
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	return a.world.CheckFolder(out)
}

// fatal ends this process because another one has ended.
func (a *app) fatal(text string) {
	a.display.Close()
	if text != "" {
		fmt.Fprintf(a.stderr, "must: %s\n", text)
	}
	os.Exit(1)
}

// leave takes leave of the other processes and returns the error that is left to this one to tell.
func (a *app) leave(err error) error {
	switch {
	case a.world == nil:
		return err
	case err == nil || errors.Is(err, train.ErrAllStopped):
		return cmp.Or(err, a.world.Close())
	case a.world.Fail(err):
		return fmt.Errorf("%s: %w", a.world.Describe(), err)
	}
	return status(1)
}

// launch runs the same command in so many processes.
func (a *app) launch(ctx context.Context, n int) error {
	a.launched.Store(true)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	err = dist.Launch(ctx, n, func() *exec.Cmd {
		c := exec.Command(self, a.args...)
		c.Stdout, c.Stderr = a.stdout, a.stderr
		return c
	})
	if exit, ok := errors.AsType[*exec.ExitError](err); ok { // it has said why
		return status(max(1, exit.ExitCode()))
	}
	return err
}
