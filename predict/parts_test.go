package predict

import (
	"slices"
	"testing"
)

// Large images go one by one, small ones together, and none is lost.
func TestParts(t *testing.T) {
	for _, c := range []struct {
		n, side int
		want    []int
	}{{3, 512, []int{1, 1, 1}}, {3, 700, []int{1, 1, 1}}, {5, 256, []int{4, 1}}, {70, 64, []int{64, 6}}, {0, 64, nil}} {
		images := Images{make([]uint8, 3*c.n*c.side*c.side), c.n, c.side, c.side}
		for i := range c.n {
			images.Pix[3*i*c.side*c.side] = uint8(i + 1)
		}
		var got []int
		next := 0
		for from, part := range images.Parts() {
			if from != next || len(part.Pix) != 3*part.N*c.side*c.side || int(part.Pix[0]) != from+1 {
				t.Errorf("%d of %d px: a part of %d from %d", c.n, c.side, part.N, from)
			}
			next += part.N
			got = append(got, part.N)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d of %d px: parts of %v, want %v", c.n, c.side, got, c.want)
		}
	}
}
