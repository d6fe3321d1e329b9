// Package loader decodes, augments and batches samples on background goroutines.
//
// What a batch holds is a function of the seed and its step alone: the order comes from (seed,
// epoch), a view from (seed, epoch, index), never from scheduling. So one worker and eight give
// the same numbers, and a run resumed at step k gets the batches it would have got.
package loader

import (
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"must/augment"
	"must/data"
)

// A Batch is what the network sees, and what its labels are. With Options.Views, N counts the views of
// all samples: view v of sample i is number v·Batch + i.
type Batch struct {
	N, Size int
	Images  []uint8 // [N, 3, Size, Size] RGB, 0 to 255

	Samples   []*data.Sample // augmented; labels in the network's frame
	Originals []*data.Sample // as the dataset gave them, but see Options.Pixels; only with Options.Originals
	Sizes     []image.Point  // of the originals' images
	Brought   [][]Brought    // what each of Options.Bring made of them
	Frames    []data.Frame   // how to get back to the original frame; nil in training
	Index     []int          // into the dataset
	Extra     any            // what Options.Collate made
	Waited    time.Duration  // the consumer's, for this batch

	free chan []uint8
}

// Release gives the batch's Images to a later batch; they must not be used any more. Calling it is
// optional and saves garbage.
func (b *Batch) Release() {
	select {
	case b.free <- b.Images[:cap(b.Images)]:
	default:
	}
	b.Images = nil
}

// Options says how batches are made.
type Options struct {
	Batch   int            // samples in a batch
	Parts   int            // that Steps cuts every batch into; 0: one
	Mine    [2]int         // parts from ≤ p < to that Steps yields, one after another; {0, 0}: all
	Augment augment.Config // its Size is the batch's
	Train   bool           // augment.Config.Train instead of Eval
	Views   []View         // of every sample, in place of Augment; with Train
	Mixup   float64        // α of mixup, see mix.go; 0: none
	Shuffle bool           // Steps goes through a new permutation each epoch
	Seed    uint64
	Workers int // goroutines; 0: all cores but one, which is left to the engine

	// Originals keeps the samples as they were before augmentation, which costs memory. Without Train the
	// batch's Samples are then images only: who has the originals needs no resampled labels.
	Originals bool

	// Pixels is how much of an original's image is kept: a larger one is shrunk to it once the views are
	// made. 0: all; negative: nothing but its Rect.
	Pixels int

	// Side is how many pixels both sides of an image should have at least, without Train: larger ones may be
	// decoded at a fraction, see [data.Reducer]. 0: all that there are.
	Side int

	// Bring makes more views of each original's image, without Train.
	Bring []func(*image.RGBA) (*image.RGBA, data.Frame)

	// Collate makes Batch.Extra, on a worker. rng depends on (Seed, step) only, and is the same for all parts
	// of a batch.
	Collate func(samples []*data.Sample, rng *rand.Rand) any

	// Skipped, if set, hears of each broken sample once, from any goroutine, one at a time.
	Skipped func(error)
}

// A View is a random view of a sample, of the batch's size. It does not change the sample.
type View func(s *data.Sample, rng *rand.Rand) *data.Sample

// A Brought is a view of an image and the way back.
type Brought struct {
	Image *image.RGBA
	Frame data.Frame
}

// Skipped tells which samples could not be read.
type Skipped struct {
	Count int
	First []error // the first few
}

// maxErrors is how many errors Skipped keeps.
const maxErrors = 10

// A Loader makes batches of a dataset. It is safe for concurrent use.
type Loader struct {
	ds   data.Dataset
	o    Options
	free chan []uint8

	mu      sync.Mutex
	broken  map[int]bool
	skipped Skipped
}

// New returns a loader over ds.
func New(ds data.Dataset, o Options) (*Loader, error) {
	if err := o.Augment.Validate(); err != nil {
		return nil, err
	}
	if len(o.Views) > 0 && !o.Train {
		return nil, errors.New("loader: views are for training")
	}
	if o.Batch < 1 {
		return nil, fmt.Errorf("loader: batch is %d, want at least 1", o.Batch)
	}
	if ds.Len() == 0 {
		return nil, errors.New("loader: the dataset is empty")
	}
	if o.Parts == 0 {
		o.Parts = 1
	}
	if o.Mine == [2]int{} {
		o.Mine[1] = o.Parts
	}
	if o.Parts > o.Batch || o.Mine[0] < 0 || o.Mine[0] >= o.Mine[1] || o.Mine[1] > o.Parts {
		return nil, fmt.Errorf("loader: a batch of %d samples cannot be cut into %d parts, of which %v are to be made", o.Batch, o.Parts, o.Mine)
	}
	if o.Workers < 1 {
		o.Workers = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return &Loader{ds: ds, o: o, free: make(chan []uint8, 8), broken: map[int]bool{}}, nil
}

// Skipped returns the broken samples met so far.
func (l *Loader) Skipped() Skipped {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Skipped{l.skipped.Count, append([]error(nil), l.skipped.First...)}
}

// Broken returns the indices of the broken samples met so far.
func (l *Loader) Broken() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.broken))
}

