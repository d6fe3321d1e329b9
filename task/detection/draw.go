package detection

import (
	"fmt"
	"image"
	"image/color"

	"must/data"
	"must/draw"
)

func init() {
	draw.Register(Name, draw.Style{
		Title: "objects", Over: true,
		Series: "aqua",
		Draw: func(c *draw.Canvas, l data.Label, m data.Meaning, _ draw.Options) {
			drawObjects(c, l.(*Label).Objects, m.Classes)
		},
		Summary: func(m data.Meaning) string {
			s := fmt.Sprintf("boxes of %d classes", len(m.Classes))
			if m.Masks {
				s += " with masks"
			}
			return s
		},
	})
}

// drawObjects draws masks and boxes, then the names, so that no name is hidden by a box.
func drawObjects(c *draw.Canvas, list []data.Object, names []string) {
	line := max(1, (c.Rect.Dx()+64)/128)
	for _, o := range list {
		if o.Mask == nil {
			continue
		}
		col := draw.Color(o.Class)
		c.Paint(c.Scaled(data.Box{
			X0: float64(o.Mask.Rect.Min.X), Y0: float64(o.Mask.Rect.Min.Y),
			X1: float64(o.Mask.Rect.Max.X), Y1: float64(o.Mask.Rect.Max.Y),
		}), func(x, y int, was color.RGBA) color.RGBA {
			if !o.Mask.At(x, y) {
				return was
			}
			return draw.Mix(was, col, 0.5)
		})
	}
	for _, o := range list {
		r := c.Scaled(o.Box)
		frame(c, r.Inset(-1), 1, color.RGBA{0, 0, 0, 120}, false) // a dark rim, to be seen on any ground
		frame(c, r, line, draw.Color(o.Class), o.Crowd)
	}
	for _, o := range list {
		label := draw.ClassName(names, o.Class)
		if o.Score < 0.9995 {
			label = fmt.Sprintf("%s %.2f", label, o.Score)
		}
		tag(c, c.Scaled(o.Box), label, draw.Color(o.Class))
	}
}

// frame draws the outline of r, inside it; dashed for crowds.
func frame(c *draw.Canvas, r image.Rectangle, line int, col color.RGBA, dashed bool) {
	for _, edge := range []image.Rectangle{
		image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+line), image.Rect(r.Min.X, r.Max.Y-line, r.Max.X, r.Max.Y),
		image.Rect(r.Min.X, r.Min.Y, r.Min.X+line, r.Max.Y), image.Rect(r.Max.X-line, r.Min.Y, r.Max.X, r.Max.Y),
	} {
		edge = edge.Intersect(c.Rect)
		if !dashed {
			c.Fill(edge, col)
			continue
		}
		for y := edge.Min.Y; y < edge.Max.Y; y++ {
			for x := edge.Min.X; x < edge.Max.X; x++ {
				if (x+y)/6%2 == 0 {
					c.SetRGBA(x, y, col)
				}
			}
		}
	}
}

// tag writes a name on a coloured plate over the upper left corner of r, or inside where there is no room.
func tag(c *draw.Canvas, r image.Rectangle, label string, col color.RGBA) {
	w, h := c.TextWidth(label)+6, c.TextHeight()+1
	x, y := min(r.Min.X, c.Rect.Max.X-w), r.Min.Y-h
	if y < 0 {
		y = r.Min.Y
	}
	x = max(x, 0)
	c.Fill(image.Rect(x, y, x+w, y+h), color.NRGBA{col.R, col.G, col.B, 235})
	c.Write(x+3, y, label, draw.InkOn(col))
}
