package task

import (
	"fmt"
	"math"
	"slices"

	"must/data"
	"must/model"
	"must/onnx/graph"
	detectionlabel "must/task/detection"
	segmentationlabel "must/task/segmentation"
	"must/torch"
)

// An Exporter is a head that can be a part of an ONNX graph. What a runtime computes of the graph's
// outputs is what Outputs computes here, up to rounding, and Decode reads both.
type Exporter interface {
	Task

	// Graph adds the head to a graph and declares its outputs.
	Graph(g *graph.Graph, m *model.Maps, o ExportOptions)

	// Outputs computes the same outputs by libtorch. Call it in torch.Do.
	Outputs(f *model.Features, o ExportOptions) Outputs

	// Decode fills the task's fields of one sample per image, as Predict does, with what the outputs
	// hold, those of no options but Argmax and Logits. Images are size×size.
	Decode(out Outputs, size int, preds []*data.Sample) error

	// Compare tells how far outputs are from those wanted. What is nearer to a tie than the tolerance, a
	// part of the range, may fall on either side.
	Compare(want, got Outputs, tolerance float64) []Difference
}

// ExportOptions say what outputs are.
type ExportOptions struct {
	Argmax bool // segmentation: the best class and its probability in place of all probabilities
	Logits bool // segmentation: logits before they are resized, in place of either, which Decode resizes
	Raw    bool // detection: all boxes before suppression
}

// An Array is values of a shape, the number of images first. Integers are exact below 2²⁴.
type Array struct {
	Shape  []int64
	Values []float32
}

// Outputs are arrays by the names of a graph's outputs.
type Outputs map[string]Array

// row returns the values of image i.
func (a Array) row(i int) []float32 {
	n := len(a.Values) / int(a.Shape[0])
	return a.Values[i*n:][:n]
}

func arrayOf(t *torch.Tensor) Array { return Array{t.Shape(), torch.Values[float32](t)} }

// A Difference is how far an output is from what it should be.
type Difference struct {
	Output  string
	Largest float64 // difference, as a part of Range
	Range   float64 // of the output's values
	Fault   string  // what a number does not tell, such as objects that only one side has; "": nothing

	Same, Tied int    // of what is alike or not, such as objects: those that are, and those that a tie decides about
	Of         string // what it is
}

// difference compares an output value by value.
func difference(name string, want, got Outputs) Difference {
	d := Difference{Output: name}
	a, b := want[name], got[name]
	if !slices.Equal(a.Shape, b.Shape) {
		d.Fault = fmt.Sprintf("its shape is %v, and should be %v", b.Shape, a.Shape)
		return d
	}
	low, high := 0., 0.
	for i, v := range a.Values {
		w := float64(b.Values[i])
		if math.IsNaN(w) || math.IsInf(w, 0) {
			d.Fault = fmt.Sprintf("value %d is %v, and should be %v", i, w, v)
			return d
		}
		low, high = min(low, float64(v)), max(high, float64(v)) // a range has 0 in it
		d.Largest = max(d.Largest, math.Abs(w-float64(v)))
	}
	if d.Range = high - low; d.Range > 0 {
		d.Largest /= d.Range
	}
	return d
}

// InputName is that of an exported graph's input, [N, 3, Size, Size], red first.
const InputName = "images"

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
	ExportOptions
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
			x := g.Input(InputName, t, graph.Batch, 3, size, size)
			if o.Bytes {
				x = g.Cast(x, graph.Float)
			}
			channel := func(v [3]float64) graph.Value {
				return g.Floats([]float32{float32(v[0]), float32(v[1]), float32(v[2])}, 1, 3, 1, 1)
			}
			x = g.Op("Div", nil, g.Op("Sub", nil, x, channel(n.Mean)), channel(n.Std))
			m := n.Trunk.Graph(g, g.Working(x), size)
			for _, h := range n.exporters(o.Tasks) {
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

// exporters are the heads of the tasks named, all for nil.
func (n *Network) exporters(tasks []string) (heads []Exporter) {
	for _, h := range n.Heads {
		if tasks == nil || slices.Contains(tasks, h.Name()) {
			heads = append(heads, h.(Exporter))
		}
	}
	return heads
}

// Outputs computes by libtorch what a graph of the network gives for planar images. Call it in torch.Do.
func (n *Network) Outputs(images []uint8, count int, o GraphOptions) Outputs {
	out := Outputs{}
	torch.NoGrad(func() {
		torch.Scope(func() {
			f := n.Features(images, count, model.Mode{})
			for _, h := range n.exporters(o.Tasks) {
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
				out[FeaturePrefix+name] = arrayOf(t)
			}
		})
	})
	return out
}

// Compare tells how far outputs of a graph are from libtorch's.
func (n *Network) Compare(want, got Outputs, o GraphOptions, tolerance float64) (all []Difference) {
	for _, h := range n.exporters(o.Tasks) {
		all = append(all, h.Compare(want, got, tolerance)...)
	}
	for _, name := range o.Features {
		all = append(all, difference(FeaturePrefix+name, want, got))
	}
	return all
}

// Decode turns outputs, of no options but Argmax and Logits, into predictions. Outputs of other shapes are an error.
func (s *Spec) Decode(out Outputs, tasks []string, preds []*data.Sample) error {
	for _, name := range tasks {
		if err := RulesOf(name, s.Labels).(Exporter).Decode(out, s.Size, preds); err != nil {
			return err
		}
	}
	return nil
}

// OutputOf tells which task gives an output, "" if none does.
func OutputOf(name string) string {
	switch name {
	case outBoxes, outScores, outLabels, outCount, outMasks:
		return detectionlabel.Name
	case confidence, logits:
		return segmentationlabel.Name
	}
	if slices.Contains(data.Tasks(), name) {
		return name
	}
	return ""
}

// take returns an output of n images after checking its shape; -1 is any size.
func (out Outputs) take(name string, n int, shape ...int) (Array, error) {
	a, ok := out[name]
	ok = ok && len(a.Shape) == len(shape)+1 && a.Shape[0] == int64(n)
	for i, want := range shape {
		ok = ok && (want < 0 || a.Shape[i+1] == int64(want))
	}
	if !ok {
		return a, fmt.Errorf("output %s has shape %v, and should be of %d images with %v each", name, a.Shape, n, shape)
	}
	return a, nil
}

// decoded panics with an error of Decode, which outputs computed here do not have.
func decoded(err error) {
	if err != nil {
		panic(err)
	}
}
