package depth

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"must/data"
	"must/draw"
)

func init() {
	draw.Register(Name, draw.Style{
		Title:  "depth",
		Series: "violet",
		Draw: func(c *draw.Canvas, l data.Label, m data.Meaning, o draw.Options) {
			drawMap(c, l.(Label).Grid, m.Units, o)
		},
		Range:   func(l data.Label) (low, high float64) { return wholeRange(l.(Label).Pix) },
		Summary: func(m data.Meaning) string { return m.Units + " depth" },
	})
}

// drawMap colours near red and far blue, evenly in inverse depth, and writes the range.
func drawMap(c *draw.Canvas, g *data.Grid[float32], unit string, o draw.Options) {
	lo, hi := o.Near, o.Far
	if lo == 0 && hi == 0 {
		lo, hi = valueRange(g.Pix)
	}
	inverse := func(z float64) float64 { // nearness, 1 at lo and 0 at hi
		if unit == data.Inverse {
			return (z - lo) / max(hi-lo, 1e-9)
		}
		z = max(z, 1e-6)
		a, b := 1/max(lo, 1e-6), 1/max(hi, 1e-6)
		return (1/z - b) / max(a-b, 1e-9)
	}
	c.Paint(c.Rect, func(x, y int, _ color.RGBA) color.RGBA {
		z := float64(g.At(x, y))
		if z != z {
			return draw.Void
		}
		return draw.Turbo(inverse(z))
	})
	if unit == data.Metric && hi > lo {
		label := fmt.Sprintf("%.1f – %.1f m", lo, hi)
		c.Outlined(5, c.Rect.Dy()-c.TextHeight()-3, label)
	}
}

// valueRange returns the 2nd and 98th percentile of the valid values.
func valueRange(pix []float32) (lo, hi float64) {
	valid := make([]float32, 0, len(pix))
	for _, v := range pix {
		if v == v {
			valid = append(valid, v)
		}
	}
	if len(valid) == 0 {
		return 0, 0
	}
	slices.Sort(valid)
	return float64(valid[len(valid)*2/100]), float64(valid[(len(valid)-1)*98/100])
}

// wholeRange returns the least and the largest valid value; 0 and 0 without any.
func wholeRange(pix []float32) (near, far float64) {
	near, far = math.Inf(1), math.Inf(-1)
	for _, v := range pix {
		if v == v {
			near, far = min(near, float64(v)), max(far, float64(v))
		}
	}
	if near > far {
		return 0, 0
	}
	return near, far
}
