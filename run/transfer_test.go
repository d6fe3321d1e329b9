package run

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"must/progress"
	"must/report"
	"must/stage"
	"must/train"
)

const baselines = `
name: baselines
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
train: {batch: 4, images: 8, lr: 0.01}
data:
  objects: {format: scenes, subset: objects, size: 32, parts: {train: 8, val: 4, test: 4}}
  rooms:   {format: scenes, subset: rooms, size: 32, parts: {train: 8, val: 6, test: 4}}
  fine:    {format: scenes, subset: fine, size: 32, parts: {train: 8, val: 6, test: 4}}
stages:
  - {name: net, train: {data: [objects], tasks: [classification]}}
  - {name: simclr, train: {data: [objects], pretext: {method: simclr}}}
  - {name: bit, train: {data: [objects], tasks: [classification], model: {backbone: bit18}}}
  - {name: probe, probe: {data: fine, from: {scratch: "", simclr: simclr, bit: {from: "", model: {backbone: bit18}}}, neighbours: [3]}}
  - name: transfer
    transfer:
      from:
        scratch: ""
        vit: {from: "", model: {backbone: vit, patch: 8, grid: 4, dim: 12, heads: 3, layers: 1}, with: {optimizer: adamw, lr: 0.001}}
        net: net
        simclr: simclr
        bit: bit
      seeds: [1, 2]
      sweep: {lr: [1.0e+6, 1], length: [1, 0.5]}
      sets: [{data: rooms, task: segmentation}, {data: fine, task: classification, with: {images: 12}}]
figures:
  - {title: By start, stage: transfer, against: scratch, points: [{at: one, from: net}, {at: two, from: bit}]}
  - {title: By number, stage: transfer, against: scratch, x: number, points: [{at: 1, from: net}, {at: 10, from: simclr}]}
quick: [name=baselines-quick, 'transfer.seeds=[1]']
`

