package model

import (
	"fmt"
	"math"
	"slices"

	"must/torch"
)

// A ViTConfig is the settings of a [ViT].
type ViTConfig struct {
	Patch   int64      `yaml:"patch" json:"patch"`                        // side of a patch in pixels: 4, 8, 16 or 32
	Grid    int64      `yaml:"grid" json:"grid"`                          // side of the grid of position embeddings: size / patch; other sizes resample it
	Dim     int64      `yaml:"dim" json:"dim"`                            // width of a token
	Heads   int64      `yaml:"heads" json:"heads"`                        // of attention; they divide dim
	Layers  int        `yaml:"layers" json:"layers"`                      // blocks
	Variant ViTVariant `yaml:"variant,omitempty" json:"variant,omitzero"` // what a relative of the plain network has beyond it
}

// A ViTVariant is what a ViT has beyond the plain one: the parts of close relatives of the published
// network, under timm's names, so that weights pretrained for these compute the same here.
type ViTVariant struct {
	MLP       int64 `yaml:"mlp,omitempty" json:"mlp,omitempty"`               // width of the perceptrons' hidden layer, 4·dim where it is 0
	PreNorm   bool  `yaml:"pre_norm,omitempty" json:"pre_norm,omitempty"`     // a norm before the first block, and all norms of epsilon 1e-5 (CLIP)
	QKNorm    bool  `yaml:"qk_norm,omitempty" json:"qk_norm,omitempty"`       // queries and keys are normalised, each head's by itself
	MeanToken bool  `yaml:"mean_token,omitempty" json:"mean_token,omitempty"` // the image's feature is the norm of the patches' mean, not the class token
}

// Name implements [BackboneConfig].
func (ViTConfig) Name() string { return "vit" }

// Check implements [BackboneConfig].
func (c ViTConfig) Check() error {
	if !slices.Contains([]int64{4, 8, 16, 32}, c.Patch) {
		return fmt.Errorf("model.patch is %d; it must be 4, 8, 16 or 32", c.Patch)
	}
	if err := inRange(1, 4096, field{"dim", c.Dim}, field{"heads", c.Heads}); err != nil {
		return err
	}
	if err := inRange(1, 256, field{"grid", c.Grid}, field{"layers", int64(c.Layers)}); err != nil {
		return err
	}
	if c.Dim%c.Heads != 0 {
		return fmt.Errorf("model.heads is %d; it must divide dim, which is %d", c.Heads, c.Dim)
	}
	return inRange(0, 65536, field{"variant.mlp", c.Variant.MLP})
}

// CheckSize implements [BackboneConfig]: images are cut into patches, and the pyramid has strides up to
// 32, without remainder.
func (ViTConfig) CheckSize(size int) error {
	if size%32 != 0 {
		return fmt.Errorf("size is %d; for a vit it must be a multiple of 32, such as %d", size, (size+31)/32*32)
	}
	return nil
}

func (c ViTConfig) plain() BackboneConfig {
	c.Variant.MLP = c.Variant.mlp(c.Dim)
	return c
}

func (c ViTConfig) String() string {
	s := fmt.Sprintf("ViT of patch %d, grid %d, dim %d, %d heads and %d layers", c.Patch, c.Grid, c.Dim, c.Heads, c.Layers)
	if v := c.Variant; v.MLP != 0 {
		s += fmt.Sprintf(", perceptrons of %d", v.MLP)
	}
	if c.Variant.PreNorm {
		s += ", a norm before the blocks"
	}
	if c.Variant.QKNorm {
		s += ", norms of queries and keys"
	}
	if c.Variant.MeanToken {
		s += ", the patches' mean as feature"
	}
	return s
}

// mlp returns the width of a perceptron's hidden layer.
func (v ViTVariant) mlp(dim int64) int64 {
	if v.MLP != 0 {
		return v.MLP
	}
	return 4 * dim
}

// epsilon returns that of the norms.
func (v ViTVariant) epsilon() float64 {
	if v.PreNorm {
		return 1e-5
	}
	return 1e-6
}

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
	patch     int64
}

func (c ViTConfig) build(b Builder) Backbone { return NewViT(b, c) }

// NewViT declares the network of settings that Check accepts.
func NewViT(b Builder, c ViTConfig) *ViT {
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
		dim:       c.Dim, grid: c.Grid, patch: c.Patch,
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

// Patch returns the side of a patch in pixels.
func (v *ViT) Patch() int64 { return v.patch }

// Width returns the width of a token.
func (v *ViT) Width() int64 { return v.dim }

func (v *ViT) pyramid(b Builder, channels int64) (neck, error) {
	return newSimplePyramid(b, v.patch, v.dim, channels), nil
}

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
