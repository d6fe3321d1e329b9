package task

import (
	"must/data"
	"must/model"
	"must/onnx/graph"
	classificationlabel "must/task/classification"
)

// Graph gives "classification", the probabilities of the classes, [N, classes].
func (c *classification) Graph(g *graph.Graph, m *model.Maps, _ ExportOptions) {
	logits := g.Float(c.linear.Graph(g, m.Pooled(g)))
	g.Output(g.Op("Softmax", graph.Attrs{"axis": 1}, logits), classificationlabel.Name, graph.Float, graph.Batch, c.classes)
}

func (c *classification) Outputs(f *model.Features, _ ExportOptions) Outputs {
	return Outputs{classificationlabel.Name: arrayOf(c.logits(f.Pooled()).Softmax(1))}
}

func (c *classification) Decode(out Outputs, _ int, preds []*data.Sample) error {
	probs, err := out.take(classificationlabel.Name, len(preds), int(c.classes))
	if err != nil {
		return err
	}
	for i, p := range preds {
		classificationlabel.Set(p, probs.row(i))
	}
	return nil
}

func (*classification) Compare(want, got Outputs, _ float64) []Difference {
	return []Difference{difference(classificationlabel.Name, want, got)}
}
