package recipe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"must/checkpoint"
	"must/data"
	"must/data/formats"
	"must/label"
	"must/machine"
	"must/model"
	"must/pretext"
	"must/task"
	"must/task/classification"
	"must/task/detection"
	"must/task/segmentation"
	"must/torch"
	"must/train"
)

// A Survey is what a dry run tells of a recipe before anything is spent.
type Survey struct {
	Name, Out string
	Sets      []SetSurvey
	Mappings  []SetMapping
	Stages    []StageSurvey
	Unprobed  error   // why time and memory were not measured; nil: they were
	Load      float64 // processes that others kept busy meanwhile
}

// A SetSurvey tells of a data set.
type SetSurvey struct {
	Name   string
	Parts  []PartSurvey
	Labels data.Labels // its own
	Fault  error       // why it cannot be used
	Layout string      // what is expected where, for one that cannot
}

// A PartSurvey is the number of samples in a part.
type PartSurvey struct {
	Name    string
	Samples int
}

// A SetMapping tells how the classes of a set become the recipe's.
type SetMapping struct {
	Set string
	data.Mapping
}

// A StageSurvey tells of a stage.
type StageSurvey struct {
	Name, Kind, State string
	Work              string  // steps, images or trials
	Seconds           float64 // estimated; 0: nothing to do, or not known
	Bytes             int64   // estimated peak of memory while it trains; 0: not known
	Fault             error   // why it cannot run
}

// Faults counts the sets and stages that cannot be used or run.
func (s *Survey) Faults() (n int) {
	for _, x := range s.Sets {
		if x.Fault != nil {
			n++
		}
	}
	for _, x := range s.Stages {
		if x.Fault != nil {
			n++
		}
	}
	return n
}

// Survey opens every set of the recipe and measures its networks by a few steps on noise; probe, if
// not nil, is why that is not to be done. It writes nothing.
func (r *Runner) Survey(ctx context.Context, probe error) (*Survey, error) {
	if err := r.checkOnly(); err != nil {
		return nil, err
	}
	v := &surveyor{Runner: r, costs: map[string]train.Cost{}, faults: map[string]error{}, read: map[string]float64{}, foreigners: map[string]foreignSurvey{}}
	s := &Survey{Name: r.Name, Out: r.Out, Unprobed: probe, Load: machine.Load()}
	for _, name := range keys(r.Data) {
		set := v.set(name)
		s.Sets = append(s.Sets, set)
		if set.Fault != nil || !v.mapped(name) {
			continue
		}
		mappings, err := r.mappings(name, set.Labels)
		if err != nil {
			v.faults[name] = err
			s.Sets[len(s.Sets)-1].Fault = err
		}
		for _, m := range mappings {
			if !m.Same() {
				s.Mappings = append(s.Mappings, SetMapping{name, m})
			}
		}
	}
	debug.FreeOSMemory()
	v.resident, _ = machine.ResetPeak()
	for _, stage := range r.Stages {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e := StageSurvey{Name: stage.Name, Kind: stage.Kind(), State: r.state(stage)}
		work, err := v.work(stage)
		if err == nil {
			e.Work = work.text
			if probe == nil && work.runs != nil && !strings.HasPrefix(e.State, stateDone) && e.State != stateOut {
				e.Seconds, e.Bytes, err = v.estimate(work)
			}
		}
		if !errors.Is(err, errSet) { // told of at the set
			e.Fault = err
		}
		s.Stages = append(s.Stages, e)
	}
	return s, nil
}

// errSet marks what follows from a set that cannot be used.
var errSet = errors.New("a set that it needs cannot be used")

type surveyor struct {
	*Runner
	costs      map[string]train.Cost // by what matters of a network and batch
	faults     map[string]error      // by set
	read       map[string]float64    // seconds to read a sample, by set
	foreigners map[string]foreignSurvey
	resident   int64 // bytes, with all sets open
}

// A need is a part of a set that a stage reads.
type need struct {
	set, part string
	own       bool // in the set's own classes
	optional  bool
}

