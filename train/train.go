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
	"strings"
	"time"

	"must/checkpoint"
	"must/data"
	"must/dist"
	"must/loader"
	"must/metric"
	"must/model"
	"must/network"
	"must/predict"
	"must/progress"
	"must/task"
	"must/task/registry"
	"must/torch"
)

// A Job is one training run. Its folder holds model.safetensors when it is done, log.jsonl, and
// state.safetensors while it is not.
type Job struct {
	Name    string // for people
	Net     *network.Network
	Pretext Pretext // what Net learns in place of its tasks; nil: its tasks
	Train   data.Dataset
	Val     data.Dataset // may be nil
	Config  Config
	Info    checkpoint.Training // Batch, LR, Steps and Seed are filled in by Run
	Dir     string
	Display *progress.Display
	World   *dist.World // of the processes that train together, each with a Job alike; nil: this one alone
}

// A Pretext is a task that needs no labels, for which a network is pretrained; package pretext has
// them. It is called within torch.Do, but for Loader.
type Pretext interface {
	// Loader says how batches are made: the views of every sample.
	Loader(o *loader.Options)

	// Losses runs a batch through the network and returns the losses of one step. rng depends on the
	// seed and the step only.
	Losses(b *loader.Batch, m model.Mode, rng *rand.Rand) []network.TaskLoss

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
	Scores  task.Scores               // on Val
	ByClass map[string]metric.Classes // the same class by class, of tasks that have some
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

// ErrAllStopped is ErrStopped where all processes of a world stopped after the same step, because one of them
// was asked to.
var ErrAllStopped = fmt.Errorf("all processes %w", ErrStopped)

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
	if c.Mixup > 0 && j.Pretext != nil {
		return nil, fmt.Errorf("%s: train.mixup is %v, but %s learns without labels that could be blended: leave train.mixup out", j.Name, c.Mixup, j.Net.Pretext)
	}
	if c.Mixup > 0 && !registry.Blends(j.Net.Tasks) {
		return nil, fmt.Errorf("%s: train.mixup is %v, but labels of %v cannot be blended as the images are, so nothing would be learned: leave train.mixup out, and train.rule on large sets", j.Name, c.Mixup, j.Net.Tasks)
	}
	if j.Pretext != nil && (c.Accumulate > 1 || j.World.Count() > 1) {
		return nil, fmt.Errorf("%s: %s compares the images of a whole batch: it trains in one process, without train.accumulate", j.Name, j.Net.Pretext)
	}
	pieces := max(1, c.Accumulate)
	if n := pieces * j.World.Count(); n > c.Batch {
		return nil, fmt.Errorf("%s: train.batch is %d, fewer images than %d processes of %d pieces need: raise it, or run fewer processes", j.Name, c.Batch, j.World.Count(), pieces)
	}
	if err := os.MkdirAll(j.Dir, 0o777); err != nil {
		return nil, err
	}
	total := c.TotalSteps(j.Train.Len())
	o := loader.Options{
		Batch: c.Batch, Augment: c.Augment, Train: true, Shuffle: true, Seed: c.Seed, Workers: c.Workers, Mixup: c.Mixup,
		Parts: pieces * j.World.Count(), Mine: [2]int{pieces * j.World.Number(), pieces * (j.World.Number() + 1)},
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
	j.Info.Batch, j.Info.LR, j.Info.Optimizer, j.Info.Steps, j.Info.Seed = c.Batch, c.LR, c.Optimizer, total, c.Seed
	t := &trainer{Job: j, total: total, started: time.Now(), stopping: func() bool { return ctx.Err() != nil }}
	defer torch.Do(t.free)
	if err := torch.DoErr(t.begin); err != nil {
		return nil, fmt.Errorf("%s: %w", j.Name, err)
	}
	if t.World.Leads() {
		if t.log, err = openLog(filepath.Join(j.Dir, LogFile), t.step); err != nil {
			return nil, err
		}
		defer t.log.f.Close()
		if t.log.tracked, err = t.track(ctx); err != nil {
			return nil, err
		}
		defer func() { t.log.tracked.close(failed) }()
	}

	bar := j.Display.Task(j.Name, int64(total), "steps")
	defer bar.Done()
	bar.Set(int64(t.step))
	saved := time.Now()
	loading, cancel := ctx, context.CancelFunc(func() {})
	if t.several() { // which stop after the same step, not each when it hears of it
		loading, cancel = context.WithCancel(context.WithoutCancel(ctx))
	}
	defer cancel()
	var batch []*loader.Batch
	for b, err := range l.Steps(loading, t.step, total) {
		if loading.Err() != nil {
			t.stopped = true
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", j.Name, t.step, err)
		}
		if batch = append(batch, b); len(batch) < pieces {
			continue
		}
		if err := torch.DoErr(func() error { return t.train(batch) }); err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", j.Name, t.step, t.short(err, batch[0]))
		}
		for _, b := range batch {
			b.Release()
		}
		batch = batch[:0]
		bar.Set(int64(t.step))
		bar.Note(t.note())
		if t.stopped {
			break
		}
		if c.SaveEvery > 0 && time.Since(saved) > time.Duration(c.SaveEvery*float64(time.Second)) && t.step < total && t.World.Leads() {
			if err := torch.DoErr(t.save); err != nil {
				return nil, err
			}
			saved = time.Now()
		}
		if e := c.EvalEvery * j.Train.Len() / c.Batch; e > 0 && t.step%e == 0 && t.step < total && j.Val != nil {
			if t.stopped, err = t.lead(ctx, func() error {
				_, err := t.score(ctx)
				return err
			}); err != nil {
				return nil, err
			}
			if t.stopped {
				break
			}
		}
	}

	r := &Result{Steps: total, Skipped: l.Skipped()}
	broken, err := t.gather(l.Broken())
	if err != nil {
		return nil, err
	}
	r.Skipped.Count = len(broken)
	if j.Val != nil && !t.stopped {
		if t.stopped, err = t.lead(ctx, func() (err error) {
			r.Scores, err = t.score(ctx)
			return err
		}); err != nil {
			return nil, err
		}
	}
	if t.stopped {
		if _, err := t.lead(context.WithoutCancel(ctx), func() error { return torch.DoErr(t.save) }); err != nil {
			return nil, err
		}
		stopped := ErrStopped
		if t.several() {
			stopped = ErrAllStopped
		}
		return nil, fmt.Errorf("%s: step %d of %d: %w", j.Name, t.step, total, stopped)
	}
	if _, err := t.lead(context.WithoutCancel(ctx), func() error { return torch.DoErr(t.finish) }); err != nil {
		return nil, err
	}
	r.ByClass = t.byClass
	r.Seconds = t.seconds + time.Since(t.started).Seconds()
	return r, nil
}

