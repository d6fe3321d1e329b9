package data

import (
	"strings"
	"testing"
)

type keyed []string

func (k keyed) Len() int                    { return len(k) }
func (k keyed) Labels() Labels              { return Labels{} }
func (k keyed) Key(i int) string            { return k[i] }
func (k keyed) Sample(int) (*Sample, error) { return nil, nil }

func TestCheckKeys(t *testing.T) {
	if err := CheckKeys(keyed{"a", "b", "b/a"}); err != nil {
		t.Error(err)
	}
	err := CheckKeys(keyed{"x", "a/1", "b", "a/1", "a/1"})
	if err == nil || !strings.Contains(err.Error(), `2 samples have the key of another one, such as "a/1"`) {
		t.Error(err)
	}
}

// half labels every other sample with a class, and the first with an object of class 1.
type half struct{ n int }

func (h half) Len() int { return h.n }
func (h half) Labels() Labels {
	return Labels{Classification: []string{"a"}, Detection: []string{"x", "y"}}
}
func (h half) Key(i int) string             { return string(rune('a' + i)) }
func (h half) Notes() []string              { return []string{"half"} }
func (h half) Carries(i int, t string) bool { return t == Detection || i%2 == 0 }
func (h half) Sample(i int) (*Sample, error) {
	return &Sample{Key: h.Key(i), Objects: []Object{{Class: 1}}, Unknown: []int{0}}, nil
}

func TestLabelledThroughWrappers(t *testing.T) {
	both, err := Union(half{4}, half{5})
	if err != nil {
		t.Fatal(err)
	}
	left, out := HoldOut(both, 0.5)
	if n := Labelled(left, Classification) + Labelled(out, Classification); n != 5 {
		t.Errorf("%d of both sides, want 5", n)
	}
	m, err := MapClasses(Detection, []string{"x", "y"}, []string{"y", "x", "z"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := Remap(both, m)
	if n := Labelled(r, Classification); n != 5 {
		t.Errorf("%d of a remapped set, want 5", n)
	}
	if n := Labelled(Only(r, Detection), Classification); n != 0 {
		t.Errorf("%d of a task that is left out", n)
	}
	if n := Notes(r); len(n) != 1 || n[0] != "half" {
		t.Errorf("notes %q", n)
	}
	s, err := r.Sample(0)
	if err != nil || len(s.Unknown) != 2 || s.Unknown[0] != 1 || s.Unknown[1] != 2 {
		t.Errorf("unknown %v of the set and the space, %v; want 1 and 2", s.Unknown, err)
	}
	if u := Spread(half{9}, 3); Labelled(u, Classification) != 2 { // of samples 0, 3, 6
		t.Errorf("%d of a spread", Labelled(u, Classification))
	}
}
