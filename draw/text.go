package draw

import (
	"image"
	"image/color"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// typeface is parsed once; it is part of the program, so it cannot fail to parse.
var typeface = sync.OnceValue(func() *opentype.Font {
	f, err := opentype.Parse(gomedium.TTF)
	if err != nil {
		panic(err)
	}
	return f
})

// fontSize returns the size in pixels of the text in a tile.
func fontSize(side int) float64 { return min(max(float64(side)/20, 10), 16) }

// A writer writes text of one size. It is not safe for concurrent use: every canvas has its own.
type writer struct {
	face           font.Face
	ascent, height int
}

func newWriter(size float64) *writer {
	face, err := opentype.NewFace(typeface(), &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		panic(err) // only for options that are out of range
	}
	m := face.Metrics()
	return &writer{face, m.Ascent.Ceil(), m.Ascent.Ceil() + m.Descent.Ceil()}
}

func (w *writer) width(s string) int { return font.MeasureString(w.face, s).Ceil() }

// write writes a line whose upper left corner is (x, y).
func (w *writer) write(dst *image.RGBA, x, y int, s string, c color.Color) {
	d := font.Drawer{Dst: dst, Src: image.NewUniform(c), Face: w.face, Dot: fixed.P(x, y+w.ascent)}
	d.DrawString(s)
}

// outlined writes a line in white with a dark rim, to be read on any ground.
func (w *writer) outlined(dst *image.RGBA, x, y int, s string) {
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			w.write(dst, x+dx, y+dy, s, color.NRGBA{0, 0, 0, 110})
		}
	}
	w.write(dst, x, y, s, color.White)
}

// fit shortens s with an ellipsis until it is no wider than width.
func (w *writer) fit(s string, width int) string {
	if w.width(s) <= width {
		return s
	}
	r := []rune(s)
	for len(r) > 0 && w.width(string(r)+"…") > width {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}