// needs lists the parts of sets that a stage reads.
func (r *Runner) needs(s *Stage) (needs []need) {
	switch {
	case s.Show != nil:
		for _, n := range s.Show.Data {
			needs = append(needs, need{n, "train", true, false})
		}
	case s.Train != nil:
		for _, n := range s.Train.Data {
			needs = append(needs, need{n, "train", false, false})
		}
		if r.validates(s) && s.Train.Pretext == nil {
			needs = append(needs, need{s.Train.Data[0], "val", false, true})
		}
	case s.Label != nil:
		for _, n := range s.Label.Data {
			needs = append(needs, need{n, "train", false, false})
		}
		for _, t := range s.Label.Teachers {
			if teacher := r.stage(t); teacher != nil {
				needs = append(needs, need{teacher.Train.Data[0], "val", false, true})
			}
		}
	case s.Score != nil:
		for _, t := range keys(s.Score.Teachers) {
			needs = append(needs, need{r.stage(s.Score.Teachers[t]).Train.Data[0], "test", false, false})
		}
	case s.Probe != nil:
		needs = append(needs, need{s.Probe.Data, "train", true, false}, need{s.Probe.Data, "test", true, false})
	case s.Transfer != nil:
		for _, d := range s.Transfer.Sets {
			needs = append(needs, need{d.Data, "train", true, false}, need{d.Data, "test", true, false})
			if s.Transfer.Sweep != nil {
				needs = append(needs, need{d.Data, "val", true, false})
			}
		}
	}
	return needs
}

// mapped reports whether some stage uses a set in the recipe's classes.
func (v *surveyor) mapped(set string) bool {
	return slices.ContainsFunc(v.Stages, func(s *Stage) bool {
		return slices.ContainsFunc(v.needs(s), func(n need) bool { return n.set == set && !n.own })
	})
}

// set opens the parts of a set that stages read, and reads a few samples.
func (v *surveyor) set(name string) SetSurvey {
	f, _ := formats.Find(v.Data[name].Format)
	out := SetSurvey{Name: name}
	parts := map[string]bool{} // whether optional
	for _, s := range v.Stages {
		for _, n := range v.needs(s) {
			if n.set == name {
				optional, seen := parts[n.part]
				parts[n.part] = n.optional && (optional || !seen)
			}
		}
	}
	for _, part := range []string{"train", "val", "test"} {
		optional, needed := parts[part]
		if !needed {
			continue
		}
		ds, err := v.openOwn(name, part)
		if err == nil && ds.Len() == 0 {
			err = fmt.Errorf("data set %s, %s part: it has no samples", name, part)
		}
		if err != nil {
			if !optional && out.Fault == nil {
				out.Fault, out.Layout = err, f.About
				v.faults[name] = err
			}
			continue
		}
		out.Labels = ds.Labels()
		out.Parts = append(out.Parts, PartSurvey{part, ds.Len()})
		if _, done := v.read[name]; !done {
			v.read[name] = 0
			seconds, err := readTime(ds)
			if err != nil && out.Fault == nil {
				out.Fault = fmt.Errorf("data set %s, %s part: %w", name, part, err)
				v.faults[name] = out.Fault
			}
			v.read[name] = seconds
		}
	}
	return out
}

// readTime returns the seconds that a sample takes to be read, from a few spread over the set; an
// error where none of them can be.
func readTime(ds data.Dataset) (float64, error) {
	few := data.Spread(ds, 5)
	var seconds float64
	var broken error
	n := 0
	for i := range few.Len() {
		began := time.Now()
		if _, err := few.Sample(i); err != nil {
			broken = err
			continue
		}
		if i > 0 { // the first one warms up
			seconds += time.Since(began).Seconds()
			n++
		}
	}
	switch {
	case n == 0 && broken != nil:
		return 0, broken
	case n == 0:
		return 0, nil
	}
	return seconds / float64(n), nil
}

// work is what a stage does.
type work struct {
	text string
	runs []*trial // nil: nothing that takes long
}

// A trial is a training run, or only predictions, so many times over.
type trial struct {
	spec    task.Spec
	pretext *pretext.Config // in place of the tasks
	foreign float64         // seconds per image of a teacher of others; 0: it is a network of ours
	config  train.Config
	steps   int
	predict int     // images
	times   int     // how often
	read    float64 // seconds per image
}

