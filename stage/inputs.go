package stage

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"must/strict"
	"must/teacher"
)

// Inputs are all that the result of a stage depends on.
type Inputs struct {
	Settings []Setting
	Parts    []Part
	From     []Source
}

// A Setting is one of a stage's, or several under one name. Its value is written as in a recipe.
type Setting struct {
	Name  string
	Value any
}

// A Part is one of a data set's: train, val or test.
type Part struct {
	Set, Part string
	Own       bool     // in the set's own classes, not the recipe's
	Tasks     []string // whose labels are read, in the recipe's classes; nil: of all
	Optional  bool     // what it is for is left out where the set has no such part
}

// A Source is what a stage goes on from: the result of an earlier stage, a file of weights, or an
// external teacher.
type Source struct {
	Name     string
	Kind     string // that the stage has to be of; "": train
	Stage    bool   // files will not do
	External bool   // external teachers will do
	Predicts bool   // it has to have learned tasks
}

// Add adds a setting.
func (in *Inputs) Add(name string, value any) {
	in.Settings = append(in.Settings, Setting{name, value})
}

// Read adds parts of data sets in the recipe's classes, of some tasks; nil: of all.
func (in *Inputs) Read(tasks []string, part string, sets ...string) {
	for _, s := range sets {
		in.Parts = append(in.Parts, Part{Set: s, Part: part, Tasks: tasks})
	}
}

// ReadOwn adds parts of a data set in its own classes.
func (in *Inputs) ReadOwn(set string, parts ...string) {
	for _, p := range parts {
		in.Parts = append(in.Parts, Part{Set: set, Part: p, Own: true})
	}
}

// Stages lists the earlier stages whose results are read, each once.
func (in *Inputs) Stages(e *Env) (names []string) {
	for _, s := range in.From {
		if e.Step(s.Name) != nil && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// IsExternal reports whether a name is that of an external teacher: one that the recipe declares, or a
// file that does.
func (e *Env) IsExternal(name string) bool {
	return e.External[name] != nil || teacher.IsDeclaration(name)
}

// check tells which of the inputs there cannot be.
func (in *Inputs) check(e *Env) error {
	for _, p := range in.Parts {
		if err := e.CheckSets(p.Set); err != nil {
			return err
		}
	}
	for _, s := range in.From {
		if err := s.check(e); err != nil {
			return err
		}
	}
	return nil
}

// weightFiles are the endings of files of weights.
var weightFiles = []string{".safetensors", ".pth", ".pt", ".bin"}

func (s Source) check(e *Env) error {
	kind := s.Kind
	if kind == "" {
		kind = "train"
	}
	step := e.Step(s.Name)
	isFile := slices.Contains(weightFiles, filepath.Ext(s.Name))
	switch {
	case s.Name == "" && s.Predicts:
		return fmt.Errorf("a network is missing: name a train stage or a file of weights")
	case s.Name == "", s.External && e.IsExternal(s.Name), step == nil && isFile && !s.Stage:
		return nil
	case step != nil && step.Kind == kind:
		if t, ok := step.Stage.(*Train); ok && s.Predicts && t.Pretext != nil {
			return fmt.Errorf("stage %s has learned no task: it predicts nothing until another stage has trained from it", s.Name)
		}
		return nil
	}
	near := strict.Suggest(s.Name, e.names())
	switch {
	case s.Stage:
		return fmt.Errorf("%q is no earlier %s stage%s", s.Name, kind, near)
	case s.External:
		return fmt.Errorf("%q is neither an earlier train stage nor a file of weights (%s), nor declared under teachers, nor a %s file%s",
			s.Name, strings.Join(weightFiles, ", "), teacher.Suffix, near)
	}
	return fmt.Errorf("%q is neither an earlier train stage nor a file of weights (%s)%s", s.Name, strings.Join(weightFiles, ", "), near)
}
