package convert

import (
	"cmp"
	"fmt"
	"strings"

	"must/model"
	"must/task/classification"
)

// Torchvision tells how to build torchvision's model of an architecture for images of a size, with a
// classifier of so many classes or none, or why there is none.
func Torchvision(c model.Config, size, classes int) (build string, err error) {
	none := fmt.Errorf("torchvision has no %v", c)
	var args []string
	add := func(format string, value any) { args = append(args, fmt.Sprintf(format, value)) }
	var name, classifier string
	switch b := c.Backbone.(type) {
	case model.ViTConfig:
		v := b.Variant
		if v.PreNorm || v.QKNorm || v.MeanToken {
			return "", none
		}
		name, classifier = "VisionTransformer", "heads"
		add("image_size=%d", size)
		add("patch_size=%d", b.Patch)
		add("num_layers=%d", b.Layers)
		add("num_heads=%d", b.Heads)
		add("hidden_dim=%d", b.Dim)
		add("mlp_dim=%d", cmp.Or(v.MLP, 4*b.Dim))
	case model.ResNetConfig:
		v := b.Variant
		if c.Norm == model.NormGroup || b.Width != 1 || b.Stem != "" || v.Squeeze != 0 || v.AverageShortcut {
			return "", none
		}
		name, classifier = b.Name(), "fc"
		if v.Groups > 1 {
			add("groups=%d", v.Groups)
		}
		if v.GroupWidth != 0 {
			add("width_per_group=%d", v.GroupWidth)
		}
	default:
		return "", none
	}
	if classes > 0 {
		add("num_classes=%d", classes)
	}
	build = fmt.Sprintf("torchvision.models.%s(%s)", name, strings.Join(args, ", "))
	if classes == 0 {
		build += " with " + classifier + " = torch.nn.Identity()"
	}
	return build, nil
}

// TorchvisionName is the name that torchvision gives a parameter of a backbone or classifier that it
// has; "" for others, of necks and other heads.
func TorchvisionName(c model.Config, ours string) string {
	_, vit := c.Backbone.(model.ViTConfig)
	if name, ok := strings.CutPrefix(ours, "heads."+classification.Name+"."); ok {
		if vit {
			return "heads.head." + name
		}
		return "fc." + name
	}
	name, ok := strings.CutPrefix(ours, "backbone.")
	switch {
	case !ok:
		return ""
	case vit:
		return torchvisionViTSources(ours)[0].from[0]
	}
	return name
}