// Steps yields the batches from ≤ step < to of an endless stream over the dataset: batch k holds
// its positions k·Batch to (k+1)·Batch−1, so that batches are always full and may straddle epochs.
// A broken sample is replaced by the next good one in the order of its epoch. Where batches are cut into
// Parts it yields those of them that are Mine: whoever makes which, together they are the whole batch.
//
// An error ends the stream: ctx's, one of the dataset that is no data.SampleError, or that of a
// dataset without a single readable sample.
func (l *Loader) Steps(ctx context.Context, from, to int) iter.Seq2[*Batch, error] {
	return l.run(ctx, func(jobs func(*job) bool) {
		n := l.ds.Len()
		var order []int32
		epoch := -1
		for step := from; step < to; step++ {
			for part := l.o.Mine[0]; part < l.o.Mine[1]; part++ {
				first, last := part*l.o.Batch/l.o.Parts, (part+1)*l.o.Batch/l.o.Parts
				var keep [2]int
				if l.o.Mixup > 0 && l.o.Parts > 1 { // a part's partners may be anywhere in the batch
					keep = [2]int{first, last}
					first, last = 0, l.o.Batch
				}
				j := l.newJob(step, last-first)
				j.keep = keep
				for i := range j.draws {
					at := step*l.o.Batch + first + i
					if e := at / n; e != epoch {
						epoch, order = e, l.order(e)
					}
					j.draws[i] = draw{epoch: epoch, order: order, at: at % n, replace: true}
				}
				if !jobs(j) {
					return
				}
			}
		}
	})
}

// Pass yields the samples from ≤ index < to once, in order; the last batch may be short. Broken
// samples are left out, and a batch without any good one is not yielded. Errors are as in Steps.
// A pass that was cut off goes on from the index after the last one handled.
func (l *Loader) Pass(ctx context.Context, from, to int) iter.Seq2[*Batch, error] {
	to = min(to, l.ds.Len())
	return func(yield func(*Batch, error) bool) {
		order := identity(l.ds.Len())
		some := false
		for b, err := range l.run(ctx, func(jobs func(*job) bool) {
			for step := 0; from+step*l.o.Batch < to; step++ {
				first := from + step*l.o.Batch
				j := l.newJob(step, min(l.o.Batch, to-first))
				for i := range j.draws {
					j.draws[i] = draw{order: order, at: first + i}
				}
				if !jobs(j) {
					return
				}
			}
		}) {
			if err == nil && b.N == 0 {
				b.Release()
				continue
			}
			some = true
			if !yield(b, err) {
				return
			}
		}
		if !some && l.Skipped().Count == l.ds.Len() {
			yield(nil, l.unreadable())
		}
	}
}

// order returns the permutation of an epoch.
func (l *Loader) order(epoch int) []int32 {
	order := identity(l.ds.Len())
	if l.o.Shuffle {
		l.rng(streamOrder, epoch, 0).Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
	}
	return order
}

func identity(n int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	return order
}

// Each use of randomness has a stream of its own.
const (
	streamOrder = iota
	streamView
	streamCollate
	streamMix
	streamViews // of the first of Views, and so on
)

func (l *Loader) rng(stream, a, b int) *rand.Rand {
	h := mix(mix(mix(uint64(stream))^uint64(a)) ^ uint64(b))
	return rand.New(rand.NewPCG(mix(l.o.Seed), h))
}

// mix is the finaliser of SplitMix64 (Steele et al. 2014): neighbouring seeds become unrelated.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A draw is one slot of a batch: the sample at order[at], or where it is broken and to be replaced,
// the next good one.
type draw struct {
	epoch   int
	order   []int32
	at      int
	replace bool
}

// A job is a batch being made.
type job struct {
	*Batch
	step    int
	draws   []draw
	keep    [2]int // samples of the batch that stay once it is mixed; {0, 0}: all
	pending atomic.Int32
	err     atomic.Pointer[error] // some slot's fatal error
	done    chan struct{}
}

