// Package metric scores predictions against true labels, each number equal to the one that the
// field's own program prints: pycocotools for boxes and masks, the VOC and ADE20K development kits,
// the depth code of BTS, the normals code of DSINE.
//
// Every metric streams: it takes one image at a time and keeps counts, never images. Fractions lie
// in 0..1, not in percent. The order of Add matters only between detections of equal score.
package metric

import "must/data"

// A Value is one number of a metric.
type Value struct {
	Name           string
	Value          float64
	HigherIsBetter bool
}

// A Metric collects the score of one task over a set. It is not safe for concurrent use.
type Metric interface {
	// Add counts one image. A truth without a label for the task is skipped: it says nothing. A
	// prediction that lacks what the truth has, or is NaN, counts as wrong. Maps of truth and
	// prediction must agree in size; Add panics if they do not.
	Add(truth, pred *data.Sample)

	// Values returns the numbers so far, the one to rank by first; nil while nothing was counted.
	Values() []Value
}

// ratio returns a/b, and 0 for 0/0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
