// Package detection is the task of finding objects: their boxes, classes and, where labels have them,
// masks.
package detection

import (
	"fmt"
	"image"
	"math"
	"slices"

	"must/data"
	"must/detect"
)

// Name is the task's.
const Name = "detection"

func init() { data.Register(data.Kind{Task: Name, Order: 2, Classes: true, Masks: true}) }

// A Label is the objects of an image; an empty list says that there are none.
type Label struct {
	Objects []data.Object
	Unknown []int // classes, ascending, that Objects does not tell of: there may be some; nil: it tells of all
}

// New returns a list of objects as a label, nil for nil.
func New(objects []data.Object) data.Label { return NewPartial(objects, nil) }

// NewPartial returns a list of objects that does not tell of the classes in unknown, nil for nil.
func NewPartial(objects []data.Object, unknown []int) data.Label {
	if objects == nil {
		return nil
	}
	return &Label{objects, unknown}
}

// Of returns the objects that s carries, nil where they are unknown.
func Of(s *data.Sample) []data.Object {
	if l, ok := s.Label(Name).(*Label); ok {
		return l.Objects
	}
	return nil
}

// Unknown returns the classes that the objects of s do not tell of.
func Unknown(s *data.Sample) []int {
	if l, ok := s.Label(Name).(*Label); ok {
		return l.Unknown
	}
	return nil
}

// Set gives s a list of objects; nil makes them unknown.
func Set(s *data.Sample, objects []data.Object) {
	unknown := Unknown(s)
	s.Forget(Name)
	s.Put(NewPartial(objects, unknown))
}

// SetUnknown says of which classes the objects of s do not tell.
func SetUnknown(s *data.Sample, unknown []int) { s.Put(NewPartial(Of(s), unknown)) }

// Task implements [data.Label].
func (*Label) Task() string { return Name }

// Move implements [data.Label]. Boxes are clipped to the image and to the canvas. Where p.Visible is set and
// an object with a mask is cut, its box is clipped to the rest of its mask, and an object goes when less
// than that share of its box, less than a pixel of a side or nothing of its mask is left; crowds stay as
// long as anything of them does.
func (l *Label) Move(p data.Placement) data.Label {
	out := &Label{make([]data.Object, 0, len(l.Objects)), l.Unknown}
	var xs, ys []int
	scale := float64(p.X.Scaled) / float64(p.X.N) * float64(p.Y.Scaled) / float64(p.Y.N)
	for _, o := range l.Objects {
		full := p.Box(o.Box.Clip(p.X.N, p.Y.N))
		o.Box = full.Clip(p.X.Canvas, p.Y.Canvas)
		o.Area *= scale
		if o.Mask != nil {
			if xs == nil {
				xs, ys = p.X.Nearest(), p.Y.Nearest()
			}
			o.Mask = o.Mask.Gather(xs, ys)
		}
		if p.Visible == 0 || visible(&o, full, p.Visible) {
			out.Objects = append(out.Objects, o)
		}
	}
	return out
}

// visible reports whether enough of a moved object is left, whose box was full before it was cut.
func visible(o *data.Object, full data.Box, least float64) bool {
	if o.Box != full && o.Mask != nil {
		o.Box = intersect(o.Box, o.Mask.Rect)
	}
	if o.Area > 0 && full.Area() > 0 {
		o.Area *= o.Box.Area() / full.Area()
	}
	switch {
	case o.Box.Area() == 0:
		return false
	case o.Crowd:
		return true
	case o.Box.Area() < least*full.Area() || o.Box.W() < 1 || o.Box.H() < 1:
		return false
	}
	return o.Mask == nil || !o.Mask.Rect.Empty()
}

func intersect(b data.Box, r image.Rectangle) data.Box {
	b = data.Box{
		X0: max(b.X0, float64(r.Min.X)), Y0: max(b.Y0, float64(r.Min.Y)),
		X1: min(b.X1, float64(r.Max.X)), Y1: min(b.Y1, float64(r.Max.Y)),
	}
	if b.X1 <= b.X0 || b.Y1 <= b.Y0 {
		return data.Box{}
	}
	return b
}

