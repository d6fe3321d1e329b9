package detection

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"must/detect"
	"must/task"
)

// Compare matches what was found one to one: objects, or proposals of raw outputs. Where want tells what
// is possible (see [task.ExportOptions].Ties), all that is sure must be there, and what is there must be
// possible; else both sides must be alike.
func (d *head) Compare(want, got task.Outputs, tolerance float64) []task.Difference {
	names := []string{outBoxes, outScores}
	if _, ok := want[outMasks]; ok {
		names = append(names, outMasks)
	}
	all := make([]task.Difference, len(names))
	for i, name := range names {
		all[i] = task.Difference{Output: name, Range: 1}
		if fmt.Sprint(want[name].Shape) != fmt.Sprint(got[name].Shape) {
			all[i].Fault = fmt.Sprintf("its shape is %v, and should be %v", got[name].Shape, want[name].Shape)
			return all
		}
	}
	boxes, scores := &all[0], &all[1]
	boxes.Of = "objects"
	if _, ok := want[outLabels]; !ok {
		boxes.Of = "proposals"
	}
	for i := range int(want[outCount].Shape[0]) {
		a, b := d.found(want, i), d.found(got, i)
		able := a
		if _, ok := want[outPossible]; ok {
			able = d.able(want, i)
		}
		alike := d.match(a, b, tolerance)
		for j, k := range alike {
			if k < 0 {
				boxes.Tied++ // or a fault, see below
				continue
			}
			boxes.Same++
			boxes.Largest, scores.Largest = max(boxes.Largest, a[j].apart(b[k])), max(scores.Largest, a[j].differs(b[k]))
			if len(all) > 2 && len(either(a[j].box(), tolerance)) == 1 {
				all[2].Largest = max(all[2].Largest, most(a[j].mask, b[k].mask))
			}
		}
		boxes.Tied += len(b) - len(alike) + count(alike, -1)
		if why := order(a, alike, tolerance); why != "" {
			scores.Fault = fmt.Sprintf("image %d: %s", i, why)
		}
		// Where there is a pairing that has all that is sure, and one that has all that is there, there is one
		// that has both (Mendelsohn and Dulmage 1958).
		sure := slices.DeleteFunc(slices.Clone(able), func(o foundObject) bool { return o.chance != surely })
		for j, k := range d.match(sure, b, tolerance) {
			if k < 0 {
				boxes.Fault = fmt.Sprintf("image %d: it lacks %v: no tie explains it", i, sure[j])
			}
		}
		for k, j := range d.match(b, able, tolerance) {
			if j < 0 {
				boxes.Fault = fmt.Sprintf("image %d: it has %v, too many: no tie explains it", i, b[k])
			}
		}
	}
	return all
}

// A foundObject is a row of the outputs: an object, or a proposal with its boxes and scores for all
// classes.
type foundObject struct {
	boxes, scores []float32
	label         int
	size          float64 // of the image
	mask          []float32
	chance        chance
}

func (o foundObject) box() detect.Box { return detect.Box(o.boxes[:4]) }

func (o foundObject) String() string {
	if len(o.scores) > 1 {
		return fmt.Sprintf("a proposal that becomes %.2f of class 0, with score %.5f", o.box(), o.scores[0])
	}
	return fmt.Sprintf("class %d at %.2f with score %.5f", o.label, o.box(), o.scores[0])
}

// apart is the largest difference of two boxes' corners, as a part of the image's side.
func (o foundObject) apart(p foundObject) float64 { return most(o.boxes, p.boxes) / o.size }

// differs is the largest difference of scores.
func (o foundObject) differs(p foundObject) float64 { return most(o.scores, p.scores) }

func most(a, b []float32) (most float64) {
	for i, v := range a {
		most = max(most, math.Abs(float64(v-b[i])))
	}
	return most
}

func count(list []int, what int) (n int) {
	for _, v := range list {
		if v == what {
			n++
		}
	}
	return n
}

// found are the rows of image i.
func (d *head) found(out task.Outputs, i int) (objects []foundObject) {
	boxes, scores := out[outBoxes].Row(i), out[outScores].Row(i)
	labels, object := out[outLabels]
	c := 1
	if !object {
		c = d.classes
	}
	for j := range int(out[outCount].Row(i)[0]) {
		o := foundObject{boxes: boxes[4*c*j:][:4*c], scores: scores[c*j:][:c], size: d.size, chance: surely}
		if object {
			o.label = int(labels.Row(i)[j])
			if d.masks {
				o.mask = out[outMasks].Row(i)[j*4*maskSide*maskSide:][:4*maskSide*maskSide]
			}
		}
		objects = append(objects, o)
	}
	return objects
}

// able are what is possible in image i.
func (d *head) able(out task.Outputs, i int) (objects []foundObject) {
	all := out[outPossible]
	row, width := all.Row(i), int(all.Shape[2])
	_, object := out[outLabels]
	for ; len(row) > 0; row = row[width:] {
		o := foundObject{size: d.size, chance: chance(row[width-1])}
		if o.chance == never {
			break
		}
		if object {
			o.boxes, o.scores, o.label = row[:4], row[4:5], int(row[5])
		} else {
			o.boxes, o.scores = row[:4*d.classes], row[4*d.classes:5*d.classes]
		}
		objects = append(objects, o)
	}
	return objects
}

// match pairs as many of a as can be with what is alike among b, each with the nearest if it can be; -1
// where nothing is left.
func (d *head) match(a, b []foundObject, tolerance float64) (pairs []int) {
	type edge struct {
		to  int
		far float64
	}
	near := make([][]edge, len(a)) // nearest first
	for j, o := range a {
		for k, p := range b {
			if p.label != o.label || math.Abs(float64(p.boxes[0]-o.boxes[0])) > tolerance*d.size || math.Abs(float64(p.scores[0]-o.scores[0])) > tolerance {
				continue
			}
			if far := max(o.apart(p), o.differs(p)); far <= tolerance {
				near[j] = append(near[j], edge{k, far})
			}
		}
		slices.SortStableFunc(near[j], func(x, y edge) int { return cmp.Compare(x.far, y.far) })
	}
	of := make([]int, len(b)) // who has it; -1: nobody
	for k := range of {
		of[k] = -1
	}
	var place func(j int, tried []bool) bool // moves others on where it must
	place = func(j int, tried []bool) bool {
		for _, free := range []bool{true, false} {
			for _, e := range near[j] {
				if tried[e.to] || free && of[e.to] >= 0 {
					continue
				}
				tried[e.to] = true
				if of[e.to] < 0 || place(of[e.to], tried) {
					of[e.to] = j
					return true
				}
			}
		}
		return false
	}
	pairs = make([]int, len(a))
	for j := range a {
		pairs[j] = -1
		if len(near[j]) > 0 {
			place(j, make([]bool, len(b)))
		}
	}
	for k, j := range of {
		if j >= 0 {
			pairs[j] = k
		}
	}
	return pairs
}

// order tells where paired objects change places though their scores differ. Proposals are in the order
// of scores that are no output.
func order(a []foundObject, pairs []int, tolerance float64) string {
	for j := range a {
		for i := range j {
			if k, l := pairs[i], pairs[j]; len(a[i].scores) == 1 && k > l && l >= 0 && float64(a[i].scores[0]-a[j].scores[0]) > tolerance {
				return fmt.Sprintf("objects %d and %d have changed places", i, j)
			}
		}
	}
	return ""
}
