package torch

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Pointer returns where the elements of t lie one after another, on its device: for libraries that compute
// with others' memory. t must outlive their use of it.
func (t *Tensor) Pointer() unsafe.Pointer {
	expected := int64(1)
	shape, strides := t.Shape(), t.Strides()
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != expected {
			panic(&Error{"pointer", describeAll([]any{t}), "its elements do not lie one after another"})
		}
		expected *= shape[i]
	}
	return t.data()
}

// Stream returns the CUDA stream that operators run on. Call it within Do.
func Stream() (uintptr, error) {
	inDo("Stream")
	if !engine.device.CUDA {
		return 0, errors.New("the device in use is no GPU")
	}
	get, err := purego.Dlsym(purego.RTLD_DEFAULT, "aoti_torch_get_current_cuda_stream")
	if err != nil {
		return 0, fmt.Errorf("the libtorch in %s does not tell its stream: %w", engine.library.Dir, err)
	}
	r, _, _ := purego.SyscallN(get, uintptr(engine.device.Index), uintptr(unsafe.Pointer(&out[0])))
	if int32(r) != 0 {
		return 0, fmt.Errorf("aoti_torch_get_current_cuda_stream failed with code %d", int32(r))
	}
	return out[0], nil
}
