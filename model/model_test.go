package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"must/torch"
	"must/torch/goldentest"
)

func pyramid(t *testing.T, c Config) func(b Builder) *Trunk {
	return func(b Builder) *Trunk {
		trunk, err := NewTrunk(b, c, true)
		if err != nil {
			t.Fatal(err)
		}
		return trunk
	}
}

func small(t *testing.T) func(b Builder) *Trunk { return pyramid(t, tiny["resnet"]) }

func TestWidth(t *testing.T) {
	for _, c := range []struct {
		depth    int
		width    float64
		channels [4]int64
	}{
		{18, 1, [4]int64{64, 128, 256, 512}}, {18, 0.125, [4]int64{8, 16, 32, 64}}, {34, 0.3, [4]int64{16, 32, 72, 152}},
		{50, 1, [4]int64{256, 512, 1024, 2048}}, {50, 0.25, [4]int64{64, 128, 256, 512}}, {152, 2, [4]int64{512, 1024, 2048, 4096}},
		{18, 0.001, [4]int64{8, 8, 8, 8}},
	} {
		_, b := NewSet()
		if r := resnet(c.depth, c.width)(b); r.Channels() != c.channels {
			t.Errorf("ResNet-%d of width %v: channels %v, want %v", c.depth, c.width, r.Channels(), c.channels)
		}
	}
	for _, c := range []struct {
		depth int
		width float64
		want  string
	}{{51, 1, "18, 34, 50"}, {50, 0, "width"}, {50, 5, "width"}, {50, math.NaN(), "width"}} {
		config := DefaultConfig()
		config.Backbone = ResNetConfig{Layers: c.depth, Width: c.width}
		if err := config.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("check of depth %d, width %v: %v", c.depth, c.width, err)
		}
	}
	if err := DefaultConfig().Check(); err != nil {
		t.Error(err)
	}
}

// Every level has ⌈size / stride⌉ cells, also for sizes that no stride divides.
func TestLevelSizes(t *testing.T) {
	for _, name := range []string{"resnet", "bit"} {
		with(t, pyramid(t, tiny[name]), func(_ *Set, trunk *Trunk) {
			for _, size := range []int64{33, 64, 100} {
				f := trunk.Forward(torch.Zeros(torch.Float, 1, 3, size, size), Mode{})
				for i, stride := range Strides {
					cells := (size + stride - 1) / stride
					if got, want := fmt.Sprint(f.P[i].Shape()), fmt.Sprint([]int64{1, 8, cells, cells}); got != want {
						t.Errorf("%s, size %d, P%d: %s, want %s", name, size, i+2, got, want)
					}
				}
				if got, want := f.C5.Size(2), (size+31)/32; got != want {
					t.Errorf("%s, size %d: C5 has %d rows, want %d", name, size, got, want)
				}
				if f.Fused().Size(3) != f.P[0].Size(3) {
					t.Errorf("%s, size %d: fused P2 is %v", name, size, f.Fused())
				}
			}
		})
	}
}

// A parameter starts from the seed and its name, whatever else the model holds.
func TestInit(t *testing.T) {
	build := func(seed uint64, declare func(b Builder)) map[string][]float32 {
		s, b := NewSet()
		declare(b)
		var state map[string][]float32
		do(t, func() {
			s.Build(seed)
			defer s.Free()
			state = s.State()
		})
		return state
	}
	conv := func(b Builder) { NewConv(b.In("conv"), 16, 32, 3, 1, true, Kaiming(32*9)) }
	alone := build(5, conv)
	among := build(5, func(b Builder) {
		NewLinear(b.In("a"), 3, 4, Normal(1))
		conv(b)
		NewNorm(b.In("norm"), 4, 1)
	})
	if !slices.Equal(alone["conv.weight"], among["conv.weight"]) {
		t.Error("other parts of the model change how a convolution starts")
	}
	if slices.Equal(alone["conv.weight"], build(6, conv)["conv.weight"]) {
		t.Error("the seed changes nothing")
	}
	two := build(5, func(b Builder) { conv(b.In("x")); conv(b.In("y")) })
	if slices.Equal(two["x.conv.weight"], two["y.conv.weight"]) {
		t.Error("two names start alike")
	}
	square := 0.
	for _, v := range alone["conv.weight"] {
		square += float64(v) * float64(v) / (16 * 32 * 9)
	}
	if want := 2. / (32 * 9); math.Abs(square/want-1) > 0.1 {
		t.Errorf("variance %v, want He's %v", square, want)
	}
	for name, want := range map[string]float32{"norm.weight": 1, "norm.bias": 0, "norm.running_mean": 0, "norm.running_var": 1, "a.bias": 0} {
		for _, v := range among[name] {
			if v != want {
				t.Errorf("%s starts at %v, want %v", name, v, want)
			}
		}
	}
}