// work finds out what a stage does; it fails where the stage would.
func (v *surveyor) work(s *Stage) (work, error) {
	switch {
	case s.Show != nil:
		return v.showWork(s)
	case s.Train != nil:
		return v.trainWork(s)
	case s.Label != nil:
		return v.labelWork(s)
	case s.Score != nil:
		return v.scoreWork(s)
	case s.Probe != nil:
		return v.probeWork(s)
	}
	return v.transferWork(s)
}

// part opens a part of a set, unless it is known that the set cannot be used.
func (v *surveyor) part(set, part string, open func(set, part string) (data.Dataset, error)) (data.Dataset, error) {
	if v.faults[set] != nil {
		return nil, errSet
	}
	return open(set, part)
}

func (v *surveyor) showWork(s *Stage) (work, error) {
	for _, n := range s.Show.Data {
		if v.faults[n] != nil {
			return work{}, errSet
		}
	}
	return work{text: count(len(s.Show.Data), "set")}, nil
}

func (v *surveyor) trainWork(s *Stage) (w work, err error) {
	t := &trial{times: 1}
	var set data.Dataset
	if t.spec, set, err = v.trainSpec(s); err != nil {
		return w, err
	}
	if t.config, err = v.config(s.Train); err != nil {
		return w, err
	}
	t.pretext = s.Train.Pretext
	t.steps = t.config.TotalSteps(set.Len())
	for _, n := range s.Train.Data {
		ds, _ := v.open(n, "train")
		t.read += v.read[n] * float64(ds.Len()) / float64(set.Len())
	}
	if v.validates(s) && s.Train.Pretext == nil {
		if val, err := v.part(s.Train.Data[0], "val", v.open); err == nil && val.Labels().Has(s.Train.Tasks[0]) {
			t.predict = val.Len()
			if t.config.EvalEvery > 0 {
				t.predict *= max(1, t.steps*t.config.Batch/max(1, set.Len())/t.config.EvalEvery)
			}
		}
	}
	w.text = fmt.Sprintf("%s of %d on %s", count(t.steps, "step"), t.config.Batch, count(set.Len(), "image"))
	w.runs = []*trial{t}
	return w, nil
}

func (v *surveyor) labelWork(s *Stage) (w work, err error) {
	images, read := 0, 0.
	for _, n := range s.Label.Data {
		ds, err := v.part(n, "train", v.open)
		if err != nil {
			return w, err
		}
		images += ds.Len()
		read += v.read[n] * float64(ds.Len())
	}
	for _, start := range s.Label.Teachers {
		spec, err := v.specOf(start)
		if err != nil {
			return w, err
		}
		for _, n := range s.Label.Data {
			ds, _ := v.open(n, "train")
			for _, task := range label.Missing(ds.Labels(), []label.Teacher{{Tasks: spec.Tasks}}) {
				if err := spec.Labels.Conflict(ds.Labels(), task); err != nil {
					return w, fmt.Errorf("the labels of teacher %s are not those of %s: %w; declare the classes under spaces", start, n, err)
				}
			}
		}
		_, unseen := v.unseen(s, start, spec.Tasks)
		predict := images
		if unseen != nil {
			predict += unseen.Len() // for the quality of the labels
		}
		w.runs = append(w.runs, &trial{spec: spec, foreign: v.foreigners[start].seconds, config: v.Train, predict: predict, times: 1, read: read / float64(images)})
	}
	w.text = fmt.Sprintf("%s by %s", count(images, "image"), count(len(s.Label.Teachers), "teacher"))
	return w, nil
}

func (v *surveyor) scoreWork(s *Stage) (w work, err error) {
	student, err := v.specOf(s.Score.Student)
	if err != nil {
		return w, err
	}
	images := 0
	for _, t := range keys(s.Score.Teachers) {
		set := v.stage(s.Score.Teachers[t]).Train.Data[0]
		ds, err := v.part(set, "test", v.open)
		if err != nil {
			return w, err
		}
		spec, err := v.specOf(s.Score.Teachers[t])
		if err != nil {
			return w, err
		}
		images += ds.Len()
		for _, spec := range []task.Spec{spec, student} {
			w.runs = append(w.runs, &trial{spec: spec, config: v.Train, predict: ds.Len(), times: 1, read: v.read[set]})
		}
	}
	w.text = count(images, "image")
	return w, nil
}

