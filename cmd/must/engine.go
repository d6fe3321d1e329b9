package main

import (
	"os"
	"runtime"
	"strings"

	"must/machine"
	"must/run"
	"must/teacher"
	"must/torch"
)

// engine is the flag that says what runs networks.
type engine struct {
	Engine string `help:"What runs networks of ours: torch, onnxruntime, tensorrt (NVIDIA), or auto, the faster of the first two; default torch." enum:"torch,onnxruntime,tensorrt,auto" default:"torch" placeholder:"ENGINE"`
}

func (e engine) of(a *app) teacher.Engine { return teacher.Engine{Name: e.Engine, Log: a.display.Logf} }

// fit says what networks of must train are fitted to.
func (a *app) fit(out string) (run.Fit, error) {
	f := run.Fit{GPU: strings.HasPrefix(a.options.Device, "cuda"), Out: out}
	if !f.GPU && !machine.BFloat16() {
		return f, nil
	}
	if err := a.engine(); err != nil {
		return f, err
	}
	return f, torch.Do(func() { f.BF16 = torch.BF16Pays() })
}

// crowded uses one thread where the machine is so busy that several are slower, unless their number was asked for.
func (a *app) crowded() error {
	if a.options.Threads > 0 || a.options.Device != "cpu" || os.Getenv("OMP_NUM_THREADS") != "" || machine.Load() < float64(runtime.NumCPU())/2 {
		return nil
	}
	return torch.Do(func() {
		if gain := torch.ThreadsPay(); gain > 0 && gain < 1.1 {
			torch.SetThreads(1)
			a.display.Logf("other programs keep this machine busy (load %.1f on %d cores): one thread is %.1f times as fast as several, and used; --threads chooses", machine.Load(), runtime.NumCPU(), 1/gain)
		}
	})
}
