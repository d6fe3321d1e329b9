package predict

import (
	"image"
	"math/rand/v2"
	"testing"

	"must/augment"
	"must/data"
	"must/loader"
)

func TestLetterboxIsTheLoaders(t *testing.T) {
	s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 50, 30))}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range s.Image.Pix {
		s.Image.Pix[i] = uint8(rng.Uint32()) | uint8(i%4/3*255) // opaque
	}
	view, viewFrame := View{W: 32, H: 32, Fit: Letterbox}.Bring(s.Image)
	images := planar([]loader.Brought{{Image: view}, {Image: view}})
	want, frame := augment.Config{Size: 32}.Eval(s)
	for i, v := range images.Pix {
		k := i % (32 * 32)
		if c := i / (32 * 32) % 3; v != want.Image.Pix[4*k+c] {
			t.Fatalf("value %d is %d, want %d", i, v, want.Image.Pix[4*k+c])
		}
	}
	if viewFrame != frame {
		t.Errorf("frame %+v, want %+v", viewFrame, frame)
	}
}
