package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"must/checkpoint"
	"must/data"
	"must/loader"
	"must/model"
	"must/progress"
	"must/task"
	"must/task/classification"
	"must/torch"
)

// A Job is one training run. Its folder holds model.safetensors when it is done, log.jsonl, and
// state.safetensors while it is not.
type Job struct {
	Name    string // for people
	Net     *task.Network
	Pretext Pretext // what Net learns in place of its tasks; nil: its tasks
	Train   data.Dataset
	Val     data.Dataset // may be nil
	Config  Config
	Info    checkpoint.Training // Batch, LR, Steps and Seed are filled in by Run
	Dir     string
	Display *progress.Display
}

// A Pretext is a task that needs no labels, for which a network is pretrained; package pretext has
// them. It is called within torch.Do, but for Loader.
type Pretext interface {
	// Loader says how batches are made: the views of every sample.
	Loader(o *loader.Options)

	// Losses runs a batch through the network and returns the losses of one step. rng depends on the
	// seed and the step only.
	Losses(b *loader.Batch, m model.Mode, rng *rand.Rand) []task.TaskLoss

	// Settings returns all that the losses depend on besides the network, for JSON.
	Settings() any

	// State returns what a resumed run needs besides the network, by name: float32.
	State() map[string]*torch.Tensor

	// Free releases the State.
	Free()
}

// A Result is what a run ends with.
type Result struct {
	Steps   int
	Seconds float64
	Scores  task.Scores // on Val
	Skipped loader.Skipped
}

// Files in a run's folder.
const (
	ModelFile = "model.safetensors"
	stateFile = "state.safetensors"
	LogFile   = "log.jsonl"
)

// ErrStopped is returned, wrapped, when the context ends a run: its state is saved, and the same call
// goes on from there.
var ErrStopped = errors.New("stopped; the same command goes on from here")

// Run trains until the configured number of steps, from the state in the folder if there is one.
func Run(ctx context.Context, j Job) (result *Result, failed error) {
	if err := j.Config.Check(); err != nil {
		return nil, err
	}
	j.Config = j.Config.ruled(j.Train.Len())
	c := j.Config
	if c.Augment.Size != j.Net.Size {
		return nil, fmt.Errorf("augment.size is %d but the network's input %d", c.Augment.Size, j.Net.Size)
	}
	if c.Mixup > 0 && !slices.Equal(j.Net.Tasks, []string{classification.Name}) {
		return nil, fmt.Errorf("%s: mixup is %v, but it blends images and classes only, from which nothing else than classification is learned: leave train.mixup out, and train.rule on large sets", j.Name, c.Mixup)
	}
	if err := os.MkdirAll(j.Dir, 0o777); err != nil {
		return nil, err
	}
	total := c.TotalSteps(j.Train.Len())
	o := loader.Options{
		Batch: c.Batch, Augment: c.Augment, Train: true, Shuffle: true, Seed: c.Seed, Workers: c.Workers, Mixup: c.Mixup,
		Skipped: func(err error) { j.Display.Logf("skipped: %v", err) },
	}
	if j.Pretext != nil {
		j.Pretext.Loader(&o)
	} else {
		o.Collate = j.Net.Targets
	}
	l, err := loader.New(j.Train, o)
	if err != nil {
		return nil, err
	}
	j.Info.Batch, j.Info.LR, j.Info.Steps, j.Info.Seed = c.Batch, c.LR, total, c.Seed
	t := &trainer{Job: j, total: total, started: time.Now()}
	defer torch.Do(t.free)
	if err := torch.DoErr(t.begin); err != nil {
		return nil, fmt.Errorf("%s: %w", j.Name, err)
	}
	if t.log, err = openLog(filepath.Join(j.Dir, LogFile), t.step); err != nil {
		return nil, err
	}
	defer t.log.f.Close()
	if t.log.tracked, err = t.track(ctx); err != nil {
		return nil, err
	}
	defer func() { t.log.tracked.close(failed) }()

	bar := j.Display.Task(j.Name, int64(total), "steps")
	defer bar.Done()
	bar.Set(int64(t.step))
	saved := time.Now()
	for b, err := range l.Steps(ctx, t.step, total) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", j.Name, t.step, err)
		}
		if err := torch.DoErr(func() error { return t.train(b) }); err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", j.Name, t.step, err)
		}
		b.Release()
		bar.Set(int64(t.step))
		bar.Note(fmt.Sprintf("loss %.3f", t.smooth))
		if c.SaveEvery > 0 && time.Since(saved) > time.Duration(c.SaveEvery*float64(time.Second)) && t.step < total {
			if err := torch.DoErr(t.save); err != nil {
				return nil, err
			}
			saved = time.Now()
		}
		if e := c.EvalEvery * j.Train.Len() / c.Batch; e > 0 && t.step%e == 0 && t.step < total && j.Val != nil {
			if _, err := t.score(ctx); err != nil && ctx.Err() == nil {
				return nil, err
			}
		}
	}

	r := &Result{Steps: total, Skipped: l.Skipped()}
	if j.Val != nil && ctx.Err() == nil {
		if r.Scores, err = t.score(ctx); err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		if err := torch.DoErr(t.save); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: step %d of %d: %w", j.Name, t.step, total, ErrStopped)
	}
	if err := torch.DoErr(t.finish); err != nil {
		return nil, err
	}
	r.Seconds = t.seconds + time.Since(t.started).Seconds()
	return r, nil
}

