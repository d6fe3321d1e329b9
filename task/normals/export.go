package normals

import (
	"math"

	"must/data"
	"must/model"
	"must/onnx/graph"
	"must/task"
	"must/torch"
)

// Graph gives "normals", unit vectors, x right, y down, z away from the camera, [N, 3, S, S]. A head
// that says nothing, (0, 0, 0), stands for a surface that faces the camera.
func (h *head) Graph(g *graph.Graph, m *model.Maps, _ task.ExportOptions) {
	v := h.pixels.Graph(g, m).V
	length := g.Op("ReduceL2", graph.Attrs{"axes": []int64{1}, "keepdims": 1}, v)
	facing := g.Floats([]float32{0, 0, -1}, 1, 3, 1, 1)
	out := g.Op("Where", nil, g.Op("Greater", nil, length, g.Scalar(0)), g.Op("Div", nil, v, length), facing)
	g.Output(out, Name, graph.Float, graph.Batch, 3, m.Size, m.Size)
}

// lengths are those of the head's vectors before they are made unit vectors, [N, S, S]; no output of a
// graph, but Compare asks for them.
const lengths = "normals_lengths"

func (h *head) Outputs(f *model.Features, _ task.ExportOptions) task.Outputs {
	t := h.pixels.Forward(f, nil)
	v, n := torch.Values[float32](t), int(f.Size*f.Size)
	long := task.Array{Shape: []int64{t.Size(0), f.Size, f.Size}, Values: make([]float32, 0, len(v)/3)}
	for at := 0; at < len(v); at += 3 * n {
		v := v[at:][:3*n]
		for k := range n {
			x, y, z := float64(v[k]), float64(v[n+k]), float64(v[2*n+k])
			l := math.Sqrt(x*x + y*y + z*z)
			long.Values = append(long.Values, float32(l))
			if l == 0 {
				x, y, z, l = 0, 0, -1, 1
			}
			v[k], v[n+k], v[2*n+k] = float32(x/l), float32(y/l), float32(z/l)
		}
	}
	return task.Outputs{Name: {Shape: t.Shape(), Values: v}, lengths: long}
}

func (*head) Decode(out task.Outputs, size int, preds []*data.Sample) error {
	all, err := out.Take(Name, len(preds), 3, size, size)
	if err != nil {
		return err
	}
	n := size * size
	for i, p := range preds {
		Set(p, data.NewGrid[[3]float32](size, size))
		v := all.Row(i)
		for k := range Of(p).Pix {
			Of(p).Pix[k] = [3]float32{v[k], v[n+k], v[2*n+k]}
		}
	}
	return nil
}

// Compare weighs a difference by how much the head says, for the direction of a vector of nearly no
// length is a tie: by the vector's length over the mean length, at most 1.
func (*head) Compare(want, got task.Outputs, _ float64) []task.Difference {
	long := want[lengths].Values
	mean := 0.
	for _, l := range long {
		mean += float64(l) / float64(len(long))
	}
	a, b := want[Name], got[Name]
	if len(a.Values) == len(b.Values) {
		n := len(long) / int(a.Shape[0])
		weighed := task.Array{Shape: b.Shape, Values: make([]float32, len(b.Values))}
		for i, v := range b.Values {
			weight := min(1, float64(long[i/(3*n)*n+i%n])/max(mean, 1e-30))
			weighed.Values[i] = a.Values[i] + float32(weight*float64(v-a.Values[i]))
		}
		got = task.Outputs{Name: weighed}
	}
	return []task.Difference{task.Differ(Name, want, got)}
}
