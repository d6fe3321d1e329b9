package torch

import "time"

// profile is what Profiled collects; nil: nothing.
var profile *parts

type parts struct {
	seconds map[string]float64
	name    string
	began   time.Time
}

// Profiled runs f and returns the seconds that went into each [Part] of it; what comes before the first one has no
// name. On a GPU the host then waits for the device at the end of each part, so the whole takes longer than it would.
func Profiled(f func()) map[string]float64 {
	inDo("Profiled")
	Synchronize()
	profile = &parts{map[string]float64{}, "", time.Now()}
	defer func() { profile = nil }()
	f()
	profile.next("")
	return profile.seconds
}

// Part names what is computed from here on until the next Part, for [Profiled].
func Part(name string) {
	if profile != nil {
		profile.next(name)
	}
}

func (p *parts) next(name string) {
	Synchronize()
	now := time.Now()
	p.seconds[p.name] += now.Sub(p.began).Seconds()
	p.name, p.began = name, now
}

// Synchronize waits until the device has done all that it was told.
func Synchronize() {
	if engine.device.CUDA {
		Scope(func() { Zeros(Float, 1).Item() })
	}
}