func (l *Loader) newJob(step, n int) *job {
	size, views := l.o.Augment.Size, max(1, len(l.o.Views))
	b := &Batch{N: views * n, Size: size, Samples: make([]*data.Sample, views*n), Index: make([]int, views*n), free: l.free}
	if !l.o.Train {
		b.Frames = make([]data.Frame, n)
	}
	if l.o.Originals {
		b.Originals, b.Sizes = make([]*data.Sample, n), make([]image.Point, n)
		b.Brought = make([][]Brought, len(l.o.Bring))
		for k := range b.Brought {
			b.Brought[k] = make([]Brought, n)
		}
	}
	j := &job{Batch: b, step: step, draws: make([]draw, n), done: make(chan struct{})}
	j.pending.Store(int32(n))
	return j
}

// run makes the jobs that produce hands out, a few ahead of the consumer, and yields their batches
// in order. When it returns, all its goroutines have ended.
func (l *Loader) run(ctx context.Context, produce func(jobs func(*job) bool)) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()

		type slot struct {
			*job
			i int
		}
		// Every worker has work while the consumer holds one batch.
		ahead := make(chan *job, 1+l.o.Workers/l.o.Batch)
		slots := make(chan slot)
		wg.Go(func() {
			defer close(ahead)
			defer close(slots)
			produce(func(j *job) bool {
				select {
				case ahead <- j:
				case <-ctx.Done():
					return false
				}
				// Only now, so that no more buffers exist than batches are ahead.
				j.Images = l.buffer(j.N)
				for i := range j.draws {
					select {
					case slots <- slot{j, i}:
					case <-ctx.Done():
						return false
					}
				}
				return true
			})
		})
		for range l.o.Workers {
			wg.Go(func() {
				background()
				for s := range slots {
					l.fill(s.job, s.i)
				}
			})
		}
		// While the consumer waits nothing is to be yielded to: helpers of normal priority then make samples too, so
		// that other programs, whatever their priority, do not starve the loader.
		help := make(chan struct{})
		for range l.o.Workers {
			wg.Go(func() {
				for {
					select {
					case <-help:
					case <-ctx.Done():
						return
					}
					select {
					case s, ok := <-slots:
						if !ok {
							return
						}
						l.fill(s.job, s.i)
					case <-ctx.Done():
						return
					}
				}
			})
		}

		for {
			var j *job
			select {
			case <-ctx.Done():
			case j = <-ahead:
				if j == nil && ctx.Err() == nil {
					return
				}
			}
			if j != nil {
				began := time.Now()
				for waiting := true; waiting; {
					select {
					case <-ctx.Done():
						waiting = false
					case <-j.done:
						waiting = false
					case help <- struct{}{}:
					}
				}
				j.Waited = time.Since(began)
			}
			switch {
			case ctx.Err() != nil:
				yield(nil, ctx.Err())
				return
			case j.err.Load() != nil:
				yield(nil, *j.err.Load())
				return
			case !yield(j.Batch, nil):
				return
			}
		}
	}
}

// buffer returns room for the images of a batch of n.
func (l *Loader) buffer(n int) []uint8 {
	size := n * 3 * l.o.Augment.Size * l.o.Augment.Size
	select {
	case b := <-l.free:
		if cap(b) >= size {
			return b[:size]
		}
	default:
	}
	return make([]uint8, size)
}

// fill makes slot i of a job; the last slot to be made finishes the batch.
func (l *Loader) fill(j *job, i int) {
	if j.err.Load() == nil {
		if err := l.read(j, i); err != nil {
			j.err.CompareAndSwap(nil, &err)
		}
	}
	if j.pending.Add(-1) > 0 {
		return
	}
	if j.err.Load() == nil {
		l.compact(j.Batch)
		if l.o.Mixup > 0 {
			mixup(j.Batch, l.o.Mixup, l.rng(streamMix, j.step, 0))
			j.cut(j.keep)
		}
		if l.o.Collate != nil && j.N > 0 {
			j.Extra = l.o.Collate(j.Samples, l.rng(streamCollate, j.step, 0))
		}
	}
	close(j.done)
}

// read decodes and augments the first good sample of a draw into slot i. Without one the slot
// stays empty.
func (l *Loader) read(j *job, i int) error {
	d := j.draws[i]
	candidates := 1
	if d.replace {
		candidates = len(d.order)
	}
	for k := range candidates {
		index := int(d.order[(d.at+k)%len(d.order)])
		s, size, err := l.sample(index)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if len(l.o.Views) > 0 {
			for v, view := range l.o.Views {
				l.put(j, v*len(j.draws)+i, index, view(s, l.rng(streamViews+v, d.epoch, index)))
			}
			return nil
		}
		if j.Originals != nil {
			if j.Originals[i], j.Sizes[i] = s, size; !l.o.Train {
				s = &data.Sample{Key: s.Key, Image: s.Image}
			}
			for k, bring := range l.o.Bring {
				view, frame := bring(s.Image)
				j.Brought[k][i] = Brought{view, frame}
			}
		}
		if l.o.Train {
			s = l.o.Augment.Train(s, l.rng(streamView, d.epoch, index))
		} else {
			s, j.Frames[i] = l.o.Augment.Eval(s)
		}
		l.put(j, i, index, s)
		if j.Originals != nil && l.o.Pixels != 0 {
			j.Originals[i] = shrunk(j.Originals[i], size, l.o.Pixels)
		}
		return nil
	}
	if d.replace {
		return l.unreadable()
	}
	return nil
}

