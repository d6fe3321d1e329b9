package depth

import (
	"must/data"
	"must/model"
	"must/onnx/graph"
	"must/task"
)

// Graph gives "depth" in its unit, [N, S, S].
func (d *head) Graph(g *graph.Graph, m *model.Maps, _ task.ExportOptions) {
	out := g.Op("Squeeze", nil, d.pixels.Graph(g, m).V, g.Ints(1))
	if d.units == data.Metric {
		out = g.Op("Exp", nil, out)
	}
	g.Output(out, Name, graph.Float, graph.Batch, m.Size, m.Size)
}

func (d *head) Outputs(f *model.Features, _ task.ExportOptions) task.Outputs {
	out := d.pixels.Forward(f, nil).Squeeze(1)
	if d.units == data.Metric {
		out = out.Exp()
	}
	return task.Outputs{Name: task.ArrayOf(out)}
}

func (*head) Decode(out task.Outputs, size int, preds []*data.Sample) error {
	all, err := out.Take(Name, len(preds), size, size)
	if err != nil {
		return err
	}
	for i, p := range preds {
		Set(p, &data.Grid[float32]{W: size, H: size, Pix: all.Row(i)})
	}
	return nil
}

func (*head) Compare(want, got task.Outputs, _ float64) []task.Difference {
	return []task.Difference{task.Differ(Name, want, got)}
}
