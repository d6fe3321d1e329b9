package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"must/torch"
	"must/torch/goldentest"
)

// golden holds what torchvision and timm compute; testdata/make_golden.py makes it.
type golden struct {
	Names  map[string]string // of a ResNet by its depth, bit and vit: the hash of all names and shapes
	ResNet map[int]struct {
		Eval, Train   [][]float64
		Grad, Running map[string][]float64
	}
	BiT struct {
		Levels [][]float64
		Pooled []float64
		Grad   map[string][]float64
	}
	ViT struct {
		Tokens map[int64][]float64 // by the side of the image
		Grad   map[string][]float64
	}
	Pyramid [][]float64
	Fused   []float64
	Simple  map[int64][][]float64 // by the side of a patch
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	goldentest.Read(t, &g)
	return g
}

// formula is the state of a set whose values follow from names and shapes.
func formula(s *Set) map[string][]float32 {
	state := map[string][]float32{}
	for _, p := range s.All() {
		state[p.Name] = goldentest.Parameter(p.Name, p.Shape)
	}
	return state
}

// some picks the values of a tensor that make_golden.py stores.
func some(x *torch.Tensor, n int) []float64 {
	return goldentest.Some(torch.Values[float64](x.As(torch.Double)), n)
}

func do(t *testing.T, f func()) {
	t.Helper()
	if err := torch.Do(f); err != nil {
		t.Fatal(err)
	}
}

// input returns n images by the formula.
func input(d torch.DType, shape ...int64) *torch.Tensor {
	return noise("input", d, shape...)
}

func noise(name string, d torch.DType, shape ...int64) *torch.Tensor {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return torch.From(goldentest.Noise(name, n), shape...).As(d)
}

// backward computes the gradients of x's sum with weights by the formula.
func backward(x *torch.Tensor, weight string) {
	x.Mul(noise(weight, x.DType(), x.Shape()...)).Sum().Backward()
}

// with builds what declare declares from formula values and frees it after f.
func with[M any](t *testing.T, declare func(b Builder) M, f func(s *Set, m M)) {
	t.Helper()
	s, b := NewSet()
	m := declare(b)
	do(t, func() {
		s.Build(1)
		defer s.Free()
		if missing, unused, err := s.Load(formula(s)); err != nil || missing != nil || unused != nil {
			t.Fatal(missing, unused, err)
		}
		f(s, m)
	})
}

func resnet(depth int, width float64) func(b Builder) *ResNet {
	return func(b Builder) *ResNet {
		return NewResNet(b.In("backbone"), ResNetConfig{Layers: depth, Width: width})
	}
}

// Outputs in both modes are torchvision's, in float64 to the last digits, and so are running statistics and
// gradients.
func TestResNetIsTorchvisions(t *testing.T) {
	for depth, g := range readGolden(t).ResNet {
		with(t, resnet(depth, 1), func(s *Set, r *ResNet) {
			what := fmt.Sprintf("ResNet-%d", depth)
			torch.NoGrad(func() {
				c, _ := r.Forward(input(torch.Float, 2, 3, 96, 96).ChannelsLast(), Mode{})
				nearMaps(t, what, c, g.Eval, 1e-3)
				c, _ = r.Forward(input(torch.Float, 2, 3, 96, 96), Mode{Train: true})
				nearMaps(t, what+" in training", c, g.Train, 5e-3)
			})
			s.Load(formula(s)) // running statistics have moved
			s.Double()
			x := input(torch.Double, 2, 3, 96, 96).ChannelsLast()
			torch.NoGrad(func() {
				c, _ := r.Forward(x, Mode{})
				nearMaps(t, what, c, g.Eval, exact)
			})
			c, _ := r.Forward(x, Mode{Train: true})
			nearMaps(t, what+" in training", c, g.Train, exact)
			backward(c[3], "weight of C5")
			nearGrad(t, what, s, g.Grad)
			for _, p := range s.Buffers {
				if want, ok := g.Running[strings.TrimPrefix(p.Name, "backbone.")]; ok {
					goldentest.Near(t, what+", "+p.Name, some(p.T, 40), want, exact)
				}
			}
		})
	}
}

// exact is how far values in float64 may be from the stored ones: constants such as a momentum of 0.1 are
// rounded to float32.
const exact = 1e-6

// nearMaps compares the maps C2 to C5.
func nearMaps(t *testing.T, what string, c [4]*torch.Tensor, want [][]float64, tolerance float64) {
	t.Helper()
	for i := range c {
		goldentest.Near(t, fmt.Sprintf("%s, %v, C%d", what, c[i].DType(), i+2), some(c[i], 40), want[i], tolerance)
	}
}

// nearGrad compares gradients in float64, by the names of the backbone's parameters.
func nearGrad(t *testing.T, what string, s *Set, want map[string][]float64) {
	t.Helper()
	grad := torch.Values[float64](s.Flat.Grad)
	compared := 0
	for _, p := range s.Params {
		if w, ok := want[strings.TrimPrefix(p.Name, "backbone.")]; ok {
			goldentest.Near(t, what+", gradient of "+p.Name, goldentest.Some(grad[p.at:][:p.Len()], 40), w, exact)
			compared++
		}
	}
	if compared != len(want) || compared == 0 {
		t.Errorf("%s: %d gradients compared of %d stored", what, compared, len(want))
	}
}

// tinyViT is the ViT of the golden values.
var tinyViT = Config{Backbone: ViTConfig{Patch: 8, Grid: 4, Dim: 32, Heads: 4, Layers: 3}, FPN: 8, Head: 8, BoxFC: 8}

