// Package task holds one file per task. Each says which features the task reads, its head, its loss,
// how its output becomes a prediction, how a prediction becomes a pseudo label, and its metric.
// Adding a task means adding a file and naming it in build.
package task

import (
	"math/rand/v2"

	"must/data"
	"must/metric"
	"must/model"
	"must/onnx/graph"
	classificationlabel "must/task/classification"
	depthlabel "must/task/depth"
	detectionlabel "must/task/detection"
	normalslabel "must/task/normals"
	segmentationlabel "must/task/segmentation"
	"must/torch"
)

// A Task is the head of one task on a network. Forward passes run inside torch.Do.
type Task interface {
	// Name returns the task, such as [data.Detection].
	Name() string

	// Targets turns the labels of augmented samples into what Loss needs. It runs on background
	// goroutines and returns nil where no sample has a label for the task.
	Targets(samples []*data.Sample, rng *rand.Rand) any

	// Loss returns the parts of the task's loss on a batch, each a scalar; their sum is the loss.
	// Images without a label take no part in it. Only labels and what was drawn for an image by Targets
	// decide what of it is compared, never the rest of the batch.
	Loss(f *model.Features, targets any, rng *rand.Rand) []Loss

	// Parts lists the names of all losses that Loss may return.
	Parts() []string

	// Predict fills the task's fields of one sample per image, in the frame of the network's input.
	Predict(f *model.Features, preds []*data.Sample)

	// Pseudo turns the task's fields of a prediction into a label: what is below the threshold is
	// left out (objects) or ignored (pixels); soft and continuous labels stay as they are.
	Pseudo(pred *data.Sample, threshold float64)

	// Metric returns an empty metric for a set with the labels l, its ranking number first.
	Metric(l data.Labels) metric.Metric
}

// A Loss is a part of a task's loss: a mean over what is labelled. Where a batch is computed in several
// pieces, that of the whole is the mean of theirs by Count.
type Loss struct {
	Name  string
	Value *torch.Tensor // scalar; nil is 0
	Count float64       // what Value is the mean over, such as images, pixels or RoIs
}

// build declares the head of a task under "heads.<name>"; width is that of the feature of an image.
func build(name string, b model.Builder, s *Spec, width int64) Task {
	b = b.In("heads").In(name)
	switch name {
	case classificationlabel.Name:
		return newClassification(b, s, width)
	case detectionlabel.Name:
		return newDetection(b, s)
	case segmentationlabel.Name:
		return newSegmentation(b, s)
	case depthlabel.Name:
		return newDepth(b, s)
	case normalslabel.Name:
		return newNormals(b, s)
	}
	panic("task: no task " + name) // Spec.Check lets none through
}

// rows selects the labelled images of features.
func rows(f *torch.Tensor, labelled []int64) *torch.Tensor {
	if int64(len(labelled)) == f.Size(0) {
		return f
	}
	return f.IndexSelect(0, torch.From(labelled, int64(len(labelled))))
}

// labelled returns the indices of the samples that have a label for the task.
func labelled(samples []*data.Sample, task string) []int64 {
	var have []int64
	for i, s := range samples {
		if s.Has(task) {
			have = append(have, int64(i))
		}
	}
	return have
}

// A pixelHead is three hidden convolutions and a linear one on the fused P2 (MuST §3.1), its output
// resized to the input: [N, fpn, S/4, S/4] → [N, out, S, S].
type pixelHead struct {
	tower  model.Tower
	linear *model.Conv
}

func newPixelHead(b model.Builder, c model.Config, out int64) pixelHead {
	return pixelHead{
		tower:  model.NewTower(b.In("tower"), 3, c.FPN, c.Head),
		linear: model.NewConv(b.In("linear"), c.Head, out, 1, 1, true, model.Normal(0.01)),
	}
}

func (h pixelHead) forward(f *model.Features, labelled []int64) *torch.Tensor {
	fused := f.Fused() // outside of the scope: other heads read it too
	return torch.Scoped(func() *torch.Tensor {
		x := fused
		if labelled != nil {
			x = rows(x, labelled)
		}
		return h.linear.Forward(h.tower.Forward(x, f.Mode)).Wide().Bilinear(f.Size, f.Size)
	})
}

func (h pixelHead) graph(g *graph.Graph, m *model.Maps) model.Map {
	x := h.linear.Graph(g, h.tower.Graph(g, m.Fused(g)))
	x.V = g.Float(x.V)
	return x.Bilinear(g, m.Size, m.Size)
}

// mapTargets are dense labels of n images: values of [n, S, S, …] and which pixels have one.
type mapTargets struct {
	labelled []int64
	values   []float32
	valid    []float32 // 0 or 1, [n, S, S]
	count    float64   // valid pixels
}

// tensors returns values and validity, reshaped to [n, channels…, S, S].
func (t *mapTargets) tensors(size int64, channels ...int64) (values, valid *torch.Tensor) {
	n := int64(len(t.labelled))
	shape := append(append([]int64{n}, channels...), size, size)
	return torch.From(t.values, shape...), torch.From(t.valid, n, size, size)
}
