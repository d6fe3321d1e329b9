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
// names, for a width of 1; other widths scale every channel count. Variants have timm's names.
type ResNet struct {
	stem     []*Conv
	norms    []*Norm // of each of stem
	small    bool    // stem: no max pool
	stages   [4][]*residual
	channels [4]int64 // of C2 to C5
}

// NewResNet declares the network of a configuration that Check accepts.
func NewResNet(b Builder, c Config) *ResNet {
	in := c.channels(64)
	r := &ResNet{small: c.Stem == StemSmall}
	add := func(conv, norm string, in, out, k, stride int64) {
		r.stem = append(r.stem, NewConv(b.In(conv), in, out, k, stride, false, Kaiming(out*k*k)))
		r.norms = append(r.norms, NewNorm(b.In(norm), out, 1))
		r.stem[len(r.stem)-1].norm = r.norms[len(r.norms)-1]
	}
	switch c.Stem {
	case StemSmall:
		add("conv1", "bn1", 3, in, 3, 1)
	case StemDeep:
		narrow := c.channels(32)
		add("conv1.0", "conv1.1", 3, narrow, 3, 2)
		add("conv1.3", "conv1.4", narrow, narrow, 3, 1)
		add("conv1.6", "bn1", narrow, in, 3, 1)
	default:
		add("conv1", "bn1", 3, in, 7, 2)
	}
	r.channels = c.eachBlock(func(stage, i int, in, mid, out, stride int64) {
		k := newResidual(b.In(fmt.Sprintf("layer%d.%d", stage+1, i)), in, mid, out, stride, c)
		r.stages[stage] = append(r.stages[stage], k)
	})
	return r
}

type residual struct {
	convs   []*Conv
	norms   []*Norm
	squeeze *squeeze // nil: none
	down    *Conv    // nil: identity
	dnorm   *Norm
	average int64 // side of the squares whose mean down reads
}

func newResidual(b Builder, in, mid, out, stride int64, c Config) *residual {
	k := &residual{average: 1}
	add := func(i, o, kernel, stride, groups int64, gain float32) {
		n := fmt.Sprint(len(k.convs) + 1)
		k.convs = append(k.convs, NewGroupedConv(b.In("conv"+n), i, o, kernel, stride, groups))
		k.norms = append(k.norms, NewNorm(b.In("bn"+n), o, gain))
		k.convs[len(k.convs)-1].norm = k.norms[len(k.norms)-1]
	}
	// The last norm of a block starts at 0, so that the block starts as the identity (Goyal et al. 2017).
	if resnets[c.Depth].bottleneck {
		mid, groups := c.Variant.inner(mid)
		add(in, mid, 1, 1, 1, 1)
		add(mid, mid, 3, stride, groups, 1)
		add(mid, out, 1, 1, 1, 0)
	} else {
		add(in, mid, 3, stride, 1, 1)
		add(mid, out, 3, 1, 1, 0)
	}
	if c.Variant.Squeeze != 0 {
		k.squeeze = newSqueeze(b.In("se"), out, c.Variant.Squeeze)
	}
	switch {
	case stride == 1 && in == out:
	case c.Variant.AverageShortcut:
		k.average = stride
		k.down = NewConv(b.In("downsample.1"), in, out, 1, 1, false, Kaiming(out))
		k.dnorm = NewNorm(b.In("downsample.2"), out, 1)
	default:
		k.down = NewConv(b.In("downsample.0"), in, out, 1, stride, false, Kaiming(out))
		k.dnorm = NewNorm(b.In("downsample.1"), out, 1)
	}
	if k.down != nil {
		k.down.norm = k.dnorm
	}
	return k
}

// A squeeze is squeeze-excitation (Hu et al. 2018): two layers turn the mean of a map into a factor of
// each channel.
type squeeze struct{ fc1, fc2 *Conv }

func newSqueeze(b Builder, c, reduction int64) *squeeze {
	hidden := max(8, (c/reduction+4)/8*8) // a multiple of 8, as timm rounds it
	return &squeeze{
		NewConv(b.In("fc1"), c, hidden, 1, 1, true, Kaiming(hidden)),
		NewConv(b.In("fc2"), hidden, c, 1, 1, true, Glorot(hidden, c)),
	}
}

func (s *squeeze) forward(x *torch.Tensor) *torch.Tensor {
	factor := s.fc2.Forward(s.fc1.Forward(x.MeanKeep(2, 3)).ReluInPlace()).Sigmoid()
	return x.Mul(factor)
}

func (k *residual) forward(x *torch.Tensor, m Mode) *torch.Tensor {
	if k.convs[0].fused != nil {
		return k.forwardFused(x)
	}
	return torch.Scoped(func() *torch.Tensor {
		y := x
		for i, c := range k.convs {
			y = k.norms[i].Forward(c.Forward(y), m)
			if i < len(k.convs)-1 {
				y = y.ReluInPlace()
			}
		}
		if k.squeeze != nil {
			y = k.squeeze.forward(y)
		}
		if k.average > 1 {
			x = x.AvgPool2D(k.average)
		}
		if k.down != nil {
			x = k.dnorm.Forward(k.down.Forward(x), m)
		}
		return y.Add(x).ReluInPlace()
	})
}

// forwardFused is forward where the norms are in the convolutions, and the sum and its ReLU in the last.
func (k *residual) forwardFused(x *torch.Tensor) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		short := x
		if k.average > 1 {
			short = short.AvgPool2D(k.average)
		}
		if k.down != nil {
			short = k.down.fused.Forward(short, nil, false)
		}
		last := len(k.convs) - 1
		for _, c := range k.convs[:last] {
			x = c.fused.Forward(x, nil, true)
		}
		if k.squeeze == nil {
			return k.convs[last].fused.Forward(x, short, true)
		}
		return k.squeeze.forward(k.convs[last].fused.Forward(x, nil, false)).AddInPlace(short).ReluInPlace()
	})
}

// Channels returns those of C2 to C5.
func (r *ResNet) Channels() [4]int64 { return r.channels }

// Width returns the channels of C5, whose mean is the feature of the image.
func (r *ResNet) Width() int64 { return r.channels[3] }

// Forward maps normalised images [N, 3, H, W] to C2, C3, C4 and C5, of strides 4, 8, 16 and 32.
func (r *ResNet) Forward(x *torch.Tensor, m Mode) (c [4]*torch.Tensor, pooled *torch.Tensor) {
	x = torch.Scoped(func() *torch.Tensor {
		for i, c := range r.stem {
			if c.fused != nil {
				x = c.fused.Forward(x, nil, true)
			} else {
				x = r.norms[i].Forward(c.Forward(x), m).ReluInPlace()
			}
		}
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
