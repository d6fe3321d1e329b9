package train

import (
	"math"
	"testing"
)

// BiT's program: the supports of its schedule and the rates between them.
func TestBiTRule(t *testing.T) {
	c := DefaultConfig()
	c.Rule, c.Batch = RuleBiT, 512
	for _, w := range []struct {
		samples, steps, warm int
		decays               [3]int
		mixup                float64
	}{
		{1_000, 500, 100, [3]int{200, 300, 400}, 0},
		{19_999, 500, 100, [3]int{200, 300, 400}, 0},
		{20_000, 10_000, 500, [3]int{3_000, 6_000, 9_000}, 0.1},
		{500_000, 20_000, 500, [3]int{6_000, 12_000, 18_000}, 0.1},
	} {
		r := c.ruled(w.samples)
		if n := c.TotalSteps(w.samples); n != w.steps || r.Mixup != w.mixup || r.WeightDecay != 0 || r.Optimizer != "sgd" {
			t.Errorf("%d samples: %d steps, %+v", w.samples, n, r)
		}
		rate := func(step int) float64 { return r.Rate(step, w.steps) }
		near := func(step int, want float64) {
			t.Helper()
			if got := rate(step); math.Abs(got-want) > 1e-9 {
				t.Errorf("%d samples, step %d: rate %v, want %v", w.samples, step, got, want)
			}
		}
		near(w.warm/2-1, 0.0015)
		near(w.warm, 0.003)
		for i, at := range w.decays {
			near(at, 0.003/math.Pow(10, float64(i)))
			near(at+1, 0.003/math.Pow(10, float64(i+1)))
		}
	}
	c.Batch = 128
	if r := c.ruled(10); r.LR != 0.003/4 {
		t.Errorf("a quarter of the batch has rate %v", r.LR)
	}
}
