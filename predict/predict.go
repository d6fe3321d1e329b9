// Package predict runs predictors over sets and scores them.
package predict

import (
	"context"
	"fmt"
	"image"
	"iter"
	"math"
	"slices"
	"sync"

	"must/augment"
	"must/data"
	"must/loader"
	"must/metric"
	"must/progress"
	"must/task"
	"must/task/registry"
)

// A Predictor sees tasks in images: a network, or a model of others.
type Predictor interface {
	// Knows says which tasks it has and what their values mean.
	Knows() data.Labels

	// View says what it wants images to be brought to.
	View() View

	// See returns, of each image, what the tasks named see in it, in the frame of the view; no names
	// mean all tasks. The fields of a task are filled as [task.Head] does; what is nil is unknown.
	See(images Images, tasks ...string) ([]*data.Sample, error)

	// Settings is all that its predictions depend on besides its weights, in JSON.
	Settings() []byte

	// Free releases its memory. Call it in torch.Do.
	Free()
}

// Images are n pictures of a size: bytes, [N, 3, H, W], red first.
type Images struct {
	Pix     []uint8
	N, H, W int
}

// atOnce is what a CPU computes at once: with more pixels memory grows and speed does not.
const atOnce = 512 * 512

// Parts cuts images into batches that are worth computing at once on a CPU, one image at least. They
// come with the index of their first.
func (i Images) Parts() iter.Seq2[int, Images] {
	return func(yield func(int, Images) bool) {
		size := 3 * i.H * i.W
		step := View{W: i.W, H: i.H}.AtOnce()
		for from := 0; from < i.N; from += step {
			n := min(step, i.N-from)
			if !yield(from, Images{i.Pix[from*size:][:n*size], n, i.H, i.W}) {
				return
			}
		}
	}
}

// A View says what images are brought to.
type View struct {
	W, H     int // pixels
	Fit      Fit
	Multiple int // of Keep: sides are rounded to multiples of it
}

// AtOnce is how many images of the view are worth computing at once on a CPU.
func (v View) AtOnce() int { return max(1, atOnce/max(1, v.H*v.W)) }

// A Fit is how an image gets to a size.
type Fit string

// How images get to a size.
const (
	Letterbox Fit = "letterbox" // scaled to fit, in the top left corner, padded
	Stretched Fit = "stretch"   // both sides scaled apart
	Keep      Fit = "keep"      // scaled until its longer side is W, its shape kept: every image has a size of its own
)

// Bring brings an image there; the frame leads back.
func (v View) Bring(img *image.RGBA) (*image.RGBA, data.Frame) {
	switch v.Fit {
	case Stretched:
		return augment.Stretch(img, v.W, v.H)
	case Keep:
		size := img.Rect.Size()
		k := float64(v.W) / float64(max(size.X, size.Y))
		m := max(1, v.Multiple)
		side := func(n int) int { return max(1, int(math.Round(k*float64(n)/float64(m)))) * m }
		return augment.Stretch(img, side(size.X), side(size.Y))
	}
	return augment.Letterbox(img, v.W, v.H)
}

// A Use is a predictor and the tasks asked of it; nil means all it has.
type Use struct {
	Net   Predictor
	Tasks []string
}

// Options say how a pass over a set runs.
type Options struct {
	Batch    int // 0: 16
	From, To int // sample indices; To 0: all
	Workers  int // goroutines that decode; 0: all cores but one
	Name     string
	Display  *progress.Display
	Bar      *progress.Task // counts images in place of a bar of its own
	Skipped  func(error)    // hears of every broken sample

	// ByClass hears of the numbers class by class of every task scored that has some, in order.
	ByClass func(task string, c metric.Classes)

	// Pixels is how much of a sample's image is kept for each: a larger one is shrunk to it. 0: all;
	// negative: nothing but its Rect.
	Pixels int

	// Rules, if set, are applied to a prediction before it is led back to the image: thresholds on maps
	// cost less there, and mean the same.
	Rules func(pred *data.Sample)
}

