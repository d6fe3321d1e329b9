// Package run runs the stages of a recipe into a folder. A stage writes one folder, named by the
// fingerprint of all that it depends on, and is skipped when that folder is whole; so the same command
// resumes a run that was cut off, run twice it does the work once, and a setting that is changed back
// finds its result again.
package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"must/atomicfile"
	"must/data/imagefile"
	"must/dist"
	"must/machine"
	"must/progress"
	"must/recipe"
	"must/stage"
	"must/strict"
	"must/torch"
	"must/train"
)

// A Runner runs the stages of a recipe into a folder.
type Runner struct {
	*stage.Env
	Out     string   // folder; see [Runner.Folder]
	Only    []string // stages to run; empty: all
	Display *progress.Display

	On *On // cluster that a plan reckons for too; nil: none

	World *dist.World // of the processes that run it together; nil: this one alone
	Jobs  int         // processes at once; 0 or 1: all in this one
	Spawn Spawn

	prints map[string]fingerprint // by stage, found once
}

// New returns a runner of a recipe, after a check of its stages.
func New(rec *recipe.Recipe, out string) (*Runner, error) {
	env, err := stage.New(rec)
	if err != nil {
		return nil, err
	}
	r := &Runner{Env: env, Out: out, prints: map[string]fingerprint{}}
	env.Engine = r
	return r, nil
}

// Load returns a runner of a recipe file or an embedded recipe, see [recipe.Load]; without a folder it
// is out/NAME.
func Load(path string, settings []string, out string) (*Runner, error) {
	rec, err := recipe.Load(path, settings)
	if err != nil {
		return nil, err
	}
	r, err := New(rec, cmp.Or(out, filepath.Join("out", rec.Name)))
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", path, err)
	}
	return r, nil
}

// recipeFile is the recipe as it was run last, with all settings applied.
const recipeFile = "recipe.yaml"

// Open returns the run that a folder holds.
func Open(out string) (*Runner, error) {
	path := filepath.Join(out, recipeFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s holds no run: %w", out, err)
	}
	return Load(path, nil, out)
}

// done is what a stage leaves in stage.json when it has ended.
type done struct {
	Fingerprint string  `json:"fingerprint"` // of all that the stage depends on
	Kind        string  `json:"kind"`
	Seconds     float64 `json:"seconds"`
	PeakMB      float64 `json:"peak_rss_mb"` // of the process, so far
	environment

	Broken []stage.Broken `json:"broken,omitempty"` // parts of sets with images that could not be read
}

// spent is what it leaves in unfinished.json meanwhile.
type spent struct {
	Fingerprint string  `json:"fingerprint"`
	Seconds     float64 `json:"seconds"`
}

const doneFile, spentFile = "stage.json", "unfinished.json"

// environment is where a stage ran.
type environment struct {
	Version  string `json:"version"`
	Libtorch string `json:"libtorch"`
	Device   string `json:"device"`
	Machine  string `json:"machine"`
	JPEG     string `json:"jpeg"` // what decodes it: pixels differ by a level or two
}

// surroundings describes where stages run.
func (r *Runner) surroundings() environment {
	e := surroundings()
	if r.Jobs > 1 && e.Device != "" {
		e.Device = fmt.Sprintf("%s in all, %d processes", e.Device, r.Jobs)
	}
	if n := r.World.Count(); n > 1 && e.Device != "" {
		e.Device = fmt.Sprintf("%s in each of %d processes", e.Device, n)
	}
	return e
}

// surroundings describes this process.
var surroundings = sync.OnceValue(func() environment {
	e := environment{Version: recipe.Version}
	if t, err := torch.Describe(); err == nil {
		e.Libtorch, e.Device = cmp.Or(t.Library.Version, t.ABI), fmt.Sprintf("%v, %d threads", t.Device, t.Threads)
	}
	e.JPEG = imagefile.JPEG()
	m := machine.Probe()
	e.Machine = fmt.Sprintf("%s, %d cores, %.1f GB", cmp.Or(m.CPU, "unknown processor"), m.Cores, float64(m.Memory)/1e9)
	if m.Vector != "none" {
		e.Machine += ", " + m.Vector
	}
	for _, g := range m.GPUs {
		e.Machine += ", " + g.Name
	}
	return e
})