// A trainer is a run under way. Its tensors are flat buffers beside the network's own.
type trainer struct {
	Job
	total   int
	step    int // done
	log     *logWriter
	started time.Time
	seconds float64 // spent before a resume
	smooth  float64 // loss as shown

	momentum *torch.Tensor // SGD's, or AdamW's first moment
	square   *torch.Tensor // AdamW's second moment
	average  *torch.Tensor // of the parameters
	averageS *torch.Tensor // of the buffers
}

// begin allocates the optimizer's memory and reads the state of an earlier call.
func (t *trainer) begin() error {
	set := t.Net.Set
	t.momentum = zerosLike(set.Flat.Data)
	if t.Config.Optimizer == "adamw" {
		t.square = zerosLike(set.Flat.Data)
	}
	if t.Config.EMA > 0 {
		t.average, t.averageS = set.Flat.Data.Detach().Clone().Keep(), set.Stats.Data.Clone().Keep()
	}
	return t.load()
}

func zerosLike(x *torch.Tensor) *torch.Tensor { return torch.Zeros(torch.Float, x.Len()).Keep() }

func (t *trainer) free() {
	for _, x := range []*torch.Tensor{t.momentum, t.square, t.average, t.averageS} {
		x.Free()
	}
}

// train takes one step on a batch.
func (t *trainer) train(b *loader.Batch) (err error) {
	began := time.Now()
	set, c := t.Net.Set, t.Config
	set.Flat.Grad.Fill(0)
	rec := Record{Step: t.step + 1, LR: c.Rate(t.step, t.total), Loss: map[string]float64{}}
	rng := rand.New(rand.NewPCG(c.Seed, uint64(t.step)+1<<40))

	var sum *torch.Tensor
	var names []string
	var values []*torch.Tensor
	for _, l := range t.losses(b, model.Mode{Train: true, BF16: c.BF16}, rng) {
		names, values = append(names, l.Task), append(values, l.Total)
		if len(l.Parts) > 1 {
			for _, p := range l.Parts {
				names, values = append(names, l.Task+"."+p.Name), append(values, p.Value)
			}
		}
		x := l.Total
		if w, ok := c.Weights[l.Task]; ok {
			x = x.Scale(w)
		}
		if sum == nil {
			sum = x
		} else {
			sum = sum.Add(x)
		}
	}
	if sum == nil { // nothing in this batch is labelled
		t.step++
		rec.Unlabelled = true
		return t.log.write(rec)
	}
	sum.Backward()
	torch.NoGrad(func() { // all numbers by one read, since each waits for the device
		read := torch.Values[float32](torch.Stack(0, append(values, sum, set.Flat.Grad.Norm())...))
		for i, name := range names {
			rec.Loss[name] = float64(read[i])
		}
		rec.Total, rec.GradNorm = float64(read[len(names)]), float64(read[len(names)+1])
	})
	switch {
	case !finite(rec.Total):
		return t.diverged(b, "loss", rec)
	case !finite(rec.GradNorm):
		return t.diverged(b, "gradient", rec)
	}
	if c.Clip > 0 && rec.GradNorm > c.Clip {
		set.Flat.Grad.MulInPlace(torch.Number(c.Clip / rec.GradNorm))
	}
	t.update(rec.LR)
	t.follow()
	t.step++
	if t.smooth == 0 {
		t.smooth = rec.Total
	}
	t.smooth += 0.05 * (rec.Total - t.smooth)
	rec.Seconds = time.Since(began).Seconds()
	return t.log.write(rec)
}