func (v *surveyor) probeWork(s *Stage) (w work, err error) {
	images := 0
	for _, part := range []string{"train", "test"} {
		ds, err := v.part(s.Probe.Data, part, v.openOwn)
		if err != nil {
			return w, err
		}
		if !ds.Labels().Has(classification.Name) {
			return w, fmt.Errorf("data set %s has no classes", s.Probe.Data)
		}
		images += ds.Len()
	}
	for _, name := range keys(s.Probe.From) {
		ds, _ := v.openOwn(s.Probe.Data, "train")
		spec := v.Recipe.spec([]string{classification.Name}, ds.Labels())
		if spec.Model, err = v.startModel(s.Probe.From[name]); err != nil {
			return w, err
		}
		w.runs = append(w.runs, &trial{spec: spec, config: v.Train, predict: images, times: 1, read: v.read[s.Probe.Data]})
	}
	w.text = fmt.Sprintf("%s by %s", count(images, "image"), count(len(s.Probe.From), "start"))
	return w, nil
}

func (v *surveyor) transferWork(s *Stage) (w work, err error) {
	t := s.Transfer
	steps, trials := 0, 0
	for _, d := range t.Sets {
		set, err := v.part(d.Data, "train", v.openOwn)
		if err != nil {
			return w, err
		}
		if !set.Labels().Has(d.Task) {
			return w, fmt.Errorf("data set %s has no labels for %s", d.Data, d.Task)
		}
		test, err := v.part(d.Data, "test", v.openOwn)
		if err != nil {
			return w, err
		}
		for _, name := range keys(t.From) {
			spec := v.Recipe.spec([]string{d.Task}, set.Labels())
			if spec.Model, err = v.startModel(t.From[name]); err != nil {
				return w, err
			}
			add := func(p Point, times int) error {
				c, err := v.trialConfig(t, d, name, p)
				run := &trial{spec: spec, config: c, steps: c.TotalSteps(set.Len()), predict: test.Len(), times: times, read: v.read[d.Data]}
				steps += run.steps * times
				trials += times
				w.runs = append(w.runs, run)
				return err
			}
			points := t.Sweep.points()
			slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(a.Length, b.Length) }) // the longest may be the best
			if err := add(points[len(points)-1], len(t.Seeds)); err != nil {
				return w, err
			}
			for _, p := range points[:len(points)-1] {
				if err := add(p, 1); err != nil {
					return w, err
				}
			}
		}
	}
	w.text = fmt.Sprintf("%s, %s in all", count(trials, "trial"), count(steps, "step"))
	return w, nil
}

// trainSpec returns the network that a train stage trains and what on.
func (v *surveyor) trainSpec(s *Stage) (task.Spec, data.Dataset, error) {
	var parts []data.Dataset
	for _, n := range s.Train.Data {
		if v.faults[n] != nil {
			return task.Spec{}, nil, errSet
		}
		ds, err := v.open(n, "train")
		if err != nil {
			return task.Spec{}, nil, err
		}
		parts = append(parts, ds)
	}
	set, err := union(s, parts)
	if err != nil {
		return task.Spec{}, nil, err
	}
	labels := set.Labels()
	if s.Train.Pretext != nil {
		spec := v.spec(nil, labels)
		spec.Model, err = v.model(s.Train.Model)
		return spec, set, err
	}
	if s.Train.Labels != "" {
		for _, teacher := range v.stage(s.Train.Labels).Label.Teachers {
			spec, err := v.specOf(teacher)
			if err != nil {
				return task.Spec{}, nil, err
			}
			labels = labels.Join(spec.Labels.Only(spec.Tasks...))
		}
	}
	for _, name := range s.Train.Tasks {
		if !labels.Has(name) {
			return task.Spec{}, nil, fmt.Errorf("no set of %v has labels for %s", s.Train.Data, name)
		}
	}
	spec := v.spec(s.Train.Tasks, labels)
	spec.Model, err = v.model(s.Train.Model)
	return spec, set, err
}

// startModel returns the architecture that a start brings.
func (v *surveyor) startModel(s *Start) (model.Config, error) {
	switch e := v.stage(s.From); {
	case e != nil:
		return v.model(e.Train.Model)
	case s.From == "":
		return v.model(s.Model)
	}
	c, err := checkpoint.ReadPretrained(s.From)
	if err != nil {
		return model.Config{}, err
	}
	return v.Model.On(c.Spec.Model), nil
}

