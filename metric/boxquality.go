package metric

import (
	"must/data"
)

// BoxQuality measures the boxes that score at least a threshold, as pseudo labels are: the share of
// them that is right (precision), the share of true boxes found (recall), and f1, their harmonic
// mean; and the calibration error of the scores (ece). A box is right if it overlaps a true one of its
// class, not found before, by the given IoU. Boxes on crowds count neither way.
type BoxQuality struct {
	score, iou           float64
	images               int
	right, wrong, missed int
	calibration          Calibration
}

// NewBoxQuality returns an empty metric; usual thresholds are 0.5 and 0.5.
func NewBoxQuality(score, iou float64) *BoxQuality { return &BoxQuality{score: score, iou: iou} }

// Add counts one image; a nil truth says nothing.
func (m *BoxQuality) Add(truth, pred []data.Object) {
	if truth == nil {
		return
	}
	m.images++
	found := make([]bool, len(truth))
	for _, p := range byClass(pred) {
		if !(float64(p.Score) >= m.score) {
			continue
		}
		best, hit, crowd := m.iou, -1, false
		for i := range truth {
			t := &truth[i]
			if t.Class != p.Class || found[i] {
				continue
			}
			iou := boxIoU(&p, t)
			if t.Crowd {
				crowd = crowd || iou >= m.iou
			} else if iou >= best {
				best, hit = iou, i
			}
		}
		switch {
		case hit >= 0:
			found[hit] = true
			m.right++
			m.calibration.Add(float64(p.Score), true)
		case !crowd:
			m.wrong++
			m.calibration.Add(float64(p.Score), false)
		}
	}
	for i, t := range truth {
		if !t.Crowd && !found[i] {
			m.missed++
		}
	}
}

// Values returns f1, precision, recall, ece. Precision is 1 where there are no boxes to be
// wrong, recall where there are none to be found.
func (m *BoxQuality) Values() []Value {
	if m.images == 0 {
		return nil
	}
	share := func(of int) float64 {
		if m.right+of == 0 {
			return 1
		}
		return float64(m.right) / float64(m.right+of)
	}
	p, r := share(m.wrong), share(m.missed)
	f1 := 0.0
	if p+r > 0 {
		f1 = 2 * p * r / (p + r)
	}
	return []Value{{"f1", f1, true}, {"precision", p, true}, {"recall", r, true}, {"ece", m.calibration.ECE(), false}}
}
