package loader

import (
	"context"
	"image"
	"testing"

	"must/augment"
	"must/data"
)

// large is a set of one picture of 80×40 pixels that can be decoded at a half.
type large struct{ data.Dataset }

func (large) Len() int            { return 1 }
func (large) Key(int) string      { return "large" }
func (large) Labels() data.Labels { return data.Labels{} }

func (large) Reduced(_, side int) (*data.Sample, image.Point, error) {
	size := image.Pt(80, 40)
	if side <= 20 {
		size = image.Pt(40, 20)
	}
	return &data.Sample{Key: "large", Image: image.NewRGBA(image.Rectangle{Max: size})}, image.Pt(80, 40), nil
}

func TestReducedOriginalsKeepTheirSize(t *testing.T) {
	for _, pixels := range []int{-1, 1 << 20} {
		l, err := New(large{}, Options{Batch: 1, Augment: augment.Config{Size: 16}, Originals: true, Pixels: pixels, Side: 20})
		if err != nil {
			t.Fatal(err)
		}
		for b, err := range l.Pass(context.Background(), 0, 1) {
			if err != nil {
				t.Fatal(err)
			}
			kept := image.Pt(40, 20)
			if pixels < 0 {
				kept = image.Pt(80, 40)
			}
			if got := b.Originals[0].Image.Rect.Size(); b.Sizes[0] != image.Pt(80, 40) || got != kept {
				t.Errorf("pixels %d: size %v, kept %v, want (80,40) and %v", pixels, b.Sizes[0], got, kept)
			}
			if f := b.Frames[0]; f.W != 16 || f.H != 8 || f.SourceW != 40 {
				t.Errorf("frame %+v", f)
			}
		}
	}
}
