package task

import (
	"must/data"
	"must/model"
	"must/onnx/graph"
	"must/torch"
)

// Rows selects the labelled images of features.
func Rows(f *torch.Tensor, labelled []int64) *torch.Tensor {
	if int64(len(labelled)) == f.Size(0) {
		return f
	}
	return f.IndexSelect(0, torch.From(labelled, int64(len(labelled))))
}

// Labelled returns the indices of the samples that have a label for the task.
func Labelled(samples []*data.Sample, task string) []int64 {
	var have []int64
	for i, s := range samples {
		if s.Has(task) {
			have = append(have, int64(i))
		}
	}
	return have
}

// A PixelHead is three hidden convolutions and a linear one on the fused P2 (MuST §3.1), its output
// resized to the input: [N, fpn, S/4, S/4] → [N, out, S, S].
type PixelHead struct {
	tower  model.Tower
	linear *model.Conv
}

// NewPixelHead declares one with the given number of outputs.
func NewPixelHead(b model.Builder, c model.Config, out int64) PixelHead {
	return PixelHead{
		tower:  model.NewTower(b.In("tower"), 3, c.FPN, c.Head),
		linear: model.NewConv(b.In("linear"), c.Head, out, 1, 1, true, model.Normal(0.01)),
	}
}

// Forward runs it on the labelled images, nil for all.
func (h PixelHead) Forward(f *model.Features, labelled []int64) *torch.Tensor {
	torch.Part("pixel heads")
	defer torch.Part("losses")
	f.Fused() // outside of the scope: other heads read it too
	return torch.Scoped(func() *torch.Tensor { return h.Coarse(f, labelled).Bilinear(f.Size, f.Size) })
}

// Coarse is Forward before the output is resized: [N, out, S/4, S/4].
func (h PixelHead) Coarse(f *model.Features, labelled []int64) *torch.Tensor {
	torch.Part("pixel heads")
	defer torch.Part("losses")
	fused := f.Fused() // as above
	return torch.Scoped(func() *torch.Tensor {
		x := fused
		if labelled != nil {
			x = Rows(x, labelled)
		}
		return h.linear.Forward(h.tower.Forward(x, f.Mode)).Wide()
	})
}

// Graph adds it to a graph.
func (h PixelHead) Graph(g *graph.Graph, m *model.Maps) model.Map {
	return h.CoarseGraph(g, m).Bilinear(g, m.Size, m.Size)
}

// CoarseGraph is Graph before the output is resized.
func (h PixelHead) CoarseGraph(g *graph.Graph, m *model.Maps) model.Map {
	x := h.linear.Graph(g, h.tower.Graph(g, m.Fused(g)))
	x.V = g.Float(x.V)
	return x
}

// MapTargets are dense labels of n images: values of [n, S, S, …] and which pixels have one.
type MapTargets struct {
	Labelled []int64
	Values   []float32
	Valid    []float32 // 0 or 1, [n, S, S]
	Count    float64   // valid pixels
}

// Tensors returns values and validity, reshaped to [n, channels…, S, S].
func (t *MapTargets) Tensors(size int64, channels ...int64) (values, valid *torch.Tensor) {
	n := int64(len(t.Labelled))
	shape := append(append([]int64{n}, channels...), size, size)
	return torch.From(t.Values, shape...), torch.From(t.Valid, n, size, size)
}
