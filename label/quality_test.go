package label

import (
	"context"
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
	if s := Summarize([]metric.Value{{Name: "f1", Value: 0.5}, {Name: "ece", Value: 0.25}}); s != "f1 0.500, ece 0.250" {
		t.Error(s)
	}
}
