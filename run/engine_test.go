package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"must/checkpoint"
	"must/data"
	"must/label"
	"must/network"
	"must/recipe"
	"must/teacher"
	"must/torch"
	"must/train"
)

// every has a stage of every kind.
const every = `
name: every
size: 32
seed: 3
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
detection: {anchor_scale: 2, rois: 8, pre_nms: 20, post_nms: 10, max_objects: 5}
train: {batch: 4, epochs: 1, lr: 0.01}
spaces: {segmentation: {from: stuff}}
data:
  objects: {format: scenes, subset: objects, size: 32, parts: {train: 8, val: 4, test: 4}}
  stuff:   {format: scenes, subset: stuff, size: 32, parts: {train: 8, test: 4}, holdout: 0.3}
  rooms:   {format: scenes, subset: rooms, size: 32, parts: {train: 8, val: 4, test: 4}}
stages:
  - {name: look, show: {data: [objects], images: 2}}
  - {name: class, train: {data: [objects], tasks: [classification], with: {lr: 0.02}}}
  - {name: maps, train: {data: [stuff], tasks: [segmentation], from: class}}
  - {name: simclr, train: {data: [objects], pretext: {method: simclr}}}
  - {name: labels, label: {data: [objects, stuff], teachers: [class, maps], shard_size: 5}}
  - {name: student, train: {data: [objects, stuff], labels: labels, tasks: [classification, segmentation]}}
  - {name: score, score: {student: student, teachers: {classification: class, segmentation: maps}}}
  - {name: probe, probe: {data: objects, from: {scratch: "", must: student}, neighbours: [3]}}
  - {name: transfer, transfer: {from: {scratch: "", must: student}, sets: [{data: rooms, task: segmentation}]}}
`

// contents reads what a run has made: by path without fingerprints, bytes of models, shards and pictures,
// and numbers without times, paths and versions.
func contents(t *testing.T, out string) map[string]string {
	t.Helper()
	print := regexp.MustCompile(`@[0-9a-f]{10}`)
	files := map[string]string{}
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, _ := filepath.Rel(out, path)
		name = print.ReplaceAllString(filepath.ToSlash(name), "")
		b, err := os.ReadFile(path)
		switch filepath.Ext(path) {
		case ".json", ".jsonl":
			b = timeless(t, b)
		case ".html", ".lock":
			return err // the page has the times
		case ".jpeg":
			if strings.HasPrefix(name, "report-pictures/") {
				return err // the page's, named by what they show
			}
		case ".must":
			b = nil // TensorBoard's events have the times
		}
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// timeless leaves out of JSON what differs between equal runs.
func timeless(t *testing.T, b []byte) []byte {
	var strip func(v any) any
	strip = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range []string{"seconds", "waited", "sweep_seconds", "peak_rss_mb", "device", "teacher"} {
				if _, number := v[k].(map[string]any); !number { // teacher is also the scores of one
					delete(v, k)
				}
			}
			for k := range v {
				v[k] = strip(v[k])
			}
		case []any:
			for i := range v {
				v[i] = strip(v[i])
			}
		}
		return v
	}
	var out bytes.Buffer
	for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		json.NewEncoder(&out).Encode(strip(v))
	}
	return out.Bytes()
}

// The engine adds nothing to what stages do and leaves nothing out, on any machine:
//   - what is read by whom, what a fingerprint is of, and which files are made is as written down in
//     testdata/engine.txt, in which no number is computed;
//   - models and labels are byte for byte those of direct calls of the trainer and the labeller;
//   - all results are the same with several processes.
func TestEngine(t *testing.T) {
	one, side := t.TempDir(), t.TempDir()
	r := load(t, one, every)
	runAll(t, r)
	files := contents(t, one)

	t.Run("structure", func(t *testing.T) {
		var b strings.Builder
		for _, s := range r.Steps {
			fmt.Fprintf(&b, "%s (%s) reads %v\n", s.Name, s.Kind, r.reads(s.Name))
			groups := map[string]bool{} // of values, and parts of data sets
			for name := range r.fingerprint(s.Name).facts {
				parts := strings.Split(name, ".")
				if parts[0] != "data" {
					parts = parts[:1]
				}
				groups[strings.Join(parts[:min(3, len(parts))], ".")] = true
			}
			fmt.Fprintf(&b, "%s depends on %s\n", s.Name, strings.Join(recipe.Names(groups), ", "))
		}
		for _, name := range recipe.Names(files) {
			fmt.Fprintln(&b, name)
		}
		path := filepath.Join("testdata", "engine.txt")
		if os.Getenv("MUST_UPDATE") != "" {
			if err := os.MkdirAll("testdata", 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		was, is := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
		for _, l := range was {
			if !slices.Contains(is, l) {
				t.Errorf("gone: %s", l)
			}
		}
		for _, l := range is {
			if !slices.Contains(was, l) {
				t.Errorf("new: %s; if it is meant, MUST_UPDATE=1 go test ./run -run TestEngine writes it down", l)
			}
		}
	})

	t.Run("direct calls", func(t *testing.T) {
		set, val := must(r.Open("objects", "train")), must(r.Open("objects", "val"))
		c := must(r.Settings())
		c.LR = 0.02
		spec := r.Spec([]string{"classification"}, set.Labels())
		var net *network.Network
		err := torch.DoErr(func() (err error) { net, err = network.New(spec, 3); return err })
		if err != nil {
			t.Fatal(err)
		}
		defer torch.Do(net.Free)
		dir := t.TempDir()
		_, err = train.Run(t.Context(), train.Job{Name: "class", Net: net, Train: must(data.Union(set)), Val: val, Config: c, Dir: dir,
			Info: checkpoint.Training{Data: []string{"objects"}, Version: recipe.Version}})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, train.ModelFile)); err != nil || string(b) != files["class/model.safetensors"] {
			t.Errorf("%v; the trainer's model is not the stage's", err)
		}
		teachers, err := teacher.OpenAll([]string{filepath.Join(one, "class", train.ModelFile), filepath.Join(one, "maps", train.ModelFile)}, data.Labels{}, teacher.Engine{})
		if err != nil {
			t.Fatal(err)
		}
		defer teacher.Free(teachers)
		labels := t.TempDir()
		_, err = label.Run(t.Context(), must(r.Open("stuff", "train")), teachers, labels, label.Options{Name: "stuff", ShardSize: 5})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for name, b := range contents(t, labels) {
			if strings.HasSuffix(name, ".tar") {
				if n++; b != files["labels/stuff/"+name] {
					t.Errorf("%s is not the stage's", name)
				}
			}
		}
		if n == 0 {
			t.Error("no shards")
		}
	})

	t.Run("processes", func(t *testing.T) {
		several := load(t, side, every)
		several.Jobs = 2
		several.Spawn = func(ctx context.Context, j Job, _ int, lock *os.File) (float64, error) {
			r, err := Open(side)
			if err != nil {
				return 0, err
			}
			return 1, r.RunJob(ctx, j)
		}
		runAll(t, several)
		others := contents(t, side)
		for _, name := range recipe.Names(files) {
			if files[name] != others[name] {
				t.Errorf("%s is another with several processes", name)
			}
		}
		if len(others) != len(files) {
			t.Errorf("%d files, and %d with several processes", len(files), len(others))
		}
	})
}

