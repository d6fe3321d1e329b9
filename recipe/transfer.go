package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"must/atomicfile"
	"must/checkpoint"
	"must/metric"
	"must/model"
	"must/progress"
	"must/task"
	"must/torch"
	"must/train"
)

// A Sweep is a grid of factors on the learning rate and the length of fine-tuning. Every point is
// trained with the first seed; the one that is best on the val part is reported on the test part.
type Sweep struct {
	LR     []float64 `yaml:"lr,omitempty"`     // absent: 1
	Length []float64 `yaml:"length,omitempty"` // of epochs or steps; absent: 1
}

func (s *Sweep) check() error {
	if s == nil {
		return nil
	}
	for _, f := range append(append([]float64{}, s.LR...), s.Length...) {
		if !(f >= 1e-6 && f <= 1e6) {
			return fmt.Errorf("sweep: %v is no factor on a learning rate or a length", f)
		}
	}
	return nil
}

// A Point is one of a sweep.
type Point struct {
	LR     float64 `json:"lr"`     // factor
	Length float64 `json:"length"` // factor
}

// points lists the grid; without a sweep it is the settings as they are.
func (s *Sweep) points() (points []Point) {
	lrs, lengths := []float64{1}, []float64{1}
	if s != nil {
		if s.LR != nil {
			lrs = s.LR
		}
		if s.Length != nil {
			lengths = s.Length
		}
	}
	for _, lr := range lrs {
		for _, length := range lengths {
			points = append(points, Point{lr, length})
		}
	}
	return points
}

func (p Point) apply(c train.Config) train.Config {
	c.LR *= p.LR
	c.Epochs *= p.Length
	if c.Images > 0 {
		c.Images = max(1, int(math.Round(float64(c.Images)*p.Length)))
	}
	if c.Steps > 0 {
		c.Steps = max(1, int(math.Round(float64(c.Steps)*p.Length)))
	}
	return c
}

func (p Point) String() string { return fmt.Sprintf("lr×%g length×%g", p.LR, p.Length) }

// A Trial is one fine-tuning run of a transfer stage, scored.
type Trial struct {
	Set      string       `json:"set"`
	Task     string       `json:"task"`
	Start    string       `json:"start"`
	Seed     uint64       `json:"seed"`
	Metric   metric.Value `json:"metric"` // the ranking one
	Diverged bool         `json:"diverged,omitempty"`
	Scores   task.Scores  `json:"scores,omitempty"`
	Seconds  float64      `json:"seconds"`
	Config   train.Config `json:"config"`
	Model    model.Config `json:"model"`           // the architecture that the start brought
	Point    *Point       `json:"point,omitempty"` // of the sweep, where there was one

	SweepSeconds float64 `json:"sweep_seconds,omitempty"` // spent on finding the point
}

// value returns the ranking number, NaN where the run diverged.
func (t *Trial) value() float64 {
	if t.Diverged {
		return math.NaN()
	}
	return t.Metric.Value
}

// transfer fine-tunes every start on every set with every seed: <set>/<start>-<seed>/result.json.
func (r *Runner) transfer(ctx context.Context, s *Stage, display *progress.Display) error {
	t := s.Transfer
	bar := display.Task("trials", int64(len(t.Sets)*len(t.From)*len(t.Seeds)), "trials")
	defer bar.Done()
	for _, set := range t.Sets {
		for _, start := range keys(t.From) {
			if err := r.fineTune(ctx, s, set, start, bar); err != nil {
				return err
			}
		}
	}
	return nil
}

