// Package metric scores predictions against true labels, each number equal to the one that the
// field's own program prints: pycocotools for boxes and masks, the VOC and ADE20K development kits,
// the depth code of BTS, the normals code of DSINE.
//
// Every metric streams: it takes one image at a time and keeps counts, never images. Fractions lie
// in 0..1, not in percent. The order of Add matters only between detections of equal score. Values are
// nil while nothing was counted; the number to rank by comes first.
package metric

// A Value is one number of a metric.
type Value struct {
	Name           string
	Value          float64
	HigherIsBetter bool
}

// ratio returns a/b, and 0 for 0/0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
