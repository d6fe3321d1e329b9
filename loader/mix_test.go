package loader

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"must/data"
	"must/task/classification"
	"must/task/detection"
)

func TestMixup(t *testing.T) {
	batch := func() *Batch {
		b := &Batch{N: 4, Size: 2, Images: make([]uint8, 4*12)}
		for i := range b.N {
			class := make([]float32, 4)
			class[i] = 1
			b.Samples = append(b.Samples, &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 2, 2)), Known: data.Know(classification.New(class), detection.New([]data.Object{}))})
			for k := range 12 {
				b.Images[i*12+k] = uint8(60 * i)
			}
		}
		return b
	}
	b, before := batch(), batch()
	mixup(b, 0.4, rand.New(rand.NewPCG(3, 1)))
	blended := 0
	for i, s := range b.Samples {
		// What the classes say was blended is what the pixels are.
		var sum, pixel float64
		for c, p := range classification.Of(s) {
			sum += float64(p)
			pixel += float64(p) * float64(before.Images[c*12])
		}
		if math.Abs(sum-1) > 1e-6 || math.Abs(pixel-float64(b.Images[i*12])) > 0.51 {
			t.Errorf("image %d has classes %v and pixels of %d", i, classification.Of(s), b.Images[i*12])
		}
		if classification.Of(s)[i] > 0 && classification.Of(s)[i] < 1 {
			blended++
		}
		if detection.Of(s) != nil {
			t.Error("objects of a blend of images are still told")
		}
	}
	if blended == 0 {
		t.Error("nothing was blended")
	}
	again := batch()
	mixup(again, 0.4, rand.New(rand.NewPCG(3, 1)))
	if string(again.Images) != string(b.Images) {
		t.Error("the same seed blends otherwise")
	}
	unknown := batch()
	classification.Set(unknown.Samples[0], nil)
	mixup(unknown, 0.4, rand.New(rand.NewPCG(3, 1)))
	if classification.Of(unknown.Samples[0]) != nil {
		t.Error("a blend with an image without class has one")
	}
}

// The first two moments of Beta(α, α): ½ and ¼ / (2α + 1) about it.
func TestBeta(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, alpha := range []float64{0.1, 0.4, 1} {
		const n = 20000
		var mean, square float64
		for range n {
			v := beta(alpha, rng)
			mean += v / n
			square += (v - 0.5) * (v - 0.5) / n
		}
		if want := 0.25 / (2*alpha + 1); math.Abs(mean-0.5) > 0.015 || math.Abs(square-want) > 0.05*want {
			t.Errorf("Beta(%v, %[1]v) has mean %.4f and variance %.4f, want 0.5 and %.4f", alpha, mean, square, want)
		}
	}
}
