package label

import (
	"strings"
	"testing"

	"must/data"
	"must/label/shards"
	"must/task/classification"
	"must/task/detection"
	"must/task/registry"
)

func TestHealth(t *testing.T) {
	names := []string{"cat", "dog", "cow"}
	p := shards.Provenance{Tasks: map[string]shards.Task{
		classification.Name: {Teacher: "c", Classes: names, Threshold: 0.9},
		detection.Name:      {Teacher: "d", Classes: names, Threshold: 0.5},
	}}
	totals := shards.Totals{Images: 10, Tasks: map[string]shards.Count{
		classification.Name: {Images: 7, Labels: 7, Shown: []int{4, 0, 3}},
		detection.Name:      {Images: 10, Labels: 25, Empty: 4, Shown: []int{0, 6, 0}},
	}}
	all := health(p, totals)
	want := []string{
		"7 images labelled; 3 below the threshold of 0.9; 1 of 3 classes never seen: dog",
		"2.5 objects an image, 4 of 10 images without any; 2 of 3 classes never seen: cat, cow",
	}
	if len(all) != len(want) {
		t.Fatal(all)
	}
	for i, h := range all {
		if h.String() != want[i] || h.warning() != "" {
			t.Errorf("%q, %q, want %q", h, h.warning(), want[i])
		}
	}
	for _, c := range []struct {
		h    Health
		want string
	}{
		{Health{Task: "detection", Teacher: "d", Images: 10, Empty: 10, Threshold: 0.5}, "finds nothing for detection in any of 10 images"},
		{Health{Task: "classification", Teacher: "c", Without: 10, Threshold: 1}, "finds nothing for classification in any of 10 images"},
		{Health{Task: "detection", Teacher: "d", Unit: "objects", Images: 20, Labels: 1, Empty: 19}, "in 19 of 20 images"},
	} {
		if w := c.h.warning(); !strings.Contains(w, c.want) {
			t.Errorf("%q, want %q", w, c.want)
		}
	}
}

// A distribution below the threshold is no label; without a threshold all are kept, as published.
func TestThresholdOfClasses(t *testing.T) {
	if _, ok := DefaultThresholds()[classification.Name]; ok {
		t.Error("classifications have a threshold that nobody set")
	}
	for _, c := range []struct {
		threshold float64
		kept      bool
	}{{0, true}, {0.6, true}, {0.61, false}} {
		s := &data.Sample{Key: "s"}
		classification.Set(s, []float32{0.1, 0.6, 0.3})
		registry.Pseudo(s, classification.Name, c.threshold)
		if s.Has(classification.Name) != c.kept {
			t.Errorf("threshold %v: kept %v, want %v", c.threshold, s.Has(classification.Name), c.kept)
		}
	}
	q := classification.Task.Quality(data.Meaning{}, data.Meaning{}, 0.6)
	for _, p := range [][]float32{{0.7, 0.2, 0.1}, {0.2, 0.7, 0.1}, {0.5, 0.4, 0.1}, {0.1, 0.2, 0.7}} {
		if err := q.Add(classification.New([]float32{1, 0, 0}), classification.New(p)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]float64{}
	for _, v := range q.Values() {
		got[v.Name] = v.Value
	}
	if got["coverage"] != 0.75 || got["top1"] != 1.0/3 {
		t.Errorf("quality %v, want a coverage of 0.75 and a top1 of 1/3", got)
	}
	if err := CheckThresholds(map[string]float64{"depth": 0.5}); err == nil || !strings.Contains(err.Error(), "classification, detection, segmentation") {
		t.Error(err)
	}
}
