package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"must/atomicfile"
	"must/checkpoint"
	"must/metric"
	"must/model"
	"must/network"
	"must/predict"
	"must/progress"
	"must/recipe"
	"must/report"
	"must/task"
	"must/torch"
	"must/train"
)

// Transfer fine-tunes pretrained weights on sets that they never saw.
type Transfer struct {
	Sets  []*TransferSet         `yaml:"sets"`
	From  map[string]*Pretrained `yaml:"from"` // by name
	Seeds []uint64               `yaml:"seeds,omitempty"`
	Sweep *Sweep                 `yaml:"sweep,omitempty"` // on the val part, alike for all
	With  *recipe.Changes        `yaml:"with,omitempty"`  // to the recipe's train settings, for all sets
}

// A TransferSet is one downstream task.
type TransferSet struct {
	Data string          `yaml:"data"`
	Task string          `yaml:"task"`
	With *recipe.Changes `yaml:"with,omitempty"` // for this set, alike for all
}

// A Sweep is a grid of factors on the learning rate and the length of fine-tuning. Every point is
// trained with the first seed; the one that is best on the val part is reported on the test part.
type Sweep struct {
	LR     []float64 `yaml:"lr,omitempty"`     // absent: 1
	Length []float64 `yaml:"length,omitempty"` // of epochs or steps; absent: 1
}

// A Point is one of a sweep.
type Point struct {
	LR     float64 `json:"lr"`     // factor
	Length float64 `json:"length"` // factor
}

// Check fills in the seeds.
func (t *Transfer) Check(e *Env) error {
	if len(t.Seeds) == 0 {
		t.Seeds = []uint64{e.Seed}
	}
	if len(t.Sets) == 0 || len(t.From) == 0 {
		return fmt.Errorf("transfer needs sets, and pretrained weights: from")
	}
	seen := map[string]bool{}
	for _, d := range t.Sets {
		if d == nil {
			return fmt.Errorf("one of its sets is empty")
		}
		if err := recipe.CheckTasks(d.Task); err != nil {
			return err
		}
		if seen[d.Data] {
			return fmt.Errorf("set %s is listed twice; give it a second name under data for another task", d.Data)
		}
		seen[d.Data] = true
		c, err := e.Settings(t.With, d.With)
		if err != nil {
			return err
		}
		if t.Sweep != nil && c.Rule != "" {
			return fmt.Errorf("set %s: train.rule %s chooses learning rate and length, so that there is nothing to sweep; leave one of them out", d.Data, c.Rule)
		}
	}
	return cmp.Or(t.Sweep.check(), e.checkPretrained(t.From, len(t.Seeds)))
}

func (s *Sweep) check() error {
	if s == nil {
		return nil
	}
	for _, f := range slices.Concat(s.LR, s.Length) {
		if !(f >= 1e-6 && f <= 1e6) {
			return fmt.Errorf("sweep: %v is no factor on a learning rate or a length", f)
		}
	}
	return nil
}

