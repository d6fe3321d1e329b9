package augment

import (
	"image"
	"math"
	"math/rand/v2"

	"must/data"
)

// A Contrast says how the random views that contrastive methods compare are made: a part of the image
// resampled to Size×Size, and then, each with its own probability, a flip, changed colours, grey, blur.
type Contrast struct {
	Size    int
	MinArea float64 // least share of the image that a view shows
	Flip    float64
	Jitter  float64 // probability that the colours change, within Colors
	Colors  Colors
	Grey    float64
	Blur    float64 // probability of GaussianBlur, σ uniform in 0.1 to 2 px
}

// View returns a random view of a sample's image; labels are left behind. s is not changed. The image
// is resampled bilinearly and antialiased, where SimCLR's program takes bicubic values.
func (c Contrast) View(s *data.Sample, rng *rand.Rand) *data.Sample {
	part := randomPart(s.Image.Rect, c.MinArea, 1, rng)
	img := resample(s.Image.SubImage(part).(*image.RGBA), data.Placement{
		X: data.Axis{N: part.Dx(), Scaled: c.Size, Canvas: c.Size, Flip: rng.Float64() < c.Flip},
		Y: data.Axis{N: part.Dy(), Scaled: c.Size, Canvas: c.Size},
	})
	if rng.Float64() < c.Jitter {
		c.Colors.draw(rng).apply(img, img.Rect)
	}
	if rng.Float64() < c.Grey {
		Grayscale(img)
	}
	if rng.Float64() < c.Blur {
		img = GaussianBlur(img, 0.1+1.9*rng.Float64())
	}
	return &data.Sample{Key: s.Key, Image: img}
}

// randomPart returns a random part of r: its area a share of r's between minArea and maxArea, its
// aspect between 3:4 and 4:3 (Szegedy et al. 2015; torchvision's RandomResizedCrop). Where ten draws
// give no part that fits, it is the largest central part of such an aspect.
func randomPart(r image.Rectangle, minArea, maxArea float64, rng *rand.Rand) image.Rectangle {
	const widest = 4.0 / 3
	W, H := float64(r.Dx()), float64(r.Dy())
	for range 10 {
		area := W * H * (minArea + (maxArea-minArea)*rng.Float64())
		aspect := math.Exp(math.Log(widest) * (2*rng.Float64() - 1))
		w, h := int(math.Round(math.Sqrt(area*aspect))), int(math.Round(math.Sqrt(area/aspect)))
		if w < 1 || h < 1 || w > r.Dx() || h > r.Dy() {
			continue
		}
		x, y := r.Min.X+rng.IntN(r.Dx()-w+1), r.Min.Y+rng.IntN(r.Dy()-h+1)
		return image.Rect(x, y, x+w, y+h)
	}
	w, h := r.Dx(), r.Dy()
	w, h = min(w, max(1, int(math.Round(H*widest)))), min(h, max(1, int(math.Round(W*widest))))
	x, y := r.Min.X+(r.Dx()-w)/2, r.Min.Y+(r.Dy()-h)/2
	return image.Rect(x, y, x+w, y+h)
}

// Grayscale replaces every pixel by its luma, in place.
func Grayscale(img *image.RGBA) {
	jitter{brightness: 1, contrast: 1}.apply(img, img.Rect)
}

// GaussianBlur returns img blurred with a standard deviation of sigma px by a kernel as wide as a
// tenth of its height, at least 3 px (SimCLR §A). At the edges the kernel is cut and renormalised.
func GaussianBlur(img *image.RGBA, sigma float64) *image.RGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	radius := max(1, h/20)
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	filter(dst, image.Point{}, img, gaussian(w, radius, sigma), gaussian(h, radius, sigma))
	return dst
}

// gaussian returns the taps of n pixels.
func gaussian(n, radius int, sigma float64) []taps {
	// Beyond 5.65 σ a weight is under 2⁻²³ and counts as 0.
	radius = min(radius, int(math.Ceil(5.65*sigma)))
	out := make([]taps, n)
	for c := range out {
		first, end := max(0, c-radius), min(n, c+radius+1)
		k := make([]float64, end-first)
		var sum float64
		for j := range k {
			d := float64(first+j-c) / sigma
			k[j] = math.Exp(-d * d / 2)
			sum += k[j]
		}
		out[c] = taps{first, make([]uint64, len(k))}
		for j := range k {
			out[c].weights[j] = uint64(.5 + k[j]/sum*(1<<weightBits))
		}
	}
	return out
}
