package run

import (
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
	"sync"
	"time"

	"must/data"
	"must/data/formats"
	"must/machine"
	"must/network"
	"must/pretext"
	"must/recipe"
	"must/stage"
	"must/torch"
	"must/train"
)

// A Plan is what a dry run tells of a recipe before anything is spent.
type Plan struct {
	Name, Out  string
	Sets       []SetPlan
	Mappings   []SetMapping
	Stages     []StagePlan
	Unmeasured error   // why time and memory were not measured; nil: they were
	Load       float64 // processes that others kept busy meanwhile
	Jobs       int     // processes side by side; 0 or 1: one
}

// A SetPlan tells of a data set.
type SetPlan struct {
	Name   string
	Parts  []PartPlan
	Labels data.Labels // its own
	Fault  error       // why it cannot be used
	Layout string      // what is expected where, for one that cannot
}

// A PartPlan is the number of samples in a part.
type PartPlan struct {
	Name    string
	Samples int
}

// A SetMapping tells how the classes of a set become the recipe's.
type SetMapping struct {
	Set string
	data.Mapping
}

// A State is what Run would do with a stage.
type State string

// The states.
const (
	Done    State = "done"
	Resumes State = "resumes"
	Runs    State = "runs"
	LeftOut State = "left out"
)

// A StagePlan tells of a stage.
type StagePlan struct {
	Name, Kind string
	State      State
	Spent      float64  // seconds, so far
	Changes    []Change // since its latest other result; nil: it has none
	Work       string   // steps, images or trials
	Seconds    float64  // estimated; 0: nothing to do, or not known
	There      float64  // seconds on the cluster asked about
	Bytes      int64    // estimated peak of memory while it trains; 0: not known
	Notes      []string
	Fault      error // why it cannot run
}

// Faults counts the sets and stages that cannot be used or run.
func (p *Plan) Faults() (n int) {
	for _, x := range p.Sets {
		if x.Fault != nil {
			n++
		}
	}
	for _, x := range p.Stages {
		if x.Fault != nil {
			n++
		}
	}
	return n
}

// state says what Run would do with a stage.
func (r *Runner) state(name string) (state State, spent float64) {
	if d, ok := r.finished(name); ok {
		return Done, d.Seconds
	}
	spent, begun := r.spent(name)
	switch {
	case !r.wanted(name):
		return LeftOut, spent
	case begun:
		return Resumes, spent
	}
	return Runs, 0
}

// Plan opens every set of the recipe and measures its networks by a few steps on noise; unmeasured, if
// not nil, is why that is not to be done. It writes nothing.
func (r *Runner) Plan(ctx context.Context, unmeasured error) (*Plan, error) {
	if err := r.checkOnly(); err != nil {
		return nil, err
	}
	r.resolve()
	m := &planner{Runner: r, costs: map[string]train.Cost{}, read: map[string]float64{}, external: map[string]float64{}, rate: sync.OnceValue(rate), have: sync.OnceValue(func() int64 { return machine.Probe().Memory })}
	p := &Plan{Name: r.Name, Out: r.Out, Unmeasured: unmeasured, Load: machine.Load(), Jobs: r.Jobs}
	for _, name := range recipe.Names(r.Data) {
		set := m.set(name)
		if set.Fault == nil && m.mapped(name) {
			mappings, err := r.Mappings(name, set.Labels)
			set.Fault = err
			for _, mapping := range mappings {
				if !mapping.Same() {
					p.Mappings = append(p.Mappings, SetMapping{name, mapping})
				}
			}
		}
		if set.Fault != nil {
			r.Refuse(name, set.Fault)
		}
		p.Sets = append(p.Sets, set)
	}
	debug.FreeOSMemory()
	if torch.DeviceTotal() == 0 {
		m.resident, _ = machine.ResetPeak()
	}
	for _, s := range r.Steps {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		x := StagePlan{Name: s.Name, Kind: s.Kind}
		x.State, x.Spent = r.state(s.Name)
		if x.State == Runs {
			x.Changes = r.changes(s.Name)
		}
		d, _ := r.finished(s.Name)
		for _, b := range d.Broken {
			x.Notes = append(x.Notes, fmt.Sprintf("%v could not be read", b))
		}
		cost, err := s.Cost(r.work(s.Name))
		if err == nil {
			x.Work, x.Notes = cost.Text, append(x.Notes, cost.Notes...)
			if unmeasured == nil && (x.State == Runs || x.State == Resumes) {
				x.Seconds, x.Bytes, err = m.estimate(cost)
				if r.On != nil && err == nil {
					var there string
					if x.There, there, err = m.reckon(r.On, cost, m.rate()); there != "" {
						x.Notes = append(x.Notes, there)
					}
				}
				if have := m.memory(); x.Bytes > have && have > 0 {
					x.Notes = append(x.Notes, short(cost, x.Bytes, have))
				}
			}
		}
		if !errors.Is(err, stage.ErrSet) { // told of at the set
			x.Fault = err
		}
		p.Stages = append(p.Stages, x)
	}
	return p, nil
}