// A trainer is a run under way. Its tensors are flat buffers beside the network's own.
type trainer struct {
	Job
	total   int
	step    int // done
	log     *logWriter
	byClass map[string]metric.Classes // of the scores that were measured last
	started time.Time
	seconds float64   // spent before a resume
	smooth  float64   // loss as shown
	blind   int       // steps from the first on without a label
	counted []float64 // what each of the parts was a mean over in the last step

	stopping func() bool   // whether this process was asked to stop
	stopped  bool          // whether all stop after this step
	talked   time.Duration // spent on other processes in this step
	talking  float64       // share of the time spent so, as shown
	waiting  float64       // share of the time in which there was no batch yet, likewise
	told     bool          // that it is large

	momentum *torch.Tensor // SGD's, or AdamW's first moment
	square   *torch.Tensor // AdamW's second moment
	average  *torch.Tensor // of the parameters
	averageS *torch.Tensor // of the buffers

	variances *variances // of learned weights
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
	if t.Config.LearnWeights && t.Pretext == nil {
		t.variances = newVariances(t.Net.Tasks)
	}
	if t.Config.SyncNorm && t.several() {
		if err := torch.SumAcross(t.World.AllReduce); err != nil {
			return fmt.Errorf("train.sync_norm: %w", err)
		}
	}
	if t.World.Leads() {
		if err := t.load(); err != nil {
			return err
		}
	}
	if err := t.share(); err != nil {
		return err
	}
	t.variances.restore()
	return nil
}

