package recipe

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"must/progress"
)

// A Job is what one of several processes does by itself: a stage, or of a transfer stage the trials of
// one start on one set. Small networks train faster side by side than with the threads of all.
type Job struct{ Stage, Set, Start string }

func (j Job) String() string {
	if j.Set == "" {
		return j.Stage
	}
	return fmt.Sprintf("%s: %s from %s", j.Stage, j.Set, j.Start)
}

// A Spawn does a job in another process, which keeps the lock open while it lives, and returns the
// largest resident memory it had, in MB. When ctx ends the process saves its state and stops.
type Spawn func(ctx context.Context, j Job, lock *os.File) (peakMB float64, err error)

// RunJob does a job in this process, into the folder that another Runner has prepared.
func (r *Runner) RunJob(ctx context.Context, j Job) error {
	s := r.stage(j.Stage)
	if s == nil {
		return fmt.Errorf("no stage %q", j.Stage)
	}
	if j.Set == "" {
		return r.runStage(ctx, s)
	}
	if s.Transfer == nil || s.Transfer.From[j.Start] == nil {
		return fmt.Errorf("stage %s has no start %q", j.Stage, j.Start)
	}
	for _, set := range s.Transfer.Sets {
		if set.Data == j.Set {
			return r.fineTune(ctx, s, set, j.Start, nil)
		}
	}
	return fmt.Errorf("stage %s has no set %q", j.Stage, j.Set)
}

// jobs are those of a stage that are not done.
func (r *Runner) jobs(s *Stage) (jobs []Job) {
	if s.Transfer == nil {
		return []Job{{Stage: s.Name}}
	}
	for _, set := range s.Transfer.Sets {
		for _, start := range keys(s.Transfer.From) {
			done := !slices.ContainsFunc(s.Transfer.Seeds, func(seed uint64) bool {
				_, err := ReadTrial(r.trialDir(s, set, start, seed))
				return err != nil
			})
			if !done {
				jobs = append(jobs, Job{s.Name, set.Data, start})
			}
		}
	}
	return jobs
}

// A running stage has jobs left.
type running struct {
	stage *Stage
	key   string
	began time.Time
	left  int
	peak  float64
	bar   *progress.Task
}

// runJobs runs all stages that are not done, each as soon as those are done that it reads, in several
// processes.
func (r *Runner) runJobs(ctx context.Context, lock *os.File) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ended struct {
		Job
		peak float64
		err  error
	}
	results := make(chan ended)
	stages := map[string]*running{}
	var queue []Job
	var first error
	fail := func(err error) {
		if first == nil {
			first = err
		}
		queue = nil
		cancel() // the others save their states
	}
	for busy := 0; ; {
		if first == nil {
			more, err := r.ready(stages)
			if err != nil {
				fail(err)
			}
			queue = append(queue, more...)
		}
		for len(queue) > 0 && busy < r.Jobs && ctx.Err() == nil {
			j := queue[0]
			queue = queue[1:]
			if s := stages[j.Stage]; s.began.IsZero() { // waiting for others does not count
				s.began = time.Now()
			}
			busy++
			go func() {
				peak, err := r.Spawn(ctx, j, lock)
				results <- ended{j, peak, err}
			}()
		}
		if busy == 0 {
			if len(stages) == 0 && first == nil { // figures may be new
				_, first = r.Report()
			}
			return cmp.Or(first, ctx.Err())
		}
		e := <-results
		busy--
		s := stages[e.Stage]
		s.left--
		s.peak = max(s.peak, e.peak)
		s.bar.Add(1)
		if e.err != nil {
			fail(fmt.Errorf("stage %v: %w", e.Job, e.err))
		}
		if s.left == 0 || first != nil {
			if err := r.end(s, e.err == nil && first == nil); err != nil {
				fail(err)
			}
		}
	}
}

// ready starts the stages whose inputs are there and returns their jobs.
func (r *Runner) ready(stages map[string]*running) (jobs []Job, err error) {
	for _, s := range r.Stages {
		if _, done := r.finished(s); done || stages[s.Name] != nil || !r.wanted(s) {
			continue
		}
		waits := false
		for _, n := range r.reads(s) {
			if _, done := r.finished(r.stage(n)); done {
				continue
			}
			if waits = true; !r.wanted(r.stage(n)) {
				return nil, r.unread(s, n)
			}
		}
		if waits {
			continue
		}
		x := &running{stage: s, key: r.key(s)}
		if s.Transfer != nil {
			if err := r.begin(s, x.key); err != nil {
				return nil, err
			}
		}
		mine := r.jobs(s)
		x.left = len(mine)
		x.bar = r.Display.Task(s.Name, int64(x.left), "jobs")
		stages[s.Name] = x
		if x.left == 0 { // cut off after the last of them
			x.began = time.Now()
			if err := r.end(x, true); err != nil {
				return nil, err
			}
		}
		jobs = append(jobs, mine...)
	}
	return jobs, nil
}

// end closes a stage that has no jobs left, or goes on another time. Other stages than transfers have
// been closed by the process that ran them.
func (r *Runner) end(x *running, whole bool) error {
	x.bar.Done()
	if x.stage.Transfer != nil {
		err := r.close(x.stage, x.key, time.Since(x.began), x.peak, whole)
		if x.began = time.Now(); err != nil {
			return err
		}
	}
	if _, done := r.finished(x.stage); whole && !done { // or those that read it would never start
		return fmt.Errorf("stage %s: its process ended without an error, but the stage is not done with these settings; run it again", x.stage.Name)
	}
	_, err := r.Report()
	return err
}
