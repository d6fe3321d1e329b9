package export

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"must/data"
	"must/data/images"
	"must/data/npy"
	"must/label/shards"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// TestWriteForPeers writes a small set of images, labels of all tasks in shards, and every export into
// the folder MUST_PEERS_DIR, for test/peers/open_shards.py to open with the field's own packages.
func TestWriteForPeers(t *testing.T) {
	dir := os.Getenv("MUST_PEERS_DIR")
	if dir == "" {
		t.Skip("run test/peers/open_shards.py, which sets MUST_PEERS_DIR")
	}
	photos := filepath.Join(dir, "images")
	for i := range 25 {
		writeImage(t, filepath.Join(photos, fmt.Sprintf("folder%d", i%2), fmt.Sprintf("photo.%02d é.png", i)), 40+i, 30+i%7)
	}
	d, err := images.Open(data.Source{Path: photos})
	if err != nil {
		t.Fatal(err)
	}
	labels := filepath.Join(dir, "labels")
	w, err := shards.NewWriter(labels, d, shards.Provenance{Program: "peers test", Tasks: map[string]shards.Task{
		classification.Name: {DType: npy.Float32, Classes: []string{"day", "night"}},
		detection.Name:      {Classes: []string{"zebra", "ape & co"}, Masks: true},
		segmentation.Name:   {Classes: []string{"sky", "grass", "road"}},
		depth.Name:          {DType: npy.Float16, Units: data.Metric},
		normals.Name:        {DType: npy.Float32},
	}}, shards.Options{ShardSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, ok, err := w.Claim(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		for i := s.From; i < s.To; i++ {
			sample, err := d.Sample(i)
			if err != nil {
				t.Fatal(err)
			}
			invent(i, sample)
			if err := s.Add(sample); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}

	set, err := shards.Open(labels)
	if err != nil {
		t.Fatal(err)
	}
	source := FromSet(set)
	if source.File, err = Files(photos); err != nil {
		t.Fatal(err)
	}
	for name, export := range map[string]func(Source, string) error{
		"coco.json": COCO, "yolo": YOLO, "voc": VOC, "maps": Maps, "arrays": Arrays,
	} {
		if err := export(source, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func writeImage(t *testing.T, path string, w, h int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.SetRGBA(i%w, i/w, color.RGBA{uint8(i), uint8(i / w), 100, 255})
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

// invent labels a sample at random; every fifth has no objects.
func invent(i int, s *data.Sample) {
	r := rand.New(rand.NewPCG(3, uint64(i)))
	w, h := s.Image.Rect.Dx(), s.Image.Rect.Dy()
	p := r.Float32()
	classification.Set(s, []float32{p, 1 - p})
	detection.Set(s, []data.Object{})
	for range i % 5 {
		x, y := r.IntN(w-10), r.IntN(h-10)
		m := &data.Mask{Rect: image.Rect(x, y, x+3+r.IntN(7), y+3+r.IntN(7))}
		for range m.Rect.Dx() * m.Rect.Dy() {
			m.Pix = append(m.Pix, uint8(r.IntN(2)))
		}
		detection.Set(s, append(detection.Of(s), data.Object{Class: r.IntN(2), Score: 0.5 + r.Float32()/2, Mask: m, Box: data.Box{
			X0: float64(m.Rect.Min.X) + r.Float64()/2, Y0: float64(m.Rect.Min.Y), X1: float64(m.Rect.Max.X), Y1: float64(m.Rect.Max.Y)}}))
	}
	segmentation.Set(s, data.NewGrid[uint8](w, h))
	depth.Set(s, data.NewGrid[float32](w, h))
	normals.Set(s, data.NewGrid[[3]float32](w, h))
	for j := range w * h {
		segmentation.Of(s).Pix[j] = []uint8{0, 1, 2, data.Ignore}[r.IntN(4)]
		depth.Of(s).Pix[j] = 10 * r.Float32()
		normals.Of(s).Pix[j] = [3]float32{0, 0.6, -0.8}
		if r.IntN(8) == 0 {
			depth.Of(s).Pix[j], normals.Of(s).Pix[j] = float32(math.NaN()), [3]float32{}
		}
	}
}
