// Package inspect looks through a dataset and says what is in it: the first thing to run on new data.
package inspect

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// Options say how much is looked at.
type Options struct {
	Count    int                   // samples to decode, spread evenly over the set; 0: all
	Workers  int                   // that decode at a time; 0: one per core
	Progress func(done, total int) // called now and then, by one goroutine at a time; nil: never
}

// A Summary is what was found. A part for a task is nil where the set has no labels for it. Nothing in
// it depends on the number of workers.
type Summary struct {
	Samples    int      // in the set
	Looked     int      // at, broken ones among them
	Broken     int      // could not be read, or have labels that cannot be
	FirstWrong []error  // the first of them
	Duplicates int      // samples whose key another one has, in the whole set
	FirstTwice []string // the first of these keys
	Notes      []string // of the reader, see data.Notes
	Width      Range    // in pixels
	Height     Range

	Classification *Classification
	Detection      *Detection
	Segmentation   *Segmentation
	Depth          *Depth
	Normals        *Normals
}

// shown is how many broken samples and duplicate keys are kept.
const shown = 10

// A Range describes a list of numbers. All are 0 for an empty list.
type Range struct{ Min, Median, Max float64 }

// A Class counts what there is of a class.
type Class struct {
	Name    string
	Images  int   // labelled with it, or in which it occurs
	Objects int   // detection: without crowds
	Pixels  int64 // segmentation
}

// Classification counts labels. An image counts for its most probable class.
type Classification struct {
	Labelled int
	Soft     int // labels that are not one-hot, as pseudo labels are
	Classes  []Class
}

// Detection counts objects.
type Detection struct {
	Labelled, Empty        int   // images with known objects, and those of them with none
	Partial                int   // images whose label does not tell of all classes
	Objects, Crowds, Masks int   // Objects are without crowds (COCO's crowds, VOC's difficult)
	PerImage               Range // objects
	Side                   Range // √area of a box in pixels, to 1 %
	Small, Medium, Large   int   // boxes by COCO's limits of 32² and 96² pixels
	Classes                []Class
}

// Segmentation counts pixels.
type Segmentation struct {
	Labelled        int
	Pixels, Ignored int64 // Pixels are all, ignored ones among them
	Classes         []Class
}

// Depth describes valid values, in the unit of data.Labels; percentiles to 1 %.
type Depth struct {
	Labelled        int
	Unit            string
	Pixels, Invalid int64
	NeverValid      int // images without a valid pixel
	Min, Max        float64
	P1, Median, P99 float64
}

