package data

import (
	"errors"
	"fmt"
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
		for _, task := range l.Tasks() {
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

// Close closes all parts.
func (u *union) Close() (err error) {
	for _, p := range u.parts {
		err = errors.Join(err, Close(p))
	}
	return err
}

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
