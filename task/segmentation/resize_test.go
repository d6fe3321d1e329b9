package segmentation

import (
	"math"
	"testing"

	"must/data"
	"must/task"
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
			xs, ys := (data.Frame{Size: c.size, W: c.size, H: c.size}).Bilinear(c.n, c.n, c.size, c.size)
			best, top := likeliest(logits, c.classes, c.n, xs, ys)
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

// The logits of a prediction are resized to the image, not its classes: between two cells of which one is
// surer the edge lies nearer to the other, wherever pixels of the frame end. What is below the threshold is
// ignored then, too.
func TestRestoreResizesLogits(t *testing.T) {
	const n, size = 4, 16
	values := make([]float32, 2*n*n) // the second class, surely, in the right half; the first, hardly, in the left
	for i := range n * n {
		if values[i] = 1; i%n >= n/2 {
			values[i], values[n*n+i] = 0, 9
		}
	}
	pred := &data.Sample{}
	if err := (&head{classes: 2}).decodeLogits(task.Outputs{allLogits: {Shape: []int64{1, 2, n, n}, Values: values}}, n, size, []*data.Sample{pred}); err != nil {
		t.Fatal(err)
	}
	// The image fills the upper half of the frame and has 160×80 pixels: a cell is 40 of them.
	f := data.Frame{Size: size, W: size, H: size / 2, SourceW: 160, SourceH: 80}
	got := f.Restore(pred, 160, 80)
	m := Of(got)
	if m.W != 160 || m.H != 80 {
		t.Fatalf("%d×%d", m.W, m.H)
	}
	// Centres of cells are at 60 and 100; the logits are equal a tenth of the way from the one to the other.
	for x, c := range m.Pix[:160] {
		if want := x > 63; (c == 1) != want {
			t.Fatalf("column %d is of class %d", x, c)
		}
	}
	kept := Of(f.Restore(&data.Sample{Known: data.Know(Task.Pseudo(pred.Label(Name), 0.7))}, 160, 80))
	for x, c := range kept.Pix[:160] {
		switch sure := Confidence(got).Pix[x] >= 0.7; {
		case sure && c != m.Pix[x], !sure && c != data.Ignore:
			t.Fatalf("column %d, of probability %v, is of class %d", x, Confidence(got).Pix[x], c)
		}
	}
	if kept.Pix[66] != data.Ignore || kept.Pix[20] == data.Ignore {
		t.Error("the threshold is not that of the resized probabilities")
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
	xs, ys := (data.Frame{Size: 512, W: 512, H: 512}).Bilinear(128, 128, 512, 512)
	for b.Loop() {
		likeliest(logits, 133, 128, xs, ys)
	}
}
