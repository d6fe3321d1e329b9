package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"must/augment"
	"must/checkpoint"
	"must/data"
	"must/dist"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/torch"
)

// A scene is what the processes of a test do; it reaches them by the environment.
type scene struct {
	Dir        string
	Norm       string
	SyncNorm   bool
	Tasks      []string
	Steps      int
	Batch      int
	Accumulate int
	Save       bool   // after every step
	Fault      string // what goes wrong
	Rank       int    // where
	Step       int    // when
}

const sceneVariable = "MUST_TEST_SCENE"

// sparse is a set whose samples have a label for one task each, so that parts of batches have none for some.
type sparse struct {
	toys
	tasks []string
	fault func(i int) error
}

func (d sparse) Sample(i int) (*data.Sample, error) {
	if d.fault != nil {
		if err := d.fault(i); err != nil {
			return nil, err
		}
	}
	s, err := d.toys.Sample(i % 8)
	if err != nil {
		return nil, err
	}
	s.Key = d.Key(i)
	mine := d.tasks[i%len(d.tasks)]
	only := &data.Sample{Key: s.Key, Image: s.Image}
	switch mine {
	case classification.Name:
		classification.Set(only, classification.Of(s))
	case detection.Name:
		detection.Set(only, detection.Of(s))
	case segmentation.Name:
		segmentation.Set(only, segmentation.Of(s))
	case depth.Name:
		depth.Set(only, depth.Of(s))
	case normals.Name:
		normals.Set(only, normals.Of(s))
	}
	if i%4 == 3 { // and some for two
		classification.Set(only, classification.Of(s))
		depth.Set(only, depth.Of(s))
	}
	return only, nil
}

// TestScene is one process of a scene.
func TestScene(t *testing.T) {
	text := os.Getenv(sceneVariable)
	if text == "" {
		t.Skip("for the processes of other tests")
	}
	var s scene
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	dist.Watch()
	place, err := dist.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	var w *dist.World
	if place.Size > 1 {
		w, err = dist.Join(place, dist.Options{Version: "test", Fatal: func(text string) {
			if text != "" {
				fmt.Println("FATAL", text)
			}
			os.Exit(3)
		}})
		if err != nil {
			fmt.Println("FATAL", err)
			os.Exit(1)
		}
	}
	if err := s.play(w); err != nil {
		if w.Fail(err) {
			fmt.Println("FATAL", err)
		}
		os.Exit(1)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s scene) play(w *dist.World) error {
	set := sparse{toys: toys{n: 12, broken: 5}, tasks: s.Tasks}
	c := DefaultConfig()
	c.Steps, c.Batch, c.LR, c.Clip, c.Seed, c.Accumulate, c.SyncNorm = s.Steps, s.Batch, 0.01, 1, 7, s.Accumulate, s.SyncNorm
	c.Augment = augment.Config{Size: 64, Flip: 0.5, ScaleMin: 0.8, ScaleMax: 1.2, Photometric: 0.3}
	c.EMA = 0.9
	c.SaveEvery = 0
	if s.Save {
		c.SaveEvery = 1e-9
	}
	if s.Fault != "" && w.Number() == s.Rank {
		reads := 0
		var mu sync.Mutex
		set.fault = func(int) error {
			mu.Lock()
			defer mu.Unlock()
			if reads++; reads < s.Step {
				return nil
			}
			switch s.Fault {
			case "kill":
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			case "stop":
				syscall.Kill(os.Getpid(), syscall.SIGUSR1)
			case "disk":
				return errors.New("input/output error")
			}
			return nil
		}
	}
	d := detection.DefaultConfig()
	d.AnchorScale, d.RoIs, d.PreNMS, d.PostNMS = 3, 16, 50, 30
	j := Job{Name: "test", Train: set, Config: c, Dir: s.Dir, World: w}
	err := torch.DoErr(func() (err error) {
		j.Net, err = network.New(network.Spec{
			Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 16, Head: 16, BoxFC: 32, Norm: s.Norm}, Detection: d,
			Tasks: s.Tasks, Labels: toys{}.Labels(), Size: 64, Mean: network.ImageNetMean, Std: network.ImageNetStd,
		}, 1)
		return err
	})
	if err != nil {
		return err
	}
	defer torch.Do(j.Net.Free)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	_, err = Run(ctx, j)
	return err
}