// A block's last norm has no gain at first, so that the block is the identity.
func TestBlocksStartAsIdentity(t *testing.T) {
	s, b := NewSet()
	r := resnet(50, 0.125)(b)
	do(t, func() {
		s.Build(1)
		defer s.Free()
		x := torch.From(goldentest.Noise("x", 2*r.channels[0]*16), 2, r.channels[0], 4, 4).Relu()
		y := r.stages[0][1].forward(x, Mode{Train: true})
		if !slices.Equal(torch.Values[float32](x), torch.Values[float32](y)) {
			t.Error("a fresh block changes its input")
		}
	})
}

func TestSet(t *testing.T) {
	with(t, small(t), func(s *Set, _ *Trunk) {
		want := formula(s)
		if got := s.State(); !maps.EqualFunc(got, want, slices.Equal) {
			t.Fatal("State does not return what Load was given")
		}
		// What decays comes first: weights, none of a norm or a bias.
		at := int64(0)
		for _, p := range s.Params {
			weight := len(p.Shape) > 1
			if (at < s.Decayed) != weight {
				t.Errorf("%s of shape %v: decays %v", p.Name, p.Shape, at < s.Decayed)
			}
			at += p.Len()
		}

		part := map[string][]float32{"neck.p6.bias": {1, 2, 3, 4, 5, 6, 7, 8}, "z": {1}, "a": {2}}
		missing, unused, err := s.Load(part)
		if err != nil || len(missing) != len(want)-1 || !slices.Equal(unused, []string{"a", "z"}) {
			t.Errorf("%d missing, unused %v, %v", len(missing), unused, err)
		}
		got := s.State()
		if got["neck.p6.bias"][7] != 8 || !slices.Equal(got["neck.p7.bias"], want["neck.p7.bias"]) {
			t.Error("Load of a part changed more than that, or not all of it")
		}

		before := s.State()
		_, _, err = s.Load(map[string][]float32{"neck.p6.bias": make([]float32, 8), "neck.p7.bias": {1, 2}})
		if err == nil || !strings.Contains(err.Error(), "neck.p7.bias") || !strings.Contains(err.Error(), "2 values") {
			t.Errorf("wrong size: %v", err)
		}
		if !maps.EqualFunc(s.State(), before, slices.Equal) {
			t.Error("a refused state left traces")
		}
	})
	defer func() {
		if recover() == nil {
			t.Error("a name may be declared twice")
		}
	}()
	_, b := NewSet()
	NewNorm(b.In("x"), 1, 1)
	NewNorm(b.In("x"), 1, 1)
}

// Activations in bfloat16 change little, leave parameters and statistics in float32, and give gradients.
func TestBF16(t *testing.T) {
	for name, c := range tiny {
		with(t, pyramid(t, c), func(s *Set, trunk *Trunk) {
			x := torch.From(goldentest.Noise("input", 2*3*64*64), 2, 3, 64, 64).ChannelsLast()
			for _, m := range []Mode{{}, {Train: true}} {
				before := s.State()
				full := trunk.Forward(x, m)
				if _, _, err := s.Load(before); err != nil {
					t.Fatal(err)
				}
				half := trunk.Forward(x.As(torch.BFloat16), Mode{Train: m.Train, BF16: true})
				if d := half.Fused().DType(); d != torch.BFloat16 {
					t.Errorf("%s: features are of type %v", name, d)
				}
				for part, pair := range map[string][2]*torch.Tensor{"C5": {full.C5, half.C5}, "pooled": {full.Pooled(), half.Pooled()}, "fused P2": {full.Fused(), half.Fused()}} {
					off := pair[0].Sub(pair[1].As(torch.Float)).Norm().Item() / pair[0].Norm().Item()
					if !(off < 0.1) || off == 0 {
						t.Errorf("%s: %s in bfloat16 is off by a share of %.3f, %+v", name, part, off, m)
					}
				}
				if m.Train {
					half.Fused().As(torch.Float).Sum().Backward()
				}
			}
			if !s.Flat.Grad.IsFinite().All() || s.Flat.Grad.Norm().Item() == 0 {
				t.Errorf("%s: no gradients in bfloat16", name)
			}
		})
	}
}

