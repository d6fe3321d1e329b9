package model

import (
	"fmt"

	"must/torch"
)

// A Config is the architecture that all models of a recipe share, so that gains come from data and
// not from capacity (MuST §3.1). The defaults are the widths of the field.
type Config struct {
	Depth int     `yaml:"depth" json:"depth"` // of the ResNet: 18, 34, 50, 101 or 152
	Width float64 `yaml:"width" json:"width"` // factor on the ResNet's channels
	FPN   int64   `yaml:"fpn" json:"fpn"`     // channels of the pyramid
	Head  int64   `yaml:"head" json:"head"`   // channels of the heads' convolutions
	BoxFC int64   `yaml:"box_fc" json:"box_fc"`
}

// DefaultConfig is ResNet-50 with the published widths.
func DefaultConfig() Config { return Config{Depth: 50, Width: 1, FPN: 256, Head: 256, BoxFC: 1024} }

// Check tells what is wrong with a configuration.
func (c Config) Check() error {
	if _, ok := resnets[c.Depth]; !ok {
		return fmt.Errorf("model.depth is %d; it must be 18, 34, 50, 101 or 152", c.Depth)
	}
	if !(c.Width > 0 && c.Width <= 4) {
		return fmt.Errorf("model.width is %v; it must be in (0, 4]", c.Width)
	}
	for name, v := range map[string]int64{"fpn": c.FPN, "head": c.Head, "box_fc": c.BoxFC} {
		if v < 1 || v > 8192 {
			return fmt.Errorf("model.%s is %d; it must be between 1 and 8192", name, v)
		}
	}
	return nil
}

// Strides of the pyramid's levels P2 to P7.
var Strides = [6]int64{4, 8, 16, 32, 64, 128}

// A Trunk is the shared part of a model: backbone and, where a head reads it, neck.
type Trunk struct {
	Backbone *ResNet
	neck     *neck
}

// NewTrunk declares the trunk under "backbone" and "neck".
func NewTrunk(b Builder, c Config, pyramid bool) (*Trunk, error) {
	r, err := NewResNet(b.In("backbone"), c.Depth, c.Width)
	if err != nil {
		return nil, err
	}
	t := &Trunk{Backbone: r}
	if pyramid {
		t.neck = newNeck(b.In("neck"), r.Channels, c.FPN)
	}
	return t, nil
}

// Features are what heads read.
type Features struct {
	C5    *torch.Tensor    // [N, C, H/32, W/32]
	P     [6]*torch.Tensor // P2 to P7, [N, fpn, H/stride, W/stride]; nil without a neck
	Size  int64            // side of the input
	Mode  Mode
	fused *torch.Tensor
}

// Level returns a level of the pyramid, 2 to 7.
func (f *Features) Level(l int) *torch.Tensor { return f.P[l-2] }

// Fused returns the sum of all levels rescaled to P2, [N, fpn, H/4, W/4] (MuST §3.1, after Panoptic
// FPN); it has no parameters of its own.
func (f *Features) Fused() *torch.Tensor {
	if f.fused == nil {
		h, w := f.P[0].Size(2), f.P[0].Size(3)
		f.fused = f.P[0]
		for _, p := range f.P[1:] { // the largest maps of all: none stays longer than it must
			f.fused = torch.Scoped(func() *torch.Tensor { return f.fused.Add(p.Bilinear(h, w)) })
		}
	}
	return f.fused
}

// Forward runs the trunk on normalised images [N, 3, S, S].
func (t *Trunk) Forward(x *torch.Tensor, m Mode) *Features {
	f := &Features{Size: x.Size(2), Mode: m}
	c := t.Backbone.Forward(x, m)
	f.C5 = c[3]
	if t.neck != nil {
		f.P = t.neck.forward(c)
	}
	return f
}

// A neck is a feature pyramid (Lin et al. 2017): 1×1 laterals, nearest top-down, 3×3 outputs, P6 and
// P7 by 3×3 convolutions of stride 2.
type neck struct {
	lateral, output [4]*Conv
	p6, p7          *Conv
}

func newNeck(b Builder, in [4]int64, width int64) *neck {
	n := &neck{}
	for i := range 4 {
		l := fmt.Sprint(i + 2)
		n.lateral[i] = NewConv(b.In("lateral"+l), in[i], width, 1, 1, true, Kaiming(in[i]*2)) // no ReLU follows: half of He's variance
		n.output[i] = NewConv(b.In("output"+l), width, width, 3, 1, true, Kaiming(width*9*2))
	}
	n.p6 = NewConv(b.In("p6"), width, width, 3, 2, true, Kaiming(width*9*2))
	n.p7 = NewConv(b.In("p7"), width, width, 3, 2, true, Kaiming(width*9))
	return n
}

func (n *neck) forward(c [4]*torch.Tensor) (p [6]*torch.Tensor) {
	var top *torch.Tensor
	for i := 3; i >= 0; i-- {
		x := n.lateral[i].Forward(c[i])
		if top != nil {
			s := x.Shape()
			x = x.Add(top.Nearest(s[2], s[3]))
		}
		top = x
		p[i] = n.output[i].Forward(x)
	}
	p[4] = n.p6.Forward(p[3])
	p[5] = n.p7.Forward(p[4].Relu())
	return p
}
