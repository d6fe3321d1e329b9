package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"must/atomicfile"
	"must/checkpoint"
	"must/data"
	"must/draw"
	"must/label/shards"
	"must/metric"
	"must/network"
	"must/predict"
	"must/pretext"
	"must/recipe"
	"must/report"
	"must/strict"
	"must/task"
	"must/task/depth"
	"must/torch"
	"must/train"

	"github.com/dustin/go-humanize"
)

// Train trains a network on the union of the train parts of its sets.
type Train struct {
	Data    []string           `yaml:"data"`
	Tasks   []string           `yaml:"tasks,omitempty"`
	Pretext *pretext.Config    `yaml:"pretext,omitempty"` // what is learned in place of tasks, without labels
	Labels  string             `yaml:"labels,omitempty"`  // label stage that fills in what is unknown
	From    string             `yaml:"from,omitempty"`    // stage or file of weights whose trunk it begins with
	Partial bool               `yaml:"partial,omitempty"` // the file may lack a part of the backbone, or have more of it
	Weights map[string]float64 `yaml:"weights,omitempty"` // of losses; what is absent follows MuST's rule where there are teachers, else 1
	RuleOf  string             `yaml:"rule_of,omitempty"` // label stage whose teachers the rule goes by; absent: that of labels
	Model   *recipe.Changes    `yaml:"model,omitempty"`   // to the recipe's architecture
	With    *recipe.Changes    `yaml:"with,omitempty"`    // to the recipe's train settings
}

// Check tells what does not go together.
func (t *Train) Check(e *Env) error {
	if len(t.Data) == 0 || (len(t.Tasks) == 0) == (t.Pretext == nil) {
		return fmt.Errorf("train needs data, and either tasks or a pretext task")
	}
	if t.Pretext != nil {
		if t.Labels != "" || t.Weights != nil || t.RuleOf != "" {
			return fmt.Errorf("a pretext task needs no labels and has one loss: leave labels, weights and rule_of out")
		}
		if err := t.Pretext.Check(); err != nil {
			return err
		}
	}
	return recipe.CheckTasks(append(recipe.Names(t.Weights), t.Tasks...)...)
}

// Inputs are its settings, the sets, the labels of teachers and the weights that it begins with.
func (t *Train) Inputs(e *Env) (in Inputs, err error) {
	c, err := t.config(e)
	if err != nil {
		return in, err
	}
	m, err := e.Architecture(t.Model)
	if err != nil {
		return in, err
	}
	in.Add("tasks", t.Tasks)
	in.Add("pretext", t.Pretext)
	in.Add("weights", t.Weights)
	in.Add("train", relevant(c))
	in.partial(t.Partial)
	in.network(e, m)
	learned := append([]string{}, t.Tasks...) // not nil: a pretext task reads no labels
	in.Read(learned, "train", t.Data...)
	if t.validates() {
		in.Parts = append(in.Parts, Part{Set: t.Data[0], Part: "val", Tasks: learned, Optional: true})
	}
	in.From = []Source{{Name: t.From}, {Name: t.Labels, Kind: "label", Stage: true}}
	if t.RuleOf != "" { // how its teachers were trained, not what they see
		l, ok := find[*Label](e, t.RuleOf)
		if !ok {
			return in, fmt.Errorf("rule_of: %q is no earlier label stage%s", t.RuleOf, strict.Suggest(t.RuleOf, e.names()))
		}
		in.Add("rule_of", l.Teachers)
		for _, teacher := range l.Teachers {
			in.From = append(in.From, Source{Name: teacher, External: true, Predicts: true})
		}
	}
	return in, nil
}

// network adds what a network is made by.
func (in *Inputs) network(e *Env, m any) {
	in.Add("size", e.Size)
	in.Add("model", m)
	in.Add("detection", e.Detection)
}

// relevant are the settings that weights depend on: not how many goroutines read, how often the state is
// saved, nor in how many pieces a batch is computed.
func relevant(c train.Config) train.Config {
	c.Workers, c.SaveEvery, c.Accumulate = 0, 0, 0
	return c
}

