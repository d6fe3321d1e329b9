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

	"golang.org/x/image/draw"

	"must/data"
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

// A Style says how the labels of a task are drawn. Each task's folder registers its own.
type Style struct {
	Title  string // of its picture
	Over   bool   // it can be drawn into the image beside others; else it has a picture of its own
	Legend bool   // the colours of its classes are named below
	Series string // the colour of a network of this task in charts, as chart.css names it; "": by its place

	Draw    func(c *Canvas, l data.Label, m data.Meaning, o Options)
	Range   func(l data.Label) (low, high float64) // of values that colours span; nil: it has none
	Summary func(m data.Meaning) string            // in a line about the set
}

var styles = map[string]Style{}

// Register makes the style of a task known.
func Register(task string, s Style) { styles[task] = s }

// Series names the colour of a network of a task in charts, "" where it has none of its own.
func Series(task string) string { return styleOf(task).Series }

func styleOf(task string) Style { return styles[data.TaskOf(task)] }

// Overlay draws the label that s has for one task, into the image or in its place. Without a label for
// the task it is the image alone.
func Overlay(s *data.Sample, l data.Labels, task string, o Options) *image.RGBA {
	c := newCanvas(s, o)
	c.label(s, l, task, o)
	return c.RGBA
}

func (c *Canvas) label(s *data.Sample, l data.Labels, task string, o Options) {
	if label, style := s.Label(task), styleOf(task); label != nil && style.Draw != nil {
		style.Draw(c, label, l[task], o)
	}
}

// Range returns the span of the values of a label that is drawn by them, such as depths; both 0 where there
// are none.
func Range(s *data.Sample, task string) (low, high float64) {
	if label, style := s.Label(task), styleOf(task); label != nil && style.Range != nil {
		return style.Range(label)
	}
	return 0, 0
}

// Image returns the image of s at the size of a tile.
func Image(s *data.Sample, o Options) *image.RGBA { return newCanvas(s, o).RGBA }

// A Canvas is an enlarged image that is drawn on.
type Canvas struct {
	*image.RGBA
	W, H int     // of the sample
	K    float64 // Canvas pixels per pixel of the sample
	text *writer
}

func newCanvas(s *data.Sample, o Options) *Canvas {
	size := s.Image.Rect.Size()
	k := float64(o.side()) / float64(max(size.X, size.Y))
	w, h := max(1, int(float64(size.X)*k+0.5)), max(1, int(float64(size.Y)*k+0.5))
	c := &Canvas{image.NewRGBA(image.Rect(0, 0, w, h)), size.X, size.Y, k, newWriter(fontSize(o.side()))}
	scaler := draw.Interpolator(draw.CatmullRom)
	if k < 1 {
		scaler = draw.ApproxBiLinear
	}
	scaler.Scale(c.RGBA, c.Rect, s.Image, s.Image.Rect, draw.Src, nil)
	return c
}

// At returns the sample's pixel under a pixel of the Canvas.
func (c *Canvas) At(x, y int) (int, int) {
	return min(x*c.W/c.Rect.Dx(), c.W-1), min(y*c.H/c.Rect.Dy(), c.H-1)
}

// Paint sets every pixel of r to what f returns for the sample's pixel under it and for the colour there.
func (c *Canvas) Paint(r image.Rectangle, f func(x, y int, was color.RGBA) color.RGBA) {
	r = r.Intersect(c.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			sx, sy := c.At(x, y)
			c.SetRGBA(x, y, f(sx, sy, c.RGBAAt(x, y)))
		}
	}
}

// Fill paints a rectangle in one colour, which may be translucent.
func (c *Canvas) Fill(r image.Rectangle, col color.Color) {
	stddraw.Draw(c.RGBA, r.Intersect(c.Rect), image.NewUniform(col), image.Point{}, stddraw.Over)
}

// ClassName returns the name of class i, or its number where the labels do not know it.
func ClassName(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("#%d", i)
}

// Scaled returns where a box of the sample lies on the Canvas.
func (c *Canvas) Scaled(b data.Box) image.Rectangle {
	b = b.Clip(c.W, c.H)
	kx, ky := float64(c.Rect.Dx())/float64(c.W), float64(c.Rect.Dy())/float64(c.H)
	return image.Rect(int(b.X0*kx+0.5), int(b.Y0*ky+0.5), int(b.X1*kx+0.5), int(b.Y1*ky+0.5))
}

// TextWidth returns the width of a line in pixels of the canvas, TextHeight its height.
func (c *Canvas) TextWidth(s string) int { return c.text.width(s) }

// TextHeight returns the height of a line.
func (c *Canvas) TextHeight() int { return c.text.height }

// Write writes a line whose upper left corner is (x, y).
func (c *Canvas) Write(x, y int, s string, col color.Color) { c.text.write(c.RGBA, x, y, s, col) }

// Outlined writes a line in white with a dark rim, to be read on any ground.
func (c *Canvas) Outlined(x, y int, s string) { c.text.outlined(c.RGBA, x, y, s) }
