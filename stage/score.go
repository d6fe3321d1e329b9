package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"

	"must/atomicfile"
	"must/data"
	"must/export"
	"must/label"
	"must/network"
	"must/predict"
	"must/recipe"
	"must/report"
	"must/strict"
	"must/task"
	"must/torch"
)

// Score compares the student with each teacher on the test part of the teacher's first set.
type Score struct {
	Student  string            `yaml:"student"`
	Teachers map[string]string `yaml:"teachers"`         // by task, the train stage
	Engine   string            `yaml:"engine,omitempty"` // that runs the networks, see export.Engines
}

// Check looks at the engine and the tasks.
func (s *Score) Check(e *Env) error {
	if err := export.CheckEngine(s.Engine); err != nil {
		return err
	}
	return recipe.CheckTasks(recipe.Names(s.Teachers)...)
}

// Inputs are the networks and the test parts.
func (s *Score) Inputs(e *Env) (in Inputs, err error) {
	in.Add("student", s.Student)
	in.Add("teachers", s.Teachers)
	in.engine(s.Engine)
	in.From = append(in.From, Source{Name: s.Student, Predicts: true})
	for _, task := range recipe.Names(s.Teachers) {
		from := s.Teachers[task]
		in.From = append(in.From, Source{Name: from, Stage: true, Predicts: true})
		t, ok := find[*Train](e, from)
		if !ok {
			return in, fmt.Errorf("%q is no earlier train stage%s", from, strict.Suggest(from, e.names()))
		}
		in.Read([]string{task}, "test", t.Data[0])
	}
	return in, nil
}

// set names the set that a teacher is compared on.
func (s *Score) set(e *Env, task string) string {
	t, _ := find[*Train](e, s.Teachers[task])
	return t.Data[0]
}

// Cost is two predictions of every image.
func (s *Score) Cost(w *Work) (c Cost, err error) {
	student, err := w.spec(s.Student)
	if err != nil {
		return c, err
	}
	images := 0
	for _, name := range recipe.Names(s.Teachers) {
		set := s.set(w.Env, name)
		ds, err := w.Open(set, "test")
		if err != nil {
			return c, err
		}
		teacher, err := w.spec(s.Teachers[name])
		if err != nil {
			return c, err
		}
		images += ds.Len()
		for _, spec := range []network.Spec{teacher, student} {
			c.Runs = append(c.Runs, Run{Spec: spec, Config: w.Train, Predict: ds.Len(), Times: 1, Reads: map[string]float64{set: 1}})
		}
	}
	c.Text = count(images, "image")
	return c, nil
}

// A Comparison is the score of teacher and student on the teacher's test set.
type Comparison struct {
	Task    string      `json:"task"`
	Set     string      `json:"set"`
	Teacher task.Scores `json:"teacher"`
	Student task.Scores `json:"student"`
}

const scoresFile = "scores.json"

// Run compares: scores.json, and pictures of what both see in some of the images.
func (s *Score) Run(ctx context.Context, w *Work) error {
	opened, err := w.open(s.Student, s.Engine)
	if err != nil {
		return err
	}
	student := opened.Net
	defer torch.Do(student.Free)
	thresholds := label.DefaultThresholds()
	if t, ok := find[*Train](w.Env, s.Student); ok && t.Labels != "" {
		l, _ := find[*Label](w.Env, t.Labels)
		thresholds = l.Thresholds.Least()
	}
	if err := w.callIn(); err != nil {
		return err
	}
	names := data.Ordered(maps.Keys(s.Teachers))
	for _, name := range names {
		release, mine, err := w.take(name)
		if err == nil && mine {
			err = s.compare(ctx, w, name, student, thresholds)
			release()
		}
		if err != nil {
			return err
		}
	}
	if leads, err := w.regroup(); err != nil || !leads {
		return err
	}
	var rows []Comparison
	for _, name := range names {
		var c Comparison
		if err := readJSON(w.comparison(name), &c); err != nil {
			return err
		}
		rows = append(rows, c)
	}
	return atomicfile.WriteJSON(filepath.Join(w.Dir, scoresFile), rows)
}

// comparison is where that of one task is kept until all are there.
func (w *Work) comparison(task string) string { return filepath.Join(w.Dir, "compared-"+task+".json") }

// compare compares the student with the teacher of one task, unless an earlier call did.
func (s *Score) compare(ctx context.Context, w *Work, name string, student predict.Predictor, thresholds map[string]float64) error {
	path := w.comparison(name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	display := w.Display.Stage(w.Name)
	set := s.set(w.Env, name)
	ds, err := w.Open(set, "test")
	if err != nil {
		return err
	}
	opened, err := w.open(s.Teachers[name], s.Engine)
	if err != nil {
		return err
	}
	teacher := opened.Net
	defer torch.Do(teacher.Free)
	c := Comparison{Task: name, Set: set}
	if c.Teacher, err = predict.Evaluate(ctx, teacher, ds, predict.Options{Name: name + " of teacher", Display: display}); err != nil {
		return err
	}
	if c.Student, err = predict.Evaluate(ctx, student, ds, predict.Options{Name: name + " of student", Display: display}); err != nil {
		return err
	}
	if err := pictures(ctx, filepath.Join(w.Dir, pictureFolder), ds, name, stageImages, stageSide,
		viewer{teacherPicture, teacher, thresholds}, viewer{studentPicture, student, shown}); err != nil {
		return err
	}
	t, err := ranking(c.Teacher, name)
	if err != nil {
		return fmt.Errorf("data set %s: %w", set, err)
	}
	u := c.Student[name][0]
	w.Display.Logf("%s: %s: teacher %.3f, student %.3f", name, t.Name, t.Value, u.Value)
	return atomicfile.WriteJSON(path, c)
}

// compared reports whether some comparison has ended.
func (e *Env) compared() bool {
	for _, s := range e.Steps {
		if _, ok := s.Stage.(*Score); ok && e.Ended(s.Name) {
			return true
		}
	}
	return false
}

// Report shows the comparison when it has ended.
func (s *Score) Report(w *Work, p *report.Report) error {
	var rows []Comparison
	if err := readJSON(filepath.Join(w.Dir, scoresFile), &rows); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, c := range rows {
		t, err := ranking(c.Teacher, c.Task)
		if err != nil {
			return err
		}
		row := report.Teacher{Task: c.Task, Metric: t.Name, HigherIsBetter: t.HigherIsBetter, Teacher: t.Value, Student: math.NaN()}
		if v, err := ranking(c.Student, c.Task); err == nil {
			row.Student = v.Value
		}
		p.Results.Teachers = append(p.Results.Teachers, row)
		dir := filepath.Join(w.Dir, pictureFolder)
		for i := range stageImages {
			row := report.PictureRow{
				Task: c.Task, Image: readPicture(dir, c.Task, i, imagePicture), Truth: readPicture(dir, c.Task, i, truthPicture),
				Teacher: readPicture(dir, c.Task, i, teacherPicture), Student: readPicture(dir, c.Task, i, studentPicture),
			}
			if row.Image != nil {
				p.Pictures = append(p.Pictures, row)
			}
		}
	}
	return nil
}
