// Package recipe reads recipe files: which keys there are, what they mean together, changes of single
// settings, and recipes that extend others. What each kind of stage is told and does is in package stage;
// package run runs them.
package recipe

import (
	"fmt"
	"maps"
	"slices"

	"must/data"
	"must/model"
	"must/network"
	"must/onnx"
	"must/task/detection"
	"must/train"
)

// Version is the program's, set by the command.
var Version = "unknown"

// A Recipe says what is trained on what. docs/recipes.md explains every key.
type Recipe struct {
	Base      string            `yaml:"base,omitempty"` // recipe that this one extends; gone once it is loaded
	Name      string            `yaml:"name"`
	About     string            `yaml:"about,omitempty"`
	Seed      uint64            `yaml:"seed"`
	Size      int               `yaml:"size"` // side of all networks' input in pixels
	Model     model.Config      `yaml:"model"`
	Detection detection.Config  `yaml:"detection"`
	Train     train.Config      `yaml:"train"`            // what stages begin with
	MaxBroken float64           `yaml:"max_broken"`       // share of a part's images that cannot be read, above which a stage stops
	Spaces    map[string]*Space `yaml:"spaces,omitempty"` // by task, its classes in this recipe; absent: those of its sets, which must then be the same
	Data      map[string]*Set   `yaml:"data"`

	External map[string]*onnx.Declaration `yaml:"teachers,omitempty"` // teachers that are models of other programs

	Stages  []*Stage  `yaml:"stages"`
	Figures []*Figure `yaml:"figures,omitempty"` // of the report, drawn from trials
	Quick   []string  `yaml:"quick,omitempty"`   // settings of a shorter run, key=value
}

// A Set is a data set with its parts. Count limits each part.
type Set struct {
	data.Source `yaml:",inline"`
	About       string            `yaml:"about,omitempty"`
	Parts       map[string]int    `yaml:"parts,omitempty"`   // samples per split; absent or 0: all
	Splits      map[string]string `yaml:"splits,omitempty"`  // what the set calls train, val and test, where it has other names
	Holdout     float64           `yaml:"holdout,omitempty"` // share of the train part that is the val part instead, of a set that has none

	Tasks []string                     `yaml:"tasks,omitempty"` // whose labels are used; absent: all
	Map   map[string]map[string]string `yaml:"map,omitempty"`   // by task, the set's class to the recipe's; "": none of them
}

// From returns one part of the set as its format opens it: train, val or test.
func (s *Set) From(part string) data.Source {
	src := s.Source
	src.Split = part
	if part == "val" && s.Holdout > 0 {
		src.Split = "train"
	}
	if name, ok := s.Splits[src.Split]; ok {
		src.Split = name
	}
	if n := s.Parts[part]; n > 0 {
		src.Count = n
	}
	return src
}

// A Figure compares what was fine-tuned in a transfer stage: how much better than one of the pretrained
// weights the others are.
type Figure struct {
	Title   string        `yaml:"title"`
	Text    string        `yaml:"text,omitempty"` // what there is to see
	Stage   string        `yaml:"stage"`          // transfer
	Against string        `yaml:"against"`        // which is 100 %
	X       string        `yaml:"x,omitempty"`    // what the axis is; absent: the points are cases
	LogX    bool          `yaml:"log_x,omitempty"`
	Points  []FigurePoint `yaml:"points"`
}

// A FigurePoint is one of the pretrained weights by its name in the transfer stage, and where it stands
// on the axis: a number or a name.
type FigurePoint struct {
	At   string `yaml:"at"`
	From string `yaml:"from"`
}

// Defaults are the values of keys that a recipe leaves out.
func Defaults() *Recipe {
	return &Recipe{Seed: 1, Size: 224, Model: model.DefaultConfig(), Detection: detection.DefaultConfig(), Train: train.DefaultConfig(), MaxBroken: 0.1}
}

// Settings returns the recipe's train settings with changes, the later ones winning.
func (r *Recipe) Settings(changes ...*Changes) (train.Config, error) {
	c := r.Train
	c.Seed = r.Seed
	for _, n := range changes {
		if err := n.Apply(&c); err != nil {
			return c, fmt.Errorf("with: %w", err)
		}
	}
	c.Augment.Size = r.Size
	return c, c.Check()
}

// Architecture returns the recipe's with changes.
func (r *Recipe) Architecture(changes *Changes) (model.Config, error) {
	m := r.Model
	if err := changes.Apply(&m); err != nil {
		return m, fmt.Errorf("model: %w", err)
	}
	return m, m.Check()
}

// Spec describes a network of this recipe.
func (r *Recipe) Spec(tasks []string, labels data.Labels) network.Spec {
	return network.Spec{
		Model: r.Model, Detection: r.Detection, Tasks: tasks, Labels: labels.Plain(), Size: r.Size,
		Mean: network.ImageNetMean, Std: network.ImageNetStd,
	}
}

// Names lists the keys of a map in order.
func Names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
