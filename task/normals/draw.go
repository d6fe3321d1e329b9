package normals

import (
	"image/color"

	"must/data"
	"must/draw"
)

func init() {
	draw.Register(Name, draw.Style{
		Title:   "normals",
		Series:  "green",
		Draw:    func(c *draw.Canvas, l data.Label, _ data.Meaning, _ draw.Options) { drawMap(c, l.(Label).Grid) },
		Summary: func(data.Meaning) string { return "surface normals" },
	})
}

// drawMap shows right as red, up as green and towards the camera as blue.
func drawMap(c *draw.Canvas, g *data.Grid[[3]float32]) {
	channel := func(v float32) uint8 { return uint8(min(max(float64(v)*0.5+0.5, 0), 1)*255 + 0.5) }
	c.Paint(c.Rect, func(x, y int, _ color.RGBA) color.RGBA {
		n := g.At(x, y)
		if n == [3]float32{} {
			return draw.Void
		}
		return color.RGBA{channel(n[0]), channel(-n[1]), channel(-n[2]), 255}
	})
}
