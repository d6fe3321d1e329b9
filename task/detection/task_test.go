package detection

import (
	"math"
	"testing"

	"must/data"
	"must/task"
)

// What is predicted of classes that the truth does not tell of is neither right nor wrong.
func TestUnknownClassesDoNotCount(t *testing.T) {
	box := data.Box{X1: 10, Y1: 10}
	truth := NewPartial([]data.Object{{Box: box, Score: 1}}, []int{1})
	pred := New([]data.Object{{Box: box, Score: 0.9}, {Box: box, Class: 1, Score: 0.95}})
	two := data.Meaning{Classes: []string{"a", "b"}}
	voc := two
	voc.Protocol = "voc"
	for _, m := range []task.Metric{Task.Metric(two, two), Task.Metric(two, voc), Task.Quality(two, two, 0.5)} {
		if err := m.Add(truth, pred); err != nil {
			t.Fatal(err)
		}
		if v := m.Values()[0]; v.Value < 1-1e-9 {
			t.Errorf("%T: %+v", m, v)
		}
	}
}

// A mask that was predicted is as fine as the image that it is led back to, not as the network's input.
func TestRestoreRefinesMasks(t *testing.T) {
	const side, size, enlarged = 2 * maskSide, 32, 256
	disc := make([]float32, side*side)
	for i := range disc {
		x, y := float64(i%side)+.5-side/2, float64(i/side)+.5-side/2
		disc[i] = float32(1 / (1 + math.Exp(math.Hypot(x, y)-10)))
	}
	d := &head{classes: 1, masks: true}
	pred := &data.Sample{}
	err := d.Decode(task.Outputs{
		outBoxes: {Shape: []int64{1, 1, 4}, Values: []float32{8, 8, 24, 24}}, outScores: {Shape: []int64{1, 1}, Values: []float32{1}},
		outLabels: {Shape: []int64{1, 1}, Values: []float32{0}}, outCount: {Shape: []int64{1}, Values: []float32{1}},
		outMasks: {Shape: []int64{1, 1, side, side}, Values: disc},
	}, size, []*data.Sample{pred})
	if err != nil {
		t.Fatal(err)
	}
	f := data.Frame{Size: size, W: size, H: size, SourceW: enlarged, SourceH: enlarged}
	m := Of(f.Restore(pred, enlarged, enlarged))[0].Mask
	if m.Probs != nil {
		t.Error("the image's own mask is made anew once more")
	}
	// The disc has a radius of 10 of 28 cells of a box of 128 pixels. By the nearest pixel of the input its
	// edge would be off by up to 4 pixels, and flat over 8.
	const radius = 10 * 128. / side
	for y := range enlarged {
		for x := range enlarged {
			r := math.Hypot(float64(x)+.5-enlarged/2, float64(y)+.5-enlarged/2)
			if math.Abs(r-radius) > 1.5 && m.At(x, y) != (r < radius) {
				t.Fatalf("pixel %d, %d at %.1f of %.1f from the centre is %v", x, y, r, radius, m.At(x, y))
			}
		}
	}
}