// config returns the train settings. A pretext task brings those it was published with; what the stage
// says wins.
func (t *Train) config(e *Env) (train.Config, error) {
	c, err := e.Settings(t.With)
	if err != nil || t.Pretext == nil {
		return c, err
	}
	c = t.Pretext.Train(c)
	if err := t.With.Apply(&c); err != nil {
		return c, fmt.Errorf("with: %w", err)
	}
	c.Augment.Size = e.Size
	return c, c.Check()
}

// validates reports whether it is a teacher's: the val part of its first set tells how far it is.
func (t *Train) validates() bool {
	return t.Pretext == nil && (len(t.Tasks) == 1 || len(t.Data) == 1)
}

// val opens the val part that tells how far training is; nil where there is none, or none with labels.
func (t *Train) val(e *Env) (data.Dataset, error) {
	if !t.validates() {
		return nil, nil
	}
	val, err := e.optional(t.Data[0], "val")
	if err != nil || val == nil || !val.Labels().Has(t.Tasks[0]) {
		return nil, err
	}
	return val, nil
}

// set joins the train parts, with the labels of teachers if they are there already.
func (t *Train) set(e *Env, labelled bool) (data.Dataset, error) {
	l, _ := find[*Label](e, t.Labels)
	var parts []data.Dataset
	for _, name := range t.Data {
		ds, err := e.Open(name, "train")
		if err == nil && labelled && l != nil && slices.Contains(l.Data, name) {
			ds, err = shards.Merge(ds, filepath.Join(e.Folder(t.Labels), name))
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, ds)
	}
	set, err := data.Union(parts...)
	if err != nil {
		return nil, fmt.Errorf("%w; the sets are %v: declare the task's classes under spaces, so that they are mapped", err, t.Data)
	}
	return set, nil
}

// labelled counts the images of a set that carry labels, by task. One without any is of no use.
func (t *Train) labelled(set data.Dataset, taught ...string) (map[string]int, error) {
	counts := map[string]int{}
	for _, task := range t.Tasks {
		counts[task] = data.Labelled(set, task)
		if counts[task] == 0 && !slices.Contains(taught, task) {
			return nil, fmt.Errorf("%s cannot be learned: none of the %s of %v carries a label for it", task, count(set.Len(), "image"), t.Data)
		}
	}
	return counts, nil
}

// carry says how many images carry labels, for people.
func (t *Train) carry(images int, labelled map[string]int) string {
	var parts []string
	for _, task := range t.Tasks {
		parts = append(parts, fmt.Sprintf("%s %s", task, humanize.Comma(int64(labelled[task]))))
	}
	return fmt.Sprintf("labels of %s: %s", count(images, "image"), strings.Join(parts, ", "))
}

// network describes what is trained on a set of those labels.
func (t *Train) network(e *Env, labels data.Labels) (spec network.Spec, err error) {
	for _, task := range t.Tasks {
		if !labels.Has(task) {
			return spec, fmt.Errorf("no set of %v has labels for %s", t.Data, task)
		}
	}
	spec = e.Spec(t.Tasks, labels.Only(t.Tasks...))
	spec.Model, err = e.Architecture(t.Model)
	return spec, err
}

// spec describes the network before there are labels of teachers, and returns the set without them and
// the tasks that teachers will label.
func (t *Train) spec(e *Env) (spec network.Spec, set data.Dataset, taught []string, err error) {
	if set, err = t.set(e, false); err != nil {
		return spec, nil, nil, err
	}
	labels := set.Labels()
	if l, ok := find[*Label](e, t.Labels); ok {
		for _, teacher := range l.Teachers {
			s, err := e.spec(teacher)
			if err != nil {
				return spec, nil, nil, err
			}
			labels = labels.Join(s.Labels.Only(s.Tasks...))
			taught = append(taught, s.Tasks...)
		}
	}
	spec, err = t.network(e, labels)
	return spec, set, taught, err
}

