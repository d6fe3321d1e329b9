package draw

import "image/color"

// Void is the colour of pixels without a value.
var Void = color.RGBA{214, 217, 221, 255}

// bright are colours that can be told apart on a photograph; they repeat.
var bright = []color.RGBA{
	{255, 99, 72, 255}, {46, 213, 115, 255}, {30, 144, 255, 255}, {255, 200, 40, 255}, {190, 100, 255, 255},
	{0, 210, 211, 255}, {255, 107, 186, 255}, {164, 222, 60, 255}, {255, 150, 60, 255}, {130, 150, 255, 255},
	{0, 170, 140, 255}, {230, 80, 110, 255},
}

// Color returns the colour of an object class, the same in all pictures.
func Color(class int) color.RGBA { return bright[((class%len(bright))+len(bright))%len(bright)] }

// Palette is the colour map of Pascal VOC: what its devkit, and most tools after it, give to the
// pixels of a class map. Index 255 (ignore) is a light grey.
var Palette = func() (p color.Palette) {
	for id := range 256 {
		var c color.RGBA
		for j, rest := 0, id; j < 8; j, rest = j+1, rest>>3 {
			c.R |= uint8(rest&1) << (7 - j)
			c.G |= uint8(rest>>1&1) << (7 - j)
			c.B |= uint8(rest>>2&1) << (7 - j)
		}
		c.A = 255
		p = append(p, c)
	}
	return p
}()

// natural are the colours of surroundings that have one in everybody's mind.
var natural = map[string]color.RGBA{
	"sky": {120, 190, 255, 255}, "grass": {70, 175, 60, 255}, "water": {25, 95, 205, 255}, "sand": {238, 205, 110, 255},
	"wall": {175, 160, 200, 255}, "floor": {150, 105, 70, 255}, "ceiling": {235, 232, 220, 255}, "table": {205, 110, 40, 255},
	"window": {100, 225, 235, 255}, "door": {160, 45, 60, 255}, "picture": {235, 120, 215, 255}, "rug": {215, 60, 60, 255},
	"sofa": {60, 150, 140, 255}, "cabinet": {105, 65, 150, 255}, "road": {110, 110, 118, 255}, "tree": {25, 110, 50, 255},
	"building": {140, 120, 110, 255}, "person": {220, 20, 60, 255},
}

// SegmentColor returns the colour of a class of a semantic map: VOC's where the first class is a
// background, as in VOC; else the natural one of its name, or the next of the colours of objects.
func SegmentColor(class int, names []string) color.RGBA {
	if len(names) > 0 && names[0] == Background {
		return Palette[class&255].(color.RGBA)
	}
	if c, ok := natural[ClassName(names, class)]; ok {
		return c
	}
	nth := class
	for _, before := range names[:min(class, len(names))] {
		if _, ok := natural[before]; ok {
			nth--
		}
	}
	return Color(nth)
}

// Background names the class of what belongs to no other.
const Background = "background"

// Mix returns a with the part w of b.
func Mix(a, b color.RGBA, w float64) color.RGBA {
	m := func(a, b uint8) uint8 { return uint8(float64(a)*(1-w) + float64(b)*w + 0.5) }
	return color.RGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), 255}
}

// Luma returns the grey of a colour (ITU-R BT.601).
func Luma(c color.RGBA) color.RGBA {
	y := uint8((299*int(c.R) + 587*int(c.G) + 114*int(c.B)) / 1000)
	return color.RGBA{y, y, y, 255}
}

// InkOn returns black or white, whichever can be read on c.
func InkOn(c color.RGBA) color.Color {
	if Luma(c).R > 110 {
		return color.RGBA{20, 20, 24, 255}
	}
	return color.White
}

// Turbo is the colour map of that name, from blue at 0 to red at 1, by the polynomial of its
// authors (A. Mikhailov, Google, 2019).
func Turbo(x float64) color.RGBA {
	x = min(max(x, 0), 1)
	poly := func(k [6]float64) uint8 {
		v := 0.0
		for i := len(k) - 1; i >= 0; i-- {
			v = v*x + k[i]
		}
		return uint8(min(max(v, 0), 1)*255 + 0.5)
	}
	return color.RGBA{
		poly([6]float64{0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943}),
		poly([6]float64{0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604}),
		poly([6]float64{0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973}),
		255,
	}
}
