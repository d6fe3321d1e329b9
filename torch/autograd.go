package torch

import (
	"slices"

	"github.com/ebitengine/purego"
)

// GradEnabled reports whether operators record a graph for [Tensor.Backward].
func GradEnabled() bool {
	r, _, _ := purego.SyscallN(lib.gradModeGet)
	return r&0xff != 0
}

func setGrad(on bool) {
	v := uintptr(0)
	if on {
		v = 1
	}
	purego.SyscallN(lib.gradModeSet, v)
}

// NoGrad runs f without recording a graph.
func NoGrad(f func()) {
	inDo("NoGrad")
	if !onEngine() { // a goroutine's thread, and with it the grad mode, may change at any call
		panic("torch: NoGrad called outside Do")
	}
	defer setGrad(GradEnabled())
	setGrad(false)
	f()
}

// RequireGrad makes t a leaf that gradients flow into.
func (t *Tensor) RequireGrad(on bool) *Tensor {
	v := uintptr(0)
	if on {
		v = 1
	}
	r, _, _ := purego.SyscallN(lib.setRequiresGrad, t.handle("requires_grad_"), v)
	check(r, "requires_grad_", t)
	return t
}

// SetGrad makes g the gradient of t: from now on Backward accumulates into g's memory.
func (t *Tensor) SetGrad(g *Tensor) {
	if !slices.Equal(t.Shape(), g.Shape()) || t.DType() != g.DType() {
		panic(&Error{"set_grad", describeAll([]any{t, g}), "a gradient has the type and shape of its tensor"})
	}
	// A tensor handle points at a tensor, whose first word points at its TensorImpl.
	impl := *(*uintptr)(pointer(t.h))
	slot, _, _ := purego.SyscallN(lib.mutableGrad, impl)
	r, _, _ := purego.SyscallN(lib.assignTensors, g.h, slot)
	check(r, "set_grad", t, g)
}

// Backward adds the gradient of the scalar t with respect to every leaf to that leaf's gradient, and
// frees the graph.
func (t *Tensor) Backward() {
	dispatch("_backward", []any{t, []*Tensor{}, nil, nil, false})
}

// A Flat holds many parameters in one buffer and their gradients in another, so that zeroing,
// clipping and stepping are single operators.
type Flat struct {
	Data, Grad *Tensor   // [n]; Grad is nil where there are no gradients
	Params     []*Tensor // views of Data, leaves of autograd, whose gradients are views of Grad
}

// NewFlat lays out parameters of a type and the given shapes one after the other, with gradients if asked
// for. The caller owns the result.
func NewFlat(d DType, shapes [][]int64, grad bool) *Flat {
	f := &Flat{}
	total := int64(0)
	for _, s := range shapes {
		total += count(s)
	}
	NoGrad(func() {
		Scope(func() {
			f.Data = Zeros(d, total).Keep()
			if grad {
				f.Grad = Zeros(d, total).Keep()
			}
			at := int64(0)
			for _, s := range shapes {
				n := count(s)
				p := f.Data.Narrow(0, at, n).View(s...).Detach().Keep()
				if grad {
					p.RequireGrad(true)
					p.SetGrad(f.Grad.Narrow(0, at, n).View(s...))
				}
				f.Params = append(f.Params, p)
				at += n
			}
		})
	})
	return f
}

// Free releases the buffers and the parameters.
func (f *Flat) Free() {
	for _, p := range f.Params {
		p.Free()
	}
	f.Data.Free()
	f.Grad.Free()
}

func count(shape []int64) int64 {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return n
}
