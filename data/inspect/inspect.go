// Package inspect looks through a dataset and says what is in it: the first thing to run on new data.
package inspect

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"must/data"
	"must/data/account"
	"must/task"
	"must/task/registry"
)

// Options say how much is looked at.
type Options struct {
	Count    int                   // samples to decode, spread evenly over the set; 0: all
	Workers  int                   // that decode at a time; 0: one per core
	Progress func(done, total int) // called now and then, by one goroutine at a time; nil: never
}

// A Summary is what was found. Nothing in it depends on the number of workers.
type Summary struct {
	Samples    int           // in the set
	Looked     int           // at, broken ones among them
	Broken     int           // could not be read, or have labels that cannot be
	FirstWrong []error       // the first of them
	Duplicates int           // samples whose key another one has, in the whole set
	FirstTwice []string      // the first of these keys
	Notes      []string      // of the reader, see data.Notes
	Width      account.Range // in pixels
	Height     account.Range

	Tasks map[string]task.Counts // of the labels, by task
}

// shown is how many broken samples and duplicate keys are kept.
const shown = 10

// Run looks at the samples of ds, writes a readable account to w, and returns what it says. A broken
// sample is counted and does not stop it; an error is that of ctx or of w.
func Run(ctx context.Context, ds data.Dataset, w io.Writer, o Options) (Summary, error) {
	looked := ds
	if o.Count > 0 {
		looked = data.Spread(ds, o.Count)
	}
	t := newTally(ds.Labels(), looked.Len())
	workers := o.Workers
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range min(workers, looked.Len()) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < looked.Len() && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				s, err := looked.Sample(i)
				if err == nil {
					err = check(s, t.labels)
				}
				mu.Lock()
				t.add(i, s, err)
				if o.Progress != nil {
					o.Progress(t.done, looked.Len())
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return Summary{}, err
	}
	s := t.summary()
	s.Samples = ds.Len()
	s.Duplicates, s.FirstTwice = duplicates(ds)
	s.Notes = data.Notes(ds)
	return s, s.write(w, ds.Labels())
}

// duplicates counts the samples whose key came before.
func duplicates(ds data.Dataset) (n int, first []string) {
	seen := make(map[string]struct{}, ds.Len())
	for i := range ds.Len() {
		key := ds.Key(i)
		if _, twice := seen[key]; !twice {
			seen[key] = struct{}{}
			continue
		}
		if n++; len(first) < shown {
			first = append(first, key)
		}
	}
	return n, first
}

// check reports labels that break the rules of data.Sample.
func check(s *data.Sample, l data.Labels) error {
	wrong := func(format string, args ...any) error {
		return &data.SampleError{Key: s.Key, Err: fmt.Errorf(format, args...)}
	}
	if s.Image == nil || s.Image.Rect.Empty() {
		return wrong("no image")
	}
	for _, known := range s.Known {
		if err := known.Check(l[known.Task()], s.Image.Rect.Size()); err != nil {
			return wrong("%w", err)
		}
	}
	return nil
}

// A tally adds samples up, in any order.
type tally struct {
	labels        data.Labels
	done          int
	wrong         map[int]error // by position
	width, height []float64
	s             Summary
}

func newTally(l data.Labels, n int) *tally {
	t := &tally{labels: l, wrong: map[int]error{}}
	t.s.Looked, t.s.Tasks = n, map[string]task.Counts{}
	for name, m := range l {
		t.s.Tasks[name] = registry.Get(name).Counts(m)
	}
	return t
}

func (t *tally) add(i int, s *data.Sample, err error) {
	t.done++
	if err != nil {
		t.wrong[i] = err
		return
	}
	t.width, t.height = append(t.width, float64(s.Image.Rect.Dx())), append(t.height, float64(s.Image.Rect.Dy()))
	for _, l := range s.Known {
		if c := t.s.Tasks[l.Task()]; c != nil {
			c.Add(l)
		}
	}
}

// summary concludes.
func (t *tally) summary() Summary {
	s := t.s
	s.Broken = len(t.wrong)
	for _, i := range slices.Sorted(maps.Keys(t.wrong)) {
		if len(s.FirstWrong) < shown {
			s.FirstWrong = append(s.FirstWrong, t.wrong[i])
		}
	}
	s.Width, s.Height = account.RangeOf(t.width), account.RangeOf(t.height)
	return s
}
