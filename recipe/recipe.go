// Package recipe turns a recipe file into stages and runs them. A stage reads named inputs, writes one
// folder, and is skipped when nothing it depends on has changed; so the same command resumes a run
// that was cut off, and run twice it does the work once.
package recipe

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"must/data"
	"must/model"
	"must/onnx"
	"must/pretext"
	"must/task"
	"must/train"
)

// A Recipe says what is trained on what. docs/recipes.md explains every key.
type Recipe struct {
	Name      string               `yaml:"name"`
	About     string               `yaml:"about,omitempty"`
	Seed      uint64               `yaml:"seed"`
	Size      int                  `yaml:"size"` // side of all networks' input in pixels
	Model     model.Config         `yaml:"model"`
	Detection task.DetectionConfig `yaml:"detection"`
	Train     train.Config         `yaml:"train"`            // what stages start from
	Spaces    map[string]*Space    `yaml:"spaces,omitempty"` // by task, its classes in this recipe; absent: those of its sets, which must then be the same
	Data      map[string]*Set      `yaml:"data"`

	Foreign map[string]*onnx.Declaration `yaml:"teachers,omitempty"` // teachers that are models of others

	Stages  []*Stage  `yaml:"stages"`
	Figures []*Figure `yaml:"figures,omitempty"` // of the report, drawn from trials
	Quick   []string  `yaml:"quick,omitempty"`   // settings of a shorter run, key=value
}

// A Set is a dataset with its parts. Count limits each part.
type Set struct {
	data.Source `yaml:",inline"`
	About       string            `yaml:"about,omitempty"`
	Parts       map[string]int    `yaml:"parts,omitempty"`   // samples per split; absent or 0: all
	Splits      map[string]string `yaml:"splits,omitempty"`  // what the set calls train, val and test, where it has other names
	Holdout     float64           `yaml:"holdout,omitempty"` // share of the train part that is the val part instead, of a set that has none

	Tasks []string                     `yaml:"tasks,omitempty"` // whose labels are used; absent: all
	Map   map[string]map[string]string `yaml:"map,omitempty"`   // by task, the set's class to the recipe's; "": none of them
}

// A Stage does one thing; exactly one of its fields besides Name is set.
type Stage struct {
	Name     string         `yaml:"name"`
	Show     *ShowStage     `yaml:"show,omitempty"`
	Train    *TrainStage    `yaml:"train,omitempty"`
	Label    *LabelStage    `yaml:"label,omitempty"`
	Score    *ScoreStage    `yaml:"score,omitempty"`
	Probe    *ProbeStage    `yaml:"probe,omitempty"`
	Transfer *TransferStage `yaml:"transfer,omitempty"`
}

// A ShowStage draws contact sheets of sets with their labels.
type ShowStage struct {
	Data   []string `yaml:"data"`
	Images int      `yaml:"images,omitempty"` // per set; 0: 12
}

// A TrainStage trains a network on the union of the train parts of its sets.
type TrainStage struct {
	Data    []string           `yaml:"data"`
	Tasks   []string           `yaml:"tasks,omitempty"`
	Pretext *pretext.Config    `yaml:"pretext,omitempty"` // what is learned in place of tasks, without labels
	Labels  string             `yaml:"labels,omitempty"`  // label stage that fills in what is unknown
	From    string             `yaml:"from,omitempty"`    // stage or checkpoint file whose trunk it starts from
	Weights map[string]float64 `yaml:"weights,omitempty"` // of losses; what is absent follows MuST's rule where there are teachers, else 1
	Model   *Changes           `yaml:"model,omitempty"`   // to the recipe's architecture
	With    *Changes           `yaml:"with,omitempty"`    // to the recipe's train settings
}

// A LabelStage has teachers label what sets lack.
type LabelStage struct {
	Data       []string           `yaml:"data"`
	Teachers   []string           `yaml:"teachers"` // stages, checkpoint files, or teachers of others: declared in the recipe or in .teacher.yaml files
	Thresholds map[string]float64 `yaml:"thresholds,omitempty"`
	ShardSize  int                `yaml:"shard_size,omitempty"`
}

