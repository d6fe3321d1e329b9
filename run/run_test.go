package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"must/data"
	"must/model"
	"must/progress"
	"must/recipe"
	"must/report"
	"must/stage"
	"must/torch"
	"must/train"
)

func TestMain(m *testing.M) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if out := os.Getenv("MUST_TEST_RUN"); out != "" { // the process that TestKilledRun kills
		r, err := Load(filepath.Join(out, "..", "long.yaml"), nil, out)
		if err == nil {
			err = r.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// run runs a recipe and returns what was said.
func runAll(t *testing.T, r *Runner) string {
	t.Helper()
	var said bytes.Buffer
	r.Display = progress.New(&said)
	if err := r.Run(context.Background()); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	r.Display.Close()
	return said.String()
}

// done lists the stages that a run passed over.
func passed(said string) (names []string) {
	for line := range strings.Lines(said) {
		if name, _, ok := strings.Cut(line, ": done before"); ok {
			names = append(names, name)
		}
	}
	return names
}

func TestWholeMethod(t *testing.T) {
	out := t.TempDir()
	r := load(t, out, tiny)
	for _, s := range r.Steps {
		if state, _ := r.state(s.Name); state != Runs {
			t.Errorf("stage %s of a new run: %s", s.Name, state)
		}
	}
	said := runAll(t, r)
	if n := passed(said); n != nil {
		t.Errorf("a new run passes over %v", n)
	}
	for _, file := range []string{
		"recipe.yaml", "report.html", "results.json", "data/objects.jpg", "data/rooms.jpg", "teacher-class/model.safetensors", "teacher-class/pictures/classification-3-prediction.png",
		"labels/crowds/index.json", "labels/quality.json", "student/model.safetensors", "score/scores.json", "score/pictures/detection-0-teacher.png", "score/pictures/detection-0-student.png",
		"transfer/rooms/must-1/result.json", "transfer/rooms/pictures/segmentation-1-scratch.png",
	} {
		if _, err := os.Stat(filepath.Join(out, file)); err != nil {
			t.Error(err)
		}
	}
	res, err := report.ReadResults(filepath.Join(out, ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Teachers) != 2 || res.Teachers[1].Task != "detection" || len(res.Transfer) != 1 || len(res.Transfer[0].Scores["must"]) != 1 ||
		res.Seconds <= 0 || res.PeakRSSMB <= 0 || res.Libtorch == "" || res.Version != recipe.Version {
		t.Errorf("results are %+v", res)
	}
	page, _ := os.ReadFile(filepath.Join(out, ReportFile))
	for _, want := range []string{"teacher-boxes", "What teacher and student see", "How good the pseudo labels are", "rooms from must, seed 1", "epochs: 2", "one solid, its class"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report does not say %q", want)
		}
	}

	// Again: nothing is done.
	all := []string{"data", "teacher-class", "teacher-boxes", "labels", "student", "score", "transfer"}
	if n := passed(runAll(t, load(t, out, tiny))); !slices.Equal(n, all) {
		t.Errorf("a second run passes over %v only", n)
	}
	// The folder knows its recipe.
	again, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if c := again.Changed(); c != nil {
		t.Errorf("stages %v of the folder's own recipe have changed", c)
	}
	// A stage's settings: it and what depends on it are done anew, what does not is not.
	changed := load(t, out, tiny, "teacher-boxes.with.lr=0.03")
	if c := changed.Changed(); !slices.Equal(c, all[2:]) {
		t.Errorf("stages %v change with a teacher", c)
	}
	changed.Only = []string{"teacher-boxes"}
	if n := passed(runAll(t, changed)); !slices.Equal(n, all[:2]) {
		t.Errorf("after a change of a teacher, %v are passed over", n)
	}
	if c := changed.Changed(); !slices.Equal(c, all[3:]) {
		t.Errorf("stages %v are left to do", c)
	}
	// What came of the old teacher is no longer in the report.
	if res, err = report.ReadResults(filepath.Join(out, ResultsFile)); err != nil || len(res.Teachers)+len(res.Transfer) != 0 {
		t.Errorf("%v, %+v", err, res)
	}
	changed.Only = []string{"student"}
	if err := changed.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "stage student reads stage labels") {
		t.Errorf("a stage before what it reads: %v", err)
	}
	// More test images: scored anew, but not trained anew.
	if c := load(t, out, tiny, "teacher-boxes.with.lr=0.03", "data.objects.parts.test=3").Changed(); slices.Contains(c, "teacher-class") || !slices.Contains(c, "score") {
		t.Errorf("stages %v change with a test part", c)
	}
	// Another recipe keeps off.
	err = load(t, out, tiny, "name=other").Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "tiny") {
		t.Errorf("another recipe in the folder: %v", err)
	}
	unknown := load(t, out, tiny)
	unknown.Only = []string{"studen"}
	err = unknown.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), `"student"`) {
		t.Errorf("an unknown stage: %v", err)
	}
}

