package data

import (
	"cmp"
	"image"
)

// An Axis maps one dimension of an image onto a canvas: N source pixels are scaled to Scaled ones, of
// which the first lies at Offset (negative: cut off); then the canvas may be mirrored.
type Axis struct {
	N, Scaled, Offset, Canvas int
	Flip                      bool
}

// Point maps a source coordinate onto the canvas.
func (a Axis) Point(x float64) float64 {
	x = x*float64(a.Scaled)/float64(a.N) + float64(a.Offset)
	if a.Flip {
		x = float64(a.Canvas) - x
	}
	return x
}

// Source is the inverse of Point.
func (a Axis) Source(x float64) float64 {
	if a.Flip {
		x = float64(a.Canvas) - x
	}
	return (x - float64(a.Offset)) * float64(a.N) / float64(a.Scaled)
}

// Span returns the canvas pixels [lo, hi) that show the image.
func (a Axis) Span() (lo, hi int) {
	lo = min(max(a.Offset, 0), a.Canvas)
	hi = min(max(a.Offset+a.Scaled, lo), a.Canvas)
	if a.Flip {
		lo, hi = a.Canvas-hi, a.Canvas-lo
	}
	return lo, hi
}

// ScaledAt returns the scaled pixel that canvas pixel c shows.
func (a Axis) ScaledAt(c int) int {
	if a.Flip {
		c = a.Canvas - 1 - c
	}
	return c - a.Offset
}

// Nearest returns the source pixel for every canvas pixel, -1 for padding.
func (a Axis) Nearest() []int {
	at := make([]int, a.Canvas)
	for c := range at {
		at[c] = -1
	}
	lo, hi := a.Span()
	for c := lo; c < hi; c++ {
		at[c] = (2*a.ScaledAt(c) + 1) * a.N / (2 * a.Scaled)
	}
	return at
}

// A Placement says where an image lies on a canvas.
type Placement struct {
	X, Y Axis

	// Zoom is how much larger the view shows the image than evaluation does; 0: 1.
	Zoom float64

	// Visible is the share of an object's box that must remain for the object to remain; 0: none is dropped.
	Visible float64
}

// Content returns the part of the canvas that shows the image.
func (p Placement) Content() image.Rectangle {
	x0, x1 := p.X.Span()
	y0, y1 := p.Y.Span()
	return image.Rect(x0, y0, x1, y1)
}

// Box maps a box onto the canvas, unclipped.
func (p Placement) Box(b Box) Box {
	b = Box{X0: p.X.Point(b.X0), Y0: p.Y.Point(b.Y0), X1: p.X.Point(b.X1), Y1: p.Y.Point(b.Y1)}
	if p.X.Flip {
		b.X0, b.X1 = b.X1, b.X0
	}
	return b
}

// Move returns a sample's labels, moved onto the canvas.
func (p Placement) Move(labels LabelSet) LabelSet {
	var out LabelSet
	for _, l := range labels {
		if l = l.Move(p); l != nil {
			out = append(out, l)
		}
	}
	return out
}

// Place returns a map of the image as one of the canvas: the nearest pixels, and fill where it does not
// show the image.
func Place[T any](g *Grid[T], p Placement, fill T) *Grid[T] {
	return g.Gather(p.X.Nearest(), p.Y.Nearest(), fill)
}

// Gather takes the pixels (xs, ys) of g, fill where an index is -1.
func (g *Grid[T]) Gather(xs, ys []int, fill T) *Grid[T] {
	out := NewGrid[T](len(xs), len(ys))
	for y, sy := range ys {
		dst := out.Pix[y*len(xs):][:len(xs)]
		if sy < 0 {
			for x := range dst {
				dst[x] = fill
			}
			continue
		}
		src := g.Pix[sy*g.W:][:g.W]
		for x, sx := range xs {
			if sx < 0 {
				dst[x] = fill
			} else {
				dst[x] = src[sx]
			}
		}
	}
	return out
}

