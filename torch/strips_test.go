package torch

import (
	"testing"

	"must/torch/goldentest"
)

// A loss over resized logits is the same in strips as at once, and so is its gradient.
func TestStrips(t *testing.T) {
	if err := Do(func() {
		const h, w, k, strips = 6, 5, 4, 3
		start := From(goldentest.Noise("x", 2*3*h*w), 2, 3, h, w).As(Double).ChannelsLast()
		weight := From(goldentest.Noise("weight", 2*3*h*w*k*k), 2, 3, h*k, w*k).As(Double)
		run := func(loss func(x *Tensor) *Tensor) (value float64, grad []float64) {
			x := start.Clone().RequireGrad(true)
			g := start.Clone().Fill(0)
			x.SetGrad(g)
			l := loss(x).Scale(3)
			l.Backward()
			return l.Item(), Values[float64](g)
		}
		of := func(x, weight *Tensor) *Tensor { return x.Mul(x).Mul(weight).Sum() }
		want, wantGrad := run(func(x *Tensor) *Tensor { return of(x.Bilinear(h*k, w*k), weight) })
		got, gotGrad := run(func(x *Tensor) *Tensor {
			return x.SumOver(strips, func(x *Tensor, i int) *Tensor {
				from, rows := int64(i*h*k/strips), int64(h*k/strips)
				return of(x.BilinearRows(h*k, w*k, from, from+rows), weight.Narrow(2, from, rows))
			})
		})
		goldentest.Near(t, "value", []float64{got}, []float64{want}, 1e-12)
		goldentest.Near(t, "gradient", gotGrad, wantGrad, 1e-12)
		NoGrad(func() {
			sum := start.SumOver(2, func(x *Tensor, i int) *Tensor { return x.Narrow(0, int64(i), 1).Sum() })
			goldentest.Near(t, "sum", []float64{sum.Item()}, []float64{start.Sum().Item()}, 1e-12)
		})
	}); err != nil {
		t.Fatal(err)
	}
}
