package shards

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
)

// reviewed makes a set of 30 images and opens it for review.
func reviewed(t *testing.T) (dir string, ds images, r *Review) {
	t.Helper()
	dir, ds = t.TempDir(), images{n: 30}
	fill(t, dir, ds, provenance(), Options{ShardSize: 8})
	return dir, ds, review(t, dir)
}

func review(t *testing.T, dir string) *Review {
	t.Helper()
	r, err := OpenReview(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r != nil {
			r.Close()
		}
	})
	return r
}

func decide(t *testing.T, r *Review, i int, d Decision) {
	t.Helper()
	if err := r.Decide(i, d); err != nil {
		t.Fatal(err)
	}
}

// ofTask says that a decision is on one task only.
func ofTask(task string) map[string]string { return map[string]string{task: ""} }

// all reads a set both ways, whole and merged with its images, and checks that both say the same.
func all(t *testing.T, dir string, ds images) map[string]*data.Sample {
	t.Helper()
	set, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*data.Sample{}
	for r, err := range set.All() {
		if err != nil {
			t.Fatal(err)
		}
		got[r.Key] = r.Sample
	}
	merged, err := Merge(ds, dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ds.n {
		s, err := merged.Sample(i)
		if _, broken := errors.AsType[*data.SampleError](err); broken {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range provenance().tasks() {
			if s.Has(task) != got[s.Key].Has(task) || len(detection.Of(s)) != len(detection.Of(got[s.Key])) {
				t.Errorf("%s: merged it has %s %t with %d objects, by itself %t with %d", s.Key, task, s.Has(task), len(detection.Of(s)), got[s.Key].Has(task), len(detection.Of(got[s.Key])))
			}
		}
	}
	return got
}

// Whoever reads the set gets it as decided; the shards stay.
func TestDecisionsAreObeyed(t *testing.T) {
	dir, ds, r := reviewed(t)
	before := all(t, dir, ds)
	zero, one := 0, 1
	decide(t, r, 2, Decision{Do: Drop})
	decide(t, r, 3, Decision{Do: DropTask, Labels: ofTask(depth.Name)})
	decide(t, r, 3, Decision{Do: Keep}) // the rest
	decide(t, r, 5, Decision{Do: Delete, Object: &zero, Labels: ofTask(detection.Name)})
	decide(t, r, 5, Decision{Do: Rename, Object: &one, Class: "é", Labels: ofTask(detection.Name)})
	decide(t, r, 6, Decision{Do: Rename, Class: "b", Labels: ofTask(classification.Name)})
	other := predict(8, &data.Sample{Key: ds.Key(0), Image: mustSample(t, ds, 0).Image})
	detection.Set(other, detection.Of(other)[:1])
	with, err := r.Encode(0, detection.Name, other)
	if err != nil {
		t.Fatal(err)
	}
	decide(t, r, 0, Decision{Do: Replace, Labels: ofTask(detection.Name), With: map[string][]byte{detection.Name: with}})
	decide(t, r, 4, Decision{Do: Drop})
	decide(t, r, 4, Decision{Do: Undo})
	if err := r.Decide(1, Decision{Do: Delete, Object: &one, Labels: ofTask(detection.Name)}); err == nil {
		t.Error("an object that is not there can be deleted")
	}
	if err := r.Decide(5, Decision{Do: Rename, Object: &one, Class: "zebra", Labels: ofTask(detection.Name)}); err == nil {
		t.Error("a class that is not there is taken")
	}
	if err := r.Decide(7, Decision{Do: Keep}); err == nil {
		t.Error("an image without labels can be kept")
	}
	if _, err := OpenReview(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two review at once: %v", err)
	}

	got := all(t, dir, ds)
	for _, task := range provenance().tasks() {
		if got[ds.Key(2)].Has(task) || !got[ds.Key(4)].Has(task) || got[ds.Key(3)].Has(task) == (task == depth.Name) {
			t.Errorf("%s: dropped has it: %t, undone: %t, of which depth is dropped: %t", task, got[ds.Key(2)].Has(task), got[ds.Key(4)].Has(task), got[ds.Key(3)].Has(task))
		}
	}
	was, is := detection.Of(before[ds.Key(5)]), detection.Of(got[ds.Key(5)])
	if len(was) != 2 || len(is) != 1 || is[0].Class != 1 || is[0].Score != was[1].Score {
		t.Errorf("objects %+v of %+v", is, was)
	}
	if c := classification.Of(got[ds.Key(6)]); !slices.Equal(c, []float32{0, 1, 0}) {
		t.Errorf("class %v", c)
	}
	if is := detection.Of(got[ds.Key(0)]); len(detection.Of(before[ds.Key(0)])) != 0 || len(is) != 1 || is[0].Score != detection.Of(other)[0].Score {
		t.Errorf("replaced objects %+v", is)
	}
	r.Decisions(func(d *Decisions) {
		if c, want := d.Counts(), (Counts{Images: 5, Kept: 1, Dropped: 1, Tasks: 1, Deleted: 1, Renamed: 1 + 1, Replaced: 1}); c != want {
			t.Errorf("counts %+v, want %+v", c, want)
		}
	})
	set, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Verify(t.Context()); err != nil {
		t.Errorf("the shards were touched: %v", err)
	}
	merged, err := Merge(ds, dir)
	if err != nil {
		t.Fatal(err)
	}
	if notes := data.Notes(merged); len(notes) != 1 || !strings.Contains(notes[0], "5 images") {
		t.Errorf("notes %q", notes)
	}
}

func mustSample(t *testing.T, ds images, i int) *data.Sample {
	t.Helper()
	s, err := ds.Sample(i)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What was acknowledged is there whatever happens to the process; half a line is not a decision, and the
// next process goes on behind it.
func TestDecisionsSurviveAKill(t *testing.T) {
	dir, ds, r := reviewed(t)
	for i := range 4 {
		decide(t, r, i, Decision{Do: Drop})
	}
	r.Close()
	path := DecisionsPath(dir)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for cut := range len(lines[3]) {
		if err := os.WriteFile(path, []byte(strings.Join(lines[:3], "")+lines[3][:cut]), 0o666); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDecisions(dir)
		if err != nil || d.Counts().Dropped != 3 {
			t.Fatalf("cut at %d: %v, %+v", cut, err, d)
		}
	}
	again := review(t, dir)
	decide(t, again, 5, Decision{Do: Drop})
	again.Close()
	if d, err := ReadDecisions(dir); err != nil || d.Counts().Dropped != 4 || d.Verdict(ds.Key(3)) != "" || d.Verdict(ds.Key(5)) != Drop {
		t.Fatalf("after the next process: %v, %+v", err, d)
	}
	if err := os.WriteFile(path, []byte("{\"key\": 3}\n"+string(whole)), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged line is not told: %v", err)
	}
}

// A decision holds for the label that was looked at, not for one that was made since.
func TestDecisionsOnOtherLabelsDoNotHold(t *testing.T) {
	dir, ds, r := reviewed(t)
	decide(t, r, 2, Decision{Do: Drop})
	r.Close()
	other := t.TempDir()
	d := images{n: ds.n}
	w, err := NewWriter(other, d, provenance(), Options{ShardSize: 8})
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, ok, err := w.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		for i := s.From; i < s.To; i++ {
			sample, err := d.Sample(i)
			if err != nil {
				err = s.Skip(d.Key(i), err)
			} else {
				p := predict(i, sample)
				classification.Of(p)[0] = 2 // all but this is as it was
				err = s.Add(p)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(other, "review"), os.DirFS(filepath.Join(dir, "review"))); err != nil {
		t.Fatal(err)
	}
	s := all(t, other, ds)[ds.Key(2)]
	if !s.Has(classification.Name) || s.Has(detection.Name) {
		t.Errorf("of a decision on both, the new classes are dropped: %t, the old objects: %t", !s.Has(classification.Name), !s.Has(detection.Name))
	}
	set, err := Open(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range set.All() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := set.Decisions().Stale(); n != 1 {
		t.Errorf("%d decisions are stale", n)
	}
}

// Two people review copies; either may merge the other's, with the same labels as the outcome.
func TestReviewsMerge(t *testing.T) {
	dir, ds, r := reviewed(t)
	decide(t, r, 1, Decision{Do: Drop})
	r.Close()
	copies := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	zero, one := 0, 1
	for k, c := range copies {
		if err := os.CopyFS(c, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		r := review(t, c)
		decide(t, r, 2, Decision{Do: Keep}) // both
		decide(t, r, 5, Decision{Do: Delete, Object: []*int{&zero, &one}[k], Labels: ofTask(detection.Name)})
		decide(t, r, 8+k, Decision{Do: Drop}) // each another
		if k == 0 {
			decide(t, r, 11, Decision{Do: Keep})
			decide(t, r, 1, Decision{Do: Undo})
			decide(t, r, 12, Decision{Do: Drop})
			decide(t, r, 12, Decision{Do: Undo})
		} else {
			decide(t, r, 11, Decision{Do: Drop})
		}
		r.Close()
	}
	var got [2]map[string]*data.Sample
	for k := range copies {
		both := filepath.Join(t.TempDir(), "both")
		if err := os.CopyFS(both, os.DirFS(copies[k])); err != nil {
			t.Fatal(err)
		}
		r := review(t, both)
		m, err := r.Merge(copies[1-k])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Conflicts, []string{ds.Key(11)}) {
			t.Errorf("conflicts %v", m.Conflicts)
		}
		if again, err := r.Merge(copies[1-k]); err != nil || again.Taken != 0 {
			t.Errorf("merged again %d are taken: %v", again.Taken, err)
		}
		r.Close()
		got[k] = all(t, both, ds)
	}
	for i := range ds.n {
		a, b := got[0][ds.Key(i)], got[1][ds.Key(i)]
		if a == nil {
			continue
		}
		dropped := i == 8 || i == 9 || i == 11
		if a.Has(depth.Name) == dropped || b.Has(depth.Name) == dropped || len(detection.Of(a)) != len(detection.Of(b)) || i == 5 && len(detection.Of(a)) != 0 {
			t.Errorf("image %d: labelled %t and %t, %d and %d objects", i, a.Has(depth.Name), b.Has(depth.Name), len(detection.Of(a)), len(detection.Of(b)))
		}
	}
}

func TestUndo(t *testing.T) {
	_, ds, r := reviewed(t)
	decide(t, r, 2, Decision{Do: Drop})
	decide(t, r, 3, Decision{Do: Keep})
	for _, want := range []int{3, 2} {
		if key, err := r.Undo(); err != nil || key != ds.Key(want) {
			t.Errorf("undid %q, %v; want image %d", key, err, want)
		}
	}
	if _, err := r.Undo(); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing is left: %v", err)
	}
}