// finished reports what a stage left when it ended.
func (r *Runner) finished(name string) (d done, ok bool) {
	b, err := os.ReadFile(filepath.Join(r.Folder(name), doneFile))
	if err != nil || json.Unmarshal(b, &d) != nil {
		return done{}, false
	}
	return d, d.Fingerprint == r.fingerprint(name).sum
}

// Ended reports whether a stage's result is whole.
func (r *Runner) Ended(name string) bool {
	_, ok := r.finished(name)
	return ok
}

// spent is the time that earlier calls put into a stage that has not ended; ok tells whether there were
// any.
func (r *Runner) spent(name string) (seconds float64, ok bool) {
	var u spent
	b, err := os.ReadFile(filepath.Join(r.Folder(name), spentFile))
	if err != nil || json.Unmarshal(b, &u) != nil {
		return 0, false
	}
	return u.Seconds, true
}

// checkOnly tells which of the stages asked for there is not.
func (r *Runner) checkOnly() error {
	for _, n := range r.Only {
		if r.Step(n) == nil {
			var names []string
			for _, s := range r.Steps {
				names = append(names, s.Name)
			}
			return fmt.Errorf("no stage %q%s", n, strict.Suggest(n, names))
		}
	}
	return nil
}

func (r *Runner) wanted(name string) bool { return len(r.Only) == 0 || slices.Contains(r.Only, name) }

// reads lists the stages whose results a stage reads.
func (r *Runner) reads(name string) []string {
	in := r.fingerprint(name).inputs
	return in.Stages(r.Env)
}

// unread says that a stage's input is missing.
func unread(name, input string) error {
	return fmt.Errorf("stage %s reads stage %s, which is not done with these settings; run that first: --stage %[2]s", name, input)
}

// Run runs all stages that are not done, in order.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.checkOnly(); err != nil {
		return err
	}
	r.resolve()
	lock, err := r.claim()
	if err != nil {
		return err
	}
	defer lock.Close()
	if r.Jobs > 1 {
		return r.runJobs(ctx, lock)
	}
	written := false
	for _, s := range r.Steps {
		if d, ok := r.finished(s.Name); ok {
			r.Display.Logf("%s: done before, in %s", s.Name, seconds(d.Seconds))
			continue
		}
		if !r.wanted(s.Name) {
			continue
		}
		for _, n := range r.reads(s.Name) {
			if !r.Ended(n) {
				return unread(s.Name, n)
			}
		}
		err := r.runStage(ctx, s)
		if err != nil {
			err = fmt.Errorf("stage %s: %w", s.Name, err)
		}
		if _, e := r.Report(); e != nil { // after every stage, so that people can look early
			err = errors.Join(err, e)
		}
		if err != nil {
			return err
		}
		if !written {
			r.Display.Logf("%s shows what there is so far; it is written anew after each stage", filepath.Join(r.Out, ReportFile))
			written = true
		}
	}
	if !written {
		_, err = r.Report()
	}
	return err
}

// Follow runs, for rank 0 of a world that runs a recipe into a folder, this process's share of what is shared,
// until rank 0 has ended.
func Follow(ctx context.Context, out string, w *dist.World) error {
	for {
		var name string
		if more, err := w.Next(&name); err != nil || !more {
			return err
		}
		if err := follow(ctx, out, w, name); err != nil {
			return fmt.Errorf("stage %s: %w", name, err)
		}
	}
}

func follow(ctx context.Context, out string, w *dist.World, name string) error {
	r, err := Open(out) // as rank 0 has written it down
	if err != nil {
		return err
	}
	defer r.Close()
	r.World = w
	s := r.Step(name)
	if s == nil {
		return fmt.Errorf("process 0 runs it, but the recipe in %s has none of that name; is the folder shared?", out)
	}
	if err := s.Run(ctx, r.work(name)); err != nil && !errors.Is(err, train.ErrAllStopped) {
		return err
	}
	return nil
}

// seconds is a time in whole seconds.
func seconds(s float64) time.Duration { return time.Duration(s) * time.Second }

