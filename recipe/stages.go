package recipe

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"must/atomicfile"
	"must/checkpoint"
	"must/data"
	"must/draw"
	"must/label"
	"must/label/shards"
	"must/pretext"
	"must/progress"
	"must/task"
	"must/task/depth"
	"must/torch"
	"must/train"
)

// show writes a contact sheet per set: <set>.jpg.
func (r *Runner) show(ctx context.Context, s *Stage) error {
	n := s.Show.Images
	if n == 0 {
		n = 12
	}
	for _, name := range s.Show.Data {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		ds, err := r.openOwn(name, "train")
		if err != nil {
			return err
		}
		sheet, err := draw.ContactSheet(ds, n, draw.Options{})
		if err != nil {
			return err
		}
		if err := writeJPEG(filepath.Join(r.dir(s.Name), name+".jpg"), sheet); err != nil {
			return err
		}
	}
	r.Display.Logf("%s: pictures of the sets are in %s", s.Name, r.dir(s.Name))
	return nil
}

// train trains a network on the union of its sets' train parts, scored on that of their val parts
// which carry its tasks' true labels.
func (r *Runner) train(ctx context.Context, s *Stage, display *progress.Display) error {
	t := s.Train
	var parts, vals []data.Dataset
	var names []string
	for _, name := range t.Data {
		ds, err := r.open(name, "train")
		if err != nil {
			return err
		}
		if t.Labels != "" && slices.Contains(r.stage(t.Labels).Label.Data, name) {
			if ds, err = shards.Merge(ds, filepath.Join(r.dir(t.Labels), name)); err != nil {
				return err
			}
		}
		parts = append(parts, ds)
		names = append(names, name)
	}
	set, err := union(s, parts)
	if err != nil {
		return err
	}
	for _, task := range t.Tasks {
		if !set.Labels().Has(task) {
			return fmt.Errorf("no set of %v has labels for %s", t.Data, task)
		}
	}
	if r.validates(s) && t.Pretext == nil {
		if v, err := r.open(t.Data[0], "val"); err == nil && v.Labels().Has(t.Tasks[0]) {
			vals = append(vals, v)
		}
	}
	c, err := r.config(t)
	if err != nil {
		return err
	}
	if c.Weights, err = r.weights(s, c); err != nil {
		return err
	}
	spec := r.spec(t.Tasks, set.Labels())
	if spec.Model, err = r.model(t.Model); err != nil {
		return err
	}
	job := train.Job{Name: s.Name, Train: set, Config: c, Dir: r.dir(s.Name), Display: r.Display}
	job.Info = checkpoint.Training{Data: names, Version: Version}
	var rival pretext.Task
	job.Net, job.Info.Start, err = r.network(t.From, func(*checkpoint.Checkpoint) (net *task.Network, err error) {
		if t.Pretext == nil {
			return task.New(spec, c.Seed)
		}
		net, rival, err = pretext.New(spec, *t.Pretext, c.Seed, c.Batch)
		job.Pretext = rival
		return net, err
	})
	defer torch.Do(func() {
		if job.Net != nil {
			job.Net.Free()
		}
		if job.Pretext != nil {
			job.Pretext.Free()
		}
	})
	if err != nil {
		return err
	}
	if len(vals) > 0 {
		job.Val = vals[0]
	}
	result, err := trainOnce(ctx, job)
	if err != nil {
		return err
	}
	for _, name := range t.Tasks {
		if v, err := ranking(result.Scores, name); err == nil {
			r.Display.Logf("%s: %s %s %.3f on the validation part", s.Name, name, v.Name, v.Value)
		}
	}
	switch {
	case rival != nil:
		err = r.pretextPictures(s, job.Net, rival, set)
	case job.Val != nil:
		err = r.trainedPictures(ctx, s, job.Val)
	}
	if err != nil {
		return err
	}
	return atomicfile.WriteJSON(filepath.Join(r.dir(s.Name), trainedFile), trained{
		Scores: result.Scores, Seconds: result.Seconds, Steps: result.Steps, Skipped: int64(result.Skipped.Count), Weights: c.Weights,
	})
}

// union joins the sets of a train stage.
func union(s *Stage, parts []data.Dataset) (data.Dataset, error) {
	set, err := data.Union(parts...)
	if err != nil {
		return nil, fmt.Errorf("%w; the sets are %v: declare the task's classes under spaces, so that they are mapped", err, s.Train.Data)
	}
	return set, nil
}

// validates reports whether a train stage is a teacher's: the val part of its first set tells how far
// it is.
func (r *Recipe) validates(s *Stage) bool { return len(s.Train.Tasks) == 1 || len(s.Train.Data) == 1 }

