package pretext

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"must/model"
	"must/network"
	"must/task/detection"
	"must/torch"
	"must/torch/goldentest"
)

// golden holds what the papers' formulas give in double precision; testdata/make_golden.py makes it.
type golden struct {
	NTXent []struct {
		Temperature, Loss float64
		Grad              []float64
	}
	Head struct {
		Out           []float64
		Grad, Running map[string][]float64
	}
	MoCo map[string]struct {
		Losses, Queue    []float64
		Position         []int
		Grad, Key, Query map[string][]float64
	}
	MAE struct {
		Loss  float64
		Grad  map[string][]float64
		Waves []float64
	}
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	goldentest.Read(t, &g)
	return g
}

// fill loads a set with values that follow from names and shapes.
func fill(t *testing.T, s *model.Set) {
	t.Helper()
	state := map[string][]float32{}
	for _, p := range s.All() {
		if strings.HasSuffix(p.Name, "decoder_pos_embed") { // fixed
			continue
		}
		state[p.Name] = goldentest.Parameter(p.Name, p.Shape)
	}
	if _, _, err := s.Load(state); err != nil {
		t.Fatal(err)
	}
}

// pixels returns the images that make_golden.py knows by the same name, as bytes.
func pixels(name string, n, size int) []uint8 {
	v := goldentest.Noise(name, int64(n*3*size*size))
	b := make([]uint8, len(v))
	for i, u := range v {
		b[i] = uint8((u + 1) * 127.5)
	}
	return b
}

// values returns those of a tensor of floats.
func values(x *torch.Tensor) []float64 { return torch.Values[float64](x.As(torch.Double)) }

func do(t *testing.T, f func()) {
	t.Helper()
	if err := torch.Do(f); err != nil {
		t.Fatal(err)
	}
}

// exact is how far values in float64 may be from the stored ones: constants such as a momentum of 0.1 are
// rounded to float32.
const exact = 1e-6

// gradients returns those of a set by name.
func gradients(s *model.Set) map[string][]float64 {
	g, at, out := values(s.Flat.Grad), int64(0), map[string][]float64{}
	for _, p := range s.Params {
		out[p.Name] = g[at:][:p.Len()]
		at += p.Len()
	}
	return out
}

func TestNTXent(t *testing.T) {
	for _, c := range readGolden(t).NTXent {
		do(t, func() {
			z := torch.From(goldentest.Noise("z", 70), 10, 7).As(torch.Double).RequireGrad(true)
			grad := torch.Zeros(torch.Double, 10, 7)
			z.SetGrad(grad)
			loss := ntXent(z, selfMask(10), c.Temperature)
			loss.Backward()
			what := fmt.Sprintf("temperature %v", c.Temperature)
			goldentest.Near(t, what+": loss", values(loss.Detach()), []float64{c.Loss}, exact)
			goldentest.Near(t, what+": gradient", values(grad), c.Grad, exact)
		})
	}
	do(t, func() { // rows of zeros have no direction, and give no NaN
		z := torch.Zeros(torch.Float, 4, 3).RequireGrad(true)
		grad := torch.Full(torch.Float, 1, 4, 3)
		z.SetGrad(grad)
		loss := ntXent(z, selfMask(4), 0.5)
		loss.Backward()
		goldentest.Near(t, "loss of zeros", values(loss.Detach()), []float64{math.Log(3)}, 1e-6)
		goldentest.Near(t, "gradient of zeros", values(grad)[:1], []float64{1}, 1e-6)
	})
}

func TestProjection(t *testing.T) {
	g := readGolden(t).Head
	do(t, func() {
		s, b := model.NewSet()
		p := newProjection(b, 12, 10, 4)
		s.Build(1)
		defer s.Free()
		fill(t, s)
		s.Double()
		y := p.forward(torch.From(goldentest.Noise("feature", 72), 6, 12).As(torch.Double), true)
		goldentest.Near(t, "output", values(y), g.Out, exact)
		y.Mul(torch.From(goldentest.Noise("weight of y", 24), 6, 4)).Sum().Backward()
		for name, got := range gradients(s) {
			goldentest.Near(t, "gradient of "+name, goldentest.Some(got, 1000), g.Grad[name], exact)
		}
		state := s.State()
		for name, want := range g.Running {
			goldentest.Near(t, name, state[name], want, exact)
		}
	})
}

