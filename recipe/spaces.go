package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"must/data"
	"must/strict"
	"must/task/depth"
	"must/task/registry"
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
		return strict.Decode(n, &s.Classes)
	case *ast.StringNode:
		return strict.Decode(n, &s.Units)
	}
	type plain Space
	return strict.Decode(n, (*plain)(s))
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

func (r *Recipe) checkSpaces() error {
	for _, task := range Names(r.Spaces) {
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
		case !slices.Contains(data.ClassTasks(), task):
			return fmt.Errorf("spaces: no task %q with classes%s", task, strict.Suggest(task, data.ClassTasks()))
		case s == nil || s.From == "" && len(s.Classes) == 0:
			return fmt.Errorf("spaces.%s is empty; give it a list of classes, or {from: SET}", task)
		case s.From != "" && r.Data[s.From] == nil:
			return fmt.Errorf("spaces.%s: no data set %q%s", task, s.From, strict.Suggest(s.From, Names(r.Data)))
		}
		if s.Classes != nil {
			if err := registry.Get(task).Check(data.Meaning{Classes: s.Classes}); err != nil {
				return fmt.Errorf("spaces.%s: %w", task, err)
			}
		}
		for i, c := range s.Classes {
			if strings.TrimSpace(c) == "" || slices.Contains(s.Classes[:i], c) {
				return fmt.Errorf("spaces.%s: class %d, %q, is empty or there twice", task, i, c)
			}
		}
	}
	for _, name := range Names(r.Data) {
		set := r.Data[name]
		for _, task := range Names(set.Map) {
			if r.Spaces[task] == nil {
				return fmt.Errorf("data.%s.map.%s: nothing to map to; declare the task's classes under spaces", name, task)
			}
		}
		for _, task := range set.Tasks {
			if !registry.Has(task) {
				return fmt.Errorf("data.%s.tasks: no task %q%s", name, task, strict.Suggest(task, data.Tasks()))
			}
		}
	}
	return nil
}