// Cost is one training run, scored now and then.
func (t *Train) Cost(w *Work) (c Cost, err error) {
	run := Run{Times: 1, Pretext: t.Pretext, Reads: map[string]float64{}}
	var set data.Dataset
	var taught []string
	if run.Spec, set, taught, err = t.spec(w.Env); err != nil {
		return c, err
	}
	if run.Config, err = t.config(w.Env); err != nil {
		return c, err
	}
	run.Steps = run.Config.TotalSteps(set.Len())
	for _, n := range t.Data {
		ds, err := w.Open(n, "train")
		if err != nil {
			return c, err
		}
		run.Reads[n] += float64(ds.Len()) / float64(set.Len())
	}
	labelled, err := t.labelled(set, taught...)
	if err != nil {
		return c, err
	}
	steps := run.Steps
	if log, err := train.ReadLog(filepath.Join(w.Dir, train.LogFile)); err == nil && len(log) > 0 {
		run.Steps = max(0, steps-log[len(log)-1].Step)
	}
	val, err := t.val(w.Env)
	if err != nil {
		return c, err
	}
	if val != nil {
		run.Predict = val.Len()
		if c := run.Config; c.EvalEvery > 0 {
			run.Predict *= max(1, run.Steps*c.Batch/max(1, set.Len())/c.EvalEvery)
		}
	}
	c.Text = fmt.Sprintf("%s of %d on %s", count(steps, "step"), run.Config.Batch, count(set.Len(), "image"))
	if t.Pretext == nil {
		c.Notes = append(c.Notes, t.carry(set.Len(), labelled))
	}
	if taught != nil {
		c.Notes[0] += "; teachers add " + strings.Join(taught, ", ")
	}
	c.Runs = []Run{run}
	return c, nil
}

