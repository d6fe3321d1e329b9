// Package recipe turns a recipe file into stages and runs them. A stage reads named inputs, writes one
// folder, and is skipped when nothing it depends on has changed; so the same command resumes a run
// that was cut off, and run twice it does the work once.
package recipe

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"must/data"
	"must/label"
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

// Check tells what is wrong with a recipe, before anything is opened or spent.
func (r *Recipe) Check() error {
	if !plain(r.Name) {
		return fmt.Errorf("name is %q; it names the output folder and must be a plain word", r.Name)
	}
	r.Train.Augment.Size = r.Size
	if err := r.Train.Check(); err != nil {
		return err
	}
	// What the networks will know is not known yet, and does not matter to these settings.
	some := []string{"some"}
	labels := data.Labels{Classification: some, Detection: some, Segmentation: some, Depth: data.Metric, Normals: true}
	if err := r.spec(data.Tasks, labels).Check(); err != nil {
		return err
	}
	for _, name := range keys(r.Data) {
		s := r.Data[name]
		if !plain(name) {
			return fmt.Errorf("data set %q: its name is that of a file or folder too and must be a plain word", name)
		}
		if _, err := format(s.Format); err != nil {
			return fmt.Errorf("data.%s: %w", name, err)
		}
		if !(s.Holdout >= 0 && s.Holdout < 1) {
			return fmt.Errorf("data.%s.holdout is %v; it is a share of the train part, in [0, 1)", name, s.Holdout)
		}
	}
	if err := r.checkSpaces(); err != nil {
		return err
	}
	if err := r.checkForeign(); err != nil {
		return err
	}
	before := map[string]*Stage{}
	for i, s := range r.Stages {
		if err := r.checkStage(s, before); err != nil {
			return fmt.Errorf("stage %d (%s): %w", i+1, s.Name, err)
		}
		before[s.Name] = s
	}
	drawn := map[string]bool{}
	for i, f := range r.Figures {
		if f == nil {
			return fmt.Errorf("figure %d is empty", i+1)
		}
		if err := f.check(before); err != nil {
			return fmt.Errorf("figure %d (%s): %w", i+1, f.Title, err)
		}
		if drawn[figureFile(f.Title)] {
			return fmt.Errorf("figure %d (%s): an earlier one has this title, which names its picture", i+1, f.Title)
		}
		drawn[figureFile(f.Title)] = true
	}
	return nil
}

