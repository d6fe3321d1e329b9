package torch

import (
	"fmt"
	"math"
	"testing"
)

// Under a constant rate StepMomentum is PyTorch's momentum; under a falling one what was gathered keeps
// its speed.
func TestStepMomentum(t *testing.T) {
	for _, o := range readGolden(t).Optimizers {
		if o.Name != "momentum" {
			continue
		}
		err := Do(func() {
			start := func(seed int) *Tensor { return From(formula(5, seed, false), 5).As(Float) }
			p, v := start(0), Zeros(Float, 5)
			for i, want := range o.Steps {
				g := Values[float32](p)
				for k := range g {
					g[k] = float32(math.Sin(float64(g[k])))
				}
				StepMomentum(p, From(g, 5).Add(start(i+1)), v, 0.1, 0.9)
				near(t, fmt.Sprint("step ", i), p, want, 1e-6)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
	err := Do(func() {
		p, v, g := Zeros(Float, 1), Zeros(Float, 1), Full(Float, 2, 1)
		for _, lr := range []float64{0.5, 1e-6, 0} {
			StepMomentum(p, g, v, lr, 0.5)
		}
		near(t, "falling rate", p, []float64{-1 - (0.5 + 2e-6) - (0.25 + 1e-6)}, 1e-7)
	})
	if err != nil {
		t.Error(err)
	}
}
