package augment

import (
	"image"
	"math"
	"math/rand/v2"
)

// A jitter is one draw of Colors: factors of brightness, contrast and saturation, and a hue
// rotation in turns.
type jitter struct{ brightness, contrast, saturation, hue float64 }

// Colors are the spans of random changes: of the factors of brightness, contrast and saturation around
// 1, and of a hue rotation, in turns, around 0.
type Colors struct{ Brightness, Contrast, Saturation, Hue float64 }

// SimCLRColors returns SimCLR's changes at a strength (Chen et al. 2020, §A); at 1 they are factors 1 ± .8 and a
// hue ± .2 of a turn.
func SimCLRColors(strength float64) Colors {
	return Colors{.8 * strength, .8 * strength, .8 * strength, .2 * strength}
}

// draw takes four draws whatever the spans.
func (c Colors) draw(rng *rand.Rand) jitter {
	around := func(centre, span float64) float64 { return centre + span*(2*rng.Float64()-1) }
	return jitter{
		brightness: around(1, c.Brightness),
		contrast:   around(1, c.Contrast),
		saturation: around(1, c.Saturation),
		hue:        around(0, c.Hue),
	}
}

// The weights of red, green and blue in luma (ITU-R BT.601).
const lumaR, lumaG, lumaB = .299, .587, .114

// apply changes the part r of img. Hue is rotated in YIQ. The four changes are one colour matrix in fixed order,
// clamped once, where torchvision shuffles them and clamps after each.
func (j jitter) apply(img *image.RGBA, r image.Rectangle) {
	if j == (jitter{1, 1, 1, 0}) || r.Empty() {
		return
	}
	// Hue turns the chroma plane, saturation shrinks it, brightness and contrast scale all;
	// contrast holds the mean luma fixed. All keep grey grey, so that one offset suffices.
	sin, cos := math.Sincos(2 * math.Pi * j.hue)
	gain := j.brightness * j.contrast
	offset := j.brightness * (1 - j.contrast) * meanLuma(img, r)
	toYIQ := [3][3]float64{{lumaR, lumaG, lumaB}, {.595716, -.274453, -.321263}, {.211456, -.522591, .311135}}
	turn := [3][3]float64{
		{gain, 0, 0},
		{0, gain * j.saturation * cos, -gain * j.saturation * sin},
		{0, gain * j.saturation * sin, gain * j.saturation * cos},
	}
	toRGB := [3][3]float64{{1, .9563, .6210}, {1, -.2721, -.6474}, {1, -1.1070, 1.7046}}
	m := mul(toRGB, mul(turn, toYIQ))

	// 16 fractional bits; the sum stays far inside 32.
	const one = 1 << 16
	var f [3][3]int32
	for i := range f {
		for k := range f[i] {
			f[i][k] = int32(math.Round(m[i][k] * one))
		}
	}
	bias := int32(math.Round((offset + .5) * one))
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := img.Pix[img.PixOffset(r.Min.X, y):][:4*r.Dx()]
		for len(row) >= 4 {
			red, green, blue := int32(row[0]), int32(row[1]), int32(row[2])
			row[0] = clamp((f[0][0]*red + f[0][1]*green + f[0][2]*blue + bias) >> 16)
			row[1] = clamp((f[1][0]*red + f[1][1]*green + f[1][2]*blue + bias) >> 16)
			row[2] = clamp((f[2][0]*red + f[2][1]*green + f[2][2]*blue + bias) >> 16)
			row = row[4:]
		}
	}
}

func clamp(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

func mul(a, b [3][3]float64) (c [3][3]float64) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				c[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return c
}

// meanLuma returns the mean luma of the part r of img, 0 to 255.
func meanLuma(img *image.RGBA, r image.Rectangle) float64 {
	var red, green, blue int
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := img.Pix[img.PixOffset(r.Min.X, y):][:4*r.Dx()]
		for ; len(row) >= 4; row = row[4:] {
			red += int(row[0])
			green += int(row[1])
			blue += int(row[2])
		}
	}
	return (lumaR*float64(red) + lumaG*float64(green) + lumaB*float64(blue)) / float64(r.Dx()*r.Dy())
}