// fineTune runs the trials of one start on one set that are not done.
func (r *Runner) fineTune(ctx context.Context, s *Stage, set *TransferSet, start string, bar *progress.Task) error {
	t := s.Transfer
	grid := t.Sweep.points()
	for i, seed := range t.Seeds {
		dir := r.trialDir(s, set, start, seed)
		if _, err := ReadTrial(dir); err == nil {
			bar.Add(1)
			continue
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		best, swept, err := r.sweep(ctx, s, set, start)
		if err != nil {
			return fmt.Errorf("%s from %s: sweep: %w", set.Data, start, err)
		}
		trained := dir
		if i == 0 && len(grid) > 1 {
			trained = r.pointDir(s, set, start, best) // the same run
		}
		trial, err := r.trial(ctx, s, set, start, seed, best, trained, "test")
		if err != nil {
			return fmt.Errorf("%s from %s: %w", set.Data, start, err)
		}
		if trial.SweepSeconds = swept; len(grid) > 1 {
			trial.Point = &best
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		if err := atomicfile.WriteJSON(filepath.Join(dir, trialFile), trial); err != nil {
			return err
		}
		if i > 0 { // one network of each start is enough to look at
			os.Remove(filepath.Join(trained, train.ModelFile))
		}
		r.Display.Logf("%s: %s from %s, seed %d: %s", s.Name, set.Data, start, seed, trial)
		bar.Add(1)
	}
	return nil
}

// sweep returns the point that is best on the val part, and the seconds that finding it took.
func (r *Runner) sweep(ctx context.Context, s *Stage, set *TransferSet, start string) (best Point, seconds float64, err error) {
	grid := s.Transfer.Sweep.points()
	if len(grid) == 1 {
		return grid[0], 0, nil
	}
	var first *Trial
	for _, p := range grid {
		dir := r.pointDir(s, set, start, p)
		trial, err := ReadTrial(dir)
		if errors.Is(err, os.ErrNotExist) {
			if trial, err = r.trial(ctx, s, set, start, s.Transfer.Seeds[0], p, dir, "val"); err == nil {
				err = atomicfile.WriteJSON(filepath.Join(dir, trialFile), trial)
			}
		}
		if err != nil {
			return best, 0, fmt.Errorf("%v: %w", p, err)
		}
		seconds += trial.Seconds
		if first == nil || trial.better(first) {
			first, best = trial, p
		}
	}
	for _, p := range grid { // many networks, which nobody needs again
		if p != best {
			os.Remove(filepath.Join(r.pointDir(s, set, start, p), train.ModelFile))
		}
	}
	return best, seconds, nil
}

// better reports whether t has the better score; a run that diverged has the worst.
func (t *Trial) better(o *Trial) bool {
	switch {
	case t.Diverged:
		return false
	case o.Diverged:
		return true
	case t.Metric.HigherIsBetter:
		return t.Metric.Value > o.Metric.Value
	}
	return t.Metric.Value < o.Metric.Value
}

func (t *Trial) String() string {
	if t.Diverged {
		return "diverged"
	}
	return fmt.Sprintf("%s %.3f (%.0f s)", t.Metric.Name, t.Metric.Value, t.Seconds)
}

func (r *Runner) trialDir(s *Stage, set *TransferSet, start string, seed uint64) string {
	return filepath.Join(r.dir(s.Name), set.Data, fmt.Sprintf("%s-%d", start, seed))
}

func (r *Runner) pointDir(s *Stage, set *TransferSet, start string, p Point) string {
	return filepath.Join(r.dir(s.Name), set.Data, start+"-sweep", fmt.Sprintf("lr%g-length%g", p.LR, p.Length))
}

const trialFile = "result.json"

// ReadTrial reads the result of a trial from its folder.
func ReadTrial(dir string) (*Trial, error) {
	t := &Trial{}
	if err := readJSON(filepath.Join(dir, trialFile), t); err != nil {
		return nil, err
	}
	return t, nil
}

// trialConfig returns the settings of a trial.
func (r *Recipe) trialConfig(t *TransferStage, set *TransferSet, start string, p Point) (train.Config, error) {
	c, err := r.trainConfig(t.With, set.With, t.From[start].With)
	return p.apply(c), err
}

// trial fine-tunes in a folder and scores on a part of the set.
func (r *Runner) trial(ctx context.Context, s *Stage, set *TransferSet, start string, seed uint64, p Point, dir, part string) (*Trial, error) {
	began := time.Now()
	t := s.Transfer
	trainSet, err := r.openOwn(set.Data, "train")
	if err != nil {
		return nil, err
	}
	scored, err := r.openOwn(set.Data, part)
	if err != nil {
		return nil, err
	}
	c, err := r.trialConfig(t, set, start, p)
	if err != nil {
		return nil, err
	}
	c.Seed = seed
	spec := r.spec([]string{set.Task}, trainSet.Labels())
	if spec.Model, err = r.model(t.From[start].Model); err != nil {
		return nil, err
	}
	net, from, err := r.network(t.From[start].From, func(c *checkpoint.Checkpoint) (*task.Network, error) {
		if c != nil {
			spec.Model = spec.Model.On(c.Spec.Model)
		}
		return task.New(spec, seed)
	})
	if err != nil {
		return nil, err
	}
	defer torch.Do(net.Free)
	trial := &Trial{Set: set.Data, Task: set.Task, Start: start, Seed: seed, Config: c, Model: spec.Model}
	_, err = trainOnce(ctx, train.Job{
		Name: set.Data + " from " + start, Net: net, Train: trainSet, Config: c, Dir: dir, Display: r.Display,
		Info: checkpoint.Training{Data: []string{set.Data}, Start: from, Version: Version},
	})
	if errors.Is(err, torch.ErrNotFinite) { // a result as well
		trial.Diverged, trial.Seconds = true, time.Since(began).Seconds()
		return trial, nil
	}
	if err != nil {
		return nil, err
	}
	final, _, err := checkpoint.Load(filepath.Join(dir, train.ModelFile))
	if err != nil {
		return nil, err
	}
	defer torch.Do(final.Free)
	if trial.Scores, err = task.Evaluate(ctx, final, scored, task.PredictOptions{}); err != nil {
		return nil, err
	}
	if trial.Metric, err = ranking(trial.Scores, set.Task); err != nil {
		return nil, err
	}
	if part == "test" && seed == t.Seeds[0] {
		to := filepath.Join(r.dir(s.Name), set.Data, pictureFolder)
		if err := pictures(ctx, to, scored, set.Task, transferImages, transferSide, viewer{start, final, shown}); err != nil {
			return nil, err
		}
	}
	trial.Seconds = time.Since(began).Seconds()
	return trial, nil
}
