package torch

import (
	"math"
	"time"

	"github.com/ebitengine/purego"
)

// BF16Pays measures whether convolutions, forward and backward, are faster in bfloat16 on the device in use, by a fifth
// at least. Call it in Do.
func BF16Pays() bool { return 1.2*convolutions(BFloat16, 3) < convolutions(Float, 3) }

// ThreadsPay measures how much faster several threads are than one, at convolutions as those of a small network: a
// machine that others use can make them far slower, as all wait for the one that has lost its core. It returns 0 where
// there is nothing to choose. Call it in Do.
func ThreadsPay() float64 {
	all := engine.threads
	if all < 2 || engine.device.CUDA || !setThreads(1) {
		return 0
	}
	one := convolutions(Float, 10)
	setThreads(all)
	return one / convolutions(Float, 10)
}

// SetThreads sets the number of threads that operators compute with, within those that the engine was opened with. Sums
// depend on it in their last bits: call it, in Do, before anything is computed that is to be the same again.
func SetThreads(n int) {
	if setThreads(n) {
		engine.threads = n
	}
}

func setThreads(n int) bool {
	set, err := purego.Dlsym(purego.RTLD_DEFAULT, "omp_set_num_threads")
	if err != nil {
		return false
	}
	purego.SyscallN(set, uintptr(n))
	return true
}

// convolutions returns the seconds that a convolution takes, forward and backward; on a GPU the least of a few, on a CPU
// the mean, which waiting is part of.
func convolutions(d DType, times int) float64 {
	batch, channels, side := int64(8), int64(64), int64(32)
	if engine.device.CUDA {
		batch, channels = 32, 256
	}
	least, sum := math.Inf(1), 0.
	Scope(func() {
		w := Full(d, 1./float64(9*channels), channels, channels, 3, 3).ChannelsLast().RequireGrad(true)
		x := Full(d, 1, batch, channels, side, side).ChannelsLast()
		for i := range times + 1 {
			Synchronize()
			began := time.Now()
			Scope(func() { x.Conv2D(w, nil, 1, 1, 1, 1).As(Float).Mean().Backward() })
			Synchronize()
			if took := time.Since(began).Seconds(); i > 0 { // the first one compiles
				least, sum = min(least, took), sum+took
			}
		}
	})
	if engine.device.CUDA {
		return least
	}
	return sum / float64(times)
}

// Rate returns the operations a second, multiplications and additions, that convolutions reach on the device in use,
// forward and backward. Call it in Do.
func Rate() float64 {
	batch, channels, side := 8., 64., 32.
	if engine.device.CUDA {
		batch, channels = 32, 256
	}
	return 3 * 2 * batch * channels * channels * 9 * side * side / convolutions(Float, 10)
}
