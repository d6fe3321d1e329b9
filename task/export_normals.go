package task

import (
	"math"

	"must/data"
	"must/model"
	"must/onnx/graph"
	"must/torch"
)

// Graph gives "normals", unit vectors, x right, y down, z away from the camera, [N, 3, S, S]. A head
// that says nothing, (0, 0, 0), stands for a surface that faces the camera.
func (h *normals) Graph(g *graph.Graph, m *model.Maps, _ ExportOptions) {
	v := h.head.graph(g, m).V
	length := g.Op("ReduceL2", graph.Attrs{"axes": []int64{1}, "keepdims": 1}, v)
	facing := g.Floats([]float32{0, 0, -1}, 1, 3, 1, 1)
	out := g.Op("Where", nil, g.Op("Greater", nil, length, g.Scalar(0)), g.Op("Div", nil, v, length), facing)
	g.Output(out, data.Normals, graph.Float, graph.Batch, 3, m.Size, m.Size)
}

func (h *normals) Outputs(f *model.Features, _ ExportOptions) Outputs {
	t := h.head.forward(f, nil)
	v, n := torch.Values[float32](t), int(f.Size*f.Size)
	for at := 0; at < len(v); at += 3 * n {
		v := v[at:][:3*n]
		for k := range n {
			x, y, z := float64(v[k]), float64(v[n+k]), float64(v[2*n+k])
			l := math.Sqrt(x*x + y*y + z*z)
			if l == 0 {
				x, y, z, l = 0, 0, -1, 1
			}
			v[k], v[n+k], v[2*n+k] = float32(x/l), float32(y/l), float32(z/l)
		}
	}
	return Outputs{data.Normals: {t.Shape(), v}}
}

func (*normals) Decode(out Outputs, size int, preds []*data.Sample) {
	n := size * size
	for i, p := range preds {
		p.Normals = data.NewGrid[[3]float32](size, size)
		v := out[data.Normals].row(i)
		for k := range p.Normals.Pix {
			p.Normals.Pix[k] = [3]float32{v[k], v[n+k], v[2*n+k]}
		}
	}
}

func (*normals) Compare(want, got Outputs, _ float64) []Difference {
	return []Difference{difference(data.Normals, want, got)}
}
