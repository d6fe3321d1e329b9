package depth

import (
	"math"
	"slices"
	"testing"

	"must/data"
	"must/task"
)

// A view that shows the image enlarged teaches metric depth that is nearer by as much; inverse depth of
// unknown scale is taught as it is.
func TestEnlargedIsNearer(t *testing.T) {
	m := data.NewGrid[float32](8, 8)
	for i := range m.Pix {
		m.Pix[i] = 6
	}
	for zoom, metres := range map[float64]float64{0: 6, 1: 6, 2: 3, 0.5: 12, 1.25: 4.8} {
		got := targets(t, data.Metric, Label{m, zoom})
		for i, v := range got.Values {
			if math.Abs(float64(v)-math.Log(metres)) > 1e-6 {
				t.Fatalf("at scale %v, pixel %d: %v metres are learned, want %v", zoom, i, math.Exp(float64(v)), metres)
			}
		}
	}
	for i := range m.Pix {
		m.Pix[i] = float32(i) / 64
	}
	if !slices.Equal(targets(t, data.Inverse, Label{m, 1}).Values, targets(t, data.Inverse, Label{m, 2}).Values) {
		t.Error("inverse depth changes with the scale")
	}
}

func targets(t *testing.T, units string, l Label) *task.MapTargets {
	t.Helper()
	m, ok := (&head{units: units}).Targets([]*data.Sample{{Known: data.Know(l)}}, nil).(*task.MapTargets)
	if !ok {
		t.Fatal("no targets")
	}
	return m
}
