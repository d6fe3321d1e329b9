package loader

import (
	"runtime"
	"syscall"
)

// background makes the calling goroutine yield to everything else: it gets a thread of its own, of
// the lowest priority. Otherwise the scheduler now and then takes a core from one of the engine's
// threads for milliseconds, and all others wait for that one at each of the hundreds of barriers of
// a step: on two cores that costs a factor of ten. The thread ends with the goroutine.
func background() {
	runtime.LockOSThread()
	syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19) // 0 is this thread; best effort
}