func rate() (v float64) {
	torch.Do(func() { v = torch.Rate() })
	return v
}

// A planner measures what stages cost.
type planner struct {
	*Runner
	costs    map[string]train.Cost // by what matters of a network and batch
	read     map[string]float64    // seconds to read a sample, by set
	external map[string]float64    // seconds per image, by external teacher
	resident int64                 // bytes of the device's memory, with all sets open
	rate     func() float64        // operations a second of a convolution here
	have     func() int64          // bytes of memory that this process may use
}

// parts lists the parts of sets that a stage reads.
func (m *planner) parts(name string) []stage.Part { return m.fingerprint(name).inputs.Parts }

// mapped reports whether some stage uses a set in the recipe's classes.
func (m *planner) mapped(set string) bool {
	return slices.ContainsFunc(m.Steps, func(s *stage.Step) bool {
		return slices.ContainsFunc(m.parts(s.Name), func(p stage.Part) bool { return p.Set == set && !p.Own })
	})
}

// set opens the parts of a set that stages read, and reads a few samples.
func (m *planner) set(name string) SetPlan {
	f, _ := formats.Find(m.Data[name].Format)
	out := SetPlan{Name: name}
	parts := map[string]bool{} // whether optional
	for _, s := range m.Steps {
		for _, p := range m.parts(s.Name) {
			if p.Set == name {
				optional, seen := parts[p.Part]
				parts[p.Part] = p.Optional && (optional || !seen)
			}
		}
	}
	for _, part := range []string{"train", "val", "test"} {
		optional, needed := parts[part]
		if !needed {
			continue
		}
		ds, err := m.OpenOwn(name, part)
		if err == nil && ds.Len() == 0 {
			err = fmt.Errorf("data set %s, %s part: it has no samples", name, part)
		}
		if err != nil {
			if !(optional && errors.Is(err, data.ErrNoPart)) && out.Fault == nil {
				out.Fault, out.Layout = err, f.About
			}
			continue
		}
		out.Labels = ds.Labels()
		out.Parts = append(out.Parts, PartPlan{part, ds.Len()})
		if _, done := m.read[name]; !done {
			m.read[name], err = readTime(ds)
			if err != nil && out.Fault == nil {
				out.Fault = fmt.Errorf("data set %s, %s part: %w", name, part, err)
			}
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

// estimate says how long a stage's work takes and how much memory training in it.
func (m *planner) estimate(c stage.Cost) (seconds float64, bytes int64, err error) {
	for _, run := range c.Runs {
		cost, err := m.cost(run)
		if err != nil {
			return 0, 0, err
		}
		workers := run.Config.Workers
		if workers == 0 {
			workers = max(1, runtime.GOMAXPROCS(0)-1)
		}
		var read float64
		for set, share := range run.Reads {
			read += share * m.read[set] / float64(workers)
		}
		seconds += float64(run.Times) * (float64(run.Steps*run.Config.Batch)*math.Max(cost.Step, read) + float64(run.Predict)*math.Max(cost.Predict, read))
		if run.Steps > 0 && cost.Image > 0 {
			pieces := max(1, run.Config.Accumulate)
			bytes = max(bytes, m.resident+cost.Fixed+cost.Image*int64((run.Config.Batch+pieces-1)/pieces))
		}
	}
	return seconds, bytes, nil
}

// memory is what the device has, 0 where it is not known.
func (m *planner) memory() int64 {
	if total := torch.DeviceTotal(); total > 0 {
		return total
	}
	return m.have()
}

// short says what to do where memory is.
func short(c stage.Cost, need, have int64) string {
	note := fmt.Sprintf("needs %.1f GB of memory, and there are %.1f: ", float64(need)/1e9, float64(have)/1e9)
	for _, run := range c.Runs {
		if run.Pretext != nil || run.Steps == 0 {
			continue
		}
		batch, now := run.Config.Batch, max(1, run.Config.Accumulate)
		pieces := min(batch, now*int((need+have-1)/have+1))
		for pieces < batch && batch%pieces != 0 {
			pieces++
		}
		return note + fmt.Sprintf("train.accumulate: %d computes the batch of %d in pieces of %d, with the same result up to batch norm's statistics; or lower train.batch, size or detection.rois", pieces, batch, batch/pieces)
	}
	return note + "lower train.batch or size"
}

// Foretell says of a stage how long it takes and what is missing for it, and what helps where that is hours.
func (p *Plan) Foretell(stage string) (lines []string) {
	i := slices.IndexFunc(p.Stages, func(x StagePlan) bool { return x.Name == stage })
	if i < 0 || p.Stages[i].Seconds == 0 {
		return nil
	}
	x := p.Stages[i]
	line := fmt.Sprintf("%s, about %s", x.Work, duration(x.Seconds))
	if x.Bytes > 0 {
		line += fmt.Sprintf(" and %.1f GB of memory", float64(x.Bytes)/1e9)
	}
	lines = append(lines, line+" by a few steps on noise")
	if cores := runtime.NumCPU(); p.Load > float64(cores)/2 {
		lines = append(lines, fmt.Sprintf("other programs keep the machine busy (load %.1f on %d cores); without them it is faster", p.Load, cores))
	}
	const hours = 2 * 3600
	if x.Seconds > hours {
		lines = append(lines, "that is long: a smaller --size, --backbone resnet18 or --width 0.5, fewer --epochs or a GPU (--device cuda) make it shorter; Ctrl-C stops, and the same command goes on")
	}
	for _, n := range x.Notes {
		if strings.HasPrefix(n, "needs ") {
			lines = append(lines, n)
		}
	}
	return lines
}

// Pixels returns how many pixels the steps of a stage that are left see, all images together.
func (r *Runner) Pixels(name string) (n float64, err error) {
	r.resolve()
	c, err := r.Step(name).Cost(r.work(name))
	for _, run := range c.Runs {
		n += float64(run.Times) * float64(run.Steps) * float64(run.Config.Batch) * float64(run.Spec.Size) * float64(run.Spec.Size)
	}
	return n, err
}

// tried measures an external teacher on an image.
func (m *planner) tried(name string) (train.Cost, error) {
	if seconds, ok := m.external[name]; ok {
		return train.Cost{Predict: seconds}, nil
	}
	seconds, err := m.Try(name)
	m.external[name] = seconds
	return train.Cost{Predict: seconds}, err
}

// probePixels is how many pixels a probe's batch may have: on a CPU a step on them takes seconds at
// most, a GPU needs more to be busy.
const probePixels, probePixelsGPU = 1 << 17, 1 << 23

// cost measures a network, or one that costs about as much.
func (m *planner) cost(run stage.Run) (train.Cost, error) {
	if run.External != "" {
		return m.tried(run.External)
	}
	s, c := run.Spec, run.Config
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
	if run.Pretext != nil { // a queue of keys may be so many batches only
		images = 1 << (bits.Len(uint(images)) - 1)
	}
	about := func(n int) int { return bits.Len(uint(max(n, 1) - 1)) } // classes cost little
	var outputs []any
	for _, task := range s.Tasks {
		outputs = append(outputs, task, s.Labels[task].Masks, about(len(s.Labels[task].Classes)))
	}
	key, err := json.Marshal([]any{
		outputs, s.Size, s.Model, s.Detection, images, c.BF16, c.Optimizer, c.EMA > 0, run.Pretext,
	})
	if err != nil {
		return train.Cost{}, err
	}
	if cost, ok := m.costs[string(key)]; ok {
		return cost, nil
	}
	cost, err := train.Probe(c, images, func() (*network.Network, train.Pretext, error) {
		if run.Pretext != nil {
			p := *run.Pretext
			if p.Queue != 0 { // a whole number of batches
				p.Queue = max(1, p.Queue/images) * images
			}
			return pretext.New(s, p, c.Seed, images)
		}
		net, err := network.New(s, c.Seed)
		return net, nil, err
	})
	if err == nil {
		m.costs[string(key)] = cost
	}
	return cost, err
}
