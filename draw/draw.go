// Package draw makes pictures of samples for people: an image with its boxes, masks, semantic map,
// depth or normals drawn in, panels of all of them side by side, and contact sheets of datasets.
//
// Small images are enlarged, and what is drawn into them is drawn at the larger size, so that it
// stays sharp. Nothing here changes a sample.
package draw

import (
	"fmt"
	"image"
	"image/color"
	stddraw "image/draw"
	"math"
	"slices"

	"golang.org/x/image/draw"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// Options say how a picture is made. The zero value is good for most.
type Options struct {
	// Side is the length in pixels of a tile's longer side; 0: 256.
	Side int
	// Title is written over a panel or a contact sheet; empty: none.
	Title string
	// Near and Far fix the range of depth that the colours span, so that a truth and a prediction
	// can be compared; both 0: the range of what is drawn.
	Near, Far float64
}

func (o Options) side() int {
	if o.Side > 0 {
		return o.Side
	}
	return 256
}

// Overlay draws the labels that s has for one task: class names and probabilities, boxes and masks,
// or the semantic map over the image; depth and normals as colours in its place. Without a label for
// the task it is the image alone.
func Overlay(s *data.Sample, l data.Labels, task string, o Options) *image.RGBA {
	c := newCanvas(s, o)
	switch {
	case !s.Has(task):
	case task == classification.Name:
		c.class(classification.Of(s), l[classification.Name].Classes)
	case task == detection.Name:
		c.objects(detection.Of(s), l[detection.Name].Classes)
	case task == segmentation.Name:
		c.semantic(segmentation.Of(s), l[segmentation.Name].Classes)
	case task == depth.Name:
		c.depth(depth.Of(s), l[depth.Name].Units, o)
	case task == normals.Name:
		c.normals(normals.Of(s))
	}
	return c.RGBA
}

// Image returns the image of s at the size of a tile.
func Image(s *data.Sample, o Options) *image.RGBA { return newCanvas(s, o).RGBA }

// A canvas is an enlarged image that is drawn on.
type canvas struct {
	*image.RGBA
	w, h int     // of the sample
	k    float64 // canvas pixels per pixel of the sample
	text *writer
}

func newCanvas(s *data.Sample, o Options) *canvas {
	size := s.Image.Rect.Size()
	k := float64(o.side()) / float64(max(size.X, size.Y))
	w, h := max(1, int(float64(size.X)*k+0.5)), max(1, int(float64(size.Y)*k+0.5))
	c := &canvas{image.NewRGBA(image.Rect(0, 0, w, h)), size.X, size.Y, k, newWriter(fontSize(o.side()))}
	scaler := draw.Interpolator(draw.CatmullRom)
	if k < 1 {
		scaler = draw.ApproxBiLinear
	}
	scaler.Scale(c.RGBA, c.Rect, s.Image, s.Image.Rect, draw.Src, nil)
	return c
}

// at returns the sample's pixel under a pixel of the canvas.
func (c *canvas) at(x, y int) (int, int) {
	return min(x*c.w/c.Rect.Dx(), c.w-1), min(y*c.h/c.Rect.Dy(), c.h-1)
}

// paint sets every pixel of r to what f returns for the sample's pixel under it and for the colour there.
func (c *canvas) paint(r image.Rectangle, f func(x, y int, was color.RGBA) color.RGBA) {
	r = r.Intersect(c.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			sx, sy := c.at(x, y)
			c.SetRGBA(x, y, f(sx, sy, c.RGBAAt(x, y)))
		}
	}
}

// fill paints a rectangle in one colour, which may be translucent.
func (c *canvas) fill(r image.Rectangle, col color.Color) {
	stddraw.Draw(c.RGBA, r.Intersect(c.Rect), image.NewUniform(col), image.Point{}, stddraw.Over)
}

// name returns the name of class i, or its number where the labels do not know it.
func name(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("#%d", i)
}

// class writes the likeliest classes at the bottom, with bars where there is doubt.
func (c *canvas) class(p []float32, names []string) {
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
	row := c.text.height + 4
	for i, class := range order[:n] {
		y := c.Rect.Max.Y - (n-i)*row
		c.fill(image.Rect(0, y, c.Rect.Max.X, y+row), color.NRGBA{0, 0, 0, 150})
		label := name(names, class)
		if q := float64(p[class]); q < 0.9995 {
			c.fill(image.Rect(0, y, int(q*float64(c.Rect.Dx())), y+row), color.NRGBA{46, 134, 222, 170})
			label = fmt.Sprintf("%s  %.0f %%", label, 100*q)
		}
		c.text.write(c.RGBA, 6, y+2, label, color.White)
	}
}

// objects draws masks and boxes, then the names, so that no name is hidden by a box.
func (c *canvas) objects(list []data.Object, names []string) {
	line := max(1, (c.Rect.Dx()+64)/128)
	for _, o := range list {
		if o.Mask == nil {
			continue
		}
		col := Color(o.Class)
		c.paint(c.scaled(data.Box{
			X0: float64(o.Mask.Rect.Min.X), Y0: float64(o.Mask.Rect.Min.Y),
			X1: float64(o.Mask.Rect.Max.X), Y1: float64(o.Mask.Rect.Max.Y),
		}), func(x, y int, was color.RGBA) color.RGBA {
			if !o.Mask.At(x, y) {
				return was
			}
			return mix(was, col, 0.5)
		})
	}
	for _, o := range list {
		r := c.scaled(o.Box)
		c.frame(r.Inset(-1), 1, color.RGBA{0, 0, 0, 120}, false) // a dark rim, to be seen on any ground
		c.frame(r, line, Color(o.Class), o.Crowd)
	}
	for _, o := range list {
		label := name(names, o.Class)
		if o.Score < 0.9995 {
			label = fmt.Sprintf("%s %.2f", label, o.Score)
		}
		c.tag(c.scaled(o.Box), label, Color(o.Class))
	}
}

