package rle

import (
	"errors"
	"fmt"
	"slices"
)

// MaxCoordinate bounds the coordinates of polygons, in pixels to either side.
const MaxCoordinate = 1 << 20

// maxSteps bounds the work that one polygon may ask for.
const maxSteps = 1 << 28

// subpixels is the number of steps per pixel on the grid that outlines are traced on.
const subpixels = 5

// FromPolygons returns the union of the insides of polygons, each a list x0, y0, x1, y1, …, on an image
// of h×w pixels.
func FromPolygons(polygons [][]float64, h, w int) (Mask, error) {
	if len(polygons) == 0 {
		return Mask{}, errors.New("rle: a segmentation without polygons")
	}
	masks := make([]Mask, len(polygons))
	for i, p := range polygons {
		var err error
		if masks[i], err = FromPolygon(p, h, w); err != nil {
			return Mask{}, fmt.Errorf("polygon %d: %w", i, err)
		}
	}
	return Union(masks...)
}

// FromBox returns the pixels inside a box.
func FromBox(x, y, width, height float64, h, w int) (Mask, error) {
	x1, y1 := x+width, y+height
	return FromPolygon([]float64{x, y, x, y1, x1, y1, x1, y}, h, w)
}

// FromPolygon returns the inside of the polygon x0, y0, x1, y1, … on an image of h×w pixels, where
// (0, 0) is the corner of the first pixel. The last vertex is joined to the first. A pixel that the
// outline passes through is inside by the even-odd rule down its column.
func FromPolygon(xy []float64, h, w int) (Mask, error) {
	if err := checkSize(h, w); err != nil {
		return Mask{}, err
	}
	if len(xy) == 0 || len(xy)%2 != 0 {
		return Mask{}, fmt.Errorf("rle: a polygon of %d numbers", len(xy))
	}
	for i, v := range xy {
		if !(v >= -MaxCoordinate && v <= MaxCoordinate) {
			return Mask{}, fmt.Errorf("rle: coordinate %d of the polygon, %v, is out of range", i, v)
		}
	}
	n, steps := len(xy)/2, 0
	for i := range n {
		a, b := vertex(xy, i), vertex(xy, (i+1)%n)
		steps += max(abs(b.x-a.x), abs(b.y-a.y)) + 1
	}
	if steps > maxSteps {
		return Mask{}, errors.New("rle: the outline of the polygon is too long")
	}
	t := tracer{h: h, w: w}
	for i := range n {
		t.edge(vertex(xy, i), vertex(xy, (i+1)%n))
	}
	slices.Sort(t.toggles)
	return fromToggles(t.toggles, h, w), nil
}

// A point lies on the grid of subpixels.
type point struct{ x, y int }

func vertex(xy []float64, i int) point {
	snap := func(v float64) int { return int(float64(subpixels*v) + 0.5) }
	return point{snap(xy[2*i]), snap(xy[2*i+1])}
}

// A tracer walks an outline and notes where it crosses the middle of a column of pixels: there, going
// down, inside and outside change.
type tracer struct {
	h, w    int
	at      point
	started bool
	toggles []uint32
}

// edge walks from a to b in steps of one subpixel along the longer axis. The points are computed from
// the end of the lower coordinate, so that an edge is the same both ways.
func (t *tracer) edge(a, b point) {
	dx, dy := abs(b.x-a.x), abs(b.y-a.y)
	along := dx >= dy // the x axis
	n := max(dx, dy)
	reversed := along && a.x > b.x || !along && a.y > b.y
	lo, hi := a, b
	if reversed {
		lo, hi = b, a
	}
	var slope float64
	switch {
	case n == 0:
	case along:
		slope = float64(hi.y-lo.y) / float64(n)
	default:
		slope = float64(hi.x-lo.x) / float64(n)
	}
	for i := range n + 1 {
		d := i
		if reversed {
			d = n - i
		}
		// float64 keeps the compiler from fusing the two operations, which would round otherwise.
		offset := float64(slope * float64(d))
		if along {
			t.step(point{lo.x + d, int(float64(lo.y) + offset + 0.5)})
		} else {
			t.step(point{int(float64(lo.x) + offset + 0.5), lo.y + d})
		}
	}
}

// step moves to the next point.
func (t *tracer) step(p point) {
	from := t.at
	t.at = p
	if !t.started || p.x == from.x {
		t.started = true
		return
	}
	left := p.x
	if p.x > from.x {
		left = p.x - 1
	}
	// The step crosses from subpixel left to the next one. The middle of a pixel column lies right of
	// its subpixel 2, and so does the middle of a row below its own.
	const half = subpixels / 2
	column := left - half
	if column < 0 || column%subpixels != 0 || column/subpixels >= t.w {
		return
	}
	row := max(min(p.y, from.y)-half, 0)
	y := min((row+subpixels-1)/subpixels, t.h)
	t.toggles = append(t.toggles, uint32(column/subpixels*t.h+y))
}

func abs(v int) int { return max(v, -v) }
