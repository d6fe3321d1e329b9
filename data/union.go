package data

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
)

// Union is the concatenation of its parts. Drawn from uniformly it is the paper's cross-dataset
// training set (MuST, section 3.2): no part is weighted or batched apart. Key k of part i becomes
// "i/k". A task that several parts label must mean the same in all of them: class names in the same
// order, the same unit of depth.
func Union(parts ...Dataset) (Dataset, error) {
	u := &union{parts: parts, ends: make([]int, len(parts))}
	owner := map[string]int{} // the first part with labels for a task
	for i, p := range parts {
		l := p.Labels()
		for _, task := range Tasks {
			if !l.Has(task) {
				continue
			}
			if j, ok := owner[task]; ok {
				if err := u.labels.Conflict(l, task); err != nil {
					return nil, fmt.Errorf("union of datasets: parts %d and %d: %w", j, i, err)
				}
			} else {
				owner[task] = i
			}
		}
		u.labels = u.labels.Join(l)
		u.ends[i] = p.Len()
		if i > 0 {
			u.ends[i] += u.ends[i-1]
		}
	}
	return u, nil
}

type union struct {
	parts  []Dataset
	ends   []int // index after the last sample of each part
	labels Labels
}

// locate returns the part of sample i and its index there.
func (u *union) locate(i int) (part, index int) {
	part = sort.SearchInts(u.ends, i+1)
	if part > 0 {
		i -= u.ends[part-1]
	}
	return part, i
}

func (u *union) Len() int {
	if len(u.ends) == 0 {
		return 0
	}
	return u.ends[len(u.ends)-1]
}

func (u *union) Labels() Labels { return u.labels }

func (u *union) Key(i int) string {
	p, j := u.locate(i)
	return strconv.Itoa(p) + "/" + u.parts[p].Key(j)
}

func (u *union) Sample(i int) (*Sample, error) {
	p, j := u.locate(i)
	s, err := u.parts[p].Sample(j)
	if err != nil {
		if se, ok := errors.AsType[*SampleError](err); ok {
			return nil, &SampleError{u.Key(i), se.File, se.Err}
		}
		return nil, err
	}
	s.Key = u.Key(i)
	return s, nil
}

// Conflict returns an error where both l and m have labels for the task but their values do not
// mean the same, and nil otherwise.
func (l Labels) Conflict(m Labels, task string) error {
	if !l.Has(task) || !m.Has(task) {
		return nil
	}
	switch task {
	case Classification:
		return conflict(task, l.Classification, m.Classification)
	case Detection:
		return conflict(task, l.Detection, m.Detection)
	case Segmentation:
		return conflict(task, l.Segmentation, m.Segmentation)
	case Depth:
		if l.Depth != m.Depth {
			return fmt.Errorf("depth: one is %s, the other %s; {depth: inverse} under spaces turns metric depth into inverse", l.Depth, m.Depth)
		}
	}
	return nil
}

func conflict(task string, a, b []string) error {
	if slices.Equal(a, b) {
		return nil
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Errorf("%s: class %d is %q in one and %q in the other (%d and %d classes)",
				task, i, a[i], b[i], len(a), len(b))
		}
	}
	return fmt.Errorf("%s: one has %d classes, the other %d", task, len(a), len(b))
}

// Join returns l with the tasks that only m has added. Of a task that both have, those classes stay
// unknown that neither tells of.
func (l Labels) Join(m Labels) Labels {
	unknown := map[string][]int{}
	for _, task := range Tasks {
		both := l.Unknown[task]
		switch {
		case !l.Has(task):
			both = m.Unknown[task]
		case m.Has(task):
			both = common(both, m.Unknown[task])
		}
		if both != nil {
			unknown[task] = both
		}
	}
	l.Unknown = nil
	if len(unknown) > 0 {
		l.Unknown = unknown
	}
	if !l.Has(Classification) {
		l.Classification = m.Classification
	}
	if !l.Has(Detection) {
		l.Detection = m.Detection
	}
	if !l.Has(Segmentation) {
		l.Segmentation = m.Segmentation
	}
	if !l.Has(Depth) {
		l.Depth = m.Depth
	}
	l.Masks = l.Masks || m.Masks
	l.Normals = l.Normals || m.Normals
	return l
}

// Only returns l with some of its tasks.
func (l Labels) Only(tasks ...string) Labels {
	keep := func(task string) bool { return slices.Contains(tasks, task) }
	if !keep(Classification) {
		l.Classification = nil
	}
	if !keep(Detection) {
		l.Detection, l.Masks = nil, false
	}
	if !keep(Segmentation) {
		l.Segmentation = nil
	}
	if !keep(Depth) {
		l.Depth = ""
	}
	l.Normals = l.Normals && keep(Normals)
	return l
}

// common returns the elements of a that are in b too; nil for none.
func common(a, b []int) (both []int) {
	for _, x := range a {
		if slices.Contains(b, x) {
			both = append(both, x)
		}
	}
	return both
}