// All parameters and buffers have the names and shapes of torchvision's ResNets and timm's BiT and ViT.
func TestNamesAreTheFields(t *testing.T) {
	for name, want := range readGolden(t).Names {
		c := Config{Backbone: BiTConfig{Layers: 50, Width: 1}}
		switch depth, err := strconv.Atoi(name); {
		case err == nil:
			c = Config{Backbone: ResNetConfig{Layers: depth, Width: 1}}
		case name == "vit":
			c = tinyViT
		}
		s, b := NewSet()
		if _, err := NewTrunk(b, c, false); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, p := range s.All() {
			lines = append(lines, strings.TrimPrefix(p.Name, "backbone.")+" "+strings.ReplaceAll(fmt.Sprint(p.Shape), " ", ", ")+"\n")
		}
		slices.Sort(lines)
		if sum := sha256.Sum256([]byte(strings.Join(lines, ""))); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s: other names or shapes:\n%s", name, lines)
		}
	}
}

// trunk declares a trunk without pyramid.
func trunk(t *testing.T, c Config) func(b Builder) *Trunk {
	return func(b Builder) *Trunk {
		trunk, err := NewTrunk(b, c, false)
		if err != nil {
			t.Fatal(err)
		}
		return trunk
	}
}

// Maps, the image's feature and gradients are those of timm's resnetv2_50x1_bit.
func TestBiTIsTimms(t *testing.T) {
	g := readGolden(t).BiT
	with(t, trunk(t, Config{Backbone: BiTConfig{Layers: 50, Width: 1}}), func(s *Set, trunk *Trunk) {
		x := input(torch.Float, 2, 3, 96, 96)
		c, pooled := trunk.Backbone.Forward(x.ChannelsLast(), Mode{})
		if pooled != nil {
			t.Error("the mean of C5 is computed though no one may need it")
		}
		nearMaps(t, "BiT", c, g.Levels, 1e-3)
		s.Double()
		x = x.As(torch.Double)
		c, _ = trunk.Backbone.Forward(x.ChannelsLast(), Mode{})
		nearMaps(t, "BiT", c, g.Levels, exact)
		goldentest.Near(t, "pooled", some(trunk.Forward(x, Mode{}).Pooled(), 40), g.Pooled, exact)
		backward(c[3], "weight of C5")
		nearGrad(t, "BiT", s, g.Grad)
	})
}

// Tokens and gradients are those of torchvision's VisionTransformer, and also where the grid of
// patches is not that of the position embeddings.
func TestViTIsTorchvisions(t *testing.T) {
	g := readGolden(t).ViT
	for size, want := range g.Tokens {
		with(t, trunk(t, tinyViT), func(s *Set, trunk *Trunk) {
			v := trunk.Backbone.(*ViT)
			x := input(torch.Float, 2, 3, size, size).ChannelsLast()
			tokens := v.Encode(v.Embed(x))
			goldentest.Near(t, fmt.Sprint("tokens of size ", size), some(tokens, 80), want, 1e-4)
			f := trunk.Forward(x, Mode{})
			goldentest.Near(t, "class token", some(f.Pooled(), 9), some(tokens.Select(1, 0), 9), 0)
			goldentest.Near(t, "map", some(f.C5.Flatten(2, 3).Transpose(1, 2), 9), some(tokens.Narrow(1, 1, tokens.Size(1)-1), 9), 0)
			if vit := tinyViT.Backbone.(ViTConfig); size == vit.Grid*vit.Patch {
				s.Double()
				backward(v.Encode(v.Embed(x.As(torch.Double))), "weight of tokens")
				nearGrad(t, "ViT", s, g.Grad)
			}
		})
	}
}

func TestPyramidIsTorchvisions(t *testing.T) {
	g := readGolden(t)
	channels := [4]int64{8, 16, 24, 32}
	with(t, func(b Builder) *fpn { return newFPN(b.In("neck"), channels, 12) }, func(_ *Set, n *fpn) {
		var c [4]*torch.Tensor
		for i, k := range channels {
			h, w := int64(96>>(i+2)), (80+int64(4)<<i-1)/(4<<i)
			c[i] = noise(fmt.Sprint("C", i+2), torch.Float, 2, k, h, w)
		}
		f := &Features{P: n.forward(c)}
		for i := range f.P {
			goldentest.Near(t, fmt.Sprint("P", i+2), some(f.Level(i+2), 40), g.Pyramid[i], 1e-5)
		}
		goldentest.Near(t, "fused P2", some(f.Fused(), 200), g.Fused, 1e-5)
	})
}

// The simple pyramid makes of a map of any patch's stride what ViTDet makes of it.
func TestSimplePyramid(t *testing.T) {
	for patch, want := range readGolden(t).Simple {
		with(t, func(b Builder) *simplePyramid { return newSimplePyramid(b.In("neck"), patch, 32, 12) }, func(_ *Set, n *simplePyramid) {
			h, w := 96/patch, 64/patch
			p := n.forward([4]*torch.Tensor{3: noise("map", torch.Float, 2, 32, h, w).ChannelsLast()})
			for i, want := range want {
				goldentest.Near(t, fmt.Sprintf("patch %d, P%d", patch, i+2), some(p[i], 40), want, 1e-5)
			}
			for i, stride := range Strides {
				if got, want := fmt.Sprint(p[i].Shape()), fmt.Sprint([]int64{2, 12, (96 + stride - 1) / stride, (64 + stride - 1) / stride}); got != want {
					t.Errorf("patch %d, P%d: %s, want %s", patch, i+2, got, want)
				}
			}
		})
	}
}
