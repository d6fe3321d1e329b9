package network

import (
	"slices"

	"must/model"
	"must/onnx/graph"
	"must/task"
	"must/torch"
)

// FeaturePrefix begins the names of outputs that are features.
const FeaturePrefix = "feature_"

// Features names the features that a network can be asked for: that of the whole image, the last map of
// the backbone and, where it has a neck, the levels of the pyramid and their sum.
func (n *Network) FeatureNames() []string {
	names := []string{"pooled", "c5"}
	if n.Trunk.Pyramid() {
		names = append(names, "p2", "p3", "p4", "p5", "p6", "p7", "fused")
	}
	return names
}

// A GraphOptions says what a graph of a network has.
type GraphOptions struct {
	task.ExportOptions
	Tasks    []string // nil: all
	Features []string // by name, see [Network.FeatureNames]
	Bytes    bool     // the input is bytes; else float32 in 0 to 255
	Half     bool     // float16 inside
}

// Graph writes the network as an ONNX graph. Call it in torch.Do.
func (n *Network) Graph(o GraphOptions) *graph.Graph {
	g := graph.New()
	g.Half = o.Half
	torch.NoGrad(func() {
		torch.Scope(func() {
			size := int64(n.Size)
			t := graph.Float
			if o.Bytes {
				t = graph.Uint8
			}
			x := g.Input(task.InputName, t, graph.Batch, 3, size, size)
			if o.Bytes {
				x = g.Cast(x, graph.Float)
			}
			channel := func(v [3]float64) graph.Value {
				return g.Floats([]float32{float32(v[0]), float32(v[1]), float32(v[2])}, 1, 3, 1, 1)
			}
			x = g.Op("Div", nil, g.Op("Sub", nil, x, channel(n.Mean)), channel(n.Std))
			m := n.Trunk.Graph(g, g.Working(x), size)
			for _, h := range n.chosen(o.Tasks) {
				h.Graph(g, m, o.ExportOptions)
			}
			for _, name := range o.Features {
				if name == "pooled" {
					g.Output(g.Float(m.Pooled(g)), FeaturePrefix+name, graph.Float, graph.Batch, n.Trunk.Backbone.Width())
					continue
				}
				f := m.C5
				switch name {
				case "c5":
				case "fused":
					f = m.Fused(g)
				default:
					f = m.Level(int(name[1] - '0'))
				}
				g.Output(g.Float(f.V), FeaturePrefix+name, graph.Float, graph.Batch, f.C, f.H, f.W)
			}
		})
	})
	return g
}

// chosen are the heads of the tasks named, all for nil.
func (n *Network) chosen(tasks []string) (heads []task.Head) {
	for _, h := range n.Heads {
		if tasks == nil || slices.Contains(tasks, h.Name()) {
			heads = append(heads, h)
		}
	}
	return heads
}

// Outputs computes by libtorch what a graph of the network gives for planar images. Call it in torch.Do.
func (n *Network) Outputs(images []uint8, count int, o GraphOptions) task.Outputs {
	out := task.Outputs{}
	torch.NoGrad(func() {
		torch.Scope(func() {
			f := n.Features(images, count, model.Mode{})
			for _, h := range n.chosen(o.Tasks) {
				for name, a := range h.Outputs(f, o.ExportOptions) {
					out[name] = a
				}
			}
			for _, name := range o.Features {
				t := f.C5
				switch name {
				case "c5":
				case "pooled":
					t = f.Pooled()
				case "fused":
					t = f.Fused()
				default:
					t = f.Level(int(name[1] - '0'))
				}
				out[FeaturePrefix+name] = task.ArrayOf(t)
			}
		})
	})
	return out
}

// Compare tells how far outputs of a graph are from libtorch's.
func (n *Network) Compare(want, got task.Outputs, o GraphOptions, tolerance float64) (all []task.Difference) {
	for _, h := range n.chosen(o.Tasks) {
		all = append(all, h.Compare(want, got, tolerance)...)
	}
	for _, name := range o.Features {
		all = append(all, task.Differ(FeaturePrefix+name, want, got))
	}
	return all
}
