package recipe

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"

	"must/atomicfile"
	"must/data"
	"must/data/scenes"
	"must/draw"
	"must/metric"
	"must/model"
	"must/pretext"
	"must/report"
	"must/task"
	"must/train"
)

// Files in a run's folder that people read.
const (
	ReportFile  = "report.html"
	ResultsFile = "results.json"
	HexagonFile = "hexagon.svg"
)

// Report writes report.html, results.json and, of three downstream sets or more, hexagon.svg from
// what the stages have left in the folder so far.
// What came of other settings than the recipe's is left out.
func (r *Runner) Report() (report.Results, error) {
	p := &report.Report{Title: r.Name, Subtitle: r.About}
	res := &p.Results
	var last environment
	scored, transferred := false, false
	for _, s := range r.Stages {
		if r.leftKey(s) != r.key(s) {
			continue
		}
		d, ended := r.finished(s)
		if !ended {
			d.Seconds = r.spent(s)
		}
		res.Seconds += d.Seconds
		res.PeakRSSMB = max(res.PeakRSSMB, d.PeakMB)
		last = cmp.Or(d.environment, last)
		var err error
		switch {
		case s.Show != nil:
			err = r.reportSheets(p, s)
		case s.Train != nil:
			err = r.reportTraining(p, s, d.Seconds)
		case s.Label != nil:
			err = r.reportLabels(p, s)
		case s.Score != nil && ended:
			scored = true
			err = r.reportScores(p, s)
		case s.Probe != nil:
			err = r.reportProbe(p, s)
		case s.Transfer != nil:
			err = r.reportTransfer(p, s, !transferred)
			transferred = true
		}
		if err != nil {
			return *res, fmt.Errorf("report of stage %s: %w", s.Name, err)
		}
	}
	for _, s := range r.Stages {
		if s.Train == nil || r.leftKey(s) != r.key(s) {
			continue
		}
		var err error
		switch {
		case s.Train.Pretext != nil:
			err = r.reportPretext(p, s)
		case !scored: // what the trained networks see, until teachers and student can be compared
			err = r.reportTrained(p, s)
		}
		if err != nil {
			return *res, err
		}
	}
	charts, err := r.Charts()
	if err != nil {
		return *res, err
	}
	p.Figures = append(p.Figures, charts...)
	for _, c := range charts {
		path := filepath.Join(r.Out, figureFolder, figureFile(c.Title))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), atomicfile.WriteFile(path, c.SVG())); err != nil {
			return *res, err
		}
	}
	res.Version, res.Libtorch = last.Version, last.Libtorch
	p.Facts = []report.Fact{{Name: "recipe", Value: r.Name}, {Name: "seed", Value: strconv.FormatUint(r.Seed, 10)}}
	if last.Machine != "" {
		p.Facts = append(p.Facts, report.Fact{Name: "machine", Value: last.Machine})
	}
	if last.Device != "" {
		p.Facts = append(p.Facts, report.Fact{Name: "device", Value: last.Device})
	}
	if err := res.Write(filepath.Join(r.Out, ResultsFile)); err != nil {
		return *res, err
	}
	if svg := report.Hexagon(*res); svg != nil {
		if err := atomicfile.WriteFile(filepath.Join(r.Out, HexagonFile), svg); err != nil {
			return *res, err
		}
	}
	return *res, p.Write(filepath.Join(r.Out, ReportFile))
}

