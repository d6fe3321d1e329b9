package torch

import (
	"fmt"
	"math"
	"testing"

	"must/torch/goldentest"
)

// What package winograd computes, with gradients, is what libtorch computes in float64.
func TestWinograd(t *testing.T) {
	if err := Do(func() {
		if !byWinograd() {
			t.Skip("this processor has no AVX2")
		}
		for _, c := range []struct{ n, in, out, h, w int64 }{{2, 16, 24, 19, 26}, {40, 32, 16, 7, 7}, {3, 64, 64, 32, 30}} {
			for _, withBias := range []bool{false, true} {
				name := fmt.Sprint(c, " ", withBias)
				leaf := func(what string, scale float64, shape ...int64) *Tensor {
					return From(goldentest.Noise(what, int(count(shape))), shape...).Scale(scale).Detach()
				}
				x, w, b := leaf("x", 1, c.n, c.in, c.h, c.w).ChannelsLast(), leaf("w", 1/math.Sqrt(float64(9*c.in)), c.out, c.in, 3, 3), leaf("b", 1, c.out)
				weight := leaf("dy", 1, c.n, c.out, c.h, c.w)
				if !winogradFits(x, w, 1, 1, 1, 1) {
					t.Fatal(name, "is not computed by package winograd")
				}
				run := func(d DType) (values [][]float32) {
					leaves := []*Tensor{x.As(d).Clone(), w.As(d).Clone(), b.As(d).Clone()}
					if !withBias {
						leaves = leaves[:2]
					}
					var grads []*Tensor
					for _, l := range leaves {
						g := l.Clone().Fill(0)
						l.RequireGrad(true)
						l.SetGrad(g)
						grads = append(grads, g)
					}
					var bias *Tensor
					if withBias {
						bias = leaves[2]
					}
					y := leaves[0].Conv2D(leaves[1], bias, 1, 1, 1, 1)
					if s := y.Strides(); d == Float && s[1] != 1 {
						t.Error(name, "the result is not channels-last:", s)
					}
					y.Mul(weight.As(d)).Sum().Backward()
					for _, v := range append(grads, y.Detach()) {
						values = append(values, Values[float32](v.As(Float)))
					}
					return values
				}
				got, want := run(Float), run(Double)
				whats := []string{"gradient of x", "gradient of w", "gradient of b"}[:len(got)-1]
				for i, what := range append(whats, "y") {
					goldentest.Near(t, name+" "+what, got[i], want[i], 1e-4)
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}
