package augment

import (
	"cmp"
	"image"
	"math"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// A Frame is where Eval put an image: scaled to W×H in the top left corner of Size×Size.
type Frame struct {
	Size             int
	Height           int // of a frame that is not Size×Size; 0: Size
	W, H             int
	SourceW, SourceH int // the image before
}

func (f Frame) height() int { return cmp.Or(f.Height, f.Size) }

// Letterbox brings an image to w×h as Eval does: scaled to fit, in the top left corner, Fill around it.
func Letterbox(img *image.RGBA, w, h int) (*image.RGBA, Frame) {
	size := img.Rect.Size()
	long := max(size.X, size.Y)
	scaledW, scaledH := fit(size.X, size.Y, min(float64(w*long)/float64(size.X), float64(h*long)/float64(size.Y)))
	return frame(img, w, h, min(scaledW, w), min(scaledH, h))
}

// Stretch brings an image to w×h, whatever its shape.
func Stretch(img *image.RGBA, w, h int) (*image.RGBA, Frame) { return frame(img, w, h, w, h) }

func frame(img *image.RGBA, canvasW, canvasH, w, h int) (*image.RGBA, Frame) {
	size := img.Rect.Size()
	v := view{x: axis{n: size.X, scaled: w, canvas: canvasW}, y: axis{n: size.Y, scaled: h, canvas: canvasH}}
	f := Frame{Size: canvasW, W: w, H: h, SourceW: size.X, SourceH: size.Y}
	if canvasH != canvasW {
		f.Height = canvasH
	}
	return resample(img, v), f
}

// Restore maps a prediction in the network's frame onto the image at w×h (SourceW×SourceH for the
// original). Boxes and masks are in pixels of the frame; maps cover the whole frame at whatever
// resolution they have. Semantic and Confidence take the nearest value; Depth and Normals are
// interpolated bilinearly between valid values, normals renormalised, and are invalid where the
// nearest value is. Objects in the padding alone are left out, as is Image; Class is untouched.
func (f Frame) Restore(pred *data.Sample, w, h int) *data.Sample {
	out := &data.Sample{Key: pred.Key, Known: data.Know(classification.New(classification.Of(pred)))}
	segmentation.Set(out, restoreNearest(f, segmentation.Of(pred), w, h))
	segmentation.SetConfidence(out, restoreNearest(f, segmentation.Confidence(pred), w, h))
	depth.Set(out, restoreDepth(f, depth.Of(pred), w, h))
	normals.Set(out, restoreNormals(f, normals.Of(pred), w, h))
	if detection.Of(pred) == nil {
		return out
	}

	detection.Set(out, make([]data.Object, 0, len(detection.Of(pred))))
	kx, ky := float64(w)/float64(f.W), float64(h)/float64(f.H)
	xs, ys := nearestBack(f.Size, f.Size, f.W, w), nearestBack(f.height(), f.height(), f.H, h)
	for _, o := range detection.Of(pred) {
		b := o.Box
		o.Box = data.Box{X0: b.X0 * kx, Y0: b.Y0 * ky, X1: b.X1 * kx, Y1: b.Y1 * ky}.Clip(w, h)
		if !(o.Box.Area() > 0) {
			continue
		}
		o.Area *= kx * ky
		if o.Mask != nil {
			o.Mask = moveMask(o.Mask, xs, ys)
		}
		detection.Set(out, append(detection.Of(out), o))
	}
	return out
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

func restoreNearest[T any](f Frame, g *data.Grid[T], w, h int) *data.Grid[T] {
	if g == nil {
		return nil
	}
	var zero T
	return gather(g, nearestBack(g.W, f.Size, f.W, w), nearestBack(g.H, f.height(), f.H, h), zero)
}

// A lerp reads between two neighbours: lo with weight 1-t, hi with t; near is the closer one.
type lerp struct {
	lo, hi, near int
	t            float32
}

// lerps is the bilinear counterpart of nearestBack. It never reads beyond the last pixel that
// shows the image.
func lerps(n, size, used, w int) []lerp {
	last := min(max((used*n+size-1)/size, 1), n) - 1
	scale := float64(used) * float64(n) / float64(size) / float64(w)
	at := make([]lerp, w)
	near := nearestBack(n, size, used, w)
	for x := range at {
		c := min(max((float64(x)+.5)*scale-.5, 0), float64(last))
		lo := int(c)
		at[x] = lerp{lo, min(lo+1, last), min(near[x], last), float32(c - float64(lo))}
	}
	return at
}

func restoreDepth(f Frame, g *data.Grid[float32], w, h int) *data.Grid[float32] {
	if g == nil {
		return nil
	}
	out := data.NewGrid[float32](w, h)
	xs := lerps(g.W, f.Size, f.W, w)
	for y, ly := range lerps(g.H, f.height(), f.H, h) {
		for x, lx := range xs {
			near := g.At(lx.near, ly.near)
			if near != near {
				out.Set(x, y, near)
				continue
			}
			var sum, weight float32
			add := func(v, w float32) {
				if v == v {
					sum += w * v
					weight += w
				}
			}
			add(g.At(lx.lo, ly.lo), (1-lx.t)*(1-ly.t))
			add(g.At(lx.hi, ly.lo), lx.t*(1-ly.t))
			add(g.At(lx.lo, ly.hi), (1-lx.t)*ly.t)
			add(g.At(lx.hi, ly.hi), lx.t*ly.t)
			out.Set(x, y, sum/weight)
		}
	}
	return out
}

func restoreNormals(f Frame, g *data.Grid[[3]float32], w, h int) *data.Grid[[3]float32] {
	if g == nil {
		return nil
	}
	out := data.NewGrid[[3]float32](w, h)
	xs := lerps(g.W, f.Size, f.W, w)
	for y, ly := range lerps(g.H, f.height(), f.H, h) {
		for x, lx := range xs {
			near := g.At(lx.near, ly.near)
			if near == ([3]float32{}) {
				continue
			}
			// An invalid normal is zero, so that it adds nothing.
			a, b, c, d := g.At(lx.lo, ly.lo), g.At(lx.hi, ly.lo), g.At(lx.lo, ly.hi), g.At(lx.hi, ly.hi)
			var v [3]float32
			for i := range v {
				v[i] = (a[i]*(1-lx.t)+b[i]*lx.t)*(1-ly.t) + (c[i]*(1-lx.t)+d[i]*lx.t)*ly.t
			}
			out.Set(x, y, unit(v, near))
		}
	}
	return out
}

// unit returns v at length 1, or otherwise where v has hardly any.
func unit(v, otherwise [3]float32) [3]float32 {
	n := float32(math.Sqrt(float64(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])))
	if n < 1e-6 {
		return otherwise
	}
	return [3]float32{v[0] / n, v[1] / n, v[2] / n}
}
