package features

import (
	"math/rand/v2"

	"must/data"
	"must/model"
	"must/onnx/graph"
	"must/task"
	"must/torch"
)

// A head is an adapter of two 1×1 convolutions: from the feature of the whole image for a grid of one cell,
// from C5 up to 7×7, else from the fused P2, which is brought to the grid first. It is trained on targets
// standardised by channel, with the moments of its set, by 1 − cosine and smooth L1, both means over valid
// cells and added with equal weight (our choice; the literature weighs them in many ways).
type head struct {
	task     string
	meaning  data.Meaning
	first    *model.Conv
	second   *model.Conv
	channels int64
	grid     int64
}

// smallGrid is the largest that is read from C5, which has 7×7 cells of an image of 224 pixels.
const smallGrid = 7

// widest is the most channels between the convolutions.
const widest = 512

func newHead(b model.Builder, s task.HeadSpec) *head {
	in := s.Model.FPN
	if s.Meaning.Grid <= smallGrid {
		in = s.Pooled
	}
	between := min(2*in, widest)
	out := int64(s.Meaning.Channels)
	return &head{
		task: s.Task, meaning: s.Meaning, channels: out, grid: int64(s.Meaning.Grid),
		first:  model.NewConv(b.In("hidden"), in, between, 1, 1, true, model.Kaiming(between)),
		second: model.NewConv(b.In("linear"), between, out, 1, 1, true, model.Normal(0.01)),
	}
}

// Name implements [task.Head].
func (h *head) Name() string { return h.task }

// input brings what the adapter reads to the grid, [N, C, grid, grid].
func (h *head) input(f *model.Features) *torch.Tensor {
	switch {
	case h.grid == 1:
		return f.Pooled().Unsqueeze(2).Unsqueeze(3)
	case h.grid <= smallGrid:
		return h.fit(f.C5)
	}
	return h.fit(f.Fused())
}

// fit pools where cells are whole numbers of pixels, else reads between them.
func (h *head) fit(x *torch.Tensor) *torch.Tensor {
	switch k := h.whole(x.Size(2), x.Size(3)); {
	case k == 1:
		return x
	case k > 1:
		return x.AvgPool2D(k)
	}
	return x.Bilinear(h.grid, h.grid)
}

// whole returns how many pixels of a h×w map are a cell, 0 where it is no whole number.
func (h *head) whole(height, width int64) int64 {
	if height != width || height%h.grid != 0 {
		return 0
	}
	return height / h.grid
}

// forward returns standardised features, [N, channels, grid, grid].
func (h *head) forward(x *torch.Tensor) *torch.Tensor {
	return h.second.Forward(h.first.Forward(x).ReluInPlace()).Wide()
}

// standard returns mean and deviation of a channel.
func (h *head) standard(c int) (mean, deviation float32) {
	m := h.meaning.Moments
	if m == nil {
		return 0, 1
	}
	return float32(m.Mean[c]), float32(m.Deviation(c))
}

// Targets implements [task.Head]: standardised, [n, channels, grid, grid].
func (h *head) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &task.MapTargets{}
	cells := int(h.grid * h.grid)
	for i, s := range samples {
		l := Of(s, h.task)
		if l == nil {
			continue
		}
		planes, valid, some := make([]float32, cells*l.Channels), make([]float32, cells), 0.
		for k := range cells {
			v := l.Values[k*l.Channels:][:l.Channels]
			if v[0] != v[0] {
				continue
			}
			for c, x := range v {
				mean, deviation := h.standard(c)
				planes[c*cells+k] = (x - mean) / deviation
			}
			valid[k] = 1
			some++
		}
		if some == 0 {
			continue
		}
		t.Labelled = append(t.Labelled, int64(i))
		t.Values, t.Valid = append(t.Values, planes...), append(t.Valid, valid...)
		t.Count += some
	}
	if t.Labelled == nil {
		return nil
	}
	return t
}

const (
	partCosine = "cosine"
	partSmooth = "smooth_l1"
)

// Parts implements [task.Head].
func (*head) Parts() []string { return []string{partCosine, partSmooth} }