// specOf returns the network of a start: a train stage's, or a file's.
func (v *surveyor) specOf(start string) (task.Spec, error) {
	if s := v.stage(start); s != nil {
		spec, _, err := v.trainSpec(s)
		return spec, err
	}
	if v.isForeign(start) {
		f, err := v.surveyForeign(start)
		return f.spec, err
	}
	c, err := checkpoint.ReadPretrained(start)
	if err != nil {
		return task.Spec{}, err
	}
	return c.Spec, nil
}

// estimate says how long a stage's work takes and how much memory training in it.
func (v *surveyor) estimate(w work) (seconds float64, bytes int64, err error) {
	for _, t := range w.runs {
		cost, err := v.cost(t)
		if err != nil {
			return 0, 0, err
		}
		workers := t.config.Workers
		if workers == 0 {
			workers = max(1, runtime.GOMAXPROCS(0)-1)
		}
		read := t.read / float64(workers)
		seconds += float64(t.times) * (float64(t.steps*t.config.Batch)*math.Max(cost.Step, read) + float64(t.predict)*math.Max(cost.Predict, read))
		if t.steps > 0 && cost.Image > 0 {
			bytes = max(bytes, v.resident+cost.Fixed+cost.Image*int64(t.config.Batch))
		}
	}
	return seconds, bytes, nil
}

// probePixels is how many pixels a probe's batch may have: on a CPU a step on them takes seconds at
// most, a GPU needs more to be busy.
const probePixels, probePixelsGPU = 1 << 17, 1 << 23

// cost measures a network, or one that costs about as much.
func (v *surveyor) cost(t *trial) (train.Cost, error) {
	if t.foreign > 0 {
		return train.Cost{Predict: t.foreign}, nil
	}
	s, c := t.spec, t.config
	pixels := probePixels
	if i, err := torch.Describe(); err != nil {
		return train.Cost{}, err
	} else if i.Device.CUDA {
		pixels = probePixelsGPU
	}
	least := 1
	if s.Size < 256 { // batch norm needs more than one value a channel, also at the smallest level
		least = 2
	}
	images := min(c.Batch, max(least, pixels/(s.Size*s.Size)))
	if t.pretext != nil { // a queue of keys may be so many batches only
		images = 1 << (bits.Len(uint(images)) - 1)
	}
	about := func(n int) int { return bits.Len(uint(max(n, 1) - 1)) } // classes cost little
	key, err := json.Marshal([]any{
		s.Tasks, s.Size, s.Model, s.Detection, s.Labels[detection.Name].Masks && slices.Contains(s.Tasks, detection.Name),
		about(len(s.Labels[classification.Name].Classes)), about(len(s.Labels[detection.Name].Classes)), about(len(s.Labels[segmentation.Name].Classes)),
		images, c.BF16, c.Optimizer, c.EMA > 0, t.pretext,
	})
	if err != nil {
		return train.Cost{}, err
	}
	if cost, ok := v.costs[string(key)]; ok {
		return cost, nil
	}
	cost, err := train.Probe(c, images, func() (*task.Network, train.Pretext, error) {
		if t.pretext != nil {
			p := *t.pretext
			if p.Queue != 0 { // a whole number of batches
				p.Queue = max(1, p.Queue/images) * images
			}
			return pretext.New(s, p, c.Seed, images)
		}
		net, err := task.New(s, c.Seed)
		return net, nil, err
	})
	if err == nil {
		v.costs[string(key)] = cost
	}
	return cost, err
}

