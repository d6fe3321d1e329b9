package metric

import (
	"fmt"
	"math"

	"must/data"
)

// Segmentation measures semantic maps by a confusion matrix summed over the whole set. Pixels whose
// truth is data.Ignore or no class at all do not count.
type Segmentation struct {
	classes   int
	Benchmark bool // Values are those of ADE20K's scene parsing benchmark
	// confusion[t*(classes+1)+p] counts the pixels of true class t predicted as p; the last column
	// holds those predicted as no class.
	confusion []int64
	pixels    int64
	kept      int64 // pixels predicted as some class
}

// NewSegmentation returns an empty metric over classes 0..classes-1.
func NewSegmentation(classes int) *Segmentation {
	return &Segmentation{classes: classes, confusion: make([]int64, classes*(classes+1))}
}

// Add counts one image; a nil truth says nothing, a nil prediction is wrong everywhere. A predicted
// data.Ignore is a wrong pixel. Maps that differ in size are an error.
func (m *Segmentation) Add(truth, pred *data.Grid[uint8]) error {
	if truth == nil {
		return nil
	}
	if err := sameSize(truth, pred); err != nil {
		return err
	}
	n := m.classes
	for i, t := range truth.Pix {
		if int(t) >= n || t == data.Ignore {
			continue
		}
		m.pixels++
		c := n
		if pred != nil && pred.Pix[i] != data.Ignore {
			c = min(int(pred.Pix[i]), n)
		}
		if c < n {
			m.kept++
		}
		m.confusion[int(t)*(n+1)+c]++
	}
	return nil
}

// Values returns mIoU over the classes found in truth or prediction, pixel_accuracy,
// and mean_accuracy over the classes found in the truth. As a Benchmark: what [Segmentation.ADE20K] returns.
func (m *Segmentation) Values() []Value {
	if m.pixels == 0 {
		return nil
	}
	if m.Benchmark {
		iou, accuracy, score := m.ADE20K()
		return []Value{{"mIoU", iou, true}, {"pixel_accuracy", accuracy, true}, {"score", score, true}}
	}
	var iou, found, accuracy, present float64
	for c := range m.classes {
		both, union, truth := m.counts(c)
		if union > 0 {
			iou += float64(both) / float64(union)
			found++
		}
		if truth > 0 {
			accuracy += float64(both) / float64(truth)
			present++
		}
	}
	return []Value{
		{"mIoU", iou / found, true},
		{"pixel_accuracy", ratio(float64(m.right()), float64(m.pixels)), true},
		{"mean_accuracy", accuracy / present, true},
	}
}

// IoU returns the intersection over union of every class, NaN for one found in neither truth nor
// prediction.
func (m *Segmentation) IoU() []float64 {
	out := make([]float64, m.classes)
	for c := range out {
		both, union, _ := m.counts(c)
		out[c] = float64(both) / float64(union)
	}
	return out
}

// Classes returns the IoU and the accuracy of every class.
func (m *Segmentation) Classes() Classes {
	n := m.classes
	all := make([]ClassValue, n)
	for c := range all {
		both, union, truth := m.counts(c)
		mistaken := map[int]int64{}
		for p, count := range m.confusion[c*(n+1) : (c+1)*(n+1)] {
			switch {
			case count == 0 || p == c:
			case p == n:
				mistaken[-1] = count
			default:
				mistaken[p] = count
			}
		}
		all[c] = ClassValue{
			Values: []Value{
				{"IoU", float64(both) / float64(union), true},
				{"accuracy", float64(both) / float64(truth), true},
			},
			Truth: truth, Predicted: union - truth + both, Mistaken: mistaken,
		}
	}
	return Classes{"pixels", all}
}

// ADE20K returns the scores of the scene parsing challenge's evaluation code: mean IoU over all
// classes, where a class found nowhere counts as 0; pixel accuracy; and their mean, by which the challenge
// ranks.
func (m *Segmentation) ADE20K() (meanIoU, pixelAccuracy, score float64) {
	for _, iou := range m.IoU() {
		if !math.IsNaN(iou) {
			meanIoU += iou / float64(m.classes)
		}
	}
	pixelAccuracy = ratio(float64(m.right()), float64(m.pixels))
	return meanIoU, pixelAccuracy, (meanIoU + pixelAccuracy) / 2
}

// Kept returns the share of pixels that the prediction gives a class, and the accuracy of those: the
// quality of pseudo labels, whose unsure pixels are data.Ignore.
func (m *Segmentation) Kept() (coverage, accuracy float64) {
	return ratio(float64(m.kept), float64(m.pixels)), ratio(float64(m.right()), float64(m.kept))
}

// counts returns the pixels of class c in both maps, in either, and in the truth.
func (m *Segmentation) counts(c int) (both, union, truth int64) {
	n := m.classes
	for p := range n + 1 {
		truth += m.confusion[c*(n+1)+p]
	}
	union = truth
	for t := range n {
		if t != c {
			union += m.confusion[t*(n+1)+c]
		}
	}
	return m.confusion[c*(n+1)+c], union, truth
}

func (m *Segmentation) right() (n int64) {
	for c := range m.classes {
		n += m.confusion[c*(m.classes+1)+c]
	}
	return n
}

// sameSize refuses a predicted map that is not of the size of the truth: the caller mixed up samples.
func sameSize[T any](truth, pred *data.Grid[T]) error {
	if pred != nil && (pred.W != truth.W || pred.H != truth.H) {
		return fmt.Errorf("the prediction has %d×%d pixels, the truth %d×%d", pred.W, pred.H, truth.W, truth.H)
	}
	return nil
}
