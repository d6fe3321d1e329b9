package model

import "fmt"

// residuals maps a number of layers to the blocks per stage and whether they are bottlenecks (He et al.
// 2016). ResNets of both kinds are built so.
var residuals = map[int]struct {
	blocks     [4]int
	bottleneck bool
}{
	18:  {[4]int{2, 2, 2, 2}, false},
	34:  {[4]int{3, 4, 6, 3}, false},
	50:  {[4]int{3, 4, 6, 3}, true},
	101: {[4]int{3, 4, 23, 3}, true},
	152: {[4]int{3, 8, 36, 3}, true},
}

var residualLayers = []int{18, 34, 50, 101, 152}

func checkResidual(layers int, width float64) error {
	if _, ok := residuals[layers]; !ok {
		return fmt.Errorf("model.backbone has %d layers; it must have 18, 34, 50, 101 or 152", layers)
	}
	if !(width > 0 && width <= 4) {
		return fmt.Errorf("model.width is %v; it must be in (0, 4]", width)
	}
	return nil
}

// scaled scales the channels of a layer by the width, to a multiple of 8.
func scaled(channels int, width float64) int64 { return max(8, int64(float64(channels)*width+.5)/8*8) }

// eachBlock calls f for the blocks of a residual network in order, with their channels on the way in,
// inside and on the way out, and returns the channels of C2 to C5.
func eachBlock(layers int, width float64, f func(stage, i int, in, mid, out, stride int64)) (channels [4]int64) {
	arch, in := residuals[layers], scaled(64, width)
	for stage, n := range arch.blocks {
		mid, stride := scaled(64<<stage, width), int64(min(2, stage+1))
		out := mid
		if arch.bottleneck {
			out *= 4
		}
		for i := range n {
			f(stage, i, in, mid, out, stride)
			in, stride = out, 1
		}
		channels[stage] = out
	}
	return channels
}

// residualPyramid is the FPN of a residual network.
func residualPyramid(b Builder, in [4]int64, channels int64, small bool) (neck, error) {
	if small {
		return nil, fmt.Errorf("model.stem is %s: maps of strides 1 to 8 do not make a pyramid of strides 4 to 128, which detection and dense tasks read; leave it out", StemSmall)
	}
	return newFPN(b, in, channels), nil
}
