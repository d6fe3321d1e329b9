package metric

import (
	"cmp"
	"math"
	"slices"

	"must/data"
)

// VOC measures boxes by the average precision of the Pascal VOC development kits at IoU 0.5, the
// mean over the classes that have true objects. Difficult objects (data.Object.Crowd) count neither
// for nor against.
//
// The kits' boxes include their last pixel, hence their "+1" in widths; data.Box excludes it, so its
// plain width is the same number.
type VOC struct {
	images  int
	classes []vocTally
	First07 bool // rank by VOC07_AP
}

type vocTally struct {
	positives int
	verdicts  []vocVerdict
}

type vocVerdict struct {
	score float32
	right bool
}

// NewVOC returns an empty metric over classes 0..classes-1.
func NewVOC(classes int) *VOC { return &VOC{classes: make([]vocTally, classes)} }

// Add counts one image; a nil truth says nothing.
func (m *VOC) Add(truth, pred []data.Object) {
	if truth == nil {
		return
	}
	m.images++
	for _, t := range truth {
		if !t.Crowd && 0 <= t.Class && t.Class < len(m.classes) {
			m.classes[t.Class].positives++
		}
	}
	found := make([]bool, len(truth))
	for _, p := range byClass(pred) {
		if p.Class < 0 || p.Class >= len(m.classes) {
			continue
		}
		// Unlike COCO's, the protocol looks at the nearest object only, even if it is taken.
		best, nearest := math.Inf(-1), -1
		for i := range truth {
			if t := &truth[i]; t.Class == p.Class {
				if iou := vocIoU(p.Box, t.Box); iou > best {
					best, nearest = iou, i
				}
			}
		}
		hit := best > 0.5
		if hit && truth[nearest].Crowd {
			continue
		}
		c := &m.classes[p.Class]
		c.verdicts = append(c.verdicts, vocVerdict{p.Score, hit && !found[nearest]})
		if hit {
			found[nearest] = true
		}
	}
}

// vocIoU returns the intersection over union, 0 where a coordinate is NaN.
func vocIoU(a, b data.Box) float64 {
	return boxIoU(&data.Object{Box: a}, &data.Object{Box: b})
}

// Values returns VOC10_AP, the area under the precision-recall curve (VOC 2010 and
// later), and VOC07_AP, its mean at 11 points of recall. By the protocol voc07 that one comes first.
func (m *VOC) Values() []Value {
	if m.images == 0 {
		return nil
	}
	var area, points, n float64
	for _, c := range m.Classes().Of {
		if c.Truth > 0 {
			area += c.Values[0].Value
			points += c.Values[1].Value
			n++
		}
	}
	values := []Value{{"VOC10_AP", ratio(area, n), true}, {"VOC07_AP", ratio(points, n), true}}
	if m.First07 {
		slices.Reverse(values)
	}
	return values
}

// Classes returns VOC10_AP and VOC07_AP of every class. Predictions that meet a difficult object are not counted.
func (m *VOC) Classes() Classes {
	all := make([]ClassValue, len(m.classes))
	for i := range m.classes {
		c := &m.classes[i]
		area, points := math.NaN(), math.NaN()
		if c.positives > 0 {
			area, points = c.averagePrecision()
		}
		all[i] = ClassValue{
			Values: []Value{{"VOC10_AP", area, true}, {"VOC07_AP", points, true}},
			Truth:  int64(c.positives), Predicted: int64(len(c.verdicts)),
		}
	}
	return Classes{"objects", all}
}

func (c *vocTally) averagePrecision() (area, points float64) {
	verdicts := slices.Clone(c.verdicts)
	slices.SortStableFunc(verdicts, func(a, b vocVerdict) int {
		return byScore(float64(a.score), float64(b.score))
	})
	var precision, recall []float64
	right := 0.0
	for i, v := range verdicts {
		if v.right {
			right++
		}
		precision = append(precision, right/float64(i+1))
		recall = append(recall, right/float64(c.positives))
	}
	// The envelope: the best precision at this recall or a higher one.
	for i := len(precision) - 2; i >= 0; i-- {
		precision[i] = max(precision[i], precision[i+1])
	}
	last := 0.0
	for i, r := range recall {
		area += (r - last) * precision[i]
		last = r
	}
	for i := range 11 {
		k, _ := slices.BinarySearchFunc(recall, float64(i)*0.1, func(r, point float64) int { return cmp.Compare(r, point) })
		if k < len(precision) {
			points += precision[k] / 11
		}
	}
	return area, points
}
