package classification

import (
	"must/data"
	"must/model"
	"must/onnx/graph"
	"must/task"
)

// Graph gives "classification", the probabilities of the classes, [N, classes].
func (c *head) Graph(g *graph.Graph, m *model.Maps, _ task.ExportOptions) {
	logits := g.Float(c.linear.Graph(g, m.Pooled(g)))
	g.Output(g.Op("Softmax", graph.Attrs{"axis": 1}, logits), Name, graph.Float, graph.Batch, c.classes)
}

func (c *head) Outputs(f *model.Features, _ task.ExportOptions) task.Outputs {
	return task.Outputs{Name: task.ArrayOf(c.logits(f.Pooled()).Softmax(1))}
}

func (c *head) Decode(out task.Outputs, _ int, preds []*data.Sample) error {
	probs, err := out.Take(Name, len(preds), int(c.classes))
	if err != nil {
		return err
	}
	for i, p := range preds {
		Set(p, probs.Row(i))
	}
	return nil
}

func (*head) Compare(want, got task.Outputs, _ float64) []task.Difference {
	return []task.Difference{task.Differ(Name, want, got)}
}
