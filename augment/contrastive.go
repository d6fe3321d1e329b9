package augment

import (
	"image"
	"math"
	"math/rand/v2"
)

// RandomResizedCrop returns a random part of img, resampled to size×size: its area a share of img's
// between minArea and maxArea, its aspect between 3:4 and 4:3 (Szegedy et al. 2015; torchvision).
// Where ten draws give no part that fits, it is the largest central part of such an aspect.
func RandomResizedCrop(img *image.RGBA, size int, minArea, maxArea float64, rng *rand.Rand) *image.RGBA {
	part := randomPart(img.Rect, minArea, maxArea, rng)
	return resample(img.SubImage(part).(*image.RGBA), view{
		x: axis{n: part.Dx(), scaled: size, canvas: size},
		y: axis{n: part.Dy(), scaled: size, canvas: size},
	})
}

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