// trainOnce trains, unless an earlier call did so to the end and was cut off after it.
func trainOnce(ctx context.Context, job train.Job) (*train.Result, error) {
	path := filepath.Join(job.Dir, train.ModelFile)
	if job.Pretext != nil {
		c, err := checkpoint.Read(path)
		if errors.Is(err, os.ErrNotExist) {
			return train.Run(ctx, job)
		}
		if err != nil {
			return nil, fmt.Errorf("%w; remove this file to train again", err)
		}
		return &train.Result{Steps: c.Training.Steps}, nil
	}
	net, c, err := checkpoint.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		return train.Run(ctx, job)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; remove this file to train again", err)
	}
	defer torch.Do(net.Free)
	result := &train.Result{Steps: c.Training.Steps}
	if job.Val != nil {
		result.Scores, err = task.Evaluate(ctx, net, job.Val, task.PredictOptions{Name: job.Name + ": score", Display: job.Display})
	}
	return result, err
}

// trained is what a train stage ends with, in its results.json.
type trained struct {
	Scores  task.Scores        `json:"scores"` // on the validation part, by task
	Seconds float64            `json:"seconds"`
	Steps   int                `json:"steps"`
	Skipped int64              `json:"skipped"` // images that could not be read
	Weights map[string]float64 `json:"weights"` // of the losses
}

const trainedFile = "results.json"

// trainedPictures draws what the weights that were saved see in the validation part.
func (r *Runner) trainedPictures(ctx context.Context, s *Stage, val data.Dataset) error {
	net, _, err := checkpoint.Load(r.checkpoint(s.Name))
	if err != nil {
		return err
	}
	defer torch.Do(net.Free)
	for _, name := range s.Train.Tasks {
		if !val.Labels().Has(name) {
			continue
		}
		dir := filepath.Join(r.dir(s.Name), pictureFolder)
		if err := pictures(ctx, dir, val, name, stageImages, stageSide, viewer{trainedPicture, net, shown}); err != nil {
			return err
		}
	}
	return nil
}

// pretextPictures draws what a pretext task makes of some images, with the weights that were saved.
func (r *Runner) pretextPictures(s *Stage, net *task.Network, rival pretext.Task, set data.Dataset) error {
	c, err := checkpoint.Read(r.checkpoint(s.Name))
	if err != nil {
		return err
	}
	chosen := spread(set, "", stageImages)
	rng := rand.New(rand.NewPCG(r.Seed, 0))
	var tiles []draw.Tile
	columns := 0 // of two images, also where others cannot be read
	err = torch.DoErr(func() error {
		if _, _, err := net.Set.Load(c.State); err != nil {
			return err
		}
		for i := range chosen.Len() {
			sample, err := chosen.Sample(i)
			if err != nil { // counted while training
				continue
			}
			own := rival.Pictures(sample, rng)
			columns = 2 * len(own)
			for _, t := range own {
				t.Image = draw.Image(&data.Sample{Image: t.Image.(*image.RGBA)}, draw.Options{Side: pretextSide})
				tiles = append(tiles, t)
			}
		}
		return nil
	})
	if err != nil || tiles == nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.dir(s.Name), pictureFolder), 0o777); err != nil {
		return err
	}
	return writeJPEG(r.pretextPicture(s), draw.Grid("", columns, tiles...))
}

// pretextPicture is where a sheet of what a pretext task makes of images lies.
func (r *Runner) pretextPicture(s *Stage) string {
	return filepath.Join(r.dir(s.Name), pictureFolder, s.Train.Pretext.Method+".jpg")
}

// weights returns the loss weights of a train stage: those given, and for other tasks that a teacher
// labels MuST's rule (not for depth, whose weight is set by hand).
func (r *Runner) weights(s *Stage, c train.Config) (map[string]float64, error) {
	w := maps.Clone(c.Weights)
	if w == nil {
		w = map[string]float64{}
	}
	if s.Train.Labels != "" {
		for _, t := range r.stage(s.Train.Labels).Label.Teachers {
			if r.isForeign(t) { // of whose training nothing is known
				continue
			}
			teacher, err := checkpoint.Read(r.checkpoint(t))
			if err != nil {
				return nil, err
			}
			for _, name := range teacher.Spec.Tasks {
				if name != depth.Name {
					w[name] = train.LossWeight(c, teacher.Training)
				}
			}
		}
	}
	maps.Copy(w, s.Train.Weights)
	return w, nil
}

// label has the teachers label what each set lacks: <set>/ is a set of shards. quality.json tells how
// good the labels are, by the val parts of the teachers' own sets.
func (r *Runner) label(ctx context.Context, s *Stage, display *progress.Display) error {
	teachers, err := r.Teachers(s.Label.Teachers)
	if err != nil {
		return err
	}
	defer torch.Do(func() {
		for _, t := range teachers {
			t.Net.Free()
		}
	})
	for _, name := range s.Label.Data {
		ds, err := r.open(name, "train")
		if err != nil {
			return err
		}
		sum, err := label.Run(ctx, ds, teachers, filepath.Join(r.dir(s.Name), name), label.Options{
			Name: name, Thresholds: s.Label.Thresholds, ShardSize: s.Label.ShardSize, Program: "must " + Version, Display: r.Display,
		})
		if err != nil {
			return err
		}
		if sum.Skipped > 0 {
			r.Display.Logf("label %s: %d of %d images could not be read and were skipped", name, sum.Skipped, sum.Images+sum.Skipped)
		}
	}
	return r.quality(ctx, s, teachers)
}

