package torch

import "github.com/ebitengine/purego"

// Trim gives the host memory that libtorch no longer uses back to the system; otherwise it is kept for
// the next tensors. Measurements of memory call it between two networks.
func Trim() {
	if trim, err := purego.Dlsym(purego.RTLD_DEFAULT, "malloc_trim"); err == nil { // glibc's
		purego.SyscallN(trim, 0)
	}
}
