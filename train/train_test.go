package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"must/augment"
	"must/checkpoint"
	"must/data"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/torch"
	"must/weights"
)

// toys is a set of bright rectangles on noisy ground, with every label.
type toys struct {
	n          int
	broken     int // this sample cannot be read; -1: none
	unlabelled bool
	read       func() // hears of every sample that is read; may be nil
}

func (toys) Labels() data.Labels {
	return data.Labels{
		classification.Name: {Classes: []string{"red", "green", "blue"}}, detection.Name: {Classes: []string{"wide", "tall"}, Masks: true},
		segmentation.Name: {Classes: []string{"ground", "thing"}}, depth.Name: {Units: data.Metric}, normals.Name: {},
	}
}

func (d toys) Len() int       { return d.n }
func (toys) Key(i int) string { return fmt.Sprint("toy", i) }

func (d toys) Sample(i int) (*data.Sample, error) {
	if d.read != nil {
		d.read()
	}
	if i == d.broken {
		return nil, &data.SampleError{Key: d.Key(i), Err: errors.New("broken")}
	}
	const size = 64
	s := &data.Sample{Key: d.Key(i), Image: image.NewRGBA(image.Rect(0, 0, size, size))}
	r := image.Rect(6+3*i, 8, 6+3*i+20+20*(i%2), 8+40-20*(i%2))
	mask := &data.Mask{Rect: r, Pix: slices.Repeat([]uint8{1}, r.Dx()*r.Dy())}
	classification.Set(s, make([]float32, 3))
	classification.Of(s)[i%3] = 1
	detection.Set(s, []data.Object{{Box: data.Box{X0: float64(r.Min.X), Y0: float64(r.Min.Y), X1: float64(r.Max.X), Y1: float64(r.Max.Y)}, Class: 1 - i%2, Score: 1, Mask: mask}})
	segmentation.Set(s, data.NewGrid[uint8](size, size))
	depth.Set(s, data.NewGrid[float32](size, size))
	normals.Set(s, data.NewGrid[[3]float32](size, size))
	for y := range size {
		for x := range size {
			c := color.RGBA{uint8(40 + (x*7+y*13+i*5)%32), 60, 50, 255}
			depth.Of(s).Set(x, y, 4)
			normals.Of(s).Set(x, y, [3]float32{0, -1, 0})
			if image.Pt(x, y).In(r) {
				c = [3]color.RGBA{{230, 30, 30, 255}, {30, 230, 30, 255}, {30, 30, 230, 255}}[i%3]
				segmentation.Of(s).Set(x, y, 1)
				depth.Of(s).Set(x, y, 2)
				normals.Of(s).Set(x, y, [3]float32{0, 0, -1})
			}
			s.Image.SetRGBA(x, y, c)
		}
	}
	if d.unlabelled {
		s = &data.Sample{Key: s.Key, Image: s.Image}
	}
	return s, nil
}

func set(n int) toys { return toys{n: n, broken: -1} }

// config trains for so many steps of four images, without augmentation.
func config(steps int) Config {
	c := DefaultConfig()
	c.Steps, c.Batch, c.LR, c.Augment, c.SaveEvery, c.Seed = steps, 4, 0.02, augment.Config{Size: 64}, 0, 7
	return c
}

