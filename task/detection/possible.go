package detection

import (
	"math"
	"slices"

	"must/detect"
	"must/model"
	"must/task"
	"must/torch"
)

// Two programs that compute the same number round it in their own ways, and a detector decides by
// comparing numbers: which proposals are the best, which overlap too much, which level a region is read
// from. Here every decision has a third outcome, perhaps, where the numbers compared are nearer to each
// other than rounding moves them. What is left is all that a correct program may find: what it surely
// finds, and what it finds if ties go its way.

// A chance is whether something is found.
type chance uint8

const (
	never chance = iota
	perhaps
	surely
)

// above compares with a limit that numbers within slack of it may or may not exceed.
func above(v, limit, slack float64) chance {
	switch {
	case v > limit+slack:
		return surely
	case v >= limit-slack:
		return perhaps
	}
	return never
}

// A candidate is a box that may be found.
type candidate struct {
	box    detect.Box
	score  float32
	label  int
	chance chance
}

// slack is how far rounding may move numbers.
type slack struct {
	score float64 // in the unit of scores
	px    float64 // corners
}

// slack is that of a tolerance, for scores of a range. Boxes are exact to a hundredth of what is allowed
// of them in the end: what is allowed includes scores' effect on nothing.
func (d *head) slack(tolerance, scores float64) slack {
	return slack{tolerance * scores, tolerance * d.size / 100}
}

