package features

import (
	"bytes"
	"image"
	"math"
	"slices"
	"testing"

	"must/data"
)

const vit = Name + ".vit"

// The three shapes of encoders' outputs, pooled to one cell and to 2×2.
func TestReader(t *testing.T) {
	for _, c := range []struct {
		keys  map[string]any
		shape []int64
		want  []float32
	}{
		{map[string]any{}, []int64{1, 2}, []float32{0, 1}},
		{map[string]any{}, []int64{1, 2, 1, 2}, []float32{0.5, 2.5}},
		{map[string]any{"grid": 2}, []int64{1, 1, 2, 2}, []float32{0, 1, 2, 3}},
		{map[string]any{"grid": 2, "tokens": []any{uint64(2), uint64(2)}, "prefix": uint64(1)}, []int64{1, 5, 1}, []float32{1, 2, 3, 4}},
		{map[string]any{"tokens": []any{2, 2}, "prefix": 1}, []int64{1, 5, 2}, []float32{5, 6}},
	} {
		c.keys["name"] = "vit"
		r, err := kind{}.Reader(c.keys)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(1)
		for _, d := range c.shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i)
		}
		l, err := r.Read(c.shape, values, 1)
		if err != nil || !slices.Equal(l[0].(*Label).Values, c.want) || l[0].Task() != vit || r.Meaning().Channels != l[0].(*Label).Channels {
			t.Errorf("%v of %v: %v, %v; want %v", c.keys, c.shape, l, err, c.want)
		}
	}
	for _, keys := range []map[string]any{
		{}, {"name": "A b"}, {"name": "vit", "grid": 33}, {"name": "vit", "grid": 0}, {"name": "vit", "prefix": 1}, {"name": "vit", "tokens": []any{2}}, {"name": "vit", "gird": 2},
	} {
		if _, err := (kind{}).Reader(keys); err == nil {
			t.Errorf("%v is taken", keys)
		}
	}
	r, _ := kind{}.Reader(map[string]any{"name": "vit", "tokens": []any{2, 2}})
	if _, err := r.Read([]int64{1, 5, 1}, make([]float32, 5), 1); err == nil {
		t.Error("a token that is not declared is taken")
	}
}

// The grid moves with the image: mirrored by a flip, shifted by a crop, invalid in padding.
func TestMove(t *testing.T) {
	l := New(vit, 4, 1, nil)
	for i := range 16 {
		l.Values = append(l.Values, float32(i%4)) // the column
	}
	still := data.Axis{N: 8, Scaled: 8, Canvas: 8}
	row := func(x data.Axis) []float32 {
		return l.Move(data.Placement{X: x, Y: still}).(*Label).Values[:4]
	}
	if got := row(still); !slices.Equal(got, []float32{0, 1, 2, 3}) {
		t.Errorf("where it was: %v", got)
	}
	flipped := still
	flipped.Flip = true
	if got := row(flipped); !slices.Equal(got, []float32{3, 2, 1, 0}) {
		t.Errorf("flipped: %v", got)
	}
	// Twice as large, the right half of it.
	if got := row(data.Axis{N: 8, Scaled: 16, Canvas: 8, Offset: -8}); !slices.Equal(got, []float32{1.75, 2.25, 2.75, 3}) {
		t.Errorf("cropped: %v", got)
	}
	// Half as large, at the left.
	if got := row(data.Axis{N: 8, Scaled: 4, Canvas: 8}); got[0] != 0.5 || got[1] != 2.5 || got[2] == got[2] || got[3] == got[3] {
		t.Errorf("padded: %v", got)
	}
	// Away from a letterbox.
	back := l.Restore(data.Frame{Size: 8, W: 4, H: 8, SourceW: 4, SourceH: 8}, 4, 8).(*Label)
	if got := back.Values[:4]; !slices.Equal(got, []float32{0, 0.25, 0.75, 1.25}) {
		t.Errorf("restored: %v", got)
	}
}

func TestEntryAndMoments(t *testing.T) {
	l := New(vit, 2, 2, []float32{1, 0, 2, 0, 3, 0, 4, 8})
	m := data.Meaning{Channels: 2, Grid: 2}
	var b bytes.Buffer
	k := kind{}
	if err := k.Store(&b, l, m, k.DType(), image.Pt(9, 9)); err != nil {
		t.Fatal(err)
	}
	again, err := k.Load(vit, b.Bytes(), m, k.DType(), image.Pt(9, 9))
	if err != nil || !slices.Equal(again.(*Label).Values, l.Values) {
		t.Errorf("%v, %v", again, err)
	}
	all := k.Moments(l)
	pooled := data.MomentsOf(l.Values[:2], 2).Pool(data.MomentsOf(l.Values[2:], 2))
	for c, want := range []struct{ mean, variance float64 }{{2.5, 1.25}, {2, 12}} {
		for _, m := range []*data.Moments{all, pooled} {
			if math.Abs(m.Mean[c]-want.mean) > 1e-12 || math.Abs(m.Variance[c]-want.variance) > 1e-12 {
				t.Errorf("channel %d: %v and %v, want %v", c, m.Mean[c], m.Variance[c], want)
			}
		}
	}
}

func TestScore(t *testing.T) {
	truth := New(vit, 2, 2, []float32{1, 0, 2, 0, 3, 0, 4, 8})
	perfect := Task.Metric(data.Meaning{}, data.Meaning{})
	if err := perfect.Add(truth, truth); err != nil {
		t.Fatal(err)
	}
	for _, v := range perfect.Values() {
		if math.Abs(v.Value-1) > 1e-12 {
			t.Errorf("%s of the truth itself is %v", v.Name, v.Value)
		}
	}
	// Of the mean nothing is explained.
	mean := New(vit, 2, 2, []float32{2.5, 2, 2.5, 2, 2.5, 2, 2.5, 2})
	m := Task.Metric(data.Meaning{}, data.Meaning{})
	if err := m.Add(truth, mean); err != nil {
		t.Fatal(err)
	}
	if v := m.Values()[1]; math.Abs(v.Value) > 1e-12 {
		t.Errorf("%s of the mean is %v", v.Name, v.Value)
	}
	if err := m.Add(truth, New(vit, 1, 2, []float32{1, 2})); err == nil {
		t.Error("another grid is compared")
	}
}