// shrunk returns a sample with an image of so many pixels at most, or with nothing but the Rect of the whole one,
// which has the size full. Labels stay.
func shrunk(s *data.Sample, full image.Point, pixels int) *data.Sample {
	size := s.Image.Rect.Size()
	all := size.X * size.Y
	if pixels > 0 && all <= pixels {
		return s
	}
	out := *s
	if pixels < 0 {
		out.Image = &image.RGBA{Rect: image.Rectangle{Max: full}}
	} else {
		k := math.Sqrt(float64(pixels) / float64(all))
		out.Image, _ = augment.Stretch(s.Image, max(1, int(k*float64(size.X))), max(1, int(k*float64(size.Y))))
	}
	return &out
}

// put stores an augmented sample as number i of a job's batch.
func (l *Loader) put(j *job, i, index int, s *data.Sample) {
	j.Index[i], j.Samples[i] = index, s
	plane := j.Size * j.Size
	Planar(j.Images[i*3*plane:][:3*plane], s.Image.Pix)
}

// sample decodes a sample; nil when it is broken, which is counted the first time.
func (l *Loader) sample(index int) (*data.Sample, image.Point, error) {
	l.mu.Lock()
	broken := l.broken[index]
	l.mu.Unlock()
	if broken {
		return nil, image.Point{}, nil
	}
	s, size, err := data.Reduced(l.ds, index, l.o.Side)
	if err == nil {
		return s, size, nil
	}
	var sampleErr *data.SampleError
	if !errors.As(err, &sampleErr) {
		return nil, image.Point{}, fmt.Errorf("reading sample %s: %w", l.ds.Key(index), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken[index] {
		return nil, image.Point{}, nil
	}
	l.broken[index] = true
	l.skipped.Count++
	if len(l.skipped.First) < maxErrors {
		l.skipped.First = append(l.skipped.First, err)
	}
	if l.o.Skipped != nil {
		l.o.Skipped(err)
	}
	return nil, image.Point{}, nil
}

func (l *Loader) unreadable() error {
	s := l.Skipped()
	return fmt.Errorf("none of %d samples could be read; the first error: %w", s.Count, s.First[0])
}

// compact closes the gaps that broken samples left.
func (l *Loader) compact(b *Batch) {
	n, image := 0, 3*b.Size*b.Size
	for i, s := range b.Samples {
		if s == nil {
			continue
		}
		if n < i {
			b.Samples[n], b.Index[n] = s, b.Index[i]
			copy(b.Images[n*image:][:image], b.Images[i*image:])
			if b.Frames != nil {
				b.Frames[n] = b.Frames[i]
			}
			if b.Originals != nil {
				b.Originals[n], b.Sizes[n] = b.Originals[i], b.Sizes[i]
				for _, views := range b.Brought {
					views[n] = views[i]
				}
			}
		}
		n++
	}
	b.N, b.Samples, b.Index, b.Images = n, b.Samples[:n], b.Index[:n], b.Images[:n*image]
	if b.Frames != nil {
		b.Frames = b.Frames[:n]
	}
	if b.Originals != nil {
		b.Originals, b.Sizes = b.Originals[:n], b.Sizes[:n]
		for k := range b.Brought {
			b.Brought[k] = b.Brought[k][:n]
		}
	}
}

// cut leaves only so many samples of a batch.
func (b *Batch) cut(keep [2]int) {
	from, to := keep[0], keep[1]
	if to == 0 {
		return
	}
	image := 3 * b.Size * b.Size
	copy(b.Images, b.Images[from*image:to*image])
	b.N, b.Samples, b.Index, b.Images = to-from, b.Samples[from:to], b.Index[from:to], b.Images[:(to-from)*image]
}

// Planar copies RGBA pixels into three planes.
func Planar(dst, rgba []uint8) {
	n := len(dst) / 3
	r, g, b := dst[:n], dst[n:][:n], dst[2*n:][:n]
	rgba = rgba[:4*n]
	for i := range n {
		p := rgba[4*i:][:4]
		r[i], g[i], b[i] = p[0], p[1], p[2]
	}
}
