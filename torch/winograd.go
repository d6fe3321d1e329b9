package torch

import (
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"must/winograd"
)

// Most of a network's work are 3×3 convolutions of stride 1. libtorch computes them on a CPU as they are defined,
// at nearly the speed of its multipliers, so that only an algorithm with fewer multiplications is faster: where
// channels-last maps are large enough, package winograd computes them, on the threads of libtorch's own pool.

// winogradOperator is what autograd knows the convolution by, and its gradient by the name with _backward. As
// with Across, it is an operator that libtorch declares, with a gradient that is an operator as well, and that
// nobody here uses: a convolution over time.
const winogradOperator = "conv_tbc"

// byWinograd declares the operator; it is false where that or the processor's part is missing.
var byWinograd = sync.OnceValue(func() bool {
	if engine.device.CUDA || !winograd.Fits(8, 8) || pool() == 0 {
		return false
	}
	return implement(map[string]func(*uint64, uintptr, uintptr){
		winogradOperator:               winogradKernel,
		winogradOperator + "_backward": winogradGradient,
	}) == nil
})

// pool is the function that has all threads of libtorch's OpenMP pool call another, 0 if there is none. Threads
// of our own would compete with those, which wait for their next work by turning round and round.
var pool = sync.OnceValue(func() uintptr {
	p, _ := purego.Dlsym(purego.RTLD_DEFAULT, "GOMP_parallel")
	return p
})

func onPool(work, job uintptr) { purego.SyscallN(pool(), work, job, uintptr(engine.threads), 0) }

// convolution describes the convolution of x with weights [out, in, 3, 3] to package winograd.
func convolution(x *Tensor, out int64) *winograd.Convolution {
	s := x.Shape()
	return &winograd.Convolution{N: int(s[0]), C: int(s[1]), H: int(s[2]), W: int(s[3]), K: int(out), Workers: engine.threads, Run: onPool}
}

// winogradFits reports whether the convolution of x with w is one that package winograd computes faster.
func winogradFits(x, w *Tensor, stride, pad, dilation, groups int64) bool {
	if stride != 1 || pad != 1 || dilation != 1 || groups != 1 || x.DType() != Float || w.DType() != Float || x.Dim() != 4 || x.Len() == 0 {
		return false
	}
	k, s := w.Shape(), x.Strides()
	return k[2] == 3 && k[3] == 3 && s[1] == 1 && s[3] == k[1] && byWinograd() && convolution(x, k[0]).Faster()
}

// floats is the memory of a tensor of float32 whose elements fill it, in whatever order.
func (t *Tensor) floats() []float32 {
	return unsafe.Slice((*float32)(t.data()), t.Len())
}

// emptyMap is a channels-last tensor [N, C, H, W].
func emptyMap(n, c, h, w int) *Tensor {
	return Empty(Float, int64(n), int64(h), int64(w), int64(c)).Permute(0, 3, 1, 2)
}

// units transforms weights [out, in, 3, 3]; turned, those of the gradient of the convolution's inputs.
func units(c *winograd.Convolution, w *Tensor, turned bool) *Tensor {
	return Scoped(func() *Tensor {
		u := Empty(Float, int64(c.UnitsLen()))
		if turned {
			w = w.Permute(2, 3, 0, 1)
		} else {
			w = w.Permute(2, 3, 1, 0)
		}
		c.Transform(u.floats(), w.Contiguous().floats(), turned)
		return u
	})
}

// winogradForward convolves x with weights that were transformed to u.
func winogradForward(c *winograd.Convolution, x, u *Tensor, e winograd.Epilogue) *Tensor {
	return Scoped(func() *Tensor {
		y := emptyMap(c.N, c.K, c.H, c.W)
		c.Forward(y.floats(), x.floats(), u.floats(), Empty(Float, int64(c.Scratch())).floats(), e)
		return y
	})
}

// winogradConv2D is the convolution with autograd; b may be nil.
func winogradConv2D(x, w, b *Tensor) *Tensor {
	if b == nil {
		b = Empty(Float, 0)
	}
	return call1(winogradOperator, x.ChannelsLast(), w, b, 0)
}

// winogradKernel and winogradGradient are called by libtorch on the engine's thread: the arguments on the stack
// belong to them, and the results take their place.

func winogradKernel(stack *uint64, _, _ uintptr) {
	args := unsafe.Slice(stack, 4)
	scope(func() {
		x, w, b := wrap(uintptr(args[0])), wrap(uintptr(args[1])), wrap(uintptr(args[2]))
		c := convolution(x, w.Size(0))
		e := winograd.Epilogue{}
		if b.Len() > 0 {
			e.Bias = b.floats()
		}
		args[0] = handle(winogradForward(c, x.ChannelsLast(), units(c, w, false), e))
	})
}

func winogradGradient(stack *uint64, _, _ uintptr) {
	args := unsafe.Slice(stack, 5)
	scope(func() {
		dy, x, w, b := wrap(uintptr(args[0])).ChannelsLast(), wrap(uintptr(args[1])).ChannelsLast(), wrap(uintptr(args[2])), wrap(uintptr(args[3]))
		c := convolution(x, w.Size(0))
		back := *c
		back.C, back.K = c.K, c.C
		dx := winogradForward(&back, dy, units(&back, w, true), winograd.Epilogue{})
		dw := Empty(Float, 3, 3, int64(c.C), int64(c.K))
		Scope(func() {
			c.Gradient(dw.floats(), x.floats(), dy.floats(), Empty(Float, int64(c.GradientScratch())).floats())
		})
		db := b
		if b.Len() > 0 {
			db = dy.Sum(0, 2, 3)
		}
		args[0], args[1], args[2] = handle(dx), handle(dw.Permute(3, 2, 0, 1)), handle(db)
	})
}
