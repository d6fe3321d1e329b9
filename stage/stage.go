// Package stage has the kinds of stages that a recipe can have, one file each: what they are told, what is
// wrong with that, all that they depend on, what they cost, what they do, and what of it the report shows.
// Package run runs them. docs/architecture.md tells how to add a kind.
package stage

import (
	"context"
	"fmt"

	"must/dist"
	"must/progress"
	"must/recipe"
	"must/report"
)

// A Stage does one thing: it reads data sets and the results of earlier stages, and writes one folder.
// Its fields are its keys in a recipe.
type Stage interface {
	// Check tells what is wrong with the keys, and fills in those that are left out. e has the stages
	// before this one only. What Inputs lists is checked by the caller.
	Check(e *Env) error

	// Inputs lists all that the result depends on. It opens nothing. It is what order, fingerprint,
	// checks and the dry run go by: what a stage reads and does not list is a fault.
	Inputs(e *Env) (Inputs, error)

	// Cost says what there is to do, and what of it is left. It opens the data sets, and fails where Run
	// would.
	Cost(w *Work) (Cost, error)

	// Run does it, from where an earlier call that was cut off has left the folder. When ctx ends it
	// saves its state and returns an error.
	Run(ctx context.Context, w *Work) error

	// Report shows what is in the folder so far.
	Report(w *Work, p *report.Report) error
}

// A Parted stage does work that several processes can share.
type Parted interface {
	Stage

	// Parts lists the parts that are not done; each can be done by itself.
	Parts(w *Work) []string

	// RunPart does one of them.
	RunPart(ctx context.Context, w *Work, part string) error
}

// kinds is the table of all stages.
var kinds = []struct {
	name string
	keys Stage
}{
	{"show", (*Show)(nil)},
	{"train", (*Train)(nil)},
	{"label", (*Label)(nil)},
	{"score", (*Score)(nil)},
	{"probe", (*Probe)(nil)},
	{"transfer", (*Transfer)(nil)},
}

func init() {
	for _, k := range kinds {
		recipe.Register(k.name, k.keys)
	}
}

// A Step is a stage of a recipe by its name.
type Step struct {
	Name, Kind string
	Stage
}

// An Env is what stages work with: the recipe and its stages, the data sets, and the folders.
type Env struct {
	*recipe.Recipe
	Steps []*Step

	Engine
	sets
}

// An Engine is what runs stages; package run has it.
type Engine interface {
	Folder(stage string) string    // where a stage's result lies
	Earlier(stage string) []string // other folders of it, of other inputs, the latest first
	Ended(stage string) bool       // whether it is whole
	Fingerprint(in Inputs) string  // another one for other inputs
}

// Work is one stage at work, or one that is reported on.
type Work struct {
	*Env
	Name    string
	Dir     string // its folder
	Display *progress.Display
	World   *dist.World // of the processes that run it together; nil: this one alone

	Seconds float64 // for the report: spent so far
}

// New reads the stages of a recipe and checks them.
func New(r *recipe.Recipe) (*Env, error) {
	e := &Env{Recipe: r}
	for i, s := range r.Stages {
		step := &Step{s.Name, s.Kind, s.Keys.(Stage)}
		if err := e.check(step); err != nil {
			return nil, fmt.Errorf("stage %d (%s): %w", i+1, s.Name, err)
		}
		e.Steps = append(e.Steps, step)
	}
	for i, f := range r.Figures {
		if err := e.checkFigure(f); err != nil {
			return nil, fmt.Errorf("figure %d (%s): %w", i+1, f.Title, err)
		}
	}
	return e, nil
}

func (e *Env) check(s *Step) error {
	if err := s.Check(e); err != nil {
		return err
	}
	in, err := s.Inputs(e)
	if err != nil {
		return err
	}
	return in.check(e)
}

// Step returns the stage of a name; nil where there is none.
func (e *Env) Step(name string) *Step {
	for _, s := range e.Steps {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// find returns the stage of a name if it is of a kind.
func find[S Stage](e *Env, name string) (s S, ok bool) {
	if step := e.Step(name); step != nil {
		s, ok = step.Stage.(S)
	}
	return s, ok
}

// names lists the stages.
func (e *Env) names() (names []string) {
	for _, s := range e.Steps {
		names = append(names, s.Name)
	}
	return names
}
