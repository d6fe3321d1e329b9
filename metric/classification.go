package metric

import (
	"math"
	"slices"
)

// Classification measures the share of images whose true class is the predicted one (top1) or among
// the five likeliest (top5), and the calibration of the predicted probabilities (ece).
type Classification struct {
	images, top1, top5 int
	calibration        Calibration
	confusion          map[[2]int]int64 // images by true and predicted class, -1 for none
	classes            int              // that may have been seen
}

// NewClassification returns an empty metric.
func NewClassification() *Classification { return &Classification{confusion: map[[2]int]int64{}} }

// Add counts one image. The true class is the likeliest one of truth. Between classes of
// equal probability the lower index ranks first, as in argmax.
func (m *Classification) Add(truth, pred []float32) {
	if len(truth) == 0 {
		return
	}
	m.images++
	class := argmax(truth)
	predicted := -1
	if len(pred) > 0 && !slices.ContainsFunc(pred, func(p float32) bool { return p != p }) {
		predicted = argmax(pred)
	}
	m.confusion[[2]int{class, predicted}]++
	m.classes = max(m.classes, len(truth), len(pred))
	rank := rankOf(pred, class)
	if rank < 1 {
		m.top1++
	}
	if rank < 5 {
		m.top5++
	}
	if rank < len(pred) {
		m.calibration.Add(float64(pred[argmax(pred)]), rank == 0)
	}
}

// Values returns top1, top5, ece.
func (m *Classification) Values() []Value {
	if m.images == 0 {
		return nil
	}
	n := float64(m.images)
	return []Value{
		{"top1", float64(m.top1) / n, true},
		{"top5", float64(m.top5) / n, true},
		{"ece", m.calibration.ECE(), false},
	}
}

// Classes returns the accuracy of every class: the share of its images for which it is predicted.
func (m *Classification) Classes() Classes {
	all := make([]ClassValue, m.classes)
	for c := range all {
		all[c].Mistaken = map[int]int64{}
	}
	for pair, count := range m.confusion {
		truth, predicted := pair[0], pair[1]
		all[truth].Truth += count
		if predicted >= 0 {
			all[predicted].Predicted += count
		}
		if truth != predicted {
			all[truth].Mistaken[predicted] = count
		}
	}
	for c := range all {
		right := m.confusion[[2]int{c, c}]
		all[c].Values = []Value{{"accuracy", float64(right) / float64(all[c].Truth), true}}
	}
	return Classes{"images", all}
}

func argmax(p []float32) int {
	best := 0
	for i, v := range p {
		if v > p[best] {
			best = i
		}
	}
	return best
}

// rankOf returns how many classes come before class. It is past every rank if the class is not
// among those predicted or a probability is NaN.
func rankOf(p []float32, class int) int {
	if class >= len(p) {
		return math.MaxInt
	}
	rank := 0
	for i, v := range p {
		if v != v {
			return math.MaxInt
		}
		if v > p[class] || v == p[class] && i < class {
			rank++
		}
	}
	return rank
}

// Calibration measures how far the confidence of predictions is from the share of them that is right:
// the expected calibration error of Guo et al., "On Calibration of Modern Neural Networks" (2017),
// over 15 bins of equal width.
type Calibration struct {
	bins [15]struct{ confidence, right, count float64 }
}

// Add counts one prediction of the given confidence in 0..1. NaN is skipped.
func (c *Calibration) Add(confidence float64, right bool) {
	if math.IsNaN(confidence) {
		return
	}
	n := len(c.bins)
	// The bins are half open from above, (k/n, (k+1)/n].
	b := &c.bins[min(max(int(math.Ceil(confidence*float64(n)))-1, 0), n-1)]
	b.confidence += confidence
	b.count++
	if right {
		b.right++
	}
}

// ECE returns the mean over all predictions of |share right − confidence| of their bin; 0 if there are
// none.
func (c *Calibration) ECE() float64 {
	var gap, count float64
	for _, b := range c.bins {
		gap += math.Abs(b.right - b.confidence)
		count += b.count
	}
	return ratio(gap, count)
}