func zerosLike(x *torch.Tensor) *torch.Tensor { return torch.Zeros(torch.Float, x.Len()).Keep() }

func (t *trainer) free() {
	for _, x := range []*torch.Tensor{t.momentum, t.square, t.average, t.averageS} {
		x.Free()
	}
	t.variances.free()
}

// note says for people how it goes.
func (t *trainer) note() string {
	note := fmt.Sprintf("loss %.3f", t.smooth)
	if t.several() {
		note += fmt.Sprintf(" · %.0f %% of the time summing and waiting", 100*t.talking)
	}
	if t.waiting > 0.2 {
		note += fmt.Sprintf(" · %.0f %% waiting for images", 100*t.waiting)
	}
	return note
}

// A part is a part of a task's loss, by name.
type part struct{ task, name string }

// parts lists those of all losses, in the same order in every process.
func (t *trainer) parts() (parts []part) {
	if t.Pretext != nil {
		return []part{{t.Net.Pretext, t.Net.Pretext}}
	}
	for _, h := range t.Net.Heads {
		for _, name := range h.Parts() {
			parts = append(parts, part{h.Name(), name})
		}
	}
	return parts
}

// train takes one step on this process's part of a batch, in pieces. A loss is a mean over what is labelled in
// the whole batch, whoever computes which of it.
func (t *trainer) train(pieces []*loader.Batch) (err error) {
	began := time.Now()
	t.talked = 0
	set, c, parts := t.Net.Set, t.Config, t.parts()
	set.Flat.Grad.Fill(0)
	if pieces[0].N*t.Net.Size*t.Net.Size >= large && !cuda() {
		torch.SpareMemory()
	}
	rec := Record{Step: t.step + 1, LR: c.Rate(t.step, t.total), Loss: map[string]float64{}}

	if n := c.LogGrads; n > 0 && t.step%n == 0 && !t.several() && t.Pretext == nil {
		if rec.Gradients, err = t.gradients(pieces, parts); err != nil {
			return err
		}
	}
	var only []network.TaskLoss // of the only piece: its graph waits until all is counted
	if len(pieces) == 1 {
		only = t.losses(pieces[0])
	}
	counts, err := t.count(parts, pieces, only)
	if err != nil {
		return err
	}
	t.counted = counts
	shown := torch.Zeros(torch.Float, int64(len(parts))) // the parts' losses
	for _, b := range pieces {
		torch.Scope(func() {
			losses := only
			if losses == nil {
				losses = t.losses(b)
			}
			sum, values := t.weigh(parts, losses, counts)
			if sum != nil {
				torch.Part("backward")
				sum.Backward()
				torch.Part("optimizer")
				torch.NoGrad(func() { shown.Copy(shown.Add(torch.Stack(0, values...))) })
			}
		})
	}
	if err := torch.AcrossError(); err != nil {
		return err
	}
	own := shown
	if t.several() {
		own = shown.Clone()
	}
	stop := 0.
	if t.stopping() {
		stop = 1
	}
	shown = torch.Cat(0, shown, torch.Full(torch.Float, stop, 1))
	if err := t.sum(shown); err != nil {
		return err
	}
	labelled := slices.ContainsFunc(counts, func(n float64) bool { return n > 0 })
	if labelled {
		if err := t.sum(set.Flat.Grad); err != nil {
			return err
		}
		if err := t.meanStatistics(); err != nil {
			return err
		}
	}
	var read []float32
	torch.NoGrad(func() { // all numbers by one read, since each waits for the device
		x := torch.Cat(0, shown, set.Flat.Grad.Norm().View(1))
		if err = t.copyFirst(x); err == nil { // other processors may round the norm otherwise
			read = torch.Values[float32](x)
		}
	})
	if err != nil {
		return err
	}
	t.stopped = read[len(parts)] > 0
	if !labelled { // nothing in this batch is
		if t.blind == t.step {
			t.blind++
		}
		t.step++
		rec.Unlabelled = true
		if t.blind*t.Config.Batch >= t.Train.Len() {
			return fmt.Errorf("none of the %d images seen carries a label for %s: there is nothing to learn from", t.blind*t.Config.Batch, strings.Join(t.Net.Tasks, " or "))
		}
		return t.log.write(rec)
	}
	t.record(&rec, parts, counts, read)
	rec.GradNorm = float64(read[len(parts)+1])
	switch {
	case !finite(rec.Total):
		return t.diverged(pieces, "loss", rec, own)
	case !finite(rec.GradNorm):
		return t.diverged(pieces, "gradient", rec, own)
	}
	if c.Clip > 0 && rec.GradNorm > c.Clip {
		set.Flat.Grad.MulInPlace(torch.Number(c.Clip / rec.GradNorm))
	}
	t.update(rec.LR)
	t.follow()
	rec.Weights = t.weightsNow()
	weighted := map[string]float64{}
	for task, loss := range rec.Loss {
		if w, ok := c.Weights[task]; ok {
			loss *= w
		}
		weighted[task] = loss
	}
	t.variances.follow(weighted)
	t.step++
	if t.smooth == 0 {
		t.smooth = rec.Total
	}
	t.smooth += 0.05 * (rec.Total - t.smooth)
	rec.Seconds, rec.Talked = time.Since(began).Seconds(), t.talked.Seconds()
	t.talking += 0.05 * (rec.Talked/rec.Seconds - t.talking)
	t.waits(&rec, pieces)
	return t.log.write(rec)
}

