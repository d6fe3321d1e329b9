package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/detection"
)

// A layout is a family of external names. What follows is without the file's prefix, but for our names.
type layout struct {
	name       string // for people
	mark       string // a tensor that tells the family
	mean, std  [3]float64
	sources    func(ours string) []source // of a parameter of ours, the best first
	reason     func(theirs string) string // why a tensor is not used; "": not known
	classifier string                     // weight of the last layer, a row per class
	config     func(f *External) (model.Config, error)
}

// A source is what a parameter is made of.
type source struct {
	from  []string
	needs string                                    // another tensor that must be there, "": none
	fits  func(shapes [][]int64, want []int64) bool // nil: the one shape is the parameter's
	make  func(in []array, want []int64) []float32  // nil: the one array as it is
}

type array struct {
	shape  []int64
	values []float32
}

// HalfMean and HalfStd normalise images to −1…1, as timm does for BiT and most ViTs.
var (
	HalfMean = [3]float64{127.5, 127.5, 127.5}
	HalfStd  = HalfMean
)

// CLIPMean and CLIPStd normalise images as OpenAI's CLIP.
var (
	CLIPMean = [3]float64{122.7709383, 116.7460125, 104.09373615}
	CLIPStd  = [3]float64{68.5005327, 66.6321579, 70.32316305}
)

// relatives tells networks of kinds that this program has not by a part of their tensors' names.
var relatives = []struct{ mark, what string }{
	{".se.channel.", "CBAM's attention"},
	{".paths.0.conv", "selective kernels (SKNet)"},
	{"conv2.fc1.", "split attention (ResNeSt)"},
	{".se_module.", "squeeze-excitation by older names"},
	{".eca.", "efficient channel attention"},
	{"relative_position_bias", "relative position biases (BEiT, Swin)"},
	{"attn.rel_pos", "relative positions (SAM)"},
	{"dist_token", "a distillation token (DeiT's distilled)"},
	{"reg_token", "register tokens"},
	{"register_tokens", "register tokens"},
	{"attn_pool.", "attention pooling (SigLIP)"},
	{"mlp.w12.", "gated perceptrons"},
	{"mlp.fc1_g.", "gated perceptrons"},
	{"attn.norm.", "norms within attention"},
	{"mlp.norm.", "norms within perceptrons"},
	{"attn.q_bias", "biases of queries and values only (BEiT)"},
}

var layouts = []layout{
	{"torchvision Mask R-CNN", "backbone.body.conv1.weight", network.ImageNetMean, network.ImageNetStd, maskRCNNSources, maskRCNNReason, "roi_heads.box_predictor.cls_score.weight", resnetConfig("backbone.body.")},
	{"torchvision ViT", "conv_proj.weight", network.ImageNetMean, network.ImageNetStd, torchvisionViTSources, classifierReason("heads."), "heads.head.weight", vitConfig("class_token", "conv_proj.weight", "encoder.pos_embedding", "encoder.layers.encoder_layer_", "mlp.0.weight", "mlp.linear_1.weight")},
	{"timm ViT", "patch_embed.proj.weight", HalfMean, HalfStd, timmSources("head."), classifierReason("head."), "head.weight", vitConfig("cls_token", "patch_embed.proj.weight", "pos_embed", "blocks.", "mlp.fc1.weight")},
	{"timm BiT", "stages.0.blocks.0.norm1.weight", HalfMean, HalfStd, timmSources("head.fc."), classifierReason("head."), "head.fc.weight", bitConfig},
	{"torchvision or timm ResNet", "layer1.0.conv1.weight", network.ImageNetMean, network.ImageNetStd, timmSources("fc."), classifierReason("fc."), "fc.weight", resnetConfig("")},
}

