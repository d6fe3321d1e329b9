package draw_test

import (
	"errors"
	"image"
	"image/color"
	"math"
	"reflect"
	"strings"
	"testing"

	"must/data"
	"must/data/scenes"
	"must/draw"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

func scene(t *testing.T, set string) (data.Dataset, *data.Sample) {
	t.Helper()
	ds, err := scenes.Open(data.Source{Set: set, Split: "val", Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ds.Sample(0)
	if err != nil {
		t.Fatal(err)
	}
	return ds, s
}

// differ counts the pixels in which two pictures differ.
func differ(a, b *image.RGBA) int {
	n := 0
	for y := a.Rect.Min.Y; y < a.Rect.Max.Y; y++ {
		for x := a.Rect.Min.X; x < a.Rect.Max.X; x++ {
			if a.RGBAAt(x, y) != b.RGBAAt(x, y) {
				n++
			}
		}
	}
	return n
}

func TestEveryTaskIsDrawn(t *testing.T) {
	for set, task := range map[string]string{
		"objects": classification.Name, "crowds": detection.Name, "stuff": segmentation.Name,
		"ranges": depth.Name, "room-normals": normals.Name,
	} {
		ds, s := scene(t, set)
		before := *s.Image
		before.Pix = append([]uint8{}, s.Image.Pix...)
		plain, drawn := draw.Image(s, draw.Options{}), draw.Overlay(s, ds.Labels(), task, draw.Options{})
		if plain.Rect != image.Rect(0, 0, 256, 256) || drawn.Rect != plain.Rect {
			t.Errorf("%s: pictures of %v and %v", set, plain.Rect, drawn.Rect)
		}
		if differ(plain, drawn) < 1000 {
			t.Errorf("%s: only %d pixels are drawn", task, differ(plain, drawn))
		}
		if !reflect.DeepEqual(*s.Image, before) {
			t.Errorf("%s: the sample's image was drawn on", task)
		}
		for _, other := range data.Tasks() {
			if !s.Has(other) && differ(plain, draw.Overlay(s, ds.Labels(), other, draw.Options{})) != 0 {
				t.Errorf("%s: something is drawn for %s, of which nothing is known", set, other)
			}
		}
	}
}

func TestBoxesLieWhereTheyShould(t *testing.T) {
	s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 40, 20))}
	for i := range s.Image.Pix {
		s.Image.Pix[i] = 255
	}
	detection.Set(s, []data.Object{{Box: data.Box{X0: 10, Y0: 8, X1: 30, Y1: 18}, Class: 3, Score: 0.5}})
	c := draw.Overlay(s, data.Labels{}, detection.Name, draw.Options{Side: 400})
	if c.Rect != image.Rect(0, 0, 400, 200) {
		t.Fatalf("picture of %v", c.Rect)
	}
	for _, p := range []image.Point{{100, 130}, {299, 130}, {200, 80}, {200, 179}} {
		if c.RGBAAt(p.X, p.Y) != draw.Color(3) {
			t.Errorf("no edge at %v: %v", p, c.RGBAAt(p.X, p.Y))
		}
	}
	if c.RGBAAt(200, 130) != (color.RGBA{255, 255, 255, 255}) {
		t.Error("the inside of the box is painted")
	}
}

// Labels from foreign data may be anything.
func TestOddLabels(t *testing.T) {
	nan := float32(math.NaN())
	s := &data.Sample{
		Key:   strings.Repeat("long/", 60),
		Image: image.NewRGBA(image.Rect(0, 0, 1, 1)),
		Known: data.Know(classification.New([]float32{nan, 0.2, 0}), detection.New([]data.Object{
			{Box: data.Box{X0: -50, Y0: -50, X1: 90, Y1: 90}, Class: -4, Score: nan},
			{Box: data.Box{X0: 1, Y0: 1, X1: 0, Y1: 0}, Class: 900, Crowd: true},
			{Mask: &data.Mask{Rect: image.Rect(-1, -1, 2, 2), Pix: make([]uint8, 9)}},
		}), segmentation.New(&data.Grid[uint8]{W: 1, H: 1, Pix: []uint8{254}}), depth.New(&data.Grid[float32]{W: 1, H: 1, Pix: []float32{nan}}), normals.New(data.NewGrid[[3]float32](1, 1))),
	}
	for _, side := range []int{1, 17, 300} {
		for _, unit := range []string{data.Metric, data.Inverse} {
			draw.Panel(s, data.Labels{depth.Name: {Units: unit}, segmentation.Name: {Classes: []string{"one"}}}, draw.Options{Side: side, Title: s.Key})
		}
	}
	s.Image = image.NewRGBA(image.Rect(0, 0, 3000, 1))
	segmentation.Set(s, nil)
	depth.Set(s, nil)
	normals.Set(s, nil)
	if r := draw.Overlay(s, data.Labels{}, detection.Name, draw.Options{}).Rect; r != image.Rect(0, 0, 256, 1) {
		t.Errorf("a 3000×1 image is drawn at %v", r)
	}
}

