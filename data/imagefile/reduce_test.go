package imagefile

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"must/turbojpeg"
)

// ramp is a picture whose red grows to the right, whose green grows downwards, and which is half transparent.
func ramp(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x * 255 / w), uint8(y * 255 / h), 40, 128})
		}
	}
	return img
}

// TestReduced compares a picture decoded at a fraction with the means of the whole one.
func TestReduced(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o666); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var p, j bytes.Buffer
	if err := png.Encode(&p, ramp(131, 90)); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&j, ramp(131, 90), nil); err != nil {
		t.Fatal(err)
	}
	turned := append([]byte("\xff\xd8\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"), j.Bytes()[2:]...)
	for _, c := range []struct {
		name    string
		content []byte
		side, d int
		full    image.Point
	}{
		{"whole.png", p.Bytes(), 0, 1, image.Pt(131, 90)},
		{"small.png", p.Bytes(), 46, 1, image.Pt(131, 90)},
		{"half.png", p.Bytes(), 45, 2, image.Pt(131, 90)},
		{"quarter.png", p.Bytes(), 22, 4, image.Pt(131, 90)},
		{"eighth.png", p.Bytes(), 2, 8, image.Pt(131, 90)},
		{"half.jpg", j.Bytes(), 45, 2, image.Pt(131, 90)},
		{"turned.jpg", turned, 22, 4, image.Pt(90, 131)},
	} {
		file := write(c.name, c.content)
		whole, err := Decode(file)
		if err != nil {
			t.Fatal(c.name, err)
		}
		s, full, err := Reduced("key", file, c.side)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if full != c.full || full != whole.Rect.Size() {
			t.Errorf("%s: whole size %v, want %v", c.name, full, c.full)
		}
		size := s.Image.Rect.Size()
		if want := image.Pt((full.X+c.d-1)/c.d, (full.Y+c.d-1)/c.d); size != want {
			t.Fatalf("%s: %v pixels, want %v", c.name, size, want)
		}
		near := 0.51
		if _, err := turbojpeg.Find(); err == nil && filepath.Ext(c.name) == ".jpg" {
			near = 6 // a fraction is of frequencies there, not of means
		}
		for y := range size.Y {
			for x := range size.X {
				// A turned picture has its incomplete pixels at another edge.
				cell := image.Rect(x*c.d, y*c.d, (x+1)*c.d, (y+1)*c.d)
				if c.name == "turned.jpg" {
					cell = cell.Add(image.Pt(full.X-size.X*c.d, 0))
				}
				cell = cell.Intersect(whole.Rect)
				var sum [4]float64
				for wy := cell.Min.Y; wy < cell.Max.Y; wy++ {
					for wx := cell.Min.X; wx < cell.Max.X; wx++ {
						for k, v := range whole.Pix[whole.PixOffset(wx, wy):][:4] {
							sum[k] += float64(v)
						}
					}
				}
				for k, v := range s.Image.Pix[s.Image.PixOffset(x, y):][:4] {
					if mean := sum[k] / float64(cell.Dx()*cell.Dy()); math.Abs(mean-float64(v)) > near {
						t.Fatalf("%s: channel %d of pixel (%d, %d) is %d, want %.2f", c.name, k, x, y, v, mean)
					}
				}
			}
		}
	}
}