// waits notes how long the step waited for its batch, and says so once where it is much of the time.
func (t *trainer) waits(rec *Record, pieces []*loader.Batch) {
	for _, b := range pieces {
		rec.Waited += b.Waited.Seconds()
	}
	t.waiting += 0.05 * (rec.Waited/(rec.Waited+rec.Seconds) - t.waiting)
	if t.waiting > 0.4 && !t.told {
		t.told = true
		t.Display.Logf("%s: about %.0f %% of the time goes into waiting for images: a faster disk, smaller files, libturbojpeg or more cores help; log.jsonl has it by step", t.Name, 100*t.waiting)
	}
}

// large is how many pixels a step has for which memory is short rather than time: those of two images of 512 px.
const large = 2 * 512 * 512

// losses runs a piece of a batch through the network. Of what they were computed from, only what their gradients
// need stays in memory.
func (t *trainer) losses(b *loader.Batch) (losses []network.TaskLoss) {
	torch.Scope(func() {
		losses = t.forward(b)
		for _, l := range losses {
			torch.Return(l.Total)
			for _, p := range l.Parts {
				if p.Value != nil {
					torch.Return(p.Value)
				}
			}
		}
	})
	return losses
}

func (t *trainer) forward(b *loader.Batch) []network.TaskLoss {
	m := model.Mode{Train: true, BF16: t.Config.BF16, Across: t.Config.SyncNorm && t.several()}
	rng := rand.New(rand.NewPCG(t.Config.Seed, uint64(t.step)+1<<40))
	if t.Pretext != nil {
		return t.Pretext.Losses(b, m, rng)
	}
	return t.Net.Losses(t.Net.Features(b.Images, b.N, m), b.Extra, rng)
}