// job trains a tiny network of the tasks in a new folder.
func job(t *testing.T, c Config, l data.Labels, tasks ...string) Job {
	t.Helper()
	d := detection.DefaultConfig()
	d.AnchorScale, d.RoIs, d.PreNMS, d.PostNMS = 3, 16, 50, 30
	j := Job{Name: "test", Train: set(8), Config: c, Dir: t.TempDir()}
	err := torch.DoErr(func() (err error) {
		j.Net, err = network.New(network.Spec{
			Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 16, Head: 16, BoxFC: 32}, Detection: d,
			Tasks: tasks, Labels: l, Size: c.Augment.Size, Mean: network.ImageNetMean, Std: network.ImageNetStd,
		}, 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { torch.Do(j.Net.Free) })
	return j
}

func all(t *testing.T, c Config) Job {
	t.Helper()
	return job(t, c, toys{}.Labels(), toys{}.Labels().Tasks()...)
}

func run(t *testing.T, j Job) *Result {
	t.Helper()
	r, err := Run(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func readLog(t *testing.T, j Job) []Record {
	t.Helper()
	lines, err := ReadLog(filepath.Join(j.Dir, LogFile))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every task learns four images by heart.
func TestOverfits(t *testing.T) {
	inverse := toys{}.Labels()
	inverse = inverse.With(depth.Name, data.Meaning{Units: data.Inverse})
	for _, c := range []struct {
		name, task string
		labels     data.Labels
		lr, factor float64 // that the loss must fall by
		steps      int
	}{
		{"classification", classification.Name, toys{}.Labels(), 0.05, 4, 30},
		{"detection", detection.Name, toys{}.Labels(), 0.02, 2, 30},
		{"segmentation", segmentation.Name, toys{}.Labels(), 0.05, 3, 30},
		{"metric depth", depth.Name, toys{}.Labels(), 0.02, 5, 30},
		{"inverse depth", depth.Name, inverse, 0.05, 2, 60}, // most of it is the gradient at edges that stride 4 cannot draw
		{"normals", normals.Name, toys{}.Labels(), 0.02, 5, 30},
	} {
		config := config(c.steps)
		config.LR = c.lr
		j := job(t, config, c.labels, c.task)
		j.Train = set(4)
		run(t, j)
		lines := readLog(t, j)
		first, last := lines[0].Loss[c.task], lines[len(lines)-1].Loss[c.task]
		if !(last*c.factor < first) {
			t.Errorf("%s: the loss went from %.3f to %.3f; it should fall %v-fold", c.name, first, last, c.factor)
		}
	}
}

func TestRate(t *testing.T) {
	c := config(100)
	c.LR, c.Warmup = 2, 0.1
	for _, w := range []struct {
		schedule string
		step     int
		want     float64
	}{
		{"cosine", 0, 0.2}, {"cosine", 4, 1}, {"cosine", 9, 2}, {"cosine", 10, 2}, {"cosine", 55, 1}, {"cosine", 99, 1 + math.Cos(math.Pi*89/90)},
		{"step", 0, 0.2}, {"step", 69, 2}, {"step", 70, 0.2}, {"step", 92, 0.2}, {"step", 93, 0.02}, {"step", 99, 0.02},
		{"constant", 0, 0.2}, {"constant", 9, 2}, {"constant", 99, 2},
	} {
		c.Schedule = w.schedule
		if got := c.Rate(w.step, 100); math.Abs(got-w.want) > 1e-12 {
			t.Errorf("%s, step %d: rate %v, want %v", w.schedule, w.step, got, w.want)
		}
	}
	c.Schedule, c.Warmup, c.Milestones = "step", 0, []float64{0.6, 0.8}
	for step, want := range map[int]float64{0: 2, 59: 2, 60: 0.2, 79: 0.2, 80: 0.02, 99: 0.02} {
		if got := c.Rate(step, 100); math.Abs(got-want) > 1e-12 {
			t.Errorf("milestones, step %d: rate %v, want %v", step, got, want)
		}
	}
	for _, warmup := range []float64{0, 1} {
		c.Warmup, c.Schedule = warmup, "cosine"
		for step := range 3 {
			if r := c.Rate(step, 3); !(r > 0 && r <= c.LR) {
				t.Errorf("warm-up %v, step %d of 3: rate %v", warmup, step, r)
			}
		}
	}
	c.Steps, c.Epochs = 0, 2.5
	if n := c.TotalSteps(9); n != 6 { // ⌈2.5 · 9 / 4⌉
		t.Errorf("%d steps", n)
	}
	if n := c.TotalSteps(1); n != 1 {
		t.Errorf("%d steps on one sample", n)
	}
}

func TestLossWeight(t *testing.T) {
	for _, c := range []struct {
		student Config
		teacher checkpoint.Training
		want    float64
		says    bool // that the rule does not hold
	}{
		{Config{Batch: 32, LR: 0.04, Optimizer: "sgd"}, checkpoint.Training{Batch: 8, LR: 0.02, Optimizer: "sgd"}, 2, false}, // (32·0.02) / (8·0.04)
		{Config{Batch: 16, LR: 0.1, Optimizer: "sgd"}, checkpoint.Training{Batch: 16, LR: 0.1, Optimizer: "sgd"}, 1, false},
		{Config{Batch: 16, LR: 0.1, Optimizer: "sgd"}, checkpoint.Training{Batch: 16, LR: 0.001, Optimizer: "adamw"}, 1, true},
		{Config{Batch: 16, LR: 0.001, Optimizer: "adamw"}, checkpoint.Training{Batch: 16, LR: 0.1, Optimizer: "sgd"}, 1, true},
		{Config{Batch: 16, LR: 0.001, Optimizer: "adamw"}, checkpoint.Training{Batch: 16, LR: 0.002, Optimizer: "adamw"}, 1, true},
		{Config{Batch: 16, LR: 0.1, Optimizer: "sgd"}, checkpoint.Training{Batch: 16, LR: 0.2}, 1, true},
	} {
		if w, why := LossWeight(c.student, c.teacher); w != c.want || (why != "") != c.says {
			t.Errorf("student %s %v, teacher %+v: weight %v, %q", c.student.Optimizer, c.student.LR, c.teacher, w, why)
		}
	}
}

func TestCheck(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"one of them":   func(c *Config) { c.Steps, c.Epochs = 0, 0 },
		"epochs":        func(c *Config) { c.Epochs = math.NaN() },
		"batch":         func(c *Config) { c.Batch = 0 },
		"optimizer":     func(c *Config) { c.Optimizer = "lion" },
		"schedule":      func(c *Config) { c.Schedule = "linear" },
		"are of":        func(c *Config) { c.Milestones = []float64{0.5} },
		"milestones":    func(c *Config) { c.Schedule, c.Milestones = "step", []float64{60, 80} },
		"train.lr":      func(c *Config) { c.LR = 0 },
		"train.lr is -": func(c *Config) { c.LR = -1 },
		"lr is +Inf":    func(c *Config) { c.LR = math.Inf(1) },
		"momentum":      func(c *Config) { c.Momentum = 1 },
		"beta2":         func(c *Config) { c.Beta2 = 1 },
		"ema":           func(c *Config) { c.EMA = -0.1 },
		"warmup":        func(c *Config) { c.Warmup = 2 },
		"clip":          func(c *Config) { c.Clip = math.Inf(1) },
		"weight_decay":  func(c *Config) { c.WeightDecay = -1 },
		"weights.depth": func(c *Config) { c.Weights = map[string]float64{"depth": math.Inf(1)} },
		"eval_every":    func(c *Config) { c.EvalEvery = -1 },
		"flip":          func(c *Config) { c.Augment.Flip = 2 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := DefaultConfig().Check(); err != nil {
		t.Error(err)
	}
	j := job(t, config(1), toys{}.Labels(), depth.Name)
	j.Config.Augment.Size = 96
	if _, err := Run(t.Context(), j); err == nil || !strings.Contains(err.Error(), "96") {
		t.Errorf("other size: %v", err)
	}
}

// Under a gradient of zero weights shrink by lr · decay, norms and biases stay.
func TestDecay(t *testing.T) {
	for _, optimizer := range []string{"sgd", "adamw"} {
		c := config(1)
		c.Optimizer, c.WeightDecay = optimizer, 0.1
		j := all(t, c)
		err := torch.DoErr(func() error {
			set := j.Net.Set
			set.Flat.Data.Copy(torch.Full(torch.Float, 2, set.Flat.Data.Len()))
			tr := &trainer{Job: j}
			if err := tr.begin(); err != nil {
				return err
			}
			defer tr.free()
			tr.update(0.5)
			for name, v := range set.State() {
				want := float32(2)
				switch {
				case strings.Contains(name, ".running_"):
					continue
				case strings.HasSuffix(name, ".weight") && !strings.Contains(name, "bn") && !strings.Contains(name, ".norm.") && !strings.Contains(name, "downsample.1"):
					want = 2 * (1 - 0.5*0.1)
				}
				if math.Abs(float64(v[0]-want)) > 1e-6 {
					t.Errorf("%s: %s is %v, want %v", optimizer, name, v[0], want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Under a constant gradient AdamW moves by lr each step, however many it has taken, and SGD by
// lr · (1 + m + m² + …).
func TestUpdate(t *testing.T) {
	for optimizer, want := range map[string]float64{"adamw": -(1 + 1 + 1), "sgd": -(1 + 1.9 + 2.71) * 3} {
		c := config(1)
		c.Optimizer, c.WeightDecay = optimizer, 0
		j := job(t, c, toys{}.Labels(), classification.Name)
		err := torch.DoErr(func() error {
			f := j.Net.Set.Flat
			f.Data.Fill(0)
			f.Grad.Fill(3)
			tr := &trainer{Job: j}
			if err := tr.begin(); err != nil {
				return err
			}
			defer tr.free()
			for tr.step = range 3 {
				tr.update(0.1)
			}
			for _, at := range []int64{0, j.Net.Set.Decayed, f.Data.Len() - 1} {
				if got := f.Data.Narrow(0, at, 1).Item(); math.Abs(got/(0.1*want)-1) > 1e-4 {
					t.Errorf("%s: three steps lead to %v, want %v", optimizer, got, 0.1*want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A step along a clipped gradient is as long as lr · clip; the log tells the norm before.
func TestClip(t *testing.T) {
	c := config(1)
	c.Clip, c.Momentum, c.WeightDecay, c.Warmup = 0.01, 0, 0, 0
	j := job(t, c, toys{}.Labels(), classification.Name)
	before := flat(t, j)
	run(t, j)
	square := 0.
	for i, v := range flat(t, j) {
		square += float64(v-before[i]) * float64(v-before[i])
	}
	if got, want := math.Sqrt(square), c.LR*c.Clip; math.Abs(got/want-1) > 0.01 {
		t.Errorf("step of length %v, want %v", got, want)
	}
	if norm := readLog(t, j)[0].GradNorm; norm <= c.Clip {
		t.Errorf("the log tells a norm of %v, which needs no clipping", norm)
	}
}

func flat(t *testing.T, j Job) (v []float32) {
	t.Helper()
	if err := torch.Do(func() { v = torch.Values[float32](j.Net.Set.Flat.Data) }); err != nil {
		t.Fatal(err)
	}
	return v
}

// The average follows the weights by 1 − min(decay, (1+s)/(10+s)), is what is scored and saved, and
// leaves the weights as they are.
func TestAverage(t *testing.T) {
	c := config(1)
	c.EMA = 0.3
	j := job(t, c, toys{}.Labels(), classification.Name)
	err := torch.DoErr(func() error {
		data := j.Net.Set.Flat.Data
		data.Fill(0)
		tr := &trainer{Job: j}
		if err := tr.begin(); err != nil {
			return err
		}
		defer tr.free()
		want := 0.
		for s := 1; s <= 20; s++ {
			data.Fill(float64(s))
			tr.step = s
			tr.follow()
			d := min(0.3, float64(1+s)/float64(10+s))
			want = d*want + (1-d)*float64(s)
		}
		first := func(x *torch.Tensor) float64 { return x.Narrow(0, 0, 1).Item() }
		if got := first(tr.average); math.Abs(got-want) > 1e-4 {
			t.Errorf("average %v, want %v", got, want)
		}
		fails := errors.New("fails")
		err := tr.averaged(func() error {
			if got := first(data); math.Abs(got-want) > 1e-4 {
				t.Errorf("weight %v where the average %v should stand in", got, want)
			}
			return fails
		})
		if got := first(data); !errors.Is(err, fails) || got != 20 {
			t.Errorf("afterwards the weight is %v, want 20; %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	raw := c
	raw.Steps, raw.EMA, c.Steps = 5, 0, 5
	a, b := job(t, c, toys{}.Labels(), classification.Name), job(t, raw, toys{}.Labels(), classification.Name)
	run(t, a)
	run(t, b)
	if !slices.Equal(flat(t, a), flat(t, b)) {
		t.Error("averaging changes the weights that are trained")
	}
	if bytes.Equal(read(t, a.Dir, ModelFile), read(t, b.Dir, ModelFile)) {
		t.Error("what is saved is not the average")
	}
}

// jittered are settings under which everything random and every buffer is in use.
func jittered(steps int) Config {
	c := config(steps)
	c.Augment = augment.Config{Size: 64, Flip: 0.5, ScaleMin: 0.8, ScaleMax: 1.2, Photometric: 0.3}
	c.Optimizer, c.LR, c.EMA, c.Batch = "adamw", 0.001, 0.9, 3
	return c
}

// The number of workers changes no weight.
func TestWorkers(t *testing.T) {
	var models [][]byte
	for _, workers := range []int{1, 4} {
		c := jittered(4)
		c.Workers = workers
		j := all(t, c)
		run(t, j)
		models = append(models, read(t, j.Dir, ModelFile))
	}
	if !bytes.Equal(models[0], models[1]) {
		t.Error("one worker and four train different weights")
	}
}

// steps strips a log of what depends on the clock.
func steps(lines []Record) []byte {
	for i := range lines {
		lines[i].Seconds, lines[i].Waited = 0, 0
	}
	b, _ := json.Marshal(lines)
	return b
}

// A run that was stopped, twice, and goes on ends as one that was not: bit for bit, for both optimizers.
func TestResume(t *testing.T) {
	for _, optimizer := range []string{"sgd", "adamw"} {
		c := jittered(8)
		c.Optimizer = optimizer
		whole := all(t, c)
		want := run(t, whole)
		dir := t.TempDir()
		stops := 0
		for {
			ctx, cancel := context.WithCancel(t.Context())
			var reads atomic.Int64
			j := all(t, c) // fresh weights each time, as a new process has
			j.Dir = dir
			j.Train = toys{n: 8, broken: -1, read: func() {
				if reads.Add(1) == 10 && stops < 2 {
					cancel()
				}
			}}
			got, err := Run(ctx, j)
			cancel()
			if err == nil {
				if got.Steps != want.Steps {
					t.Errorf("%d steps, want %d", got.Steps, want.Steps)
				}
				break
			}
			if stops++; !errors.Is(err, ErrStopped) || stops > 2 {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
				t.Fatal(err)
			}
		}
		if stops != 2 {
			t.Errorf("stopped %d times", stops)
		}
		if !bytes.Equal(read(t, dir, ModelFile), read(t, whole.Dir, ModelFile)) {
			t.Errorf("%s: a resumed run ends with other weights", optimizer)
		}
		resumed := whole
		resumed.Dir = dir
		if a, b := steps(readLog(t, resumed)), steps(readLog(t, whole)); !bytes.Equal(a, b) {
			t.Errorf("%s: logs differ:\n%s\n%s", optimizer, a, b)
		}
		if _, err := os.Stat(filepath.Join(dir, stateFile)); !os.IsNotExist(err) {
			t.Errorf("a finished run leaves its state: %v", err)
		}
	}
}

// Scoring can be stopped too; the training before it is not lost.
func TestStopWhileScoring(t *testing.T) {
	j := job(t, config(3), toys{}.Labels(), classification.Name)
	ctx, cancel := context.WithCancel(t.Context())
	j.Val = toys{n: 8, broken: -1, read: cancel}
	if _, err := Run(ctx, j); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	var reads atomic.Int64
	j.Train, j.Val = toys{n: 8, broken: -1, read: func() { reads.Add(1) }}, set(8)
	r := run(t, j)
	if reads.Load() > 0 || len(r.Scores[classification.Name]) == 0 {
		t.Errorf("%d images were trained on again; scores %v", reads.Load(), r.Scores)
	}
}

const killFolder = "MUST_TEST_TRAIN_DIR"

// A process that is killed outright, while it saves its state after every step, loses nothing either.
func TestKill(t *testing.T) {
	c := jittered(12)
	if dir := os.Getenv(killFolder); dir != "" {
		c.SaveEvery = 1e-9
		j := all(t, c)
		j.Dir = dir
		run(t, j)
		return
	}
	whole := all(t, c)
	run(t, whole)
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), killFolder+"="+dir, "TMPDIR="+t.TempDir()) // it cannot tidy up
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		lines, _ := ReadLog(filepath.Join(dir, LogFile))
		if len(lines) >= 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Error("the child does not train")
			break
		}
	}
	child.Process.Kill()
	if err := child.Wait(); err == nil {
		t.Fatal("the child was not killed in time: ", out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, ModelFile)); err == nil {
		t.Fatal("the child was done")
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		t.Error("the child saved no state: ", err)
	}
	j := all(t, c)
	j.Dir = dir
	var reads atomic.Int64
	j.Train = toys{n: 8, broken: -1, read: func() { reads.Add(1) }}
	run(t, j)
	if n := reads.Load(); n > 10*3 {
		t.Errorf("at least two steps of 12 were saved, but %d images were read", n)
	}
	if !bytes.Equal(read(t, dir, ModelFile), read(t, whole.Dir, ModelFile)) {
		t.Errorf("a killed run ends with other weights; child:\n%s", out.String())
	}
	if a, b := steps(readLog(t, j)), steps(readLog(t, whole)); !bytes.Equal(a, b) {
		t.Errorf("logs differ:\n%s\n%s", a, b)
	}
}

// A state is refused under other settings and where it is damaged, with its name and the remedy.
func TestRefusesState(t *testing.T) {
	c := config(6)
	stopped := func() Job {
		j := job(t, c, toys{}.Labels(), classification.Name)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var reads atomic.Int64
		j.Train = toys{n: 8, broken: -1, read: func() {
			if reads.Add(1) == 9 {
				cancel()
			}
		}}
		if _, err := Run(ctx, j); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		j.Train = set(8)
		return j
	}
	base := stopped()
	state := read(t, base.Dir, stateFile)
	r, err := weights.Open(filepath.Join(base.Dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rewrite := func(metadata map[string]string, drop string) []byte {
		var tensors []weights.Tensor
		for _, name := range r.Names() {
			if x, err := r.Read(name); err != nil {
				t.Fatal(err)
			} else if name != drop {
				tensors = append(tensors, x)
			}
		}
		path := filepath.Join(t.TempDir(), "x")
		if err := weights.Write(path, metadata, tensors); err != nil {
			t.Fatal(err)
		}
		return read(t, filepath.Dir(path), "x")
	}
	for name, w := range map[string]struct {
		change func(j *Job)
		state  []byte
		want   string
	}{
		"other lr":    {func(j *Job) { j.Config.LR *= 2 }, state, "other settings"},
		"other seed":  {func(j *Job) { j.Config.Seed++ }, state, "other settings"},
		"other steps": {func(j *Job) { j.Config.Steps++ }, state, "other settings"},
		"other start": {func(j *Job) { j.Info.Start = "abc" }, state, "other settings"},
		"other data":  {func(j *Job) { j.Train = set(9) }, state, "other settings"},
		"cut off":     {func(*Job) {}, state[:len(state)/2], "remove"},
		"empty":       {func(*Job) {}, nil, "remove"},
		"no momentum": {func(*Job) {}, rewrite(r.Metadata, "momentum"), "momentum"},
		"no step":     {func(*Job) {}, rewrite(map[string]string{"must.settings": r.Metadata["must.settings"]}, ""), "step"},
	} {
		j := base
		j.Dir = t.TempDir()
		path := filepath.Join(j.Dir, stateFile)
		if err := os.WriteFile(path, w.state, 0o666); err != nil {
			t.Fatal(err)
		}
		w.change(&j)
		before := flat(t, j)
		if _, err := Run(t.Context(), j); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), w.want) || !strings.Contains(err.Error(), "remove") {
			t.Errorf("%s: %v, want the file, %q and the remedy", name, err, w.want)
		}
		if b, _ := os.ReadFile(path); !bytes.Equal(b, w.state) {
			t.Errorf("%s: the state was touched", name)
		}
		if name != "no step" && name != "no momentum" && !slices.Equal(flat(t, j), before) {
			t.Errorf("%s: weights were changed", name)
		}
	}
	// How often it is saved and scored, and by how many workers, does not matter.
	base.Config.SaveEvery, base.Config.EvalEvery, base.Config.Workers = 5, 1, 2
	run(t, base)
}

// A loss that is not finite stops the run and leaves the weights and the batch behind.
func TestDiverges(t *testing.T) {
	c := config(10)
	c.LR, c.Clip, c.Warmup, c.WeightDecay = 1e9, 0, 0, 1e3 // weights grow a billion billion-fold each step
	j := job(t, c, toys{}.Labels(), depth.Name)
	_, err := Run(t.Context(), j)
	if !errors.Is(err, torch.ErrNotFinite) {
		t.Fatalf("got %v", err)
	}
	model, batch := filepath.Join(j.Dir, "diverged.safetensors"), filepath.Join(j.Dir, "diverged-batch.safetensors")
	for _, want := range []string{model, batch, "depth:", "step"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell %q", err, want)
		}
	}
	ck, err := checkpoint.Read(model)
	if err != nil || ck.Training.Batch != 4 {
		t.Errorf("weights: %v", err)
	}
	r, err := weights.Open(batch)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x, err := r.Read("images")
	if err != nil || !slices.Equal(x.Shape, []int64{4, 3, 64, 64}) || !strings.Contains(r.Metadata["must.keys"], `"toy`) {
		t.Errorf("batch %v %v, %v", x.Shape, r.Metadata, err)
	}
	if _, err := os.Stat(filepath.Join(j.Dir, ModelFile)); err == nil {
		t.Error("a run that diverged has a result")
	}
}

// Every line of the log is a JSON object on its own; scores stand among the steps.
func TestLog(t *testing.T) {
	c := config(6)
	c.EvalEvery, c.Weights = 1, map[string]float64{depth.Name: 0.5}
	j := all(t, c)
	j.Val = set(4)
	r := run(t, j)
	lines := bytes.Split(bytes.TrimSpace(read(t, j.Dir, LogFile)), []byte("\n"))
	var seen []string
	for _, l := range lines {
		var m struct {
			Step                       int
			LR, Total, GradNorm        float64
			Loss, Scores               map[string]float64
			Seconds                    float64
			Unlabelled, anythingElseIn bool
		}
		if err := json.Unmarshal(bytes.ReplaceAll(l, []byte("grad_norm"), []byte("GradNorm")), &m); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if m.Scores != nil {
			seen = append(seen, fmt.Sprint("scores ", m.Step))
			continue
		}
		seen = append(seen, fmt.Sprint(m.Step))
		sum := 0.
		for name, v := range m.Loss {
			switch {
			case strings.Contains(name, "."):
			case name == depth.Name:
				sum += 0.5 * v
			default:
				sum += v
			}
		}
		if len(m.Loss) != 5+5 || math.Abs(sum-m.Total) > 1e-4*sum || !(m.GradNorm > 0) || !(m.LR > 0) || !(m.Seconds > 0) {
			t.Errorf("line %s: the losses sum to %v", l, sum)
		}
	}
	if want := []string{"1", "2", "scores 2", "3", "4", "scores 4", "5", "6", "scores 6"}; !slices.Equal(seen, want) {
		t.Errorf("lines %v, want %v", seen, want)
	}
	if len(r.Scores) != 5 || r.Steps != 6 || r.Seconds <= 0 {
		t.Errorf("result %+v", r)
	}

	// A line that was cut short ends the log; lines after the step of a state go.
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st"), 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.write(Record{Step: 3, Loss: map[string]float64{"a": math.NaN(), "b": 1}}); err != nil {
		t.Fatal(err)
	}
	l.f.Close()
	if got := read(t, filepath.Dir(path), "log"); string(got) != "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"loss\":{\"b\":1}}\n" {
		t.Errorf("log %s", got)
	}
}

// What cannot be read is skipped and counted, what is not labelled trains nothing, and a set of nothing
// else is an error.
func TestBadData(t *testing.T) {
	j := job(t, config(4), toys{}.Labels(), classification.Name)
	j.Train = toys{n: 8, broken: 3}
	if r := run(t, j); r.Skipped.Count != 1 || !strings.Contains(r.Skipped.First[0].Error(), "toy3") {
		t.Errorf("skipped %+v", r.Skipped)
	}

	j = job(t, config(2), toys{}.Labels(), classification.Name)
	j.Train = toys{n: 8, broken: -1, unlabelled: true}
	before := flat(t, j)
	if _, err := Run(t.Context(), j); err == nil || !strings.Contains(err.Error(), "none of the 8 images seen carries a label for classification") {
		t.Errorf("a pass without a label: %v", err)
	}
	if !slices.Equal(flat(t, j), before) {
		t.Error("weights change without a label")
	}
	for _, l := range readLog(t, j) {
		if !l.Unlabelled {
			t.Errorf("line %+v", l)
		}
	}

	j.Dir, j.Train = t.TempDir(), toys{n: 1, broken: 0}
	if _, err := Run(t.Context(), j); err == nil || !strings.Contains(err.Error(), "toy0") {
		t.Errorf("nothing readable: %v", err)
	}
	j.Dir, j.Train = t.TempDir(), set(0)
	if _, err := Run(t.Context(), j); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("empty set: %v", err)
	}
}

// A run leaves no tensor behind, however it ends, and trains in bfloat16.
func TestMemory(t *testing.T) {
	c := config(3)
	c.BF16, c.EMA, c.Optimizer, c.LR = true, 0.9, "adamw", 1e-3
	j := all(t, c)
	live := func() (n int) {
		torch.Do(func() { n = torch.Live() })
		return n
	}
	run(t, j) // makes the constants that operators share
	before := live()
	j.Dir = t.TempDir()
	run(t, j)
	if err := os.WriteFile(filepath.Join(j.Dir, stateFile), []byte("bad"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), j); err == nil {
		t.Error("a bad state passed")
	}
	if after := live(); after != before {
		t.Errorf("%d tensors, %d before", after, before)
	}
}

func BenchmarkStep(b *testing.B) {
	c := DefaultConfig()
	c.Steps, c.Batch = 10, 8
	for b.Loop() {
		var net *network.Network
		err := torch.DoErr(func() (err error) {
			net, err = network.New(network.Spec{
				Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.5}, FPN: 64, Head: 64, BoxFC: 128}, Detection: detection.DefaultConfig(),
				Tasks: toys{}.Labels().Tasks(), Labels: toys{}.Labels(), Size: 64, Mean: network.ImageNetMean, Std: network.ImageNetStd,
			}, 1)
			return err
		})
		if err == nil {
			_, err = Run(b.Context(), Job{Net: net, Train: set(8), Config: c, Dir: b.TempDir()})
		}
		if err != nil {
			b.Fatal(err)
		}
		torch.Do(net.Free)
	}
}
