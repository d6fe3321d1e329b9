package data

import (
	"image"
	"slices"
	"strings"
	"testing"
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
		m, err := MapClasses(Detection, c.from, space, c.table)
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
		if _, err := MapClasses(Detection, []string{"tree"}, space, c.table); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.table, err)
		}
	}
}

// one is a set of a sample that has every label.
type one struct {
	labels Labels
	sample func() *Sample
}

func (o one) Len() int                    { return 1 }
func (o one) Labels() Labels              { return o.labels }
func (o one) Key(int) string              { return "a" }
func (o one) Sample(int) (*Sample, error) { return o.sample(), nil }

func other() one {
	from := []string{"person", "dog", "cat"}
	return one{Labels{Classification: from, Detection: from, Segmentation: from, Depth: Metric}, func() *Sample {
		return &Sample{
			Key: "a", Image: image.NewRGBA(image.Rect(0, 0, 4, 1)), Class: []float32{0, 0, 1},
			Objects:  []Object{{Class: 0}, {Class: 2}},
			Semantic: &Grid[uint8]{4, 1, []uint8{0, 1, 2, Ignore}},
			Depth:    NewGrid[float32](4, 1),
		}
	}}
}

func mapping(t *testing.T, task string, from, to []string) Mapping {
	t.Helper()
	m, err := MapClasses(task, from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRemapAndFill(t *testing.T) {
	space := []string{"car", "cat", "dog", "road"}
	d := other()
	var m []Mapping
	for _, task := range []string{Classification, Detection, Segmentation} {
		m = append(m, mapping(t, task, d.labels.Detection, space))
	}
	r := Remap(d, m...)
	l := r.Labels()
	for _, task := range []string{Classification, Detection, Segmentation} {
		if !slices.Equal(l.Unknown[task], []int{0, 3}) {
			t.Errorf("%s: unknown are %v", task, l.Unknown[task])
		}
	}
	s, _ := r.Sample(0)
	if !slices.Equal(l.Detection, space) || !slices.Equal(s.Class, []float32{0, 1, 0, 0}) || len(s.Objects) != 1 || s.Objects[0].Class != 1 ||
		!slices.Equal(s.Unknown, []int{0, 3}) || !slices.Equal(s.Semantic.Pix, []uint8{Ignore, 2, 1, Ignore}) || s.Depth == nil {
		t.Errorf("sample is %+v with map %v", s, s.Semantic)
	}

	// A teacher's label of the whole space: only what the annotators could not tell of is taken.
	predicted := func() *Sample {
		return &Sample{
			Class: []float32{1, 0, 0, 0}, Objects: []Object{{Class: 0}, {Class: 2}},
			Semantic: &Grid[uint8]{4, 1, []uint8{3, 0, 3, 2}}, Depth: NewGrid[float32](4, 1),
		}
	}
	p := predicted()
	Lack(s, l, p)
	if p.Class != nil || p.Depth != nil || len(p.Objects) != 1 || p.Objects[0].Class != 0 || !slices.Equal(p.Unknown, []int{1, 2}) ||
		!slices.Equal(p.Semantic.Pix, []uint8{3, Ignore, Ignore, Ignore}) {
		t.Errorf("it lacks %+v with map %v", p, p.Semantic)
	}
	for _, label := range []*Sample{p, predicted()} {
		s, _ := r.Sample(0)
		Fill(s, l, label)
		if len(s.Objects) != 2 || s.Objects[1].Class != 0 || s.Unknown != nil || !slices.Equal(s.Semantic.Pix, []uint8{3, 2, 1, Ignore}) || s.Class[1] != 1 {
			t.Errorf("filled: %+v with map %v", s, s.Semantic)
		}
	}
}

func TestRemapToNothing(t *testing.T) {
	d := other()
	// All classes of the space are told of, but the image's is none of them.
	space := []string{"dog", "person"}
	r := Remap(d, mapping(t, Classification, d.labels.Classification, space), mapping(t, Detection, d.labels.Detection, space))
	s, _ := r.Sample(0)
	if s.Class != nil || s.Unknown != nil || len(s.Objects) != 1 {
		t.Errorf("%+v", s)
	}
	if u := r.Labels().Unknown; u[Classification] == nil || u[Detection] != nil {
		t.Errorf("unknown: %v", u)
	}
	// The same classes: the same set.
	if r := Remap(d, mapping(t, Detection, d.labels.Detection, slices.Clone(d.labels.Detection))); r.Labels().Unknown != nil {
		t.Errorf("unknown: %v", r.Labels().Unknown)
	}
	// A set's labels of other tasks can be left aside.
	s, _ = Only(d, Segmentation).Sample(0)
	if l := Only(d, Segmentation).Labels(); l.Has(Detection) || !l.Has(Segmentation) || s.Objects != nil || s.Semantic == nil || s.Depth != nil {
		t.Errorf("%+v, %+v", l, s)
	}
}

// What no part of a union tells of stays unknown.
func TestUnionOfUnknown(t *testing.T) {
	d := other()
	space := []string{"car", "cat", "dog", "road"}
	a := Remap(d, mapping(t, Detection, d.labels.Detection, space))
	d.labels.Detection = []string{"car", "cat"}
	b := Remap(d, mapping(t, Detection, d.labels.Detection, space))
	u, err := Union(a, b)
	if err != nil || !slices.Equal(u.Labels().Unknown[Detection], []int{3}) {
		t.Errorf("%v, %v", err, u.Labels().Unknown)
	}
}
