package winograd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// direct is the convolution in float64, of maps as here and weights [3, 3, C, K].
func direct(c Convolution, x, w []float32) []float64 {
	y := make([]float64, c.N*c.H*c.W*c.K)
	c.taps(func(from, to, tap int) {
		for i := range c.C {
			v := float64(x[from*c.C+i])
			row := w[(tap*c.C+i)*c.K:][:c.K]
			for k, u := range row {
				y[to*c.K+k] += v * float64(u)
			}
		}
	})
	return y
}

// taps calls f for every pair of an input and an output pixel that a tap connects.
func (c Convolution) taps(f func(from, to, tap int)) {
	for n := range c.N {
		for y := range c.H {
			for x := range c.W {
				for tap := range 9 {
					if v, u := y+tap/3-1, x+tap%3-1; v >= 0 && v < c.H && u >= 0 && u < c.W {
						f((n*c.H+v)*c.W+u, (n*c.H+y)*c.W+x, tap)
					}
				}
			}
		}
	}
}

func noise(r *rand.Rand, n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * scale)
	}
	return v
}

// near fails where values that are about 1 in size differ by more than F(4×4) in float32 loses.
func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	worst := 0.
	for i := range got {
		d := math.Abs(float64(got[i]) - want[i])
		if !(d <= worst) {
			worst = d
		}
	}
	if !(worst < 2e-4) {
		t.Errorf("%s: differs by %.2g", what, worst)
	}
}

func exchange(c Convolution, w []float32) []float32 {
	out := make([]float32, len(w))
	for tap := range 9 {
		for i := range c.C {
			for k := range c.K {
				out[(tap*c.K+k)*c.C+i] = w[(tap*c.C+i)*c.K+k]
			}
		}
	}
	return out
}

func check(t *testing.T, c Convolution, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	pixels := c.N * c.H * c.W
	x, w := noise(r, pixels*c.C, 1), noise(r, 9*c.C*c.K, 1/math.Sqrt(float64(9*c.C)))
	name := fmt.Sprintf("%d×%d×%d, %d to %d", c.N, c.H, c.W, c.C, c.K)
	want := direct(c, x, w)

	u, scratch := make([]float32, c.UnitsLen()), noise(r, c.Scratch(), 1)
	c.Transform(u, w, false)
	y := noise(r, pixels*c.K, 1)
	c.Forward(y, x, u, scratch, Epilogue{})
	near(t, name, y, want)

	bias, add := noise(r, c.K, 1), noise(r, pixels*c.K, 1)
	c.Forward(y, x, u, scratch, Epilogue{Bias: bias, Add: add, ReLU: true})
	for i := range want {
		want[i] = max(0, want[i]+float64(bias[i%c.K])+float64(add[i]))
	}
	near(t, name+", with bias, sum and ReLU", y, want)

	dy := noise(r, pixels*c.K, 1)
	back := c
	back.C, back.K = c.K, c.C
	wantX, wantW := make([]float64, len(x)), make([]float64, len(w))
	c.taps(func(from, to, tap int) {
		for i := range c.C {
			sum, v, row := 0., float64(x[from*c.C+i]), wantW[(tap*c.C+i)*c.K:][:c.K]
			for k := range row {
				g := float64(dy[to*c.K+k])
				sum += g * float64(w[(tap*c.C+i)*c.K+k])
				row[k] += v * g
			}
			wantX[from*c.C+i] += sum
		}
	})
	u, scratch = make([]float32, back.UnitsLen()), noise(r, back.Scratch(), 1)
	back.Transform(u, exchange(c, w), true)
	dx := noise(r, len(x), 1)
	back.Forward(dx, dy, u, scratch, Epilogue{})
	scale := math.Sqrt(float64(c.C) / float64(c.K)) // to about 1
	for i := range dx {
		dx[i], wantX[i] = dx[i]*float32(scale), wantX[i]*scale
	}
	near(t, name+", gradient of the inputs", dx, wantX)

	scratch = noise(r, c.GradientScratch(), 1)
	dw := noise(r, len(w), 1)
	c.Gradient(dw, x, dy, scratch)
	scale = 1 / math.Sqrt(float64(pixels))
	for i := range dw {
		dw[i], wantW[i] = dw[i]*float32(scale), wantW[i]*scale
	}
	near(t, name+", gradient of the weights", dw, wantW)
}

func needs(t testing.TB) {
	if !supported {
		t.Skip("this processor has no AVX2")
	}
}

func TestAgainstFloat64(t *testing.T) {
	needs(t)
	for i, c := range []Convolution{
		{N: 1, H: 1, W: 1, C: 8, K: 8},
		{N: 1, H: 4, W: 4, C: 16, K: 16},
		{N: 3, H: 7, W: 7, C: 64, K: 40},
		{N: 2, H: 5, W: 13, C: 24, K: 72, Workers: 2},
		{N: 1, H: 40, W: 38, C: 32, K: 16, Workers: 2},
		{N: 40, H: 2, W: 3, C: 8, K: 24, Workers: 3},
		{N: 1, H: 9, W: 8, C: 256, K: 128, Workers: 2},
		{N: 2, H: 6, W: 6, C: 512, K: 64, Workers: 5},
	} {
		check(t, c, uint64(i))
	}
}

// Shapes by chance, of any number of workers.
func TestShapes(t *testing.T) {
	needs(t)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		check(t, Convolution{
			N: 1 + r.IntN(4), H: 1 + r.IntN(18), W: 1 + r.IntN(18),
			C: 8 * (1 + r.IntN(6)), K: 8 * (1 + r.IntN(6)), Workers: r.IntN(5),
		}, uint64(i))
	}
}