// Loss implements [task.Head].
func (h *head) Loss(f *model.Features, targets any, _ *rand.Rand) []task.Loss {
	t := targets.(*task.MapTargets)
	want, valid := t.Tensors(h.grid, h.channels)
	got := h.forward(task.Rows(h.input(f), t.Labelled))
	cos := torch.CosineSimilarity(got, want, 1)
	mask := valid.Unsqueeze(1)
	smooth := got.Mul(mask).SmoothL1(want.Mul(mask), torch.Sum, 1)
	return []task.Loss{
		{Name: partCosine, Value: valid.Sub(cos.Mul(valid)).Sum().Scale(1 / t.Count), Count: t.Count},
		{Name: partSmooth, Value: smooth.Scale(1 / (t.Count * float64(h.channels))), Count: t.Count},
	}
}

// Predict implements [task.Head]: as the teacher has them, not standardised.
func (h *head) Predict(f *model.Features, preds []*data.Sample) {
	task.Must(decode(h.task, h.Outputs(f, task.ExportOptions{}), h.meaning, preds))
}

// Graph gives the features, named as the task, [N, channels, grid, grid].
func (h *head) Graph(g *graph.Graph, m *model.Maps, _ task.ExportOptions) {
	var x model.Map
	switch {
	case h.grid == 1:
		x = model.Map{V: g.Unsqueeze(g.Unsqueeze(m.Pooled(g), 2), 3), C: m.C5.C, H: 1, W: 1}
	case h.grid <= smallGrid:
		x = h.fitGraph(g, m.C5)
	default:
		x = h.fitGraph(g, m.Fused(g))
	}
	y := h.second.Graph(g, h.first.Graph(g, x).Relu(g))
	mean, deviation := make([]float32, h.channels), make([]float32, h.channels)
	for c := range mean {
		mean[c], deviation[c] = h.standard(c)
	}
	v := g.Op("Mul", nil, g.Float(y.V), g.Floats(deviation, 1, h.channels, 1, 1))
	g.Output(g.Op("Add", nil, v, g.Floats(mean, 1, h.channels, 1, 1)), h.task, graph.Float, graph.Batch, h.channels, h.grid, h.grid)
}

func (h *head) fitGraph(g *graph.Graph, x model.Map) model.Map {
	switch k := h.whole(x.H, x.W); {
	case k == 1:
	case k > 1:
		x.V = g.Op("AveragePool", graph.Attrs{"kernel_shape": []int64{k, k}, "strides": []int64{k, k}}, x.V)
		x.H, x.W = h.grid, h.grid
	default:
		return x.Bilinear(g, h.grid, h.grid)
	}
	return x
}

// Outputs implements [task.Head].
func (h *head) Outputs(f *model.Features, _ task.ExportOptions) task.Outputs {
	a := task.ArrayOf(h.forward(h.input(f)))
	cells := int(h.grid * h.grid)
	for i := range a.Values {
		mean, deviation := h.standard(i / cells % int(h.channels))
		a.Values[i] = a.Values[i]*deviation + mean
	}
	return task.Outputs{h.task: a}
}

// Compare implements [task.Head].
func (h *head) Compare(want, got task.Outputs, _ float64) []task.Difference {
	return []task.Difference{task.Differ(h.task, want, got)}
}

// decode reads [N, channels, grid, grid].
func decode(name string, out task.Outputs, m data.Meaning, preds []*data.Sample) error {
	all, err := out.Take(name, len(preds), m.Channels, m.Grid, m.Grid)
	if err != nil {
		return err
	}
	cells := m.Grid * m.Grid
	for i, p := range preds {
		p.Put(New(name, m.Grid, m.Channels, interleave(all.Row(i), m.Channels, cells)))
	}
	return nil
}

// interleave turns planes, [channels, cells], into vectors, [cells, channels].
func interleave(planes []float32, channels, cells int) []float32 {
	v := make([]float32, len(planes))
	for c := range channels {
		for k := range cells {
			v[k*channels+c] = planes[c*cells+k]
		}
	}
	return v
}
