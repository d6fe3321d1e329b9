package model

import (
	"fmt"

	"must/onnx/graph"
	"must/torch"
)

// A neck turns a backbone's maps into the pyramid P2 to P7, all of one width.
type neck interface {
	forward(c [4]*torch.Tensor) [6]*torch.Tensor
	graph(g *graph.Graph, c [4]Map) [6]Map
}

// An fpn is a feature pyramid (Lin et al. 2017): 1×1 laterals, nearest top-down, 3×3 outputs.
type fpn struct {
	lateral, output [4]*Conv
	coarse          coarse
}

func newFPN(b Builder, in [4]int64, width int64) *fpn {
	n := &fpn{}
	for i := range 4 {
		l := fmt.Sprint(i + 2)
		n.lateral[i] = NewConv(b.In("lateral"+l), in[i], width, 1, 1, true, Kaiming(in[i]*2)) // no ReLU follows: half of He's variance
		n.output[i] = NewConv(b.In("output"+l), width, width, 3, 1, true, Kaiming(width*9*2))
	}
	n.coarse = newCoarse(b, width)
	return n
}

func (n *fpn) forward(c [4]*torch.Tensor) (p [6]*torch.Tensor) {
	torch.Scope(func() {
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
		p[4], p[5] = n.coarse.forward(p[3])
		torch.Return(p[:]...)
	})
	return p
}

// coarse makes P6 and P7 of P5 by 3×3 convolutions of stride 2, as RetinaNet does (Lin et al. 2017).
type coarse struct{ p6, p7 *Conv }

func newCoarse(b Builder, width int64) coarse {
	return coarse{
		p6: NewConv(b.In("p6"), width, width, 3, 2, true, Kaiming(width*9*2)),
		p7: NewConv(b.In("p7"), width, width, 3, 2, true, Kaiming(width*9)),
	}
}

func (c coarse) forward(p5 *torch.Tensor) (p6, p7 *torch.Tensor) {
	p6 = c.p6.Forward(p5)
	return p6, c.p7.Forward(p6.Relu())
}

// A simplePyramid is that of ViTDet (Li et al. 2022, §3): P2 to P5 are each made of the one map of a
// ViT by deconvolutions, as it is, or by max pooling, then a 1×1 and a 3×3 convolution with layer
// norm; nothing flows from level to level. P6 and P7 are those of an fpn, for the RPN's sake.
type simplePyramid struct {
	levels [4]*scale
	coarse coarse
}

// A scale brings a map to the stride of its level.
type scale struct {
	up      []*Deconv
	between []*LayerNorm // after each but the last
	pool    int64        // side of max pooling's windows, 1: none
	conv    [2]*Conv
	norm    [2]*LayerNorm
}

func newSimplePyramid(b Builder, patch, in, width int64) *simplePyramid {
	n := &simplePyramid{coarse: newCoarse(b, width)}
	for i := range n.levels {
		n.levels[i] = newScale(b.In(fmt.Sprint("p", i+2)), patch, Strides[i], in, width)
	}
	return n
}

func newScale(b Builder, patch, stride, in, width int64) *scale {
	s := &scale{pool: max(1, stride/patch)}
	for ; patch > stride; patch /= 2 {
		if n := len(s.up); n > 0 {
			s.between = append(s.between, NewLayerNorm(b.In(fmt.Sprint("between", n)), in))
		}
		half := max(1, in/2)
		s.up = append(s.up, NewDeconv(b.In(fmt.Sprint("up", len(s.up))), in, half))
		in = half
	}
	for i, k := range []int64{1, 3} {
		s.conv[i] = NewConv(b.In(fmt.Sprint("conv", i)), in, width, k, 1, false, Kaiming(in*k*k*2))
		s.norm[i] = NewLayerNorm(b.In(fmt.Sprint("norm", i)), width)
		in = width
	}
	return s
}

func (n *simplePyramid) forward(c [4]*torch.Tensor) (p [6]*torch.Tensor) {
	for i, s := range n.levels {
		p[i] = s.forward(c[3])
	}
	p[4], p[5] = n.coarse.forward(p[3])
	return p
}

func (s *scale) forward(x *torch.Tensor) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		for i, up := range s.up {
			if i > 0 {
				x = s.between[i-1].Map(x).Gelu()
			}
			x = up.Forward(x)
		}
		if s.pool > 1 {
			x = x.MaxPool2D(s.pool, s.pool, 0)
		}
		for i, c := range s.conv {
			x = s.norm[i].Map(c.Forward(x))
		}
		return x
	})
}
