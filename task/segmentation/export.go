package segmentation

import (
	"fmt"
	"math"
	"slices"

	"must/data"
	"must/model"
	"must/onnx/graph"
	"must/task"
	"must/torch"
)

// confidence is the output beside the classes, the probability of each; allLogits is that in place of all,
// [N, classes, S/4, S/4].
const (
	confidence = "segmentation_confidence"
	allLogits  = "segmentation_logits"
)

// Graph gives "segmentation", the probabilities of the classes, [N, classes, S, S], or, with Argmax, the
// likeliest class as bytes, [N, S, S], and "segmentation_confidence", its probability, [N, S, S].
func (s *head) Graph(g *graph.Graph, m *model.Maps, o task.ExportOptions) {
	if o.Logits {
		x := s.pixels.CoarseGraph(g, m)
		g.Output(x.V, allLogits, graph.Float, graph.Batch, x.C, x.H, x.W)
		return
	}
	all := s.pixels.Graph(g, m).V
	if !o.Argmax {
		g.Output(g.Op("Softmax", graph.Attrs{"axis": 1}, all), Name, graph.Float, graph.Batch, int64(s.classes), m.Size, m.Size)
		return
	}
	best := g.Op("ArgMax", graph.Attrs{"axis": 1, "keepdims": 0}, all)
	// The best's probability is 1 / Σ exp(logit − best logit): no map of all of them is kept.
	top := g.Op("ReduceMax", graph.Attrs{"axes": []int64{1}, "keepdims": 1}, all)
	sum := g.Op("ReduceSum", graph.Attrs{"keepdims": 0}, g.Op("Exp", nil, g.Op("Sub", nil, all, top)), g.Ints(1))
	g.Output(g.Cast(best, graph.Uint8), Name, graph.Uint8, graph.Batch, m.Size, m.Size)
	g.Output(g.Op("Reciprocal", nil, sum), confidence, graph.Float, graph.Batch, m.Size, m.Size)
}

func (s *head) Outputs(f *model.Features, o task.ExportOptions) task.Outputs {
	if o.Logits {
		return task.Outputs{allLogits: task.ArrayOf(s.pixels.Coarse(f, nil))}
	}
	all := s.pixels.Forward(f, nil)
	n, side := all.Size(0), f.Size
	if !o.Argmax {
		return task.Outputs{Name: task.ArrayOf(all.Softmax(1))}
	}
	shape := []int64{n, side, side}
	classes, tops := task.Array{Shape: shape}, task.Array{Shape: shape}
	for i := range n { // one image at a time: probabilities at full size are large
		torch.Scope(func() {
			top, class := all.Select(0, i).Softmax(0).MaxDim(0)
			tops.Values = append(tops.Values, torch.Values[float32](top)...)
			classes.Values = append(classes.Values, torch.Values[float32](class.As(torch.Float))...)
		})
	}
	return task.Outputs{Name: classes, confidence: tops}
}

func (s *head) Decode(out task.Outputs, size int, preds []*data.Sample) error {
	if a, ok := out[allLogits]; ok && len(a.Shape) == 4 {
		return s.decodeLogits(out, int(a.Shape[2]), size, preds)
	}
	if _, argmax := out[confidence]; !argmax {
		return s.decodeAll(out, size, preds)
	}
	tops, err := out.Take(confidence, len(preds), size, size)
	if err != nil {
		return err
	}
	classes, err := out.Take(Name, len(preds), size, size)
	if err != nil {
		return err
	}
	for i, p := range preds {
		m := data.NewGrid[uint8](size, size)
		for k, c := range classes.Row(i) {
			m.Pix[k] = uint8(c)
		}
		p.Put(NewPrediction(m, &data.Grid[float32]{W: size, H: size, Pix: tops.Row(i)}))
	}
	return nil
}

// decodeLogits keeps the logits of n×n cells until it is known how many pixels there are.
func (s *head) decodeLogits(out task.Outputs, n, size int, preds []*data.Sample) error {
	all, err := out.Take(allLogits, len(preds), s.classes, n, n)
	if err != nil {
		return err
	}
	for i, p := range preds {
		p.Put(&Label{coarse: &logits{values: all.Row(i), classes: s.classes, n: n, size: size}})
	}
	return nil
}

// decodeAll keeps the logarithms of the probabilities of all classes, which are logits but for a shift of
// each pixel that moves no class before another, wherever they are resized to.
func (s *head) decodeAll(out task.Outputs, size int, preds []*data.Sample) error {
	all, err := out.Take(Name, len(preds), s.classes, size, size)
	if err != nil {
		return err
	}
	for i, p := range preds {
		values := make([]float32, len(all.Row(i)))
		for k, v := range all.Row(i) {
			values[k] = float32(math.Log(max(float64(v), math.SmallestNonzeroFloat32)))
		}
		p.Put(&Label{coarse: &logits{values: values, classes: s.classes, n: size, size: size}})
	}
	return nil
}

// Compare lets classes differ where two are equally likely, so that confidences do not.
func (*head) Compare(want, got task.Outputs, _ float64) []task.Difference {
	for _, name := range []string{allLogits, Name} {
		if _, ok := want[name]; ok && len(want[name].Shape) == 4 {
			return []task.Difference{task.Differ(name, want, got)}
		}
	}
	sure := task.Differ(confidence, want, got)
	d := task.Difference{Output: Name}
	a, b := want[Name], got[Name]
	if !slices.Equal(a.Shape, b.Shape) {
		d.Fault = fmt.Sprintf("its shape is %v, and should be %v", b.Shape, a.Shape)
		return []task.Difference{d, sure}
	}
	d.Of, d.Same = "pixels", len(a.Values)
	for i, c := range a.Values {
		if c == b.Values[i] {
			continue
		}
		d.Same, d.Tied = d.Same-1, d.Tied+1
		if p := want[confidence].Values[i]; p > 0.501 { // then no other class is as likely
			d.Fault = fmt.Sprintf("pixel %d is of class %v, and should be %v, whose probability is %.3f", i, b.Values[i], c, p)
		}
	}
	return []task.Difference{d, sure}
}
