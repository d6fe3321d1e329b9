package machine

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Peak returns the largest resident memory of this process in bytes, so far or since [ResetPeak]; 0
// where the system does not tell.
func Peak() int64 {
	kb, _ := strconv.ParseInt(strings.TrimSuffix(procField("/proc/self/status", "VmHWM"), " kB"), 10, 64)
	return kb << 10
}

// ResetPeak makes the present resident memory the peak and returns it; false where the system does
// not let it.
func ResetPeak() (int64, bool) {
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		return 0, false
	}
	return Peak(), true
}

// Load returns how many processes wanted to compute over the last minute, on average; 0 where the
// system does not tell.
func Load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	load, _, _ := strings.Cut(string(b), " ")
	n, _ := strconv.ParseFloat(load, 64)
	return n
}

// PeakOf returns the largest resident memory, in bytes, that an ended process had; 0 where the system
// does not tell.
func PeakOf(p *os.ProcessState) int64 {
	usage, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return usage.Maxrss // bytes there, kilobytes elsewhere
	}
	return usage.Maxrss << 10
}
