//go:build !linux

package loader

// background lowers the priority of the calling goroutine where the system has priorities of threads.
func background() {}
