package classification

import (
	"fmt"
	"image"
	"image/color"
	"slices"

	"must/data"
	"must/draw"
)

func init() {
	draw.Register(Name, draw.Style{
		Title: "class", Over: true,
		Series:  "orange",
		Draw:    func(c *draw.Canvas, l data.Label, m data.Meaning, _ draw.Options) { drawClass(c, l.(Label), m.Classes) },
		Summary: func(m data.Meaning) string { return fmt.Sprintf("%d classes", len(m.Classes)) },
	})
}

// drawClass writes the likeliest classes at the bottom, with bars where there is doubt.
func drawClass(c *draw.Canvas, p []float32, names []string) {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] > p[b]:
			return -1
		case p[a] < p[b]:
			return 1
		}
		return 0
	})
	const most, least = 3, 0.02
	n := 0
	for n < len(order) && n < most && p[order[n]] >= least {
		n++
	}
	row := c.TextHeight() + 4
	for i, class := range order[:n] {
		y := c.Rect.Max.Y - (n-i)*row
		c.Fill(image.Rect(0, y, c.Rect.Max.X, y+row), color.NRGBA{0, 0, 0, 150})
		label := draw.ClassName(names, class)
		if q := float64(p[class]); q < 0.9995 {
			c.Fill(image.Rect(0, y, int(q*float64(c.Rect.Dx())), y+row), color.NRGBA{46, 134, 222, 170})
			label = fmt.Sprintf("%s  %.0f %%", label, 100*q)
		}
		c.Write(6, y+2, label, color.White)
	}
}
