package torch

import (
	"slices"
	"sync"

	"must/winograd"
)

// A FusedConv is a convolution prepared for inference: its weights are laid out once as package winograd
// or oneDNN wants them, and a sum and a ReLU behind it are part of the operator. Where libtorch has no such
// operators, or not for the device, it is a plain convolution with the same results up to rounding.
type FusedConv struct {
	w, b                *Tensor // b may be nil
	stride, pad, groups int64
	units               *Tensor // w as package winograd wants it, made where it is first needed
	ordered             []int64 // the shape of inputs for which w is as oneDNN wants it
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
			defer func() { c.w.Free() }()
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

func pair(n int64) []int64 { return []int64{n, n} }

// Forward convolves x, adds other if it is not nil, and applies a ReLU if asked to.
func (c *FusedConv) Forward(x, other *Tensor, relu bool) (y *Tensor) {
	NoGrad(func() {
		switch {
		case winogradFits(x, c.w, c.stride, c.pad, 1, c.groups):
			y = c.byWinograd(x, other, relu)
		case !engine.device.CUDA && c.w.DType() == Float && x.DType() == Float && fusing():
			y = c.byOneDNN(x, other, relu)
		default:
			c.plain()
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
		c.plain()
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

// plain takes oneDNN's order away from the weights.
func (c *FusedConv) plain() {
	if c.ordered != nil {
		w := call1("to_dense", c.w, nil, nil).Contiguous().Keep()
		c.w.Free()
		c.w, c.ordered = w, nil
	}
}

func (c *FusedConv) byOneDNN(x, other *Tensor, relu bool) *Tensor {
	// An order that is made for other inputs is changed in each call, by a loop that takes ten times as long as
	// the convolution itself.
	if s := x.Shape(); !slices.Equal(s, c.ordered) {
		c.plain()
		ordered := call1("mkldnn::_reorder_convolution_weight", c.w, pair(c.pad), pair(c.stride), pair(1), c.groups, opt{s}).Keep()
		c.w.Free()
		c.w, c.ordered = ordered, s
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
	for _, t := range []*Tensor{c.w, c.b, c.units} {
		t.Free()
	}
}
