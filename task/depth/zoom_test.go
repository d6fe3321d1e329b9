package depth

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"must/augment"
	"must/data"
	"must/task"
)

// A view that shows the image enlarged teaches metric depth that is nearer by as much, whatever else the
// view is; inverse depth of unknown scale is taught as it is.
func TestScaleJitterBringsNearer(t *testing.T) {
	s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 40, 40)), Known: data.Know(New(data.NewGrid[float32](40, 40)))}
	for i := range Of(s).Pix {
		Of(s).Pix[i] = 6
	}
	want := map[float64]float64{1: 6, 2: 3, 0.5: 12, 1.25: 4.8}
	for scale, metres := range want {
		c := augment.Config{Size: 32, Flip: 0.5, ScaleMin: scale, ScaleMax: scale}
		view := c.Train(s, rand.New(rand.NewPCG(1, 2)))
		got := targets(t, data.Metric, view)
		for i, v := range got.Values {
			if got.Valid[i] == 1 && math.Abs(float64(v)-math.Log(metres)) > 1e-6 {
				t.Fatalf("at scale %v: %v metres are learned, want %v", scale, math.Exp(float64(v)), metres)
			}
		}
		if got.Count == 0 {
			t.Errorf("at scale %v nothing is learned", scale)
		}
	}

	for i := range Of(s).Pix {
		Of(s).Pix[i] = float32(i%40) / 40
	}
	seen := func(zoom float64) []float32 {
		view := &data.Sample{Known: data.Know(Label{Of(s), zoom})}
		return targets(t, data.Inverse, view).Values
	}
	if !slices.Equal(seen(1), seen(2)) {
		t.Error("inverse depth changes with the scale")
	}
	// What is evaluated is as labels have it.
	eval, _ := augment.Config{Size: 80}.Eval(s)
	if got := targets(t, data.Metric, eval).Values[79]; math.Abs(float64(got)-math.Log(39./40)) > 1e-6 {
		t.Errorf("evaluation sees %v metres", math.Exp(float64(got)))
	}
}

func targets(t *testing.T, units string, s *data.Sample) *task.MapTargets {
	t.Helper()
	m, ok := (&head{units: units}).Targets([]*data.Sample{s}, nil).(*task.MapTargets)
	if !ok {
		t.Fatal("no targets")
	}
	return m
}
