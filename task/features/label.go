// Package features is the task of seeing what another model sees: its features, pooled to a grid, as a
// frozen encoder such as DINOv2, SigLIP or SAM computes them. A student that learns those of several
// teachers side by side is an agglomerative model (AM-RADIO, Theia). Each teacher is a task of its own,
// features.NAME.
package features

import (
	"fmt"
	"image"
	"math"

	"must/data"
)

// Name is the task's; those of a teacher are called features.NAME.
const Name = "features"

// MaxGrid is the most cells of a side, MaxChannels the most values of one.
const (
	MaxGrid     = 32
	MaxChannels = 1 << 14
)

func init() {
	data.Register(data.Kind{Task: Name, Order: 6, Conflict: func(a, b data.Meaning) error {
		if a.Channels != b.Channels || a.Grid != b.Grid {
			return fmt.Errorf("features: one has %d channels on a grid of %d×%[2]d, the other %[3]d on %d×%[4]d", a.Channels, a.Grid, b.Channels, b.Grid)
		}
		return nil
	}})
}

// A Label is a grid of vectors that cover the image evenly. A cell of NaN is invalid.
type Label struct {
	task     string
	Grid     int       // cells of a side
	Channels int       // values of a cell
	Values   []float32 // [Grid, Grid, Channels]
}

// New returns the features of a teacher as a label; the task is features.NAME.
func New(task string, grid, channels int, values []float32) *Label {
	return &Label{task, grid, channels, values}
}

// Of returns the features of a task that s carries, nil where they are unknown.
func Of(s *data.Sample, task string) *Label {
	l, _ := s.Label(task).(*Label)
	return l
}

// Task implements [data.Label].
func (l *Label) Task() string { return l.task }

// Cell returns the vector of a cell.
func (l *Label) Cell(x, y int) []float32 {
	return l.Values[(y*l.Grid+x)*l.Channels:][:l.Channels]
}

// Move implements [data.Label]: the canvas gets a grid of its own, whose cells read between the
// neighbours where their centres lie in the image, and are invalid where they lie in padding. A label of one
// cell is of the image as a whole and stays.
func (l *Label) Move(p data.Placement) data.Label {
	if l.Grid == 1 {
		return l
	}
	at := func(a data.Axis) []float64 {
		return l.centres(func(share float64) float64 { return a.Source(share*float64(a.Canvas)) / float64(a.N) })
	}
	out := l.sample(at(p.X), at(p.Y))
	for _, v := range out.Values {
		if v == v {
			return out
		}
	}
	return nil
}

// Restore implements [data.Label].
func (l *Label) Restore(f data.Frame, _, _ int) data.Label {
	if l.Grid == 1 {
		return l
	}
	w, h := f.Canvas()
	if f.W == w && f.H == h {
		return l
	}
	at := func(used, size int) []float64 {
		return l.centres(func(share float64) float64 { return share * float64(used) / float64(size) })
	}
	return l.sample(at(f.W, w), at(f.H, h))
}

// centres returns where the centre of each cell of a new grid lies in this one, in cells from the first's
// centre, NaN outside; share turns a place in the new one into one in this one, both 0 to 1.
func (l *Label) centres(share func(float64) float64) []float64 {
	at := make([]float64, l.Grid)
	n := float64(l.Grid)
	for i := range at {
		s := share((float64(i) + 0.5) / n)
		if at[i] = s*n - 0.5; s < 0 || s >= 1 {
			at[i] = math.NaN()
		}
	}
	return at
}

// sample reads a grid bilinearly between valid cells.
func (l *Label) sample(xs, ys []float64) *Label {
	out := &Label{l.task, l.Grid, l.Channels, make([]float32, len(l.Values))}
	between := func(v float64) (lo, hi int, t float32) {
		v = min(max(v, 0), float64(l.Grid-1))
		lo = int(v)
		return lo, min(lo+1, l.Grid-1), float32(v - float64(lo))
	}
	for y, fy := range ys {
		for x, fx := range xs {
			to := out.Cell(x, y)
			if fx != fx || fy != fy {
				invalid(to)
				continue
			}
			x0, x1, tx := between(fx)
			y0, y1, ty := between(fy)
			var weight float32
			add := func(cell []float32, w float32) {
				if w == 0 || cell[0] != cell[0] {
					return
				}
				weight += w
				for c, v := range cell {
					to[c] += w * v
				}
			}
			add(l.Cell(x0, y0), (1-tx)*(1-ty))
			add(l.Cell(x1, y0), tx*(1-ty))
			add(l.Cell(x0, y1), (1-tx)*ty)
			add(l.Cell(x1, y1), tx*ty)
			if weight == 0 {
				invalid(to)
				continue
			}
			for c := range to {
				to[c] /= weight
			}
		}
	}
	return out
}

func invalid(cell []float32) {
	for c := range cell {
		cell[c] = float32(math.NaN())
	}
}

// Fill implements [data.Label].
func (l *Label) Fill(data.Label, []int) data.Label { return l }

// Lack implements [data.Label].
func (*Label) Lack(data.Label, data.Meaning) data.Label { return nil }

// Remap implements [data.Label]: features have no classes.
func (l *Label) Remap(data.Mapping, []int) data.Label { return l }

// Check implements [data.Label].
func (l *Label) Check(m data.Meaning, _ image.Point) error {
	if l.Grid != m.Grid || l.Channels != m.Channels || len(l.Values) != l.Grid*l.Grid*l.Channels {
		return fmt.Errorf("features of %d channels on a grid of %d×%[2]d, and the set's have %[3]d on %d×%[4]d", l.Channels, l.Grid, m.Channels, m.Grid)
	}
	return nil
}
