package frame

import (
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
)

// A dark picture with one bright pixel, stored in each of the eight EXIF orientations: whatever is drawn
// around that pixel on the picture as stored lies around it on the picture as shown.
func TestLabelsStayOnTheirPixel(t *testing.T) {
	const w, h = 10, 6
	at := image.Pt(7, 1)
	for turn := 1; turn <= 8; turn++ {
		file := filepath.Join(t.TempDir(), "a.png")
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		for i := range w * h {
			img.Set(i%w, i/w, color.Black)
		}
		img.Set(at.X, at.Y, color.White)
		if err := os.WriteFile(file, []byte(datatest.Turned(datatest.PNG(img), turn)), 0o600); err != nil {
			t.Fatal(err)
		}

		var c Counts
		s, f, err := Sample("a", file, Stored, 0, 0, &c)
		if err != nil {
			t.Fatal(err)
		}
		bright := func(x, y int) bool { return s.Image.RGBAAt(x, y).R > 200 }
		box := f.Box(data.Box{X0: float64(at.X), Y0: float64(at.Y), X1: float64(at.X + 1), Y1: float64(at.Y + 1)})
		if box.Area() != 1 || !bright(int(box.X0), int(box.Y0)) {
			t.Errorf("orientation %d: box %v", turn, box)
		}
		m := f.Mask(&data.Mask{Rect: image.Rect(at.X-1, at.Y, at.X+1, at.Y+1), Pix: []uint8{0, 1}})
		g := data.NewGrid[uint8](w, h)
		g.Set(at.X, at.Y, 9)
		turned, err := Grid(f, g)
		if err != nil {
			t.Fatal(err)
		}
		for y := range s.Image.Rect.Dy() {
			for x := range s.Image.Rect.Dx() {
				if m.At(x, y) != bright(x, y) || (turned.At(x, y) == 9) != bright(x, y) {
					t.Errorf("orientation %d: pixel (%d, %d)", turn, x, y)
				}
			}
		}
	}
}

func TestFrameByDeclarationAndSize(t *testing.T) {
	shown := image.Pt(48, 64) // stored 64×48 where turned by 6
	for _, c := range []struct {
		rule  string
		turn  int
		w, h  int
		point [2]float64 // of (6, 10)
		want  string     // error
		count string     // note
	}{
		{"", 1, 0, 0, [2]float64{6, 10}, "", ""},
		{"", 1, 48, 64, [2]float64{6, 10}, "", ""},
		{"", 1, 64, 48, [2]float64{}, "but its labels are for 64×48", ""},
		{"", 6, 64, 48, [2]float64{38, 6}, "", "drawn on the pixels as stored"},
		{"", 6, 48, 64, [2]float64{6, 10}, "", ""},
		{"", 6, 0, 0, [2]float64{6, 10}, "", "no size tells"},
		{"", 3, 48, 64, [2]float64{6, 10}, "", "no size tells"},
		{Stored, 3, 48, 64, [2]float64{42, 54}, "", ""},
		{Shown, 6, 64, 48, [2]float64{6, 10}, "", ""},
		{Shown, 1, 480, 640, [2]float64{6, 10}, "", ""},
		{"", 1, 480, 640, [2]float64{}, "set frame to resized", ""},
		{Resized, 1, 480, 640, [2]float64{0.6, 1}, "", "labels scaled"},
		{Resized, 6, 640, 480, [2]float64{47, 0.6}, "", "labels scaled"},
	} {
		var counts Counts
		f, err := of(c.rule, shown, c.turn, c.w, c.h, &counts)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		x, y := f.Point(6, 10)
		if dx, dy := x-c.point[0], y-c.point[1]; dx*dx+dy*dy > 1e-18 {
			t.Errorf("%+v: (%v, %v)", c, x, y)
		}
		if notes := strings.Join(counts.Notes(), " "); !strings.Contains(notes, c.count) || c.count == "" && notes != "" {
			t.Errorf("%+v: notes %q", c, notes)
		}
	}
	if err := Check("upside"); err == nil {
		t.Error("a rule that there is not")
	}
}