// A pretext task, starts with backbones of their own, a sweep and figures; and the same in several
// processes.
func TestBaselines(t *testing.T) {
	out := t.TempDir()
	runAll(t, load(t, out, baselines))
	res, err := report.ReadResults(filepath.Join(out, ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	starts := []string{"bit", "net", "scratch", "simclr", "vit"}
	for i, name := range []string{"rooms", "fine"} {
		row := res.Transfer[i]
		if row.Set != name || !slices.Equal(slices.Sorted(maps.Keys(row.Scores)), starts) || len(row.Scores["vit"]) != 2 {
			t.Errorf("row %d is %+v", i, row)
		}
	}

	// The sweep: the point that is best on val, its settings and one network of each start.
	cell := filepath.Join(out, "transfer", "fine")
	trial, err := stage.ReadTrial(filepath.Join(cell, "net-2"))
	if err != nil {
		t.Fatal(err)
	}
	var best *stage.Trial
	var point stage.Point
	points := []stage.Point{{LR: 1e6, Length: 1}, {LR: 1e6, Length: 0.5}, {LR: 1, Length: 1}, {LR: 1, Length: 0.5}}
	for _, p := range points {
		dir := filepath.Join(cell, "net-sweep", strings.NewReplacer("lr×", "lr", " length×", "-length").Replace(p.String()))
		swept, err := stage.ReadTrial(dir)
		if err != nil {
			t.Fatal(err)
		}
		if swept.Config.Images != int(12*p.Length) || swept.Config.LR != 0.01*p.LR || swept.Seed != 1 {
			t.Errorf("%v was trained at %+v", p, swept.Config)
		}
		if best == nil || (!swept.Diverged && (best.Diverged || swept.Metric.Value > best.Metric.Value)) {
			best, point = swept, p
		}
		_, err = os.Stat(filepath.Join(dir, train.ModelFile))
		if kept := err == nil; kept != (p == *trial.Point) {
			t.Errorf("weights of %v kept: %v; the best is %v", p, kept, *trial.Point)
		}
	}
	if *trial.Point != point || trial.Config.LR != best.Config.LR || trial.Seed != 2 {
		t.Errorf("seed 2 was trained at %v; the best of the sweep is %v", trial, point)
	}
	if vit, err := stage.ReadTrial(filepath.Join(cell, "vit-1")); err != nil || vit.Config.Optimizer != "adamw" || vit.Model.Backbone.Name() != "vit" {
		t.Errorf("%v: the ViT was trained by %+v", err, vit)
	}
	if bit, err := stage.ReadTrial(filepath.Join(cell, "bit-1")); err != nil || bit.Model.Backbone.Name() != "bit18" { // its start's, not the recipe's
		t.Errorf("%v: BiT was trained as %+v", err, bit)
	}

	page, _ := os.ReadFile(filepath.Join(out, ReportFile))
	for _, want := range []string{"By start", "By number", "mean of the sets", "best of the sweep", "backbone: vit", "method: simclr", "Frozen features on fine", "knn3.top1", "Two views of an image"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report does not say %q", want)
		}
	}

	// Side by side; each process has nothing but the folder.
	apart := t.TempDir()
	var mu sync.Mutex
	var jobs []string
	spawn := func(ctx context.Context, j Job, _ int, lock *os.File) (float64, error) {
		mu.Lock()
		jobs = append(jobs, j.String())
		mu.Unlock()
		r, err := Open(apart)
		if err != nil {
			return 0, err
		}
		return 1, r.RunJob(ctx, j)
	}
	side := load(t, apart, baselines)
	side.Jobs, side.Spawn = 3, spawn
	runAll(t, side)
	if len(jobs) != 4+2*len(starts) {
		t.Errorf("jobs %v", jobs)
	}
	same, err := report.ReadResults(filepath.Join(apart, ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range same.Transfer {
		if !maps.EqualFunc(same.Transfer[i].Scores, res.Transfer[i].Scores, slices.Equal) {
			t.Errorf("%s: %v side by side, %v one after the other", res.Transfer[i].Set, same.Transfer[i].Scores, res.Transfer[i].Scores)
		}
	}
	// Again: nothing is left to do but to draw a figure of another title.
	jobs = nil
	later := load(t, apart, baselines)
	later.Jobs, later.Spawn = 3, spawn
	later.Figures[0].Title = "Afterthought"
	runAll(t, later)
	if jobs != nil {
		t.Errorf("a second run does %v", jobs)
	}
	if page, _ := os.ReadFile(filepath.Join(apart, ReportFile)); !strings.Contains(string(page), "Afterthought") {
		t.Error("its report is the first one's")
	}
}

// A job that fails ends the run with its error, and the others stop.
func TestFailedJob(t *testing.T) {
	out := t.TempDir()
	stopped := false
	r := load(t, out, baselines)
	r.Jobs, r.Display = 2, progress.New(&bytes.Buffer{})
	r.Spawn = func(ctx context.Context, j Job, _ int, lock *os.File) (float64, error) {
		if j.Stage == "net" {
			return 0, errors.New("broken")
		}
		<-ctx.Done()
		stopped = true
		return 0, ctx.Err()
	}
	if err := r.Run(t.Context()); err == nil || err.Error() != "stage net: broken" || !stopped {
		t.Errorf("%v, the other one stopped: %v", err, stopped)
	}
	// A process that does something else, or nothing, is no end of its stage.
	r.Spawn = func(context.Context, Job, int, *os.File) (float64, error) { return 0, nil }
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not done with these settings") {
		t.Errorf("stages that nobody did: %v", err)
	}
	// While a process of it lives, the folder is taken.
	var held *os.File
	r.Spawn = func(_ context.Context, j Job, _ int, lock *os.File) (float64, error) {
		held = lock
		if err := load(t, out, baselines).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a second run into the folder: %v", err)
		}
		return 0, errors.New("enough")
	}
	r.Jobs = 2
	if err := r.Run(t.Context()); err == nil || held == nil {
		t.Error("no job was run")
	}
}

func TestBadBaselines(t *testing.T) {
	for change, want := range map[string]string{
		"net.pretext={method: simclr}": "either tasks or a pretext task",
		"simclr.pretext.method=moco":   "pretext.method",
		"simclr.labels=net":            "leave labels",
		"probe.from={}":                "needs pretrained weights",
		"stages=[{name: a, train: {data: [fine], pretext: {method: simclr}}}, {name: b, label: {data: [fine], teachers: [a]}}]": "stage a has learned no task",
		"stages=[{name: a, train: {data: [fine], pretext: {method: simclr}}}, {name: b, score: {student: a}}]":                  "stage a has learned no task",
		"stages=[{name: a, train: {data: [fine], tasks: [classification]}}, {name: b, score: {teachers: {classification: a}}}]": "a network is missing",
		"probe.neighbours=[0]":                     "cannot vote",
		"bit.model={backbone: cnn}":                "model.backbone",
		"transfer.sweep={lr: [0]}":                 "no factor",
		"transfer.with.rule=bit":                   "nothing to sweep",
		"transfer.sets=[]":                         "needs sets",
		"transfer.sets=[~]":                        "is empty",
		"transfer.from.net={from: net, model: {}}": "brings its own",
		"figures=[{title: x, stage: net, points: [{at: a, from: net}]}]": "no transfer stage",
		"figures=[{title: x, stage: transfer}]":                          "no points",
		"figures=[{title: x, stage: transfer, against: net, points: [{at: a, from: net}]}, {title: X, stage: transfer, against: net, points: [{at: a, from: net}]}]": "an earlier one has this title",
		"figures=[{title: x, stage: transfer, against: scratch, x: n, points: [{at: a, from: net}]}]":                                                                "no number",
		"figures=[{title: x, stage: transfer, against: scratch, points: [{at: a, from: nett}]}]":                                                                     "did you mean",
	} {
		_, err := read(baselines, change)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
	quick := load(t, "", baselines, load(t, "", baselines).Quick...)
	if quick.Name != "baselines-quick" || len(keys[*stage.Transfer](quick, "transfer").Seeds) != 1 {
		t.Errorf("the quick form is %+v", quick)
	}
}
