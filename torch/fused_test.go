package torch

import (
	"testing"

	"must/torch/goldentest"
)

// A fused convolution is the convolution, sum and ReLU one after the other, also where the size of the inputs
// changes, and with it who computes it.
func TestFusedConv(t *testing.T) {
	if err := Do(func() {
		for _, c := range []struct{ in, out, k, stride, groups int64 }{{16, 24, 3, 1, 1}, {16, 24, 1, 2, 1}, {3, 8, 7, 2, 1}, {16, 24, 3, 2, 8}} {
			w := From(goldentest.Noise("w", int(c.out*c.in/c.groups*c.k*c.k)), c.out, c.in/c.groups, c.k, c.k)
			b := From(goldentest.Noise("b", int(c.out)), c.out)
			for _, bias := range []*Tensor{b, nil} {
				f := NewFusedConv(w, bias, c.stride, c.k/2, c.groups)
				for _, side := range []int64{9, 40, 9} {
					x := From(goldentest.Noise("x", int(2*c.in*side*side)), 2, c.in, side, side).ChannelsLast()
					want := x.As(Double).Conv2D(w.As(Double), as(bias, Double), c.stride, c.k/2, 1, c.groups)
					other := From(goldentest.Noise("other", int(want.Len())), want.Shape()...).ChannelsLast()
					sum := want.Add(other.As(Double))
					for what, pair := range map[string][2]*Tensor{
						"plain":        {f.Forward(x, nil, false), want},
						"ReLU":         {f.Forward(x, nil, true), want.Relu()},
						"sum":          {f.Forward(x, other, false), sum},
						"sum and ReLU": {f.Forward(x, other, true), sum.Relu()},
					} {
						goldentest.Near(t, what, Values[float32](pair[0]), Values[float64](pair[1]), 2e-5)
					}
				}
				f.Free()
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func as(t *Tensor, d DType) *Tensor {
	if t == nil {
		return nil
	}
	return t.As(d)
}
