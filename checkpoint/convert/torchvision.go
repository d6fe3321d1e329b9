package convert

import (
	"fmt"
	"strings"

	"must/model"
	"must/task/classification"
)

// Torchvision tells how to build torchvision's model of an architecture for images of a size, with a
// classifier of so many classes or none, or why there is none.
func Torchvision(c model.Config, size, classes int) (build string, err error) {
	v, vit := c.Variant, c.Backbone == model.BackboneViT
	var args []string
	add := func(format string, value any) { args = append(args, fmt.Sprintf(format, value)) }
	name, classifier := fmt.Sprint("resnet", c.Depth), "fc"
	switch {
	case c.Backbone == model.BackboneBiT, !vit && c.Norm == model.NormGroup, vit && (v.PreNorm || v.QKNorm || v.MeanToken), !vit && (c.Width != 1 || c.Stem != "" || v.Squeeze != 0 || v.AverageShortcut):
		return "", fmt.Errorf("torchvision has no %v", c)
	case vit:
		hidden := v.MLP
		if hidden == 0 {
			hidden = 4 * c.Dim
		}
		name, classifier = "VisionTransformer", "heads"
		add("image_size=%d", size)
		add("patch_size=%d", c.Patch)
		add("num_layers=%d", c.Layers)
		add("num_heads=%d", c.Heads)
		add("hidden_dim=%d", c.Dim)
		add("mlp_dim=%d", hidden)
	default:
		if v.Groups > 1 {
			add("groups=%d", v.Groups)
		}
		if v.GroupWidth != 0 {
			add("width_per_group=%d", v.GroupWidth)
		}
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
	vit := c.Backbone == model.BackboneViT
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