// Five steps, after which the queue has wrapped around twice: losses, first gradients, the queue's keys in
// their places, and the weights and statistics of both encoders.
func TestMoCo(t *testing.T) {
	const n, size = 8, 64
	for method, g := range readGolden(t).MoCo {
		do(t, func() {
			c := Config{Method: method, Out: 6, Queue: 16, Momentum: 0.9, BNGroups: 2}
			net, p, err := New(spec(size), c, 1, n)
			if err != nil {
				t.Fatal(err)
			}
			defer net.Free()
			defer p.Free()
			m, set := p.(*moco), net.Set
			fill(t, set)
			net.Double()
			m.key.Double()
			m.queue.Free()
			m.queue = normalise(torch.From(goldentest.Noise("queue", 16*6), 16, 6).As(torch.Double)).Keep()
			momentum := torch.Zeros(torch.Double, set.Flat.Data.Len())
			var losses []float64
			for step := range g.Losses {
				order := make([]int, n)
				for i := range order {
					order[i] = (i*[]int{3, 5, 1, 7, 3}[step] + step) % n
				}
				set.Flat.Grad.Fill(0)
				loss := m.step(pixels(fmt.Sprint("query ", step), n, size), pixels(fmt.Sprint("key ", step), n, size), n, model.Mode{Train: true}, order)
				what := fmt.Sprintf("%s, step %d: ", method, step)
				losses = append(losses, values(loss.Detach())...)
				loss.Backward()
				if step == 0 {
					got := gradients(set)
					for name, want := range g.Grad {
						goldentest.Near(t, what+"gradient of "+name, goldentest.Some(got[name], 40), want, exact)
					}
				}
				for _, part := range []struct {
					from, n int64
					decay   float64
				}{{0, set.Decayed, 1}, {set.Decayed, set.Flat.Data.Len() - set.Decayed, 0}} {
					cut := func(x *torch.Tensor) *torch.Tensor { return x.Narrow(0, part.from, part.n) }
					torch.StepSGD(cut(set.Flat.Data), cut(set.Flat.Grad), cut(momentum), 0.0005, 0.9, part.decay, false, step == 0)
				}
				m.State()
				if m.position != g.Position[step] {
					t.Errorf("%sthe queue is at %d, want %d", what, m.position, g.Position[step])
				}
			}
			goldentest.Near(t, method+": losses", losses, g.Losses, exact)
			goldentest.Near(t, method+": queue", values(m.queue), g.Queue, exact)
			key, query := m.key.Set.State(), set.State()
			for name, want := range g.Key {
				goldentest.Near(t, method+": key encoder's "+name, goldentest.Some(key[name], 40), want, exact)
			}
			for name, want := range g.Query {
				goldentest.Near(t, method+": query encoder's "+name, goldentest.Some(query[name], 40), want, exact)
			}
		})
	}
}

func TestMAE(t *testing.T) {
	g := readGolden(t).MAE
	const n, size = 3, 32
	do(t, func() {
		net, p, err := New(transformer(size), Config{Method: MAE, DecoderDim: 8, DecoderHeads: 2, DecoderLayers: 1}, 1, n)
		if err != nil {
			t.Fatal(err)
		}
		defer net.Free()
		fill(t, net.Set)
		net.Double()
		var order []int64
		for s, m := range []int64{3, 5, 7} {
			for i := range int64(16) {
				order = append(order, (i*m+int64(s))%16)
			}
		}
		loss := p.(*mae).loss(pixels("mae", n, size), n, model.Mode{Train: true}, order)
		goldentest.Near(t, "loss", values(loss.Detach()), []float64{g.Loss}, exact)
		loss.Backward()
		for name, got := range gradients(net.Set) {
			goldentest.Near(t, "gradient of "+name, goldentest.Some(got, 40), g.Grad[name], exact)
		}
	})
	at := make([]float32, 16*16)
	waves(at, 4, 16)
	goldentest.Near(t, "position embeddings", at, g.Waves, 1e-6)
}

// spec is that of a ResNet-18 of an eighth of its width.
func spec(size int) network.Spec {
	return network.Spec{
		Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 8}, Detection: detection.DefaultConfig(),
		Size: size, Mean: network.ImageNetMean, Std: network.ImageNetStd,
	}
}

// transformer is the specification of a ViT of two blocks.
func transformer(size int) network.Spec {
	s := spec(size)
	s.Model = model.Config{Backbone: model.ViTConfig{Patch: 8, Grid: int64(size) / 8, Dim: 16, Heads: 2, Layers: 2}, FPN: 8, Head: 8, BoxFC: 8}
	return s
}
