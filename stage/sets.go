package stage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"must/data"
	"must/data/formats"
	"must/label/shards"
	"must/task/depth"
)

// sets are the parts of data sets that have been opened, each once, so that it is parsed once and
// rendered images are kept once.
type sets struct {
	opened map[string]data.Dataset
	faults map[string]error
}

// ErrSet marks what follows from a set that is known to be of no use.
var ErrSet = errors.New("a data set that it needs cannot be used")

// Refuse has all that opens a set get ErrSet, since why it is of no use has been told.
func (e *Env) Refuse(set string, why error) {
	if e.faults == nil {
		e.faults = map[string]error{}
	}
	e.faults[set] = why
}

// Usable reports whether a set has not been refused.
func (e *Env) Usable(set string) bool { return e.faults[set] == nil }

// OpenOwn returns one part of a set in its own classes.
func (e *Env) OpenOwn(set, part string) (data.Dataset, error) {
	ds, err := e.own(set, part)
	if err != nil {
		return nil, err
	}
	return e.labelled(ds, set)
}

// Open returns one part of a set in the recipe's classes.
func (e *Env) Open(set, part string) (data.Dataset, error) {
	return e.cached(set, set+"/"+part, func() (data.Dataset, error) {
		ds, err := e.own(set, part)
		if err != nil {
			return nil, err
		}
		mappings, err := e.Mappings(set, ds.Labels())
		if err != nil {
			return nil, err
		}
		if e.Spaces[depth.Name] != nil {
			ds = depth.Invert(ds)
		}
		return e.labelled(data.Remap(ds, mappings...), set)
	})
}

// optional opens a part in the recipe's classes; nil where the set has none. One that cannot be read is an
// error all the same.
func (e *Env) optional(set, part string) (data.Dataset, error) {
	ds, err := e.Open(set, part)
	if errors.Is(err, data.ErrNoPart) {
		return nil, nil
	}
	return ds, err
}

// valPart names the part that serves as a set's val part.
func (e *Env) valPart(set string) string {
	if e.Data[set].From("val").Split == e.Data[set].From("test").Split {
		return "test"
	}
	return "val"
}

func (e *Env) cached(set, name string, open func() (data.Dataset, error)) (data.Dataset, error) {
	if e.faults[set] != nil {
		return nil, ErrSet
	}
	if ds := e.opened[name]; ds != nil {
		return ds, nil
	}
	ds, err := open()
	if err != nil {
		return nil, err
	}
	if e.opened == nil {
		e.opened = map[string]data.Dataset{}
	}
	e.opened[name] = ds
	return ds, nil
}

// Close closes the files of all sets. They are opened anew where they are asked for again.
func (e *Env) Close() (err error) {
	for _, name := range slices.Sorted(maps.Keys(e.opened)) {
		if strings.HasPrefix(name, "own/") { // the others are made of these
			err = errors.Join(err, data.Close(e.opened[name]))
		}
	}
	e.opened = nil
	return err
}

// own opens one part of a set in its own classes, without pseudo labels.
func (e *Env) own(set, part string) (data.Dataset, error) {
	return e.cached(set, "own/"+set+"/"+part, func() (data.Dataset, error) {
		src := e.Data[set].From(part)
		src.Labels = ""
		held := e.Data[set].Holdout > 0 && part != "test"
		if held {
			src.Count = 0
		}
		ds, err := formats.Open(src)
		if err != nil {
			return nil, fmt.Errorf("data set %s, %s part: %w", set, part, err)
		}
		if held {
			left, out := data.HoldOut(ds, e.Data[set].Holdout)
			if ds = left; part == "val" {
				ds = out
			}
			if n := e.Data[set].From(part).Count; n > 0 {
				ds = data.Spread(ds, n)
			}
		}
		if tasks := e.Data[set].Tasks; tasks != nil {
			ds = data.Only(ds, tasks...)
		}
		return &limited{Dataset: ds, name: fmt.Sprintf("data set %s, %s part", set, part), share: e.MaxBroken}, nil
	})
}

// labelled adds to a part of a set the pseudo labels that its entry names.
func (e *Env) labelled(ds data.Dataset, set string) (data.Dataset, error) {
	if dir := e.Data[set].Labels; dir != "" {
		return shards.Merge(ds, dir)
	}
	return ds, nil
}

// classes returns the recipe's classes of a task; nil where it declares none.
func (e *Env) classes(task string) ([]string, error) {
	s := e.Spaces[task]
	if s == nil {
		return nil, nil
	}
	if s.From == "" {
		return s.Classes, nil
	}
	ds, err := e.own(s.From, "train")
	if err != nil {
		return nil, fmt.Errorf("spaces.%s: %w", task, err)
	}
	names := ds.Labels()[task].Classes
	if names == nil {
		return nil, fmt.Errorf("spaces.%s: data set %s has no labels for it", task, s.From)
	}
	return names, nil
}

// Mappings returns how the classes of a set with the labels l become the recipe's, for every task that
// both know.
func (e *Env) Mappings(set string, l data.Labels) ([]data.Mapping, error) {
	var mappings []data.Mapping
	for _, task := range data.ClassTasks() {
		from := l[task].Classes
		to, err := e.classes(task)
		if err != nil {
			return nil, err
		}
		if from == nil || to == nil {
			continue
		}
		m, err := data.MapClasses(task, from, to, e.Data[set].Map[task])
		if err != nil {
			return nil, fmt.Errorf("data.%s.map.%w", set, err)
		}
		if len(m.Unknown()) == len(to) {
			return nil, fmt.Errorf("data set %s: none of its classes for %s (%q, …) is one of the recipe's (%q, …); map them by data.%[1]s.map.%[2]s, or leave its labels aside by data.%[1]s.tasks",
				set, task, from[0], to[0])
		}
		mappings = append(mappings, m)
	}
	return mappings, nil
}
