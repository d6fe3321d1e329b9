package rle

import (
	"image"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"must/data"
	"must/torch/goldentest"
)

// golden holds what pycocotools computes; testdata/make_golden.py makes it.
type golden struct {
	Masks []struct {
		A, B                        described
		Pixels, Union, Intersection string
		IoU, Crowd                  float64
	}
	Polygons []struct {
		described
		Polygons [][]float64
	}
	Boxes []struct {
		described
		XYWH [4]float64
	}
}

type described struct {
	H, W, Area int
	Counts     string
	Box        [4]int
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	goldentest.ReadFile(t, "golden.json.gz", &g)
	return g
}

func parse(t *testing.T, s string, h, w int) Mask {
	t.Helper()
	m, err := Parse(s, h, w)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// check compares a mask with its description.
func check(t *testing.T, m Mask, want described) {
	t.Helper()
	b := m.Bounds()
	got := described{m.H, m.W, m.Area(), m.String(), [4]int{b.Min.X, b.Min.Y, b.Dx(), b.Dy()}}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestMasksEqualPycocotools(t *testing.T) {
	for _, g := range readGolden(t).Masks {
		a := parse(t, g.A.Counts, g.A.H, g.A.W)
		check(t, a, g.A)
		check(t, Encode(a.Decode()), g.A)
		check(t, FromMask(a.Mask(), a.H, a.W), g.A)
		if g.Pixels == "" {
			continue
		}
		pixels := data.NewGrid[uint8](g.A.W, g.A.H)
		for i, v := range g.Pixels {
			pixels.Pix[i] = uint8(v - '0')
		}
		check(t, Encode(pixels), g.A)
		if !reflect.DeepEqual(a.Decode(), pixels) {
			t.Errorf("%+v decodes to other pixels", g.A)
		}

		b := parse(t, g.B.Counts, g.B.H, g.B.W)
		union, err := Union(a, b)
		if err != nil || union.String() != g.Union {
			t.Errorf("union %q, %v, want %q", union, err, g.Union)
		}
		if both := parse(t, g.Intersection, g.B.H, g.B.W); Overlap(a, b) != both.Area() {
			t.Errorf("overlap %d, want %d", Overlap(a, b), both.Area())
		}
		if iou := IoU(a, b, false); iou != g.IoU {
			t.Errorf("IoU %v, want %v", iou, g.IoU)
		}
		if iou := IoU(a, b, true); iou != g.Crowd {
			t.Errorf("IoU with a crowd %v, want %v", iou, g.Crowd)
		}
	}
}

func TestPolygonsEqualPycocotools(t *testing.T) {
	for _, g := range readGolden(t).Polygons {
		m, err := FromPolygons(g.Polygons, g.H, g.W)
		if err != nil {
			t.Fatal(err)
		}
		check(t, m, g.described)
		if t.Failed() {
			t.Fatalf("polygons %v", g.Polygons)
		}
	}
}

func TestBoxesEqualPycocotools(t *testing.T) {
	for _, g := range readGolden(t).Boxes {
		m, err := FromBox(g.XYWH[0], g.XYWH[1], g.XYWH[2], g.XYWH[3], g.H, g.W)
		if err != nil {
			t.Fatal(err)
		}
		check(t, m, g.described)
	}
}

func TestFromMaskClips(t *testing.T) {
	m := &data.Mask{Rect: image.Rect(-1, -1, 2, 2), Pix: []uint8{1, 1, 1, 1, 1, 0, 1, 0, 9}}
	got := FromMask(m, 1, 4)
	if want := []uint32{0, 1, 3}; !reflect.DeepEqual(got.Counts, want) {
		t.Errorf("got %v, want %v", got.Counts, want)
	}
}

func TestFromCounts(t *testing.T) {
	for _, test := range []struct{ counts, want []uint32 }{
		{[]uint32{}, []uint32{6}},
		{[]uint32{2}, []uint32{6}},
		{[]uint32{2, 1}, []uint32{2, 1, 3}},
		{[]uint32{2, 1, 0, 2}, []uint32{2, 3, 1}},
		{[]uint32{0, 0, 4, 2, 0}, []uint32{4, 2}},
	} {
		m, err := FromCounts(test.counts, 2, 3)
		if err != nil || !reflect.DeepEqual(m.Counts, test.want) {
			t.Errorf("%v: got %v, %v, want %v", test.counts, m.Counts, err, test.want)
		}
	}
}

func TestBadInput(t *testing.T) {
	for name, err := range map[string]error{
		"long runs":    second(FromCounts([]uint32{4, 3}, 2, 3)),
		"huge":         second(FromCounts(nil, 1<<20, 1<<20)),
		"negative":     second(FromCounts(nil, -1, 4)),
		"cut short":    second(Parse("X", 2, 3)),
		"endless":      second(Parse(strings.Repeat("o", 20), 2, 3)),
		"not a digit":  second(Parse("1 1", 2, 3)),
		"negative run": second(Parse("O", 2, 3)),
		"no polygon":   second(FromPolygons(nil, 2, 3)),
		"odd polygon":  second(FromPolygon([]float64{1, 2, 3}, 2, 3)),
		"far polygon":  second(FromPolygon([]float64{1, 2, 1e12, 4, 5, 6}, 2, 3)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Union(Mask{1, 1, []uint32{1}}, Mask{1, 2, []uint32{2}}); err == nil {
		t.Error("masks of different size were merged")
	}
}

func second(_ Mask, err error) error { return err }

func FuzzParse(f *testing.F) {
	f.Add("61X13mN000`0", 9, 10)
	f.Add("", 0, 0)
	f.Add("0oooo?", 20000, 20000)
	f.Fuzz(func(t *testing.T, s string, h, w int) {
		m, err := Parse(s, h, w)
		if err != nil {
			return
		}
		again, err := Parse(m.String(), h, w)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%v came back as %v, %v", m, again, err)
		}
		r := m.Bounds()
		if !r.In(image.Rect(0, 0, w, h)) || m.Area() > r.Dx()*r.Dy() {
			t.Fatalf("area %d in bounds %v of %d×%d", m.Area(), r, h, w)
		}
		if h*w < 1e5 && Encode(m.Decode()).String() != m.String() {
			t.Fatalf("%v changed by decoding", m)
		}
	})
}

func FuzzPolygon(f *testing.F) {
	f.Add(1.0, 2.0, 30.5, -4.0, 7.2, 40.0, 32, 20)
	f.Fuzz(func(t *testing.T, x0, y0, x1, y1, x2, y2 float64, h, w int) {
		m, err := FromPolygon([]float64{x0, y0, x1, y1, x2, y2}, h, w)
		if err != nil {
			return
		}
		var sum int
		for _, c := range m.Counts {
			sum += int(c)
		}
		if sum != h*w {
			t.Fatalf("runs of %d pixels in a mask of %d×%d", sum, h, w)
		}
	})
}

func BenchmarkPolygon(b *testing.B) {
	for b.Loop() {
		FromPolygon([]float64{10.5, 20, 200, 31.2, 310.7, 250, 120, 300.1, 40, 180}, 480, 640)
	}
}

func BenchmarkOverlap(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	disc := func() Mask {
		g := data.NewGrid[uint8](640, 480)
		cx, cy := rng.IntN(640), rng.IntN(480)
		for i := range g.Pix {
			x, y := i%640-cx, i/640-cy
			if x*x+y*y < 150*150 {
				g.Pix[i] = 1
			}
		}
		return Encode(g)
	}
	p, q := disc(), disc()
	for b.Loop() {
		Overlap(p, q)
	}
}