// reportSheets shows the contact sheets that are there.
func (r *Runner) reportSheets(p *report.Report, s *Stage) error {
	for _, name := range s.Show.Data {
		b, err := os.ReadFile(filepath.Join(r.dir(s.Name), name+".jpg"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		p.Sheets = append(p.Sheets, report.Sheet{Title: name, Text: r.about(name), File: b})
	}
	return nil
}

// about says in a line what a set is, if that is known.
func (r *Runner) about(set string) string {
	s := r.Data[set]
	if s.About == "" && s.Format == "scenes" {
		for _, world := range scenes.Sets() {
			if world.Name == s.Set {
				return world.About
			}
		}
	}
	return s.About
}

// reportTraining shows the losses of a train stage, and when it has ended its scores and settings.
func (r *Runner) reportTraining(p *report.Report, s *Stage, seconds float64) error {
	t := s.Train
	keys := []string{"loss.*"} // of one task, with its parts
	if len(t.Tasks) > 1 {
		keys = []string{"total"}
		for _, name := range t.Tasks {
			keys = append(keys, "loss."+name)
		}
	}
	curve, err := report.ReadCurve(filepath.Join(r.dir(s.Name), train.LogFile), s.Name, keys...)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	curve.Y, curve.LogY = "loss", true
	p.Curves = append(p.Curves, curve)

	var end trained
	if err := readJSON(filepath.Join(r.dir(s.Name), trainedFile), &end); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	c, err := r.config(t)
	if err != nil {
		return err
	}
	c.Weights = end.Weights
	m, err := r.model(t.Model)
	if err != nil {
		return err
	}
	run := report.Run{Name: s.Name, Values: facts(end.Scores)}
	run.Values = append(run.Values, report.Fact{Name: "steps", Value: strconv.Itoa(end.Steps)},
		report.Fact{Name: "time", Value: time.Duration(seconds * 1e9).Round(time.Second).String()})
	if end.Skipped > 0 {
		run.Values = append(run.Values, report.Fact{Name: "unreadable images", Value: strconv.FormatInt(end.Skipped, 10)})
	}
	run.Settings, err = repeat{t.Data, t.Tasks, t.Pretext, t.From, r.Size, m, r.Detection, c}.text()
	p.Runs = append(p.Runs, run)
	return err
}

// reportLabels shows how good the labels of a label stage are, when it has ended.
func (r *Runner) reportLabels(p *report.Report, s *Stage) error {
	var found []TeacherQuality
	if err := readJSON(filepath.Join(r.dir(s.Name), QualityFile), &found); errors.Is(err, os.ErrNotExist) {
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

// A repeat is the recipe of one training run.
type repeat struct {
	Data      []string             `yaml:"data"`
	Tasks     []string             `yaml:"tasks,omitempty"`
	Pretext   *pretext.Config      `yaml:"pretext,omitempty"`
	From      string               `yaml:"from,omitempty"`
	Size      int                  `yaml:"size"`
	Model     model.Config         `yaml:"model"`
	Detection task.DetectionConfig `yaml:"detection"`
	Train     train.Config         `yaml:"train"`
}

func (r repeat) text() (string, error) {
	b, err := yaml.Marshal(r)
	return string(b), err
}

// facts lists scores as text, the ranking one of every task first.
func facts(s task.Scores) []report.Fact {
	var out []report.Fact
	for _, name := range data.Tasks() {
		for _, v := range s[name] {
			label := v.Name
			if len(s) > 1 {
				label = name + " " + label
			}
			out = append(out, report.Fact{Name: label, Value: fmt.Sprintf("%.4g", v.Value)})
		}
	}
	return out
}

// reportTrained shows predictions of a train stage on its validation part.
func (r *Runner) reportTrained(p *report.Report, s *Stage) error {
	for _, name := range s.Train.Tasks {
		sheet, err := pictureSheet(filepath.Join(r.dir(s.Name), pictureFolder), name, stageImages, 1, imagePicture, truthPicture, trainedPicture)
		if err != nil {
			return err
		}
		if sheet != nil {
			p.Predictions = append(p.Predictions, report.Sheet{Title: s.Name + ": " + name, Text: "Images of the validation part with the truth and the prediction.", File: sheet})
		}
	}
	return nil
}

// reportPretext shows what the pretext task of a train stage makes of images.
func (r *Runner) reportPretext(p *report.Report, s *Stage) error {
	sheet, err := os.ReadFile(r.pretextPicture(s))
	if errors.Is(err, os.ErrNotExist) { // of an earlier version, or not trained to the end
		return nil
	}
	if err != nil {
		return err
	}
	text := "Two views of an image as they are compared."
	if s.Train.Pretext.Method == pretext.MAE {
		text = "The patches that are hidden are filled in by the network; each has the mean and the contrast of the image."
	}
	p.Predictions = append(p.Predictions, report.Sheet{Title: s.Name, Text: text, File: sheet})
	return nil
}

// pictureSheet lays the pictures of a folder out, one group of columns per image; nil where there are none.
func pictureSheet(dir, name string, n, images int, columns ...string) ([]byte, error) {
	var tiles []draw.Tile
	for i := range n {
		if readPicture(dir, name, i, imagePicture) == nil {
			continue
		}
		for _, what := range columns {
			if img := readPicture(dir, name, i, what); img != nil {
				tiles = append(tiles, draw.Tile{Caption: what, Image: img})
			}
		}
	}
	if tiles == nil {
		return nil, nil
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, draw.Grid("", images*len(columns), tiles...), quality)
	return b.Bytes(), err
}

// reportScores adds the comparison of teachers and student.
func (r *Runner) reportScores(p *report.Report, s *Stage) error {
	var rows []Comparison
	if err := readJSON(filepath.Join(r.dir(s.Name), scoresFile), &rows); err != nil {
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
		dir := filepath.Join(r.dir(s.Name), pictureFolder)
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

// reportTransfer adds the trials that have ended. Those of the recipe's first transfer stage make the
// table; figures speak of the others.
func (r *Runner) reportTransfer(p *report.Report, s *Stage, table bool) error {
	t := s.Transfer
	for _, set := range t.Sets {
		row := report.Transfer{Set: set.Data, Scores: map[string][]float64{}}
		for _, start := range keys(t.From) {
			for _, seed := range t.Seeds {
				trial, err := ReadTrial(r.trialDir(s, set, start, seed))
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				if err != nil {
					return err
				}
				if !trial.Diverged {
					row.Metric, row.HigherIsBetter = trial.Metric.Name, trial.Metric.HigherIsBetter
				}
				row.Scores[start] = append(row.Scores[start], trial.value())
				run, err := r.trialRun(t, set, trial)
				if err != nil {
					return err
				}
				if run.Name = fmt.Sprintf("%s from %s, seed %d", set.Data, start, seed); table {
					run.Set, run.Start = set.Data, start
				} else {
					run.Name = s.Name + ": " + run.Name
				}
				p.Runs = append(p.Runs, run)
			}
		}
		if len(row.Scores) == 0 || !table {
			continue
		}
		p.Results.Transfer = append(p.Results.Transfer, row)
		starts := (report.Results{Transfer: []report.Transfer{row}}).Starts()
		columns := append([]string{imagePicture, truthPicture}, starts...)
		sheet, err := pictureSheet(filepath.Join(r.dir(s.Name), set.Data, pictureFolder), set.Task, transferImages, 1, columns...)
		if err != nil {
			return err
		}
		if sheet != nil {
			p.Predictions = append(p.Predictions, report.Sheet{Title: set.Data, Text: "Test images with the truth and what each start sees after fine-tuning.", File: sheet})
		}
	}
	return nil
}

// trialRun is a trial with all its settings.
func (r *Runner) trialRun(t *TransferStage, set *TransferSet, trial *Trial) (run report.Run, err error) {
	from := t.From[trial.Start]
	run.Values = facts(trial.Scores)
	if trial.Diverged {
		run.Values = append(run.Values, report.Fact{Name: "outcome", Value: "diverged"})
	}
	if p := trial.Point; p != nil {
		run.Values = append(run.Values, report.Fact{Name: "best of the sweep", Value: p.String()})
	}
	run.Values = append(run.Values, report.Fact{Name: "time", Value: time.Duration(trial.Seconds * 1e9).Round(time.Second).String()})
	run.Settings, err = repeat{[]string{set.Data}, []string{set.Task}, nil, from.From, r.Size, trial.Model, r.Detection, trial.Config}.text()
	return run, err
}

// ranking returns the value by which networks are compared on a task.
func ranking(s task.Scores, name string) (metric.Value, error) {
	if len(s[name]) == 0 {
		return metric.Value{}, fmt.Errorf("no score for %s: no sample of the set has a label for it", name)
	}
	return s[name][0], nil
}

func readJSON(path string, to any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%s: %w; remove it and run the recipe again", path, err)
	}
	return nil
}

// OpenRun returns the run that a folder holds.
func OpenRun(out string) (*Runner, error) {
	path := filepath.Join(out, recipeFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s holds no run: %w", out, err)
	}
	rec, err := Load(path, nil)
	if err != nil {
		return nil, err
	}
	return &Runner{Recipe: rec, Out: out}, nil
}
