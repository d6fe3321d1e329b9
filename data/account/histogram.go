package account

import "math"

// A Histogram counts numbers by sign, exponent and seven bits of fraction, so that any amount of them
// takes the same memory and a quantile is right to 1 %.
type Histogram []int64

// NewHistogram returns an empty one.
func NewHistogram() Histogram { return make(Histogram, 1<<16) }

// Add counts a number.
func (h Histogram) Add(v float32) {
	b := math.Float32bits(v)
	if b>>31 == 1 { // negative numbers come first, in reverse
		b = ^b
	} else {
		b |= 1 << 31
	}
	h[b>>16]++
}

// Quantile returns the end nearer to 0 of the bin that the q-th part of the numbers reaches, so that small
// whole numbers come out as they are; 0 for no numbers.
func (h Histogram) Quantile(q float64) float64 {
	total := int64(0)
	for _, n := range h {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := min(int64(q*float64(total)), total-1)
	for i, n := range h {
		if rank -= n; rank < 0 {
			b := uint32(i) << 16
			if b>>31 == 1 {
				b &^= 1 << 31
			} else {
				b = ^b &^ 0xffff
			}
			return float64(math.Float32frombits(b))
		}
	}
	return 0
}
