package recipe

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/formats"
	"must/label"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

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
	labels := data.Labels{classification.Name: {Classes: some}, detection.Name: {Classes: some}, segmentation.Name: {Classes: some}, depth.Name: {Units: data.Metric}, normals.Name: {}}
	if err := r.spec(data.Tasks(), labels).Check(); err != nil {
		return err
	}
	for _, name := range keys(r.Data) {
		s := r.Data[name]
		if !plain(name) {
			return fmt.Errorf("data set %q: its name is that of a file or folder too and must be a plain word", name)
		}
		if _, err := formats.Find(s.Format); err != nil {
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
		if err := (checker{r, before}).stage(s); err != nil {
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

// A checker tells what is wrong with a stage, by the stages before it.
type checker struct {
	*Recipe
	before map[string]*Stage
}

func (k checker) stage(s *Stage) error {
	if !plain(s.Name) {
		return fmt.Errorf("its name must be a plain word")
	}
	if k.before[s.Name] != nil {
		return fmt.Errorf("there is an earlier stage of this name")
	}
	switch kind := s.Kind(); kind {
	case "show":
		return k.sets(s.Show.Data...)
	case "train":
		return k.train(s.Train)
	case "label":
		return k.label(s.Label)
	case "score":
		return k.score(s.Score)
	case "probe":
		return k.probe(s.Probe)
	case "transfer":
		return k.transfer(s.Transfer)
	case "":
		return fmt.Errorf("it does nothing; give it one of show, train, label, score, probe, transfer")
	default:
		return fmt.Errorf("it has %s; a stage does one thing", kind)
	}
}

func (k checker) train(t *TrainStage) error {
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
	if t.Labels != "" && (k.before[t.Labels] == nil || k.before[t.Labels].Label == nil) {
		return fmt.Errorf("labels: %q is no earlier label stage%s", t.Labels, suggest(t.Labels, keys(k.before)))
	}
	if _, err := k.config(t); err != nil {
		return err
	}
	if _, err := k.model(t.Model); err != nil {
		return err
	}
	return cmp.Or(k.sets(t.Data...), k.tasks(t.Tasks...), k.tasks(keys(t.Weights)...), k.start(t.From))
}

func (k checker) label(l *LabelStage) error {
	if len(l.Teachers) == 0 {
		return fmt.Errorf("label needs teachers")
	}
	if l.Thresholds == nil {
		l.Thresholds = label.DefaultThresholds()
	}
	for _, t := range l.Teachers {
		if k.isForeign(t) {
			continue
		}
		if err := k.start(t); err != nil {
			return fmt.Errorf("%w, nor declared under teachers, nor a %s file", err, teacherSuffix)
		}
		if err := k.predicts(t); err != nil {
			return err
		}
	}
	return k.sets(l.Data...)
}

func (k checker) score(s *ScoreStage) error {
	if err := cmp.Or(k.predicts(s.Student), k.tasks(keys(s.Teachers)...)); err != nil {
		return err
	}
	for _, name := range keys(s.Teachers) {
		t := s.Teachers[name]
		if k.before[t] == nil || k.before[t].Train == nil {
			return fmt.Errorf("%q is no earlier train stage%s", t, suggest(t, keys(k.before)))
		}
		if err := k.predicts(t); err != nil {
			return err
		}
	}
	return nil
}

func (k checker) probe(p *ProbeStage) error {
	if len(p.From) == 0 {
		return fmt.Errorf("probe needs starts: from")
	}
	for _, n := range p.Neighbours {
		if n < 1 {
			return fmt.Errorf("neighbours: %d of them cannot vote", n)
		}
	}
	return cmp.Or(k.sets(p.Data), k.starts(p.From))
}

func (k checker) transfer(t *TransferStage) error {
	if len(t.Seeds) == 0 {
		t.Seeds = []uint64{k.Seed}
	}
	if len(t.Sets) == 0 || len(t.From) == 0 {
		return fmt.Errorf("transfer needs sets, and starts: from")
	}
	seen := map[string]bool{}
	for _, d := range t.Sets {
		if d == nil {
			return fmt.Errorf("one of its sets is empty")
		}
		if err := cmp.Or(k.sets(d.Data), k.tasks(d.Task)); err != nil {
			return err
		}
		if seen[d.Data] {
			return fmt.Errorf("set %s is listed twice; give it a second name under data for another task", d.Data)
		}
		seen[d.Data] = true
		c, err := k.trainConfig(t.With, d.With)
		if err != nil {
			return err
		}
		if t.Sweep != nil && c.Rule != "" {
			return fmt.Errorf("set %s: train.rule %s chooses learning rate and length, so that there is nothing to sweep; leave one of them out", d.Data, c.Rule)
		}
	}
	return cmp.Or(t.Sweep.check(), k.starts(t.From))
}

func (k checker) sets(names ...string) error {
	for _, n := range names {
		if k.Data[n] == nil {
			return fmt.Errorf("no data set %q%s", n, suggest(n, keys(k.Data)))
		}
	}
	return nil
}

func (k checker) tasks(names ...string) error {
	for _, n := range names {
		if !slices.Contains(data.Tasks(), n) {
			return fmt.Errorf("no task %q%s", n, suggest(n, data.Tasks()))
		}
	}
	return nil
}

// start checks that a name is that of an earlier train stage or of a file.
func (k checker) start(name string) error {
	if name == "" || slices.Contains(weightFiles, filepath.Ext(name)) {
		return nil
	}
	if e := k.before[name]; e == nil || e.Train == nil {
		return fmt.Errorf("%q is neither an earlier train stage nor a file of weights (%s)%s", name, strings.Join(weightFiles, ", "), suggest(name, keys(k.before)))
	}
	return nil
}

// predicts checks that a start has learned tasks, so that it is a network that predicts.
func (k checker) predicts(name string) error {
	if name == "" {
		return fmt.Errorf("a network is missing: name a train stage or a file of weights")
	}
	if e := k.before[name]; e != nil && e.Train != nil && e.Train.Pretext != nil {
		return fmt.Errorf("stage %s has learned no task: it predicts nothing until another stage has trained from it", name)
	}
	return k.start(name)
}

func (k checker) starts(starts map[string]*Start) error {
	for _, name := range keys(starts) {
		from := starts[name]
		if from == nil {
			from = &Start{}
			starts[name] = from
		}
		if !plain(name) || name == imagePicture || name == truthPicture {
			return fmt.Errorf("from: start %q: its name is that of a folder too; choose another plain word", name)
		}
		if err := k.start(from.From); err != nil {
			return err
		}
		if from.From != "" && from.Model != nil {
			return fmt.Errorf("from: start %q: model is for starts from scratch; %s brings its own", name, from.From)
		}
		if _, err := k.model(from.Model); err != nil {
			return fmt.Errorf("from: start %q: %w", name, err)
		}
	}
	return nil
}
