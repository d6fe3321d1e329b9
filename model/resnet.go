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

// A ResNet is the v1.5 network of torchvision (stride in the 3×3 convolution), with its parameter
// names, for a width of 1; other widths scale every channel count.
type ResNet struct {
	stem   *Conv
	norm   *Norm
	stages [4][]*block

	// Channels holds the output channels of C2 to C5.
	Channels [4]int64
}

type block struct {
	convs []*Conv
	norms []*Norm
	down  *Conv // nil: identity
	dnorm *Norm
}

// NewResNet declares a network of depth 18, 34, 50, 101 or 152.
func NewResNet(b Builder, depth int, width float64) (*ResNet, error) {
	arch, ok := resnets[depth]
	if !ok {
		return nil, fmt.Errorf("no ResNet of depth %d; there are 18, 34, 50, 101 and 152", depth)
	}
	if !(width > 0 && width <= 4) {
		return nil, fmt.Errorf("ResNet width %v is not in (0, 4]", width)
	}
	scale := func(c int) int64 { return max(8, int64(float64(c)*width+.5)/8*8) }
	in := scale(64)
	r := &ResNet{
		stem: NewConv(b.In("conv1"), 3, in, 7, 2, false, Kaiming(in*49)),
		norm: NewNorm(b.In("bn1"), in, 1),
	}
	for s, n := range arch.blocks {
		mid := scale(64 << s)
		out := mid
		if arch.bottleneck {
			out *= 4
		}
		for i := range n {
			stride := int64(1)
			if s > 0 && i == 0 {
				stride = 2
			}
			r.stages[s] = append(r.stages[s], newBlock(b.In(fmt.Sprintf("layer%d.%d", s+1, i)), in, mid, out, stride, arch.bottleneck))
			in = out
		}
		r.Channels[s] = out
	}
	return r, nil
}

func newBlock(b Builder, in, mid, out, stride int64, bottleneck bool) *block {
	k := &block{}
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

func (k *block) forward(x *torch.Tensor, m Mode) *torch.Tensor {
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

// Forward maps normalised images [N, 3, H, W] to C2, C3, C4 and C5, of strides 4, 8, 16 and 32.
func (r *ResNet) Forward(x *torch.Tensor, m Mode) [4]*torch.Tensor {
	x = torch.Scoped(func() *torch.Tensor {
		return r.norm.Forward(r.stem.Forward(x), m).ReluInPlace().MaxPool2D(3, 2, 1)
	})
	var c [4]*torch.Tensor
	for s, blocks := range r.stages {
		for _, k := range blocks {
			x = k.forward(x, m)
		}
		c[s] = x
	}
	return c
}