// Normals describes surface normals.
type Normals struct {
	Labelled        int
	Pixels, Invalid int64
	Away            int64 // point away from the camera (z > 0): a few at the edges of the image can
}

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
	w, h := s.Image.Rect.Dx(), s.Image.Rect.Dy()
	size := func(task string, gw, gh, n int) error {
		if gw != w || gh != h || n != w*h {
			return wrong("%s of %d×%d pixels for an image of %d×%d", task, gw, gh, w, h)
		}
		return nil
	}
	if classification.Of(s) != nil && len(classification.Of(s)) != len(l[classification.Name].Classes) {
		return wrong("%d class probabilities for %d classes", len(classification.Of(s)), len(l[classification.Name].Classes))
	}
	for i, o := range detection.Of(s) {
		switch {
		case o.Class < 0 || o.Class >= len(l[detection.Name].Classes):
			return wrong("object %d is of class %d of %d", i, o.Class, len(l[detection.Name].Classes))
		case !(o.Box.Area() > 0):
			return wrong("object %d has a box without area, %v", i, o.Box)
		case o.Box.Clip(w, h) != o.Box:
			return wrong("object %d has a box beyond the image, %v", i, o.Box)
		}
	}
	if g := segmentation.Of(s); g != nil {
		if err := size(segmentation.Name, g.W, g.H, len(g.Pix)); err != nil {
			return err
		}
		for _, v := range g.Pix {
			if int(v) >= len(l[segmentation.Name].Classes) && v != data.Ignore {
				return wrong("a pixel is of class %d of %d", v, len(l[segmentation.Name].Classes))
			}
		}
	}
	if g := depth.Of(s); g != nil {
		if err := size(depth.Name, g.W, g.H, len(g.Pix)); err != nil {
			return err
		}
	}
	if g := normals.Of(s); g != nil {
		if err := size(normals.Name, g.W, g.H, len(g.Pix)); err != nil {
			return err
		}
		for i, n := range g.Pix {
			length := n[0]*n[0] + n[1]*n[1] + n[2]*n[2]
			if n != [3]float32{} && !(math.Abs(float64(length)-1) < 0.05) {
				return wrong("the normal of pixel (%d, %d) is not of unit length: %v", i%w, i/w, n)
			}
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
	perImage      []float64
	side          histogram
	depth         histogram
	near, far     float32
	s             Summary
}

func newTally(l data.Labels, n int) *tally {
	t := &tally{labels: l, wrong: map[int]error{}}
	classes := func(names []string) []Class {
		out := make([]Class, len(names))
		for i, name := range names {
			out[i].Name = name
		}
		return out
	}
	t.s.Looked = n
	if l.Has(classification.Name) {
		t.s.Classification = &Classification{Classes: classes(l[classification.Name].Classes)}
	}
	if l.Has(detection.Name) {
		t.s.Detection, t.side = &Detection{Classes: classes(l[detection.Name].Classes)}, newHistogram()
	}
	if l.Has(segmentation.Name) {
		t.s.Segmentation = &Segmentation{Classes: classes(l[segmentation.Name].Classes)}
	}
	if l.Has(depth.Name) {
		t.s.Depth = &Depth{Unit: l[depth.Name].Units}
		t.depth, t.near, t.far = newHistogram(), float32(math.Inf(1)), float32(math.Inf(-1))
	}
	if l.Has(normals.Name) {
		t.s.Normals = &Normals{}
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
	if c := t.s.Classification; c != nil && classification.Of(s) != nil {
		c.add(classification.Of(s))
	}
	if d := t.s.Detection; d != nil && detection.Of(s) != nil {
		t.perImage = append(t.perImage, float64(d.add(detection.Of(s), detection.Unknown(s) != nil, t.side)))
	}
	if c := t.s.Segmentation; c != nil && segmentation.Of(s) != nil {
		c.add(segmentation.Of(s))
	}
	if t.s.Depth != nil && depth.Of(s) != nil {
		t.addDepth(depth.Of(s))
	}
	if n := t.s.Normals; n != nil && normals.Of(s) != nil {
		n.add(normals.Of(s))
	}
}

func (c *Classification) add(p []float32) {
	best := 0
	for i, v := range p {
		if v > p[best] {
			best = i
		}
	}
	c.Labelled++
	c.Classes[best].Images++
	if p[best] != 1 {
		c.Soft++
	}
}

// add returns the number of objects that are no crowds.
func (d *Detection) add(objects []data.Object, partial bool, side histogram) int {
	d.Labelled++
	n := 0
	seen := map[int]bool{}
	for _, o := range objects {
		if !seen[o.Class] {
			seen[o.Class] = true
			d.Classes[o.Class].Images++
		}
		if o.Mask != nil {
			d.Masks++
		}
		if o.Crowd {
			d.Crowds++
			continue
		}
		n++
		d.Classes[o.Class].Objects++
		area := o.Box.Area()
		switch {
		case area < 32*32:
			d.Small++
		case area < 96*96:
			d.Medium++
		default:
			d.Large++
		}
		side.add(float32(math.Sqrt(area)))
	}
	d.Objects += n
	switch {
	case partial:
		d.Partial++
	case len(objects) == 0:
		d.Empty++
	}
	return n
}

func (c *Segmentation) add(g *data.Grid[uint8]) {
	var count [256]int64
	for _, v := range g.Pix {
		count[v]++
	}
	c.Labelled++
	c.Pixels += int64(len(g.Pix))
	for v, n := range count {
		switch {
		case n == 0:
		case v < len(c.Classes):
			c.Classes[v].Images++
			c.Classes[v].Pixels += n
		default:
			c.Ignored += n
		}
	}
}

func (t *tally) addDepth(g *data.Grid[float32]) {
	d, invalid := t.s.Depth, 0
	for _, v := range g.Pix {
		if v != v {
			invalid++
			continue
		}
		t.depth.add(v)
		t.near, t.far = min(t.near, v), max(t.far, v)
	}
	d.Labelled++
	d.Pixels += int64(len(g.Pix))
	d.Invalid += int64(invalid)
	if invalid == len(g.Pix) {
		d.NeverValid++
	}
}

func (n *Normals) add(g *data.Grid[[3]float32]) {
	n.Labelled++
	n.Pixels += int64(len(g.Pix))
	for _, v := range g.Pix {
		if v == [3]float32{} {
			n.Invalid++
		} else if v[2] > 0 {
			n.Away++
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
	s.Width, s.Height = rangeOf(t.width), rangeOf(t.height)
	if d := s.Detection; d != nil {
		d.PerImage = rangeOf(t.perImage)
		d.Side = Range{t.side.quantile(0), t.side.quantile(0.5), t.side.quantile(1)}
	}
	if d := s.Depth; d != nil && d.Pixels > d.Invalid {
		d.Min, d.Max = float64(t.near), float64(t.far)
		d.P1, d.Median, d.P99 = t.depth.quantile(0.01), t.depth.quantile(0.5), t.depth.quantile(0.99)
	}
	return s
}

func rangeOf(v []float64) Range {
	if len(v) == 0 {
		return Range{}
	}
	slices.Sort(v)
	return Range{v[0], v[len(v)/2], v[len(v)-1]}
}

// A histogram counts numbers by sign, exponent and seven bits of fraction, so that any amount of them
// takes the same memory and a quantile is right to 1 %.
type histogram []int64

func newHistogram() histogram { return make(histogram, 1<<16) }

func (h histogram) add(v float32) {
	b := math.Float32bits(v)
	if b>>31 == 1 { // negative numbers come first, in reverse
		b = ^b
	} else {
		b |= 1 << 31
	}
	h[b>>16]++
}

// quantile returns the end nearer to 0 of the bin that the q-th part of the numbers reaches, so that small
// whole numbers come out as they are; 0 for no numbers.
func (h histogram) quantile(q float64) float64 {
	total := int64(0)
	for _, n := range h {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := min(int64(q*float64(total)), total-1)
	for i, n := range h {
		if rank -= n; rank < 0 {
			b := uint32(i) << 16
			if b>>31 == 1 {
				b &^= 1 << 31
			} else {
				b = ^b &^ 0xffff
			}
			return float64(math.Float32frombits(b))
		}
	}
	return 0
}
