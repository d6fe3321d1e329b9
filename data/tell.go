package data

import "slices"

// A Teller is a dataset that knows without decoding them which of its samples carry a label.
type Teller interface {
	Carries(i int, task string) bool
}

// Carries reports whether sample i carries a label for a task, as far as its reader knows before it decodes
// it; readers that do not tell are taken to label all of their samples.
func Carries(d Dataset, i int, task string) bool {
	if !d.Labels().Has(task) {
		return false
	}
	switch t := d.(type) {
	case Teller:
		return t.Carries(i, task)
	case interface{ Unwrap() Dataset }:
		if base := t.Unwrap(); base.Len() == d.Len() {
			return !base.Labels().Has(task) || Carries(base, i, task)
		}
	}
	return true
}

// Labelled counts the samples that carry a label for a task, see [Carries].
func Labelled(d Dataset, task string) (n int) {
	if !d.Labels().Has(task) {
		return 0
	}
	for i := range d.Len() {
		if Carries(d, i, task) {
			n++
		}
	}
	return n
}

func (s spread) Carries(i int, task string) bool   { return Carries(s.Dataset, s.at(i), task) }
func (c chosen) Carries(i int, task string) bool   { return Carries(c.Dataset, int(c.index[i]), task) }
func (r remapped) Carries(i int, task string) bool { return Carries(r.Dataset, i, task) }

func (o only) Carries(i int, task string) bool {
	return slices.Contains(o.tasks, task) && Carries(o.Dataset, i, task)
}

func (u *union) Carries(i int, task string) bool {
	p, j := u.locate(i)
	return Carries(u.parts[p], j, task)
}

// Notes are those of the parts; each once.
func (u *union) Notes() (notes []string) {
	for _, p := range u.parts {
		for _, n := range Notes(p) {
			if !slices.Contains(notes, n) {
				notes = append(notes, n)
			}
		}
	}
	return notes
}

func (r remapped) Unwrap() Dataset { return r.Dataset }
func (o only) Unwrap() Dataset     { return o.Dataset }
