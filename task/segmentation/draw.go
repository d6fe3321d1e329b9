package segmentation

import (
	"fmt"
	"image/color"

	"must/data"
	"must/draw"
)

func init() {
	draw.Register(Name, draw.Style{
		Title: "segmentation", Legend: true,
		Series: "yellow",
		Draw: func(c *draw.Canvas, l data.Label, m data.Meaning, _ draw.Options) {
			drawMap(c, l.(*Label).fine().Map, m.Classes)
		},
		Summary: func(m data.Meaning) string { return fmt.Sprintf("semantic map of %d classes", len(m.Classes)) },
	})
}

// drawMap lays the colours of the classes over the image in grey, with their borders drawn and the
// names written where an area is large enough.
func drawMap(c *draw.Canvas, g *data.Grid[uint8], names []string) {
	c.Paint(c.Rect, func(x, y int, was color.RGBA) color.RGBA {
		class := g.At(x, y)
		grey := draw.Luma(was)
		if class == data.Ignore {
			if (x+y)%4 < 2 {
				return draw.Mix(grey, color.RGBA{255, 255, 255, 255}, 0.7)
			}
			return draw.Mix(grey, color.RGBA{200, 200, 200, 255}, 0.7)
		}
		strength := 0.62
		if draw.ClassName(names, int(class)) == draw.Background {
			strength = 0.3
		}
		return draw.Mix(grey, draw.SegmentColor(int(class), names), strength)
	})
	for y := range c.Rect.Dy() - 1 {
		for x := range c.Rect.Dx() - 1 {
			sx, sy := c.At(x, y)
			rx, _ := c.At(x+1, y)
			_, dy := c.At(x, y+1)
			if g.At(sx, sy) != g.At(rx, sy) || g.At(sx, sy) != g.At(sx, dy) {
				c.SetRGBA(x, y, draw.Mix(c.RGBAAt(x, y), color.RGBA{255, 255, 255, 255}, 0.75))
			}
		}
	}
	for _, a := range areas(g) {
		if a.class == data.Ignore {
			continue
		}
		label := draw.ClassName(names, int(a.class))
		w, h := c.TextWidth(label), c.TextHeight()
		x, y := int((float64(a.x)+0.5)*c.K)-w/2, int((float64(a.y)+0.5)*c.K)-h/2
		if room := int(2 * float64(a.room) * c.K); room < min(w*2/3, 2*h) || room < h {
			continue
		}
		x, y = max(2, min(x, c.Rect.Dx()-w-2)), max(1, min(y, c.Rect.Dy()-h-1))
		c.Outlined(x, y, label)
	}
}

// An area is the widest place of a class in a semantic map.
type area struct {
	class uint8
	x, y  int // its centre
	room  int // distance to the nearest pixel of another class
}

// areas finds for every class the pixel farthest from all others, by a chessboard distance transform.
func areas(g *data.Grid[uint8]) []area {
	dist := make([]int, g.W*g.H)
	near := func(x, y, dx, dy int) int {
		if x+dx < 0 || y+dy < 0 || x+dx >= g.W || y+dy >= g.H || g.At(x, y) != g.At(x+dx, y+dy) {
			return 0
		}
		return dist[(y+dy)*g.W+x+dx]
	}
	for y := range g.H {
		for x := range g.W {
			dist[y*g.W+x] = 1 + min(near(x, y, -1, 0), near(x, y, 0, -1), near(x, y, -1, -1), near(x, y, 1, -1))
		}
	}
	var best [256]area
	for y := g.H - 1; y >= 0; y-- {
		for x := g.W - 1; x >= 0; x-- {
			d := &dist[y*g.W+x]
			*d = min(*d, 1+min(near(x, y, 1, 0), near(x, y, 0, 1), near(x, y, 1, 1), near(x, y, -1, 1)))
			if class := g.At(x, y); *d > best[class].room {
				best[class] = area{class, x, y, *d}
			}
		}
	}
	var out []area
	for _, a := range best {
		if a.room > 0 {
			out = append(out, a)
		}
	}
	return out
}
