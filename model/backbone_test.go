package model

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"must/torch"
	"must/torch/goldentest"
)

// tiny are small trunks of every kind.
var tiny = map[string]Config{
	"resnet": {Depth: 18, Width: 0.125, FPN: 8, Head: 8, BoxFC: 8},
	"bit":    {Backbone: BackboneBiT, Depth: 18, Width: 0.125, FPN: 8, Head: 8, BoxFC: 8},
	"vit":    tinyViT,
}

func TestConfigCheck(t *testing.T) {
	for name, c := range tiny {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, c := range map[string]struct {
		of     string
		change func(c *Config)
	}{
		`backbone is "swin"; it must be resnet, bit or vit`: {"resnet", func(c *Config) { c.Backbone = "swin" }},
		"depth is 51":                      {"bit", func(c *Config) { c.Depth = 51 }},
		`stem is "tiny"`:                   {"bit", func(c *Config) { c.Stem = "tiny" }},
		"layers are of a vit":              {"resnet", func(c *Config) { c.Patch = 8 }},
		"a vit has none":                   {"vit", func(c *Config) { c.Stem = StemSmall }},
		"patch is 14; it must be 4, 8, 16": {"vit", func(c *Config) { c.Patch = 14 }},
		"grid is 0":                        {"vit", func(c *Config) { c.Grid = 0 }},
		"dim is 5000":                      {"vit", func(c *Config) { c.Dim = 5000 }},
		"heads is 5; it must divide dim":   {"vit", func(c *Config) { c.Heads = 5 }},
		"layers is 257":                    {"vit", func(c *Config) { c.Layers = 257 }},
		"fpn is 0":                         {"vit", func(c *Config) { c.FPN = 0 }},
	} {
		config := tiny[c.of]
		c.change(&config)
		if err := config.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := tinyViT.CheckSize(72); err == nil || !strings.Contains(err.Error(), "such as 96") {
		t.Error(err)
	}
	if err := tinyViT.CheckSize(64); err != nil {
		t.Error(err)
	}
	if err := tiny["bit"].CheckSize(71); err != nil {
		t.Error(err)
	}
}

func TestSame(t *testing.T) {
	c := tiny["resnet"]
	c.Backbone, c.Head, c.BoxFC = BackboneResNet, 9, 9
	if err := tiny["resnet"].Same(c); err != nil {
		t.Error(err)
	}
	v := tinyViT
	v.Depth, v.Width = 50, 1 // defaults of a recipe, which a ViT does not read
	if err := tinyViT.Same(v); err != nil {
		t.Error(err)
	}
	c.Stem = StemSmall
	v.Heads = 2
	for _, o := range []Config{tiny["bit"], tinyViT, c, v} {
		for _, from := range tiny {
			if err := from.Same(o); (err == nil) != (from == o) {
				t.Errorf("%v and %v: %v", from, o, err)
			}
		}
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
	for _, name := range []string{BackboneResNet, BackboneBiT} {
		c := tiny[name]
		c.Stem = StemSmall
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
