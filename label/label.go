// Package label runs teachers over a set of images and stores what they see as pseudo labels, by the
// rules of MuST (§3.1): boxes of a score of at least 0.5, pixels under a confidence of 0.5 ignored,
// whole class distributions, depth as predicted.
package label

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"must/data"
	"must/label/shards"
	"must/predict"
	"must/progress"
	"must/task"
	"must/task/registry"
)

// A Teacher is a network, or a model of others, that labels one task, or several.
type Teacher struct {
	Net   predict.Predictor
	Path  string // of its file
	Hash  string // its sha256
	Tasks []string
}

// Options say how a set is labelled.
type Options struct {
	Name       string             // of the set, for people
	Tasks      []string           // to label; nil: see Missing
	Thresholds map[string]float64 // by task; what is absent is as published
	Open       map[string]float64 // by task, the score from which on what stays below the threshold is left open: neither there nor not there
	Mask       Mask               // pixels that get no label
	Batch      int                // 0: 16
	Workers    int
	ShardSize  int // 0: shards.DefaultShardSize
	Program    string
	Display    *progress.Display

	// Decided are labels that people decided on otherwise than the teachers, by key and task, nil where
	// dropped: Assess takes them in place of the teachers'.
	Decided map[string]map[string]data.Label
}

// DefaultThresholds are the published ones. A task that can have one but is published without is absent.
func DefaultThresholds() map[string]float64 {
	t := map[string]float64{}
	for _, name := range data.Tasks() {
		if v, ok := registry.Get(name).Threshold(); ok && v > 0 {
			t[name] = v
		}
	}
	return t
}