// Of what could start the stage goes first that the most work waits for: teachers before the baselines
// that nothing needs but the end.
func TestJobsByPath(t *testing.T) {
	const text = `
name: order
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8}
train: {batch: 4, images: 16}
data:
  objects: {format: scenes, subset: objects, size: 32, parts: {train: 8, val: 4, test: 4}}
  crowds: {format: scenes, subset: crowds, size: 32, parts: {train: 8, val: 4, test: 4}}
  stuff: {format: scenes, subset: stuff, size: 32, parts: {train: 8, val: 4, test: 4}}
  ranges: {format: scenes, subset: ranges, size: 32, parts: {train: 8, val: 4, test: 4}}
  rooms: {format: scenes, subset: rooms, size: 32, parts: {train: 8, test: 4}}
stages:
  - {name: simclr, train: {data: [objects], pretext: {method: simclr}, with: {images: 48}}}
  - {name: multitask, train: {data: [objects, crowds], tasks: [classification, detection], with: {images: 48}}}
  - {name: strong, train: {data: [objects], tasks: [classification], with: {images: 48}}}
  - {name: class, train: {data: [objects], tasks: [classification]}}
  - {name: boxes, train: {data: [crowds], tasks: [detection]}}
  - {name: maps, train: {data: [stuff], tasks: [segmentation]}}
  - {name: depth, train: {data: [ranges], tasks: [depth], from: class}}
  - {name: labels, label: {data: [objects, crowds, stuff, ranges], teachers: [class, boxes, maps, depth]}}
  - {name: student, train: {data: [objects, crowds, stuff, ranges], labels: labels, tasks: [classification, detection, segmentation, depth]}}
  - {name: score, score: {student: student, teachers: {depth: depth}}}
  - {name: transfer, transfer: {from: {scratch: "", simclr: simclr, multitask: multitask, strong: strong, must: student}, sets: [{data: rooms, task: segmentation}]}}
`
	r := load(t, t.TempDir(), text)
	// The jobs do nothing but end.
	var order []string
	r.Spawn = func(ctx context.Context, j Job, _ int, lock *os.File) (float64, error) {
		if j.Part == "" {
			order = append(order, j.Stage)
			if err := r.begin(r.Step(j.Stage)); err != nil {
				return 0, err
			}
			return 0, r.end(r.Step(j.Stage), 1, 1, true)
		}
		return 0, context.Canceled // that is far enough
	}
	r.Jobs = 1 // one at a time, so that the order is one
	lock, err := r.claim()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := r.runJobs(t.Context(), lock); err == nil {
		t.Error("the stage that was stopped has ended")
	}
	if want := []string{"class", "boxes", "maps", "depth", "labels", "strong", "simclr", "multitask", "student"}; !slices.Equal(order, want) {
		t.Errorf("stages start in the order %v, want %v, by %v", order, want, r.paths())
	}

	// The student gets all threads where there is nothing that could run beside it.
	few := text[:strings.Index(text, "  - {name: simclr")] + text[strings.Index(text, "  - {name: class"):]
	few = strings.Replace(few, "simclr: simclr, multitask: multitask, strong: strong, ", "", 1)
	for _, c := range []struct {
		text  string
		alone []string
	}{{text, nil}, {few, []string{"labels", "student"}}} {
		r := load(t, t.TempDir(), c.text)
		var alone []string
		for _, s := range r.Steps {
			if r.alone(s.Name) {
				alone = append(alone, s.Name)
			}
		}
		if !slices.Equal(alone, c.alone) {
			t.Errorf("alone are %v, want %v", alone, c.alone)
		}
	}
}
