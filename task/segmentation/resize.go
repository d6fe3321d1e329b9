package segmentation

import (
	"math"
	"runtime"
	"sync"

	"must/data"
)

// Logits are those of an image's classes before they are resized, [classes, n, n] over a frame of
// size×size: pixels take their class once it is known how many they are, as the field does, since classes
// of fewer pixels have coarser edges.
type logits struct {
	values           []float32
	classes, n, size int
	least            float32 // probability below which a pixel is ignored
}

// frame returns the prediction of every pixel of the frame.
func (l *logits) frame() *Label {
	return l.restore(data.Frame{Size: l.size, W: l.size, H: l.size}, l.size, l.size)
}

// restore returns the prediction of the image at w×h.
func (l *logits) restore(f data.Frame, w, h int) *Label {
	xs, ys := f.Bilinear(l.n, l.n, w, h)
	out := &Label{}
	out.Map, out.Confidence = likeliest(l.values, l.classes, l.n, xs, ys)
	if l.least > 0 {
		out.ignore(l.least)
	}
	return out
}

// likeliest resizes logits, [classes, n, n], to columns xs and rows ys, and returns the best class of every
// pixel and its probability. It goes row by row: all logits at full size would be the largest array of all.
func likeliest(logits []float32, classes, n int, xs, ys []data.Lerp) (*data.Grid[uint8], *data.Grid[float32]) {
	w, h := len(xs), len(ys)
	best, top := data.NewGrid[uint8](w, h), data.NewGrid[float32](w, h)
	parts := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for part := range parts {
		wg.Go(func() {
			line, all, sum := make([]float32, n), make([]float32, classes*w), make([]float32, w)
			for y := part * h / parts; y < (part+1)*h/parts; y++ {
				class, peak := best.Pix[y*w:][:w], top.Pix[y*w:][:w]
				for c := range classes {
					plane := logits[c*n*n:][:n*n]
					low, high, t := plane[ys[y].Lo*n:][:n], plane[ys[y].Hi*n:][:n], ys[y].T
					for x := range line {
						line[x] = low[x] + t*(high[x]-low[x])
					}
					row := all[c*w:][:w]
					for x, a := range xs {
						v := line[a.Lo]
						v += a.T * (line[a.Hi] - v)
						row[x] = v
						if c == 0 || v > peak[x] {
							peak[x], class[x] = v, uint8(c)
						}
					}
				}
				clear(sum)
				for c := range classes {
					for x, v := range all[c*w:][:w] {
						sum[x] += exp(v - peak[x])
					}
				}
				for x := range peak {
					peak[x] = 1 / sum[x]
				}
			}
		})
	}
	wg.Wait()
	return best, top
}

// exp is e to the power of a number that is not positive, to a few units in the last place; what is
// below e⁻³⁰ is 0.
func exp(v float32) float32 {
	if !(v > -30) {
		if v != v {
			return v
		}
		return 0
	}
	const log2e, ln2 = 1.44269504088896341, 0.693147180559945309
	k := float32(int32(v*log2e - 0.5)) // nearest, since v is not positive
	r := float32(float64(v) - float64(k)*ln2)
	p := 1 + r*(1+r*(1./2+r*(1./6+r*(1./24+r*(1./120+r*(1./720))))))
	return p * math.Float32frombits(uint32(int32(k)+127)<<23)
}
