// Package normals is the task of telling which way the surface at every pixel faces.
package normals

import (
	"fmt"
	"image"
	"math"

	"must/data"
)

// Name is the task's.
const Name = "normals"

func init() { data.Register(data.Kind{Task: Name, Order: 5}) }

// A Label is a map of unit vectors, x right, y down, z away from the camera. Zero is invalid.
type Label struct{ *data.Grid[[3]float32] }

// New returns a map as a label, nil for nil.
func New(m *data.Grid[[3]float32]) data.Label {
	if m == nil {
		return nil
	}
	return Label{m}
}

// Of returns the map that s carries, nil where it is unknown.
func Of(s *data.Sample) *data.Grid[[3]float32] {
	l, _ := s.Label(Name).(Label)
	return l.Grid
}

// Set gives s a map; nil makes it unknown.
func Set(s *data.Sample, m *data.Grid[[3]float32]) {
	s.Forget(Name)
	s.Put(New(m))
}

// Task implements [data.Label].
func (Label) Task() string { return Name }

// Move implements [data.Label]: the nearest pixels; padding is invalid. A mirrored surface faces the other
// way in x.
func (l Label) Move(p data.Placement) data.Label {
	out := data.Place(l.Grid, p, [3]float32{})
	if p.X.Flip {
		for i := range out.Pix {
			// 0 - x, not -x: an invalid normal stays zero without a sign.
			out.Pix[i][0] = 0 - out.Pix[i][0]
		}
	}
	return Label{out}
}

// Restore implements [data.Label]: bilinear between valid values and of unit length again, invalid where
// the nearest value is.
func (l Label) Restore(f data.Frame, w, h int) data.Label {
	out := data.NewGrid[[3]float32](w, h)
	xs, ys := f.Bilinear(l.W, l.H, w, h)
	for y, ly := range ys {
		for x, lx := range xs {
			near := l.At(lx.Near, ly.Near)
			if near == ([3]float32{}) {
				continue
			}
			// An invalid normal is zero, so that it adds nothing.
			a, b, c, d := l.At(lx.Lo, ly.Lo), l.At(lx.Hi, ly.Lo), l.At(lx.Lo, ly.Hi), l.At(lx.Hi, ly.Hi)
			var v [3]float32
			for i := range v {
				v[i] = (a[i]*(1-lx.T)+b[i]*lx.T)*(1-ly.T) + (c[i]*(1-lx.T)+d[i]*lx.T)*ly.T
			}
			out.Set(x, y, unit(v, near))
		}
	}
	return Label{out}
}

// unit returns v at length 1, or otherwise where v has hardly any.
func unit(v, otherwise [3]float32) [3]float32 {
	n := float32(math.Sqrt(float64(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])))
	if n < 1e-6 {
		return otherwise
	}
	return [3]float32{v[0] / n, v[1] / n, v[2] / n}
}

// Fill implements [data.Label].
func (l Label) Fill(data.Label, []int) data.Label { return l }

// Lack implements [data.Label].
func (Label) Lack(data.Label, data.Meaning) data.Label { return nil }

// Remap implements [data.Label]: normals have no classes.
func (l Label) Remap(data.Mapping, []int) data.Label { return l }

// Check implements [data.Label].
func (l Label) Check(_ data.Meaning, size image.Point) error {
	if err := l.Grid.Check(Name, size); err != nil {
		return err
	}
	for i, n := range l.Pix {
		length := n[0]*n[0] + n[1]*n[1] + n[2]*n[2]
		if n != [3]float32{} && !(math.Abs(float64(length)-1) < 0.05) {
			return fmt.Errorf("the normal of pixel (%d, %d) is not of unit length: %v", i%size.X, i/size.X, n)
		}
	}
	return nil
}
