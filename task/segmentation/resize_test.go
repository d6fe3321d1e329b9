package segmentation

import (
	"math"
	"testing"

	"must/torch"
	"must/torch/goldentest"
)

// likeliest is torch's resizing, softmax and maximum.
func TestLikeliest(t *testing.T) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		t.Fatal(err)
	}
	err := torch.Do(func() {
		for _, c := range []struct{ classes, n, size int }{{5, 8, 32}, {3, 7, 25}, {1, 4, 16}, {2, 16, 16}} {
			logits := goldentest.Noise("logits", c.classes*c.n*c.n)
			for i := range logits {
				logits[i] *= 12
			}
			best, top := likeliest(logits, c.classes, c.n, c.size)
			all := torch.From(logits, 1, int64(c.classes), int64(c.n), int64(c.n)).Bilinear(int64(c.size), int64(c.size)).Softmax(1)
			want, class := all.MaxDim(1)
			goldentest.Near(t, "probability", top.Pix, torch.Values[float32](want), 2e-6)
			second := 0
			for i, k := range torch.Values[float32](class.As(torch.Float)) {
				if best.Pix[i] != uint8(k) {
					second++
				}
			}
			if second > 1 {
				t.Errorf("%v: %d classes are others", c, second)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestExp(t *testing.T) {
	for v := -32.; v <= 0; v += 0.00317 {
		if got, want := float64(exp(float32(v))), math.Exp(float64(float32(v))); math.Abs(got-want) > 3e-7*want+1e-13 {
			t.Fatalf("exp(%v) is %v, want %v", v, got, want)
		}
	}
	if exp(0) != 1 || exp(float32(math.Inf(-1))) != 0 || exp(float32(math.NaN())) == exp(float32(math.NaN())) {
		t.Error("0, −∞ or NaN")
	}
}

func BenchmarkLikeliest(b *testing.B) {
	logits := goldentest.Noise("logits", 133*128*128)
	for b.Loop() {
		likeliest(logits, 133, 128, 512)
	}
}
