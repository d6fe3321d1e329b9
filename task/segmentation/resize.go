package segmentation

import (
	"math"
	"runtime"
	"sync"

	"must/data"
)

// A tap reads between two neighbours: low with weight 1-t, high with t.
type tap struct {
	low, high int
	t         float32
}

// taps are those of a line of n values resized to size as [torch.Tensor.Bilinear] does.
func taps(n, size int) []tap {
	at := make([]tap, size)
	scale := float64(n) / float64(size)
	for i := range at {
		v := max((float64(i)+.5)*scale-.5, 0)
		low := min(int(v), n-1)
		at[i] = tap{low, min(low+1, n-1), float32(v - float64(low))}
	}
	return at
}

// likeliest resizes logits, [classes, n, n], and returns the best class of every pixel of size×size and
// its probability. It goes row by row: all logits at full size would be the largest array of all.
func likeliest(logits []float32, classes, n, size int) (*data.Grid[uint8], *data.Grid[float32]) {
	best, top := data.NewGrid[uint8](size, size), data.NewGrid[float32](size, size)
	at := taps(n, size)
	parts := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for part := range parts {
		wg.Go(func() {
			line, all, sum := make([]float32, n), make([]float32, classes*size), make([]float32, size)
			for y := part * size / parts; y < (part+1)*size/parts; y++ {
				class, peak := best.Pix[y*size:][:size], top.Pix[y*size:][:size]
				for c := range classes {
					plane := logits[c*n*n:][:n*n]
					low, high, t := plane[at[y].low*n:][:n], plane[at[y].high*n:][:n], at[y].t
					for x := range line {
						line[x] = low[x] + t*(high[x]-low[x])
					}
					row := all[c*size:][:size]
					for x, a := range at {
						v := line[a.low]
						v += a.t * (line[a.high] - v)
						row[x] = v
						if c == 0 || v > peak[x] {
							peak[x], class[x] = v, uint8(c)
						}
					}
				}
				clear(sum)
				for c := range classes {
					for x, v := range all[c*size:][:size] {
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