// claim makes the folder this run's: it keeps others out until all processes that have the lock open are
// gone, writes the recipe down and has the plain names of the stages lead to its results.
func (r *Runner) claim() (*os.File, error) {
	if err := os.MkdirAll(r.Out, 0o777); err != nil {
		return nil, err
	}
	lock, err := r.lock()
	if err != nil {
		return nil, err
	}
	if err := r.settle(); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// lock is an open file and not gofrs/flock's, since the processes of jobs inherit it: it is held until the last of
// them is gone.
func (r *Runner) lock() (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(r.Out, ".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%s: another process is running a recipe into this folder", r.Out)
		}
		return nil, err
	}
	return lock, nil
}

func (r *Runner) settle() error {
	path := filepath.Join(r.Out, recipeFile)
	if b, err := os.ReadFile(path); err == nil {
		if old, err := recipe.Parse(b); err == nil && old.Name != r.Name {
			return fmt.Errorf("%s holds a run of the recipe %s, and this is %s; choose another folder", r.Out, old.Name, r.Name)
		}
	}
	b, err := r.Text()
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(path, b); err != nil {
		return err
	}
	return r.pointAll()
}

// work is a stage at work in its folder.
func (r *Runner) work(name string) *stage.Work {
	return &stage.Work{Env: r.Env, Name: name, Dir: r.Folder(name), Display: r.Display, World: r.World}
}

func (r *Runner) runStage(ctx context.Context, s *stage.Step) error {
	if err := r.begin(s); err != nil {
		return err
	}
	stop := r.keepTime(s.Name)
	err := s.Run(ctx, r.work(s.Name))
	return errors.Join(err, r.end(s, stop(), PeakMB(), err == nil))
}

// begin prepares a stage's folder. What an earlier call left there is gone on with.
func (r *Runner) begin(s *stage.Step) error {
	if _, ok := r.spent(s.Name); ok {
		return r.point(s.Name)
	}
	if changes := r.changes(s.Name); changes != nil {
		r.Display.Logf("%s: %s; the earlier result stays in %s", s.Name, summary(changes), filepath.Base(r.latest(s.Name)))
	}
	if err := os.MkdirAll(r.Folder(s.Name), 0o777); err != nil {
		return err
	}
	f := r.fingerprint(s.Name)
	if err := atomicfile.WriteJSON(filepath.Join(r.Folder(s.Name), inputsFile), f.facts); err != nil {
		return err
	}
	if err := r.note(s.Name, 0); err != nil {
		return err
	}
	return r.point(s.Name)
}

// note writes down the time that was put into a stage.
func (r *Runner) note(name string, seconds float64) error {
	return atomicfile.WriteJSON(filepath.Join(r.Folder(name), spentFile), spent{r.fingerprint(name).sum, seconds})
}

// keepTime notes every few seconds how long a stage has run, so that a process that is killed has it
// written down; stop returns the time with that of earlier calls.
func (r *Runner) keepTime(name string) (stop func() float64) {
	before, _ := r.spent(name)
	began := time.Now()
	total := func() float64 { return before + time.Since(began).Seconds() }
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(noteEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.note(name, total()) // without it the time is short, no more
			case <-quit:
				return
			}
		}
	}()
	return func() float64 {
		close(quit)
		<-gone
		return total()
	}
}

const noteEvery = 3 * time.Second

// end writes down what was spent on a stage, and if all of it is done that it has ended.
func (r *Runner) end(s *stage.Step, seconds, peakMB float64, whole bool) error {
	if !whole {
		return r.note(s.Name, seconds)
	}
	f := r.fingerprint(s.Name)
	broken, err := stage.KeptBroken(r.Folder(s.Name), r.Broken(f.inputs.Parts))
	if err != nil {
		return err
	}
	for _, b := range broken {
		r.Display.Logf("%s: %v could not be read", s.Name, b)
	}
	return atomicfile.WriteJSON(filepath.Join(r.Folder(s.Name), doneFile), done{f.sum, s.Kind, seconds, peakMB, r.surroundings(), broken})
}

// PeakMB returns the largest resident memory of this process so far, in MB of 10⁶ bytes; 0 where the
// system does not tell.
func PeakMB() float64 { return float64(machine.Peak()) / 1e6 }
