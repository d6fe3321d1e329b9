package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"must/data"
	"must/data/formats"
	"must/label/shards"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
)

// A Space is the classes of a task in this recipe: a list in the file, or those of a data set. Sets
// whose classes are others are mapped into it, except where a transfer stage learns them for their own
// sake. That of depth is its units, inverse: metric depth is turned into it.
type Space struct {
	Classes []string `yaml:"-"`
	Units   string   `yaml:"-"`
	From    string   `yaml:"from"` // data set that has them
}

// UnmarshalYAML reads a list of names, {from: SET}, or units.
func (s *Space) UnmarshalYAML(n ast.Node) error {
	switch n.(type) {
	case *ast.SequenceNode:
		return decodeNode(n, &s.Classes)
	case *ast.StringNode:
		return decodeNode(n, &s.Units)
	}
	type plain Space
	return decodeNode(n, (*plain)(s))
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s Space) MarshalYAML() (any, error) {
	switch {
	case s.Units != "":
		return s.Units, nil
	case s.From != "":
		return map[string]string{"from": s.From}, nil
	}
	return s.Classes, nil
}

// spaceTasks are those whose labels are classes.
var spaceTasks = []string{classification.Name, detection.Name, segmentation.Name}

func (r *Recipe) checkSpaces() error {
	for _, task := range keys(r.Spaces) {
		s := r.Spaces[task]
		if task == depth.Name {
			if s == nil || s.Units != data.Inverse {
				return fmt.Errorf("spaces.depth: it can be %s only, which metric depth is turned into", data.Inverse)
			}
			continue
		}
		switch {
		case s != nil && s.Units != "":
			return fmt.Errorf("spaces.%s is %q; give it a list of classes, or {from: SET}", task, s.Units)
		case !slices.Contains(spaceTasks, task):
			return fmt.Errorf("spaces: no task %q with classes%s", task, suggest(task, spaceTasks))
		case s == nil || s.From == "" && len(s.Classes) == 0:
			return fmt.Errorf("spaces.%s is empty; give it a list of classes, or {from: SET}", task)
		case s.From != "" && r.Data[s.From] == nil:
			return fmt.Errorf("spaces.%s: no data set %q%s", task, s.From, suggest(s.From, keys(r.Data)))
		case task == segmentation.Name && len(s.Classes) > data.Ignore:
			return fmt.Errorf("spaces.%s has %d classes; a map holds at most %d", task, len(s.Classes), data.Ignore)
		}
		for i, c := range s.Classes {
			if strings.TrimSpace(c) == "" || slices.Contains(s.Classes[:i], c) {
				return fmt.Errorf("spaces.%s: class %d, %q, is empty or there twice", task, i, c)
			}
		}
	}
	for _, name := range keys(r.Data) {
		set := r.Data[name]
		for _, task := range keys(set.Map) {
			if r.Spaces[task] == nil {
				return fmt.Errorf("data.%s.map.%s: nothing to map to; declare the task's classes under spaces", name, task)
			}
		}
		for _, task := range set.Tasks {
			if !slices.Contains(data.Tasks(), task) {
				return fmt.Errorf("data.%s.tasks: no task %q%s", name, task, suggest(task, data.Tasks()))
			}
		}
	}
	return nil
}

// own opens one part of a set in its own classes, without pseudo labels.
func (r *Runner) own(set, part string) (data.Dataset, error) {
	return r.cached("own/"+set+"/"+part, func() (data.Dataset, error) {
		src := r.Data[set].source(part)
		src.Labels = ""
		held := r.Data[set].Holdout > 0 && part != "test"
		if held {
			src.Count = 0
		}
		ds, err := formats.Open(src)
		if err != nil {
			return nil, fmt.Errorf("data set %s, %s part: %w", set, part, err)
		}
		if held {
			left, out := data.HoldOut(ds, r.Data[set].Holdout)
			if ds = left; part == "val" {
				ds = out
			}
			if n := r.Data[set].source(part).Count; n > 0 {
				ds = data.Spread(ds, n)
			}
		}
		if tasks := r.Data[set].Tasks; tasks != nil {
			ds = data.Only(ds, tasks...)
		}
		return ds, nil
	})
}

// labelled adds to a part of a set the pseudo labels that its entry names.
func (r *Runner) labelled(ds data.Dataset, set string) (data.Dataset, error) {
	if dir := r.Data[set].Labels; dir != "" {
		return shards.Merge(ds, dir)
	}
	return ds, nil
}

// openOwn returns one part of a set in its own classes.
func (r *Runner) openOwn(set, part string) (data.Dataset, error) {
	ds, err := r.own(set, part)
	if err != nil {
		return nil, err
	}
	return r.labelled(ds, set)
}

// open returns one part of a set in the recipe's classes.
func (r *Runner) open(set, part string) (data.Dataset, error) {
	return r.cached(set+"/"+part, func() (data.Dataset, error) {
		ds, err := r.own(set, part)
		if err != nil {
			return nil, err
		}
		mappings, err := r.mappings(set, ds.Labels())
		if err != nil {
			return nil, err
		}
		if r.Spaces[depth.Name] != nil {
			ds = depth.Invert(ds)
		}
		return r.labelled(data.Remap(ds, mappings...), set)
	})
}

// cached opens a part once, so that it is parsed once and rendered images are kept once.
func (r *Runner) cached(name string, open func() (data.Dataset, error)) (data.Dataset, error) {
	if ds := r.opened[name]; ds != nil {
		return ds, nil
	}
	ds, err := open()
	if err != nil {
		return nil, err
	}
	if r.opened == nil {
		r.opened = map[string]data.Dataset{}
	}
	r.opened[name] = ds
	return ds, nil
}

// classes returns the recipe's classes of a task; nil where it declares none.
func (r *Runner) classes(task string) ([]string, error) {
	s := r.Spaces[task]
	if s == nil || s.From == "" {
		if s == nil {
			return nil, nil
		}
		return s.Classes, nil
	}
	ds, err := r.own(s.From, "train")
	if err != nil {
		return nil, fmt.Errorf("spaces.%s: %w", task, err)
	}
	names := classNames(ds.Labels(), task)
	if names == nil {
		return nil, fmt.Errorf("spaces.%s: data set %s has no labels for it", task, s.From)
	}
	return names, nil
}

func classNames(l data.Labels, task string) []string {
	switch task {
	case classification.Name:
		return l[classification.Name].Classes
	case detection.Name:
		return l[detection.Name].Classes
	case segmentation.Name:
		return l[segmentation.Name].Classes
	}
	return nil
}

// mappings returns how the classes of a set with the labels l become the recipe's, for every task
// that both know.
func (r *Runner) mappings(set string, l data.Labels) ([]data.Mapping, error) {
	var mappings []data.Mapping
	for _, task := range spaceTasks {
		from := classNames(l, task)
		to, err := r.classes(task)
		if err != nil {
			return nil, err
		}
		if from == nil || to == nil {
			continue
		}
		m, err := data.MapClasses(task, from, to, r.Data[set].Map[task])
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
