package task

import (
	"must/data"
	"must/model"
	"must/onnx/graph"
	depthlabel "must/task/depth"
)

// Graph gives "depth" in its unit, [N, S, S].
func (d *depth) Graph(g *graph.Graph, m *model.Maps, _ ExportOptions) {
	out := g.Op("Squeeze", nil, d.head.graph(g, m).V, g.Ints(1))
	if d.units == data.Metric {
		out = g.Op("Exp", nil, out)
	}
	g.Output(out, depthlabel.Name, graph.Float, graph.Batch, m.Size, m.Size)
}

func (d *depth) Outputs(f *model.Features, _ ExportOptions) Outputs {
	out := d.head.forward(f, nil).Squeeze(1)
	if d.units == data.Metric {
		out = out.Exp()
	}
	return Outputs{depthlabel.Name: arrayOf(out)}
}

func (*depth) Decode(out Outputs, size int, preds []*data.Sample) error {
	all, err := out.take(depthlabel.Name, len(preds), size, size)
	if err != nil {
		return err
	}
	for i, p := range preds {
		depthlabel.Set(p, &data.Grid[float32]{W: size, H: size, Pix: all.row(i)})
	}
	return nil
}

func (*depth) Compare(want, got Outputs, _ float64) []Difference {
	return []Difference{difference(depthlabel.Name, want, got)}
}