func count(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return thousands(n) + " " + of
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Text is the survey for people.
func (s *Survey) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s into %s:\n\nsets\n", s.Name, s.Out)
	for _, x := range s.Sets {
		x.text(&b)
	}
	if s.Mappings != nil {
		fmt.Fprintf(&b, "\nlabel spaces\n")
		for _, m := range s.Mappings {
			m.text(&b)
		}
	}
	fmt.Fprintf(&b, "\nstages\n")
	var total float64
	var peak int64
	for _, x := range s.Stages {
		fmt.Fprintf(&b, "  %-24s %-9s %-12s %-40s", x.Name, x.Kind, x.State, x.Work)
		if x.Seconds > 0 {
			fmt.Fprintf(&b, " %10s", duration(x.Seconds))
		}
		if x.Bytes > 0 {
			fmt.Fprintf(&b, "  %6.1f GB", float64(x.Bytes)/1e9)
		}
		fmt.Fprintln(&b)
		if x.Fault != nil {
			fmt.Fprintf(&b, "    cannot run: %v\n", x.Fault)
		}
		total += x.Seconds
		peak = max(peak, x.Bytes)
	}
	switch {
	case s.Unprobed != nil:
		fmt.Fprintf(&b, "\ntime and memory are not estimated: %v\n", s.Unprobed)
	case total > 0:
		fmt.Fprintf(&b, "\nabout %s", duration(total))
		if peak > 0 {
			fmt.Fprintf(&b, " and %.1f GB of memory", float64(peak)/1e9)
		}
		fmt.Fprintf(&b, ", by a few steps of each network on noise here and now: %s\n", surroundings().Device)
		if cores := runtime.NumCPU(); s.Load > float64(cores)/2 {
			fmt.Fprintf(&b, "other programs kept the machine busy (load %.1f on %d cores); without them it is faster\n", s.Load, cores)
		}
	}
	if n := s.Faults(); n > 0 {
		fmt.Fprintf(&b, "%d sets or stages cannot be used as things are; see above\n", n)
	}
	return b.String()
}

func (x SetSurvey) text(b *strings.Builder) {
	var parts, labels []string
	for _, p := range x.Parts {
		parts = append(parts, fmt.Sprintf("%s %s", p.Name, thousands(p.Samples)))
	}
	for _, t := range data.Tasks() {
		if n := len(classNames(x.Labels, t)); n > 0 {
			labels = append(labels, fmt.Sprintf("%s (%d)", t, n))
		} else if x.Labels.Has(t) {
			labels = append(labels, t)
		}
	}
	if x.Fault == nil {
		fmt.Fprintf(b, "  %-16s %-36s %s\n", x.Name, strings.Join(parts, ", "), strings.Join(labels, ", "))
		return
	}
	fmt.Fprintf(b, "  %-16s cannot be used: %v\n", x.Name, x.Fault)
	if x.Layout != "" {
		fmt.Fprintf(b, "  %-16s expected: %s\n", "", x.Layout)
	}
}

func (m SetMapping) text(b *strings.Builder) {
	same := 0
	var renamed, nothing, unknown []string
	for i, name := range m.From {
		switch at := m.At[i]; {
		case at < 0:
			nothing = append(nothing, name)
		case m.To[at] == name:
			same++
		default:
			renamed = append(renamed, name+" → "+m.To[at])
		}
	}
	for _, c := range m.Unknown() {
		unknown = append(unknown, m.To[c])
	}
	fmt.Fprintf(b, "  %s of %s: %d classes of %d keep their names\n", m.Task, m.Set, same, len(m.From))
	for _, l := range []struct {
		title string
		names []string
	}{{"renamed", renamed}, {"map to nothing and are unknown", nothing}, {"of the recipe's, unknown in it", unknown}} {
		if len(l.names) > 0 {
			wrap(b, fmt.Sprintf("%d %s:", len(l.names), l.title), l.names)
		}
	}
}

// wrap writes a list over as many lines as it takes, but not more than a screen needs.
func wrap(b *strings.Builder, title string, names []string) {
	const width, most = 100, 60
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" … and %d more", len(names)-most)
		names = names[:most]
	}
	line := "    " + title
	for i, n := range names {
		if i < len(names)-1 {
			n += ","
		}
		if len(line)+1+len(n) > width {
			fmt.Fprintln(b, line)
			line = "     "
		}
		line += " " + n
	}
	fmt.Fprintln(b, line+more)
}

// duration is a time as one would say it.
func duration(seconds float64) string {
	switch {
	case seconds < 1:
		return "1 s"
	case seconds < 100:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 100*60:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 72*3600:
		return fmt.Sprintf("%.0f h", seconds/3600)
	}
	return fmt.Sprintf("%s days", thousands(int(math.Round(seconds/86400))))
}
