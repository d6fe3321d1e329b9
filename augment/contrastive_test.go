package augment

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"must/data"
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

func TestViewOfOnePixelIsThatPixel(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	img := noise(1, 1, rng)
	got := Contrast{Size: 5, MinArea: .08, Flip: .5, Blur: .5}.View(&data.Sample{Key: "k", Image: img}, rng)
	if got.Key != "k" || got.Image.Rect != image.Rect(0, 0, 5, 5) || got.Image.RGBAAt(4, 4) != img.RGBAAt(0, 0) {
		t.Errorf("%+v", got)
	}
}

// Over many seeds every change happens as often as it is asked for, and independently of the others:
// an image of a red half and a blue one tells of each.
func TestViewProbabilities(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for y := range 40 {
		for x := range 40 {
			c := color.RGBA{200, 40, 40, 255}
			if x >= 20 {
				c = color.RGBA{40, 40, 180, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	was := slices.Clone(img.Pix)
	s := &data.Sample{Image: img}
	c := Contrast{Size: 40, MinArea: 1, Flip: .5, Jitter: .8, Colors: SimCLRColors(.25), Grey: .2, Blur: .5}
	const n = 4000
	var flip, jitter, grey, blur, greyAndBlur float64
	for i := range uint64(n) {
		v := c.View(s, rand.New(rand.NewPCG(7, i))).Image
		left, right := v.RGBAAt(2, 20), v.RGBAAt(37, 20)
		isGrey := left.R == left.G && left.G == left.B
		luma := func(c color.RGBA) float64 {
			return lumaR*float64(c.R) + lumaG*float64(c.G) + lumaB*float64(c.B)
		}
		flipped := luma(left) < luma(right) // red is the lighter one, whatever the jitter
		if flipped {
			flip++
			left, right = right, left
		}
		if isGrey {
			grey++
		} else if left != img.RGBAAt(0, 0) || right != img.RGBAAt(39, 0) {
			jitter++
		}
		// The edge between the halves is one pixel sharp unless it is blurred by more than a little.
		if e, f := v.RGBAAt(18, 20), v.RGBAAt(2, 20); e != f {
			blur++
			if isGrey {
				greyAndBlur++
			}
		}
		if again := c.View(s, rand.New(rand.NewPCG(7, i))).Image; !slices.Equal(again.Pix, v.Pix) {
			t.Fatal("one seed gives two views")
		}
	}
	// A crop of area 1 has aspect 1 only, so that all views show the whole image. σ under about 0.6 does
	// not reach two pixels far at 8 bits.
	const reach = (2 - .6) / 1.9
	for name, v := range map[string][2]float64{
		"flip": {flip / n, .5}, "grey": {grey / n, .2}, "jitter": {jitter / (n - grey), .8},
		"blur": {blur / n, .5 * reach}, "blur of grey ones": {greyAndBlur / grey, .5 * reach},
	} {
		if math.Abs(v[0]-v[1]) > .04 {
			t.Errorf("%s: %.3f of the views, want %.3f", name, v[0], v[1])
		}
	}
	if !slices.Equal(img.Pix, was) {
		t.Error("views change the image")
	}
}

func BenchmarkView(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{64, 224} {
		s := &data.Sample{Image: noise(2*size, 2*size, rng)}
		for name, c := range map[string]Contrast{
			"simclr": {Size: size, MinArea: .08, Flip: .5, Jitter: .8, Colors: SimCLRColors(1), Grey: .2, Blur: .5},
			"crop":   {Size: size, MinArea: .08, Flip: .5},
		} {
			b.Run(fmt.Sprint(name, size), func(b *testing.B) {
				for b.Loop() {
					c.View(s, rng)
				}
			})
		}
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
