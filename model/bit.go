package model

import (
	"fmt"

	"must/torch"
)

// A BiTConfig is the settings of a [BiT].
type BiTConfig struct {
	Layers int     `yaml:"-" json:"depth"`                       // 18, 34, 50, 101 or 152: a part of the name
	Width  float64 `yaml:"width" json:"width"`                   // factor on the channels
	Stem   string  `yaml:"stem,omitempty" json:"stem,omitempty"` // "", or small, without a pyramid only
}

var bits = func() (all []BackboneConfig) {
	for _, l := range residualLayers {
		all = append(all, BiTConfig{Layers: l, Width: 1})
	}
	return all
}()

// Name implements [BackboneConfig].
func (c BiTConfig) Name() string { return fmt.Sprint("bit", c.Layers) }

// Check implements [BackboneConfig].
func (c BiTConfig) Check() error {
	if c.Stem != "" && c.Stem != StemSmall {
		return fmt.Errorf("model.stem is %q; of a bit it must be left out or be %s", c.Stem, StemSmall)
	}
	return checkResidual(c.Layers, c.Width)
}

// CheckSize implements [BackboneConfig].
func (BiTConfig) CheckSize(int) error { return nil }

func (c BiTConfig) plain() BackboneConfig { return c }

func (c BiTConfig) String() string {
	s := fmt.Sprintf("BiT ResNet-v2-%d of width %v", c.Layers, c.Width)
	if c.Stem != "" {
		s += ", " + c.Stem + " stem"
	}
	return s
}

// A BiT is the ResNet-v2 of Big Transfer (Kolesnikov et al. 2020): norms come before convolutions,
// are over groups of channels instead of the batch, and weights are standardised. Names are those of
// timm's resnetv2_50x1_bit. Depths 18 and 34, which BiT has not, are of two 3×3 convolutions per
// block (ours).
type BiT struct {
	stem     *Conv
	small    bool // stem: no max pool
	stages   [4][]*preact
	norm     *GroupNorm
	channels [4]int64 // of C2 to C5
}

// A preact is a residual block whose norms come first (He et al. 2016, "Identity mappings").
type preact struct {
	norms []*GroupNorm
	convs []*Conv
	down  *Conv // nil: identity
}

func (c BiTConfig) build(b Builder) Backbone { return NewBiT(b, c) }

// NewBiT declares the network of settings that Check accepts.
func NewBiT(b Builder, c BiTConfig) *BiT {
	in := scaled(64, c.Width)
	r := &BiT{small: c.Stem == StemSmall}
	if r.small {
		r.stem = NewStandardConv(b.In("stem.conv"), 3, in, 3, 1)
	} else {
		r.stem = NewStandardConv(b.In("stem.conv"), 3, in, 7, 2)
	}
	r.channels = eachBlock(c.Layers, c.Width, func(stage, i int, in, mid, out, stride int64) {
		k := newPreact(b.In(fmt.Sprintf("stages.%d.blocks.%d", stage, i)), in, mid, out, stride, residuals[c.Layers].bottleneck)
		r.stages[stage] = append(r.stages[stage], k)
	})
	r.norm = NewGroupNorm(b.In("norm"), r.channels[3])
	return r
}

func newPreact(b Builder, in, mid, out, stride int64, bottleneck bool) *preact {
	k := &preact{}
	add := func(i, o, kernel, stride int64) {
		n := fmt.Sprint(len(k.convs) + 1)
		k.norms = append(k.norms, NewGroupNorm(b.In("norm"+n), i))
		k.convs = append(k.convs, NewStandardConv(b.In("conv"+n), i, o, kernel, stride))
	}
	if bottleneck {
		add(in, mid, 1, 1)
		add(mid, mid, 3, stride)
		add(mid, out, 1, 1)
	} else {
		add(in, mid, 3, stride)
		add(mid, out, 3, 1)
	}
	if stride != 1 || in != out {
		k.down = NewStandardConv(b.In("downsample.conv"), in, out, 1, stride)
	}
	return k
}

// forward maps x, of which first is norms[0].
func (k *preact) forward(x, first *torch.Tensor) *torch.Tensor {
	y := k.convs[0].Forward(first)
	for i, c := range k.convs[1:] {
		y = c.Forward(k.norms[i+1].Forward(y))
	}
	if k.down != nil {
		x = k.down.Forward(first)
	}
	return y.AddInPlace(x)
}

// Channels returns those of C2 to C5.
func (r *BiT) Channels() [4]int64 { return r.channels }

// Width returns the channels of C5, whose mean is the feature of the image.
func (r *BiT) Width() int64 { return r.channels[3] }

func (r *BiT) pyramid(b Builder, channels int64) (neck, error) {
	return residualPyramid(b, r.channels, channels, r.small)
}

// Forward maps normalised images [N, 3, H, W] to C2, C3, C4 and C5, of strides 4, 8, 16 and 32. The
// sums between blocks are not normalised and grow with depth, so that each map is the output of a
// stage behind a norm and a ReLU that are there anyway: those of the next stage's first block, and
// the last norm for C5.
func (r *BiT) Forward(x *torch.Tensor, _ Mode) (c [4]*torch.Tensor, pooled *torch.Tensor) {
	x = torch.Scoped(func() *torch.Tensor {
		x = r.stem.Forward(x)
		if r.small {
			return x
		}
		return x.Pad(1).MaxPool2D(3, 2, 0) // BiT pads with zeros, though values may be negative
	})
	for s, blocks := range r.stages {
		first := blocks[0].norms[0].Forward(x)
		if s > 0 {
			c[s-1] = first
		}
		x = torch.Scoped(func() *torch.Tensor {
			x := blocks[0].forward(x, first)
			for _, k := range blocks[1:] {
				x = torch.Scoped(func() *torch.Tensor { return k.forward(x, k.norms[0].Forward(x)) })
			}
			return x
		})
	}
	c[3] = r.norm.Forward(x)
	return c, nil
}