func TestPalette(t *testing.T) {
	// The first colours of the devkit's VOClabelcolormap, and its white-ish last.
	want := []color.RGBA{{0, 0, 0, 255}, {128, 0, 0, 255}, {0, 128, 0, 255}, {128, 128, 0, 255}, {0, 0, 128, 255}, {128, 0, 128, 255}}
	for i, c := range want {
		if draw.Palette[i] != c {
			t.Errorf("colour %d is %v, want %v", i, draw.Palette[i], c)
		}
	}
	if len(draw.Palette) != 256 || draw.Palette[255] != (color.RGBA{224, 224, 192, 255}) {
		t.Errorf("%d colours, the last %v", len(draw.Palette), draw.Palette[255])
	}
}

func TestNearIsRed(t *testing.T) {
	s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 2, 1)), Known: data.Know(depth.New(&data.Grid[float32]{W: 2, H: 1, Pix: []float32{1, 10}}))}
	redLeft := func(unit string) bool {
		c := draw.Overlay(s, data.Labels{depth.Name: {Units: unit}}, depth.Name, draw.Options{Near: 1, Far: 10})
		l, r := c.RGBAAt(64, 20), c.RGBAAt(192, 20)
		return l.R > r.R
	}
	if !redLeft(data.Metric) || redLeft(data.Inverse) {
		t.Error("near is not red")
	}
}

// faulty is a dataset of which some samples cannot be read.
type faulty struct {
	data.Dataset
	good int
}

func (f faulty) Sample(i int) (*data.Sample, error) {
	if i >= f.good {
		return nil, &data.SampleError{Key: f.Key(i), File: "broken.png", Err: errors.New("unexpected end of file")}
	}
	return f.Dataset.Sample(i)
}

func TestContactSheet(t *testing.T) {
	ds, _ := scene(t, "stuff")
	c, err := draw.ContactSheet(ds, 12, draw.Options{Side: 64, Title: "stuff"})
	if err != nil {
		t.Fatal(err)
	}
	// Three samples of two tiles each stand in one row.
	if want := 10 + 6*(64+10); c.Rect.Dx() != want {
		t.Errorf("the sheet is %d wide, want %d", c.Rect.Dx(), want)
	}
	if _, err := draw.ContactSheet(faulty{ds, 1}, 3, draw.Options{}); err != nil {
		t.Errorf("two broken samples of three: %v", err)
	}
	if _, err := draw.ContactSheet(faulty{ds, 0}, 3, draw.Options{}); err == nil || !strings.Contains(err.Error(), "broken.png") {
		t.Errorf("nothing but broken samples: %v", err)
	}
	if _, err := draw.ContactSheet(ds, 0, draw.Options{}); err == nil {
		t.Error("a sheet of no samples is no error")
	}
}

func TestGridKeepsTilesApart(t *testing.T) {
	black := image.NewRGBA(image.Rect(5, 5, 15, 25))
	for i := 3; i < len(black.Pix); i += 4 {
		black.Pix[i] = 255
	}
	g := draw.Grid("", 2, draw.Tile{Image: black}, draw.Tile{Image: black}, draw.Tile{Image: black})
	if g.Rect != image.Rect(0, 0, 10+2*(10+10), 10+2*(20+10)) {
		t.Fatalf("grid of %v", g.Rect)
	}
	n := 0
	for i := 0; i < len(g.Pix); i += 4 {
		if g.Pix[i] == 0 {
			n++
		}
	}
	if n != 3*10*20 {
		t.Errorf("%d black pixels, want %d", n, 3*10*20)
	}
}