// A ScoreStage compares the student with each teacher on the test part of the teacher's set.
type ScoreStage struct {
	Student  string            `yaml:"student"`
	Teachers map[string]string `yaml:"teachers"` // by task, the train stage
}

// A TransferStage fine-tunes starts on sets that they never saw.
type TransferStage struct {
	Sets  []*TransferSet    `yaml:"sets"`
	From  map[string]*Start `yaml:"from"` // by name
	Seeds []uint64          `yaml:"seeds,omitempty"`
	Sweep *Sweep            `yaml:"sweep,omitempty"` // on the val part, alike for all starts
	With  *Changes          `yaml:"with,omitempty"`  // to the recipe's train settings, for all sets
}

// A TransferSet is one downstream task.
type TransferSet struct {
	Data string   `yaml:"data"`
	Task string   `yaml:"task"`
	With *Changes `yaml:"with,omitempty"` // for this set, alike for all starts
}

// A Start is what fine-tuning begins from. In a recipe it may be the name alone.
type Start struct {
	From  string   `yaml:"from"`            // train stage or checkpoint file, whose backbone it brings along; "": from scratch
	Model *Changes `yaml:"model,omitempty"` // to the recipe's architecture, from scratch
	With  *Changes `yaml:"with,omitempty"`  // to the train settings, for what its backbone needs
}

// UnmarshalYAML reads a name or a mapping.
func (s *Start) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.MappingNode); !ok {
		return decodeNode(n, &s.From)
	}
	type plain Start
	return decodeNode(n, (*plain)(s))
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s *Start) MarshalYAML() (any, error) {
	if s.Model == nil && s.With == nil {
		return s.From, nil
	}
	type plain Start
	return (*plain)(s), nil
}

// Kind names what a stage does.
func (s *Stage) Kind() string {
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"show", s.Show != nil}, {"train", s.Train != nil}, {"label", s.Label != nil}, {"score", s.Score != nil}, {"probe", s.Probe != nil}, {"transfer", s.Transfer != nil}} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	return strings.Join(kinds, " and ")
}

// defaults are the values of keys that a recipe leaves out.
func defaults() *Recipe {
	return &Recipe{Seed: 1, Size: 224, Model: model.DefaultConfig(), Detection: task.DefaultDetection(), Train: train.DefaultConfig()}
}

// Load reads a recipe file, or the embedded recipe of that name, and applies settings of the form
// key=value, such as train.lr=0.1 or student.with.epochs=3 (the latter by a stage's name).
func Load(path string, settings []string) (*Recipe, error) {
	b, err := embedded.ReadFile("recipes/" + path + ".yaml")
	if err != nil {
		if b, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("recipe %s: %w; embedded ones are %s", path, err, strings.Join(Embedded(), ", "))
		}
	}
	r, err := Parse(b, settings...)
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", path, err)
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("recipe %s: %w", path, err)
	}
	return r, nil
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// trainConfig applies changes to the recipe's train settings.
func (r *Recipe) trainConfig(changes ...*Changes) (train.Config, error) {
	c := r.Train
	c.Seed = r.Seed
	for _, n := range changes {
		if err := n.apply(&c); err != nil {
			return c, fmt.Errorf("with: %w", err)
		}
	}
	c.Augment.Size = r.Size
	return c, c.Check()
}

// config returns the settings of a train stage. A pretext task brings those it was published with;
// what the stage says wins.
func (r *Recipe) config(t *TrainStage) (train.Config, error) {
	c, err := r.trainConfig(t.With)
	if err != nil || t.Pretext == nil {
		return c, err
	}
	c = t.Pretext.Train(c)
	if err := t.With.apply(&c); err != nil {
		return c, fmt.Errorf("with: %w", err)
	}
	c.Augment.Size = r.Size
	return c, c.Check()
}

// model applies changes to the recipe's architecture.
func (r *Recipe) model(changes *Changes) (model.Config, error) {
	m := r.Model
	if err := changes.apply(&m); err != nil {
		return m, fmt.Errorf("model: %w", err)
	}
	return m, m.Check()
}

// stage returns the stage of a name.
func (r *Recipe) stage(name string) *Stage {
	i := slices.IndexFunc(r.Stages, func(s *Stage) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return r.Stages[i]
}
