package torch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// The cost of a call, apart from what the operator computes.

func benchmark(b *testing.B, setup func() func()) {
	b.ReportAllocs()
	err := Do(func() {
		f := setup()
		Scope(f)
		for b.Loop() {
			Scope(f)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAdd(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 1)
		return func() { x.Add(x) }
	})
}

func BenchmarkMul(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 1)
		return func() { x.Mul(x) }
	})
}

func BenchmarkConv2D(b *testing.B) {
	benchmark(b, func() func() {
		x, w, c := Zeros(Float, 1, 1, 1, 1), Zeros(Float, 1, 1, 1, 1), Zeros(Float, 1)
		return func() { x.Conv2D(w, c, 1, 0, 1, 1) }
	})
}

func BenchmarkView(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 2, 3, 4)
		return func() { x.View(4, 3, 2) }
	})
}

func BenchmarkDo(b *testing.B) {
	Do(func() {})
	for b.Loop() {
		Do(func() {})
	}
}

// chain is a small network: conv, norm, relu at three scales, as the embedded recipe trains.
type chain struct {
	flat           *Flat
	mean, variance []*Tensor
	momentum       *Tensor
}

var chainWidths = []int64{3, 32, 32, 64, 64, 128, 128}

func newChain(r *rand.Rand) *chain {
	c := &chain{}
	var shapes [][]int64
	for i, out := range chainWidths[1:] {
		shapes = append(shapes, []int64{out, chainWidths[i], 3, 3}, []int64{out}, []int64{out})
		c.mean = append(c.mean, Zeros(Float, out).Keep())
		c.variance = append(c.variance, Full(Float, 1, out).Keep())
	}
	c.flat = NewFlat(Float, append(shapes, []int64{10, 128}, []int64{10}), true)
	c.momentum = Zeros(Float, c.flat.Data.Len()).Keep()
	for _, p := range c.flat.Params {
		switch s := p.Shape(); len(s) {
		case 1:
			NoGrad(func() { p.Fill(1) })
		default:
			v := make([]float32, p.Len())
			for i := range v {
				v[i] = float32(r.NormFloat64() / math.Sqrt(float64(len(v))/float64(s[0])))
			}
			Load(p, v)
		}
	}
	return c
}

func (c *chain) step(x, class *Tensor) (loss float64) {
	Scope(func() {
		p := c.flat.Params
		like := func(t *Tensor) *Tensor { return t.As(x.DType()) }
		for i := range c.mean {
			x = x.Conv2D(like(p[0]), nil, 1+int64(i%2), 1, 1, 1).
				BatchNorm(p[1], p[2], c.mean[i], c.variance[i], true, 0.1, 1e-5).ReluInPlace()
			p = p[3:]
		}
		l := x.Mean(2, 3).As(Float).Linear(p[0], p[1]).CrossEntropy(class, Mean, -100)
		l.Backward()
		StepSGD(c.flat.Data, c.flat.Grad, c.momentum, 0.01, 0.9, 1e-4, false, false)
		c.flat.Grad.Fill(0)
		loss = l.Item()
	})
	return loss
}

func (c *chain) free() {
	c.flat.Free()
	c.momentum.Free()
	for i := range c.mean {
		c.mean[i].Free()
		c.variance[i].Free()
	}
}

// BenchmarkTrain steps the small network on batches of 16; /loaded has a goroutine beside it that
// works for a third of a step per batch, as a loader does.
func BenchmarkTrain(b *testing.B) {
	for _, size := range []int64{64, 128} {
		for _, name := range []string{"float32", "channelsLast", "bfloat16", "bfloat16ChannelsLast", "loaded"} {
			b.Run(fmt.Sprint(name, "/", size), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				pixels := make([]float32, 16*3*size*size)
				for i := range pixels {
					pixels[i] = float32(r.NormFloat64())
				}
				batches := make(chan int, 2)
				stop := make(chan struct{})
				defer func() { close(stop) }()
				go func() {
					for {
						v := 0
						if name == "loaded" {
							for range 16 * 3 * size * size * loaderWork {
								v = v*31 + 1
							}
						}
						select {
						case batches <- v:
						case <-stop:
							return
						}
					}
				}()
				err := Do(func() {
					c := newChain(r)
					x := From(pixels, 16, 3, size, size)
					if strings.HasPrefix(name, "bfloat16") {
						x = x.As(BFloat16)
					}
					if strings.HasSuffix(strings.ToLower(name), "channelslast") {
						x = x.ChannelsLast()
					}
					class := From(make([]int64, 16), 16)
					for b.Loop() {
						<-batches
						c.step(x, class)
					}
					c.free()
				})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(16*float64(b.N)/b.Elapsed().Seconds(), "img/s")
			})
		}
	}
}

const loaderWork = 100