// output collects what processes say.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// perform runs a scene in n processes.
func (s scene) perform(t *testing.T, n int) (string, error) {
	t.Helper()
	if n > 1 {
		if _, err := dist.FindMPI(false); err != nil {
			t.Skipf("no MPI: %v", err)
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out output
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err = dist.Launch(ctx, n, func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestScene$")
		c.Env = append(os.Environ(), sceneVariable+"="+string(text), "OMP_NUM_THREADS=1")
		c.Stdout, c.Stderr = &out, &out
		return c
	})
	if ctx.Err() != nil {
		t.Fatalf("not done after 5 minutes:\n%s", out.text.String())
	}
	return out.text.String(), err
}

// trained returns the log and the weights of a scene that ended well.
func (s scene) trained(t *testing.T, n int) ([]Record, []float32) {
	t.Helper()
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	if out, err := s.perform(t, n); err != nil {
		t.Fatalf("%d processes: %v\n%s", n, err, out)
	}
	lines, err := ReadLog(filepath.Join(s.Dir, LogFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Read(filepath.Join(s.Dir, ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range c.State {
		names = append(names, name)
	}
	slices.Sort(names)
	var all []float32
	for _, name := range names {
		all = append(all, c.State[name]...)
	}
	return lines, all
}

// compare compares runs that should come to the same but for rounding.
func compare(t *testing.T, what string, lines, wantLines []Record, weights, want []float32) {
	t.Helper()
	if len(lines) != len(wantLines) || len(weights) != len(want) {
		t.Fatalf("%s: %d lines and %d weights, want %d and %d", what, len(lines), len(weights), len(wantLines), len(want))
	}
	loss, weight := 0., 0.
	for i, l := range lines {
		if len(l.Loss) != len(wantLines[i].Loss) {
			t.Errorf("%s, step %d: losses %v, want %v", what, l.Step, l.Loss, wantLines[i].Loss)
		}
		for name, v := range l.Loss {
			loss = max(loss, math.Abs(v-wantLines[i].Loss[name])/max(1, math.Abs(wantLines[i].Loss[name])))
		}
	}
	for i, v := range weights {
		weight = max(weight, math.Abs(float64(v-want[i])))
	}
	t.Logf("%s: losses differ by %.1g, weights by %.1g", what, loss, weight)
	if !(loss < 1e-5) || !(weight < 1e-5) {
		t.Errorf("%s: losses differ by %g, weights by %g", what, loss, weight)
	}
}

// dense are the tasks whose losses are continuous in the weights. A detector also chooses: where two scores are
// nearly equal the last bit decides what it learns from next, so it is compared over few steps.
var dense = []string{classification.Name, segmentation.Name, depth.Name, normals.Name}

// On a model without batch norm it does not matter how many processes compute a batch, nor in how many pieces:
// with tasks that only some processes have labels for, an image that cannot be read, and a batch that does not
// divide.
func TestProcessesAgree(t *testing.T) {
	for _, c := range []struct {
		tasks []string
		steps int
		runs  [][2]int // processes and pieces
	}{
		{dense, 20, [][2]int{{1, 2}, {2, 1}, {3, 1}}},
		{toys{}.Labels().Tasks(), 3, [][2]int{{3, 1}, {2, 2}}},
	} {
		s := scene{Norm: model.NormGroup, Tasks: c.tasks, Steps: c.steps, Batch: 5}
		wantLines, want := s.trained(t, 1)
		for _, r := range c.runs {
			s.Accumulate = r[1]
			lines, weights := s.trained(t, r[0])
			compare(t, fmt.Sprintf("%d tasks, %d processes of %d pieces", len(c.tasks), r[0], r[1]), lines, wantLines, weights, want)
		}
	}
}

// Synchronised batch norms see what those of one process would.
func TestSyncNorm(t *testing.T) {
	s := scene{Tasks: []string{classification.Name}, Steps: 5, Batch: 5} // whose head has no norm
	wantLines, want := s.trained(t, 1)
	s.SyncNorm = true
	lines, weights := s.trained(t, 3)
	compare(t, "synchronised", lines, wantLines, weights, want)
	s.SyncNorm = false
	if _, weights := s.trained(t, 3); slices.Equal(weights, want) {
		t.Error("batch norms of parts of a batch come to what those of the whole do")
	}
}

// Where a process dies or fails, all end with one message that names it; the same command goes on to the same
// bytes, and with any other number of processes.
func TestProcessesFail(t *testing.T) {
	s := scene{Norm: model.NormGroup, Tasks: dense, Steps: 6, Batch: 5}
	wantLines, want := s.trained(t, 3)
	for _, c := range []struct {
		fault   string
		rank, n int
		want    string
	}{{"kill", 1, 3, "process 1 of 3"}, {"kill", 0, 2, "process 0 of 3"}, {"disk", 2, 1, "process 2 of 3"}} {
		broken := s
		broken.Dir, broken.Save, broken.Fault, broken.Rank, broken.Step = t.TempDir(), true, c.fault, c.rank, 6
		began := time.Now()
		out, err := broken.perform(t, 3)
		if said := fmt.Sprint(out, err); err == nil || !strings.Contains(said, c.want) {
			t.Errorf("%s: %v, want a message that names %s:\n%s", c.fault, err, c.want, out)
		}
		if d := time.Since(began); d > time.Minute {
			t.Errorf("%s: it took %v", c.fault, d)
		}
		again := s
		again.Dir = broken.Dir
		lines, weights := again.trained(t, c.n)
		compare(t, fmt.Sprintf("%s, gone on with %d processes", c.fault, c.n), lines, wantLines, weights, want)
		if c.n == 3 && !slices.Equal(weights, want) {
			t.Error("the same number of processes comes to other bytes after one was killed")
		}
	}
}