// Inputs are the sets, their settings and the pretrained weights.
func (t *Transfer) Inputs(e *Env) (in Inputs, err error) {
	in.Add("seeds", t.Seeds)
	in.Add("sweep", t.Sweep)
	in.network(e, e.Model)
	for _, d := range t.Sets {
		c, err := e.Settings(t.With, d.With)
		if err != nil {
			return in, err
		}
		in.Add("sets."+d.Data+".task", d.Task)
		in.Add("sets."+d.Data+".train", relevant(c))
		in.ReadOwn(d.Data, "train", "test")
		if t.Sweep != nil {
			in.ReadOwn(d.Data, "val")
		}
	}
	return in, in.pretrained(e, t.From, len(t.Seeds))
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

// config returns the settings of a trial.
func (t *Transfer) config(e *Env, set *TransferSet, name string, p Point) (train.Config, error) {
	c, err := e.Settings(t.With, set.With, t.From[name].With)
	return p.apply(c), err
}

// Cost is a training run for every set, pretrained weights, seed and point.
func (t *Transfer) Cost(w *Work) (c Cost, err error) {
	steps, trials := 0, 0
	for _, d := range t.Sets {
		set, err := w.OpenOwn(d.Data, "train")
		if err != nil {
			return c, err
		}
		if !set.Labels().Has(d.Task) {
			return c, fmt.Errorf("data set %s has no labels for %s", d.Data, d.Task)
		}
		test, err := w.OpenOwn(d.Data, "test")
		if err != nil {
			return c, err
		}
		for _, name := range recipe.Names(t.From) {
			spec := w.Spec([]string{d.Task}, set.Labels())
			if spec.Model, err = t.From[name].architecture(w.Env); err != nil {
				return c, err
			}
			grid := t.Sweep.points()
			longest := slices.MaxFunc(grid, func(a, b Point) int { return cmp.Compare(a.Length, b.Length) }) // may be the best
			add := func(p Point, left bool) error {
				config, err := t.config(w.Env, d, name, p)
				run := Run{Spec: spec, Config: config, Steps: config.TotalSteps(set.Len()), Predict: test.Len(), Times: 1, Reads: map[string]float64{d.Data: 1}}
				steps += run.Steps
				trials++
				if left {
					c.Runs = append(c.Runs, run)
				}
				return err
			}
			for _, p := range grid {
				if len(grid) == 1 {
					break
				}
				if err := add(p, !t.has(w, d, name, t.Seeds[0], w.pointDir(d, name, p), "val", p)); err != nil {
					return c, err
				}
			}
			for i, seed := range t.Seeds {
				if i == 0 && len(grid) > 1 { // it is one of the sweep's
					continue
				}
				if err := add(longest, !t.has(w, d, name, seed, w.trialDir(d, name, seed), "test", grid...)); err != nil {
					return c, err
				}
			}
		}
	}
	c.Text = fmt.Sprintf("%s, %s in all", count(trials, "trial"), count(steps, "step"))
	return c, nil
}

// A Trial is one fine-tuning run, scored.
type Trial struct {
	Fingerprint string       `json:"fingerprint"` // of all that it depends on
	Set         string       `json:"set"`
	Task        string       `json:"task"`
	From        string       `json:"from"`
	Seed        uint64       `json:"seed"`
	Metric      metric.Value `json:"metric"` // the ranking one
	Diverged    bool         `json:"diverged,omitempty"`
	Scores      task.Scores  `json:"scores,omitempty"`
	Seconds     float64      `json:"seconds"`
	Config      train.Config `json:"config"`
	Model       model.Config `json:"model"`           // the architecture that the pretrained weights brought
	Point       *Point       `json:"point,omitempty"` // of the sweep, where there was one

	SweepSeconds float64 `json:"sweep_seconds,omitempty"` // spent on finding the point
}

// value returns the ranking number, NaN where the run diverged.
func (t *Trial) value() float64 {
	if t.Diverged {
		return math.NaN()
	}
	return t.Metric.Value
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

const trialFile = "result.json"

// ReadTrial reads the result of a trial from its folder.
func ReadTrial(dir string) (*Trial, error) {
	t := &Trial{}
	if err := readJSON(filepath.Join(dir, trialFile), t); err != nil {
		return nil, err
	}
	return t, nil
}

func (w *Work) trialDir(set *TransferSet, name string, seed uint64) string {
	return filepath.Join(w.Dir, set.Data, fmt.Sprintf("%s-%d", name, seed))
}

func (w *Work) pointDir(set *TransferSet, name string, p Point) string {
	return filepath.Join(w.Dir, set.Data, name+"-sweep", fmt.Sprintf("lr%g-length%g", p.LR, p.Length))
}

// Run fine-tunes all on every set with every seed: SET/NAME-SEED/result.json.
func (t *Transfer) Run(ctx context.Context, w *Work) error {
	bar := w.Display.Stage(w.Name).Task("trials", int64(len(t.Sets)*len(t.From)*len(t.Seeds)), "trials")
	defer bar.Done()
	if err := w.callIn(); err != nil {
		return err
	}
	for _, set := range t.Sets {
		for _, name := range recipe.Names(t.From) {
			release, mine, err := w.take(set.Data + "-" + name)
			if err == nil && mine {
				err = t.fineTune(ctx, w, set, name, bar)
				release()
			}
			if err != nil {
				return err
			}
		}
	}
	_, err := w.regroup()
	return err
}

// Parts are the pairs SET/NAME that have trials left.
func (t *Transfer) Parts(w *Work) (parts []string) {
	for _, set := range t.Sets {
		for _, name := range recipe.Names(t.From) {
			left := slices.ContainsFunc(t.Seeds, func(seed uint64) bool {
				_, err := ReadTrial(w.trialDir(set, name, seed))
				return err != nil
			})
			if left {
				parts = append(parts, set.Data+"/"+name)
			}
		}
	}
	return parts
}

// RunPart runs the trials of one of them.
func (t *Transfer) RunPart(ctx context.Context, w *Work, part string) error {
	data, name, _ := strings.Cut(part, "/")
	for _, set := range t.Sets {
		if set.Data == data && t.From[name] != nil {
			return t.fineTune(ctx, w, set, name, nil)
		}
	}
	return fmt.Errorf("stage %s has no part %q", w.Name, part)
}

// fineTune runs the trials on one set from one of the pretrained weights that are not done.
func (t *Transfer) fineTune(ctx context.Context, w *Work, set *TransferSet, name string, bar *progress.Task) error {
	grid := t.Sweep.points()
	for i, seed := range t.Seeds {
		dir := w.trialDir(set, name, seed)
		if _, err := ReadTrial(dir); err == nil {
			bar.Add(1)
			continue
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		best, swept, err := t.sweep(ctx, w, set, name)
		if err != nil {
			return fmt.Errorf("%s from %s: sweep: %w", set.Data, name, err)
		}
		if trial, err := t.adopt(w, set, name, seed, best, dir, "test"); err != nil {
			return err
		} else if trial != nil {
			bar.Add(1)
			continue
		}
		trained := dir
		if i == 0 && len(grid) > 1 {
			trained = w.pointDir(set, name, best) // the same run
		}
		trial, err := t.trial(ctx, w, set, name, seed, best, trained, "test")
		if err != nil {
			return fmt.Errorf("%s from %s: %w", set.Data, name, err)
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
		if i > 0 { // one network of each is enough to look at
			os.Remove(filepath.Join(trained, train.ModelFile))
		}
		w.Display.Logf("%s: %s from %s, seed %d: %s", w.Name, set.Data, name, seed, trial)
		bar.Add(1)
	}
	return nil
}

// sweep returns the point that is best on the val part, and the seconds that finding it took.
func (t *Transfer) sweep(ctx context.Context, w *Work, set *TransferSet, name string) (best Point, seconds float64, err error) {
	grid := t.Sweep.points()
	if len(grid) == 1 {
		return grid[0], 0, nil
	}
	var first *Trial
	for _, p := range grid {
		dir := w.pointDir(set, name, p)
		trial, err := ReadTrial(dir)
		if errors.Is(err, os.ErrNotExist) {
			trial, err = t.adopt(w, set, name, t.Seeds[0], p, dir, "val")
		}
		if err == nil && trial == nil {
			if trial, err = t.trial(ctx, w, set, name, t.Seeds[0], p, dir, "val"); err == nil {
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
			os.Remove(filepath.Join(w.pointDir(set, name, p), train.ModelFile))
		}
	}
	return best, seconds, nil
}

// fingerprint is that of a trial: of all that it depends on, which is less than the stage does.
func (t *Transfer) fingerprint(w *Work, set *TransferSet, name string, seed uint64, p Point, part string) (string, error) {
	c, err := t.config(w.Env, set, name, p)
	if err != nil {
		return "", err
	}
	c.Seed = seed
	m, err := w.Architecture(t.From[name].Model)
	if err != nil {
		return "", err
	}
	var in Inputs
	in.Add("task", set.Task)
	in.Add("train", relevant(c))
	in.partial(t.From[name].Partial)
	in.network(w.Env, m)
	in.ReadOwn(set.Data, "train", part)
	in.From = []Source{{Name: t.source(name, seed)}}
	return w.Fingerprint(in), nil
}

// whole finds a trial of a fingerprint that is whole, in the stage's folder or another of its, of other
// seeds or sets, or of a sweep with other points beside this one.
func (t *Transfer) whole(w *Work, dir, print string) (trial *Trial, folder, inside string) {
	inside, err := filepath.Rel(w.Dir, dir)
	if err != nil {
		return nil, "", ""
	}
	for _, folder := range append([]string{w.Dir}, w.Earlier(w.Name)...) {
		if trial, err := ReadTrial(filepath.Join(folder, inside)); err == nil && trial.Fingerprint == print {
			return trial, folder, inside
		}
	}
	return nil, "", ""
}

// has reports whether a trial at one of some points need not be run.
func (t *Transfer) has(w *Work, set *TransferSet, name string, seed uint64, dir, part string, points ...Point) bool {
	return slices.ContainsFunc(points, func(p Point) bool {
		print, err := t.fingerprint(w, set, name, seed, p, part)
		if err != nil {
			return false
		}
		trial, _, _ := t.whole(w, dir, print)
		return trial != nil
	})
}

// adopt takes over a trial that is whole in another folder; nil where there is none.
func (t *Transfer) adopt(w *Work, set *TransferSet, name string, seed uint64, p Point, dir, part string) (*Trial, error) {
	print, err := t.fingerprint(w, set, name, seed, p, part)
	if err != nil {
		return nil, err
	}
	trial, folder, inside := t.whole(w, dir, print)
	if trial == nil {
		return nil, nil
	}
	if err := t.takeOver(w, folder, inside, set, name); err != nil {
		return nil, err
	}
	if part == "test" {
		w.Display.Logf("%s: %s from %s, seed %d: taken over from %s", w.Name, set.Data, name, seed, filepath.Base(folder))
	}
	return trial, nil
}

// takeOver shares the files of a trial, its result last, since with it the trial is whole.
func (t *Transfer) takeOver(w *Work, folder, inside string, set *TransferSet, name string) error {
	shown := filepath.Join(set.Data, pictureFolder)
	return errors.Join(
		share(filepath.Join(folder, shown), filepath.Join(w.Dir, shown), func(file string) bool {
			return slices.ContainsFunc([]string{imagePicture, truthPicture, name}, func(what string) bool {
				return strings.HasSuffix(file, "-"+what+".png")
			})
		}),
		share(filepath.Join(folder, inside), filepath.Join(w.Dir, inside), func(file string) bool { return file != trialFile }),
		share(filepath.Join(folder, inside), filepath.Join(w.Dir, inside), func(file string) bool { return file == trialFile }),
	)
}

// source is what a seed begins from.
func (t *Transfer) source(name string, seed uint64) string {
	return t.From[name].From.at(max(0, slices.Index(t.Seeds, seed)))
}

// trial fine-tunes in a folder and scores on a part of the set.
func (t *Transfer) trial(ctx context.Context, w *Work, set *TransferSet, name string, seed uint64, p Point, dir, part string) (*Trial, error) {
	began := time.Now()
	trainSet, err := w.OpenOwn(set.Data, "train")
	if err != nil {
		return nil, err
	}
	scored, err := w.OpenOwn(set.Data, part)
	if err != nil {
		return nil, err
	}
	c, err := t.config(w.Env, set, name, p)
	if err != nil {
		return nil, err
	}
	c.Seed = seed
	spec := w.Spec([]string{set.Task}, trainSet.Labels())
	if spec.Model, err = w.Architecture(t.From[name].Model); err != nil {
		return nil, err
	}
	net, from, err := w.network(t.source(name, seed), t.From[name].Partial, func(c *checkpoint.Checkpoint) (*network.Network, error) {
		if c != nil {
			spec.Model = spec.Model.On(c.Spec.Model)
		}
		return network.New(spec, seed)
	})
	if err != nil {
		return nil, err
	}
	defer torch.Do(net.Free)
	print, err := t.fingerprint(w, set, name, seed, p, part)
	if err != nil {
		return nil, err
	}
	trial := &Trial{Fingerprint: print, Set: set.Data, Task: set.Task, From: name, Seed: seed, Config: c, Model: spec.Model}
	_, err = trainOnce(ctx, train.Job{
		Name: set.Data + " from " + name, Net: net, Train: trainSet, Config: c, Dir: dir, Display: w.Display,
		Info: checkpoint.Training{Data: []string{set.Data}, Start: from, Version: recipe.Version},
	}, func() error { return nil })
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
	if trial.Scores, err = predict.Evaluate(ctx, final, scored, predict.Options{}); err != nil {
		return nil, err
	}
	if trial.Metric, err = ranking(trial.Scores, set.Task); err != nil {
		return nil, err
	}
	if part == "test" && seed == t.Seeds[0] {
		to := filepath.Join(w.Dir, set.Data, pictureFolder)
		if err := pictures(ctx, to, scored, set.Task, transferImages, transferSide, viewer{name, final, shown}); err != nil {
			return nil, err
		}
	}
	trial.Seconds = time.Since(began).Seconds()
	return trial, nil
}

// trials returns those on a set from one of the pretrained weights that have ended.
func (t *Transfer) trials(w *Work, set *TransferSet, name string) (trials []*Trial, err error) {
	for _, seed := range t.Seeds {
		trial, err := ReadTrial(w.trialDir(set, name, seed))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		trials = append(trials, trial)
	}
	return trials, nil
}

// Report adds the trials that have ended. Those of the recipe's first transfer stage make the table;
// figures speak of the others.
func (t *Transfer) Report(w *Work, p *report.Report) error {
	first := slices.IndexFunc(w.Steps, func(s *Step) bool { _, ok := s.Stage.(*Transfer); return ok })
	table := w.Steps[first].Name == w.Name
	for _, set := range t.Sets {
		row := report.Transfer{Set: set.Data, Scores: map[string][]float64{}}
		for _, name := range recipe.Names(t.From) {
			trials, err := t.trials(w, set, name)
			if err != nil {
				return err
			}
			for _, trial := range trials {
				if !trial.Diverged {
					row.Metric, row.HigherIsBetter = trial.Metric.Name, trial.Metric.HigherIsBetter
				}
				row.Scores[name] = append(row.Scores[name], trial.value())
				run, err := t.run(w, set, trial)
				if err != nil {
					return err
				}
				if run.Name = fmt.Sprintf("%s from %s, seed %d", set.Data, name, trial.Seed); table {
					run.Set, run.Start = set.Data, name
				} else {
					run.Name = w.Name + ": " + run.Name
				}
				p.Runs = append(p.Runs, run)
			}
		}
		if len(row.Scores) == 0 || !table {
			continue
		}
		p.Results.Transfer = append(p.Results.Transfer, row)
		columns := append([]string{imagePicture, truthPicture}, (report.Results{Transfer: []report.Transfer{row}}).Starts()...)
		sheet, err := pictureSheet(filepath.Join(w.Dir, set.Data, pictureFolder), set.Task, transferImages, 1, columns...)
		if err != nil {
			return err
		}
		if sheet != nil {
			p.Predictions = append(p.Predictions, report.Sheet{Title: set.Data, Text: "Test images with the truth and what each network sees after fine-tuning.", File: sheet})
		}
	}
	return nil
}

// run is a trial with all its settings.
func (t *Transfer) run(w *Work, set *TransferSet, trial *Trial) (run report.Run, err error) {
	run.Values = facts(trial.Scores)
	if trial.Diverged {
		run.Values = append(run.Values, report.Fact{Name: "outcome", Value: "diverged"})
	}
	if p := trial.Point; p != nil {
		run.Values = append(run.Values, report.Fact{Name: "best of the sweep", Value: p.String()})
	}
	run.Values = append(run.Values, report.Fact{Name: "time", Value: time.Duration(trial.Seconds * 1e9).Round(time.Second).String()})
	run.Settings, err = repeat{[]string{set.Data}, []string{set.Task}, nil, t.source(trial.From, trial.Seed), w.Size, trial.Model, w.Detection, trial.Config}.text()
	return run, err
}
