package model

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"must/strict"
	"must/torch"
	"must/torch/goldentest"
)

// tiny are small trunks of every kind.
var tiny = map[string]Config{
	"resnet": {Backbone: ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 8},
	"bit":    {Backbone: BiTConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 8},
	"vit":    tinyViT,
}

func TestConfigCheck(t *testing.T) {
	for name, c := range tiny {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	vit := func(change func(c *ViTConfig)) BackboneConfig {
		c := tinyViT.Backbone.(ViTConfig)
		change(&c)
		return c
	}
	for want, b := range map[string]BackboneConfig{
		"backbone is missing":              nil,
		"has 51 layers":                    BiTConfig{Layers: 51, Width: 1},
		`stem is "tiny"`:                   BiTConfig{Layers: 18, Width: 1, Stem: "tiny"},
		`stem is "deep"; of a bit`:         BiTConfig{Layers: 18, Width: 1, Stem: StemDeep},
		"of 50 layers and more":            ResNetConfig{Layers: 18, Width: 1, Variant: ResNetVariant{Groups: 2}},
		"variant.squeeze is -1":            ResNetConfig{Layers: 18, Width: 1, Variant: ResNetVariant{Squeeze: -1}},
		"patch is 14; it must be 4, 8, 16": vit(func(c *ViTConfig) { c.Patch = 14 }),
		"grid is 0":                        vit(func(c *ViTConfig) { c.Grid = 0 }),
		"dim is 5000":                      vit(func(c *ViTConfig) { c.Dim = 5000 }),
		"heads is 5; it must divide dim":   vit(func(c *ViTConfig) { c.Heads = 5 }),
		"layers is 257":                    vit(func(c *ViTConfig) { c.Layers = 257 }),
		"variant.mlp is -1":                vit(func(c *ViTConfig) { c.Variant.MLP = -1 }),
	} {
		c := tinyViT
		c.Backbone = b
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	none := tinyViT
	if none.FPN = 0; none.Check() == nil {
		t.Error("no channels of the pyramid")
	}
	if err := tinyViT.Backbone.CheckSize(72); err == nil || !strings.Contains(err.Error(), "such as 96") {
		t.Error(err)
	}
	if err := tinyViT.Backbone.CheckSize(64); err != nil {
		t.Error(err)
	}
	if err := tiny["bit"].Backbone.CheckSize(71); err != nil {
		t.Error(err)
	}
}

func TestSame(t *testing.T) {
	c := tiny["resnet"]
	c.Head, c.BoxFC, c.Norm = 9, 9, NormBatch
	c.Backbone = ResNetConfig{Layers: 18, Width: 0.125, Variant: ResNetVariant{Groups: 1, GroupWidth: 64}} // the defaults, written out
	if err := tiny["resnet"].Same(c); err != nil {
		t.Error(err)
	}
	v := tinyViT
	v.Backbone = ViTConfig{Patch: 8, Grid: 4, Dim: 32, Heads: 4, Layers: 3, Variant: ViTVariant{MLP: 128}}
	if err := tinyViT.Same(v); err != nil {
		t.Error(err)
	}
	c.Backbone = ResNetConfig{Layers: 18, Width: 0.125, Stem: StemSmall}
	v.Backbone = ViTConfig{Patch: 8, Grid: 4, Dim: 32, Heads: 2, Layers: 3}
	g := tiny["resnet"]
	g.Norm = NormGroup
	for _, o := range []Config{tiny["bit"], tinyViT, c, v, g} {
		for _, from := range tiny {
			err := from.Same(o)
			if (err == nil) != (from == o) {
				t.Errorf("%v and %v: %v", from, o, err)
			}
			if from != o && from.String() == o.String() {
				t.Errorf("%v is told as %v", from, o)
			}
		}
	}
}

// A recipe changes what it names; what both kinds of backbone have stays.
func TestConfigInRecipes(t *testing.T) {
	for text, want := range map[string]BackboneConfig{
		"{width: 0.5}":                   ResNetConfig{Layers: 50, Width: 0.5},
		"{backbone: resnet18}":           ResNetConfig{Layers: 18, Width: 1},
		"{backbone: bit34, stem: small}": BiTConfig{Layers: 34, Width: 1, Stem: StemSmall},
		"{backbone: vit, patch: 8, width: 2, variant: {pre_norm: true}}": ViTConfig{Patch: 8, Variant: ViTVariant{PreNorm: true}},
		"{variant: {squeeze: 16}}":                                       ResNetConfig{Layers: 50, Width: 1, Variant: ResNetVariant{Squeeze: 16}},
	} {
		c := read(t, text, DefaultConfig())
		if c.Backbone != want || c.FPN != 256 {
			t.Errorf("%s: %+v, want %+v", text, c, want)
		}
		b, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again := read(t, string(b), Config{}); again != c {
			t.Errorf("%s is read as %+v, was %+v", b, again, c)
		}
		kept := read(t, "{backbone: bit18}", read(t, "{backbone: resnet18, width: 0.25, fpn: 64}", DefaultConfig()))
		if kept != (Config{Backbone: BiTConfig{Layers: 18, Width: 0.25}, FPN: 64, Head: 256, BoxFC: 1024}) {
			t.Errorf("a BiT in place of a ResNet: %+v", kept)
		}
	}
	for text, want := range map[string]string{
		"{depth: 18}":                    "write backbone: resnet18",
		"{backbone: swin}":               `"swin"; it must be one of resnet18, resnet34`,
		"{patch: 8}":                     "model.patch is of vit; the backbone is resnet50",
		"{backbone: vit, stem: small}":   "model.stem is of resnet; the backbone is vit",
		"{backbone: bit18, variant: {}}": "model.variant is of resnet",
		"{widht: 8}":                     `did you mean "width"`,
		"{variant: {mlp: 8}}":            "mlp",
		"[1]":                            "keys and values",
	} {
		var r struct {
			Model Config `yaml:"model"`
		}
		r.Model = DefaultConfig()
		n, err := strict.Parse([]byte("model: "+text), "a recipe")
		if err == nil {
			err = strict.Decode(n, &r)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func read(t *testing.T, text string, c Config) Config {
	t.Helper()
	n, err := strict.Parse([]byte(text), "a model")
	if err == nil {
		err = strict.Decode(n, &c)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// Checkpoints say what they always said.
func TestConfigInCheckpoints(t *testing.T) {
	for text, want := range map[string]Config{
		`{"depth":18,"width":0.125,"fpn":8,"head":8,"box_fc":8}`:                                          tiny["resnet"],
		`{"backbone":"bit","depth":18,"width":0.125,"fpn":8,"head":8,"box_fc":8}`:                         tiny["bit"],
		`{"backbone":"vit","patch":8,"grid":4,"dim":32,"heads":4,"layers":3,"fpn":8,"head":8,"box_fc":8}`: tinyViT,
		`{"depth":50,"width":1,"stem":"deep","variant":{"squeeze":16},"norm":"group","fpn":8,"head":8,"box_fc":8}`: {
			Backbone: ResNetConfig{Layers: 50, Width: 1, Stem: StemDeep, Variant: ResNetVariant{Squeeze: 16}}, Norm: NormGroup, FPN: 8, Head: 8, BoxFC: 8,
		},
	} {
		var c Config
		if err := json.Unmarshal([]byte(text), &c); err != nil || c != want {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
		if b, err := json.Marshal(c); err != nil || string(b) != text {
			t.Errorf("%s, %v, want %s", b, err, text)
		}
	}
	var c Config // of a ViT of earlier versions, which said a depth and a width that it did not read
	old := `{"backbone":"vit","depth":50,"width":1,"patch":8,"grid":4,"dim":32,"heads":4,"layers":3,"fpn":8,"head":8,"box_fc":8}`
	if err := json.Unmarshal([]byte(old), &c); err != nil || c != tinyViT {
		t.Errorf("%+v, %v", c, err)
	}
	if err := json.Unmarshal([]byte(`{"backbone":"swin"}`), &c); err == nil || !strings.Contains(err.Error(), `"swin"`) {
		t.Error(err)
	}
}

// A seed makes the same parameters whenever they are built, all of them finite, and what is built runs.
func TestBuildIsDeterministic(t *testing.T) {
	for name, c := range tiny {
		build := func(seed uint64) (state map[string][]float32) {
			s, b := NewSet()
			trunk := pyramid(t, c)(b)
			do(t, func() {
				s.Build(seed)
				defer s.Free()
				state = s.State()
				f := trunk.Forward(torch.From(goldentest.Noise("input", 2*3*64*64), 2, 3, 64, 64), Mode{Train: true})
				if got, want := f.Pooled().Size(1), trunk.Backbone.Width(); got != want {
					t.Errorf("%s: the feature of an image is %d wide, want %d", name, got, want)
				}
				f.Fused().Mul(torch.From(goldentest.Noise("weight", f.Fused().Len()), f.Fused().Shape()...)).Sum().Add(f.Pooled().Sum()).Backward()
				if !s.Flat.Grad.IsFinite().All() {
					t.Errorf("%s: gradients are not finite", name)
				}
			})
			return state
		}
		first := build(3)
		if !maps.EqualFunc(first, build(3), slices.Equal) {
			t.Errorf("%s: two builds from one seed differ", name)
		}
		if maps.EqualFunc(first, build(4), slices.Equal) {
			t.Errorf("%s: the seed changes nothing", name)
		}
	}
}

// Of a ViT, weights decay; norms, biases, class token and position embeddings do not.
func TestDecay(t *testing.T) {
	s, b := NewSet()
	trunk(t, tinyViT)(b)
	for _, p := range s.Params {
		if want := len(p.Shape) == 2 || len(p.Shape) == 4; p.decay != want {
			t.Errorf("%s of shape %v: decays %v", p.Name, p.Shape, p.decay)
		}
	}
}

// A small stem leaves the maps four times finer, which make no pyramid.
func TestSmallStem(t *testing.T) {
	for name, b := range map[string]BackboneConfig{
		"resnet": ResNetConfig{Layers: 18, Width: 0.125, Stem: StemSmall}, "bit": BiTConfig{Layers: 18, Width: 0.125, Stem: StemSmall},
	} {
		c := tiny[name]
		c.Backbone = b
		_, b := NewSet()
		if _, err := NewTrunk(b, c, true); err == nil || !strings.Contains(err.Error(), "do not make a pyramid") {
			t.Errorf("%s: %v", name, err)
		}
		with(t, trunk(t, c), func(_ *Set, trunk *Trunk) {
			f := trunk.Forward(torch.Zeros(torch.Float, 2, 3, 32, 32), Mode{})
			if got := f.C5.Shape(); !slices.Equal(got, []int64{2, 64, 4, 4}) {
				t.Errorf("%s: C5 of 32 pixels has shape %v", name, got)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	for c, want := range map[int64]int64{1: 1, 3: 1, 8: 4, 24: 12, 32: 16, 40: 20, 64: 32, 72: 24, 256: 32, 2048: 32} {
		_, b := NewSet()
		if got := NewGroupNorm(b, c).groups; got != want {
			t.Errorf("%d channels are in %d groups, want %d", c, got, want)
		}
	}
}

// Weights are standardised per output channel, and the gradient passes through that.
func TestStandardConv(t *testing.T) {
	with(t, func(b Builder) *Conv { return NewStandardConv(b, 3, 4, 3, 1) }, func(s *Set, c *Conv) {
		x := torch.From(goldentest.Noise("x", 2*3*5*5), 2, 3, 5, 5)
		w := torch.Values[float32](c.weight(x))
		for o := range 4 {
			sum, square := 0., 0.
			for _, v := range w[27*o:][:27] {
				sum += float64(v)
				square += float64(v) * float64(v)
			}
			if math.Abs(sum/27) > 1e-6 || math.Abs(square/27-1) > 1e-5 {
				t.Errorf("channel %d: mean %.3g, variance %.3g", o, sum/27, square/27)
			}
		}
		loss := func() *torch.Tensor {
			y := c.Forward(x)
			return y.Mul(torch.From(goldentest.Noise("weight of y", y.Len()), y.Shape()...)).Sum()
		}
		loss().Backward()
		grad, start := torch.Values[float32](s.Flat.Grad), torch.Values[float32](s.Flat.Data)
		differences := make([]float32, len(start))
		const step = 1e-2
		for i := range start {
			at := func(d float32) (v float64) {
				moved := slices.Clone(start)
				moved[i] += d
				torch.Load(s.Flat.Data, moved)
				torch.NoGrad(func() { v = loss().Item() })
				return v
			}
			differences[i] = float32((at(step) - at(-step)) / (2 * step))
		}
		goldentest.Near(t, "gradient against finite differences", grad, differences, 2e-3)
	})
}