func resnetConfig(prefix string) func(f *External) (model.Config, error) {
	return func(f *External) (model.Config, error) {
		c, b, stem := model.DefaultConfig(), model.ResNetConfig{}, "conv1.weight"
		switch shape := f.shape(prefix + stem); {
		case shape == nil:
			b.Stem, stem = model.StemDeep, "conv1.6.weight"
		case len(shape) == 4 && shape[2] == 3:
			b.Stem = model.StemSmall
		}
		if s := f.shape(prefix + "layer2.0.downsample.1.weight"); len(s) == 4 {
			b.Variant.AverageShortcut = true
		}
		if s := f.shape(prefix + "layer4.0.se.fc1.weight"); len(s) == 4 && s[0] > 0 {
			b.Variant.Squeeze = s[1] / s[0]
		}
		if s := f.shape("backbone.fpn.layer_blocks.0.0.weight"); len(s) == 4 {
			c.FPN = s[0]
		}
		var err error
		c.Backbone, err = f.layers(prefix, stem, "layer", func(layers int, width float64) model.BackboneConfig {
			b := b
			if b.Layers, b.Width = layers, width; layers >= 50 {
				b.Variant.Groups, b.Variant.GroupWidth = groups(f.shape(prefix+"layer1.0.conv2.weight"), f.shape(prefix + stem)[0])
			}
			return b
		})
		return c, err
	}
}

func bitConfig(f *External) (c model.Config, err error) {
	c = model.DefaultConfig()
	stem := ""
	if f.shape("norm.running_mean") != nil {
		return c, errors.New("a ResNet-v2 of batch norms")
	}
	if s := f.shape("stem.conv.weight"); len(s) == 4 && s[2] == 3 {
		stem = model.StemSmall
	}
	c.Backbone, err = f.layers("", "stem.conv.weight", "stages", func(layers int, width float64) model.BackboneConfig {
		return model.BiTConfig{Layers: layers, Width: width, Stem: stem}
	})
	return c, err
}

// vitConfig reads the sizes off a ViT's shapes. How many heads share a token is not among them, unless
// each has norms: as published, each has 64 values of it, and 80 in ViT-H.
func vitConfig(class, proj, positions, blocks string, hidden ...string) func(f *External) (model.Config, error) {
	return func(f *External) (config model.Config, err error) {
		config = model.DefaultConfig()
		p, at := f.shape(proj), f.shape(positions)
		switch {
		case len(p) != 4 || p[0] < 1:
			return config, fmt.Errorf("%s has shape %v where a ViT has [width, 3, patch, patch]", proj, p)
		case len(at) != 3:
			return config, fmt.Errorf("it has no learned positions %s of [1, patches, width]", positions)
		case f.shape(class) == nil:
			return config, fmt.Errorf("a ViT without a class token %s", class)
		}
		c := model.ViTConfig{Patch: p[2], Dim: p[0], Heads: max(1, p[0]/64)}
		if c.Dim == 1280 {
			c.Heads = 16
		}
		if norm := f.shape(blocks + "0.attn.q_norm.weight"); len(norm) == 1 && norm[0] > 0 {
			c.Variant.QKNorm, c.Heads = true, max(1, c.Dim/norm[0])
		}
		for c.Dim%c.Heads != 0 {
			c.Heads--
		}
		if c.Grid = gridOf(at[1]); c.Grid == 0 {
			return config, fmt.Errorf("its %d positions are no square of patches, nor one more", at[1])
		}
		for _, name := range hidden {
			if s := f.shape(blocks + "0." + name); len(s) == 2 && s[0] != 4*c.Dim {
				c.Variant.MLP = s[0]
			}
		}
		c.Variant.PreNorm = f.shape("norm_pre.weight") != nil
		c.Variant.MeanToken = f.shape("fc_norm.weight") != nil
		layers := map[string]bool{}
		for name := range f.shapes {
			if name, ok := strings.CutPrefix(name, f.prefix+blocks); ok {
				number, _, _ := strings.Cut(name, ".")
				layers[number] = true
			}
		}
		c.Layers = len(layers)
		config.Backbone = c
		return config, nil
	}
}

// timmSources are those of layouts whose names are ours.
func timmSources(classifier string) func(ours string) []source {
	return func(ours string) []source {
		if name, ok := strings.CutPrefix(ours, "heads."+classification.Name+"."); ok {
			return []source{{from: []string{classifier + name}}}
		}
		name, ok := strings.CutPrefix(ours, "backbone.")
		if !ok {
			return nil
		}
		return backboneSources(name, name)
	}
}

