package data_test

import (
	"fmt"
	"slices"
	"testing"

	"must/data"
)

type keys []string

func (k keys) Len() int                           { return len(k) }
func (k keys) Labels() data.Labels                { return data.Labels{} }
func (k keys) Key(i int) string                   { return k[i] }
func (k keys) Sample(i int) (*data.Sample, error) { return &data.Sample{Key: k[i]}, nil }

func all(d data.Dataset) (names []string) {
	for i := range d.Len() {
		if s, _ := d.Sample(i); s.Key != d.Key(i) {
			panic(s.Key)
		}
		names = append(names, d.Key(i))
	}
	return names
}

func TestHoldOut(t *testing.T) {
	var set keys
	for i := range 2000 {
		set = append(set, fmt.Sprintf("class/%05d", i))
	}
	left, out := data.HoldOut(set, 0.2)
	if n := out.Len(); n < 340 || n > 460 || left.Len()+n != 2000 {
		t.Errorf("%d of 2000 are held out, %d left", n, left.Len())
	}
	both := append(all(left), all(out)...)
	if slices.Sort(both); !slices.Equal(both, set) {
		t.Error("the two sides are not the whole")
	}
	// More samples change no one's side.
	_, more := data.HoldOut(append(keys{"another", "one"}, set...), 0.2)
	for _, name := range all(out) {
		if !slices.Contains(all(more), name) {
			t.Fatalf("%s changed sides", name)
		}
	}
	if left, out = data.HoldOut(set, 0); out.Len() != 0 || left.Len() != 2000 {
		t.Errorf("nothing asked for, %d held out", out.Len())
	}
}
