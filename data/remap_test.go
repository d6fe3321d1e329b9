package data_test

import (
	"image"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
)

func TestMapClasses(t *testing.T) {
	space := []string{"cat", "Dog ", "car", "truck", "Apple", "apple"}
	for _, c := range []struct {
		from  []string
		table map[string]string
		at    []int
	}{
		{[]string{"truck", "cat"}, nil, []int{3, 0}},
		{[]string{" dog", "CAT", "tree"}, nil, []int{1, 0, -1}},                                                // spaces and case
		{[]string{"apple", "APPLE"}, nil, []int{5, -1}},                                                        // exactly one, and either of two
		{[]string{"Cat", "CAT", "cat"}, nil, []int{-1, -1, 0}},                                                 // neither is sure to be it
		{[]string{"lorry", "van", "car"}, map[string]string{"lorry": "Truck", "Van": "truck"}, []int{3, 3, 2}}, // several to one
		{[]string{"car", "cat"}, map[string]string{"car": ""}, []int{-1, 0}},                                   // another thing of the same name
	} {
		m, err := data.MapClasses(detection.Name, c.from, space, c.table)
		if err != nil || !slices.Equal(m.At, c.at) {
			t.Errorf("%q, %v: %v, %v, want %v", c.from, c.table, m.At, err, c.at)
		}
	}
	for _, c := range []struct {
		table map[string]string
		want  string
	}{
		{map[string]string{"tre": "cat"}, `the set has no class "tre"`},
		{map[string]string{"tree": "cats"}, `"tree" is mapped to "cats"`},
		{map[string]string{"tree": "APPLE"}, "several"},
	} {
		if _, err := data.MapClasses(detection.Name, []string{"tree"}, space, c.table); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.table, err)
		}
	}
}

// one is a set of a sample that has every label.
type one struct {
	labels data.Labels
	sample func() *data.Sample
}

func (o one) Len() int                         { return 1 }
func (o one) Labels() data.Labels              { return o.labels }
func (o one) Key(int) string                   { return "a" }
func (o one) Sample(int) (*data.Sample, error) { return o.sample(), nil }

func other() one {
	from := []string{"person", "dog", "cat"}
	return one{data.Labels{classification.Name: {Classes: from}, detection.Name: {Classes: from}, segmentation.Name: {Classes: from}, depth.Name: {Units: data.Metric}}, func() *data.Sample {
		return &data.Sample{
			Key: "a", Image: image.NewRGBA(image.Rect(0, 0, 4, 1)), Known: data.Know(classification.New([]float32{0, 0, 1}), detection.New([]data.Object{{Class: 0}, {Class: 2}}), segmentation.New(&data.Grid[uint8]{4, 1, []uint8{0, 1, 2, data.Ignore}}), depth.New(data.NewGrid[float32](4, 1))),
		}
	}}
}

