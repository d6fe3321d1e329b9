package data

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Mapping says which class of a task's label space each class of a set is.
type Mapping struct {
	Task string
	From []string // the set's classes
	To   []string // those of the label space
	At   []int    // of each of From, its index in To; -1: none, it is unknown there
}

// MapClasses maps a set's classes to a task's label space: by the table, the set's name to the
// space's ("" for none of them); what is not in the table, by its own name. Names match without the
// space around them and, where no other fits as well, without regard to case.
func MapClasses(task string, from, to []string, table map[string]string) (Mapping, error) {
	m := Mapping{task, from, to, make([]int, len(from))}
	target, source := newNames(to), newNames(from)
	given := map[int]int{}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		i, err := source.find(name)
		if err != nil {
			return m, fmt.Errorf("%s: the set has no class %q%w", task, name, err)
		}
		given[i] = -1
		if our := table[name]; our != "" {
			if given[i], err = target.find(our); err != nil {
				return m, fmt.Errorf("%s: %q is mapped to %q, which is no class of the label space%w", task, name, our, err)
			}
		}
	}
	for i, name := range from {
		at, ok := given[i]
		if !ok {
			var err error
			at, err = target.find(name)
			// Neither "cat" nor "Cat" of one set is sure to be "CAT".
			if err != nil || to[at] != strings.TrimSpace(name) && source.folded[fold(name)] == ambiguous {
				at = -1
			}
		}
		m.At[i] = at
	}
	return m, nil
}

// names finds classes by name.
type names struct {
	list          []string
	exact, folded map[string]int
}

const ambiguous = -1

func newNames(list []string) names {
	n := names{list, map[string]int{}, map[string]int{}}
	for i, name := range list {
		for _, m := range []struct {
			key string
			in  map[string]int
		}{{strings.TrimSpace(name), n.exact}, {fold(name), n.folded}} {
			if _, twice := m.in[m.key]; twice {
				m.in[m.key] = ambiguous
			} else {
				m.in[m.key] = i
			}
		}
	}
	return n
}

func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func (n names) find(name string) (int, error) {
	for _, try := range []struct {
		key string
		in  map[string]int
	}{{strings.TrimSpace(name), n.exact}, {fold(name), n.folded}} {
		if i, ok := try.in[try.key]; ok && i != ambiguous {
			return i, nil
		} else if ok {
			return -1, fmt.Errorf("; several are called so but for their case or spaces")
		}
	}
	if len(n.list) > 20 {
		return -1, fmt.Errorf(" among the %d", len(n.list))
	}
	return -1, fmt.Errorf("; there are %s", strings.Join(n.list, ", "))
}

// Same reports whether the set's classes are those of the label space, in their order.
func (m Mapping) Same() bool { return slices.Equal(m.From, m.To) }

// Unknown lists the classes of the label space that no class of the set is mapped to.
func (m Mapping) Unknown() (unknown []int) {
	for i := range m.To {
		if !slices.Contains(m.At, i) {
			unknown = append(unknown, i)
		}
	}
	return unknown
}

// Remap returns d with labels in the terms of label spaces. What maps to nothing is unknown, never
// background:
//
//   - an image whose class is none of the space has no class;
//   - a pixel whose class is none of the space is Ignore;
//   - an object whose class is none of the space is left out, and samples list, in Unknown, the
//     classes of the space that d's annotators did not look for.
//
// Labels.Unknown lists such classes; pseudo labels may add them ([Fill]).
func Remap(d Dataset, mappings ...Mapping) Dataset {
	r := remapped{Dataset: d, labels: d.Labels(), at: map[string][]int{}}
	r.labels.Unknown = maps.Clone(r.labels.Unknown)
	for _, m := range mappings {
		if m.Same() || !r.labels.Has(m.Task) {
			continue
		}
		r.at[m.Task] = m.At
		switch m.Task {
		case Classification:
			r.labels.Classification = m.To
		case Detection:
			r.labels.Detection = m.To
		case Segmentation:
			r.labels.Segmentation = m.To
		default:
			panic("data: " + m.Task + " has no classes")
		}
		u := m.Unknown()
		if m.Task == Classification { // an image's class, where it is known, is the whole label
			if !slices.Contains(m.At, -1) {
				continue
			}
			u = append([]int{}, u...)
		}
		if u != nil {
			if r.labels.Unknown == nil {
				r.labels.Unknown = map[string][]int{}
			}
			r.labels.Unknown[m.Task] = u
		}
	}
	if len(r.at) == 0 {
		return d
	}
	return r
}

type remapped struct {
	Dataset
	labels Labels
	at     map[string][]int // by task
}

func (r remapped) Labels() Labels { return r.labels }

func (r remapped) Sample(i int) (*Sample, error) {
	s, err := r.Dataset.Sample(i)
	if err != nil {
		return nil, err
	}
	if at, ok := r.at[Classification]; ok && s.Class != nil {
		s.Class = mapClass(s.Class, at, len(r.labels.Classification))
	}
	if at, ok := r.at[Detection]; ok && s.Objects != nil {
		s.Unknown = append(mapUnknown(s.Unknown, at), r.labels.Unknown[Detection]...)
		if slices.Sort(s.Unknown); len(s.Unknown) > 0 {
			s.Unknown = slices.Compact(s.Unknown)
		}
		kept := s.Objects[:0]
		for _, o := range s.Objects {
			if o.Class = at[o.Class]; o.Class >= 0 {
				kept = append(kept, o)
			}
		}
		s.Objects = kept
	}
	if at, ok := r.at[Segmentation]; ok && s.Semantic != nil {
		var to [256]uint8
		for c := range to {
			to[c] = Ignore
			if c < len(at) && at[c] >= 0 {
				to[c] = uint8(at[c])
			}
		}
		for p, c := range s.Semantic.Pix {
			s.Semantic.Pix[p] = to[c]
		}
	}
	return s, nil
}

