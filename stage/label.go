package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

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
	return export.CheckEngine(l.Engine)
}

// Inputs are the sets, the teachers, and the val parts by which their labels are judged.
func (l *Label) Inputs(e *Env) (in Inputs, err error) {
	in.Add("thresholds", l.Thresholds)
	in.Add("shard_size", l.ShardSize)
	in.Add("teachers", l.Teachers)
	in.Read("train", l.Data...)
	for _, t := range l.Teachers {
		in.From = append(in.From, Source{Name: t, External: true, Predicts: true})
		for _, set := range l.judges(e, t) {
			in.Parts = append(in.Parts, Part{Set: set, Part: "val", Optional: true})
		}
	}
	return in, nil
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
func (l *Label) judge(e *Env, teacher string, tasks []string) (set string, ds data.Dataset) {
	for _, set := range l.judges(e, teacher) {
		if ds, err := e.Open(set, "val"); err == nil && slices.ContainsFunc(tasks, ds.Labels().Has) {
			return set, ds
		}
	}
	return "", nil
}

// Cost is a prediction of every image by every teacher, and of those that judge it.
func (l *Label) Cost(e *Env) (w Cost, err error) {
	images, reads := 0, map[string]float64{}
	for _, n := range l.Data {
		ds, err := e.Open(n, "train")
		if err != nil {
			return w, err
		}
		images += ds.Len()
		reads[n] += float64(ds.Len())
	}
	for n := range reads {
		reads[n] /= float64(images)
	}
	for _, from := range l.Teachers {
		spec, err := e.spec(from)
		if err != nil {
			return w, err
		}
		for _, n := range l.Data {
			ds, err := e.Open(n, "train")
			if err != nil {
				return w, err
			}
			for _, task := range label.Missing(ds.Labels(), []label.Teacher{{Tasks: spec.Tasks}}) {
				if err := spec.Labels.Conflict(ds.Labels(), task); err != nil {
					return w, fmt.Errorf("the labels of teacher %s are not those of %s: %w; declare the classes under spaces", from, n, err)
				}
			}
		}
		run := Run{Spec: spec, Config: e.Train, Predict: images, Times: 1, Reads: reads}
		if e.IsExternal(from) {
			run.External = from
		}
		if _, judge := l.judge(e, from, spec.Tasks); judge != nil {
			run.Predict += judge.Len()
		}
		w.Runs = append(w.Runs, run)
	}
	w.Text = fmt.Sprintf("%s by %s", count(images, "image"), count(len(l.Teachers), "teacher"))
	return w, nil
}

// Run labels: SET/ is a set of shards; quality.json tells how good the labels are.
func (l *Label) Run(ctx context.Context, w *Work) error {
	teachers, err := w.teachers(l.Teachers, l.Engine)
	if err != nil {
		return err
	}
	defer teacher.Free(teachers)
	for _, name := range l.Data {
		ds, err := w.Open(name, "train")
		if err != nil {
			return err
		}
		sum, err := label.Run(ctx, ds, teachers, filepath.Join(w.Dir, name), label.Options{
			Name: name, Thresholds: l.Thresholds, ShardSize: l.ShardSize, Program: "must " + recipe.Version, Display: w.Display,
		})
		if err != nil {
			return err
		}
		if sum.Skipped > 0 {
			w.Display.Logf("label %s: %d of %d images could not be read and were skipped", name, sum.Skipped, sum.Images+sum.Skipped)
		}
	}
	return l.assess(ctx, w, teachers)
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
		set, ds := l.judge(w.Env, from, teachers[i].Tasks)
		if ds == nil {
			continue
		}
		q, err := label.Assess(ctx, ds, teachers[i:i+1], label.Options{Name: from, Thresholds: l.Thresholds, Display: w.Display})
		if err != nil {
			return err
		}
		found = append(found, TeacherQuality{from, set, q})
		for _, name := range data.Tasks() {
			if values := q.Scores[name]; values != nil {
				w.Display.Logf("labels of %s for %s: %s on the validation part", from, name, label.Summarize(values))
			}
		}
	}
	return atomicfile.WriteJSON(filepath.Join(w.Dir, QualityFile), found)
}

// Report shows how good the labels are, when the stage has ended.
func (l *Label) Report(w *Work, p *report.Report) error {
	var found []TeacherQuality
	if err := readJSON(filepath.Join(w.Dir, QualityFile), &found); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, q := range found {
		for _, name := range data.Tasks() {
			if values := q.Scores[name]; values != nil {
				p.Labels = append(p.Labels, report.Label{Task: name, Teacher: q.Teacher, Set: q.Set, Images: q.Images, Values: facts(task.Scores{name: values})})
			}
		}
	}
	return nil
}
