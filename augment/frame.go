package augment

import (
	"image"

	"must/data"
)

// Letterbox brings an image to w×h as Eval does: scaled to fit, in the top left corner, Fill around it.
func Letterbox(img *image.RGBA, w, h int) (*image.RGBA, data.Frame) {
	size := img.Rect.Size()
	long := max(size.X, size.Y)
	scaledW, scaledH := fit(size.X, size.Y, min(float64(w*long)/float64(size.X), float64(h*long)/float64(size.Y)))
	return frame(img, w, h, min(scaledW, w), min(scaledH, h))
}

// Stretch brings an image to w×h, whatever its shape.
func Stretch(img *image.RGBA, w, h int) (*image.RGBA, data.Frame) { return frame(img, w, h, w, h) }

func frame(img *image.RGBA, canvasW, canvasH, w, h int) (*image.RGBA, data.Frame) {
	size := img.Rect.Size()
	p := data.Placement{X: data.Axis{N: size.X, Scaled: w, Canvas: canvasW}, Y: data.Axis{N: size.Y, Scaled: h, Canvas: canvasH}}
	f := data.Frame{Size: canvasW, W: w, H: h, SourceW: size.X, SourceH: size.Y}
	if canvasH != canvasW {
		f.Height = canvasH
	}
	return resample(img, p), f
}