// A TeacherQuality tells how good a teacher's labels are on images that it has not learned from.
type TeacherQuality struct {
	Teacher string `json:"teacher"`
	Set     string `json:"set"`
	*label.Quality
}

// QualityFile is what a label stage writes its TeacherQuality into.
const QualityFile = "quality.json"

func (r *Runner) quality(ctx context.Context, s *Stage, teachers []label.Teacher) error {
	found := []TeacherQuality{}
	for i, start := range s.Label.Teachers {
		set, ds := r.unseen(s, start, teachers[i].Tasks)
		if ds == nil {
			continue
		}
		q, err := label.Assess(ctx, ds, teachers[i:i+1], label.Options{Name: start, Thresholds: s.Label.Thresholds, Display: r.Display})
		if err != nil {
			return err
		}
		found = append(found, TeacherQuality{start, set, q})
		for _, name := range data.Tasks() {
			if values := q.Scores[name]; values != nil {
				r.Display.Logf("labels of %s for %s: %s on the validation part", start, name, label.Summarize(values))
			}
		}
	}
	return atomicfile.WriteJSON(filepath.Join(r.dir(s.Name), QualityFile), found)
}

// unseen returns a val part that has labels for a teacher's tasks: of the first set that a teacher of
// this recipe learned from, for others of any set, by preference one that is labelled; nil where there
// is none.
func (r *Runner) unseen(s *Stage, start string, tasks []string) (set string, ds data.Dataset) {
	sets := slices.Concat(s.Label.Data, keys(r.Data))
	if own := r.stage(start); own != nil {
		sets = own.Train.Data[:1]
	}
	for _, set := range sets {
		if ds, err := r.open(set, "val"); err == nil && slices.ContainsFunc(tasks, ds.Labels().Has) {
			return set, ds
		}
	}
	return "", nil
}

// Teachers loads the networks of train stages or checkpoint files, and teachers of others. The caller
// frees them.
func (r *Runner) Teachers(starts []string) ([]label.Teacher, error) {
	var teachers []label.Teacher
	for _, t := range starts {
		if r.isForeign(t) {
			teacher, err := r.foreignTeacher(t)
			if err != nil {
				return nil, err
			}
			teachers = append(teachers, teacher)
			continue
		}
		path := r.checkpoint(t)
		net, c, err := checkpoint.Load(path)
		if err != nil {
			return nil, err
		}
		teachers = append(teachers, label.Teacher{Net: net, Path: path, Hash: c.SHA256, Tasks: net.Tasks})
	}
	return teachers, nil
}

// A Comparison is the score of teacher and student on the teacher's test set.
type Comparison struct {
	Task    string      `json:"task"`
	Set     string      `json:"set"`
	Teacher task.Scores `json:"teacher"`
	Student task.Scores `json:"student"`
}

const scoresFile = "scores.json"

// score evaluates each teacher and the student on the test part of the teacher's set: scores.json,
// and draws what they see in some of its images: pictures/.
func (r *Runner) score(ctx context.Context, s *Stage, display *progress.Display) error {
	student, _, err := checkpoint.Load(r.checkpoint(s.Score.Student))
	if err != nil {
		return err
	}
	defer torch.Do(student.Free)
	thresholds := label.DefaultThresholds()
	if e := r.stage(s.Score.Student); e != nil && e.Train.Labels != "" {
		thresholds = r.stage(e.Train.Labels).Label.Thresholds
	}
	var rows []Comparison
	for _, name := range data.Tasks() {
		start, ok := s.Score.Teachers[name]
		if !ok {
			continue
		}
		set := r.stage(start).Train.Data[0]
		ds, err := r.open(set, "test")
		if err != nil {
			return err
		}
		teacher, _, err := checkpoint.Load(r.checkpoint(start))
		if err != nil {
			return err
		}
		c := Comparison{Task: name, Set: set}
		c.Teacher, err = task.Evaluate(ctx, teacher, ds, task.PredictOptions{Name: name + " of teacher", Display: display})
		if err == nil {
			c.Student, err = task.Evaluate(ctx, student, ds, task.PredictOptions{Name: name + " of student", Display: display})
		}
		if err == nil {
			err = pictures(ctx, filepath.Join(r.dir(s.Name), pictureFolder), ds, name, stageImages, stageSide,
				viewer{teacherPicture, teacher, thresholds}, viewer{studentPicture, student, shown})
		}
		torch.Do(teacher.Free)
		if err != nil {
			return err
		}
		t, err := ranking(c.Teacher, name)
		if err != nil {
			return fmt.Errorf("data set %s: %w", set, err)
		}
		u := c.Student[name][0]
		r.Display.Logf("%s: %s: teacher %.3f, student %.3f", name, t.Name, t.Value, u.Value)
		rows = append(rows, c)
	}
	return atomicfile.WriteJSON(filepath.Join(r.dir(s.Name), scoresFile), rows)
}