// count returns what each part of the losses is a mean over in the whole batch. It may be known only once the
// network has seen the images, as with a detector's proposals; several pieces are looked at beforehand then.
func (t *trainer) count(parts []part, pieces []*loader.Batch, only []network.TaskLoss) ([]float64, error) {
	counts := make([]float32, len(parts))
	add := func(losses []network.TaskLoss) {
		for _, l := range losses {
			for _, p := range l.Parts {
				counts[slices.Index(parts, part{l.Task, p.Name})] += float32(p.Count)
			}
		}
	}
	add(only)
	if only == nil {
		torch.NoGrad(func() {
			statistics := t.Net.Set.Stats.Data.Clone()
			for _, b := range pieces {
				torch.Scope(func() { add(t.losses(b)) })
			}
			t.Net.Set.Stats.Data.Copy(statistics)
		})
	}
	if t.several() {
		x := torch.From(counts, int64(len(counts)))
		if err := t.sum(x); err != nil {
			return nil, err
		}
		counts = torch.Values[float32](x)
	}
	all := make([]float64, len(counts))
	for i, n := range counts {
		all[i] = float64(n)
	}
	return all, nil
}

// weigh returns what a piece adds to the loss of the whole batch, nil for nothing, and what to each of its
// parts.
func (t *trainer) weigh(parts []part, losses []network.TaskLoss, counts []float64) (sum *torch.Tensor, values []*torch.Tensor) {
	values = make([]*torch.Tensor, len(parts))
	for _, l := range losses {
		var total *torch.Tensor
		for _, p := range l.Parts {
			if p.Value == nil {
				continue
			}
			i := slices.Index(parts, part{l.Task, p.Name})
			x := p.Value
			if share := p.Count / counts[i]; share != 1 {
				x = x.Scale(share)
			}
			values[i] = x
			total = add(total, x)
		}
		if w := t.weight(l.Task); w != 1 && total != nil {
			total = total.Scale(w)
		}
		if total != nil {
			sum = add(sum, total)
		}
	}
	for i, v := range values {
		if v == nil {
			values[i] = torch.Zeros(torch.Float)
		}
	}
	return sum, values
}

func add(sum, x *torch.Tensor) *torch.Tensor {
	if sum == nil {
		return x
	}
	return sum.Add(x)
}

// record writes down the losses: of every task and, where there are several, of its parts.
func (t *trainer) record(rec *Record, parts []part, counts []float64, read []float32) {
	of := map[string]int{}
	for _, p := range parts {
		of[p.task]++
	}
	for i, p := range parts {
		if counts[i] == 0 {
			continue
		}
		v := float64(read[i])
		rec.Loss[p.task] += v
		if of[p.task] > 1 {
			rec.Loss[p.task+"."+p.name] = v
		}
		rec.Total += t.weight(p.task) * v
	}
}

// meanStatistics makes the running statistics of batch norms, which follow each process's part of the batch,
// the mean of all processes'.
func (t *trainer) meanStatistics() error {
	stats := t.Net.Set.Stats.Data
	if !t.several() || stats.Len() == 0 {
		return nil
	}
	if err := t.sum(stats); err != nil {
		return err
	}
	torch.NoGrad(func() { stats.MulInPlace(torch.Number(1 / float64(t.World.Count()))) })
	return nil
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
		t.byClass = map[string]metric.Classes{}
		s, err = predict.Evaluate(ctx, t.Net, t.Val, predict.Options{
			Batch: t.Config.Batch, Display: t.Display, Name: t.Name + ": score",
			ByClass: func(task string, c metric.Classes) { t.byClass[task] = c },
		})
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
// (b_i·lr_s), with batch size and learning rate of the student and of the task's teacher. It scales the
// steps of plain gradient descent: why tells of those that were trained otherwise, of which it says nothing.
func LossWeight(student Config, teacher checkpoint.Training) (w float64, why string) {
	const sgd = "sgd"
	switch {
	case teacher.Optimizer == "":
		return 1, "how its teacher was trained is not known"
	case teacher.Optimizer != sgd:
		return 1, "its teacher was trained by " + teacher.Optimizer
	case student.Optimizer != sgd:
		return 1, "the student is trained by " + student.Optimizer
	}
	return float64(student.Batch) * teacher.LR / (float64(teacher.Batch) * student.LR), ""
}