// Gather samples a mask at the source pixels (xs, ys), -1 for none. Its rectangle is the tight bound of
// what remains, empty where nothing does.
func (m *Mask) Gather(xs, ys []int) *Mask {
	x0, x1 := within(xs, m.Rect.Min.X, m.Rect.Max.X)
	y0, y1 := within(ys, m.Rect.Min.Y, m.Rect.Max.Y)
	stride := m.Rect.Dx()
	var tight image.Rectangle
	for y := y0; y < y1; y++ {
		row := m.Pix[(ys[y]-m.Rect.Min.Y)*stride:][:stride]
		first, last := -1, -1
		for x := x0; x < x1; x++ {
			if row[xs[x]-m.Rect.Min.X] != 0 {
				if first < 0 {
					first = x
				}
				last = x
			}
		}
		if first >= 0 {
			tight = tight.Union(image.Rect(first, y, last+1, y+1))
		}
	}
	out := &Mask{Rect: tight, Pix: make([]uint8, tight.Dx()*tight.Dy())}
	i := 0
	for y := tight.Min.Y; y < tight.Max.Y; y++ {
		row := m.Pix[(ys[y]-m.Rect.Min.Y)*stride:][:stride]
		for x := tight.Min.X; x < tight.Max.X; x++ {
			out.Pix[i] = row[xs[x]-m.Rect.Min.X]
			i++
		}
	}
	return out
}

// within returns the range of canvas pixels whose source lies in [lo, hi); at is monotone apart
// from its padding.
func within(at []int, lo, hi int) (first, end int) {
	for c, s := range at {
		if s >= lo && s < hi && s >= 0 {
			if end == 0 {
				first = c
			}
			end = c + 1
		}
	}
	return first, end
}

// A Frame is where evaluation put an image: scaled to W×H in the top left corner of Size×Size.
type Frame struct {
	Size             int
	Height           int // of a frame that is not Size×Size; 0: Size
	W, H             int
	SourceW, SourceH int // the image before
}

// Canvas returns the size of the frame.
func (f Frame) Canvas() (w, h int) { return f.Size, cmp.Or(f.Height, f.Size) }

// Restore maps a prediction in the network's frame onto the image at w×h (SourceW×SourceH for the
// original). Boxes and masks are in pixels of the frame; maps cover the whole frame at whatever
// resolution they have. Image is left out.
func (f Frame) Restore(pred *Sample, w, h int) *Sample {
	out := &Sample{Key: pred.Key}
	for _, l := range pred.Known {
		if l = l.Restore(f, w, h); l != nil {
			out.Known = append(out.Known, l)
		}
	}
	return out
}

// Nearest returns, for each column and row of the image at w×h, that of a map of the whole frame, gridW×gridH
// values, from which it takes its value.
func (f Frame) Nearest(gridW, gridH, w, h int) (xs, ys []int) {
	canvasW, canvasH := f.Canvas()
	return nearestBack(gridW, canvasW, f.W, w), nearestBack(gridH, canvasH, f.H, h)
}

// Bilinear is the counterpart of Nearest that reads between two neighbours.
func (f Frame) Bilinear(gridW, gridH, w, h int) (xs, ys []Lerp) {
	canvasW, canvasH := f.Canvas()
	return lerps(gridW, canvasW, f.W, w), lerps(gridH, canvasH, f.H, h)
}

// nearestBack returns for each of w target pixels the pixel of a map of n pixels over size frame
// pixels, of which the image fills the first used.
func nearestBack(n, size, used, w int) []int {
	at := make([]int, w)
	for x := range at {
		at[x] = min((2*x+1)*used*n/(2*w*size), n-1)
	}
	return at
}

// A Lerp reads between two neighbours: Lo with weight 1-T, Hi with T; Near is the closer one.
type Lerp struct {
	Lo, Hi, Near int
	T            float32
}

// lerps is the bilinear counterpart of nearestBack. It never reads beyond the last pixel that
// shows the image.
func lerps(n, size, used, w int) []Lerp {
	last := min(max((used*n+size-1)/size, 1), n) - 1
	scale := float64(used) * float64(n) / float64(size) / float64(w)
	at := make([]Lerp, w)
	near := nearestBack(n, size, used, w)
	for x := range at {
		c := min(max((float64(x)+.5)*scale-.5, 0), float64(last))
		lo := int(c)
		at[x] = Lerp{lo, min(lo+1, last), min(near[x], last), float32(c - float64(lo))}
	}
	return at
}
