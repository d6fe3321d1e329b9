package run

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"must/stage"
)

// results lists the folders of a run's stages that are whole, with the time at which they were.
func results(t *testing.T, out string) map[string]time.Time {
	t.Helper()
	found := map[string]time.Time{}
	files, _ := filepath.Glob(filepath.Join(out, "*@*", doneFile))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(filepath.Dir(f))] = info.ModTime()
	}
	return found
}

// Other settings make other folders, and those of before are found again.
func TestNothingIsDeleted(t *testing.T) {
	out := t.TempDir()
	const change = "teacher-boxes.with.lr=0.03"
	runAll(t, load(t, out, tiny))
	first := results(t, out)
	if len(first) != 7 {
		t.Fatalf("folders %v", first)
	}
	r := load(t, out, tiny, change)
	plan, err := r.Plan(t.Context(), os.ErrInvalid)
	if err != nil {
		t.Fatal(err)
	}
	if text := plan.Text(); !strings.Contains(text, "train.lr 0.01 → 0.03") || !strings.Contains(text, "stage teacher-boxes changed") {
		t.Errorf("the dry run does not say what changed:\n%s", text)
	}
	said := runAll(t, r)
	if !strings.Contains(said, "teacher-boxes: train.lr 0.01 → 0.03; the earlier result stays in teacher-boxes@") {
		t.Errorf("the run does not say what changed:\n%s", said)
	}
	both := results(t, out)
	for name, at := range first {
		if both[name] != at {
			t.Errorf("%s is another after a change of a setting", name)
		}
	}
	if len(both) != 12 { // all but the sheets and the first teacher
		t.Errorf("folders %v", both)
	}
	plain := filepath.Join(out, "student")
	if to, err := os.Readlink(plain); err != nil || filepath.Join(out, to) != r.Folder("student") || filepath.IsAbs(to) {
		t.Errorf("%s leads to %s, %v", plain, to, err)
	}

	// Back: nothing is done but to point.
	r = load(t, out, tiny)
	if n := passed(runAll(t, r)); len(n) != 7 {
		t.Errorf("after a change back only %v are passed over", n)
	}
	if again := results(t, out); len(again) != 12 {
		t.Errorf("folders %v", again)
	}
	if to, _ := os.Readlink(plain); filepath.Join(out, to) != r.Folder("student") {
		t.Errorf("%s leads to %s", plain, to)
	}

	// What only the change used can be removed.
	unused, err := r.Unused()
	if err != nil || len(unused) != 5 || unused[0].Bytes == 0 {
		t.Errorf("%v, unused: %+v", err, unused)
	}
	if removed, err := r.Clean(); err != nil || len(removed) != 5 {
		t.Errorf("%v, removed %+v", err, removed)
	}
	if left := results(t, out); len(left) != 7 {
		t.Errorf("after cleaning: %v", left)
	}
	if n := passed(runAll(t, load(t, out, tiny))); len(n) != 7 {
		t.Errorf("after cleaning only %v are passed over", n)
	}
}

// A stage whose inputs are not there yet has no plain name that leads to another's result.
func TestPlainNamesAreCurrent(t *testing.T) {
	out := t.TempDir()
	runAll(t, load(t, out, tiny))
	r := load(t, out, tiny, "teacher-boxes.with.lr=0.03")
	r.Only = []string{"teacher-boxes"}
	runAll(t, r)
	if _, err := os.Lstat(filepath.Join(out, "student")); !os.IsNotExist(err) {
		t.Errorf("the student of the old teacher is still called student: %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "teacher-class", "model.safetensors")); err != nil {
		t.Error(err)
	}
}

// The folders of versions that knew no fingerprints are kept.
func TestEarlierVersion(t *testing.T) {
	out := t.TempDir()
	old := filepath.Join(out, "net")
	for _, dir := range []string{old, filepath.Join(out, "net@old-1")} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(old, "model.safetensors"), []byte("hours"), 0o666); err != nil {
		t.Fatal(err)
	}
	said := runAll(t, load(t, out, long, "train.steps=1"))
	if b, err := os.ReadFile(filepath.Join(out, "net@old-2", "model.safetensors")); err != nil || string(b) != "hours" || !strings.Contains(said, "net@old-2") {
		t.Errorf("%v\n%s", err, said)
	}
}

