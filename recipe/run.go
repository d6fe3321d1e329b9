package recipe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"must/atomicfile"
	"must/data"
	"must/machine"
	"must/progress"
	"must/task"
	"must/torch"
)

// Version is the program's, set by the command.
var Version = "unknown"

// A Runner runs the stages of a recipe into a folder.
type Runner struct {
	*Recipe
	Out     string   // folder; each stage has one of its name inside
	Only    []string // stages to run; empty: all
	Display *progress.Display

	Jobs  int // processes at once; 0 or 1: all in this one
	Spawn Spawn

	opened map[string]data.Dataset // by set and part, so that rendered images are cached once
}

// done is what a stage leaves in stage.json when it has ended.
type done struct {
	Key     string  `json:"key"` // hash of all that the stage depends on
	Kind    string  `json:"kind"`
	Seconds float64 `json:"seconds"`
	PeakMB  float64 `json:"peak_rss_mb"` // of the process, so far
	environment
}

// environment is where a stage ran.
type environment struct {
	Version  string `json:"version"`
	Libtorch string `json:"libtorch"`
	Device   string `json:"device"`
	Machine  string `json:"machine"`
}

// surroundings describes where stages run.
func (r *Runner) surroundings() environment {
	e := surroundings()
	if r.Jobs > 1 && e.Device != "" {
		e.Device = fmt.Sprintf("%s in all, %d processes", e.Device, r.Jobs)
	}
	return e
}

