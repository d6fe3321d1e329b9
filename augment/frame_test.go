package augment

import (
	"image"
	"math"
	"testing"

	"must/data"
	depthlabel "must/task/depth"
	"must/task/detection"
)

// TestFramesThatAreNotSquare brings images to oblong frames and predictions back.
func TestFramesThatAreNotSquare(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 60, 20))
	for name, c := range map[string]struct {
		bring func(*image.RGBA, int, int) (*image.RGBA, data.Frame)
		used  image.Point // of the 30×16 frame
	}{"letterbox": {Letterbox, image.Pt(30, 10)}, "stretch": {Stretch, image.Pt(30, 16)}} {
		view, f := c.bring(img, 30, 16)
		if view.Rect.Size() != image.Pt(30, 16) || f.W != c.used.X || f.H != c.used.Y {
			t.Errorf("%s: a view of %v, frame %+v", name, view.Rect.Size(), f)
		}
		depth := data.NewGrid[float32](15, 8) // half the frame's resolution: its own row and column
		for i := range depth.Pix {
			depth.Pix[i] = float32(i / 15)
		}
		box := data.Box{X0: 3, Y0: float64(c.used.Y) / 2, X1: 15, Y1: float64(c.used.Y)}
		mask := &data.Mask{Rect: image.Rect(3, c.used.Y/2, 15, c.used.Y), Pix: make([]uint8, 12*(c.used.Y-c.used.Y/2))}
		for i := range mask.Pix {
			mask.Pix[i] = 1
		}
		got := f.Restore(&data.Sample{Known: data.Know(detection.NewPartial([]data.Object{{Box: box, Mask: mask}}, []int{2}), depthlabel.New(depth))}, 60, 20)
		o := detection.Of(got)[0]
		if want := (data.Box{X0: 6, Y0: 10, X1: 30, Y1: 20}); o.Box != want || o.Mask.Rect != image.Rect(6, 10, 30, 20) || len(detection.Unknown(got)) != 1 {
			t.Errorf("%s: box %v, mask %v, unknown %v", name, o.Box, o.Mask.Rect, detection.Unknown(got))
		}
		last := float64(c.used.Y)/2 - 1 // the last row of the map that shows the image
		if at := float64(depthlabel.Of(got).At(30, 19)); math.Abs(at-last) > 0.3 {
			t.Errorf("%s: depth at the bottom is %v, want about %v", name, at, last)
		}
	}
}
