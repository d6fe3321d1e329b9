package run

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"must/progress"
	"must/stage"
)

// A Job is what one of several processes does by itself: a stage, or a part of one. Small networks train
// faster side by side than with the threads of all.
type Job struct{ Stage, Part string }

func (j Job) String() string {
	if j.Part == "" {
		return j.Stage
	}
	return j.Stage + ": " + j.Part
}

// A Spawn does a job in another process, which keeps the lock open while it lives, and returns the
// largest resident memory it had, in MB. When ctx ends the process saves its state and stops. The process
// has its share of the threads of as many as work side by side.
type Spawn func(ctx context.Context, j Job, beside int, lock *os.File) (peakMB float64, err error)

// RunJob does a job in this process, into the folder that another Runner has prepared.
func (r *Runner) RunJob(ctx context.Context, j Job) error {
	s := r.Step(j.Stage)
	if s == nil {
		return fmt.Errorf("no stage %q", j.Stage)
	}
	if j.Part == "" {
		return r.runStage(ctx, s)
	}
	parted, ok := s.Stage.(stage.Parted)
	if !ok {
		return fmt.Errorf("stage %s has no parts", j.Stage)
	}
	if err := parted.RunPart(ctx, r.work(s.Name), j.Part); err != nil {
		return err
	}
	return r.KeepBroken(r.Folder(s.Name), j.Part, r.fingerprint(s.Name).inputs.Parts)
}

// A running stage has jobs left.
type running struct {
	*stage.Step
	jobs   []Job // to start
	left   int   // not ended
	parted bool
	path   int            // see paths
	alone  bool           // nothing can run beside it, whatever the others take
	stop   func() float64 // the clock, from the first job on; nil before
	peak   float64
	bar    *progress.Task
}

// runJobs runs all stages that are not done, each as soon as those are done that it reads, in several
// processes. Of those that could start the one goes first that the most work waits for.
func (r *Runner) runJobs(ctx context.Context, lock *os.File) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ended struct {
		Job
		peak float64
		err  error
	}
	results := make(chan ended)
	paths := r.paths()
	stages := map[string]*running{}
	var first error
	fail := func(err error) {
		if first == nil {
			first = err
		}
		cancel() // the others save their states
	}
	for busy := 0; ; {
		if first == nil {
			if err := r.ready(stages, paths); err != nil {
				fail(err)
			}
		}
		for first == nil && busy < r.Jobs && ctx.Err() == nil {
			s := r.next(stages)
			if s == nil {
				break
			}
			j := s.jobs[0]
			s.jobs = s.jobs[1:]
			if s.parted && s.stop == nil { // waiting for others does not count
				s.stop = r.keepTime(s.Name)
			}
			beside := r.Jobs
			if s.alone {
				beside = 1
			}
			busy++
			go func() {
				peak, err := r.Spawn(ctx, j, beside, lock)
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
			if err := r.endJobs(s, e.err == nil && first == nil); err != nil {
				fail(err)
			}
		}
	}
}

// next is the stage whose job is to start: of the longest path, then in the order of the recipe.
func (r *Runner) next(stages map[string]*running) (best *running) {
	for _, s := range r.Steps {
		if x := stages[s.Name]; x != nil && len(x.jobs) > 0 && (best == nil || x.path > best.path) {
			best = x
		}
	}
	return best
}

// paths returns for every stage that is to be run the work on the longest way from its begin to the end
// of the recipe, in images: its own, and that of what waits for it. Parts of a stage run side by side.
func (r *Runner) paths() map[string]int {
	paths := map[string]int{}
	for _, s := range slices.Backward(r.Steps) {
		if !r.wanted(s.Name) || r.Ended(s.Name) {
			continue
		}
		cost, _ := s.Cost(r.work(s.Name)) // what cannot be told fails when it runs
		own := max(1, cost.Images())
		if p, ok := s.Stage.(stage.Parted); ok {
			own /= max(1, len(p.Parts(r.work(s.Name))))
		}
		paths[s.Name] += own
		for _, n := range r.reads(s.Name) {
			paths[n] = max(paths[n], paths[s.Name])
		}
	}
	return paths
}

// ready starts the stages whose inputs are there.
func (r *Runner) ready(stages map[string]*running, paths map[string]int) error {
	for _, s := range r.Steps {
		if stages[s.Name] != nil || !r.wanted(s.Name) || r.Ended(s.Name) {
			continue
		}
		waits := false
		for _, n := range r.reads(s.Name) {
			if r.Ended(n) {
				continue
			}
			if waits = true; !r.wanted(n) {
				return unread(s.Name, n)
			}
		}
		if waits {
			continue
		}
		x := &running{Step: s, jobs: []Job{{Stage: s.Name}}, path: paths[s.Name], alone: r.alone(s.Name)}
		if p, ok := s.Stage.(stage.Parted); ok {
			if err := r.begin(s); err != nil {
				return err
			}
			x.parted, x.alone, x.jobs = true, false, nil // its parts run side by side
			for _, part := range p.Parts(r.work(s.Name)) {
				x.jobs = append(x.jobs, Job{s.Name, part})
			}
		}
		x.left = len(x.jobs)
		x.bar = r.Display.Task(s.Name, int64(x.left), "jobs")
		stages[s.Name] = x
		if x.left == 0 { // cut off after the last of them
			if err := r.endJobs(x, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone reports whether no other stage can run beside one: each leads to it or goes on from it. It is the
// recipe that says so, not what is done already or ends first, so that a stage has as many threads in
// every run.
func (r *Runner) alone(name string) bool {
	before, after := map[string]bool{name: true}, map[string]bool{name: true}
	for _, s := range slices.Backward(r.Steps) {
		if before[s.Name] {
			for _, n := range r.reads(s.Name) {
				before[n] = true
			}
		}
	}
	for _, s := range r.Steps {
		if slices.ContainsFunc(r.reads(s.Name), func(n string) bool { return after[n] }) {
			after[s.Name] = true
		}
	}
	for _, s := range r.Steps {
		quick := s.Kind == "show" // takes no time worth waiting for
		if !before[s.Name] && !after[s.Name] && !quick {
			return false
		}
	}
	return true
}

// endJobs closes a stage that has no jobs left, or goes on another time. One without parts has been
// closed by the process that ran it.
func (r *Runner) endJobs(x *running, whole bool) error {
	x.bar.Done()
	if x.parted {
		seconds, _ := r.spent(x.Name)
		if x.stop != nil {
			seconds = x.stop()
			x.stop = nil
		}
		if err := r.end(x.Step, seconds, x.peak, whole); err != nil {
			return err
		}
	}
	if whole && !r.Ended(x.Name) { // or those that read it would never start
		return fmt.Errorf("stage %s: its process ended without an error, but the stage is not done with these settings; run it again", x.Name)
	}
	_, err := r.Report()
	return err
}