// restorePixels limits the sizes of images whose maps are resized at the same time.
const restorePixels = 1 << 24

// A Seen is what predictors see in an image, in the frames of their views.
type Seen struct {
	Index  int
	Sample *data.Sample // as the set gave it, its image as [Options].Pixels has it
	Size   image.Point  // of the image as the set gave it

	preds  []*data.Sample
	frames []data.Frame
}

// At returns what was seen in the frame of the image at w×h pixels, of the tasks named or of all. Its
// image is a Rect without pixels.
func (s *Seen) At(w, h int, tasks ...string) *data.Sample {
	out := &data.Sample{Key: s.Sample.Key, Image: &image.RGBA{Rect: image.Rect(0, 0, w, h)}}
	for i, p := range s.preds {
		if len(tasks) > 0 {
			some := &data.Sample{Key: p.Key}
			for _, l := range p.Known {
				if slices.Contains(tasks, l.Task()) {
					some.Put(l)
				}
			}
			p = some
		}
		Merge(out, s.frames[i].Restore(p, w, h))
	}
	return out
}

// Run runs predictors, one after the other, over a set in order and hands every image's
// prediction, in the image's own frame, to each. Every image is decoded once, whatever the number of
// predictors. Broken samples are left out.
func Run(ctx context.Context, uses []Use, ds data.Dataset, o Options, each func(index int, sample, pred *data.Sample) error) error {
	return look(ctx, uses, ds, o, func(seen []*Seen) error {
		for len(seen) > 0 {
			n, pixels := 0, 0 // as many as memory allows
			for n < len(seen) && (n == 0 || pixels+seen[n].Size.X*seen[n].Size.Y <= restorePixels) {
				pixels += seen[n].Size.X * seen[n].Size.Y
				n++
			}
			preds := make([]*data.Sample, n)
			var wg sync.WaitGroup // resizing maps and masks to large originals takes long
			for i, s := range seen[:n] {
				wg.Go(func() { preds[i] = s.At(s.Size.X, s.Size.Y) })
			}
			wg.Wait()
			for i, s := range seen[:n] {
				if err := each(s.Index, s.Sample, preds[i]); err != nil {
					return err
				}
				preds[i] = nil
			}
			seen = seen[n:]
		}
		return nil
	})
}

