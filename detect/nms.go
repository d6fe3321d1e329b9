package detect

import (
	"math"
	"slices"
)

// NMS returns the indices of the boxes that survive greedy non-maximum suppression, best score
// first, equal scores by index, at most top of them. A box goes when its IoU with a better one
// that stays, of the same group, is greater than iou. groups (classes or pyramid levels, counted
// from 0) may be nil for a single one. It is torchvision's nms, or batched_nms run group by group,
// cut off after top.
//
// Boxes need sides that are not negative. Only boxes that are near enough to overlap so much are
// compared, so the cost grows with n log n unless they pile up.
func NMS(boxes []Box, scores []float32, groups []int32, iou float64, top int) []int32 {
	grids := newGrids(boxes, groups)
	// Intervals of lengths a and b whose IoU exceeds t have centres less than
	// (a+b)/2·(1−t)/(1+t) apart, and a < b/t: that is less than b·(1−t)/2t. The same holds on
	// both axes of boxes.
	reach := float32(math.Inf(1))
	if iou > 0 {
		reach = float32((1-iou)/(2*iou)) * 1.001
	}
	next := make([]int32, len(boxes)) // list of the kept boxes of a cell, index + 1
	var keep []int32
candidates:
	for _, i := range byScore(scores) {
		if len(keep) >= top {
			break
		}
		b := &boxes[i]
		g := &grids[0]
		if groups != nil {
			g = &grids[groups[i]]
		}
		area := b.Area()
		x0, x1 := g.x.window(b[0], b[2], reach)
		y0, y1 := g.y.window(b[1], b[3], reach)
		for y := y0; y <= y1; y++ {
			for x := x0; x <= x1; x++ {
				for k := g.head[y*g.x.n+x]; k > 0; k = next[k-1] {
					kept := &boxes[k-1]
					inter := intersection(kept, b)
					if inter > 0 && float64(inter/(kept.Area()+area-inter)) > iou {
						continue candidates
					}
				}
			}
		}
		cell := &g.head[g.y.cell(0.5*(b[1]+b[3]))*g.x.n+g.x.cell(0.5*(b[0]+b[2]))]
		next[i], *cell = *cell, i+1
		keep = append(keep, i)
	}
	return keep
}

// byScore returns the indices of scores in falling order, equal ones ascending, NaN first.
func byScore(scores []float32) []int32 {
	keys := make([]uint64, len(scores))
	for i, s := range scores {
		bits := math.Float32bits(s + 0) // −0 counts as 0
		if bits>>31 == 0 {
			bits = ^bits & 0x7fffffff
		}
		keys[i] = uint64(bits)<<32 | uint64(i)
	}
	slices.Sort(keys)
	order := make([]int32, len(keys))
	for i, k := range keys {
		order[i] = int32(k & math.MaxUint32)
	}
	return order
}

// A grid finds the kept boxes of a group by their centres.
type grid struct {
	x, y axis
	head []int32 // index + 1 of the last box kept in a cell, 0: none
}

// An axis divides the range of the centres into n cells.
type axis struct {
	n                int
	low, high, scale float32
}

func (a axis) cell(v float32) int {
	c := (v - a.low) * a.scale
	if !(c > 0) { // NaN too
		return 0
	}
	return int(min(c, float32(a.n-1)))
}

// window returns the cells with centres within reach sides of the middle of [v0, v1], and a bit
// more against rounding.
func (a axis) window(v0, v1, reach float32) (first, last int) {
	middle, r := 0.5*(v0+v1), (v1-v0)*reach+0.01/a.scale
	return a.cell(middle - r), a.cell(middle + r)
}

// newGrids lays out an empty grid for each group, with about two cells per box.
func newGrids(boxes []Box, groups []int32) []grid {
	n := 1
	if len(groups) > 0 {
		n = int(slices.Max(groups)) + 1
	}
	inf := float32(math.Inf(1))
	grids := make([]grid, n)
	counts := make([]int, n)
	for i := range grids {
		grids[i].x.low, grids[i].x.high = inf, -inf
		grids[i].y.low, grids[i].y.high = inf, -inf
	}
	for i := range boxes {
		b, g := &boxes[i], 0
		if groups != nil {
			g = int(groups[i])
		}
		counts[g]++
		grids[g].x.include(0.5 * (b[0] + b[2]))
		grids[g].y.include(0.5 * (b[1] + b[3]))
	}
	for i := range grids {
		side := int(math.Sqrt(2 * float64(counts[i])))
		grids[i].x.divide(side + 1)
		grids[i].y.divide(side + 1)
		grids[i].head = make([]int32, grids[i].x.n*grids[i].y.n)
	}
	return grids
}

func (a *axis) include(v float32) { a.low, a.high = min(a.low, v), max(a.high, v) }

// divide cuts the range into n cells, or leaves one where it has no finite length.
func (a *axis) divide(n int) {
	a.n, a.scale = n, float32(n)/(a.high-a.low)
	if !(a.high > a.low) || !(a.scale > 0) || math.IsInf(float64(a.scale), 0) {
		a.n, a.low, a.scale = 1, 0, 1
	}
}