// Run trains: model.safetensors, log.jsonl, results.json, pictures.
func (t *Train) Run(ctx context.Context, w *Work) error {
	set, err := t.set(w.Env, true)
	if err != nil {
		return err
	}
	spec, err := t.network(w.Env, set.Labels())
	if err != nil {
		return err
	}
	labelled, err := t.labelled(set)
	if err != nil {
		return err
	}
	if t.Pretext == nil {
		w.Display.Logf("%s: %s", w.Name, t.carry(set.Len(), labelled))
	}
	for _, note := range data.Notes(set) {
		w.Display.Logf("%s: %s", w.Name, note)
	}
	c, err := t.config(w.Env)
	if err != nil {
		return err
	}
	if c.Weights, err = t.weights(w.Env, c, func(format string, args ...any) { w.Display.Logf(w.Name+": "+format, args...) }); err != nil {
		return err
	}
	val, err := t.val(w.Env)
	if err != nil {
		return err
	}
	if val == nil && t.validates() {
		w.Display.Logf("%s: not scored: data set %s has neither a val nor a test part with labels for %s; holdout: 0.1 keeps a share of its train part for that", w.Name, t.Data[0], t.Tasks[0])
	}
	job := train.Job{Name: w.Name, Train: set, Val: val, Config: c, Dir: w.Dir, Display: w.Display}
	job.Info = checkpoint.Training{Data: t.Data, Version: recipe.Version}
	var own pretext.Task
	job.Net, job.Info.Start, err = w.network(t.From, t.Partial, func(*checkpoint.Checkpoint) (net *network.Network, err error) {
		if t.Pretext == nil {
			return network.New(spec, c.Seed)
		}
		net, own, err = pretext.New(spec, *t.Pretext, c.Seed, c.Batch)
		job.Pretext = own
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
	if t.Pretext == nil { // whose losses compare the images of a batch: rank 0 trains alone
		job.World = w.World
	}
	if !w.World.Leads() {
		_, err := train.Run(ctx, job)
		return err
	}
	result, err := trainOnce(ctx, job, w.callIn)
	if err != nil {
		return err
	}
	for _, name := range t.Tasks {
		if v, err := ranking(result.Scores, name); err == nil {
			w.Display.Logf("%s: %s %s %.3f on the %s part", w.Name, name, v.Name, v.Value, w.valPart(t.Data[0]))
		}
	}
	switch {
	case own != nil:
		err = t.pretextPictures(w, job.Net, own, set)
	case job.Val != nil:
		err = t.pictures(ctx, w, job.Val)
	}
	if err != nil {
		return err
	}
	end := trained{
		Scores: result.Scores, Seconds: result.Seconds, Steps: result.Steps, Skipped: int64(result.Skipped.Count), Weights: c.Weights,
		Images: set.Len(), Labelled: labelled,
	}
	if job.Val != nil {
		end.Part = w.valPart(t.Data[0])
		for _, name := range data.Ordered(maps.Keys(result.ByClass)) {
			end.Classes = append(end.Classes, report.ClassesOf(name, result.ByClass[name], job.Val.Labels()[name].Classes))
		}
	}
	return atomicfile.WriteJSON(filepath.Join(w.Dir, trainedFile), end)
}

// weights returns the loss weights: those given, and for other tasks that a teacher labels MuST's rule
// (not for depth, whose weight is set by hand). say hears of what the rule does not hold for.
func (t *Train) weights(e *Env, c train.Config, say func(format string, args ...any)) (map[string]float64, error) {
	w := maps.Clone(c.Weights)
	if w == nil {
		w = map[string]float64{}
	}
	if l, ok := find[*Label](e, cmp.Or(t.RuleOf, t.Labels)); ok {
		for _, from := range l.Teachers {
			if e.IsExternal(from) { // of whose training nothing is known
				continue
			}
			teacher, err := checkpoint.Read(e.checkpoint(from))
			if err != nil {
				return nil, err
			}
			for _, name := range teacher.Spec.Tasks {
				_, set := t.Weights[name]
				if name == depth.Name || set || !slices.Contains(t.Tasks, name) {
					continue
				}
				var why string
				if w[name], why = train.LossWeight(c, teacher.Training); why != "" {
					say("the loss of %s weighs 1, since MuST's rule of weights holds for SGD only and %s: weights sets another one", name, why)
				}
			}
		}
	}
	maps.Copy(w, t.Weights)
	return w, nil
}

// trainOnce trains, unless an earlier call did so to the end and was cut off after it.
// begin is called before it does.
func trainOnce(ctx context.Context, job train.Job, begin func() error) (*train.Result, error) {
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
		if err := begin(); err != nil {
			return nil, err
		}
		return train.Run(ctx, job)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; remove this file to train again", err)
	}
	defer torch.Do(net.Free)
	result := &train.Result{Steps: c.Training.Steps, ByClass: map[string]metric.Classes{}}
	if job.Val != nil {
		result.Scores, err = predict.Evaluate(ctx, net, job.Val, predict.Options{
			Name: job.Name + ": score", Display: job.Display, ByClass: func(task string, c metric.Classes) { result.ByClass[task] = c },
		})
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

	Images   int            `json:"images"`   // in the sets
	Labelled map[string]int `json:"labelled"` // of them, by task
	Part     string         `json:"part"`     // of the first set, that Scores are on; "": not scored

	Classes []report.Classes `json:"classes,omitempty"` // Scores class by class
}

const trainedFile = "results.json"

// pictures draws what the weights that were saved see in the validation part.
func (t *Train) pictures(ctx context.Context, w *Work, val data.Dataset) error {
	net, _, err := checkpoint.Load(filepath.Join(w.Dir, train.ModelFile))
	if err != nil {
		return err
	}
	defer torch.Do(net.Free)
	for _, name := range t.Tasks {
		if !val.Labels().Has(name) {
			continue
		}
		dir := filepath.Join(w.Dir, pictureFolder)
		if err := pictures(ctx, dir, val, name, stageImages, stageSide, viewer{trainedPicture, net, shown}); err != nil {
			return err
		}
	}
	return nil
}

// pretextPictures draws what a pretext task makes of some images, with the weights that were saved.
func (t *Train) pretextPictures(w *Work, net *network.Network, own pretext.Task, set data.Dataset) error {
	c, err := checkpoint.Read(filepath.Join(w.Dir, train.ModelFile))
	if err != nil {
		return err
	}
	chosen := spread(set, "", stageImages)
	rng := rand.New(rand.NewPCG(w.Seed, 0))
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
			made := own.Pictures(sample, rng)
			columns = 2 * len(made)
			for _, t := range made {
				t.Image = draw.Image(&data.Sample{Image: t.Image.(*image.RGBA)}, draw.Options{Side: pretextSide})
				tiles = append(tiles, t)
			}
		}
		return nil
	})
	if err != nil || tiles == nil {
		return err
	}
	return draw.WriteJPEG(t.pretextPicture(w), draw.Grid("", columns, tiles...))
}

