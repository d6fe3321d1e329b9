package augment

import (
	"encoding/binary"
	"image"
	"math"

	"must/data"
)

// weightBits is the fixed-point precision of Pillow's resampler for 8-bit channels.
const weightBits = 22

// taps are the weighted source pixels of one target pixel.
type taps struct {
	first   int
	weights []uint64
}

// tapsOf returns the taps of the canvas pixels that show the image: a triangle filter, widened when the
// image shrinks so that every source pixel counts. It is Pillow's BILINEAR (Resample.c).
func tapsOf(a data.Axis) []taps {
	lo, hi := a.Span()
	scale := float64(a.N) / float64(a.Scaled)
	support := max(scale, 1)
	out := make([]taps, hi-lo)
	width := int(math.Ceil(support))*2 + 1
	pool := make([]uint64, 0, width*len(out))
	k := make([]float64, width)
	for i := range out {
		centre := (float64(a.ScaledAt(lo+i)) + .5) * scale
		first := max(0, int(centre-support+.5))
		end := min(a.N, int(centre+support+.5))
		var sum float64
		for j := first; j < end; j++ {
			w := max(0, 1-math.Abs((float64(j)-centre+.5)/support))
			k[j-first] = w
			sum += w
		}
		start := len(pool)
		for j := range end - first {
			pool = append(pool, uint64(.5+k[j]/sum*(1<<weightBits)))
		}
		out[i] = taps{first, pool[start:len(pool):len(pool)]}
	}
	return out
}

// Two channels of a pixel travel in one word, 32 bits each, so that one multiplication weighs both.
const (
	evenMask = 0x000000ff_000000ff
	half     = 1<<(weightBits-1) | 1<<(weightBits-1+32)
)

// weigh returns Σ weights·pixels of the pixels at pix, step bytes apart, rounded.
func weigh(pix []uint8, step int, weights []uint64) uint32 {
	even, odd := uint64(half), uint64(half) // red and blue, green and alpha
	at := 0
	for _, w := range weights {
		p := uint64(binary.LittleEndian.Uint32(pix[at:]))
		p |= p << 16 // bytes 0 and 2, and 1 and 3, now lie 32 bits apart
		even += (p & evenMask) * w
		odd += (p >> 8 & evenMask) * w
		at += step
	}
	even = even >> weightBits & evenMask
	odd = odd >> weightBits & evenMask
	return uint32(even) | uint32(even>>16) | uint32(odd)<<8 | uint32(odd>>8)&0xff000000
}

// resample draws src onto a canvas as p says, Fill around it.
func resample(src *image.RGBA, p data.Placement) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, p.X.Canvas, p.Y.Canvas))
	content := p.Content()
	if content != dst.Rect {
		fill(dst)
	}
	if content.Empty() {
		return dst
	}

	filter(dst, content.Min, src, tapsOf(p.X), tapsOf(p.Y))
	return dst
}

// filter writes the separable filter of xt columns and yt rows over src into dst at a point.
func filter(dst *image.RGBA, at image.Point, src *image.RGBA, xt, yt []taps) {
	// Rows first, those only that some target row needs; then columns.
	top, bottom := src.Rect.Dy(), 0
	for _, t := range yt {
		top, bottom = min(top, t.first), max(bottom, t.first+len(t.weights))
	}
	stride := 4 * len(xt)
	rows := make([]uint8, stride*(bottom-top))
	for y := top; y < bottom; y++ {
		in := src.Pix[src.PixOffset(src.Rect.Min.X, src.Rect.Min.Y+y):][:4*src.Rect.Dx()]
		out := rows[(y-top)*stride:][:stride]
		for x, t := range xt {
			binary.LittleEndian.PutUint32(out[4*x:], weigh(in[4*t.first:], 4, t.weights))
		}
	}
	for y, t := range yt {
		in := rows[(t.first-top)*stride:]
		out := dst.Pix[dst.PixOffset(at.X, at.Y+y):][:stride]
		for x := 0; x < stride; x += 4 {
			binary.LittleEndian.PutUint32(out[x:], weigh(in[x:], stride, t.weights))
		}
	}
}

// fill paints the whole image with Fill.
func fill(img *image.RGBA) {
	if len(img.Pix) == 0 {
		return
	}
	copy(img.Pix, []uint8{Fill[0], Fill[1], Fill[2], 255})
	for n := 4; n < len(img.Pix); n *= 2 {
		copy(img.Pix[n:], img.Pix[:n])
	}
}