// backboneSources are those of a backbone's parameter: of a ViT's position embeddings with regard to the
// grid, and of the layers behind which it has a factor per channel (LayerScale, Touvron et al. 2021)
// with that multiplied in.
func backboneSources(ours, theirs string) []source {
	plain := source{from: []string{theirs}}
	if ours == "pos_embed" {
		plain.fits = func(shapes [][]int64, want []int64) bool {
			return len(shapes[0]) == 3 && shapes[0][2] == want[2] && gridOf(shapes[0][1]) > 0 && gridOf(want[1]) > 0
		}
		plain.make = func(in []array, want []int64) []float32 {
			n, v := in[0].shape[1], in[0].values
			grid := gridOf(n)
			if grid*grid == n { // none for the class token (DeiT III): nothing is added to it
				v = append(make([]float32, want[2]), v...)
			}
			return resamplePositions(v, grid, gridOf(want[1]), want[2])
		}
	}
	var sources []source
	for suffix, factors := range layerScales {
		if block, ok := strings.CutSuffix(theirs, suffix); ok {
			for _, f := range factors {
				sources = append(sources, scaled(theirs, block+f))
			}
		}
	}
	sources = append(sources, plain)
	if strings.HasSuffix(theirs, "attn.qkv.bias") || theirs == "patch_embed.proj.bias" { // left out in some: they add 0
		sources = append(sources, source{
			from: []string{strings.TrimSuffix(theirs, "bias") + "weight"},
			fits: func(shapes [][]int64, want []int64) bool { return len(shapes[0]) > 1 && shapes[0][0] == want[0] },
			make: func(_ []array, want []int64) []float32 { return make([]float32, want[0]) },
		})
	}
	return sources
}

// layerScales are timm's names of a block's factors by what they follow.
var layerScales = map[string][]string{
	"attn.proj.weight": {"ls1.gamma", "gamma_1"}, "attn.proj.bias": {"ls1.gamma", "gamma_1"},
	"mlp.fc2.weight": {"ls2.gamma", "gamma_2"}, "mlp.fc2.bias": {"ls2.gamma", "gamma_2"},
}

// scaled multiplies each output of a layer by a factor.
func scaled(theirs, factors string) source {
	return source{
		from: []string{theirs, factors},
		fits: func(shapes [][]int64, want []int64) bool {
			return slices.Equal(shapes[0], want) && slices.Equal(shapes[1], want[:1])
		},
		make: func(in []array, want []int64) []float32 {
			v := slices.Clone(in[0].values)
			each := len(v) / int(want[0])
			for i := range v {
				v[i] *= in[1].values[i/each]
			}
			return v
		},
	}
}

// gridOf returns the side of the grid that n positions are for, with one for the class token or
// without; 0 if there is none.
func gridOf(n int64) int64 {
	for _, patches := range []int64{n - 1, n} {
		if side := int64(math.Sqrt(float64(max(0, patches)))); side > 0 && side*side == patches {
			return side
		}
	}
	return 0
}

// torchvisionViT maps parts of our names to torchvision's, the newer names of the MLP first.
var torchvisionViT = [][2]*strings.Replacer{
	{strings.NewReplacer("cls_token", "class_token", "pos_embed", "encoder.pos_embedding", "patch_embed.proj", "conv_proj", "blocks.", "encoder.layers.encoder_layer_"),
		strings.NewReplacer("attn.qkv.", "self_attention.in_proj_", "attn.proj", "self_attention.out_proj", "norm1", "ln_1", "norm2", "ln_2", "mlp.fc1", "mlp.0", "mlp.fc2", "mlp.3")},
	{strings.NewReplacer("blocks.", "encoder.layers.encoder_layer_"), strings.NewReplacer("mlp.fc1", "mlp.linear_1", "mlp.fc2", "mlp.linear_2")},
}

func torchvisionViTSources(ours string) []source {
	if name, ok := strings.CutPrefix(ours, "heads."+classification.Name+"."); ok {
		return []source{{from: []string{"heads.head." + name}}}
	}
	name, ok := strings.CutPrefix(ours, "backbone.")
	if !ok {
		return nil
	}
	if last, ok := strings.CutPrefix(name, "norm."); ok {
		return []source{{from: []string{"encoder.ln." + last}}}
	}
	var sources []source
	for _, r := range torchvisionViT {
		sources = append(sources, backboneSources(name, r[1].Replace(r[0].Replace(name)))...)
	}
	return sources
}

func classifierReason(prefix string) func(theirs string) string {
	return func(theirs string) string {
		switch {
		case strings.HasPrefix(theirs, prefix):
			return "the classifier"
		case strings.HasPrefix(theirs, "head_dist."):
			return "the head of a distillation token"
		case strings.HasPrefix(theirs, "decoder_"), theirs == "mask_token":
			return "of its pretraining"
		}
		return ""
	}
}

