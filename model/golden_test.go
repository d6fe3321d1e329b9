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
		Eval, Train   [][]float32
		Grad, Running map[string][]float32
	}
	BiT struct {
		Levels [][]float32
		Pooled []float32
		Grad   map[string][]float32
	}
	ViT struct {
		Tokens map[int64][]float32 // by the side of the image
		Grad   map[string][]float32
	}
	Pyramid [][]float32
	Fused   []float32
	Simple  map[int64][][]float32 // by the side of a patch
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
func some(x *torch.Tensor, n int) []float32 {
	return goldentest.Some(torch.Values[float32](x.As(torch.Float)), n)
}

func do(t *testing.T, f func()) {
	t.Helper()
	if err := torch.Do(f); err != nil {
		t.Fatal(err)
	}
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
		return NewResNet(b.In("backbone"), Config{Depth: depth, Width: width})
	}
}

// Outputs in both modes, gradients and running statistics are torchvision's.
func TestResNetIsTorchvisions(t *testing.T) {
	for depth, g := range readGolden(t).ResNet {
		with(t, resnet(depth, 1), func(s *Set, r *ResNet) {
			x := torch.From(goldentest.Noise("input", 2*3*96*96), 2, 3, 96, 96)
			torch.NoGrad(func() {
				levels, _ := r.Forward(x.ChannelsLast(), Mode{})
				for i, c := range levels {
					goldentest.Near(t, fmt.Sprintf("ResNet-%d, C%d", depth, i+2), some(c, 40), g.Eval[i], 1e-4)
				}
			})
			c, _ := r.Forward(x, Mode{Train: true})
			for i := range c {
				goldentest.Near(t, fmt.Sprintf("ResNet-%d in training, C%d", depth, i+2), some(c[i], 40), g.Train[i], 1e-3)
			}
			c[3].Mul(torch.From(goldentest.Noise("weight of C5", c[3].Len()), c[3].Shape()...)).Sum().Backward()
			nearGrad(t, fmt.Sprintf("ResNet-%d", depth), s, g.Grad, 5e-3)
			for _, p := range s.Buffers {
				if want, ok := g.Running[strings.TrimPrefix(p.Name, "backbone.")]; ok {
					goldentest.Near(t, fmt.Sprintf("ResNet-%d, %s", depth, p.Name), some(p.T, 40), want, 1e-3)
				}
			}
		})
	}
}

// nearGrad compares gradients, by the names of the backbone's parameters.
func nearGrad(t *testing.T, what string, s *Set, want map[string][]float32, tolerance float64) {
	t.Helper()
	grad := torch.Values[float32](s.Flat.Grad)
	for _, p := range s.Params {
		if w, ok := want[strings.TrimPrefix(p.Name, "backbone.")]; ok {
			goldentest.Near(t, what+", gradient of "+p.Name, some(torch.From(grad[p.at:][:p.Len()], p.Len()), 40), w, tolerance)
		}
	}
}

// tinyViT is the ViT of the golden values.
var tinyViT = Config{Backbone: BackboneViT, Patch: 8, Grid: 4, Dim: 32, Heads: 4, Layers: 3, FPN: 8, Head: 8, BoxFC: 8}

// All parameters and buffers have the names and shapes of torchvision's ResNets and timm's BiT and ViT.
func TestNamesAreTheFields(t *testing.T) {
	for name, want := range readGolden(t).Names {
		c := Config{Backbone: name, Depth: 50, Width: 1}
		switch depth, err := strconv.Atoi(name); {
		case err == nil:
			c = Config{Depth: depth, Width: 1}
		case name == BackboneViT:
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
	with(t, trunk(t, Config{Backbone: BackboneBiT, Depth: 50, Width: 1}), func(s *Set, trunk *Trunk) {
		x := torch.From(goldentest.Noise("input", 2*3*96*96), 2, 3, 96, 96)
		c, pooled := trunk.Backbone.Forward(x.ChannelsLast(), Mode{})
		if pooled != nil {
			t.Error("the mean of C5 is computed though no one may need it")
		}
		for i := range c {
			goldentest.Near(t, fmt.Sprint("C", i+2), some(c[i], 40), g.Levels[i], 1e-4)
		}
		goldentest.Near(t, "pooled", some(trunk.Forward(x, Mode{}).Pooled(), 40), g.Pooled, 1e-4)
		c[3].Mul(torch.From(goldentest.Noise("weight of C5", c[3].Len()), c[3].Shape()...)).Sum().Backward()
		nearGrad(t, "BiT", s, g.Grad, 0.05) // timm's own in float32 are 3% off those in float64
	})
}

// Tokens and gradients are those of torchvision's VisionTransformer, and also where the grid of
// patches is not that of the position embeddings.
func TestViTIsTorchvisions(t *testing.T) {
	g := readGolden(t).ViT
	for size, want := range g.Tokens {
		with(t, trunk(t, tinyViT), func(s *Set, trunk *Trunk) {
			v := trunk.Backbone.(*ViT)
			x := torch.From(goldentest.Noise("input", 2*3*size*size), 2, 3, size, size).ChannelsLast()
			tokens := v.Encode(v.Embed(x))
			goldentest.Near(t, fmt.Sprint("tokens of size ", size), some(tokens, 80), want, 1e-4)
			f := trunk.Forward(x, Mode{})
			goldentest.Near(t, "class token", some(f.Pooled(), 9), some(tokens.Select(1, 0), 9), 0)
			goldentest.Near(t, "map", some(f.C5.Flatten(2, 3).Transpose(1, 2), 9), some(tokens.Narrow(1, 1, tokens.Size(1)-1), 9), 0)
			if size == tinyViT.Grid*tinyViT.Patch {
				tokens.Mul(torch.From(goldentest.Noise("weight of tokens", tokens.Len()), tokens.Shape()...)).Sum().Backward()
				nearGrad(t, "ViT", s, g.Grad, 1e-3)
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
			c[i] = torch.From(goldentest.Noise(fmt.Sprint("C", i+2), 2*k*h*w), 2, k, h, w)
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
			p := n.forward([4]*torch.Tensor{3: torch.From(goldentest.Noise("map", 2*32*h*w), 2, 32, h, w).ChannelsLast()})
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
