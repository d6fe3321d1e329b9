// Package classification is the task of telling what an image shows: one distribution over classes for
// the whole of it.
package classification

import (
	"fmt"
	"image"

	"must/data"
)

// Name is the task's.
const Name = "classification"

func init() { data.Register(data.Kind{Task: Name, Order: 1, Classes: true, Whole: true}) }

// A Label is a distribution over the classes: one-hot for a true label, a teacher's probabilities for a
// pseudo label.
type Label []float32

// New returns a distribution as a label, nil for nil.
func New(p []float32) data.Label {
	if p == nil {
		return nil
	}
	return Label(p)
}

// Of returns the distribution that s carries, nil where it is unknown.
func Of(s *data.Sample) []float32 {
	l, _ := s.Label(Name).(Label)
	return l
}

// Set gives s a distribution; nil makes it unknown.
func Set(s *data.Sample, p []float32) {
	s.Forget(Name)
	s.Put(New(p))
}

// Task implements [data.Label].
func (Label) Task() string { return Name }

// Move implements [data.Label]: wherever it lies, it is the same thing.
func (l Label) Move(data.Placement) data.Label { return l }

// Restore implements [data.Label].
func (l Label) Restore(data.Frame, int, int) data.Label { return l }

// Fill implements [data.Label]: a class that is known is all there is to know.
func (l Label) Fill(data.Label, []int) data.Label { return l }

// Lack implements [data.Label].
func (Label) Lack(data.Label, data.Meaning) data.Label { return nil }

// Remap implements [data.Label]. A distribution of which a part is on a class that maps to nothing becomes
// unknown.
func (l Label) Remap(m data.Mapping, _ []int) data.Label {
	to := make(Label, len(m.To))
	for i, p := range l {
		switch {
		case m.At[i] >= 0:
			to[m.At[i]] += p
		case p > 0:
			return nil
		}
	}
	return to
}

// Check implements [data.Label].
func (l Label) Check(m data.Meaning, _ image.Point) error {
	if len(l) != len(m.Classes) {
		return fmt.Errorf("%d class probabilities for %d classes", len(l), len(m.Classes))
	}
	return nil
}

// Edit returns the label with the class that the image has by what people decided, under -1.
func (l Label) Edit(_ map[int]bool, renamed map[int]int) (data.Label, error) {
	class, ok := renamed[-1]
	if !ok {
		return l, nil
	}
	out := make(Label, len(l))
	out[class] = 1
	return out, nil
}