func mapping(t *testing.T, task string, from, to []string) data.Mapping {
	t.Helper()
	m, err := data.MapClasses(task, from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRemapAndFill(t *testing.T) {
	space := []string{"car", "cat", "dog", "road"}
	d := other()
	var m []data.Mapping
	for _, task := range []string{classification.Name, detection.Name, segmentation.Name} {
		m = append(m, mapping(t, task, d.labels[detection.Name].Classes, space))
	}
	r := data.Remap(d, m...)
	l := r.Labels()
	for _, task := range []string{classification.Name, detection.Name, segmentation.Name} {
		if !slices.Equal(l[task].Unknown, []int{0, 3}) {
			t.Errorf("%s: unknown are %v", task, l[task].Unknown)
		}
	}
	s, _ := r.Sample(0)
	if !slices.Equal(l[detection.Name].Classes, space) || !slices.Equal(classification.Of(s), []float32{0, 1, 0, 0}) || len(detection.Of(s)) != 1 || detection.Of(s)[0].Class != 1 ||
		!slices.Equal(detection.Unknown(s), []int{0, 3}) || !slices.Equal(segmentation.Of(s).Pix, []uint8{data.Ignore, 2, 1, data.Ignore}) || depth.Of(s) == nil {
		t.Errorf("sample is %+v with map %v", s, segmentation.Of(s))
	}

	// A teacher's label of the whole space: only what the annotators could not tell of is taken.
	predicted := func() *data.Sample {
		return &data.Sample{
			Known: data.Know(classification.New([]float32{1, 0, 0, 0}), detection.New([]data.Object{{Class: 0}, {Class: 2}}), segmentation.New(&data.Grid[uint8]{4, 1, []uint8{3, 0, 3, 2}}), depth.New(data.NewGrid[float32](4, 1))),
		}
	}
	p := predicted()
	data.Lack(s, l, p)
	if classification.Of(p) != nil || depth.Of(p) != nil || len(detection.Of(p)) != 1 || detection.Of(p)[0].Class != 0 || !slices.Equal(detection.Unknown(p), []int{1, 2}) ||
		!slices.Equal(segmentation.Of(p).Pix, []uint8{3, data.Ignore, data.Ignore, data.Ignore}) {
		t.Errorf("it lacks %+v with map %v", p, segmentation.Of(p))
	}
	for _, label := range []*data.Sample{p, predicted()} {
		s, _ := r.Sample(0)
		data.Fill(s, l, label)
		if len(detection.Of(s)) != 2 || detection.Of(s)[1].Class != 0 || detection.Unknown(s) != nil || !slices.Equal(segmentation.Of(s).Pix, []uint8{3, 2, 1, data.Ignore}) || classification.Of(s)[1] != 1 {
			t.Errorf("filled: %+v with map %v", s, segmentation.Of(s))
		}
	}
}

func TestRemapToNothing(t *testing.T) {
	d := other()
	// All classes of the space are told of, but the image's is none of them.
	space := []string{"dog", "person"}
	r := data.Remap(d, mapping(t, classification.Name, d.labels[classification.Name].Classes, space), mapping(t, detection.Name, d.labels[detection.Name].Classes, space))
	s, _ := r.Sample(0)
	if classification.Of(s) != nil || detection.Unknown(s) != nil || len(detection.Of(s)) != 1 {
		t.Errorf("%+v", s)
	}
	if u := r.Labels(); u[classification.Name].Unknown == nil || u[detection.Name].Unknown != nil {
		t.Errorf("unknown: %v", u)
	}
	// The same classes: the same set.
	if r := data.Remap(d, mapping(t, detection.Name, d.labels[detection.Name].Classes, slices.Clone(d.labels[detection.Name].Classes))); r.Labels()[detection.Name].Unknown != nil {
		t.Errorf("unknown: %v", r.Labels())
	}
	// A set's labels of other tasks can be left aside.
	s, _ = data.Only(d, segmentation.Name).Sample(0)
	if l := data.Only(d, segmentation.Name).Labels(); l.Has(detection.Name) || !l.Has(segmentation.Name) || detection.Of(s) != nil || segmentation.Of(s) == nil || depth.Of(s) != nil {
		t.Errorf("%+v, %+v", l, s)
	}
}

// What no part of a union tells of stays unknown.
func TestUnionOfUnknown(t *testing.T) {
	d := other()
	space := []string{"car", "cat", "dog", "road"}
	a := data.Remap(d, mapping(t, detection.Name, d.labels[detection.Name].Classes, space))
	d.labels = d.labels.With(detection.Name, data.Meaning{Classes: []string{"car", "cat"}})
	b := data.Remap(d, mapping(t, detection.Name, d.labels[detection.Name].Classes, space))
	u, err := data.Union(a, b)
	if err != nil || !slices.Equal(u.Labels()[detection.Name].Unknown, []int{3}) {
		t.Errorf("%v, %v", err, u.Labels())
	}
}
