package detection

import (
	"fmt"
	"math"

	"must/detect"
	"must/task"
)

// Compare matches objects one to one. Those that a tie decides about may be missing on one side: whose
// score is as near as the tolerance to the least one that counts or to that of the last in a full table,
// or whose overlap with a better one is as near to that which suppresses.
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
	if _, ok := want[outLabels]; !ok {
		return d.compareRaw(want, got, tolerance, all)
	}
	all[0].Of = "objects"
	for i := range int(want[outCount].Shape[0]) {
		m := matching{d: d, a: d.found(want, i), b: d.found(got, i), tolerance: tolerance, full: int(want[outScores].Shape[1])}
		m.match()
		for j, o := range m.a {
			k := m.pair[j]
			if k < 0 {
				if why := m.fault(o, m.a, m.b); why != "" {
					all[0].Fault = fmt.Sprintf("image %d: it lacks object %d, %v: %s", i, j, o, why)
				}
				all[0].Tied++
				continue
			}
			all[0].Same++
			all[0].Largest = max(all[0].Largest, o.apart(m.b[k]))
			all[1].Largest = max(all[1].Largest, math.Abs(float64(o.score-m.b[k].score)))
			if len(all) > 2 {
				for at, v := range o.mask {
					all[2].Largest = max(all[2].Largest, math.Abs(float64(v-m.b[k].mask[at])))
				}
			}
		}
		for k, o := range m.b {
			if !m.taken[k] {
				if why := m.fault(o, m.b, m.a); why != "" {
					all[0].Fault = fmt.Sprintf("image %d: it has object %d, %v, too many: %s", i, k, o, why)
				}
				all[0].Tied++
			}
		}
		if why := m.order(); why != "" {
			all[1].Fault = fmt.Sprintf("image %d: %s", i, why)
		}
	}
	return all
}

// A foundObject is a row of the outputs.
type foundObject struct {
	box   detect.Box
	score float32
	label int
	size  float64 // of the image
	mask  []float32
}

func (o foundObject) String() string {
	return fmt.Sprintf("class %d at %.2f with score %.5f", o.label, o.box, o.score)
}

// apart is the largest difference of two boxes' corners, as a part of the image's side.
func (o foundObject) apart(p foundObject) (most float64) {
	for i := range o.box {
		most = max(most, math.Abs(float64(o.box[i]-p.box[i]))/o.size)
	}
	return most
}

func (d *head) found(out task.Outputs, i int) (objects []foundObject) {
	boxes, scores, labels := out[outBoxes].Row(i), out[outScores].Row(i), out[outLabels].Row(i)
	for j := range int(out[outCount].Row(i)[0]) {
		o := foundObject{detect.Box(boxes[4*j:][:4]), scores[j], int(labels[j]), d.size, nil}
		if d.masks {
			o.mask = out[outMasks].Row(i)[j*4*maskSide*maskSide:][:4*maskSide*maskSide]
		}
		objects = append(objects, o)
	}
	return objects
}

// A matching pairs the objects a and b of an image.
type matching struct {
	d         *head
	a, b      []foundObject
	tolerance float64
	full      int    // rows of the table
	pair      []int  // of each of a, its index in b; -1: none
	taken     []bool // of b
}

func (m *matching) match() {
	m.pair, m.taken = make([]int, len(m.a)), make([]bool, len(m.b))
	for j, o := range m.a {
		m.pair[j] = -1
		nearest := m.tolerance
		for k, p := range m.b {
			if m.taken[k] || p.label != o.label || math.Abs(float64(p.score-o.score)) > m.tolerance {
				continue
			}
			if apart := o.apart(p); apart <= nearest {
				nearest, m.pair[j] = apart, k
			}
		}
		if k := m.pair[j]; k >= 0 {
			m.taken[k] = true
		}
	}
}

// fault tells why an object should not be on its own side only; "" where a tie explains it.
func (m *matching) fault(o foundObject, own, others []foundObject) string {
	rois := detect.DefaultRoIs()
	near := func(v, limit float64) bool { return math.Abs(v-limit) <= m.tolerance }
	if near(float64(o.score), float64(rois.Score)) {
		return ""
	}
	for _, side := range [][]foundObject{own, others} {
		if len(side) == m.full && near(float64(o.score), float64(side[m.full-1].score)) {
			return ""
		}
		for _, p := range side {
			// An object that a tie let live or die decides about its neighbours too.
			if p.label == o.label && (p.box != o.box || p.score != o.score) && near(float64(detect.IoU(p.box, o.box)), rois.NMS) {
				return ""
			}
		}
	}
	return "no tie explains it"
}

// order tells where paired objects change places though their scores differ.
func (m *matching) order() string {
	for j := range m.a {
		for i := range j {
			if k, l := m.pair[i], m.pair[j]; k > l && l >= 0 && float64(m.a[i].score-m.a[j].score) > m.tolerance {
				return fmt.Sprintf("objects %d and %d have changed places", i, j)
			}
		}
	}
	return ""
}

// compareRaw matches proposals one to one: those whose scores tie may have changed places, and one that
// a tie brought in may be last.
func (d *head) compareRaw(want, got task.Outputs, tolerance float64, all []task.Difference) []task.Difference {
	k := int(want[outScores].Shape[1])
	all[0].Of = "proposals"
	for i := range int(want[outCount].Shape[0]) {
		boxes, scores := [2][]float32{want[outBoxes].Row(i), got[outBoxes].Row(i)}, [2][]float32{want[outScores].Row(i), got[outScores].Row(i)}
		for j := range int(want[outCount].Row(i)[0]) {
			box, score := math.Inf(1), math.Inf(1)
			for l := max(0, j-rawWindow); l < min(k, j+rawWindow+1); l++ {
				b := apart(boxes[0][j*d.classes*4:][:d.classes*4], boxes[1][l*d.classes*4:][:d.classes*4]) / d.size
				s := apart(scores[0][j*d.classes:][:d.classes], scores[1][l*d.classes:][:d.classes])
				if max(b, s) < max(box, score) {
					box, score = b, s
				}
			}
			if max(box, score) > tolerance {
				all[0].Tied++
				continue
			}
			all[0].Same++
			all[0].Largest, all[1].Largest = max(all[0].Largest, box), max(all[1].Largest, score)
		}
	}
	if 100*all[0].Tied > all[0].Same {
		all[0].Fault = "more than one in a hundred is other than by a tie"
	}
	return all
}

// rawWindow is how far ties carry a proposal.
const rawWindow = 4

func apart(a, b []float32) (most float64) {
	for i, v := range a {
		most = max(most, math.Abs(float64(v-b[i])))
	}
	return most
}
