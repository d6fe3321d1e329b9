package task

import (
	"context"
	"fmt"
	"sync"

	"must/augment"
	"must/data"
	"must/loader"
	"must/metric"
	"must/progress"
	"must/torch"
)

// A Use is a network and the tasks asked of it; nil means all it has.
type Use struct {
	Net   *Network
	Tasks []string
}

// PredictOptions say how a pass over a set runs.
type PredictOptions struct {
	Batch    int // 0: 16
	From, To int // sample indices; To 0: all
	Workers  int // goroutines that decode; 0: all cores but one
	Name     string
	Display  *progress.Display
	Bar      *progress.Task // counts images in place of a bar of its own
	Skipped  func(error)    // hears of every broken sample
}

// Predict runs networks over a set in order and hands every image's prediction, in the image's own
// frame, to each. Every image is decoded once, whatever the number of networks. Broken samples are
// left out.
func Predict(ctx context.Context, uses []Use, ds data.Dataset, o PredictOptions, each func(index int, sample, pred *data.Sample) error) error {
	if o.Batch == 0 {
		o.Batch = 16
	}
	if o.To == 0 {
		o.To = ds.Len()
	}
	size := uses[0].Net.Size
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
			images, frames := b.Images, b.Frames
			if u.Net.Size != size {
				images, frames = letterbox(b.Originals, u.Net.Size)
			}
			var preds []*data.Sample
			if err := torch.Do(func() { preds = u.Net.Predict(images, b.N, u.Tasks...) }); err != nil {
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

// letterbox brings images to another size than the loader's.
func letterbox(samples []*data.Sample, size int) ([]uint8, []augment.Frame) {
	plane := size * size
	images, frames := make([]uint8, len(samples)*3*plane), make([]augment.Frame, len(samples))
	var wg sync.WaitGroup
	for i, s := range samples {
		wg.Go(func() {
			v, f := augment.Config{Size: size}.Eval(&data.Sample{Key: s.Key, Image: s.Image})
			loader.Planar(images[3*i*plane:][:3*plane], v.Image.Pix)
			frames[i] = f
		})
	}
	wg.Wait()
	return images, frames
}

// Merge adds the labels that src has to dst, in place of dst's own.
func Merge(dst, src *data.Sample) {
	if src.Class != nil {
		dst.Class = src.Class
	}
	if src.Objects != nil {
		dst.Objects = src.Objects
	}
	if src.Semantic != nil {
		dst.Semantic, dst.Confidence = src.Semantic, src.Confidence
	}
	if src.Depth != nil {
		dst.Depth = src.Depth
	}
	if src.Normals != nil {
		dst.Normals = src.Normals
	}
}

// Scores are the metric values of every task, the ranking number first.
type Scores map[string][]metric.Value

// ByName flattens scores to "task.metric".
func (s Scores) ByName() map[string]float64 {
	flat := map[string]float64{}
	for t, values := range s {
		for _, v := range values {
			flat[t+"."+v.Name] = v.Value
		}
	}
	return flat
}

// Evaluate scores a network on a set, in the frame of the original images, on every task that both
// have.
func Evaluate(ctx context.Context, net *Network, ds data.Dataset, o PredictOptions) (Scores, error) {
	metrics := map[string]metric.Metric{}
	var tasks []string
	for _, h := range net.Heads {
		name := h.Name()
		if !ds.Labels().Has(name) {
			continue
		}
		if err := net.Labels.Conflict(ds.Labels(), name); err != nil && name != data.Depth { // which is aligned
			return nil, fmt.Errorf("the network's labels are not the set's: %w", err)
		}
		metrics[name] = h.Metric(ds.Labels())
		tasks = append(tasks, name)
	}
	if len(tasks) == 0 {
		return nil, fmt.Errorf("nothing to score: the network's tasks are %v, and the set has labels for none of them", net.Tasks)
	}
	err := Predict(ctx, []Use{{net, tasks}}, ds, o, func(_ int, truth, pred *data.Sample) error {
		for _, m := range metrics {
			m.Add(truth, pred)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	scores := Scores{}
	for t, m := range metrics {
		scores[t] = m.Values()
	}
	return scores, nil
}