// A module gives the source of one of its tensors: "weight", "bias", "running_mean" or "running_var".
type module func(kind string) source

// maskRCNN holds, by our modules, those of torchvision's Mask R-CNN and, as far as it goes, Faster R-CNN
// and RetinaNet: of the first and the second version, and with the names from before torchvision 0.13.
var maskRCNN = func() map[string][]module {
	const det = "heads." + detection.Name + "."
	m := map[string][]module{
		"neck.p6":              {plain("backbone.fpn.extra_blocks.p6")},
		"neck.p7":              {plain("backbone.fpn.extra_blocks.p7")},
		det + "rpn.conv0":      {plain("rpn.head.conv.0.0"), plain("rpn.head.conv")},
		det + "rpn.conv1":      {plain("rpn.head.conv.1.0"), identity("rpn.head.conv.0.0"), identity("rpn.head.conv")},
		det + "rpn.objectness": {plain("rpn.head.cls_logits")},
		det + "rpn.delta":      {plain("rpn.head.bbox_pred")},
		det + "box.fc":         {plain("roi_heads.box_head.5")},
		det + "box.class":      {behindFC("roi_heads.box_predictor.cls_score")},
		det + "box.delta":      {behindFC("roi_heads.box_predictor.bbox_pred")},
		det + "mask.deconv":    {plain("roi_heads.mask_predictor.conv5_mask")},
		det + "mask.linear":    {withoutBackground("roi_heads.mask_predictor.mask_fcn_logits")},
	}
	for i := range 4 {
		inner, layer := fmt.Sprint("backbone.fpn.inner_blocks.", i), fmt.Sprint("backbone.fpn.layer_blocks.", i)
		m[fmt.Sprint("neck.lateral", i+2)] = []module{folded(inner), plain(inner + ".0"), plain(inner)}
		m[fmt.Sprint("neck.output", i+2)] = []module{folded(layer), plain(layer + ".0"), plain(layer)}
		box, mask, old := fmt.Sprint("roi_heads.box_head.", i), fmt.Sprint("roi_heads.mask_head.", i), fmt.Sprint("roi_heads.mask_head.mask_fcn", i+1)
		m[fmt.Sprintf("%sbox.tower.%d.conv", det, i)] = []module{plain(box + ".0")}
		m[fmt.Sprintf("%sbox.tower.%d.norm", det, i)] = []module{plain(box + ".1")}
		m[fmt.Sprintf("%smask.tower.%d.conv", det, i)] = []module{plain(mask + ".0"), plain(old)}
		m[fmt.Sprintf("%smask.tower.%d.norm", det, i)] = []module{plain(mask + ".1"), biasAsNorm(mask + ".0"), biasAsNorm(old)}
	}
	return m
}()

func maskRCNNSources(ours string) (sources []source) {
	if name, ok := strings.CutPrefix(ours, "backbone."); ok {
		return []source{{from: []string{"backbone.body." + name}}}
	}
	dot := strings.LastIndexByte(ours, '.')
	for _, m := range maskRCNN[ours[:dot]] {
		sources = append(sources, m(ours[dot+1:]))
	}
	return sources
}

func maskRCNNReason(theirs string) string {
	switch {
	case strings.HasPrefix(theirs, "roi_heads.box_head.fc"):
		return "its box head is two layers, this one four convolutions and a layer"
	case strings.HasPrefix(theirs, "roi_heads.box_predictor."):
		return "it reads its own box head's last layer"
	case strings.HasPrefix(theirs, "roi_heads."), strings.HasPrefix(theirs, "rpn."):
		return "a head"
	case strings.HasPrefix(theirs, "head."):
		return "RetinaNet's heads"
	case strings.HasPrefix(theirs, "backbone.fpn."):
		return "the pyramid"
	}
	return ""
}

// plain takes a tensor as it is.
func plain(theirs string) module {
	return func(kind string) source { return source{from: []string{theirs + "." + kind}} }
}

// epsilon is that of the batch norms.
const epsilon = 1e-5

