// Package frame brings labels from the picture that they were drawn on to the picture as it is shown.
//
// A label is drawn on a picture of some size and orientation. Every sample's image is upright, as cameras
// (EXIF) say that it is to be shown; its labels are in the pixels of that. But some tools draw on the pixels as
// they are stored, and some people shrink their pictures after they labelled them. Where a label tells the size
// of its picture, that decides; what it cannot decide is declared, or counted and said.
package frame

import (
	"fmt"
	"image"
	"math"
	"sync/atomic"

	"must/data"
	"must/data/imagefile"
)

// What a set can declare. "" believes the sizes that labels tell, and takes them as drawn on the
// picture as shown where size does not tell.
const (
	Shown   = "shown"   // drawn on the picture as it is shown, whatever size they tell
	Stored  = "stored"  // drawn on the pixels as they are stored, whatever size they tell
	Resized = "resized" // drawn on a picture of the size they tell, which was stretched to the one that is there since
)

// Check reports a declaration that there is not.
func Check(rule string) error {
	switch rule {
	case "", Shown, Stored, Resized:
		return nil
	}
	return fmt.Errorf("frame is %q, want %s (labels are drawn on pictures as they are shown), %s (on the pixels as stored, before EXIF turns them) or %s (on pictures of another size, which labels tell)", rule, Shown, Stored, Resized)
}

// A Frame leads from labels to a sample's image. The zero Frame changes nothing.
type Frame struct {
	W, H int // of the picture that the labels were drawn on

	turn       int // EXIF orientation that turns it upright, 1: it is
	outW, outH int // of the image as shown
}

// Plain is the frame of labels that are drawn on the image itself.
func Plain(w, h int) Frame { return Frame{w, h, 1, w, h} }

// Counts tell how many of the pictures that were read had labels of each kind. It is safe for concurrent use.
type Counts struct{ stored, untold, resized atomic.Int64 }

// Notes tells what was counted.
func (c *Counts) Notes() (notes []string) {
	for _, n := range []struct {
		count int64
		what  string
	}{
		{c.stored.Load(), "pictures turned by EXIF whose labels, by their size, are drawn on the pixels as stored: labels turned with them"},
		{c.untold.Load(), "pictures turned by EXIF for which no size tells on what labels were drawn: taken as drawn on the picture as shown (frame: stored, if they were not)"},
		{c.resized.Load(), "pictures of another size than their labels are for: labels scaled"},
	} {
		if n.count > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d", n.what, n.count))
		}
	}
	return notes
}

// A Picture is a sample's image, as shown, for labels that may each have a frame of their own.
type Picture struct {
	*data.Sample
	file string
	turn int
}

// Decode decodes the image of a sample, without labels. Its error is a data.SampleError.
func Decode(key, file string) (Picture, error) {
	s, turn, err := imagefile.SampleTurned(key, file)
	return Picture{s, file, turn}, err
}

// Frame returns the frame of labels that are for a picture of w×h pixels; 0: they do not tell. Its error is a
// data.SampleError.
func (p Picture) Frame(rule string, w, h int, c *Counts) (Frame, error) {
	f, err := of(rule, p.Image.Rect.Size(), p.turn, w, h, c)
	if err != nil {
		return Frame{}, &data.SampleError{Key: p.Key, File: p.file, Err: err}
	}
	return f, nil
}

// Sample is Decode and Frame, for a sample with labels of one kind.
func Sample(key, file, rule string, w, h int, c *Counts) (*data.Sample, Frame, error) {
	p, err := Decode(key, file)
	if err != nil {
		return nil, Frame{}, err
	}
	f, err := p.Frame(rule, w, h, c)
	if err != nil {
		return nil, Frame{}, err
	}
	return p.Sample, f, nil
}

func of(rule string, shown image.Point, turn, w, h int, c *Counts) (Frame, error) {
	stored := shown
	if turn >= 5 {
		stored = image.Pt(shown.Y, shown.X)
	}
	drawn := image.Pt(w, h)
	if w < 1 || h < 1 {
		drawn = shown
		if rule == "" && turn != 1 {
			c.untold.Add(1)
		}
	}
	asShown := Plain(shown.X, shown.Y)
	asStored := Frame{stored.X, stored.Y, turn, shown.X, shown.Y}
	switch {
	case rule == Shown:
		return asShown, nil
	case rule == Stored:
		return asStored, nil
	case drawn == shown:
		if drawn == stored && turn != 1 && w > 0 && h > 0 {
			c.untold.Add(1)
		}
		return asShown, nil
	case drawn == stored:
		c.stored.Add(1)
		return asStored, nil
	case rule == Resized:
		c.resized.Add(1)
		f := Frame{drawn.X, drawn.Y, 1, shown.X, shown.Y}
		if turn >= 5 && skew(drawn, stored) < skew(drawn, shown) {
			f.turn = turn
		}
		return f, nil
	}
	if drawn == image.Pt(shown.Y, shown.X) {
		return Frame{}, fmt.Errorf("the image has %d×%d pixels, but its labels are for %d×%d, and no EXIF orientation turns it: turn the picture back, or, if labels tell a wrong size, set frame to %s", shown.X, shown.Y, drawn.X, drawn.Y, Shown)
	}
	return Frame{}, fmt.Errorf("the image has %d×%d pixels, but its labels are for %d×%d: if pictures were stretched since they were labelled set frame to %s, if labels tell a wrong size to %s",
		shown.X, shown.Y, drawn.X, drawn.Y, Resized, Shown)
}

