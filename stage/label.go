package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"must/atomicfile"
	"must/data"
	"must/export"
	"must/label"
	"must/recipe"
	"must/report"
	"must/task"
	"must/teacher"
)

// Label has teachers label what sets lack.
type Label struct {
	Data       []string           `yaml:"data"`
	Teachers   []string           `yaml:"teachers"` // train stages, files of weights, or external teachers: declared in the recipe or in .teacher.yaml files
	Thresholds map[string]float64 `yaml:"thresholds,omitempty"`
	Mask       label.Mask         `yaml:"mask,omitempty"` // classes of pixels in which a task gets no labels
	ShardSize  int                `yaml:"shard_size,omitempty"`
	Engine     string             `yaml:"engine,omitempty"`  // that runs the networks, see export.Engines; labels are the same but for ties
	Quality    []string           `yaml:"quality,omitempty"` // sets whose val parts tell how good the labels of teachers are that no stage trained; absent: data
}

// Check fills in the thresholds.
func (l *Label) Check(e *Env) error {
	if len(l.Teachers) == 0 {
		return fmt.Errorf("label needs teachers")
	}
	if l.Thresholds == nil {
		l.Thresholds = label.DefaultThresholds()
	}
	if err := label.CheckThresholds(l.Thresholds); err != nil {
		return err
	}
	if err := l.Mask.Check(); err != nil {
		return err
	}
	return export.CheckEngine(l.Engine)
}

// Inputs are the sets, the teachers, and the val parts by which their labels are judged.
func (l *Label) Inputs(e *Env) (in Inputs, err error) {
	l.rules(&in)
	in.Read(nil, "train", l.Data...)
	for _, t := range l.Teachers {
		for _, set := range l.judges(e, t) {
			in.Parts = append(in.Parts, Part{Set: set, Part: "val", Optional: true})
		}
	}
	return in, nil
}

// rules adds what the labels of every set depend on.
func (l *Label) rules(in *Inputs) {
	in.Add("thresholds", l.Thresholds)
	if l.Mask != nil {
		in.Add("mask", l.Mask)
	}
	in.Add("shard_size", l.ShardSize)
	in.Add("teachers", l.Teachers)
	in.engine(l.Engine)
	for _, t := range l.Teachers {
		in.From = append(in.From, Source{Name: t, External: true, Predicts: true})
	}
}

// judges lists sets whose val parts a teacher has not learned from: the first one that a teacher of this
// recipe learned from; for others it is not known, and the recipe says.
func (l *Label) judges(e *Env, teacher string) []string {
	if t, ok := find[*Train](e, teacher); ok {
		return t.Data[:1]
	}
	if l.Quality != nil {
		return l.Quality
	}
	return l.Data
}

// judge opens the first val part that has labels for some of a teacher's tasks; nil where there is none.
func (l *Label) judge(e *Env, teacher string, tasks []string) (set string, ds data.Dataset, err error) {
	for _, set := range l.judges(e, teacher) {
		ds, err := e.optional(set, "val")
		if err != nil || ds != nil && slices.ContainsFunc(tasks, ds.Labels().Has) {
			return set, ds, err
		}
	}
	return "", nil, nil
}

// Cost is a prediction of every image by every teacher, and of those that judge it.
func (l *Label) Cost(w *Work) (c Cost, err error) {
	images, left, reads := 0, 0, map[string]float64{}
	for _, n := range l.Data {
		ds, err := w.Open(n, "train")
		if err != nil {
			return c, err
		}
		images += ds.Len()
		if l.whole(w, n) == "" {
			left += ds.Len()
			reads[n] += float64(ds.Len())
		}
	}
	for n := range reads {
		reads[n] /= float64(left)
	}
	for _, from := range l.Teachers {
		spec, err := w.spec(from)
		if err != nil {
			return c, err
		}
		for _, n := range l.Data {
			ds, err := w.Open(n, "train")
			if err != nil {
				return c, err
			}
			for _, task := range label.Missing(ds, []label.Teacher{{Tasks: spec.Tasks}}) {
				if err := spec.Labels.Conflict(ds.Labels(), task); err != nil {
					return c, fmt.Errorf("the labels of teacher %s are not those of %s: %w; declare the classes under spaces", from, n, err)
				}
			}
		}
		run := Run{Spec: spec, Config: w.Train, Predict: left, Times: 1, Reads: reads}
		if w.IsExternal(from) {
			run.External = from
		}
		_, judge, err := l.judge(w.Env, from, spec.Tasks)
		if err != nil {
			return c, err
		}
		if judge != nil {
			run.Predict += judge.Len()
		}
		c.Runs = append(c.Runs, run)
	}
	c.Text = fmt.Sprintf("%s by %s", count(images, "image"), count(len(l.Teachers), "teacher"))
	return c, nil
}

