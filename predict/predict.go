// Package predict runs predictors over sets and scores them.
package predict

import (
	"context"
	"fmt"
	"image"
	"math"
	"sync"

	"must/augment"
	"must/data"
	"must/loader"
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

// A View says what images are brought to.
type View struct {
	W, H     int // pixels
	Fit      Fit
	Multiple int // of Keep: sides are rounded to multiples of it
}

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
}

// Run runs predictors, one after the other, over a set in order and hands every image's
// prediction, in the image's own frame, to each. Every image is decoded once, whatever the number of
// predictors. Broken samples are left out.
func Run(ctx context.Context, uses []Use, ds data.Dataset, o Options, each func(index int, sample, pred *data.Sample) error) error {
	if o.Batch == 0 {
		o.Batch = 16
	}
	if o.To == 0 {
		o.To = ds.Len()
	}
	size := 1
	for _, u := range uses { // the loader prepares the first letterbox
		if v := u.Net.View(); v.Fit == Letterbox && v.W == v.H {
			size = v.W
			break
		}
	}
	l, err := loader.New(ds, loader.Options{
		Batch: o.Batch, Augment: augment.Config{Size: size}, Workers: o.Workers, Originals: true, Skipped: o.Skipped,
	})
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
		merged := make([]*data.Sample, b.N)
		for i, s := range b.Originals {
			merged[i] = &data.Sample{Key: s.Key}
		}
		for _, u := range uses {
			preds, frames, err := u.see(b)
			if err != nil {
				return err
			}
			var wg sync.WaitGroup // resizing maps and masks to large originals takes long
			for i, p := range preds {
				wg.Go(func() {
					at := b.Originals[i].Image.Rect.Size()
					Merge(merged[i], frames[i].Restore(p, at.X, at.Y))
				})
			}
			wg.Wait()
		}
		for i, p := range merged {
			if err := each(b.Index[i], b.Originals[i], p); err != nil {
				return err
			}
		}
		bar.Add(int64(b.N))
		b.Release()
	}
	return ctx.Err()
}

// see predicts a batch; frames lead back to its originals.
func (u Use) see(b *loader.Batch) (preds []*data.Sample, frames []data.Frame, err error) {
	v := u.Net.View()
	if v == (View{W: b.Size, H: b.Size, Fit: Letterbox}) {
		preds, err = u.Net.See(Images{b.Images, b.N, b.Size, b.Size}, u.Tasks...)
		return preds, b.Frames, err
	}
	if v.Fit != Keep {
		images, frames := v.batch(b.Originals)
		preds, err = u.Net.See(images, u.Tasks...)
		return preds, frames, err
	}
	for i := range b.Originals {
		images, f := v.batch(b.Originals[i : i+1])
		p, err := u.Net.See(images, u.Tasks...)
		if err != nil {
			return nil, nil, err
		}
		preds, frames = append(preds, p...), append(frames, f...)
	}
	return preds, frames, nil
}

// batch brings images there, where all get the same size.
func (v View) batch(samples []*data.Sample) (Images, []data.Frame) {
	frames, views := make([]data.Frame, len(samples)), make([]*image.RGBA, len(samples))
	var wg sync.WaitGroup
	for i, s := range samples {
		wg.Go(func() { views[i], frames[i] = v.Bring(s.Image) })
	}
	wg.Wait()
	size := views[0].Rect.Size()
	plane := size.X * size.Y
	images := Images{make([]uint8, len(samples)*3*plane), len(samples), size.Y, size.X}
	for i, img := range views {
		loader.Planar(images.Pix[3*i*plane:][:3*plane], img.Pix)
	}
	return images, frames
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
	return scores, nil
}
