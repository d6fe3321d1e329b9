// Package detect holds the parts of a two-stage detector that depend on few boxes or on labels
// only: anchors, box coding, matching, sampling, suppression, the choice of training RoIs, mask
// targets and pasting. They run in plain Go, also on background goroutines; what is dense
// ([RoIAlign]) runs in libtorch.
//
// The reference is torchvision's Mask R-CNN (models/detection, ops) with its defaults. Arithmetic
// is float32 in its order of operations wherever a comparison depends on it; the explicit float32
// conversions keep compilers from fusing multiply and add, so that every machine decides alike.
package detect

import (
	"math"
	"unsafe"

	"must/data"
)

// A Box is x0, y0, x1, y1 in pixels of the network's input image.
type Box [4]float32

// A Delta is a box regression target or output: dx, dy, dw, dh.
type Delta [4]float32

// BoxOf converts a box of a sample.
func BoxOf(b data.Box) Box {
	return Box{float32(b.X0), float32(b.Y0), float32(b.X1), float32(b.Y1)}
}

// Data converts b into a box of a sample.
func (b Box) Data() data.Box {
	return data.Box{X0: float64(b[0]), Y0: float64(b[1]), X1: float64(b[2]), Y1: float64(b[3])}
}

// Area returns the area in px²; it is negative for a box inverted on one axis.
func (b Box) Area() float32 { return float32((b[2] - b[0]) * (b[3] - b[1])) }

// Clip returns the part of b inside a w×h image.
func (b Box) Clip(w, h int) Box {
	fw, fh := float32(w), float32(h)
	return Box{min(max(b[0], 0), fw), min(max(b[1], 0), fh), min(max(b[2], 0), fw), min(max(b[3], 0), fh)}
}

// Large reports whether both sides are at least the given length; it is false for NaN.
func (b Box) Large(side float32) bool { return b[2]-b[0] >= side && b[3]-b[1] >= side }

// intersection returns the area common to a and b.
func intersection(a, b *Box) float32 {
	w := min(a[2], b[2]) - max(a[0], b[0])
	if !(w > 0) {
		return 0
	}
	h := min(a[3], b[3]) - max(a[1], b[1])
	if !(h > 0) {
		return 0
	}
	return float32(w * h)
}

// IoU returns the intersection of a and b over their union, 0 where they do not meet
// (torchvision.ops.box_iou).
func IoU(a, b Box) float32 {
	inter := intersection(&a, &b)
	if inter == 0 {
		return 0
	}
	return inter / (a.Area() + b.Area() - inter)
}

// Flat views boxes or deltas as one row of numbers, [n, 4], without copying.
func Flat[T ~[4]float32](rows []T) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(rows))), 4*len(rows))
}

// Boxes views [n, 4] numbers as boxes without copying; a remainder is left off.
func Boxes(flat []float32) []Box { return quads[Box](flat) }

func quads[T ~[4]float32](flat []float32) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(flat))), len(flat)/4)
}

// MaxLogScale keeps exp(dw) finite: a box grows to at most 1000/16 of its reference.
var MaxLogScale = float32(math.Log(1000. / 16))

// A Coder turns boxes into regression targets relative to reference boxes and back; its values
// weight the four targets (torchvision BoxCoder).
type Coder [4]float32

// The coders of the two stages.
var (
	RPNCoder = Coder{1, 1, 1, 1}
	RoICoder = Coder{10, 10, 5, 5}
)

// Encode returns the delta that moves reference onto box. Both need positive sides.
func (c Coder) Encode(box, reference Box) Delta {
	w, h := reference[2]-reference[0], reference[3]-reference[1]
	x, y := reference[0]+float32(0.5*w), reference[1]+float32(0.5*h)
	bw, bh := box[2]-box[0], box[3]-box[1]
	bx, by := box[0]+float32(0.5*bw), box[1]+float32(0.5*bh)
	return Delta{
		c[0] * (bx - x) / w,
		c[1] * (by - y) / h,
		c[2] * float32(math.Log(float64(bw/w))),
		c[3] * float32(math.Log(float64(bh/h))),
	}
}

// Decode moves reference by d.
func (c Coder) Decode(d Delta, reference Box) Box {
	w, h := reference[2]-reference[0], reference[3]-reference[1]
	x, y := reference[0]+float32(0.5*w), reference[1]+float32(0.5*h)
	x, y = float32(d[0]/c[0]*w)+x, float32(d[1]/c[1]*h)+y
	halfW := 0.5 * float32(exp(min(d[2]/c[2], MaxLogScale))*w)
	halfH := 0.5 * float32(exp(min(d[3]/c[3], MaxLogScale))*h)
	return Box{x - halfW, y - halfH, x + halfW, y + halfH}
}

func exp(v float32) float32 { return float32(math.Exp(float64(v))) }