// Restore implements [data.Label]. Objects in the padding alone are left out. Masks that a detector predicted
// are made anew from their probabilities, others take the nearest pixels.
func (l *Label) Restore(f data.Frame, w, h int) data.Label {
	out := &Label{make([]data.Object, 0, len(l.Objects)), l.Unknown}
	kx, ky := float64(w)/float64(f.W), float64(h)/float64(f.H)
	canvasW, canvasH := f.Canvas()
	xs, ys := f.Nearest(canvasW, canvasH, w, h)
	for _, o := range l.Objects {
		full := data.Box{X0: o.Box.X0 * kx, Y0: o.Box.Y0 * ky, X1: o.Box.X1 * kx, Y1: o.Box.Y1 * ky}
		if o.Box = full.Clip(w, h); !(o.Box.Area() > 0) {
			continue
		}
		o.Area *= kx * ky
		switch {
		case o.Mask == nil:
		case o.Mask.Probs != nil:
			side := int(math.Round(math.Sqrt(float64(len(o.Mask.Probs)))))
			o.Mask = detect.PasteMask(o.Mask.Probs, side, detect.BoxOf(full), w, h)
		default:
			o.Mask = o.Mask.Gather(xs, ys)
		}
		out.Objects = append(out.Objects, o)
	}
	return out
}

// Fill implements [data.Label]: objects of the classes that l does not tell of are added. Its own list of
// such classes counts, not the set's: another label may have filled some.
func (l *Label) Fill(pseudo data.Label, _ []int) data.Label {
	if l.Unknown == nil {
		return l
	}
	p := pseudo.(*Label)
	out := &Label{Objects: slices.Clone(l.Objects)}
	for _, o := range p.Objects {
		if slices.Contains(l.Unknown, o.Class) {
			out.Objects = append(out.Objects, o)
		}
	}
	for _, c := range l.Unknown {
		if slices.Contains(p.Unknown, c) {
			out.Unknown = append(out.Unknown, c)
		}
	}
	return out
}

// Lack implements [data.Label]. Of a label that tells of some classes only, Unknown lists the others.
func (l *Label) Lack(known data.Label, m data.Meaning) data.Label {
	k := known.(*Label)
	if k.Unknown == nil {
		return nil
	}
	out := &Label{[]data.Object{}, slices.Clone(l.Unknown)}
	for _, o := range l.Objects {
		if slices.Contains(k.Unknown, o.Class) {
			out.Objects = append(out.Objects, o)
		}
	}
	for c := range m.Classes {
		if !slices.Contains(k.Unknown, c) {
			out.Unknown = append(out.Unknown, c)
		}
	}
	return out
}

// Remap implements [data.Label]: objects whose class maps to nothing are left out.
func (l *Label) Remap(m data.Mapping, unknown []int) data.Label {
	out := &Label{Objects: make([]data.Object, 0, len(l.Objects))}
	for _, c := range l.Unknown {
		if m.At[c] >= 0 {
			out.Unknown = append(out.Unknown, m.At[c])
		}
	}
	if out.Unknown = append(out.Unknown, unknown...); out.Unknown != nil {
		slices.Sort(out.Unknown)
		out.Unknown = slices.Compact(out.Unknown)
	}
	for _, o := range l.Objects {
		if o.Class = m.At[o.Class]; o.Class >= 0 {
			out.Objects = append(out.Objects, o)
		}
	}
	return out
}

// Check implements [data.Label].
func (l *Label) Check(m data.Meaning, size image.Point) error {
	for i, o := range l.Objects {
		switch {
		case o.Class < 0 || o.Class >= len(m.Classes):
			return fmt.Errorf("object %d is of class %d of %d", i, o.Class, len(m.Classes))
		case !(o.Box.Area() > 0):
			return fmt.Errorf("object %d has a box without area, %v", i, o.Box)
		case o.Box.Clip(size.X, size.Y) != o.Box:
			return fmt.Errorf("object %d has a box beyond the image, %v", i, o.Box)
		}
	}
	return nil
}

// Edit returns the label without deleted objects and with the classes of others as people decided.
func (l *Label) Edit(deleted map[int]bool, renamed map[int]int) (data.Label, error) {
	for i := range deleted {
		if i < 0 || i >= len(l.Objects) {
			return nil, fmt.Errorf("on object %d of %d", i, len(l.Objects))
		}
	}
	out := &Label{slices.Clone(l.Objects), l.Unknown}
	for i, class := range renamed {
		if i < -1 || i >= len(out.Objects) {
			return nil, fmt.Errorf("on object %d of %d", i, len(out.Objects))
		}
		if i >= 0 {
			out.Objects[i].Class = class
		}
	}
	kept := out.Objects[:0]
	for i, o := range out.Objects {
		if !deleted[i] {
			kept = append(kept, o)
		}
	}
	out.Objects = kept
	return out, nil
}