// mapUnknown maps the classes that a label does not tell of.
func mapUnknown(unknown []int, at []int) (to []int) {
	for _, c := range unknown {
		if at[c] >= 0 {
			to = append(to, at[c])
		}
	}
	return to
}

// mapClass maps a distribution; nil where some of it is on a class that maps to nothing.
func mapClass(class []float32, at []int, n int) []float32 {
	to := make([]float32, n)
	for i, p := range class {
		switch {
		case at[i] >= 0:
			to[at[i]] += p
		case p > 0:
			return nil
		}
	}
	return to
}

// Invert returns d with its metric depth as inverse depth, so that it can join sets of unknown scale and
// shift; any other depth stays as it is.
func Invert(d Dataset) Dataset {
	if d.Labels().Depth != Metric {
		return d
	}
	return inverted{d}
}

type inverted struct{ Dataset }

func (v inverted) Labels() Labels {
	l := v.Dataset.Labels()
	l.Depth = Inverse
	return l
}

func (v inverted) Sample(i int) (*Sample, error) {
	s, err := v.Dataset.Sample(i)
	if err == nil && s.Depth != nil {
		InvertDepth(s.Depth)
	}
	return s, err
}

// InvertDepth replaces depth by its inverse; 0 and less, which have none, become NaN.
func InvertDepth(g *Grid[float32]) {
	for i, v := range g.Pix {
		if g.Pix[i] = 1 / v; !(v > 0) {
			g.Pix[i] = float32(math.NaN())
		}
	}
}

// Fill adds to s what it does not know from a pseudo label of the same image: the label of a task
// that it has none for; objects of the classes in s.Unknown; and, of the classes that l, the labels
// of its set, lists as unknown, pixels where its semantic map is Ignore. What is known stays, and a
// pseudo label has no say in a class that the annotators looked for. [Lack] leaves of a pseudo label
// what Fill would add.
func Fill(s *Sample, l Labels, pseudo *Sample) {
	if s.Class == nil {
		s.Class = pseudo.Class
	}
	switch {
	case pseudo.Objects == nil:
	case s.Objects == nil:
		s.Objects, s.Unknown = pseudo.Objects, pseudo.Unknown
	case s.Unknown != nil:
		for _, o := range pseudo.Objects {
			if slices.Contains(s.Unknown, o.Class) {
				s.Objects = append(s.Objects, o)
			}
		}
		s.Unknown = common(s.Unknown, pseudo.Unknown)
	}
	switch unknown := l.Unknown[Segmentation]; {
	case pseudo.Semantic == nil:
	case s.Semantic == nil:
		s.Semantic = pseudo.Semantic
	case unknown != nil:
		may := set(unknown)
		for i, c := range pseudo.Semantic.Pix {
			if s.Semantic.Pix[i] == Ignore && may[c] {
				s.Semantic.Pix[i] = c
			}
		}
	}
	if s.Depth == nil {
		s.Depth = pseudo.Depth
	}
	if s.Normals == nil {
		s.Normals = pseudo.Normals
	}
}

// Lack reduces a pseudo label to what s, of a set with labels l, lacks and [Fill] would add. Of a
// detection label that tells of some classes only, pseudo.Unknown lists the others.
func Lack(s *Sample, l Labels, pseudo *Sample) {
	if s.Class != nil {
		pseudo.Class = nil
	}
	switch {
	case s.Objects == nil || pseudo.Objects == nil:
	case s.Unknown == nil:
		pseudo.Objects = nil
	default:
		pseudo.Objects = slices.DeleteFunc(pseudo.Objects, func(o Object) bool { return !slices.Contains(s.Unknown, o.Class) })
		for c := range l.Detection {
			if !slices.Contains(s.Unknown, c) {
				pseudo.Unknown = append(pseudo.Unknown, c)
			}
		}
	}
	switch {
	case s.Semantic == nil || pseudo.Semantic == nil:
	case l.Unknown[Segmentation] == nil:
		pseudo.Semantic = nil
	default:
		may := set(l.Unknown[Segmentation])
		for i, c := range pseudo.Semantic.Pix {
			if s.Semantic.Pix[i] != Ignore || !may[c] {
				pseudo.Semantic.Pix[i] = Ignore
			}
		}
	}
	if s.Depth != nil {
		pseudo.Depth = nil
	}
	if s.Normals != nil {
		pseudo.Normals = nil
	}
}

// set returns which bytes are listed.
func set(classes []int) (in [256]bool) {
	for _, c := range classes {
		in[c] = true
	}
	return in
}

// Only returns d with the labels of some tasks; those of the others become unknown.
func Only(d Dataset, tasks ...string) Dataset { return only{d, tasks} }

type only struct {
	Dataset
	tasks []string
}

func (o only) Labels() Labels { return o.Dataset.Labels().Only(o.tasks...) }

func (o only) Sample(i int) (*Sample, error) {
	s, err := o.Dataset.Sample(i)
	if err != nil {
		return nil, err
	}
	keep := func(task string) bool { return slices.Contains(o.tasks, task) }
	if !keep(Classification) {
		s.Class = nil
	}
	if !keep(Detection) {
		s.Objects, s.Unknown = nil, nil
	}
	if !keep(Segmentation) {
		s.Semantic, s.Confidence = nil, nil
	}
	if !keep(Depth) {
		s.Depth = nil
	}
	if !keep(Normals) {
		s.Normals = nil
	}
	return s, nil
}
