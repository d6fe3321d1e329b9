// Package segmentation is the task of telling the class of every pixel.
package segmentation

import (
	"fmt"
	"image"
	"slices"

	"must/data"
)

// Name is the task's.
const Name = "segmentation"

func init() { data.Register(data.Kind{Task: Name, Order: 3, Classes: true}) }

// A Label is a map of classes.
type Label struct {
	Map        *data.Grid[uint8]   // index into the classes, or [data.Ignore]
	Confidence *data.Grid[float32] // probability of the class in Map; predictions only

	coarse *logits // of a prediction in the frame of a network's input, in place of both
}

// fine returns the label with its map.
func (l *Label) fine() *Label {
	if l.coarse != nil {
		return l.coarse.frame()
	}
	return l
}

// ignore takes the class from pixels for which it is less probable.
func (l *Label) ignore(least float32) {
	for i, c := range l.Confidence.Pix {
		if c < least {
			l.Map.Pix[i] = data.Ignore
		}
	}
	l.Confidence = nil
}

// New returns a map as a label, nil for nil.
func New(m *data.Grid[uint8]) data.Label { return NewPrediction(m, nil) }

// NewPrediction returns a map with the probability of each pixel's class, nil for nil.
func NewPrediction(m *data.Grid[uint8], confidence *data.Grid[float32]) data.Label {
	if m == nil {
		return nil
	}
	return &Label{Map: m, Confidence: confidence}
}

// Of returns the map that s carries, nil where it is unknown.
func Of(s *data.Sample) *data.Grid[uint8] {
	if l, ok := s.Label(Name).(*Label); ok {
		return l.fine().Map
	}
	return nil
}

// Confidence returns the probability of each pixel's class, where s is a prediction.
func Confidence(s *data.Sample) *data.Grid[float32] {
	if l, ok := s.Label(Name).(*Label); ok {
		return l.fine().Confidence
	}
	return nil
}

// Set gives s a map; nil makes it unknown.
func Set(s *data.Sample, m *data.Grid[uint8]) {
	confidence := Confidence(s)
	s.Forget(Name)
	s.Put(NewPrediction(m, confidence))
}

// SetConfidence gives the map of s the probability of each pixel's class.
func SetConfidence(s *data.Sample, c *data.Grid[float32]) { s.Put(NewPrediction(Of(s), c)) }

// Task implements [data.Label].
func (*Label) Task() string { return Name }

// Move implements [data.Label]: the nearest pixels, padded with [data.Ignore].
func (l *Label) Move(p data.Placement) data.Label {
	l = l.fine()
	out := &Label{Map: data.Place(l.Map, p, data.Ignore)}
	if l.Confidence != nil {
		out.Confidence = data.Place(l.Confidence, p, 0)
	}
	return out
}

// Restore implements [data.Label]: of a network's prediction its logits are resized, else the nearest
// classes are taken.
func (l *Label) Restore(f data.Frame, w, h int) data.Label {
	if l.coarse != nil {
		return l.coarse.restore(f, w, h)
	}
	xs, ys := f.Nearest(l.Map.W, l.Map.H, w, h)
	out := &Label{Map: l.Map.Gather(xs, ys, 0)}
	if c := l.Confidence; c != nil {
		xs, ys := f.Nearest(c.W, c.H, w, h)
		out.Confidence = c.Gather(xs, ys, 0)
	}
	return out
}

// Fill implements [data.Label]: of the unknown classes, pixels that l ignores.
func (l *Label) Fill(pseudo data.Label, unknown []int) data.Label {
	if unknown == nil {
		return l
	}
	may := set(unknown)
	out := &data.Grid[uint8]{W: l.Map.W, H: l.Map.H, Pix: slices.Clone(l.Map.Pix)}
	for i, c := range pseudo.(*Label).Map.Pix {
		if out.Pix[i] == data.Ignore && may[c] {
			out.Pix[i] = c
		}
	}
	return &Label{Map: out, Confidence: l.Confidence}
}

// Lack implements [data.Label].
func (l *Label) Lack(known data.Label, m data.Meaning) data.Label {
	if m.Unknown == nil {
		return nil
	}
	may := set(m.Unknown)
	have := known.(*Label).Map
	out := &data.Grid[uint8]{W: l.Map.W, H: l.Map.H, Pix: slices.Clone(l.Map.Pix)}
	for i, c := range out.Pix {
		if have.Pix[i] != data.Ignore || !may[c] {
			out.Pix[i] = data.Ignore
		}
	}
	return &Label{Map: out, Confidence: l.Confidence}
}

// set returns which bytes are listed.
func set(classes []int) (in [256]bool) {
	for _, c := range classes {
		in[c] = true
	}
	return in
}

// Remap implements [data.Label]: a pixel whose class maps to nothing is ignored.
func (l *Label) Remap(m data.Mapping, _ []int) data.Label {
	var to [256]uint8
	for c := range to {
		to[c] = data.Ignore
		if c < len(m.At) && m.At[c] >= 0 {
			to[c] = uint8(m.At[c])
		}
	}
	out := data.NewGrid[uint8](l.Map.W, l.Map.H)
	for i, c := range l.Map.Pix {
		out.Pix[i] = to[c]
	}
	return &Label{Map: out, Confidence: l.Confidence}
}

// Check implements [data.Label].
func (l *Label) Check(m data.Meaning, size image.Point) error {
	if err := l.Map.Check(Name, size); err != nil {
		return err
	}
	for _, v := range l.Map.Pix {
		if int(v) >= len(m.Classes) && v != data.Ignore {
			return fmt.Errorf("a pixel is of class %d of %d", v, len(m.Classes))
		}
	}
	return nil
}