// losses runs a batch through the network.
func (t *trainer) losses(b *loader.Batch, m model.Mode, rng *rand.Rand) []task.TaskLoss {
	if t.Pretext != nil {
		return t.Pretext.Losses(b, m, rng)
	}
	return t.Net.Losses(t.Net.Features(b.Images, b.N, m), b.Extra, rng)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// update moves the parameters. The first part of the flat buffer decays, the rest does not.
func (t *trainer) update(lr float64) {
	set, c := t.Net.Set, t.Config
	if c.Optimizer == "lars" {
		stepLARS(set, t.momentum, lr, c.Momentum, c.WeightDecay)
		return
	}
	n := set.Flat.Data.Len()
	for _, part := range []struct {
		from, n int64
		decay   float64
	}{{0, set.Decayed, c.WeightDecay}, {set.Decayed, n - set.Decayed, 0}} {
		if part.n == 0 {
			continue
		}
		cut := func(x *torch.Tensor) *torch.Tensor { return x.Narrow(0, part.from, part.n) }
		if c.Optimizer == "adamw" {
			torch.StepAdamW(cut(set.Flat.Data), cut(set.Flat.Grad), cut(t.momentum), cut(t.square),
				torch.Number(float64(t.step)), lr, 0.9, cmp.Or(c.Beta2, 0.999), part.decay, 1e-8)
		} else {
			torch.StepSGD(cut(set.Flat.Data), cut(set.Flat.Grad), cut(t.momentum), lr, c.Momentum, part.decay, false, t.step == 0)
		}
	}
}

// follow moves the average towards the weights; early on faster, so that it forgets the start.
func (t *trainer) follow() {
	if t.average == nil {
		return
	}
	s := float64(t.step)
	d := torch.Number(1 - math.Min(t.Config.EMA, (1+s)/(10+s)))
	t.average.Lerp(t.Net.Set.Flat.Data, d)
	t.averageS.Lerp(t.Net.Set.Stats.Data, d)
}

// averaged runs f with the averaged weights in the network's place.
func (t *trainer) averaged(f func() error) error {
	if t.average == nil {
		return f()
	}
	set := t.Net.Set
	swap := func() {
		torch.NoGrad(func() {
			for _, p := range [][2]*torch.Tensor{{set.Flat.Data, t.average}, {set.Stats.Data, t.averageS}} {
				keep := p[0].Clone()
				p[0].Copy(p[1])
				p[1].Copy(keep)
			}
		})
	}
	if err := torch.Do(swap); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, torch.Do(swap))
}

// score evaluates the weights that would be saved now, and logs the scores.
func (t *trainer) score(ctx context.Context) (s task.Scores, err error) {
	err = t.averaged(func() error {
		s, err = task.Evaluate(ctx, t.Net, t.Val, task.PredictOptions{Batch: t.Config.Batch, Display: t.Display, Name: t.Name + ": score"})
		if err == nil {
			t.picture(ctx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, t.log.write(Record{Step: t.step, Scores: s.ByName()})
}

// finish writes the trained model and removes the state.
func (t *trainer) finish() error {
	err := t.averaged(func() error {
		return checkpoint.Save(filepath.Join(t.Dir, ModelFile), t.Net, t.Net.Set.State(), t.Info)
	})
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(t.Dir, stateFile)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// LossWeight is MuST's rule for the weight of a task in the student's loss (§3.2): w = (b_s·lr_i) /
// (b_i·lr_s), with batch size and learning rate of the student and of the task's teacher.
func LossWeight(student Config, teacher checkpoint.Training) float64 {
	return float64(student.Batch) * teacher.LR / (float64(teacher.Batch) * student.LR)
}
