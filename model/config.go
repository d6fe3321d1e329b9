package model

import (
	"fmt"
	"slices"
)

// The backbones that a [Config] names.
const (
	BackboneResNet = "resnet"
	BackboneBiT    = "bit"
	BackboneViT    = "vit"
)

// StemSmall is the stem for images of CIFAR's size: a 3×3 convolution of stride 1 and no max pool
// (SimCLR §B.9).
const StemSmall = "small"

// StemDeep is the stem of three 3×3 convolutions in place of one of 7×7, the first of stride 2
// (ResNet-D).
const StemDeep = "deep"

// A Config is the architecture that all models of a recipe share, so that gains come from data and
// not from capacity (MuST §3.1). The defaults are the widths of the field.
type Config struct {
	Backbone string `yaml:"backbone,omitempty" json:"backbone,omitempty"` // resnet (also ""), bit or vit

	// Of resnet and bit; a vit ignores depth and width.
	Depth int     `yaml:"depth" json:"depth"`                   // 18, 34, 50, 101 or 152
	Width float64 `yaml:"width" json:"width"`                   // factor on the channels
	Stem  string  `yaml:"stem,omitempty" json:"stem,omitempty"` // "", deep (resnet), or small, without a pyramid only

	// Of vit only.
	Patch  int64 `yaml:"patch,omitempty" json:"patch,omitempty"`   // side of a patch in pixels: 4, 8, 16 or 32
	Grid   int64 `yaml:"grid,omitempty" json:"grid,omitempty"`     // side of the grid of position embeddings: size / patch; other sizes resample it
	Dim    int64 `yaml:"dim,omitempty" json:"dim,omitempty"`       // width of a token
	Heads  int64 `yaml:"heads,omitempty" json:"heads,omitempty"`   // of attention; they divide dim
	Layers int   `yaml:"layers,omitempty" json:"layers,omitempty"` // blocks

	Norm string `yaml:"norm,omitempty" json:"norm,omitempty"` // of resnet, pyramid and heads: batch (also ""), or group, which is the same whatever the batch and however it is cut up

	Variant Variant `yaml:"variant,omitempty" json:"variant,omitzero"` // what a relative of the plain network has beyond it

	FPN   int64 `yaml:"fpn" json:"fpn"`   // channels of the pyramid
	Head  int64 `yaml:"head" json:"head"` // channels of the heads' convolutions
	BoxFC int64 `yaml:"box_fc" json:"box_fc"`
}

// The norms that models have a choice of.
const (
	NormBatch = "batch"
	NormGroup = "group"
)

// DefaultConfig is ResNet-50 with the published widths.
func DefaultConfig() Config { return Config{Depth: 50, Width: 1, FPN: 256, Head: 256, BoxFC: 1024} }

// Check tells what is wrong with a configuration.
func (c Config) Check() error {
	if err := c.checkBackbone(); err != nil {
		return err
	}
	if err := c.checkVariant(); err != nil {
		return err
	}
	if c.Norm != "" && c.Norm != NormBatch && c.Norm != NormGroup {
		return fmt.Errorf("model.norm is %q; it must be %s or %s", c.Norm, NormBatch, NormGroup)
	}
	return inRange(1, 8192, field{"fpn", c.FPN}, field{"head", c.Head}, field{"box_fc", c.BoxFC})
}

func (c Config) checkBackbone() error {
	switch c.Backbone {
	case "", BackboneResNet, BackboneBiT:
		if _, ok := resnets[c.Depth]; !ok {
			return fmt.Errorf("model.depth is %d; it must be 18, 34, 50, 101 or 152", c.Depth)
		}
		if !(c.Width > 0 && c.Width <= 4) {
			return fmt.Errorf("model.width is %v; it must be in (0, 4]", c.Width)
		}
		if c.Stem != "" && c.Stem != StemSmall && (c.Stem != StemDeep || c.Backbone == BackboneBiT) {
			return fmt.Errorf("model.stem is %q; it must be left out or be %s, or %s of a resnet", c.Stem, StemSmall, StemDeep)
		}
		if c.Patch != 0 || c.Grid != 0 || c.Dim != 0 || c.Heads != 0 || c.Layers != 0 {
			return fmt.Errorf("model.patch, grid, dim, heads and layers are of a vit; leave them out or set model.backbone: %s", BackboneViT)
		}
		return nil
	case BackboneViT:
		if c.Stem != "" {
			return fmt.Errorf("model.stem is %q; a vit has none: leave it out", c.Stem)
		}
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
		return nil
	}
	return fmt.Errorf("model.backbone is %q; it must be %s, %s or %s", c.Backbone, BackboneResNet, BackboneBiT, BackboneViT)
}

type field struct {
	name  string
	value int64
}

func inRange(least, most int64, fields ...field) error {
	for _, f := range fields {
		if f.value < least || f.value > most {
			return fmt.Errorf("model.%s is %d; it must be between %d and %d", f.name, f.value, least, most)
		}
	}
	return nil
}

// CheckSize tells whether images of a side in pixels suit the backbone: a ViT cuts them into patches
// and its pyramid into strides up to 32, without remainder.
func (c Config) CheckSize(size int) error {
	if c.Backbone == BackboneViT && size%32 != 0 {
		return fmt.Errorf("size is %d; for a vit it must be a multiple of 32, such as %d", size, (size+31)/32*32)
	}
	return nil
}

// Same returns an error that names both where the trunks of two configurations differ, and weights
// of the one do not fit the other. Widths of heads do not count.
func (c Config) Same(o Config) error {
	if c.trunk() != o.trunk() {
		return fmt.Errorf("the checkpoint has a %v; this model a %v", o, c)
	}
	return nil
}

// trunk returns c without what only heads read, and of defaults that are written out or not one form.
func (c Config) trunk() Config {
	c.Head, c.BoxFC = 0, 0
	if c.Backbone == "" {
		c.Backbone = BackboneResNet
	}
	if c.Backbone == BackboneViT {
		c.Depth, c.Width = 0, 0
		c.Variant.MLP = c.Variant.mlp(c.Dim)
	} else {
		c.Variant.Groups = max(1, c.Variant.Groups)
		if c.Variant.GroupWidth == 0 {
			c.Variant.GroupWidth = 64
		}
	}
	return c
}

// On returns c with the backbone of another configuration.
func (c Config) On(o Config) Config {
	o.FPN, o.Head, o.BoxFC = c.FPN, c.Head, c.BoxFC
	return o
}

// String names the trunk, such as "ResNet-50 of width 1 with 256 pyramid channels".
func (c Config) String() string {
	var s string
	switch c.Backbone {
	case BackboneViT:
		s = fmt.Sprintf("ViT of patch %d, grid %d, dim %d, %d heads and %d layers", c.Patch, c.Grid, c.Dim, c.Heads, c.Layers)
	case BackboneBiT:
		s = fmt.Sprintf("BiT ResNet-v2-%d of width %v", c.Depth, c.Width)
	default:
		s = fmt.Sprintf("ResNet-%d of width %v", c.Depth, c.Width)
	}
	if c.Stem != "" {
		s += ", " + c.Stem + " stem"
	}
	s += c.Variant.describe()
	if c.Stem != "" || c.Variant != (Variant{}) {
		s += ","
	}
	return fmt.Sprintf("%s with %d pyramid channels", s, c.FPN)
}
