package data_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
)

// fake has n samples whose class is their index; sample 1 is broken.
type fake struct {
	n      int
	labels data.Labels
}

func (f fake) Len() int            { return f.n }
func (f fake) Labels() data.Labels { return f.labels }
func (f fake) Key(i int) string    { return fmt.Sprintf("dir/%d", i) }
func (f fake) Sample(i int) (*data.Sample, error) {
	if i == 1 {
		return nil, &data.SampleError{f.Key(i), "file", errors.New("truncated")}
	}
	return &data.Sample{Key: f.Key(i), Known: data.Know(classification.New([]float32{float32(i)}))}, nil
}

func TestUnion(t *testing.T) {
	u, err := data.Union(
		fake{3, data.Labels{classification.Name: {Classes: []string{"a", "b"}}}},
		fake{0, data.Labels{depth.Name: {Units: data.Metric}}},
		fake{2, data.Labels{classification.Name: {Classes: []string{"a", "b"}}, detection.Name: {Classes: []string{"c"}, Masks: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if l := u.Labels(); u.Len() != 5 || len(l[classification.Name].Classes) != 2 || l[depth.Name].Units != data.Metric || !l[detection.Name].Masks || len(l[detection.Name].Classes) != 1 {
		t.Errorf("%d samples with labels %+v", u.Len(), l)
	}
	for i, want := range []string{"0/dir/0", "0/dir/1", "0/dir/2", "2/dir/0", "2/dir/1"} {
		if u.Key(i) != want {
			t.Errorf("key %d is %s, want %s", i, u.Key(i), want)
		}
		s, err := u.Sample(i)
		if broken, ok := errors.AsType[*data.SampleError](err); strings.HasSuffix(want, "1") {
			if !ok || broken.Key != want || broken.File != "file" {
				t.Errorf("sample %d: %v", i, err)
			}
		} else if err != nil || s.Key != want {
			t.Errorf("sample %d: %v, %v", i, s, err)
		}
	}
	if u, err := data.Union(); err != nil || u.Len() != 0 {
		t.Errorf("empty union: %v", err)
	}
}

func TestUnionConflicts(t *testing.T) {
	for _, c := range []struct {
		a, b data.Labels
		want string
	}{
		{data.Labels{classification.Name: {Classes: []string{"a", "b"}}}, data.Labels{classification.Name: {Classes: []string{"b", "a"}}}, `class 0 is "a" in one and "b"`},
		{data.Labels{detection.Name: {Classes: []string{"a"}}}, data.Labels{detection.Name: {Classes: []string{"a", "b"}}}, "1 classes, the other 2"},
		{data.Labels{depth.Name: {Units: data.Metric}}, data.Labels{depth.Name: {Units: data.Inverse}}, "metric"},
	} {
		_, err := data.Union(fake{1, c.a}, fake{0, data.Labels{}}, fake{1, c.b})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "parts 0 and 2") {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	d := fake{10, data.Labels{}}
	for n, want := range map[int][]int{0: {}, 2: {0, 5}, 4: {0, 2, 5, 7}, 10: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 99: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		s := data.Spread(d, n)
		got := []string{}
		for i := range s.Len() {
			got = append(got, s.Key(i))
		}
		keys := []string{}
		for _, i := range want {
			keys = append(keys, d.Key(i))
		}
		if !slices.Equal(got, keys) {
			t.Errorf("%d of 10: %v, want %v", n, got, keys)
		}
	}
}

// closing counts how often it is closed.
type closing struct {
	fake
	closed *int
}

func (c closing) Close() error {
	*c.closed++
	return nil
}

func TestCloseReachesEveryFile(t *testing.T) {
	closed := 0
	file := closing{fake{n: 3, labels: data.Labels{classification.Name: {Classes: []string{"a"}}}}, &closed}
	left, _ := data.HoldOut(data.Only(file, classification.Name), 0.5)
	u, err := data.Union(data.Spread(file, 1), left, fake{n: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := data.Close(u); err != nil || closed != 2 {
		t.Errorf("closed %d of 2 sets: %v", closed, err)
	}
}
