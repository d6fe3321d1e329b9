package metric

import (
	"image"
	"math"
	"testing"

	"must/data"
)

func everyMetric() []counter {
	return []counter{
		NewClassification(), NewDetection(3, true), NewVOC(3), NewBoxQuality(0.5, 0.5), NewSegmentation(3),
		NewDepth(DepthOptions{}), NewNormals(),
	}
}

// labelled returns a 4×4 sample with a label for every task.
func labelled() *sample {
	s := &sample{Class: []float32{0, 0, 0, 0, 0, 0, 1}}
	mask := &data.Mask{Rect: image.Rect(1, 1, 3, 4), Pix: []uint8{1, 1, 1, 0, 1, 1}}
	s.Objects = []data.Object{
		{Box: data.Box{X0: 1, Y0: 1, X1: 3, Y1: 4}, Class: 2, Score: 1, Mask: mask},
		{Box: data.Box{X0: 0, Y0: 0, X1: 4, Y1: 4}, Class: 2, Score: 0.9, Crowd: true},
	}
	s.Semantic = data.NewGrid[uint8](4, 4)
	s.Depth = data.NewGrid[float32](4, 4)
	s.Normals = data.NewGrid[[3]float32](4, 4)
	for i := range 16 {
		s.Semantic.Pix[i] = uint8(i % 3)
		s.Depth.Pix[i] = float32(i) // 0 is not a valid depth
		s.Normals.Pix[i] = [3]float32{0, 0.6, -0.8}
	}
	s.Semantic.Pix[5] = data.Ignore
	s.Depth.Pix[7] = float32(math.NaN())
	s.Normals.Pix[3] = [3]float32{}
	return s
}

func TestPerfectPrediction(t *testing.T) {
	for _, m := range everyMetric() {
		add(t, m, labelled(), labelled())
		values := m.Values()
		if len(values) == 0 {
			t.Fatalf("%T counted nothing", m)
		}
		for _, v := range values {
			want := 0.0
			if v.HigherIsBetter {
				want = 1
			}
			if v.Value != -1 && math.Abs(v.Value-want) > 1e-3 { // the median angle has a bin's width
				t.Errorf("%T: %s = %v, want %v", m, v.Name, v.Value, want)
			}
		}
	}
}

func TestMissingTruthDoesNotCount(t *testing.T) {
	for _, m := range everyMetric() {
		add(t, m, &sample{}, labelled())
		if v := m.Values(); v != nil {
			t.Errorf("%T: %v, want nothing", m, v)
		}
	}
}

func TestUnusablePredictionIsWrong(t *testing.T) {
	nan := labelled()
	bad := float32(math.NaN())
	for i := range nan.Class {
		nan.Class[i] = bad
	}
	for i := range nan.Objects {
		o := &nan.Objects[i]
		n := math.NaN()
		o.Box, o.Score, o.Mask = data.Box{X0: n, Y0: n, X1: n, Y1: n}, bad, &data.Mask{}
	}
	for i := range 16 {
		nan.Semantic.Pix[i] = 77 // no class
		nan.Depth.Pix[i] = bad
		nan.Normals.Pix[i] = [3]float32{bad, 0, 1}
	}
	for name, pred := range map[string]*sample{"missing": {}, "NaN": nan} {
		for _, m := range everyMetric() {
			add(t, m, labelled(), pred)
			for i, v := range m.Values() {
				if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
					t.Errorf("%s: %T: %s = %v, not a number that JSON can hold", name, m, v.Name, v.Value)
				}
				if i == 0 && v.HigherIsBetter && v.Value > 0 {
					t.Errorf("%s: %T: %s = %v, want 0", name, m, v.Name, v.Value)
				}
				if i == 0 && !v.HigherIsBetter && v.Value < 30 {
					t.Errorf("%s: %T: %s = %v, want it bad", name, m, v.Name, v.Value)
				}
			}
		}
	}
}

func TestSizesMustAgree(t *testing.T) {
	if err := NewSegmentation(3).Add(labelled().Semantic, data.NewGrid[uint8](2, 8)); err == nil {
		t.Error("a prediction of another size was scored")
	}
}

// A detection of a class that has no true objects anywhere must not move the score of the others.
func TestAbsentClassHasNoScore(t *testing.T) {
	m := NewDetection(3, false)
	pred := labelled()
	pred.Objects = append(pred.Objects, data.Object{Box: data.Box{X1: 2, Y1: 2}, Class: 0, Score: 1}, data.Object{Class: 9, Score: 1})
	add(t, m, labelled(), pred)
	if v := m.Values()[0]; v.Name != "AP" || v.Value < 1-1e-9 {
		t.Errorf("got %v, want an AP of 1", v)
	}
}

func TestTies(t *testing.T) {
	m := NewClassification()
	add(t, m, &sample{Class: []float32{0, 1}}, &sample{Class: []float32{0.5, 0.5}})
	if v := m.Values()[0].Value; v != 0 {
		t.Errorf("top1 = %v: a tie must go to the lower index", v)
	}
}
