package torch

import "sync"

// A FusedConv is a convolution prepared for inference: its weights are laid out once as oneDNN wants
// them, and a sum and a ReLU behind it are part of the operator. Where libtorch has no such operators,
// or not for the device, it is a plain convolution with the same results up to rounding.
type FusedConv struct {
	w, b                *Tensor // b may be nil
	stride, pad, groups int64
	prepared            bool
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
			c.prepare()
			x := Zeros(Float, 1, 8, 2, 2).ChannelsLast()
			c.Forward(x, c.Forward(x, nil, false), true)
		})
	})
	return true
})

// NewFusedConv prepares a convolution of w, [out, in/groups, k, k], and b, [out] or nil. It keeps its
// own memory; the caller frees it.
func NewFusedConv(w, b *Tensor, stride, pad, groups int64) *FusedConv {
	c := &FusedConv{w: w, b: b, stride: stride, pad: pad, groups: groups}
	NoGrad(func() {
		if !engine.device.CUDA && w.DType() == Float && fusing() {
			c.prepare()
		} else {
			c.w = w.Clone()
		}
		c.w.Keep()
		if b != nil {
			c.b = b.Clone().Keep()
		}
	})
	return c
}

func (c *FusedConv) prepare() {
	c.w = call1("mkldnn::_reorder_convolution_weight", c.w, pair(c.pad), pair(c.stride), pair(1), c.groups, nil)
	c.prepared = true
}

func pair(n int64) []int64 { return []int64{n, n} }

// Forward convolves x, adds other if it is not nil, and applies a ReLU if asked to.
func (c *FusedConv) Forward(x, other *Tensor, relu bool) *Tensor {
	if !c.prepared {
		y := x.Conv2D(c.w, c.b, c.stride, c.pad, 1, c.groups)
		if other != nil {
			y = y.AddInPlace(other)
		}
		if relu {
			y = y.ReluInPlace()
		}
		return y
	}
	if other == nil {
		attr := "none"
		if relu {
			attr = "relu"
		}
		return call1("mkldnn::_convolution_pointwise", x, c.w, optional(c.b), pair(c.pad), pair(c.stride), pair(1), c.groups, attr, []any{}, nil)
	}
	var attr any
	if relu {
		attr = opt{"relu"}
	}
	return call1("mkldnn::_convolution_pointwise.binary", x, other, c.w, optional(c.b), pair(c.pad), pair(c.stride), pair(1), c.groups, "add", nil, attr, []any{}, nil)
}

// Free releases its memory.
func (c *FusedConv) Free() {
	c.w.Free()
	if c.b != nil {
		c.b.Free()
	}
}