// Look is [Run] for those who want predictions in frames of their own: each image by itself, its
// maps still small.
func Look(ctx context.Context, uses []Use, ds data.Dataset, o Options, each func(*Seen) error) error {
	return look(ctx, uses, ds, o, func(seen []*Seen) error {
		for _, s := range seen {
			if err := each(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// look hands over what is seen in the images of a batch.
func look(ctx context.Context, uses []Use, ds data.Dataset, o Options, each func([]*Seen) error) error {
	if o.Batch == 0 {
		o.Batch = 16
	}
	if o.To == 0 {
		o.To = ds.Len()
	}
	size, first := 1, View{}
	for _, u := range uses { // the loader prepares the first letterbox
		if v := u.Net.View(); v.Fit == Letterbox && v.W == v.H {
			size, first = v.W, v
			break
		}
	}
	lo := loader.Options{
		Batch: o.Batch, Augment: augment.Config{Size: size}, Workers: o.Workers, Originals: true, Pixels: o.Pixels, Skipped: o.Skipped,
	}
	if o.Pixels != 0 { // a view is resampled from at least twice its size, and a picture has its pixels
		lo.Side = int(math.Sqrt(float64(max(o.Pixels, 0))))
		for _, u := range uses {
			lo.Side = max(lo.Side, 2*u.Net.View().W, 2*u.Net.View().H)
		}
	}
	brought := make([]int, len(uses)) // which of the loader's other views a predictor reads, -1: the first letterbox
	for i, u := range uses {
		if v := u.Net.View(); v == first {
			brought[i] = -1
		} else {
			brought[i] = len(lo.Bring)
			lo.Bring = append(lo.Bring, v.Bring)
		}
	}
	l, err := loader.New(ds, lo)
	if err != nil {
		return err
	}
	bar := o.Bar
	if bar == nil {
		bar = o.Display.Task(o.Name, int64(o.To-o.From), "images")
		defer bar.Done()
	}
	for b, err := range l.Pass(ctx, o.From, o.To) {
		if err != nil {
			return err
		}
		seen := make([]*Seen, b.N)
		for i, s := range b.Originals {
			seen[i] = &Seen{Index: b.Index[i], Sample: s, Size: b.Sizes[i]}
		}
		for k, u := range uses {
			preds, frames, err := u.see(b, brought[k])
			if err != nil {
				return err
			}
			for i, p := range preds {
				if o.Rules != nil {
					o.Rules(p)
				}
				seen[i].preds, seen[i].frames = append(seen[i].preds, p), append(seen[i].frames, frames[i])
			}
		}
		if err := each(seen); err != nil {
			return err
		}
		bar.Add(int64(b.N))
		b.Release()
	}
	return ctx.Err()
}

// see predicts a batch, from the loader's view of a number; frames lead back to its originals.
func (u Use) see(b *loader.Batch, view int) (preds []*data.Sample, frames []data.Frame, err error) {
	if view < 0 {
		preds, err = u.Net.See(Images{b.Images, b.N, b.Size, b.Size}, u.Tasks...)
		return preds, b.Frames, err
	}
	views := b.Brought[view]
	for len(views) > 0 { // those of one size together
		n := 1
		for n < len(views) && views[n].Image.Rect.Size() == views[0].Image.Rect.Size() && u.Net.View().Fit != Keep {
			n++
		}
		p, err := u.Net.See(planar(views[:n]), u.Tasks...)
		if err != nil {
			return nil, nil, err
		}
		preds = append(preds, p...)
		for _, v := range views[:n] {
			frames = append(frames, v.Frame)
		}
		views = views[n:]
	}
	return preds, frames, nil
}

// planar puts views of one size together.
func planar(views []loader.Brought) Images {
	size := views[0].Image.Rect.Size()
	plane := size.X * size.Y
	images := Images{make([]uint8, len(views)*3*plane), len(views), size.Y, size.X}
	for i, v := range views {
		loader.Planar(images.Pix[3*i*plane:][:3*plane], v.Image.Pix)
	}
	return images
}

// Merge adds the labels that src has to dst, in place of dst's own.
func Merge(dst, src *data.Sample) {
	for _, l := range src.Known {
		dst.Put(l)
	}
}

// Evaluate scores a predictor on a set, in the frame of the original images, on every task that both
// have.
func Evaluate(ctx context.Context, net Predictor, ds data.Dataset, o Options) (task.Scores, error) {
	metrics := map[string]task.Metric{}
	knows := net.Knows()
	var has, tasks []string
	for _, name := range knows.Tasks() {
		has = append(has, name)
		if !ds.Labels().Has(name) {
			continue
		}
		if err := knows.Conflict(ds.Labels(), name); err != nil && !registry.Get(name).Aligns() {
			return nil, fmt.Errorf("the network's labels are not the set's: %w", err)
		}
		metrics[name] = registry.Get(name).Metric(knows[name], ds.Labels()[name])
		tasks = append(tasks, name)
	}
	if len(tasks) == 0 {
		return nil, fmt.Errorf("nothing to score: the network's tasks are %v, and the set has labels for none of them", has)
	}
	o.Pixels = -1
	err := Run(ctx, []Use{{net, tasks}}, ds, o, func(_ int, truth, pred *data.Sample) error {
		for name, m := range metrics {
			if l := truth.Label(name); l != nil {
				if err := m.Add(l, pred.Label(name)); err != nil {
					return fmt.Errorf("sample %s: %s: %w", truth.Key, name, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	scores := task.Scores{}
	for t, m := range metrics {
		scores[t] = m.Values()
	}
	for _, t := range scores.Tasks() {
		if m, ok := metrics[t].(task.ByClass); ok && o.ByClass != nil {
			o.ByClass(t, m.Classes())
		}
	}
	return scores, nil
}