// Where links cannot be made a file says where the result lies.
func TestWithoutLinks(t *testing.T) {
	out := t.TempDir()
	r := load(t, out, long, "train.steps=1")
	// A folder that is not empty cannot be replaced by a link.
	if err := os.MkdirAll(filepath.Join(out, ".net.link", "x"), 0o777); err != nil {
		t.Fatal(err)
	}
	runAll(t, r)
	if b, err := os.ReadFile(filepath.Join(out, "net")); err != nil || string(b) != filepath.Base(r.Folder("net"))+"\n" {
		t.Errorf("%v: %q", err, b)
	}
	if p := r.Path("net", "model.safetensors"); !strings.HasPrefix(p, r.Folder("net")) {
		t.Errorf("the model is said to be %s", p)
	}
	if n := passed(runAll(t, load(t, out, long, "train.steps=1"))); len(n) != 1 {
		t.Errorf("passed over: %v", n)
	}
}

// One more seed, point or set: the trials that there are stay.
func TestTrialsAreTakenOver(t *testing.T) {
	const text = `
name: trials
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8}
train: {batch: 4, images: 8, lr: 0.01}
data:
  rooms: {format: scenes, subset: rooms, size: 32, parts: {train: 8, val: 6, test: 4}}
  fine:  {format: scenes, subset: fine, size: 32, parts: {train: 8, val: 6, test: 4}}
stages:
  - name: transfer
    transfer:
      from: {scratch: "", vit: {from: "", model: {backbone: vit, patch: 8, grid: 4, dim: 12, heads: 3, layers: 1}}}
      seeds: [1, 2]
      sweep: {lr: [1, 2]}
      sets: [{data: rooms, task: segmentation}]
`
	out := t.TempDir()
	runAll(t, load(t, out, text))
	trained := func(said string) (n int) { return strings.Count(said, ": 0/") - strings.Count(said, "trials: 0/") }
	for _, c := range []struct {
		name     string
		settings []string
		trains   int // runs that are trained
	}{
		{"a seed", []string{"transfer.seeds=[1, 2, 3]"}, 2},
		{"a point, and it may be the best", []string{"transfer.sweep={lr: [1, 2], length: [1, 0.5]}"}, 8},
		{"a set", []string{"transfer.sets=[{data: rooms, task: segmentation}, {data: fine, task: classification}]"}, 6},
		{"one of the weights less", []string{"transfer.from={scratch: \"\"}"}, 0},
		{"another rate", []string{"train.lr=0.07"}, 6},
	} {
		said := runAll(t, load(t, out, text, c.settings...))
		if n := trained(said); n > c.trains || c.trains == 6 && n != 6 {
			t.Errorf("%s: %d runs are trained, want %d:\n%s", c.name, n, c.trains, said)
		}
	}
	// They are the same ones, with their pictures.
	seeds := load(t, out, text, "transfer.seeds=[1, 2, 3]")
	was, err := stage.ReadTrial(filepath.Join(load(t, out, text).Folder("transfer"), "rooms", "vit-1"))
	is, err2 := stage.ReadTrial(filepath.Join(seeds.Folder("transfer"), "rooms", "vit-1"))
	if err != nil || err2 != nil || was.Seconds != is.Seconds || was.Metric != is.Metric {
		t.Errorf("%v, %v: %v and %v", err, err2, was, is)
	}
	if _, err := os.Stat(filepath.Join(seeds.Folder("transfer"), "rooms", "pictures", "segmentation-1-vit.png")); err != nil {
		t.Error(err)
	}
}

// One more set to label, or other val parts: the shards that there are stay.
func TestLabelsAreTakenOver(t *testing.T) {
	out := t.TempDir()
	r := load(t, out, tiny)
	r.Only = []string{"teacher-class", "teacher-boxes", "labels"}
	runAll(t, r)
	more := load(t, out, tiny, "labels.data=[objects, crowds, rooms]")
	more.Only = r.Only
	said := runAll(t, more)
	for _, set := range []string{"objects", "crowds"} {
		if !strings.Contains(said, "label "+set+": taken over from labels@") {
			t.Errorf("%s is labelled again:\n%s", set, said)
		}
	}
	var shards []string
	for _, dir := range []string{r.Folder("labels"), more.Folder("labels")} {
		files, _ := filepath.Glob(filepath.Join(dir, "crowds", "classification", "*.tar"))
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, string(b))
	}
	if !slices.Equal(shards[:1], shards[1:]) {
		t.Error("the shards differ")
	}
}
