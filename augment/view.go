package augment

import (
	"image"
	"math"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/normals"
	"must/task/segmentation"
)

// An axis maps one dimension of an image onto a canvas: n source pixels are scaled to scaled ones,
// of which the first lies at offset (negative: cut off); then the canvas may be mirrored.
type axis struct {
	n, scaled, offset, canvas int
	flip                      bool
}

// point maps a source coordinate onto the canvas.
func (a axis) point(x float64) float64 {
	x = x*float64(a.scaled)/float64(a.n) + float64(a.offset)
	if a.flip {
		x = float64(a.canvas) - x
	}
	return x
}

// span returns the canvas pixels [lo, hi) that show the image.
func (a axis) span() (lo, hi int) {
	lo = min(max(a.offset, 0), a.canvas)
	hi = min(max(a.offset+a.scaled, lo), a.canvas)
	if a.flip {
		lo, hi = a.canvas-hi, a.canvas-lo
	}
	return lo, hi
}

// scaledAt returns the scaled pixel that canvas pixel c shows.
func (a axis) scaledAt(c int) int {
	if a.flip {
		c = a.canvas - 1 - c
	}
	return c - a.offset
}

// nearest returns the source pixel for every canvas pixel, -1 for padding.
func (a axis) nearest() []int {
	at := make([]int, a.canvas)
	for c := range at {
		at[c] = -1
	}
	lo, hi := a.span()
	for c := lo; c < hi; c++ {
		at[c] = (2*a.scaledAt(c) + 1) * a.n / (2 * a.scaled)
	}
	return at
}

// A view maps an image onto a canvas.
type view struct{ x, y axis }

// content returns the part of the canvas that shows the image.
func (v view) content() image.Rectangle {
	x0, x1 := v.x.span()
	y0, y1 := v.y.span()
	return image.Rect(x0, y0, x1, y1)
}

// move returns s without its objects, moved onto the canvas.
func (v view) move(s *data.Sample) *data.Sample {
	out := &data.Sample{Key: s.Key, Known: data.Know(classification.New(classification.Of(s))), Image: resample(s.Image, v)}
	if segmentation.Of(s) == nil && segmentation.Confidence(s) == nil && depth.Of(s) == nil && normals.Of(s) == nil {
		return out
	}
	xs, ys := v.x.nearest(), v.y.nearest()
	segmentation.Set(out, gather(segmentation.Of(s), xs, ys, data.Ignore))
	segmentation.SetConfidence(out, gather(segmentation.Confidence(s), xs, ys, 0))
	depth.Set(out, gather(depth.Of(s), xs, ys, float32(math.NaN())))
	normals.Set(out, gather(normals.Of(s), xs, ys, [3]float32{}))
	if normals.Of(out) != nil && v.x.flip {
		for i := range normals.Of(out).Pix {
			// 0 - x, not -x: an invalid normal stays zero without a sign.
			normals.Of(out).Pix[i][0] = 0 - normals.Of(out).Pix[i][0]
		}
	}
	return out
}

// gather takes the pixels (xs, ys) of g, fill where an index is -1; nil for nil.
func gather[T any](g *data.Grid[T], xs, ys []int, fill T) *data.Grid[T] {
	if g == nil {
		return nil
	}
	out := data.NewGrid[T](len(xs), len(ys))
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

// box maps a box onto the canvas, unclipped.
func (v view) box(b data.Box) data.Box {
	b = data.Box{X0: v.x.point(b.X0), Y0: v.y.point(b.Y0), X1: v.x.point(b.X1), Y1: v.y.point(b.Y1)}
	if v.x.flip {
		b.X0, b.X1 = b.X1, b.X0
	}
	return b
}

// objects maps all objects onto the canvas: boxes clipped to the image and to the canvas, masks,
// areas. None is dropped; nil stays nil.
func (v view) objects(objects []data.Object) []data.Object {
	if objects == nil {
		return nil
	}
	out := make([]data.Object, len(objects))
	var xs, ys []int
	scale := float64(v.x.scaled) / float64(v.x.n) * float64(v.y.scaled) / float64(v.y.n)
	for i, o := range objects {
		o.Box = v.box(o.Box.Clip(v.x.n, v.y.n)).Clip(v.x.canvas, v.y.canvas)
		o.Area *= scale
		if o.Mask != nil {
			if xs == nil {
				xs, ys = v.x.nearest(), v.y.nearest()
			}
			o.Mask = moveMask(o.Mask, xs, ys)
		}
		out[i] = o
	}
	return out
}

// moveMask samples a mask at the source pixels (xs, ys). Its rectangle is the tight bound of what
// remains, empty where nothing does.
func moveMask(m *data.Mask, xs, ys []int) *data.Mask {
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
	out := &data.Mask{Rect: tight, Pix: make([]uint8, tight.Dx()*tight.Dy())}
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
