package data

import (
	"fmt"
	"maps"
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
// Meaning.Unknown lists such classes; pseudo labels may add them ([Fill]).
func Remap(d Dataset, mappings ...Mapping) Dataset {
	r := remapped{Dataset: d, labels: d.Labels()}
	for _, m := range mappings {
		if m.Same() || !r.labels.Has(m.Task) {
			continue
		}
		mean := r.labels[m.Task]
		if mean.Classes == nil {
			panic("data: " + m.Task + " has no classes")
		}
		mean.Classes = m.To
		switch u := m.Unknown(); {
		case !kinds[TaskOf(m.Task)].Whole:
			if u != nil {
				mean.Unknown = u
			}
		case slices.Contains(m.At, -1):
			mean.Unknown = append([]int{}, u...)
		}
		r.labels = r.labels.With(m.Task, mean)
		r.mappings = append(r.mappings, m)
	}
	if len(r.mappings) == 0 {
		return d
	}
	return r
}

type remapped struct {
	Dataset
	labels   Labels
	mappings []Mapping
}

func (r remapped) Labels() Labels { return r.labels }

func (r remapped) Sample(i int) (*Sample, error) {
	s, err := r.Dataset.Sample(i)
	if err != nil {
		return nil, err
	}
	for _, m := range r.mappings {
		l := s.Label(m.Task)
		if l == nil {
			continue
		}
		s.Forget(m.Task)
		s.Put(l.Remap(m, r.labels[m.Task].Unknown))
	}
	return s, nil
}

// Fill adds to s what it does not know from a pseudo label of the same image: the label of a task
// that it has none for; objects of the classes that its own label does not tell of; and, of the classes
// that l, the labels of its set, lists as unknown, pixels that its class map ignores. What is known
// stays, and a pseudo label has no say in a class that the annotators looked for. [Lack] leaves of a
// pseudo label what Fill would add.
func Fill(s *Sample, l Labels, pseudo *Sample) {
	for _, p := range pseudo.Known {
		if own := s.Label(p.Task()); own != nil {
			p = own.Fill(p, l[p.Task()].Unknown)
		}
		s.Put(p)
	}
}

// Lack reduces a pseudo label to what s, of a set with labels l, lacks and [Fill] would add.
func Lack(s *Sample, l Labels, pseudo *Sample) {
	for _, p := range pseudo.Known {
		if own := s.Label(p.Task()); own != nil {
			pseudo.Forget(p.Task())
			pseudo.Put(p.Lack(own, l[p.Task()]))
		}
	}
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
	for _, l := range s.Known {
		if !slices.Contains(o.tasks, l.Task()) {
			s.Forget(l.Task())
		}
	}
	return s, nil
}