// scaled returns where a box of the sample lies on the canvas.
func (c *canvas) scaled(b data.Box) image.Rectangle {
	b = b.Clip(c.w, c.h)
	kx, ky := float64(c.Rect.Dx())/float64(c.w), float64(c.Rect.Dy())/float64(c.h)
	return image.Rect(int(b.X0*kx+0.5), int(b.Y0*ky+0.5), int(b.X1*kx+0.5), int(b.Y1*ky+0.5))
}

// frame draws the outline of r, inside it; dashed for crowds.
func (c *canvas) frame(r image.Rectangle, line int, col color.RGBA, dashed bool) {
	for _, edge := range []image.Rectangle{
		image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+line), image.Rect(r.Min.X, r.Max.Y-line, r.Max.X, r.Max.Y),
		image.Rect(r.Min.X, r.Min.Y, r.Min.X+line, r.Max.Y), image.Rect(r.Max.X-line, r.Min.Y, r.Max.X, r.Max.Y),
	} {
		edge = edge.Intersect(c.Rect)
		if !dashed {
			c.fill(edge, col)
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
func (c *canvas) tag(r image.Rectangle, label string, col color.RGBA) {
	w, h := c.text.width(label)+6, c.text.height+1
	x, y := min(r.Min.X, c.Rect.Max.X-w), r.Min.Y-h
	if y < 0 {
		y = r.Min.Y
	}
	x = max(x, 0)
	c.fill(image.Rect(x, y, x+w, y+h), color.NRGBA{col.R, col.G, col.B, 235})
	c.text.write(c.RGBA, x+3, y, label, inkOn(col))
}

// semantic lays the colours of the classes over the image in grey, with their borders drawn and the
// names written where an area is large enough.
func (c *canvas) semantic(g *data.Grid[uint8], names []string) {
	c.paint(c.Rect, func(x, y int, was color.RGBA) color.RGBA {
		class := g.At(x, y)
		grey := luma(was)
		if class == data.Ignore {
			if (x+y)%4 < 2 {
				return mix(grey, color.RGBA{255, 255, 255, 255}, 0.7)
			}
			return mix(grey, color.RGBA{200, 200, 200, 255}, 0.7)
		}
		strength := 0.62
		if name(names, int(class)) == background {
			strength = 0.3
		}
		return mix(grey, SegmentColor(int(class), names), strength)
	})
	for y := range c.Rect.Dy() - 1 {
		for x := range c.Rect.Dx() - 1 {
			sx, sy := c.at(x, y)
			rx, _ := c.at(x+1, y)
			_, dy := c.at(x, y+1)
			if g.At(sx, sy) != g.At(rx, sy) || g.At(sx, sy) != g.At(sx, dy) {
				c.SetRGBA(x, y, mix(c.RGBAAt(x, y), color.RGBA{255, 255, 255, 255}, 0.75))
			}
		}
	}
	for _, a := range areas(g) {
		if a.class == data.Ignore {
			continue
		}
		label := name(names, int(a.class))
		w, h := c.text.width(label), c.text.height
		x, y := int((float64(a.x)+0.5)*c.k)-w/2, int((float64(a.y)+0.5)*c.k)-h/2
		if room := int(2 * float64(a.room) * c.k); room < min(w*2/3, 2*h) || room < h {
			continue
		}
		x, y = max(2, min(x, c.Rect.Dx()-w-2)), max(1, min(y, c.Rect.Dy()-h-1))
		c.text.outlined(c.RGBA, x, y, label)
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

// depth colours near red and far blue, evenly in inverse depth, and writes the range.
func (c *canvas) depth(g *data.Grid[float32], unit string, o Options) {
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
	c.paint(c.Rect, func(x, y int, _ color.RGBA) color.RGBA {
		z := float64(g.At(x, y))
		if z != z {
			return void
		}
		return turbo(inverse(z))
	})
	if unit == data.Metric && hi > lo {
		label := fmt.Sprintf("%.1f – %.1f m", lo, hi)
		c.text.outlined(c.RGBA, 5, c.Rect.Dy()-c.text.height-3, label)
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

// DepthRange returns the least and the largest depth of a sample, so that pictures of others get its
// colours; 0 and 0 without any.
func DepthRange(s *data.Sample) (near, far float64) {
	if depth.Of(s) == nil {
		return 0, 0
	}
	near, far = math.Inf(1), math.Inf(-1)
	for _, v := range depth.Of(s).Pix {
		if v == v {
			near, far = min(near, float64(v)), max(far, float64(v))
		}
	}
	if near > far {
		return 0, 0
	}
	return near, far
}

// normals shows right as red, up as green and towards the camera as blue.
func (c *canvas) normals(g *data.Grid[[3]float32]) {
	channel := func(v float32) uint8 { return uint8(min(max(float64(v)*0.5+0.5, 0), 1)*255 + 0.5) }
	c.paint(c.Rect, func(x, y int, _ color.RGBA) color.RGBA {
		n := g.At(x, y)
		if n == [3]float32{} {
			return void
		}
		return color.RGBA{channel(n[0]), channel(-n[1]), channel(-n[2]), 255}
	})
}
