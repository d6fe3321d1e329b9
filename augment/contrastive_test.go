package augment

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"
)

func noise(w, h int, rng *rand.Rand) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = uint8(rng.Uint32())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

func TestRandomPart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var areas float64
	for range 2000 {
		r := image.Rect(0, 0, 120, 100)
		p := randomPart(r, .08, 1, rng)
		area, aspect := float64(p.Dx()*p.Dy())/12000, float64(p.Dx())/float64(p.Dy())
		if !p.In(r) || p.Empty() || area < .07 || area > 1 || aspect < .7 || aspect > 1.43 {
			t.Fatalf("%v: area %v, aspect %v", p, area, aspect)
		}
		areas += area / 2000
	}
	if areas < .4 || areas > .6 {
		t.Errorf("the mean share is %v", areas)
	}
	for _, r := range []image.Rectangle{image.Rect(0, 0, 1, 1), image.Rect(0, 0, 1000, 10), image.Rect(0, 0, 10, 1000)} {
		for range 50 {
			if p := randomPart(r, .9, 1, rng); !p.In(r) || p.Empty() || p.Dx() > 14 && r.Dx() == 1000 {
				t.Fatalf("%v of %v", p, r)
			}
		}
	}
}

func TestRandomResizedCropOfEverythingIsTheImage(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	img := noise(1, 1, rng)
	if got := RandomResizedCrop(img, 5, .08, 1, rng); got.Rect.Dx() != 5 || got.RGBAAt(4, 4) != img.RGBAAt(0, 0) {
		t.Errorf("%v", got)
	}
}

func TestGrayscale(t *testing.T) {
	img := noise(9, 9, rand.New(rand.NewPCG(3, 1)))
	was := *img
	was.Pix = append([]uint8(nil), img.Pix...)
	Grayscale(img)
	for i := 0; i < len(img.Pix); i += 4 {
		p, q := img.Pix[i:], was.Pix[i:]
		luma := lumaR*float64(q[0]) + lumaG*float64(q[1]) + lumaB*float64(q[2])
		if p[0] != p[1] || p[1] != p[2] || p[3] != 255 || math.Abs(luma-float64(p[0])) > 1 {
			t.Fatalf("%v became %v", q[:4], p[:4])
		}
	}
}

func TestGaussianBlur(t *testing.T) {
	// A white dot becomes the kernel.
	img := image.NewRGBA(image.Rect(0, 0, 120, 120))
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	copy(img.Pix[img.PixOffset(60, 60):], []uint8{255, 255, 255})
	got := GaussianBlur(img, 1)
	peak := float64(got.RGBAAt(60, 60).R)
	if want := 255 / (2 * math.Pi); math.Abs(peak-want) > 1 {
		t.Errorf("peak is %v, want %v", peak, want)
	}
	if want, r := peak*math.Exp(-.5), float64(got.RGBAAt(61, 60).R); math.Abs(r-want) > 1 {
		t.Errorf("one pixel on it is %v, want %v", r, want)
	}
	if got.RGBAAt(60, 67).R != 0 || !got.Opaque() {
		t.Error("the kernel is wider than a tenth, or alpha changed")
	}
	flat := noise(1, 1, rand.New(rand.NewPCG(4, 1)))
	if b := GaussianBlur(flat, 2); b.RGBAAt(0, 0) != flat.RGBAAt(0, 0) {
		t.Error("blurring one pixel changes it")
	}
}
