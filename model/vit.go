package model

import (
	"fmt"
	"math"

	"must/torch"
)

// A ViT is the vision transformer (Dosovitskiy et al. 2021) with timm's parameter names: patches
// embedded by a convolution, a class token, learned position embeddings, pre-norm blocks, a last norm.
// Variants have timm's names too.
type ViT struct {
	proj      *Conv
	class     *Param     // [1, 1, dim]
	positions *Param     // [1, 1 + grid², dim], the class token's first
	first     *LayerNorm // before the blocks, nil: none
	blocks    []*Block
	norm      *LayerNorm // of every token, or of the patches' mean where that is the image's feature
	mean      bool
	dim, grid int64
}

// NewViT declares the network of a configuration that Check accepts.
func NewViT(b Builder, c Config) *ViT {
	proj, last := b.In("patch_embed.proj"), "norm"
	if c.Variant.MeanToken {
		last = "fc_norm"
	}
	v := &ViT{
		proj: &Conv{
			w:      proj.Weight("weight", Normal(math.Sqrt(1/float64(3*c.Patch*c.Patch))), c.Dim, 3, c.Patch, c.Patch),
			b:      proj.Bias("bias", Constant(0), c.Dim),
			stride: c.Patch, groups: 1,
		},
		class:     b.Bias("cls_token", Constant(0), 1, 1, c.Dim),
		positions: b.Bias("pos_embed", Normal(0.02), 1, 1+c.Grid*c.Grid, c.Dim),
		norm:      newLayerNorm(b.In(last), c.Dim, c.Variant.epsilon()),
		mean:      c.Variant.MeanToken,
		dim:       c.Dim, grid: c.Grid,
	}
	for i := range c.Layers {
		v.blocks = append(v.blocks, newBlock(b.In(fmt.Sprint("blocks.", i)), c.Dim, c.Heads, c.Variant))
	}
	if c.Variant.PreNorm {
		v.first = newLayerNorm(b.In("norm_pre"), c.Dim, c.Variant.epsilon())
	}
	return v
}

// Channels returns those of the one map, in C5's place.
func (v *ViT) Channels() [4]int64 { return [4]int64{3: v.dim} }

// Width returns the width of a token.
func (v *ViT) Width() int64 { return v.dim }

// Embed maps normalised images [N, 3, H, W] to the tokens of their patches in row-major order, with
// their positions added: [N, L, dim] for L = H/patch · W/patch, the class token not among them. Where
// the grid of patches is not that of the position embeddings, those are resampled bicubically.
func (v *ViT) Embed(x *torch.Tensor) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		x = v.proj.Forward(x)
		n, h, w := x.Size(0), x.Size(2), x.Size(3)
		return x.Permute(0, 2, 3, 1).View(n, h*w, v.dim).Add(v.positionsAt(h, w).As(x.DType()))
	})
}

// Positions returns all position embeddings for a grid of a side, [1, 1 + side², dim], the class token's
// first.
func (v *ViT) Positions(side int64) *torch.Tensor {
	return torch.Cat(1, v.positions.T.Narrow(1, 0, 1), v.positionsAt(side, side))
}

// positionsAt returns the position embeddings of h×w patches, [1, h·w, dim].
func (v *ViT) positionsAt(h, w int64) *torch.Tensor {
	at := v.positions.T.Narrow(1, 1, v.grid*v.grid)
	if h != v.grid || w != v.grid {
		at = at.View(1, v.grid, v.grid, v.dim).Permute(0, 3, 1, 2).Bicubic(h, w).Permute(0, 2, 3, 1).View(1, h*w, v.dim)
	}
	return at
}

// Encode puts the class token before tokens [N, K, dim], which may be some of an image's only, and
// runs the blocks and the last norm: [N, K+1, dim], the class token first.
func (v *ViT) Encode(tokens *torch.Tensor) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor { return v.norm.Forward(v.encode(tokens)) })
}

// encode is Encode without the last norm.
func (v *ViT) encode(tokens *torch.Tensor) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		class := v.class.T.Add(v.positions.T.Narrow(1, 0, 1)).As(tokens.DType())
		x := torch.Cat(1, class.Expand(tokens.Size(0), 1, v.dim), tokens)
		if v.first != nil {
			x = v.first.Forward(x)
		}
		for _, k := range v.blocks {
			x = k.Forward(x)
		}
		return x
	})
}

// Forward maps normalised images [N, 3, H, W] to the map of their patches, [N, dim, H/patch, W/patch]
// in C5's place, after the last norm, and to the feature of the image, [N, dim]: the class token after
// that norm, or the norm of the patches' mean.
func (v *ViT) Forward(x *torch.Tensor, _ Mode) (c [4]*torch.Tensor, pooled *torch.Tensor) {
	h, w := x.Size(2)/v.proj.stride, x.Size(3)/v.proj.stride
	raw := v.encode(v.Embed(x))
	x = v.norm.Forward(raw)
	c[3] = x.Narrow(1, 1, h*w).View(-1, h, w, v.dim).Permute(0, 3, 1, 2)
	if v.mean {
		return c, v.norm.Forward(raw.Narrow(1, 1, h*w).Mean(1))
	}
	return c, x.Select(1, 0)
}