// folded makes a convolution of one without a bias (theirs.0) and its batch norm (theirs.1), which
// this network's pyramid has not: w·g/σ and b − μ·g/σ.
func folded(theirs string) module {
	norm := theirs + ".1."
	return func(kind string) source {
		s := source{from: []string{theirs + ".0.weight", norm + "weight", norm + "running_var"}}
		if kind == "bias" {
			s.from = []string{norm + "bias", norm + "weight", norm + "running_var", norm + "running_mean"}
		}
		s.fits = func(shapes [][]int64, want []int64) bool {
			for _, shape := range shapes[1:] {
				if !slices.Equal(shape, want[:1]) {
					return false
				}
			}
			return slices.Equal(shapes[0], want)
		}
		s.make = func(in []array, want []int64) []float32 {
			v := slices.Clone(in[0].values)
			each := len(v) / int(want[0])
			for i := range v {
				c := i / each
				scale := float64(in[1].values[c]) / math.Sqrt(float64(in[2].values[c])+epsilon)
				if kind == "bias" {
					v[i] -= float32(scale * float64(in[3].values[c]))
				} else {
					v[i] = float32(scale * float64(v[i]))
				}
			}
			return v
		}
		return s
	}
}

// identity makes a 3×3 convolution that passes on what is not negative: the second of this RPN, where
// theirs has one only.
func identity(theirs string) module {
	return func(kind string) source {
		return source{from: []string{theirs + "." + kind}, make: func(_ []array, want []int64) []float32 {
			if kind == "bias" {
				return make([]float32, want[0])
			}
			v := make([]float32, want[0]*want[1]*9)
			for c := range min(want[0], want[1]) {
				v[(c*want[1]+c)*9+4] = 1
			}
			return v
		}}
	}
}

// behindFC takes a predictor that reads the layer which is box.fc here; behind another it means nothing.
func behindFC(theirs string) module {
	return func(kind string) source {
		return source{from: []string{theirs + "." + kind}, needs: "roi_heads.box_head.5.weight"}
	}
}

// withoutBackground leaves out the mask of class 0, which is none.
func withoutBackground(theirs string) module {
	return func(kind string) source {
		return source{
			from: []string{theirs + "." + kind},
			fits: func(shapes [][]int64, want []int64) bool {
				s := slices.Clone(want)
				s[0]++
				return slices.Equal(shapes[0], s)
			},
			make: func(in []array, want []int64) []float32 {
				return in[0].values[len(in[0].values)/int(want[0]+1):]
			},
		}
	}
}

// biasAsNorm makes a batch norm that adds the bias of a convolution, as long as it keeps its
// statistics, where theirs has no norm.
func biasAsNorm(theirs string) module {
	return func(kind string) source {
		return source{from: []string{theirs + ".bias"}, make: func(in []array, want []int64) []float32 {
			switch kind {
			case "bias":
				return in[0].values
			case "weight":
				return slices.Repeat([]float32{1}, int(want[0]))
			case "running_var":
				return slices.Repeat([]float32{1 - epsilon}, int(want[0]))
			}
			return make([]float32, want[0])
		}}
	}
}

// resamplePositions brings the position embeddings of from² patches, behind the class token's, to a
// grid of to² as torchvision's interpolate_embeddings does: bicubic (a = −0.75), corner on corner.
func resamplePositions(v []float32, from, to, dim int64) []float32 {
	if from == to {
		return v
	}
	type tap struct {
		at     [4]int64
		weight [4]float64
	}
	taps := make([]tap, to)
	for i := range taps {
		x := 0.
		if to > 1 {
			x = float64(i) * float64(from-1) / float64(to-1)
		}
		floor := math.Floor(x)
		for k := range 4 {
			d := math.Abs(x - floor + 1 - float64(k))
			taps[i].at[k] = min(max(int64(floor)-1+int64(k), 0), from-1)
			if d <= 1 {
				taps[i].weight[k] = (1.25*d-2.25)*d*d + 1
			} else {
				taps[i].weight[k] = ((-0.75*d+3.75)*d-6)*d + 3
			}
		}
	}
	out := append(make([]float32, 0, (1+to*to)*dim), v[:dim]...)
	grid := v[dim:]
	for _, row := range taps {
		for _, column := range taps {
			for c := range dim {
				sum := 0.
				for j, y := range row.at {
					for k, x := range column.at {
						sum += row.weight[j] * column.weight[k] * float64(grid[(y*from+x)*dim+c])
					}
				}
				out = append(out, float32(sum))
			}
		}
	}
	return out
}