// What is computed does not depend on the number of workers, nor on what else is in a batch.
func TestSameBytes(t *testing.T) {
	needs(t)
	r := rand.New(rand.NewPCG(1, 3))
	one := Convolution{N: 5, H: 23, W: 17, C: 48, K: 40, Workers: 1}
	x, dy, w := noise(r, 5*23*17*48, 1), noise(r, 5*23*17*40, 1), noise(r, 9*48*40, 1)
	all := func(c Convolution, x, dy []float32) (y, dw []float32) {
		u := make([]float32, c.UnitsLen())
		c.Transform(u, w, false)
		y, dw = make([]float32, len(dy)), make([]float32, len(w))
		c.Forward(y, x, u, make([]float32, c.Scratch()), Epilogue{})
		c.Gradient(dw, x, dy, make([]float32, c.GradientScratch()))
		return y, dw
	}
	y, dw := all(one, x, dy)
	for workers := 2; workers <= 7; workers++ {
		c := one
		c.Workers = workers
		if y2, dw2 := all(c, x, dy); !slices.Equal(y, y2) || !slices.Equal(dw, dw2) {
			t.Errorf("%d workers compute otherwise than one", workers)
		}
	}
	last := one
	last.N = 1
	if y2, _ := all(last, x[4*23*17*48:], dy[4*23*17*40:]); !slices.Equal(y[4*23*17*40:], y2) {
		t.Error("an image alone comes out otherwise than in a batch")
	}
}

// NaN and infinities stay visible, also behind a ReLU.
func TestNotANumber(t *testing.T) {
	needs(t)
	c := Convolution{N: 1, H: 8, W: 8, C: 8, K: 8}
	x, w := make([]float32, 8*8*8), make([]float32, 9*8*8)
	for i := range w {
		w[i] = 1
	}
	x[0] = float32(math.NaN())
	u, y := make([]float32, c.UnitsLen()), make([]float32, 8*8*8)
	c.Transform(u, w, false)
	c.Forward(y, x, u, make([]float32, c.Scratch()), Epilogue{ReLU: true})
	if y[0] == y[0] {
		t.Errorf("a NaN came out as %v", y[0])
	}
}

func FuzzShapes(f *testing.F) {
	needs(f)
	f.Add(uint8(2), uint8(7), uint8(9), uint8(3), uint8(5), uint8(2))
	f.Fuzz(func(t *testing.T, n, h, w, c, k, workers uint8) {
		check(t, Convolution{N: 1 + int(n%5), H: 1 + int(h%24), W: 1 + int(w%24), C: 8 + 8*int(c%7), K: 8 + 8*int(k%7), Workers: int(workers % 8)}, 1)
	})
}

// BenchmarkForward tells the speed as that of a direct convolution, which multiplies 4 times as often.
func BenchmarkForward(b *testing.B) {
	needs(b)
	for _, c := range shapes {
		b.Run(fmt.Sprintf("%dx%dx%d_%d_%d", c.N, c.H, c.W, c.C, c.K), func(b *testing.B) {
			x, y, u, scratch := make([]float32, c.N*c.H*c.W*c.C), make([]float32, c.N*c.H*c.W*c.K), make([]float32, c.UnitsLen()), make([]float32, c.Scratch())
			for b.Loop() {
				c.Forward(y, x, u, scratch, Epilogue{})
			}
			report(b, c)
		})
	}
}

func BenchmarkGradient(b *testing.B) {
	needs(b)
	for _, c := range shapes {
		b.Run(fmt.Sprintf("%dx%dx%d_%d_%d", c.N, c.H, c.W, c.C, c.K), func(b *testing.B) {
			x, y, w, scratch := make([]float32, c.N*c.H*c.W*c.C), make([]float32, c.N*c.H*c.W*c.K), make([]float32, 9*c.C*c.K), make([]float32, c.GradientScratch())
			for b.Loop() {
				c.Gradient(w, x, y, scratch)
			}
			report(b, c)
		})
	}
}

var shapes = []Convolution{
	{N: 512, H: 7, W: 7, C: 256, K: 256, Workers: 2},
	{N: 1, H: 128, W: 128, C: 256, K: 256, Workers: 2},
	{N: 1, H: 64, W: 64, C: 256, K: 256, Workers: 2},
	{N: 1, H: 32, W: 32, C: 256, K: 256, Workers: 2},
	{N: 1, H: 16, W: 16, C: 512, K: 512, Workers: 2},
	{N: 100, H: 14, W: 14, C: 256, K: 256, Workers: 2},
	{N: 1, H: 64, W: 64, C: 128, K: 128, Workers: 2},
	{N: 1, H: 128, W: 128, C: 64, K: 64, Workers: 2},
	{N: 32, H: 16, W: 16, C: 64, K: 64, Workers: 2},
	{N: 32, H: 8, W: 8, C: 128, K: 128, Workers: 2},
	{N: 32, H: 4, W: 4, C: 256, K: 256, Workers: 2},
	{N: 32, H: 16, W: 16, C: 32, K: 32, Workers: 2},
	{N: 32, H: 16, W: 16, C: 16, K: 16, Workers: 2},
}

func report(b *testing.B, c Convolution) {
	b.ReportMetric(2*9*float64(c.N*c.H*c.W*c.C*c.K)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