// plain reports whether a name can name a file.
func plain(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, `/\`)
}

// weightFiles are the endings of files that a train stage can start from.
var weightFiles = []string{".safetensors", ".pth", ".pt", ".bin"}

func (r *Recipe) checkStage(s *Stage, before map[string]*Stage) error {
	if !plain(s.Name) {
		return fmt.Errorf("its name must be a plain word")
	}
	if before[s.Name] != nil {
		return fmt.Errorf("there is an earlier stage of this name")
	}
	sets := func(names ...string) error {
		for _, n := range names {
			if r.Data[n] == nil {
				return fmt.Errorf("no data set %q%s", n, suggest(n, keys(r.Data)))
			}
		}
		return nil
	}
	// A start is an earlier train stage or a file.
	start := func(name string) error {
		if name == "" || slices.Contains(weightFiles, filepath.Ext(name)) {
			return nil
		}
		if e := before[name]; e == nil || e.Train == nil {
			return fmt.Errorf("%q is neither an earlier train stage nor a file of weights (%s)%s", name, strings.Join(weightFiles, ", "), suggest(name, keys(before)))
		}
		return nil
	}
	// A network that predicts is a start that has learned tasks.
	predicts := func(name string) error {
		if name == "" {
			return fmt.Errorf("a network is missing: name a train stage or a file of weights")
		}
		if e := before[name]; e != nil && e.Train != nil && e.Train.Pretext != nil {
			return fmt.Errorf("stage %s has learned no task: it predicts nothing until another stage has trained from it", name)
		}
		return start(name)
	}
	tasks := func(names ...string) error {
		for _, n := range names {
			if !slices.Contains(data.Tasks, n) {
				return fmt.Errorf("no task %q%s", n, suggest(n, data.Tasks))
			}
		}
		return nil
	}
	switch k := s.Kind(); k {
	case "show":
		return sets(s.Show.Data...)
	case "train":
		t := s.Train
		if len(t.Data) == 0 || (len(t.Tasks) == 0) == (t.Pretext == nil) {
			return fmt.Errorf("train needs data, and either tasks or a pretext task")
		}
		if t.Pretext != nil {
			if t.Labels != "" || t.Weights != nil {
				return fmt.Errorf("a pretext task needs no labels and has one loss: leave labels and weights out")
			}
			if err := t.Pretext.Check(); err != nil {
				return err
			}
		}
		if t.Labels != "" && (before[t.Labels] == nil || before[t.Labels].Label == nil) {
			return fmt.Errorf("labels: %q is no earlier label stage%s", t.Labels, suggest(t.Labels, keys(before)))
		}
		if _, err := r.config(t); err != nil {
			return err
		}
		if _, err := r.model(t.Model); err != nil {
			return err
		}
		return cmp.Or(sets(t.Data...), tasks(t.Tasks...), tasks(keys(t.Weights)...), start(t.From))
	case "label":
		if len(s.Label.Teachers) == 0 {
			return fmt.Errorf("label needs teachers")
		}
		if s.Label.Thresholds == nil {
			s.Label.Thresholds = label.DefaultThresholds()
		}
		for _, t := range s.Label.Teachers {
			if r.isForeign(t) {
				continue
			}
			if err := start(t); err != nil {
				return fmt.Errorf("%w, nor declared under teachers, nor a %s file", err, teacherSuffix)
			}
			if err := predicts(t); err != nil {
				return err
			}
		}
		return sets(s.Label.Data...)
	case "score":
		if err := cmp.Or(predicts(s.Score.Student), tasks(keys(s.Score.Teachers)...)); err != nil {
			return err
		}
		for _, name := range keys(s.Score.Teachers) {
			t := s.Score.Teachers[name]
			if before[t] == nil || before[t].Train == nil {
				return fmt.Errorf("%q is no earlier train stage%s", t, suggest(t, keys(before)))
			}
			if err := predicts(t); err != nil {
				return err
			}
		}
		return nil
	case "probe":
		if len(s.Probe.From) == 0 {
			return fmt.Errorf("probe needs starts: from")
		}
		for _, k := range s.Probe.Neighbours {
			if k < 1 {
				return fmt.Errorf("neighbours: %d of them cannot vote", k)
			}
		}
		return cmp.Or(sets(s.Probe.Data), r.checkStarts(s.Probe.From, start))
	case "transfer":
		t := s.Transfer
		if len(t.Seeds) == 0 {
			t.Seeds = []uint64{r.Seed}
		}
		if len(t.Sets) == 0 || len(t.From) == 0 {
			return fmt.Errorf("transfer needs sets, and starts: from")
		}
		seen := map[string]bool{}
		for _, d := range t.Sets {
			if d == nil {
				return fmt.Errorf("one of its sets is empty")
			}
			if err := cmp.Or(sets(d.Data), tasks(d.Task)); err != nil {
				return err
			}
			if seen[d.Data] {
				return fmt.Errorf("set %s is listed twice; give it a second name under data for another task", d.Data)
			}
			seen[d.Data] = true
			c, err := r.trainConfig(t.With, d.With)
			if err != nil {
				return err
			}
			if t.Sweep != nil && c.Rule != "" {
				return fmt.Errorf("set %s: train.rule %s chooses learning rate and length, so that there is nothing to sweep; leave one of them out", d.Data, c.Rule)
			}
		}
		if err := t.Sweep.check(); err != nil {
			return err
		}
		return r.checkStarts(t.From, start)
	case "":
		return fmt.Errorf("it does nothing; give it one of show, train, label, score, probe, transfer")
	default:
		return fmt.Errorf("it has %s; a stage does one thing", k)
	}
}

func (r *Recipe) checkStarts(starts map[string]*Start, exists func(string) error) error {
	for _, name := range keys(starts) {
		from := starts[name]
		if from == nil {
			from = &Start{}
			starts[name] = from
		}
		if !plain(name) || name == imagePicture || name == truthPicture {
			return fmt.Errorf("from: start %q: its name is that of a folder too; choose another plain word", name)
		}
		if err := exists(from.From); err != nil {
			return err
		}
		if from.From != "" && from.Model != nil {
			return fmt.Errorf("from: start %q: model is for starts from scratch; %s brings its own", name, from.From)
		}
		if _, err := r.model(from.Model); err != nil {
			return fmt.Errorf("from: start %q: %w", name, err)
		}
	}
	return nil
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

// startModel returns the architecture of a start from scratch or from a stage; of a file only the file
// tells, and it is the recipe's here.
func (r *Recipe) startModel(s *Start) (model.Config, error) {
	if e := r.stage(s.From); e != nil {
		return r.model(e.Train.Model)
	}
	return r.model(s.Model)
}

// stage returns the stage of a name.
func (r *Recipe) stage(name string) *Stage {
	i := slices.IndexFunc(r.Stages, func(s *Stage) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return r.Stages[i]
}
