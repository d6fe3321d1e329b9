package model

import (
	"fmt"

	"must/torch"
)

// resnets maps a depth to its blocks per stage and whether they are bottlenecks (He et al. 2016).
var resnets = map[int]struct {
	blocks     [4]int
	bottleneck bool
}{
	18:  {[4]int{2, 2, 2, 2}, false},
	34:  {[4]int{3, 4, 6, 3}, false},
	50:  {[4]int{3, 4, 6, 3}, true},
	101: {[4]int{3, 4, 23, 3}, true},
	152: {[4]int{3, 8, 36, 3}, true},
}

// channels scales the channels of a layer by the width, to a multiple of 8.
func (c Config) channels(n int) int64 { return max(8, int64(float64(n)*c.Width+.5)/8*8) }

// eachBlock calls f for the blocks of a residual network in order, with their channels on the way in,
// inside and on the way out, and returns the channels of C2 to C5.
func (c Config) eachBlock(f func(stage, i int, in, mid, out, stride int64)) (channels [4]int64) {
	arch, in := resnets[c.Depth], c.channels(64)
	for stage, n := range arch.blocks {
		mid, stride := c.channels(64<<stage), int64(min(2, stage+1))
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

// A ResNet is the v1.5 network of torchvision (stride in the 3×3 convolution), with its parameter
// names, for a width of 1; other widths scale every channel count.
type ResNet struct {
	stem     *Conv
	norm     *Norm
	small    bool // stem: no max pool
	stages   [4][]*residual
	channels [4]int64 // of C2 to C5
}

// NewResNet declares the network of a configuration that Check accepts.
func NewResNet(b Builder, c Config) *ResNet {
	in := c.channels(64)
	r := &ResNet{norm: NewNorm(b.In("bn1"), in, 1), small: c.Stem == StemSmall}
	if r.small {
		r.stem = NewConv(b.In("conv1"), 3, in, 3, 1, false, Kaiming(in*9))
	} else {
		r.stem = NewConv(b.In("conv1"), 3, in, 7, 2, false, Kaiming(in*49))
	}
	r.channels = c.eachBlock(func(stage, i int, in, mid, out, stride int64) {
		k := newResidual(b.In(fmt.Sprintf("layer%d.%d", stage+1, i)), in, mid, out, stride, resnets[c.Depth].bottleneck)
		r.stages[stage] = append(r.stages[stage], k)
	})
	return r
}

type residual struct {
	convs []*Conv
	norms []*Norm
	down  *Conv // nil: identity
	dnorm *Norm
}

func newResidual(b Builder, in, mid, out, stride int64, bottleneck bool) *residual {
	k := &residual{}
	add := func(i, o, kernel, stride int64, gain float32) {
		n := fmt.Sprint(len(k.convs) + 1)
		k.convs = append(k.convs, NewConv(b.In("conv"+n), i, o, kernel, stride, false, Kaiming(o*kernel*kernel)))
		k.norms = append(k.norms, NewNorm(b.In("bn"+n), o, gain))
	}
	// The last norm of a block starts at 0, so that the block starts as the identity (Goyal et al. 2017).
	if bottleneck {
		add(in, mid, 1, 1, 1)
		add(mid, mid, 3, stride, 1)
		add(mid, out, 1, 1, 0)
	} else {
		add(in, mid, 3, stride, 1)
		add(mid, out, 3, 1, 0)
	}
	if stride != 1 || in != out {
		k.down = NewConv(b.In("downsample.0"), in, out, 1, stride, false, Kaiming(out))
		k.dnorm = NewNorm(b.In("downsample.1"), out, 1)
	}
	return k
}

func (k *residual) forward(x *torch.Tensor, m Mode) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		y := x
		for i, c := range k.convs {
			y = k.norms[i].Forward(c.Forward(y), m)
			if i < len(k.convs)-1 {
				y = y.ReluInPlace()
			}
		}
		if k.down != nil {
			x = k.dnorm.Forward(k.down.Forward(x), m)
		}
		return y.AddInPlace(x).ReluInPlace()
	})
}

// Channels returns those of C2 to C5.
func (r *ResNet) Channels() [4]int64 { return r.channels }

// Width returns the channels of C5, whose mean is the feature of the image.
func (r *ResNet) Width() int64 { return r.channels[3] }

// Forward maps normalised images [N, 3, H, W] to C2, C3, C4 and C5, of strides 4, 8, 16 and 32.
func (r *ResNet) Forward(x *torch.Tensor, m Mode) (c [4]*torch.Tensor, pooled *torch.Tensor) {
	x = torch.Scoped(func() *torch.Tensor {
		x = r.norm.Forward(r.stem.Forward(x), m).ReluInPlace()
		if r.small {
			return x
		}
		return x.MaxPool2D(3, 2, 1)
	})
	for s, blocks := range r.stages {
		for _, k := range blocks {
			x = k.forward(x, m)
		}
		c[s] = x
	}
	return c, nil
}
