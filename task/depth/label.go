// Package depth is the task of telling how far away every pixel is.
package depth

import (
	"fmt"
	"image"
	"math"

	"must/data"
)

// Name is the task's.
const Name = "depth"

func init() {
	data.Register(data.Kind{Task: Name, Order: 4, Conflict: func(a, b data.Meaning) error {
		if a.Units == b.Units {
			return nil
		}
		return fmt.Errorf("depth: one is %s, the other %s; {depth: inverse} under spaces turns metric depth into inverse", a.Units, b.Units)
	}})
}

// A Label is a map of depths in the units of the data set: [data.Metric] or [data.Inverse]. NaN is invalid.
type Label struct {
	*data.Grid[float32]

	// Zoom is how much larger a view for training shows the image; 0: 1. What looks larger looks nearer, so
	// that to a network, which cannot know of the view, metric depth is less by as much (Eigen et al. 2014).
	// Inverse depth of unknown scale stays what it is.
	Zoom float64
}

// New returns a map as a label, nil for nil.
func New(m *data.Grid[float32]) data.Label {
	if m == nil {
		return nil
	}
	return Label{Grid: m}
}

// Of returns the map that s carries, nil where it is unknown.
func Of(s *data.Sample) *data.Grid[float32] {
	l, _ := s.Label(Name).(Label)
	return l.Grid
}

// Set gives s a map; nil makes it unknown.
func Set(s *data.Sample, m *data.Grid[float32]) {
	s.Forget(Name)
	s.Put(New(m))
}

// Task implements [data.Label].
func (Label) Task() string { return Name }

// Move implements [data.Label]: the nearest pixels, so that depths keep their values; padding is invalid.
func (l Label) Move(p data.Placement) data.Label {
	return Label{data.Place(l.Grid, p, float32(math.NaN())), p.Zoom}
}

// Restore implements [data.Label]: bilinear between valid values, invalid where the nearest value is.
func (l Label) Restore(f data.Frame, w, h int) data.Label {
	out := data.NewGrid[float32](w, h)
	xs, ys := f.Bilinear(l.W, l.H, w, h)
	for y, ly := range ys {
		for x, lx := range xs {
			near := l.At(lx.Near, ly.Near)
			if near != near {
				out.Set(x, y, near)
				continue
			}
			var sum, weight float32
			add := func(v, w float32) {
				if v == v {
					sum += w * v
					weight += w
				}
			}
			add(l.At(lx.Lo, ly.Lo), (1-lx.T)*(1-ly.T))
			add(l.At(lx.Hi, ly.Lo), lx.T*(1-ly.T))
			add(l.At(lx.Lo, ly.Hi), (1-lx.T)*ly.T)
			add(l.At(lx.Hi, ly.Hi), lx.T*ly.T)
			out.Set(x, y, sum/weight)
		}
	}
	return Label{Grid: out}
}

// Fill implements [data.Label].
func (l Label) Fill(data.Label, []int) data.Label { return l }

// Lack implements [data.Label].
func (Label) Lack(data.Label, data.Meaning) data.Label { return nil }

// Remap implements [data.Label]: depth has no classes.
func (l Label) Remap(data.Mapping, []int) data.Label { return l }

// Check implements [data.Label].
func (l Label) Check(_ data.Meaning, size image.Point) error { return l.Grid.Check(Name, size) }

// Invert returns d with its metric depth as inverse depth, so that it can join sets of unknown scale and
// shift; any other depth stays as it is.
func Invert(d data.Dataset) data.Dataset {
	if d.Labels()[Name].Units != data.Metric {
		return d
	}
	return inverted{d}
}

type inverted struct{ data.Dataset }

func (v inverted) Labels() data.Labels {
	l := v.Dataset.Labels()
	m := l[Name]
	m.Units = data.Inverse
	return l.With(Name, m)
}

func (v inverted) Unwrap() data.Dataset { return v.Dataset }

func (v inverted) Carries(i int, task string) bool { return data.Carries(v.Dataset, i, task) }

func (v inverted) Sample(i int) (*data.Sample, error) {
	s, err := v.Dataset.Sample(i)
	if err == nil && s.Has(Name) {
		InvertMap(Of(s))
	}
	return s, err
}

// InvertMap replaces depth by its inverse; 0 and less, which have none, become NaN.
func InvertMap(m *data.Grid[float32]) {
	for i, v := range m.Pix {
		if m.Pix[i] = 1 / v; !(v > 0) {
			m.Pix[i] = float32(math.NaN())
		}
	}
}
