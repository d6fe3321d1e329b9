// Package rle holds binary masks as COCO does: run lengths down the columns. Every result is bit for
// bit that of pycocotools (its mask API), from which the format comes.
package rle

import (
	"fmt"
	"image"
	"iter"

	"must/data"
)

// MaxPixels is the largest size of a mask, H·W, that this package takes from a file: room for an
// image of 20,000 × 20,000, and a bound on what a small hostile file can make us allocate.
const MaxPixels = 1 << 29

// A Mask is a binary mask of H×W pixels. Counts are the lengths of runs of 0 and 1 in turn, column by
// column from the top; the first, of zeros, may have length 0, no other has. They sum to H·W.
//
// The zero Mask is an empty mask of an empty image.
type Mask struct {
	H, W   int
	Counts []uint32
}

// FromCounts returns the mask of the given run lengths and takes ownership of them: COCO's
// uncompressed form. Pixels past the last run are 0.
func FromCounts(counts []uint32, h, w int) (Mask, error) {
	if err := checkSize(h, w); err != nil {
		return Mask{}, err
	}
	var sum uint64
	for _, c := range counts {
		sum += uint64(c)
	}
	size := uint64(h) * uint64(w)
	if sum > size {
		return Mask{}, fmt.Errorf("rle: runs of %d pixels in a mask of %d×%d", sum, h, w)
	}
	if rest := uint32(size - sum); rest > 0 || len(counts) == 0 {
		if len(counts)%2 == 1 {
			counts[len(counts)-1] += rest
		} else {
			counts = append(counts, rest)
		}
	}
	return Mask{h, w, canonical(counts)}, nil
}

func checkSize(h, w int) error {
	if h < 0 || w < 0 || h > MaxPixels || w > MaxPixels || h*w > MaxPixels {
		return fmt.Errorf("rle: a mask of %d×%d pixels is out of range", h, w)
	}
	return nil
}

// canonical joins, in place, the neighbours of runs of length 0 other than the first.
func canonical(counts []uint32) []uint32 {
	out := counts[:1]
	for i := 1; i < len(counts); i++ {
		if counts[i] > 0 {
			out = append(out, counts[i])
		} else if i++; i < len(counts) {
			out[len(out)-1] += counts[i]
		}
	}
	return out
}

// Encode returns the mask of the pixels of g that are not 0.
func Encode(g *data.Grid[uint8]) Mask {
	return FromMask(&data.Mask{Rect: image.Rect(0, 0, g.W, g.H), Pix: g.Pix}, g.H, g.W)
}

// FromMask returns m as a mask of an h×w image. What lies outside the image is lost.
func FromMask(m *data.Mask, h, w int) Mask {
	r := m.Rect.Intersect(image.Rect(0, 0, w, h))
	var toggles []uint32
	end := -1 // of the run before
	for x := r.Min.X; x < r.Max.X; x++ {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			if m.Pix[(y-m.Rect.Min.Y)*m.Rect.Dx()+x-m.Rect.Min.X] == 0 {
				continue
			}
			at := x*h + y
			if at == end {
				toggles[len(toggles)-1]++
			} else {
				toggles = append(toggles, uint32(at), uint32(at+1))
			}
			end = at + 1
		}
	}
	return fromToggles(toggles, h, w)
}

// fromToggles returns the mask whose pixels change value at the given ascending positions.
func fromToggles(toggles []uint32, h, w int) Mask {
	counts := append(toggles, uint32(h*w))
	last := uint32(0)
	for i, at := range counts {
		counts[i] = at - last
		last = at
	}
	return Mask{h, w, canonical(counts)}
}

// Decode returns the pixels as a map of 0 and 1.
func (m Mask) Decode() *data.Grid[uint8] {
	g := data.NewGrid[uint8](m.W, m.H)
	m.paint(g.Pix, image.Rect(0, 0, m.W, m.H))
	return g
}

// Mask returns the mask cut to its bounds.
func (m Mask) Mask() *data.Mask {
	r := m.Bounds()
	out := &data.Mask{Rect: r, Pix: make([]uint8, r.Dx()*r.Dy())}
	m.paint(out.Pix, r)
	return out
}

