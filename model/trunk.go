package model

import (
	"must/onnx/graph"
	"must/torch"
)

// A Backbone turns images into features.
type Backbone interface {
	// Forward maps normalised images [N, 3, H, W] to the maps C2 to C5, of strides 4, 8, 16 and 32
	// (a quarter of it with a small stem), and to the feature of the whole image, [N, Width()], which
	// is nil where it is the mean of C5. A ViT has but one map, of its patch's stride, in C5's place.
	Forward(x *torch.Tensor, m Mode) (c [4]*torch.Tensor, pooled *torch.Tensor)

	// Channels returns those of C2 to C5, 0 for a map that there is not.
	Channels() [4]int64

	// Width returns the channels of the feature of the whole image.
	Width() int64

	// pyramid declares the neck that makes P2 to P7 of its maps.
	pyramid(b Builder, channels int64) (neck, error)

	// graph writes Forward as operators; pooled is "" where it is nil there.
	graph(g *graph.Graph, x Map) (c [4]Map, pooled graph.Value)
}

// Strides of the pyramid's levels P2 to P7.
var Strides = [6]int64{4, 8, 16, 32, 64, 128}

// A Trunk is the shared part of a model: backbone and, where a head reads it, neck.
type Trunk struct {
	Backbone Backbone
	neck     neck
}

// NewTrunk declares the trunk under "backbone" and "neck".
func NewTrunk(b Builder, c Config, pyramid bool) (*Trunk, error) {
	if err := c.checkBackbone(); err != nil {
		return nil, err
	}
	t := &Trunk{Backbone: c.Backbone.build(b.In("backbone"))}
	if pyramid {
		var err error
		if t.neck, err = t.Backbone.pyramid(b.In("neck"), c.FPN); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Features are what heads read.
type Features struct {
	C5    *torch.Tensor    // the backbone's last map, [N, C, H/32, W/32]; of a ViT, [N, C, H/patch, W/patch]
	P     [6]*torch.Tensor // P2 to P7, [N, fpn, H/stride, W/stride]; nil without a neck
	Size  int64            // side of the input
	Mode  Mode
	fused *torch.Tensor

	pooled *torch.Tensor
}

// Level returns a level of the pyramid, 2 to 7.
func (f *Features) Level(l int) *torch.Tensor { return f.P[l-2] }

// Pooled returns the feature of the whole image, [N, C]: the mean of C5, or a ViT's class token after
// the last norm.
func (f *Features) Pooled() *torch.Tensor {
	if f.pooled == nil {
		f.pooled = f.C5.Mean(2, 3)
	}
	return f.pooled
}

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
	torch.Part("backbone")
	c, pooled := t.Backbone.Forward(x, m)
	m.Across = false
	f := &Features{C5: c[3], Size: x.Size(2), Mode: m, pooled: pooled}
	if t.neck != nil {
		torch.Part("FPN")
		f.P = t.neck.forward(c)
	}
	return f
}

// Pyramid reports whether the trunk has the levels P2 to P7.
func (t *Trunk) Pyramid() bool { return t.neck != nil }
