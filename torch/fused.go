package torch

import (
	"sync"

	"must/winograd"
)

// A FusedConv is a convolution prepared for inference: its weights are laid out once as package winograd
// or oneDNN wants them, and a sum and a ReLU behind it are part of the operator. Where libtorch has no such
// operators, or not for the device, it is a plain convolution with the same results up to rounding.
type FusedConv struct {
	w, b                *Tensor // b may be nil
	stride, pad, groups int64
	ordered, units      *Tensor // w as oneDNN and as package winograd want it, made where they are first needed
}

// fusing reports whether this libtorch has oneDNN's fused operators.
var fusing = sync.OnceValue(func() (ok bool) {
	defer func() {
		if _, failed := recover().(*Error); failed {
			ok = false
		}
	}()
	NoGrad(func() {
		Scope(func() {
			c := FusedConv{w: Zeros(Float, 8, 8, 1, 1), stride: 1, groups: 1}
			c.order()
			defer c.ordered.Free()
			x := Zeros(Float, 1, 8, 2, 2).ChannelsLast()
			c.byOneDNN(x, c.byOneDNN(x, nil, false), true)
		})
	})
	return true
})

// NewFusedConv prepares a convolution of w, [out, in/groups, k, k], and b, [out] or nil. It keeps its
// own memory; the caller frees it.
func NewFusedConv(w, b *Tensor, stride, pad, groups int64) *FusedConv {
	c := &FusedConv{stride: stride, pad: pad, groups: groups}
	NoGrad(func() {
		c.w = w.Clone().Keep()
		if b != nil {
			c.b = b.Clone().Keep()
		}
	})
	return c
}

func (c *FusedConv) order() {
	c.ordered = call1("mkldnn::_reorder_convolution_weight", c.w, pair(c.pad), pair(c.stride), pair(1), c.groups, nil).Keep()
}

func pair(n int64) []int64 { return []int64{n, n} }

// Forward convolves x, adds other if it is not nil, and applies a ReLU if asked to.
func (c *FusedConv) Forward(x, other *Tensor, relu bool) (y *Tensor) {
	NoGrad(func() {
		switch {
		case winogradFits(x, c.w, c.stride, c.pad, 1, c.groups):
			y = c.byWinograd(x, other, relu)
		case !engine.device.CUDA && c.w.DType() == Float && x.DType() == Float && fusing():
			if c.ordered == nil {
				c.order()
			}
			y = c.byOneDNN(x, other, relu)
		default:
			y = x.Conv2D(c.w, c.b, c.stride, c.pad, 1, c.groups)
			if other != nil {
				y = y.AddInPlace(other)
			}
			if relu {
				y = y.ReluInPlace()
			}
		}
	})
	return y
}

func (c *FusedConv) byWinograd(x, other *Tensor, relu bool) *Tensor {
	k := convolution(x, c.w.Size(0))
	if c.units == nil {
		c.units = units(k, c.w, false).Keep()
	}
	return Scoped(func() *Tensor {
		e := winograd.Epilogue{ReLU: relu}
		if c.b != nil {
			e.Bias = c.b.floats()
		}
		if other != nil {
			e.Add = other.ChannelsLast().floats()
		}
		return winogradForward(k, x.ChannelsLast(), c.units, e)
	})
}

func (c *FusedConv) byOneDNN(x, other *Tensor, relu bool) *Tensor {
	if other == nil {
		attr := "none"
		if relu {
			attr = "relu"
		}
		return call1("mkldnn::_convolution_pointwise", x, c.ordered, optional(c.b), pair(c.pad), pair(c.stride), pair(1), c.groups, attr, []any{}, nil)
	}
	var attr any
	if relu {
		attr = opt{"relu"}
	}
	return call1("mkldnn::_convolution_pointwise.binary", x, other, c.ordered, optional(c.b), pair(c.pad), pair(c.stride), pair(1), c.groups, "add", nil, attr, []any{}, nil)
}

// Free releases its memory.
func (c *FusedConv) Free() {
	for _, t := range []*Tensor{c.w, c.b, c.ordered, c.units} {
		t.Free()
	}
}