// pretextPicture is where a sheet of what a pretext task makes of images lies.
func (t *Train) pretextPicture(w *Work) string {
	return filepath.Join(w.Dir, pictureFolder, t.Pretext.Method+".jpg")
}

// Report shows the losses, and when training has ended scores, settings and pictures.
func (t *Train) Report(w *Work, p *report.Report) error {
	keys := []string{"loss.*"} // of one task, with its parts
	if len(t.Tasks) > 1 {
		keys = []string{"total"}
		for _, name := range t.Tasks {
			keys = append(keys, "loss."+name)
		}
	}
	curve, err := report.ReadCurve(filepath.Join(w.Dir, train.LogFile), w.Name, keys...)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	curve.Y, curve.LogY = "loss", true
	p.Curves = append(p.Curves, curve)

	var end trained
	if err := readJSON(filepath.Join(w.Dir, trainedFile), &end); err == nil {
		run, err := t.run(w, &end)
		if err != nil {
			return err
		}
		p.Runs = append(p.Runs, run)
		p.Results.Networks = append(p.Results.Networks, end.network(w.Name))
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	switch {
	case t.Pretext != nil:
		return t.reportPretext(w, p)
	case !w.compared(): // what the network sees, until teachers and student can be compared
		return t.reportPictures(w, p)
	}
	return nil
}

// network is what results.json says of it.
func (t trained) network(stage string) report.Network {
	n := report.Network{Stage: stage, Images: t.Images, Labelled: t.Labelled, Part: t.Part, Classes: t.Classes}
	for task, values := range t.Scores {
		if n.Scores == nil {
			n.Scores = map[string]map[string]float64{}
		}
		n.Scores[task] = map[string]float64{}
		for _, v := range values {
			if !math.IsNaN(v.Value) && !math.IsInf(v.Value, 0) {
				n.Scores[task][v.Name] = v.Value
			}
		}
	}
	return n
}

// run is the training run with its settings.
func (t *Train) run(w *Work, end *trained) (run report.Run, err error) {
	c, err := t.config(w.Env)
	if err != nil {
		return run, err
	}
	c.Weights = end.Weights
	m, err := w.Architecture(t.Model)
	if err != nil {
		return run, err
	}
	run = report.Run{Name: w.Name, Values: facts(end.Scores)}
	run.Values = append(run.Values, report.Fact{Name: "steps", Value: strconv.Itoa(end.Steps)},
		report.Fact{Name: "time", Value: time.Duration(w.Seconds * 1e9).Round(time.Second).String()})
	if end.Skipped > 0 {
		run.Values = append(run.Values, report.Fact{Name: "unreadable images", Value: strconv.FormatInt(end.Skipped, 10)})
	}
	run.Settings, err = repeat{t.Data, t.Tasks, t.Pretext, t.From, w.Size, m, w.Detection, c}.text()
	return run, err
}

// reportPictures shows predictions on the validation part.
func (t *Train) reportPictures(w *Work, p *report.Report) error {
	for _, name := range t.Tasks {
		sheet, err := pictureSheet(filepath.Join(w.Dir, pictureFolder), name, stageImages, 1, imagePicture, truthPicture, trainedPicture)
		if err != nil {
			return err
		}
		if sheet != nil {
			p.Predictions = append(p.Predictions, report.Sheet{Title: w.Name + ": " + name, Text: fmt.Sprintf("Images of the %s part with the truth and the prediction.", w.valPart(t.Data[0])), File: sheet})
		}
	}
	return nil
}

// reportPretext shows what the pretext task makes of images.
func (t *Train) reportPretext(w *Work, p *report.Report) error {
	sheet, err := os.ReadFile(t.pretextPicture(w))
	if errors.Is(err, os.ErrNotExist) { // not trained to the end
		return nil
	}
	if err != nil {
		return err
	}
	text := "Two views of an image as they are compared."
	if t.Pretext.Method == pretext.MAE {
		text = "The patches that are hidden are filled in by the network; each has the mean and the contrast of the image."
	}
	p.Predictions = append(p.Predictions, report.Sheet{Title: w.Name, Text: text, File: sheet})
	return nil
}