// surroundings describes this process.
var surroundings = sync.OnceValue(func() environment {
	e := environment{Version: Version}
	if t, err := torch.Describe(); err == nil {
		e.Libtorch, e.Device = cmp.Or(t.Library.Version, t.ABI), fmt.Sprintf("%v, %d threads", t.Device, t.Threads)
	}
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

const doneFile = "stage.json"

func (r *Runner) dir(stage string) string { return filepath.Join(r.Out, stage) }

// checkpoint returns the file of a start: a train stage's model, or the file itself.
func (r *Runner) checkpoint(start string) string {
	if r.stage(start) != nil {
		return filepath.Join(r.dir(start), "model.safetensors")
	}
	return start
}

// finished reports what a stage left when it last ended, if nothing it depends on has changed since.
func (r *Runner) finished(s *Stage) (done, bool) {
	var d done
	b, err := os.ReadFile(filepath.Join(r.dir(s.Name), doneFile))
	if err != nil || json.Unmarshal(b, &d) != nil {
		return done{}, false
	}
	return d, d.Key == r.key(s)
}

// Plan says what Run would do, a line per stage.
func (r *Runner) Plan() ([]string, error) {
	if err := r.checkOnly(); err != nil {
		return nil, err
	}
	var lines []string
	for _, s := range r.Stages {
		lines = append(lines, fmt.Sprintf("%-24s %-10s %s", s.Name, s.Kind(), r.state(s)))
	}
	return lines, nil
}

// state says what Run would do with a stage.
func (r *Runner) state(s *Stage) string {
	if d, ok := r.finished(s); ok {
		return stateDone + " (" + (time.Duration(d.Seconds) * time.Second).String() + ")"
	}
	key := r.leftKey(s)
	switch {
	case !r.wanted(s):
		return stateOut
	case key == "":
		return "runs"
	case key == r.key(s):
		return "goes on"
	}
	return "runs afresh: its inputs or settings changed"
}

const stateDone, stateOut = "done", "left out"

// checkOnly tells which of the stages asked for there is not.
func (r *Runner) checkOnly() error {
	for _, n := range r.Only {
		if r.stage(n) == nil {
			var names []string
			for _, s := range r.Stages {
				names = append(names, s.Name)
			}
			return fmt.Errorf("no stage %q%s", n, suggest(n, names))
		}
	}
	return nil
}

func (r *Runner) wanted(s *Stage) bool { return len(r.Only) == 0 || slices.Contains(r.Only, s.Name) }

// Run runs all stages that are not done, in order.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.checkOnly(); err != nil {
		return err
	}
	lock, err := r.claim()
	if err != nil {
		return err
	}
	defer lock.Close()
	if r.Jobs > 1 {
		return r.runJobs(ctx, lock)
	}
	written := false
	for _, s := range r.Stages {
		if d, ok := r.finished(s); ok {
			r.Display.Logf("%s: done before, in %s", s.Name, time.Duration(d.Seconds)*time.Second)
			continue
		}
		if !r.wanted(s) {
			continue
		}
		for _, n := range r.reads(s) {
			if _, ok := r.finished(r.stage(n)); !ok {
				return r.unread(s, n)
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

// unread says that a stage's input is missing.
func (r *Runner) unread(s *Stage, input string) error {
	return fmt.Errorf("stage %s reads stage %s, which is not done with these settings; run that first: --stage %[2]s", s.Name, input)
}

// reads lists the stages whose results a stage reads.
func (r *Runner) reads(s *Stage) []string {
	var names []string
	switch {
	case s.Train != nil:
		names = []string{s.Train.Labels, s.Train.From}
	case s.Label != nil:
		names = slices.Clone(s.Label.Teachers)
	case s.Score != nil:
		names = append(slices.Collect(maps.Values(s.Score.Teachers)), s.Score.Student)
	case s.Transfer != nil:
		for _, f := range s.Transfer.From {
			names = append(names, f.From)
		}
	case s.Probe != nil:
		for _, f := range s.Probe.From {
			names = append(names, f.From)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return r.stage(n) == nil })
}

// recipeFile is the recipe as it was run, with all settings applied.
const recipeFile = "recipe.yaml"

// claim makes the folder this run's and keeps others out until all processes that have the lock open
// are gone.
func (r *Runner) claim() (*os.File, error) {
	if err := os.MkdirAll(r.Out, 0o777); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(r.Out, ".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		lock.Close()
		return nil, fmt.Errorf("%s: another process is running a recipe into this folder", r.Out)
	}
	path := filepath.Join(r.Out, recipeFile)
	if b, err := os.ReadFile(path); err == nil {
		if old, err := Parse(b); err == nil && old.Name != r.Name {
			lock.Close()
			return nil, fmt.Errorf("%s holds a run of the recipe %s, and this is %s; choose another folder", r.Out, old.Name, r.Name)
		}
	}
	b, err := r.Text()
	if err == nil {
		err = atomicfile.WriteFile(path, b)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// Changed lists the stages whose folders hold what came of other inputs or settings; Run would start
// them afresh.
func (r *Runner) Changed() []string {
	var names []string
	for _, s := range r.Stages {
		if key := r.leftKey(s); key != "" && key != r.key(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

// leftKey returns the key of what a stage's folder holds, whether it ended or was cut off; "" where it
// holds nothing.
func (r *Runner) leftKey(s *Stage) string {
	for _, file := range []string{doneFile, spentFile} {
		var left struct{ Key string }
		if b, err := os.ReadFile(filepath.Join(r.dir(s.Name), file)); err == nil && json.Unmarshal(b, &left) == nil {
			return left.Key
		}
	}
	return ""
}

func (r *Runner) runStage(ctx context.Context, s *Stage) error {
	key := r.key(s)
	began := time.Now()
	if err := r.begin(s, key); err != nil {
		return err
	}
	display := r.Display.Stage(s.Name)
	var err error
	switch {
	case s.Show != nil:
		err = r.show(ctx, s)
	case s.Train != nil:
		err = r.train(ctx, s, display)
	case s.Label != nil:
		err = r.label(ctx, s, display)
	case s.Score != nil:
		err = r.score(ctx, s, display)
	case s.Probe != nil:
		err = r.probe(ctx, s, display)
	case s.Transfer != nil:
		err = r.transfer(ctx, s, display)
	}
	return errors.Join(err, r.close(s, key, time.Since(began), PeakMB(), err == nil))
}

// close writes down what a call spent on a stage, and if it did the whole of what was left that the
// stage has ended.
func (r *Runner) close(s *Stage, key string, spentNow time.Duration, peakMB float64, whole bool) error {
	seconds := r.spent(s) + spentNow.Seconds()
	if !whole {
		return atomicfile.WriteJSON(filepath.Join(r.dir(s.Name), spentFile), spent{key, seconds})
	}
	return atomicfile.WriteJSON(filepath.Join(r.dir(s.Name), doneFile), done{key, s.Kind(), seconds, peakMB, r.surroundings()})
}

// spent is the time that earlier, unfinished calls put into a stage.
type spent struct {
	Key     string  `json:"key"`
	Seconds float64 `json:"seconds"`
}

const spentFile = "unfinished.json"

func (r *Runner) spent(s *Stage) float64 {
	var u spent
	if b, err := os.ReadFile(filepath.Join(r.dir(s.Name), spentFile)); err == nil && json.Unmarshal(b, &u) == nil {
		return u.Seconds
	}
	return 0
}

// begin prepares a stage's folder. What an earlier call with the same key left there is gone on with;
// what came of other settings is removed.
func (r *Runner) begin(s *Stage, key string) error {
	dir := r.dir(s.Name)
	path := filepath.Join(dir, spentFile)
	var u spent
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &u) == nil && u.Key == key {
		return nil
	}
	_, err := os.Stat(filepath.Join(dir, doneFile))
	_, err2 := os.Stat(path)
	if err == nil || err2 == nil {
		r.Display.Logf("%s: its inputs or settings changed; starting it afresh", s.Name)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteJSON(path, spent{key, 0})
}

// PeakMB returns the largest resident memory of this process so far, in MB of 10⁶ bytes; 0 where the
// system does not tell.
func PeakMB() float64 { return float64(machine.Peak()) / 1e6 }

// spec describes a network of this recipe.
func (r *Recipe) spec(tasks []string, labels data.Labels) task.Spec {
	return task.Spec{
		Model: r.Model, Detection: r.Detection, Tasks: tasks, Labels: labels.Plain(), Size: r.Size,
		Mean: task.ImageNetMean, Std: task.ImageNetStd,
	}
}

// network builds a network, with the trunk of a checkpoint if a start is named; build gets the
// checkpoint, else nil.
func (r *Runner) network(start string, build func(c *task.Checkpoint) (*task.Network, error)) (net *task.Network, from string, err error) {
	var c *task.Checkpoint
	if start != "" {
		if c, err = task.ReadStart(r.checkpoint(start)); err != nil {
			return nil, "", err
		}
		from = c.SHA256
	}
	err = torch.DoErr(func() error {
		if net, err = build(c); err != nil || c == nil {
			return err
		}
		started, err := net.Start(c, false)
		if err == nil && c.Foreign() {
			r.Display.Logf("%v", started)
		}
		return err
	})
	if err != nil {
		if net != nil {
			torch.Do(net.Free)
		}
		return nil, "", err
	}
	return net, from, nil
}
