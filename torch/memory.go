package torch

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// Trim gives the host memory that libtorch no longer uses back to the system; otherwise it is kept for
// the next tensors. Measurements of memory call it between two networks.
func Trim() {
	if trim, err := purego.Dlsym(purego.RTLD_DEFAULT, "malloc_trim"); err == nil { // glibc's
		purego.SyscallN(trim, 0)
	}
}

// DeviceMemory returns the bytes of the GPU in use that are taken, by this process and others; 0 without a GPU, or
// where its library does not tell. libtorch keeps what it has taken for its next tensors, so that this only grows.
func DeviceMemory() int64 {
	free, total := deviceMemory()
	return total - free
}

func deviceMemory() (free, total int64) {
	if !engine.device.CUDA {
		return 0, 0
	}
	get, err := purego.Dlsym(purego.RTLD_DEFAULT, "cudaMemGetInfo")
	if err != nil {
		return 0, 0
	}
	var sizes [2]uint64 // size_t
	if r, _, _ := purego.SyscallN(get, uintptr(unsafe.Pointer(&sizes[0])), uintptr(unsafe.Pointer(&sizes[1]))); int32(r) != 0 {
		return 0, 0
	}
	return int64(sizes[0]), int64(sizes[1])
}

// SpareMemory gives back what is free, and has large tensors taken from the system and given back to it one by one
// from now on. What is freed is otherwise kept for others, and of what a large network takes nearly half is holes in
// the end; but every page that comes from the system costs time.
func SpareMemory() {
	if mallopt, err := purego.Dlsym(purego.RTLD_DEFAULT, "mallopt"); err == nil {
		mmapThreshold := -3
		purego.SyscallN(mallopt, uintptr(mmapThreshold), 8<<20)
	}
	Trim()
}

// DeviceTotal returns the bytes of memory that the GPU in use has; 0 as DeviceMemory.
func DeviceTotal() int64 {
	_, total := deviceMemory()
	return total
}