// CheckThresholds tells which task can have no threshold, or not such a one.
func CheckThresholds(of map[string]float64) error {
	var can []string
	for _, name := range data.Tasks() {
		if _, ok := registry.Get(name).Threshold(); ok {
			can = append(can, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if !slices.Contains(can, name) {
			return fmt.Errorf("threshold for %s: only %s can have one", name, strings.Join(can, ", "))
		}
		if v := of[name]; !(v >= 0 && v <= 1) {
			return fmt.Errorf("threshold for %s is %v; it must be in [0, 1]", name, v)
		}
	}
	return nil
}

// A Summary counts what was done.
type Summary struct {
	Images, Skipped int            // in this call
	Labels          map[string]int // objects, labelled pixels or images, by task, in this call
	Warnings        []string       // of labels that are hardly any
	Health          []Health       // of all labels of the set, by task
	All             shards.Totals  // of the set, whichever calls made it
}

// Missing returns the tasks of the teachers that some images of the set have no label for, or labels
// that do not tell of all classes.
func Missing(ds data.Dataset, teachers []Teacher) []string {
	have := ds.Labels()
	var tasks []string
	for _, t := range teachers {
		for _, name := range t.Tasks {
			if !have.Has(name) || have[name].Unknown != nil || data.Labelled(ds, name) < ds.Len() {
				tasks = append(tasks, name)
			}
		}
	}
	return tasks
}

// Run labels what the set lacks and writes shards into dir; where an image has a true label, it stays
// the only one. It streams: memory does not grow with the set. Cut off at any moment, it goes on where
// it was; several processes may share the work.
func Run(ctx context.Context, ds data.Dataset, teachers []Teacher, dir string, o Options) (*Summary, error) {
	o, err := o.complete(ds, teachers)
	if err != nil {
		return nil, err
	}
	provenance, uses, err := plan(ds, teachers, o)
	if err != nil {
		return nil, err
	}
	masks, err := o.Mask.masker(ds.Labels(), provenance)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	w, err := shards.NewWriter(dir, ds, provenance, shards.Options{ShardSize: o.ShardSize})
	if err != nil {
		return nil, err
	}
	r := &run{uses: uses, masks: masks, o: o, sum: &Summary{Labels: map[string]int{}}}
	if err := w.Retry(func(index int) bool { // what was skipped and can be read by now is tried again
		_, err := ds.Sample(index)
		return err == nil
	}); err != nil {
		return nil, err
	}
	remaining, err := w.Remaining()
	if err != nil {
		return nil, err
	}
	r.bar = o.Display.Task("label "+o.Name, int64(ds.Len()), "images")
	defer r.bar.Done()
	r.bar.Set(int64(ds.Len() - remaining))
	for {
		s, ok, err := w.Claim(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			if err := w.Finish(); err != nil {
				return nil, err
			}
			r.sum.All = w.Totals()
			r.sum.Health = health(provenance, r.sum.All)
			for _, h := range r.sum.Health {
				if w := h.warning(); w != "" {
					r.sum.Warnings = append(r.sum.Warnings, w)
				}
			}
			return r.sum, nil
		}
		if err := r.shard(ctx, ds, s); err != nil {
			s.Close()
			return nil, err
		}
		if err := s.Commit(); err != nil {
			return nil, err
		}
	}
}

// complete fills in what the options leave open.
func (o Options) complete(ds data.Dataset, teachers []Teacher) (Options, error) {
	if err := CheckThresholds(o.Thresholds); err != nil {
		return o, err
	}
	thresholds := DefaultThresholds()
	maps.Copy(thresholds, o.Thresholds)
	for name, low := range o.Open {
		if _, ok := registry.Get(name).(task.Banded); !ok {
			return o, fmt.Errorf("threshold for %s: it has one number; nothing below it can be left open", name)
		}
		if !(low >= 0 && low <= thresholds[name]) {
			return o, fmt.Errorf("threshold for %s is %v and what is left open begins at %v: that must be in [0, %[2]v]", name, thresholds[name], low)
		}
	}
	o.Thresholds = thresholds
	if o.Tasks == nil {
		if o.Tasks = Missing(ds, teachers); o.Tasks == nil {
			return o, fmt.Errorf("%s: nothing to label: the set has labels for every task of the teachers", o.Name)
		}
	}
	return o, nil
}

// plan says what the labels will mean and which network makes which. But for the tasks aligned they
// have to mean what the set's own do.
func plan(ds data.Dataset, teachers []Teacher, o Options, aligned ...string) (shards.Provenance, []predict.Use, error) {
	p := shards.Provenance{Program: o.Program, Dataset: shards.Identify(o.Name, ds), Tasks: map[string]shards.Task{}}
	var uses []predict.Use
	for _, t := range teachers {
		u := predict.Use{Net: t.Net}
		for _, name := range t.Tasks {
			if !slices.Contains(o.Tasks, name) {
				continue
			}
			if !t.Net.Knows().Has(name) {
				return p, nil, fmt.Errorf("teacher %s does not know %s", t.Path, name)
			}
			if _, twice := p.Tasks[name]; twice {
				return p, nil, fmt.Errorf("two teachers for %s; name one", name)
			}
			if err := t.Net.Knows().Conflict(ds.Labels(), name); err != nil && !slices.Contains(aligned, name) {
				return p, nil, fmt.Errorf("the labels of teacher %s are not the set's: %w", t.Path, err)
			}
			p.Tasks[name] = describe(t, name, ds.Labels(), o)
			u.Tasks = append(u.Tasks, name)
		}
		if u.Tasks != nil {
			uses = append(uses, u)
		}
	}
	for _, name := range o.Tasks {
		if _, ok := p.Tasks[name]; !ok {
			var known []string
			for _, t := range teachers {
				known = append(known, t.Tasks...)
			}
			return p, nil, fmt.Errorf("no teacher for %s; there are some for %s", name, strings.Join(known, ", "))
		}
	}
	return p, uses, nil
}

// rules returns what turns predictions into pseudo labels.
func rules(uses []predict.Use, o Options) func(pred *data.Sample) {
	return func(pred *data.Sample) {
		for _, u := range uses {
			for _, name := range u.Tasks {
				if !pred.Has(name) {
					continue
				}
				if low, band := o.Open[name]; band {
					pred.Put(registry.Get(name).(task.Banded).Band(pred.Label(name), low, o.Thresholds[name]))
				} else {
					registry.Pseudo(pred, name, o.Thresholds[name])
				}
			}
		}
	}
}

func describe(t Teacher, name string, have data.Labels, o Options) shards.Task {
	l := t.Net.Knows()
	d := shards.Task{Teacher: t.Path, SHA256: t.Hash, Threshold: o.Thresholds[name], Open: o.Open[name]}
	settings := t.Net.Settings()
	if u := have[name].Unknown; u != nil {
		settings = fmt.Append(settings, u)
	}
	if low, band := o.Open[name]; band {
		settings = fmt.Append(settings, "open from", low)
	}
	if hidden := o.Mask[name]; hidden != nil {
		settings = fmt.Append(settings, "without", hidden)
		d.Without = hidden
	}
	sum := sha256.Sum256(settings)
	d.Settings = hex.EncodeToString(sum[:8])
	m := l[name]
	d.Classes, d.Masks, d.Units, d.DType = m.Classes, m.Masks, m.Units, registry.Get(name).DType()
	d.Channels, d.Grid = m.Channels, m.Grid
	return d
}

type run struct {
	uses  []predict.Use
	masks *masker
	o     Options
	sum   *Summary
	bar   *progress.Task
}

// shard labels one range of the set.
func (r *run) shard(ctx context.Context, ds data.Dataset, s *shards.Shard) error {
	next := s.From
	var mu sync.Mutex // the loader tells of broken samples from its own goroutines
	broken := map[string]error{}
	skipTo := func(index int) error {
		for ; next < index; next++ {
			key := ds.Key(next)
			mu.Lock()
			why := broken[key]
			mu.Unlock()
			if why == nil {
				why = errors.New("unreadable")
			}
			if err := s.Skip(key, why); err != nil {
				return err
			}
			r.sum.Skipped++
			r.bar.Add(1)
		}
		return nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	o := predict.Options{Batch: r.o.Batch, From: s.From, To: s.To, Workers: r.o.Workers, Bar: r.bar, Pixels: -1, Rules: rules(r.uses, r.o), Skipped: func(err error) {
		var e *data.SampleError
		if errors.As(err, &e) {
			if e.System() {
				stop(fmt.Errorf("%w; this is no broken image, so labelling stops: mend it and repeat the command, which goes on from here", err))
				return
			}
			mu.Lock()
			broken[e.Key] = err
			mu.Unlock()
		}
		r.o.Display.Logf("skipped: %v", err)
	}}
	err := predict.Run(ctx, r.uses, ds, o, func(index int, sample, pred *data.Sample) error {
		if err := skipTo(index); err != nil {
			return err
		}
		r.masks.apply(sample, pred)
		data.Lack(sample, ds.Labels(), pred) // what has a true label keeps it
		next = index + 1
		err := s.Add(pred)
		if e, ok := errors.AsType[*data.SampleError](err); ok { // such as depth beyond float16
			r.sum.Skipped++
			r.o.Display.Logf("skipped: %v", err)
			return s.Skip(pred.Key, fmt.Errorf("%s%w", shards.Unstorable, e.Err))
		}
		if err == nil {
			r.count(pred, s)
		}
		return err
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if err != nil && !unreadable(err, len(broken), s) {
		return err
	}
	return skipTo(s.To)
}

// unreadable reports whether a pass failed only because nothing of its range could be read: then all
// of it is skipped and the next range may be better.
func unreadable(err error, broken int, s *shards.Shard) bool {
	var e *data.SampleError
	return errors.As(err, &e) && broken == s.To-s.From
}

func (r *run) count(pred *data.Sample, s *shards.Shard) {
	r.sum.Images++
	for _, t := range r.o.Tasks {
		if l := pred.Label(t); l != nil {
			kind := registry.Get(t)
			n := kind.Count(l)
			r.sum.Labels[t] += n
			var shown []int
			if c, ok := kind.(task.Classed); ok {
				shown = c.Shown(l)
			}
			s.Count(t, n, shown)
		}
	}
}
