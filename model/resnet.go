package model

import (
	"cmp"
	"fmt"

	"must/torch"
)

// StemSmall is the stem for images of CIFAR's size: a 3×3 convolution of stride 1 and no max pool
// (SimCLR §B.9).
const StemSmall = "small"

// StemDeep is the stem of three 3×3 convolutions in place of one of 7×7, the first of stride 2
// (ResNet-D).
const StemDeep = "deep"

// A ResNetConfig is the settings of a [ResNet].
type ResNetConfig struct {
	Layers  int           `yaml:"-" json:"depth"`                            // 18, 34, 50, 101 or 152: a part of the name
	Width   float64       `yaml:"width" json:"width"`                        // factor on the channels
	Stem    string        `yaml:"stem,omitempty" json:"stem,omitempty"`      // "", deep, or small, without a pyramid only
	Variant ResNetVariant `yaml:"variant,omitempty" json:"variant,omitzero"` // what a relative of the plain network has beyond it
}

// A ResNetVariant is what a ResNet has beyond the plain one: the parts of close relatives of the
// published network, under timm's names, so that weights pretrained for these compute the same here.
type ResNetVariant struct {
	Groups          int64 `yaml:"groups,omitempty" json:"groups,omitempty"`                     // of the bottlenecks' 3×3 convolutions (ResNeXt)
	GroupWidth      int64 `yaml:"group_width,omitempty" json:"group_width,omitempty"`           // channels of each in C2, 64 where it is 0 (ResNeXt; 128 in wide ResNets)
	Squeeze         int64 `yaml:"squeeze,omitempty" json:"squeeze,omitempty"`                   // squeeze-excitation in every block, its hidden layer so many times narrower (Hu et al. 2018)
	AverageShortcut bool  `yaml:"average_shortcut,omitempty" json:"average_shortcut,omitempty"` // shortcuts average before their convolution in place of leaving out pixels (ResNet-D, He et al. 2019)
}

var resnets = func() (all []BackboneConfig) {
	for _, l := range residualLayers {
		all = append(all, ResNetConfig{Layers: l, Width: 1})
	}
	return all
}()

// Name implements [BackboneConfig].
func (c ResNetConfig) Name() string { return fmt.Sprint("resnet", c.Layers) }

// Check implements [BackboneConfig].
func (c ResNetConfig) Check() error {
	if err := checkResidual(c.Layers, c.Width); err != nil {
		return err
	}
	if c.Stem != "" && c.Stem != StemSmall && c.Stem != StemDeep {
		return fmt.Errorf("model.stem is %q; it must be left out or be %s or %s", c.Stem, StemSmall, StemDeep)
	}
	v := c.Variant
	if (v.Groups != 0 || v.GroupWidth != 0) && !residuals[c.Layers].bottleneck {
		return fmt.Errorf("model.variant: groups and group_width are of 50 layers and more; leave them out")
	}
	return inRange(0, 4096, field{"variant.groups", v.Groups}, field{"variant.group_width", v.GroupWidth}, field{"variant.squeeze", v.Squeeze})
}

// CheckSize implements [BackboneConfig].
func (ResNetConfig) CheckSize(int) error { return nil }

func (c ResNetConfig) plain() BackboneConfig {
	c.Variant.Groups = max(1, c.Variant.Groups)
	c.Variant.GroupWidth = cmp.Or(c.Variant.GroupWidth, 64)
	return c
}

func (c ResNetConfig) String() string {
	s := fmt.Sprintf("ResNet-%d of width %v", c.Layers, c.Width)
	if c.Stem != "" {
		s += ", " + c.Stem + " stem"
	}
	if v := c.Variant; v.Groups > 1 {
		s += fmt.Sprintf(", %d groups", v.Groups)
	}
	if v := c.Variant; v.GroupWidth != 0 {
		s += fmt.Sprintf(", group width %d", v.GroupWidth)
	}
	if v := c.Variant; v.Squeeze != 0 {
		s += fmt.Sprintf(", squeeze-excitation by %d", v.Squeeze)
	}
	if c.Variant.AverageShortcut {
		s += ", averaging shortcuts"
	}
	return s
}

// inner returns the channels inside a bottleneck and the groups of its 3×3 convolution, of mid channels
// in the plain network.
func (v ResNetVariant) inner(mid int64) (channels, groups int64) {
	groups = max(1, v.Groups)
	if v.GroupWidth != 0 {
		mid = max(1, mid*v.GroupWidth/64)
	}
	return mid * groups, groups
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

func (c ResNetConfig) build(b Builder) Backbone { return NewResNet(b, c) }

// NewResNet declares the network of settings that Check accepts.
func NewResNet(b Builder, c ResNetConfig) *ResNet {
	in := scaled(64, c.Width)
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
		narrow := scaled(32, c.Width)
		add("conv1.0", "conv1.1", 3, narrow, 3, 2)
		add("conv1.3", "conv1.4", narrow, narrow, 3, 1)
		add("conv1.6", "bn1", narrow, in, 3, 1)
	default:
		add("conv1", "bn1", 3, in, 7, 2)
	}
	r.channels = eachBlock(c.Layers, c.Width, func(stage, i int, in, mid, out, stride int64) {
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

func newResidual(b Builder, in, mid, out, stride int64, c ResNetConfig) *residual {
	k := &residual{average: 1}
	add := func(i, o, kernel, stride, groups int64, gain float32) {
		n := fmt.Sprint(len(k.convs) + 1)
		k.convs = append(k.convs, NewGroupedConv(b.In("conv"+n), i, o, kernel, stride, groups))
		k.norms = append(k.norms, NewNorm(b.In("bn"+n), o, gain))
		k.convs[len(k.convs)-1].norm = k.norms[len(k.norms)-1]
	}
	// The last norm of a block starts at 0, so that the block starts as the identity (Goyal et al. 2017).
	if residuals[c.Layers].bottleneck {
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

func (r *ResNet) pyramid(b Builder, channels int64) (neck, error) {
	return residualPyramid(b, r.channels, channels, r.small)
}

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
