package machine

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPeak(t *testing.T) {
	before, ok := ResetPeak()
	if !ok {
		t.Skip("the system does not tell")
	}
	const size = 64 << 20
	b := make([]byte, size)
	for i := range b {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	if p := Peak(); p < before+size*3/4 {
		t.Errorf("peak is %d after 64 MiB more than %d", p, before)
	}
	b = nil
	debug.FreeOSMemory()
	if p, _ := ResetPeak(); p > before+size/2 {
		t.Errorf("peak is %d after it was reset, %d before", p, before)
	}
}
