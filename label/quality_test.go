package label

import (
	"context"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/label/shards"
	"must/metric"
	"must/task/classification"
	"must/task/depth"
	"must/task/segmentation"
)

// A network's own predictions as truth are met in full; another's are not.
func TestAssess(t *testing.T) {
	l := data.Labels{classification.Name: {Classes: []string{"a", "b", "c"}}, segmentation.Name: {Classes: []string{"p", "q"}}, depth.Name: {Units: data.Metric}}
	tasks := []string{classification.Name, segmentation.Name, depth.Name}
	one, other := teacher(t, 48, 1, l, tasks...), teacher(t, 48, 2, l, tasks...)
	dir := t.TempDir()
	photos := open(t, "unlabelled", 5)
	o := Options{Name: "photos", Thresholds: map[string]float64{segmentation.Name: 0}}
	if _, err := Run(context.Background(), photos, []Teacher{one}, dir, o); err != nil {
		t.Fatal(err)
	}
	truth, err := shards.Merge(photos, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		teacher Teacher
		same    bool
	}{{one, true}, {other, false}} {
		q, err := Assess(context.Background(), truth, []Teacher{c.teacher}, o)
		if err != nil || q.Images != 5 {
			t.Fatal(err, q)
		}
		s := q.Scores.ByName()
		right := s["classification.top1"] == 1 && s["segmentation.accuracy"] == 1 && s["segmentation.coverage"] == 1 && s["depth.abs_rel"] < 1e-3
		if right != c.same {
			t.Errorf("%s: %v", c.teacher.Path, s)
		}
	}
	// What is not sure enough is not kept.
	o.Thresholds = map[string]float64{segmentation.Name: 1}
	q, err := Assess(context.Background(), truth, []Teacher{one}, o)
	if err != nil || q.Scores.ByName()["segmentation.coverage"] != 0 {
		t.Errorf("%v, %v", err, q)
	}
	if _, err := Assess(context.Background(), photos, []Teacher{one}, o); err == nil || !strings.Contains(err.Error(), "no true labels") {
		t.Errorf("without truth: %v", err)
	}
	// What people decided counts in place of what the teacher says.
	theirs := t.TempDir()
	if _, err := Run(context.Background(), photos, []Teacher{other}, theirs, o); err != nil {
		t.Fatal(err)
	}
	review, err := shards.OpenReview(theirs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range photos.Len() {
		s, err := truth.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		p := classification.Of(s)
		d := shards.Decision{Do: shards.Rename, Class: l[classification.Name].Classes[slices.Index(p, slices.Max(p))]}
		if i == 0 {
			d = shards.Decision{Do: shards.DropTask, Labels: map[string]string{classification.Name: ""}}
		}
		if err := review.Decide(i, d); err != nil {
			t.Fatal(err)
		}
	}
	review.Close()
	set, err := shards.Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if o.Decided, err = set.Decided(); err != nil {
		t.Fatal(err)
	}
	q, err = Assess(context.Background(), truth, []Teacher{other}, o)
	if err != nil || q.Decided != photos.Len() || q.Scores.ByName()["classification.top1"] != 1 {
		t.Errorf("as decided: %+v, %v", q, err)
	}
	if s := Summarize([]metric.Value{{Name: "f1", Value: 0.5}, {Name: "ece", Value: 0.25}}); s != "f1 0.500, ece 0.250" {
		t.Error(s)
	}
}