// A strided convolution of a single pixel, as P7 of a small image is, has the gradient of float32;
// memory is littered with NaN, which a gradient that is partly unwritten would show.
func TestBF16OfOnePixel(t *testing.T) {
	declare := func(b Builder) *Conv { return NewConv(b.In("conv"), 16, 16, 3, 2, false, Constant(0)) }
	with(t, declare, func(s *Set, c *Conv) {
		grad := func(d torch.DType) []float32 {
			s.Flat.Grad.Fill(0)
			for range 4 {
				torch.Scope(func() {
					for range 4 {
						torch.Full(torch.BFloat16, math.NaN(), 16*16*9)
						torch.Full(torch.Float, math.NaN(), 16*16*9)
					}
				})
				x := torch.From(goldentest.Noise("x", 4*16), 4, 16, 1, 1).As(d)
				c.Forward(x).As(torch.Float).Sum().Backward()
			}
			return torch.Values[float32](s.Flat.Grad)
		}
		goldentest.Near(t, "gradient", grad(torch.BFloat16), grad(torch.Float), 0.02)
	})
}

// A batch of one pixel per channel has no variance: the running statistics serve instead.
func TestNormOfOneValue(t *testing.T) {
	with(t, func(b Builder) *Norm { return NewNorm(b, 3, 1) }, func(s *Set, n *Norm) {
		x := torch.From([]float32{1, 2, 3}, 1, 3, 1, 1)
		goldentest.Near(t, "one value", some(n.Forward(x, Mode{Train: true}), 3), some(n.Forward(x, Mode{}), 3), 0)
	})
}

// Without gradients a forward pass keeps no more than its results and the outputs of blocks.
func TestForwardKeepsLittle(t *testing.T) {
	with(t, small(t), func(_ *Set, trunk *Trunk) {
		torch.NoGrad(func() {
			x := torch.Zeros(torch.Float, 1, 3, 64, 64)
			before := torch.Live()
			f := trunk.Forward(x, Mode{})
			f.Fused()
			// 8 blocks and the stem, 4 laterals, 3 × (resized, sum), 6 levels and one ReLU, fused P2 and sums on its way.
			if n := torch.Live() - before; n > 9+4+6+7+5 {
				t.Errorf("%d tensors stay in memory", n)
			}
		})
	})
}

// Backbones of about the same cost, at 64 pixels, without and with the pyramid.
func BenchmarkTrunk(b *testing.B) {
	for name, c := range map[string]Config{
		"resnet": {Backbone: ResNetConfig{Layers: 18, Width: 0.5}, FPN: 64},
		"bit":    {Backbone: BiTConfig{Layers: 18, Width: 0.5}, FPN: 64},
		"vit":    {Backbone: ViTConfig{Patch: 8, Grid: 8, Dim: 96, Heads: 3, Layers: 4}, FPN: 64},
	} {
		for _, pyramid := range []bool{false, true} {
			for _, m := range []Mode{{}, {Train: true}} {
				b.Run(fmt.Sprintf("%s/pyramid=%v/train=%v", name, pyramid, m.Train), func(b *testing.B) { benchmark(b, c, pyramid, m) })
			}
		}
	}
}

func benchmark(b *testing.B, c Config, pyramid bool, m Mode) {
	const batch = 32
	s, builder := NewSet()
	trunk, err := NewTrunk(builder, c, pyramid)
	if err != nil {
		b.Fatal(err)
	}
	err = torch.Do(func() {
		s.Build(1)
		defer s.Free()
		x := torch.From(goldentest.Noise("x", batch*3*64*64), batch, 3, 64, 64).ChannelsLast()
		step := func() {
			f := trunk.Forward(x, m)
			sum := f.Pooled().Sum()
			if pyramid {
				sum = sum.Add(f.Fused().Sum())
			}
			if m.Train {
				sum.Backward()
			}
		}
		for b.Loop() {
			torch.Scope(func() {
				if m.Train {
					step()
				} else {
					torch.NoGrad(step)
				}
			})
		}
		b.ReportMetric(batch*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		b.ReportMetric(float64(s.Flat.Data.Len())/1e6, "Mparams")
	})
	if err != nil {
		b.Fatal(err)
	}
}