const long = `
name: long
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8}
train: {batch: 2, steps: 150, lr: 0.01, ema: 0.9, save_every: 0.1}
data:
  objects: {format: scenes, subset: objects, size: 32, parts: {train: 8, val: 2}}
stages:
  - name: net
    train: {data: [objects], tasks: [classification]}
`

// A run that is killed in the middle of training ends with the same weights as one that is not.
func TestKilledRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "long.yaml"), []byte(long), 0o666); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	whole, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "killed")
	runAll(t, load(t, whole, long))
	t.Logf("trained in %v", time.Since(began))

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "MUST_TEST_RUN="+killed)
	var said bytes.Buffer
	child.Stderr = &said
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(killed, "net", "state.safetensors") // by the plain name
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(state); err == nil {
			break
		}
		if time.Now().After(deadline) {
			child.Process.Kill()
			child.Wait()
			t.Fatalf("no state is saved: %s", said.String())
		}
	}
	child.Process.Kill()
	child.Wait()
	if _, err := os.Stat(filepath.Join(killed, "net", train.ModelFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the run had ended before it was killed: %v", err)
	}

	r := load(t, killed, long)
	if state, spent := r.state("net"); state != Resumes {
		t.Errorf("the killed stage %s after %v s", state, spent)
	}
	runAll(t, r)
	a, err := os.ReadFile(filepath.Join(whole, "net", train.ModelFile))
	b, err2 := os.ReadFile(filepath.Join(killed, "net", train.ModelFile))
	if err != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("%v, %v: the models differ", err, err2)
	}
	steps := func(out string) (n int) {
		lines, err := train.ReadLog(filepath.Join(out, "net", train.LogFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if l.Total != 0 {
				n++
			}
		}
		return n
	}
	if a, b := steps(whole), steps(killed); a != 150 || b != 150 {
		t.Errorf("logs of %d and %d steps", a, b)
	}
}

// Ctrl-C saves the state, and the same call goes on.
func TestStoppedRun(t *testing.T) {
	out := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	r := load(t, out, long, "train.steps=20")
	r.Display = progress.New(stopper{cancel, "net: 0/20"})
	if err := r.Run(ctx); !errors.Is(err, train.ErrStopped) {
		t.Fatalf("a stopped run: %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "net", "state.safetensors")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(out, ReportFile)); err != nil {
		t.Error(err)
	}
	runAll(t, load(t, out, long, "train.steps=20"))
}

// The whole method on the other backbones.
func TestWholeMethodOnOthers(t *testing.T) {
	for _, m := range []string{
		"{backbone: bit18, width: 0.125, fpn: 8, head: 8, box_fc: 16}",
		"{backbone: vit, patch: 8, grid: 4, dim: 12, heads: 3, layers: 1, fpn: 8, head: 8, box_fc: 16}",
	} {
		out := t.TempDir()
		runAll(t, load(t, out, tiny, "model="+m))
		res, err := report.ReadResults(filepath.Join(out, ResultsFile))
		if err != nil || len(res.Teachers) != 2 || len(res.Transfer) != 1 || len(res.Transfer[0].Scores["must"]) != 1 {
			t.Errorf("%s: %v, %+v", m, err, res)
		}
	}
}

// A stopper cancels when a line with the text is written.
type stopper struct {
	cancel func()
	at     string
}

func (s stopper) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(s.at)) {
		s.cancel()
	}
	return len(b), nil
}

func TestSingleTraining(t *testing.T) {
	out := filepath.Join(t.TempDir(), "net")
	small := []string{"size=32", "model.width=0.125", "model.fpn=8", "model.head=8", "model.backbone=resnet18", "train.epochs=1", "train.batch=4", "data.data.parts={train: 8, val: 4}"}
	set := data.Source{Format: "scenes", Set: "objects", Size: 32}
	rec, _, err := Training("net", set, nil, "", false, small, Fit{})
	if err != nil {
		t.Fatal(err)
	}
	runAll(t, must(New(rec, out)))
	page, _ := os.ReadFile(filepath.Join(out, ReportFile))
	for _, want := range []string{"What the networks see", "train: classification", "Training", "top1"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	// Size and architecture come from the checkpoint.
	weights := filepath.Join(out, Single, train.ModelFile)
	rec, _, err = Training("next", data.Source{Format: "scenes", Set: "ranges", Size: 32}, nil, weights, false, []string{"train.epochs=1"}, Fit{})
	if err != nil || rec.Size != 32 || rec.Model.Backbone != (model.ResNetConfig{Layers: 18, Width: 0.125}) || rec.Stage(Single).Keys.(*stage.Train).Tasks[0] != "depth" {
		t.Errorf("%v; %+v", err, rec)
	}
	if _, _, err := Training("none", data.Source{Format: "scenes", Set: "unlabelled"}, nil, "", false, nil, Fit{}); err == nil || !strings.Contains(err.Error(), "no labels") {
		t.Errorf("a set without labels: %v", err)
	}
}