// Run labels: SET/ is a set of shards; quality.json tells how good the labels are.
func (l *Label) Run(ctx context.Context, w *Work) error {
	teachers, err := w.teachers(l.Teachers, l.Engine)
	if err != nil {
		return err
	}
	defer teacher.Free(teachers)
	if err := w.callIn(); err != nil {
		return err
	}
	for _, name := range l.Data {
		if whole, err := l.adopt(w, name); err != nil {
			return err
		} else if whole {
			continue
		}
		ds, err := w.Open(name, "train")
		if err != nil {
			return err
		}
		sum, err := label.Run(ctx, ds, teachers, filepath.Join(w.Dir, name), label.Options{
			Name: name, Thresholds: l.Thresholds, Mask: l.Mask, ShardSize: l.ShardSize, Program: "must " + recipe.Version, Display: w.Display,
		})
		if err != nil {
			return err
		}
		for _, h := range sum.Health {
			w.Display.Logf("label %s: %s: %s", name, h.Task, h)
		}
		for _, warning := range sum.Warnings {
			w.Display.Logf("label %s: %s", name, warning)
		}
		if sum.Skipped > 0 {
			w.Display.Logf("label %s: %d of %d images could not be read and were skipped", name, sum.Skipped, sum.Images+sum.Skipped)
		}
		if err := atomicfile.WriteJSON(labelledFile(w.Dir, name), labelled{l.fingerprint(w, name)}); err != nil {
			return err
		}
	}
	if leads, err := w.regroup(); err != nil || !leads {
		return err
	}
	return l.assess(ctx, w, teachers)
}

// labelled is what SET.json says of a set that is labelled.
type labelled struct {
	Fingerprint string `json:"fingerprint"` // of all that its labels depend on
}

func labelledFile(dir, set string) string { return filepath.Join(dir, set+".json") }

// fingerprint is that of the labels of a set, which depend on less than the stage does.
func (l *Label) fingerprint(w *Work, set string) string {
	var in Inputs
	l.rules(&in)
	in.Read(nil, "train", set)
	return w.Fingerprint(in)
}

// whole finds the folder in which the labels of a set are whole: the stage's, or another of its, of other
// sets or other val parts; "": there is none.
func (l *Label) whole(w *Work, set string) string {
	print := l.fingerprint(w, set)
	for _, folder := range append([]string{w.Dir}, w.Earlier(w.Name)...) {
		var other labelled
		if readJSON(labelledFile(folder, set), &other) == nil && other.Fingerprint == print {
			return folder
		}
	}
	return ""
}

// adopt takes over the labels of a set that are whole; false where there are none.
func (l *Label) adopt(w *Work, set string) (whole bool, err error) {
	folder := l.whole(w, set)
	if folder == "" || folder == w.Dir {
		return folder != "", nil
	}
	w.Display.Logf("label %s: taken over from %s", set, filepath.Base(folder))
	return true, errors.Join(
		share(filepath.Join(folder, set), filepath.Join(w.Dir, set), nil),
		atomicfile.WriteJSON(labelledFile(w.Dir, set), labelled{l.fingerprint(w, set)}),
	)
}

// A TeacherQuality tells how good a teacher's labels are on images that it has not learned from.
type TeacherQuality struct {
	Teacher string `json:"teacher"`
	Set     string `json:"set"`
	*label.Quality
}

// QualityFile is what a label stage writes its TeacherQuality into.
const QualityFile = "quality.json"

func (l *Label) assess(ctx context.Context, w *Work, teachers []label.Teacher) error {
	found := []TeacherQuality{}
	for i, from := range l.Teachers {
		set, ds, err := l.judge(w.Env, from, teachers[i].Tasks)
		if err != nil {
			return err
		}
		if ds == nil {
			continue
		}
		q, err := label.Assess(ctx, ds, teachers[i:i+1], label.Options{Name: from, Thresholds: l.Thresholds, Display: w.Display})
		if err != nil {
			return err
		}
		found = append(found, TeacherQuality{from, set, q})
		for _, name := range q.Scores.Tasks() {
			if values := q.Scores[name]; values != nil {
				w.Display.Logf("labels of %s for %s: %s on the %s part", from, name, label.Summarize(values), w.valPart(set))
			}
		}
	}
	return atomicfile.WriteJSON(filepath.Join(w.Dir, QualityFile), found)
}

// source names the teacher whose file path is: a stage, or the file.
func (l *Label) source(path string) string {
	stage, _, _ := strings.Cut(filepath.Base(filepath.Dir(path)), "@")
	if slices.Contains(l.Teachers, stage) {
		return stage
	}
	return filepath.Base(path)
}

// Report shows how good the labels are, when the stage has ended.
func (l *Label) Report(w *Work, p *report.Report) error {
	for _, set := range l.Data {
		if _, err := os.Stat(labelledFile(w.Dir, set)); err != nil {
			continue // not labelled yet
		}
		all, err := label.HealthOf(filepath.Join(w.Dir, set))
		if err != nil {
			return err
		}
		for _, h := range all {
			p.Health = append(p.Health, report.Health{Set: set, Task: h.Task, Teacher: l.source(h.Teacher), Text: h.String()})
		}
	}
	var found []TeacherQuality
	if err := readJSON(filepath.Join(w.Dir, QualityFile), &found); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, q := range found {
		for _, name := range q.Scores.Tasks() {
			if values := q.Scores[name]; values != nil {
				p.Labels = append(p.Labels, report.Label{Task: name, Teacher: q.Teacher, Set: q.Set, Images: q.Images, Values: facts(task.Scores{name: values})})
			}
		}
	}
	return nil
}
