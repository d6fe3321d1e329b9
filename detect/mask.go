package detect

import (
	"image"

	"must/data"
)

// MaskTargets returns what the mask head learns from: for every positive RoI whose object has a
// mask its row in t and a size×size target with values of 0 to 1, [len(rows), size, size]. objects are those
// of each image of the batch, whose images all are w×h.
func (t *RoITargets) MaskTargets(objects [][]data.Object, w, h, size int) (rows []int64, targets []float32) {
	for i := range t.Positive {
		mask := objects[t.Image[i]][t.Object[i]].Mask
		if mask == nil {
			continue
		}
		rows = append(rows, int64(i))
		targets = append(targets, cropMask(mask, t.Box[i], w, h, size)...)
	}
	return rows, targets
}

// cropMask samples the mask inside the box on a size×size grid as RoIAlign of a w×h image does
// with spatial scale 1, adaptive sampling ratio and aligned false
// (torchvision project_masks_on_boxes). Bilinear sampling of a grid of points and
// averaging is separable: rows and columns are summed one after the other.
func cropMask(m *data.Mask, b Box, w, h, size int) []float32 {
	columns := sampleAxis(b[0], b[2], w, size, 0)
	rows := sampleAxis(b[1], b[3], h, size, 0)
	target := make([]float32, size*size)
	line := make([]float32, size) // one row of the mask, sampled at the columns
	ready := int32(-1)            // the row that line holds
	for i, row := range rows {
		for k, y := range row.index {
			if int(y) < m.Rect.Min.Y || int(y) >= m.Rect.Max.Y {
				continue
			}
			if y != ready {
				sampleLine(line, m, int(y), columns)
				ready = y
			}
			for j, v := range line {
				target[i*size+j] += float32(row.weight[k] * v)
			}
		}
	}
	return target
}

// sampleLine sets each value of line to the weighted sum of row y of the mask.
func sampleLine(line []float32, m *data.Mask, y int, columns []taps) {
	pix := m.Pix[(y-m.Rect.Min.Y)*m.Rect.Dx():][:m.Rect.Dx()]
	for j, c := range columns {
		var sum float32
		for k, x := range c.index {
			if x := int(x) - m.Rect.Min.X; x >= 0 && x < len(pix) && pix[x] != 0 {
				sum += c.weight[k]
			}
		}
		line[j] = sum
	}
}

// PasteMask puts a size×size map of mask probabilities, predicted for a box, into a w×h image and
// returns the pixels with more than 0.5. As torchvision's paste_masks_in_image it frames the map with a pixel
// of zeros, grows the box alike, rounds it to whole pixels and interpolates bilinearly.
func PasteMask(probs []float32, size int, b Box, w, h int) *data.Mask {
	rect, values := pasteProbs(probs, size, b, w, h)
	m := &data.Mask{Rect: rect, Pix: make([]uint8, len(values))}
	for i, v := range values {
		if v > 0.5 {
			m.Pix[i] = 1
		}
	}
	return m
}

// pasteProbs returns the part of the image that the grown box covers, and its probabilities.
func pasteProbs(probs []float32, size int, b Box, w, h int) (image.Rectangle, []float32) {
	grow := float32(float64(size+2) / float64(size))
	halfW, halfH := float32((b[2]-b[0])*0.5*grow), float32((b[3]-b[1])*0.5*grow)
	x, y := (b[2]+b[0])*0.5, (b[3]+b[1])*0.5
	// The bounds keep the conversion defined for boxes far outside.
	whole := func(v float32) int { return int(min(max(v, -1<<24), 1<<24)) }
	x0, y0, x1, y1 := whole(x-halfW), whole(y-halfH), whole(x+halfW)+1, whole(y+halfH)+1
	full := image.Rect(x0, y0, max(x1, x0+1), max(y1, y0+1))
	rect := full.Intersect(image.Rect(0, 0, w, h))

	columns := resizeAxis(size+2, full.Dx(), rect.Min.X-full.Min.X, rect.Dx())
	rows := resizeAxis(size+2, full.Dy(), rect.Min.Y-full.Min.Y, rect.Dy())
	framed := make([]float32, (size+2)*(size+2))
	for i := range size {
		copy(framed[(i+1)*(size+2)+1:], probs[i*size:(i+1)*size])
	}
	values := make([]float32, 0, rect.Dx()*rect.Dy())
	for _, r := range rows {
		upper, lower := framed[r.low*(size+2):], framed[r.high*(size+2):]
		for _, c := range columns {
			top := upper[c.low]*(1-c.part) + upper[c.high]*c.part
			bottom := lower[c.low]*(1-c.part) + lower[c.high]*c.part
			values = append(values, top*(1-r.part)+bottom*r.part)
		}
	}
	return rect, values
}

// A lerp reads between two source pixels: part of high, the rest of low.
type lerp struct {
	low, high int
	part      float32
}

// resizeAxis returns where the count output pixels from first on read their values when from
// pixels are resized to to (bilinear, align_corners false).
func resizeAxis(from, to, first, count int) []lerp {
	scale := float32(from) / float32(to)
	at := make([]lerp, count)
	for i := range at {
		v := max(scale*(float32(first+i)+0.5)-0.5, 0)
		low := min(int(v), from-1)
		at[i] = lerp{low, min(low+1, from-1), v - float32(low)}
	}
	return at
}
