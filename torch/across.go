package torch

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// across is the sum over processes that Across computes, and the first error it ended with.
var across struct {
	sum func(p unsafe.Pointer, n int) error
	err error
}

// SumAcross makes a function that sums n float32 values at p over all processes, in place, an operator with
// autograd: Across. It is for the CPU.
//
// The stable ABI has no way to tell autograd of a new operator, but kernels can be given to one that libtorch
// declares, with its formula for the gradient, and has none for: cudnn_affine_grid_generator is one tensor in
// and one out, its gradient is an operator of the same kind, and on a CPU it does nothing of its own.
func SumAcross(sum func(p unsafe.Pointer, n int) error) error {
	inDo("SumAcross")
	if across.sum != nil {
		across.sum = sum
		return nil
	}
	if engine.device.CUDA {
		return fmt.Errorf("sums across processes within a network are for the CPU; the device is %v", engine.device)
	}
	if err := implement(map[string]func(*uint64, uintptr, uintptr){acrossOperator: sumKernel, acrossOperator + "_backward": sumKernel}); err != nil {
		return err
	}
	across.sum = sum
	return nil
}

// implement gives operators of aten kernels of ours, for tensors on a CPU.
func implement(kernels map[string]func(stack *uint64, _, _ uintptr)) error {
	initLibrary, err := purego.Dlsym(purego.RTLD_DEFAULT, "aoti_torch_library_init_impl")
	if err != nil {
		return err
	}
	implement, err := purego.Dlsym(purego.RTLD_DEFAULT, "torch_library_impl")
	if err != nil {
		return err
	}
	space, key, file := cstring("aten"), cstring("CPU"), cstring("across.go")
	r, _, _ := purego.SyscallN(initLibrary, uintptr(unsafe.Pointer(&space[0])), uintptr(unsafe.Pointer(&key[0])), uintptr(unsafe.Pointer(&file[0])), 0, uintptr(unsafe.Pointer(&out[0])))
	check(r, "library_init_impl")
	library := out[0]
	for name, kernel := range kernels {
		n := cstring(name)
		r, _, _ := purego.SyscallN(implement, library, uintptr(unsafe.Pointer(&n[0])), purego.NewCallback(kernel), abi)
		check(r, "library_impl", name)
	}
	return nil
}

const acrossOperator = "cudnn_affine_grid_generator"

// sumKernel is called by libtorch, on the engine's thread, for the value and for its gradient: the first
// argument on the stack is the tensor, which belongs to the kernel, and the result takes its place.
func sumKernel(stack *uint64, _, _ uintptr) {
	scope(func() {
		x := wrap(uintptr(*stack)).Contiguous().Clone()
		if err := across.sum(x.Pointer(), int(x.Len())); err != nil && across.err == nil {
			across.err = err
		}
		*stack = handle(x)
	})
}

// Across returns the sums of t's elements, float32, over all processes, by the function that was given to
// SumAcross; the gradient is summed alike. All processes call it in the same order.
func (t *Tensor) Across() *Tensor { return call1(acrossOperator, t, 0, 0, 0, 0) }

// AcrossError returns the first error that Across met since it was asked last.
func AcrossError() error {
	err := across.err
	across.err = nil
	return err
}
