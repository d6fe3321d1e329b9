package rle

import (
	"fmt"
	"math"
)

// Parse reads the compressed form of COCO: 5 bits of a run length per character from '0' on, the lowest
// first, bit 0x20 for "more to come"; the highest bit of the last is the sign. From the fourth run on
// it is the difference to the run two before.
func Parse[T string | []byte](s T, h, w int) (Mask, error) {
	var counts []uint32
	for i := 0; i < len(s); {
		start := i
		var x int64
		more := true
		for shift := 0; more; shift += 5 {
			if i == len(s) || shift > 30 {
				return Mask{}, fmt.Errorf("rle: the run at byte %d of the string is cut short or too long", start)
			}
			c := int64(s[i]) - '0'
			if c < 0 || c > 0x3f {
				return Mask{}, fmt.Errorf("rle: byte %d of the string is %q, which is no part of a run length", i, s[i])
			}
			x |= c & 0x1f << shift
			more = c&0x20 != 0
			if !more && c&0x10 != 0 {
				x |= -1 << (shift + 5)
			}
			i++
		}
		if n := len(counts); n > 2 {
			x += int64(counts[n-2])
		}
		if x < 0 || x > math.MaxUint32 {
			return Mask{}, fmt.Errorf("rle: the run at byte %d of the string has a length of %d", start, x)
		}
		counts = append(counts, uint32(x))
	}
	return FromCounts(counts, h, w)
}

// String returns the compressed form, which [Parse] reads.
func (m Mask) String() string {
	var s []byte
	for i, count := range m.Counts {
		x := int64(count)
		if i > 2 {
			x -= int64(m.Counts[i-2])
		}
		for more := true; more; {
			c := byte(x & 0x1f)
			x >>= 5
			// The sign bit of the last character must say what is left above it.
			rest := int64(0)
			if c&0x10 != 0 {
				rest = -1
			}
			more = x != rest
			if more {
				c |= 0x20
			}
			s = append(s, c+'0')
		}
	}
	return string(s)
}