// paint sets the pixels of the mask, none of which may lie outside r, in a row-major picture of r.
func (m Mask) paint(pix []uint8, r image.Rectangle) {
	for start, end := range m.ones {
		for at := start; at < end; at++ {
			pix[(at%m.H-r.Min.Y)*r.Dx()+at/m.H-r.Min.X] = 1
		}
	}
}

// ones yields the runs of 1 as half-open intervals of column-major positions.
func (m Mask) ones(yield func(start, end int) bool) {
	at := 0
	for i, c := range m.Counts {
		if i%2 == 1 && !yield(at, at+int(c)) {
			return
		}
		at += int(c)
	}
}

// Area returns the number of pixels set.
func (m Mask) Area() int {
	n := 0
	for i := 1; i < len(m.Counts); i += 2 {
		n += int(m.Counts[i])
	}
	return n
}

// Bounds returns the smallest rectangle around the pixels set; the empty one at (0, 0) if none is.
func (m Mask) Bounds() image.Rectangle {
	if len(m.Counts) < 2 {
		return image.Rectangle{}
	}
	r := image.Rectangle{Min: image.Pt(m.W, m.H)}
	for start, end := range m.ones {
		x0, x1 := start/m.H, (end-1)/m.H
		y0, y1 := start%m.H, (end-1)%m.H
		if x0 != x1 { // the run passes the foot of a column and the head of the next
			y0, y1 = 0, m.H-1
		}
		r.Min.X, r.Max.X = min(r.Min.X, x0), max(r.Max.X, x1+1)
		r.Min.Y, r.Max.Y = min(r.Min.Y, y0), max(r.Max.Y, y1+1)
	}
	return r
}

// Union returns the pixels set in any of the masks, which must agree in size.
func Union(masks ...Mask) (Mask, error) {
	if len(masks) == 0 {
		return Mask{}, nil
	}
	out := masks[0]
	for _, m := range masks[1:] {
		if m.H != out.H || m.W != out.W {
			return Mask{}, fmt.Errorf("rle: masks of %d×%d and %d×%d pixels cannot be merged", out.H, out.W, m.H, m.W)
		}
		counts, last := []uint32{0}, false
		for n, in := range stretches(out, m) {
			if (in != 0) != last {
				counts, last = append(counts, 0), !last
			}
			counts[len(counts)-1] += n
		}
		out.Counts = counts
	}
	return out, nil
}

// Overlap returns the number of pixels set in both masks, which must agree in size.
func Overlap(a, b Mask) int {
	total := 0
	for n, in := range stretches(a, b) {
		if in == inA|inB {
			total += int(n)
		}
	}
	return total
}

// IoU returns the intersection over union of a detection with a true mask; over the area of the
// detection alone if the truth is a crowd. It is 0 for two empty masks and -1 for masks that differ in
// size and overlap in bounds, as in pycocotools.
func IoU(det, truth Mask, crowd bool) float64 {
	if !det.Bounds().Overlaps(truth.Bounds()) {
		return 0
	}
	if det.H != truth.H || det.W != truth.W {
		return -1
	}
	both := Overlap(det, truth)
	union := det.Area()
	if !crowd {
		union += truth.Area() - both
	}
	return float64(both) / float64(union)
}

// Where a stretch of pixels lies.
const (
	inA = 1 << iota
	inB
)

// stretches yields the lengths of the stretches over which neither mask changes, and which of the
// masks they lie in.
func stretches(a, b Mask) iter.Seq2[uint32, int] {
	return func(yield func(uint32, int) bool) {
		i, j := 0, 0            // the runs we are in
		var doneA, doneB uint32 // pixels of them behind us
		for i < len(a.Counts) && j < len(b.Counts) {
			n := min(a.Counts[i]-doneA, b.Counts[j]-doneB)
			if n > 0 && !yield(n, i%2*inA+j%2*inB) {
				return
			}
			if doneA += n; doneA == a.Counts[i] {
				i, doneA = i+1, 0
			}
			if doneB += n; doneB == b.Counts[j] {
				j, doneB = j+1, 0
			}
		}
	}
}