// skew is how much shapes differ.
func skew(a, b image.Point) float64 {
	return math.Abs(math.Log(float64(a.X) * float64(b.Y) / (float64(a.Y) * float64(b.X))))
}

// Same reports whether labels are in the frame of the image already.
func (f Frame) Same() bool { return f.turn <= 1 && f.W == f.outW && f.H == f.outH }

// Fits reports whether a map of w×h pixels is one of this frame.
func (f Frame) Fits(w, h int) bool { return w == f.W && h == f.H }

// turned returns the size of the drawn picture when it is upright.
func (f Frame) turned() (w, h int) {
	if f.turn >= 5 {
		return f.H, f.W
	}
	return f.W, f.H
}

// Point maps a point, in pixels.
func (f Frame) Point(x, y float64) (float64, float64) {
	if f.Same() || f.W == 0 {
		return x, y
	}
	w, h := float64(f.W), float64(f.H)
	switch f.turn {
	case 2:
		x = w - x
	case 3:
		x, y = w-x, h-y
	case 4:
		y = h - y
	case 5:
		x, y = y, x
	case 6:
		x, y = h-y, x
	case 7:
		x, y = h-y, w-x
	case 8:
		x, y = y, w-x
	}
	tw, th := f.turned()
	return x * float64(f.outW) / float64(tw), y * float64(f.outH) / float64(th)
}

// Box maps a box with area, and does not clip it.
func (f Frame) Box(b data.Box) data.Box {
	x0, y0 := f.Point(b.X0, b.Y0)
	x1, y1 := f.Point(b.X1, b.Y1)
	return data.Box{X0: min(x0, x1), Y0: min(y0, y1), X1: max(x0, x1), Y1: max(y0, y1)}
}

// Area maps an area in px².
func (f Frame) Area(a float64) float64 {
	if f.Same() || f.W == 0 {
		return a
	}
	return a * float64(f.outW) * float64(f.outH) / (float64(f.W) * float64(f.H))
}

// source returns the pixel of the drawn picture that the image shows at (x, y): the nearest.
func (f Frame) source(x, y int) (int, int) {
	tw, th := f.turned()
	x, y = (2*x+1)*tw/(2*f.outW), (2*y+1)*th/(2*f.outH)
	switch f.turn {
	case 2:
		x = f.W - 1 - x
	case 3:
		x, y = f.W-1-x, f.H-1-y
	case 4:
		y = f.H - 1 - y
	case 5:
		x, y = y, x
	case 6:
		x, y = y, f.H-1-x
	case 7:
		x, y = f.W-1-y, f.H-1-x
	case 8:
		x, y = f.W-1-y, x
	}
	return x, y
}

// Mask maps the shape of an object.
func (f Frame) Mask(m *data.Mask) *data.Mask {
	if m == nil || f.Same() || f.W == 0 {
		return m
	}
	b := f.Box(data.Box{X0: float64(m.Rect.Min.X), Y0: float64(m.Rect.Min.Y), X1: float64(m.Rect.Max.X), Y1: float64(m.Rect.Max.Y)})
	r := image.Rect(int(math.Floor(b.X0)), int(math.Floor(b.Y0)), int(math.Ceil(b.X1)), int(math.Ceil(b.Y1)))
	r = r.Intersect(image.Rect(0, 0, f.outW, f.outH))
	out := &data.Mask{Rect: r, Pix: make([]uint8, r.Dx()*r.Dy())}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if m.At(f.source(x, y)) {
				out.Pix[(y-r.Min.Y)*r.Dx()+x-r.Min.X] = 1
			}
		}
	}
	return out
}

// Grid maps a map of values to the image: values that have no direction, each from the nearest pixel.
func Grid[T any](f Frame, g *data.Grid[T]) (*data.Grid[T], error) {
	if f.W == 0 || f.Same() && f.Fits(g.W, g.H) {
		return g, nil
	}
	if !f.Fits(g.W, g.H) {
		return nil, fmt.Errorf("the map has %d×%d pixels, its image %d×%d", g.W, g.H, f.W, f.H)
	}
	out := data.NewGrid[T](f.outW, f.outH)
	for y := range out.H {
		for x := range out.W {
			out.Set(x, y, g.At(f.source(x, y)))
		}
	}
	return out, nil
}
