package data_test

import (
	"strings"
	"testing"

	"must/data"
	"must/task/classification"
	"must/task/detection"
)

type keyed []string

func (k keyed) Len() int                         { return len(k) }
func (k keyed) Labels() data.Labels              { return data.Labels{} }
func (k keyed) Key(i int) string                 { return k[i] }
func (k keyed) Sample(int) (*data.Sample, error) { return nil, nil }

func TestCheckKeys(t *testing.T) {
	if err := data.CheckKeys(keyed{"a", "b", "b/a"}); err != nil {
		t.Error(err)
	}
	err := data.CheckKeys(keyed{"x", "a/1", "b", "a/1", "a/1"})
	if err == nil || !strings.Contains(err.Error(), `2 samples have the key of another one, such as "a/1"`) {
		t.Error(err)
	}
}

// half labels every other sample with a class, and the first with an object of class 1.
type half struct{ n int }

func (h half) Len() int { return h.n }
func (h half) Labels() data.Labels {
	return data.Labels{classification.Name: {Classes: []string{"a"}}, detection.Name: {Classes: []string{"x", "y"}}}
}
func (h half) Key(i int) string             { return string(rune('a' + i)) }
func (h half) Notes() []string              { return []string{"half"} }
func (h half) Carries(i int, t string) bool { return t == detection.Name || i%2 == 0 }
func (h half) Sample(i int) (*data.Sample, error) {
	return &data.Sample{Key: h.Key(i), Known: data.Know(detection.NewPartial([]data.Object{{Class: 1}}, []int{0}))}, nil
}

func TestLabelledThroughWrappers(t *testing.T) {
	both, err := data.Union(half{4}, half{5})
	if err != nil {
		t.Fatal(err)
	}
	left, out := data.HoldOut(both, 0.5)
	if n := data.Labelled(left, classification.Name) + data.Labelled(out, classification.Name); n != 5 {
		t.Errorf("%d of both sides, want 5", n)
	}
	m, err := data.MapClasses(detection.Name, []string{"x", "y"}, []string{"y", "x", "z"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := data.Remap(both, m)
	if n := data.Labelled(r, classification.Name); n != 5 {
		t.Errorf("%d of a remapped set, want 5", n)
	}
	if n := data.Labelled(data.Only(r, detection.Name), classification.Name); n != 0 {
		t.Errorf("%d of a task that is left out", n)
	}
	if n := data.Notes(r); len(n) != 1 || n[0] != "half" {
		t.Errorf("notes %q", n)
	}
	s, err := r.Sample(0)
	if err != nil || len(detection.Unknown(s)) != 2 || detection.Unknown(s)[0] != 1 || detection.Unknown(s)[1] != 2 {
		t.Errorf("unknown %v of the set and the space, %v; want 1 and 2", detection.Unknown(s), err)
	}
	if u := data.Spread(half{9}, 3); data.Labelled(u, classification.Name) != 2 { // of samples 0, 3, 6
		t.Errorf("%d of a spread", data.Labelled(u, classification.Name))
	}
}
