package model

import "fmt"

// A Variant is what a backbone has beyond the plain one: the parts of close relatives of the published
// networks, under timm's names, so that weights pretrained for these compute the same here. The zero
// value is the plain network.
type Variant struct {
	// Of resnet only.
	Groups          int64 `yaml:"groups,omitempty" json:"groups,omitempty"`                     // of the bottlenecks' 3×3 convolutions (ResNeXt)
	GroupWidth      int64 `yaml:"group_width,omitempty" json:"group_width,omitempty"`           // channels of each in C2, 64 where it is 0 (ResNeXt; 128 in wide ResNets)
	Squeeze         int64 `yaml:"squeeze,omitempty" json:"squeeze,omitempty"`                   // squeeze-excitation in every block, its hidden layer so many times narrower (Hu et al. 2018)
	AverageShortcut bool  `yaml:"average_shortcut,omitempty" json:"average_shortcut,omitempty"` // shortcuts average before their convolution in place of leaving out pixels (ResNet-D, He et al. 2019)

	// Of vit only.
	MLP       int64 `yaml:"mlp,omitempty" json:"mlp,omitempty"`               // width of the perceptrons' hidden layer, 4·dim where it is 0
	PreNorm   bool  `yaml:"pre_norm,omitempty" json:"pre_norm,omitempty"`     // a norm before the first block, and all norms of epsilon 1e-5 (CLIP)
	QKNorm    bool  `yaml:"qk_norm,omitempty" json:"qk_norm,omitempty"`       // queries and keys are normalised, each head's by itself
	MeanToken bool  `yaml:"mean_token,omitempty" json:"mean_token,omitempty"` // the image's feature is the norm of the patches' mean, not the class token
}

// check tells what is wrong with the variant of a configuration.
func (c Config) checkVariant() error {
	v := c.Variant
	if c.Backbone == BackboneViT {
		if v.Groups != 0 || v.GroupWidth != 0 || v.Squeeze != 0 || v.AverageShortcut {
			return fmt.Errorf("model.variant: groups, group_width, squeeze and average_shortcut are of a resnet; leave them out")
		}
		if v.MLP != 0 {
			return inRange(1, 65536, field{"variant.mlp", v.MLP})
		}
		return nil
	}
	if v.MLP != 0 || v.PreNorm || v.QKNorm || v.MeanToken {
		return fmt.Errorf("model.variant: mlp, pre_norm, qk_norm and mean_token are of a vit; leave them out or set model.backbone: %s", BackboneViT)
	}
	if v == (Variant{}) {
		return nil
	}
	if c.Backbone == BackboneBiT {
		return fmt.Errorf("model.variant: a %s has none; leave it out", BackboneBiT)
	}
	if err := inRange(0, 4096, field{"variant.groups", v.Groups}, field{"variant.group_width", v.GroupWidth}, field{"variant.squeeze", v.Squeeze}); err != nil {
		return err
	}
	if (v.Groups != 0 || v.GroupWidth != 0) && !resnets[c.Depth].bottleneck {
		return fmt.Errorf("model.variant: groups and group_width are of depth 50 and more; leave them out")
	}
	return nil
}

// inner returns the channels inside a bottleneck and the groups of its 3×3 convolution, of mid channels
// in the plain network.
func (v Variant) inner(mid int64) (channels, groups int64) {
	groups = max(1, v.Groups)
	if v.GroupWidth != 0 {
		mid = max(1, mid*v.GroupWidth/64)
	}
	return mid * groups, groups
}

// mlp returns the width of a perceptron's hidden layer.
func (v Variant) mlp(dim int64) int64 {
	if v.MLP != 0 {
		return v.MLP
	}
	return 4 * dim
}

// epsilon returns that of a ViT's norms.
func (v Variant) epsilon() float64 {
	if v.PreNorm {
		return 1e-5
	}
	return 1e-6
}

// describe adds to the name of a backbone.
func (v Variant) describe() (s string) {
	if v.Groups > 1 {
		s += fmt.Sprintf(", %d groups", v.Groups)
	}
	if v.GroupWidth != 0 {
		s += fmt.Sprintf(", group width %d", v.GroupWidth)
	}
	if v.Squeeze != 0 {
		s += fmt.Sprintf(", squeeze-excitation by %d", v.Squeeze)
	}
	if v.AverageShortcut {
		s += ", averaging shortcuts"
	}
	if v.MLP != 0 {
		s += fmt.Sprintf(", perceptrons of %d", v.MLP)
	}
	if v.PreNorm {
		s += ", a norm before the blocks"
	}
	if v.QKNorm {
		s += ", norms of queries and keys"
	}
	if v.MeanToken {
		s += ", the patches' mean as feature"
	}
	return s
}
