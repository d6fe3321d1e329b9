package imagefile

import (
	"encoding/json"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestHEIFEqualsPillow compares pictures of phones with what Pillow shows of them: testdata/make_heif.py.
func TestHEIFEqualsPillow(t *testing.T) {
	text, err := os.ReadFile("testdata/heif.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct {
		W, H  int
		Means [][][3]float64 // of blocks of 8×8 pixels
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	for name, want := range expected {
		file := filepath.Join("testdata", "heif", name)
		img, err := Decode(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if img.Rect.Size() != image.Pt(want.W, want.H) {
			t.Errorf("%s: %v pixels, want %d×%d", name, img.Rect.Size(), want.W, want.H)
			continue
		}
		small, full, err := Reduced("key", file, min(want.W, want.H)/8)
		if err != nil || full != img.Rect.Size() {
			t.Errorf("%s: reduced, of %v: %v", name, full, err)
			continue
		}
		// The decoder of HEIC takes the outermost chroma of 4:2:0 for up to 20 levels too much or too little.
		worst, worstSmall, edge := 0., 0., 0.
		for by, row := range want.Means {
			for bx, mean := range row {
				var sum [3]float64
				cell := image.Rect(8*bx, 8*by, 8*bx+8, 8*by+8).Intersect(img.Rect)
				for y := cell.Min.Y; y < cell.Max.Y; y++ {
					for x := cell.Min.X; x < cell.Max.X; x++ {
						for k := range sum {
							sum[k] += float64(img.Pix[img.PixOffset(x, y)+k])
						}
					}
				}
				n := float64(cell.Dx() * cell.Dy())
				border := filepath.Ext(name) == ".heic" && (bx == 0 || by == 0 || bx == len(row)-1 || by == len(want.Means)-1)
				for k := range sum {
					if border {
						edge = max(edge, math.Abs(sum[k]/n-mean[k]))
						continue
					}
					worst = max(worst, math.Abs(sum[k]/n-mean[k]))
					if small.Image.Rect.Dx() == len(row) && small.Image.Rect.Dy() == len(want.Means) && want.W%8 == 0 && want.H%8 == 0 {
						worstSmall = max(worstSmall, math.Abs(float64(small.Image.Pix[small.Image.PixOffset(bx, by)+k])-mean[k]))
					}
				}
			}
		}
		if worst > 3 || worstSmall > 3 || edge > 20 {
			t.Errorf("%s: means of blocks differ by %.1f, reduced by %.1f, at the border of a HEIC by %.1f, want 3, 3 and 20 at most", name, worst, worstSmall, edge)
		}
	}
}
