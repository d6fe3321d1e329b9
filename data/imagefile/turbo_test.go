package imagefile

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"must/turbojpeg"
)

// TestTurbo holds libjpeg-turbo, where there is one, against the standard library: pixels are the same within two levels, one in ten
// thousand within three, those of a fraction near the means; what is damaged it refuses and does not crash on.
func TestTurbo(t *testing.T) {
	if _, err := turbojpeg.Find(); err != nil {
		t.Skip(err)
	}
	files := map[string][]byte{}
	for _, name := range []string{"subsampled.jpg", "progressive.jpg", "grey.jpg", "exif6.jpg"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	var b bytes.Buffer
	smooth := image.NewRGBA(image.Rect(0, 0, 253, 131))
	for y := range 131 {
		for x := range 253 {
			smooth.SetRGBA(x, y, color.RGBA{uint8(x), uint8(2 * y), uint8(255 - x), 255})
		}
	}
	if err := jpeg.Encode(&b, smooth, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	files["odd sides"] = b.Bytes()
	rng := rand.New(rand.NewPCG(1, 1))
	for name, content := range files {
		img, err := jpeg.Decode(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		size := img.Bounds().Size()
		want := image.NewRGBA(img.Bounds())
		draw.Draw(want, want.Rect, img, image.Point{}, draw.Src)
		got, err := turbojpeg.Decode(content, size, 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var apart [256]int
		for i, v := range want.Pix {
			apart[max(int(v)-int(got.Pix[i]), int(got.Pix[i])-int(v))]++
		}
		if rare := apart[3]; len(want.Pix) != apart[0]+apart[1]+apart[2]+rare || rare*10000 > len(want.Pix) {
			t.Errorf("%s: so many bytes differ from the standard library's by 0, 1, 2, … levels: %v", name, apart)
		}
		for _, d := range []int{2, 4, 8} {
			want := reduce(want.Rect, d, func(dst *image.RGBA) { draw.Draw(dst, dst.Rect, img, dst.Rect.Min, draw.Src) })
			got, err := turbojpeg.Decode(content, size, d)
			if err != nil {
				t.Fatalf("%s at 1/%d: %v", name, d, err)
			}
			if got.Rect != want.Rect {
				t.Fatalf("%s at 1/%d: %v, want %v", name, d, got.Rect, want.Rect)
			}
			off := 0
			for i, v := range want.Pix {
				off += max(int(v)-int(got.Pix[i]), int(got.Pix[i])-int(v))
			}
			if mean := float64(off) / float64(len(want.Pix)); mean > 3 {
				t.Errorf("%s at 1/%d: %.1f levels from the means", name, d, mean)
			}
		}
		if _, err := turbojpeg.Decode(content, size.Add(image.Pt(1, 0)), 1); err == nil {
			t.Errorf("%s: another size than the caller's passed", name)
		}
		for range 200 { // cut short, and with bytes changed: an error or an image
			damaged := append([]byte(nil), content[:1+rng.IntN(len(content))]...)
			for range rng.IntN(4) {
				damaged[rng.IntN(len(damaged))] = byte(rng.Uint32())
			}
			turbojpeg.Decode(damaged, size, 1<<rng.IntN(4))
		}
		if _, err := turbojpeg.Decode(content[:len(content)*2/3], size, 1); err == nil {
			t.Errorf("%s: cut short, and it passed", name)
		}
	}
	if _, err := turbojpeg.Decode(nil, image.Pt(1, 1), 1); err == nil || errors.Is(err, turbojpeg.ErrNone) {
		t.Errorf("an empty file: %v", err)
	}
}

func BenchmarkDecode(b *testing.B) {
	var file bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 2048, 1536))
	rng := rand.New(rand.NewPCG(1, 1))
	for y := range 1536 {
		for x := range 2048 {
			img.SetRGBA(x, y, color.RGBA{uint8(x/8) + uint8(rng.IntN(16)), uint8(y/8) + uint8(rng.IntN(16)), uint8(x * y / 4096), 255})
		}
	}
	if err := jpeg.Encode(&file, img, &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	for _, side := range []int{0, 768, 384, 192} {
		b.Run(map[int]string{0: "whole", 768: "half", 384: "quarter", 192: "eighth"}[side], func(b *testing.B) {
			for b.Loop() {
				if _, _, err := decode("", file.Bytes(), true, side); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
