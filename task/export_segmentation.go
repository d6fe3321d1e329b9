package task

import (
	"fmt"
	"slices"

	"must/data"
	"must/model"
	"must/onnx/graph"
	segmentationlabel "must/task/segmentation"
	"must/torch"
)

// confidence is the output beside the classes, the probability of each; logits is that in place of all,
// [N, classes, S/4, S/4].
const (
	confidence = "segmentation_confidence"
	logits     = "segmentation_logits"
)

// Graph gives "segmentation", the probabilities of the classes, [N, classes, S, S], or, with Argmax, the
// likeliest class as bytes, [N, S, S], and "segmentation_confidence", its probability, [N, S, S].
func (s *segmentation) Graph(g *graph.Graph, m *model.Maps, o ExportOptions) {
	if o.Logits {
		x := s.head.coarseGraph(g, m)
		g.Output(x.V, logits, graph.Float, graph.Batch, x.C, x.H, x.W)
		return
	}
	all := s.head.graph(g, m).V
	if !o.Argmax {
		g.Output(g.Op("Softmax", graph.Attrs{"axis": 1}, all), segmentationlabel.Name, graph.Float, graph.Batch, int64(s.classes), m.Size, m.Size)
		return
	}
	best := g.Op("ArgMax", graph.Attrs{"axis": 1, "keepdims": 0}, all)
	// The best's probability is 1 / Σ exp(logit − best logit): no map of all of them is kept.
	top := g.Op("ReduceMax", graph.Attrs{"axes": []int64{1}, "keepdims": 1}, all)
	sum := g.Op("ReduceSum", graph.Attrs{"keepdims": 0}, g.Op("Exp", nil, g.Op("Sub", nil, all, top)), g.Ints(1))
	g.Output(g.Cast(best, graph.Uint8), segmentationlabel.Name, graph.Uint8, graph.Batch, m.Size, m.Size)
	g.Output(g.Op("Reciprocal", nil, sum), confidence, graph.Float, graph.Batch, m.Size, m.Size)
}

func (s *segmentation) Outputs(f *model.Features, o ExportOptions) Outputs {
	if o.Logits {
		return Outputs{logits: arrayOf(s.head.coarse(f, nil))}
	}
	all := s.head.forward(f, nil)
	n, side := all.Size(0), f.Size
	if !o.Argmax {
		return Outputs{segmentationlabel.Name: arrayOf(all.Softmax(1))}
	}
	shape := []int64{n, side, side}
	classes, tops := Array{shape, nil}, Array{shape, nil}
	for i := range n { // one image at a time: probabilities at full size are large
		torch.Scope(func() {
			top, class := all.Select(0, i).Softmax(0).MaxDim(0)
			tops.Values = append(tops.Values, torch.Values[float32](top)...)
			classes.Values = append(classes.Values, torch.Values[float32](class.As(torch.Float))...)
		})
	}
	return Outputs{segmentationlabel.Name: classes, confidence: tops}
}

func (s *segmentation) Decode(out Outputs, size int, preds []*data.Sample) error {
	if a, ok := out[logits]; ok && len(a.Shape) == 4 {
		return s.decodeLogits(out, int(a.Shape[2]), size, preds)
	}
	tops, argmax := out[confidence]
	if !argmax {
		return s.decodeAll(out, size, preds)
	}
	tops, err := out.take(confidence, len(preds), size, size)
	if err != nil {
		return err
	}
	classes, err := out.take(segmentationlabel.Name, len(preds), size, size)
	if err != nil {
		return err
	}
	for i, p := range preds {
		m := data.NewGrid[uint8](size, size)
		for k, c := range classes.row(i) {
			m.Pix[k] = uint8(c)
		}
		p.Put(segmentationlabel.NewPrediction(m, &data.Grid[float32]{W: size, H: size, Pix: tops.row(i)}))
	}
	return nil
}

// decodeLogits resizes the logits of n×n pixels.
func (s *segmentation) decodeLogits(out Outputs, n, size int, preds []*data.Sample) error {
	all, err := out.take(logits, len(preds), s.classes, n, n)
	if err != nil {
		return err
	}
	for i, p := range preds {
		p.Put(segmentationlabel.NewPrediction(likeliest(all.row(i), s.classes, n, size)))
	}
	return nil
}

// decodeAll chooses the likeliest of all classes.
func (s *segmentation) decodeAll(out Outputs, size int, preds []*data.Sample) error {
	all, err := out.take(segmentationlabel.Name, len(preds), s.classes, size, size)
	if err != nil {
		return err
	}
	n := size * size
	for i, p := range preds {
		m, top := data.NewGrid[uint8](size, size), data.NewGrid[float32](size, size)
		for c := range s.classes {
			for k, v := range all.row(i)[c*n:][:n] {
				if v > top.Pix[k] {
					top.Pix[k], m.Pix[k] = v, uint8(c)
				}
			}
		}
		p.Put(segmentationlabel.NewPrediction(m, top))
	}
	return nil
}

// Compare lets classes differ where two are equally likely, so that confidences do not.
func (*segmentation) Compare(want, got Outputs, _ float64) []Difference {
	for _, name := range []string{logits, segmentationlabel.Name} {
		if _, ok := want[name]; ok && len(want[name].Shape) == 4 {
			return []Difference{difference(name, want, got)}
		}
	}
	sure := difference(confidence, want, got)
	d := Difference{Output: segmentationlabel.Name}
	a, b := want[segmentationlabel.Name], got[segmentationlabel.Name]
	if !slices.Equal(a.Shape, b.Shape) {
		d.Fault = fmt.Sprintf("its shape is %v, and should be %v", b.Shape, a.Shape)
		return []Difference{d, sure}
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
	return []Difference{d, sure}
}