func sortCandidates(c []candidate) {
	slices.SortStableFunc(c, func(a, b candidate) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
}

// found drops what is never found.
func found(c []candidate) []candidate {
	return slices.DeleteFunc(c, func(c candidate) bool { return c.chance == never })
}

// best leaves the best of candidates, best first, and those that may be among them.
func best(c []candidate, most int, s slack) []candidate {
	sortCandidates(c)
	able, sure := make([]int, len(c)+1), make([]int, len(c)+1) // before each
	for i, v := range c {
		able[i+1], sure[i+1] = able[i], sure[i]
		if v.chance >= perhaps {
			able[i+1]++
		}
		if v.chance == surely {
			sure[i+1]++
		}
	}
	above, below := 0, 0 // how many are better by more than the slack, and how many not worse by more
	for i := range c {
		v := float64(c[i].score)
		for above < len(c) && float64(c[above].score) > v+s.score {
			above++
		}
		for below < len(c) && float64(c[below].score) >= v-s.score {
			below++
		}
		switch {
		case sure[above] >= most:
			c[i].chance = never
		case able[below]-1 >= most:
			c[i].chance = min(c[i].chance, perhaps)
		}
	}
	return found(c)
}

// suppress runs non-maximum suppression over candidates, best first.
func suppress(c []candidate, iou float64, s slack) []candidate {
	first := 0 // whose score is so near that either may come first
	for j := range c {
		b := &c[j]
		for float64(c[first].score) > float64(b.score)+s.score {
			first++
		}
		for i := range c {
			a := &c[i]
			if float64(a.score) < float64(b.score)-s.score {
				break
			}
			if i == j || a.chance == never {
				continue
			}
			switch overlap := overlaps(a.box, b.box, iou, s.px); {
			case overlap == surely && i < first && a.chance == surely:
				b.chance = never
			case overlap != never:
				b.chance = min(b.chance, perhaps)
			}
			if b.chance == never {
				break
			}
		}
	}
	return found(c)
}

// overlaps tells whether the IoU of boxes exceeds a limit.
func overlaps(a, b detect.Box, limit, px float64) chance {
	if a[0] > b[2] || b[0] > a[2] || a[1] > b[3] || b[1] > a[3] {
		return never
	}
	shortest := math.Inf(1)
	for i := range 2 {
		shortest = min(shortest, float64(a[i+2]-a[i]), float64(b[i+2]-b[i]))
	}
	return above(float64(detect.IoU(a, b)), limit, 1e-6+4*px/max(shortest, px))
}

// large tells whether both sides of a box are at least so long.
func large(b detect.Box, side, px float64) chance {
	return above(float64(min(b[2]-b[0], b[3]-b[1])), side, px)
}

// either lists a box, or, where rounding decides which level it is read from, one on either side.
func either(b detect.Box, tolerance float64) []detect.Box {
	levels := detect.DefaultLevelMap()
	scale := func(by float64) (c detect.Box) {
		for i := range 2 {
			grow := float32((by - 1) / 2 * float64(b[i+2]-b[i]))
			c[i], c[i+2] = b[i]-grow, b[i+2]+grow
		}
		return c
	}
	less, more := scale(1-tolerance/10), scale(1+tolerance/10)
	if levels.Index(less) == levels.Index(more) {
		return []detect.Box{b}
	}
	return []detect.Box{less, more}
}

// possibleProposals are those of every image, best first.
func (d *head) possibleProposals(size int, objectness, deltas []*torch.Tensor, tolerance float64) [][]candidate {
	anchors := d.anchors(size)
	rpn := detect.DefaultRPN()
	all := make([][]candidate, objectness[0].Size(0))
	var s slack
	for l, o := range objectness {
		scores, moves := task.ArrayOf(o), detect.Boxes(torch.Values[float32](deltas[l]))
		n := int(o.Size(1))
		s = d.slack(tolerance, max(s.score/tolerance, span(scores.Values)))
		for i := range all {
			c := make([]candidate, n)
			for j, v := range scores.Row(i) {
				c[j] = candidate{detect.RPNCoder.Decode(detect.Delta(moves[i*n+j]), anchors[j]).Clip(size, size), v, l, surely}
			}
			c = best(c, d.config.PreNMS, s)
			for j := range c {
				c[j].chance = min(c[j].chance, large(c[j].box, detect.MinProposal, s.px))
			}
			all[i] = append(all[i], suppress(found(c), rpn.NMS, s)...)
		}
		anchors = anchors[n:]
	}
	for i := range all {
		all[i] = best(all[i], d.config.PostNMS, s)
	}
	return all
}

// span is the largest absolute value.
func span(v []float32) (most float64) {
	for _, x := range v {
		most = max(most, math.Abs(float64(x)))
	}
	return most
}

// atOnce is how many regions the box head sees.
const atOnce = 1000

// regions runs the box head over proposals of every image and gives each, with the image, its
// probabilities [classes+1] and deltas.
func (d *head) regions(f *model.Features, p *detect.Pyramid, proposals [][]candidate, tolerance float64, each func(image int, proposal candidate, probs []float32, deltas []detect.Box)) {
	var regions []candidate
	var boxes []detect.Box
	var images []int
	run := func() {
		if len(boxes) == 0 {
			return
		}
		torch.Scope(func() {
			class, deltas := d.boxHead(p, f.Mode, boxes, images)
			probs, moves := torch.Values[float32](class.Softmax(1)), detect.Boxes(torch.Values[float32](deltas))
			c := d.classes + 1
			for i, r := range regions {
				each(images[i], r, probs[i*c:][:c], moves[i*c:][:c])
			}
		})
		regions, boxes, images = nil, nil, nil
	}
	for i, all := range proposals {
		for _, c := range all {
			some := either(c.box, tolerance)
			for _, b := range some {
				if c.box = b; len(some) > 1 {
					c.chance = perhaps
				}
				regions, boxes, images = append(regions, c), append(boxes, b), append(images, i)
			}
			if len(boxes) >= atOnce {
				run()
			}
		}
	}
	run()
}

// possible lists what a correct program may find in images: [N, P, 7] of box, score, label and chance,
// or of raw outputs [N, P, 5·classes + 1] of the boxes and scores of each class and the chance.
func (d *head) possible(f *model.Features, p *detect.Pyramid, objectness, deltas []*torch.Tensor, o task.ExportOptions) task.Array {
	size := int(f.Size)
	proposals := d.possibleProposals(size, objectness, deltas, o.Ties)
	s := d.slack(o.Ties, 1)
	rois := detect.DefaultRoIs()
	rows := make([][][]float32, len(proposals))
	objects := make([][][]candidate, len(proposals)) // by class
	for i := range objects {
		objects[i] = make([][]candidate, d.classes)
	}
	d.regions(f, p, proposals, o.Ties, func(image int, r candidate, probs []float32, deltas []detect.Box) {
		var boxes, scores []float32
		for c := range d.classes {
			b := detect.RoICoder.Decode(detect.Delta(deltas[c+1]), r.box).Clip(size, size)
			score := probs[c+1]
			if o.Raw {
				if !b.Large(detect.MinDetection) {
					score = 0
				}
				boxes, scores = append(boxes, b[:]...), append(scores, score)
				continue
			}
			if chance := min(r.chance, above(float64(score), float64(rois.Score), s.score), large(b, detect.MinDetection, s.px)); chance != never {
				objects[image][c] = append(objects[image][c], candidate{b, score, c, chance})
			}
		}
		if o.Raw {
			rows[image] = append(rows[image], append(append(boxes, scores...), float32(r.chance)))
		}
	})
	width := 7
	if o.Raw {
		width = 5*d.classes + 1
	} else {
		for i, classes := range objects {
			var all []candidate
			for _, c := range classes {
				sortCandidates(c)
				all = append(all, suppress(c, rois.NMS, s)...)
			}
			for _, c := range best(all, d.config.MaxObjects, s) {
				rows[i] = append(rows[i], append(slices.Clone(c.box[:]), c.score, float32(c.label), float32(c.chance)))
			}
		}
	}
	most := 1
	for _, r := range rows {
		most = max(most, len(r))
	}
	a := task.Array{Shape: []int64{int64(len(rows)), int64(most), int64(width)}, Values: make([]float32, len(rows)*most*width)}
	for i, image := range rows {
		for j, r := range image {
			copy(a.Values[(i*most+j)*width:], r)
		}
	}
	return a
}
