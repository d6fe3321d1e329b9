// Command labelset makes a folder of many images and a set of pseudo labels for them, of random content, to see
// how must review bears with large sets:
//
//	go run ./scripts/labelset -n 100000 out/many
//	must review out/many/labels --path out/many/images
//
// The images are links to a few files. With -bare there are none, and the labels are boxes only: a set of ten millions
// takes minutes and 10 GB. -open tells how long such a set takes to be opened, merged and gone on with, in how much
// memory:
//
//	go run ./scripts/labelset -n 10000000 -bare out/millions && go run ./scripts/labelset -n 10000000 -open out/millions
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"

	"must/data"
	"must/data/images"
	"must/data/npy"
	"must/label/shards"
	"must/task/classification"
	"must/task/detection"
	"must/task/segmentation"
)

const (
	width, height = 64, 48
	files         = 50 // different images
	classes       = 80
)

func main() {
	n := flag.Int("n", 100_000, "how many images")
	bare := flag.Bool("bare", false, "no images, and boxes only")
	open := flag.Bool("open", false, "open a bare set, and tell how long that takes")
	flag.Parse()
	if flag.NArg() != 1 || *n < 1 {
		fmt.Fprintln(os.Stderr, "usage: labelset [-n N] FOLDER")
		os.Exit(2)
	}
	do := run
	switch {
	case *open:
		do = reopen
	case *bare:
		do = boxes
	}
	if err := do(flag.Arg(0), *n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, n int) error {
	photos := filepath.Join(dir, "images")
	if err := link(photos, n); err != nil {
		return err
	}
	ds, err := images.Open(data.Source{Format: "images", Path: photos})
	if err != nil {
		return err
	}
	names := make([]string, classes)
	for i := range names {
		names[i] = fmt.Sprintf("thing %d", i)
	}
	return write(dir, ds, shards.Provenance{Program: "labelset", Dataset: shards.Dataset{Name: "many"}, Tasks: map[string]shards.Task{
		classification.Name: {Teacher: "class", SHA256: "a", DType: npy.Float32, Classes: names},
		detection.Name:      {Teacher: "boxes", SHA256: "b", Threshold: .5, Classes: names},
		segmentation.Name:   {Teacher: "areas", SHA256: "c", Threshold: .5, Classes: names},
	}}, label)
}

// write labels a set by what label makes of a key and random numbers.
func write(dir string, ds data.Dataset, p shards.Provenance, label func(key string, r *rand.Rand) *data.Sample) error {
	w, err := shards.NewWriter(filepath.Join(dir, "labels"), ds, p, shards.Options{})
	if err != nil {
		return err
	}
	for {
		s, ok, err := w.Claim(context.Background())
		if err != nil {
			return err
		}
		if !ok {
			return w.Finish()
		}
		for i := s.From; i < s.To; i++ {
			if err := s.Add(label(ds.Key(i), rand.New(rand.NewPCG(7, uint64(i))))); err != nil {
				return err
			}
		}
		if err := s.Commit(); err != nil {
			return err
		}
	}
}

// link makes a folder of n images, a thousand to a folder in it.
func link(dir string, n int) error {
	for i := range n {
		path := func(i int) string {
			return filepath.Join(dir, fmt.Sprintf("%03d", i/1000), fmt.Sprintf("%06d.jpg", i))
		}
		if err := os.MkdirAll(filepath.Dir(path(i)), 0o777); err != nil {
			return err
		}
		if i >= files {
			if err := os.Link(path(i%files), path(i)); err != nil {
				return err
			}
			continue
		}
		img := image.NewRGBA(image.Rect(0, 0, width, height))
		for y := range height {
			for x := range width {
				img.Set(x, y, color.RGBA{uint8(4 * x), uint8(5 * y), uint8(5 * i), 255})
			}
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, nil); err != nil {
			return err
		}
		if err := os.WriteFile(path(i), b.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func label(key string, r *rand.Rand) *data.Sample {
	p, rest := make([]float32, classes), float32(1)
	for rest > .05 {
		q := rest * r.Float32()
		p[r.IntN(classes)] += q
		rest -= q
	}
	p[0] += rest
	objects := make([]data.Object, r.IntN(12))
	for i := range objects {
		x, y := 50*r.Float64(), 36*r.Float64()
		objects[i] = data.Object{Class: int(float64(classes) * r.Float64() * r.Float64()), Score: .5 + .5*r.Float32(),
			Box: data.Box{X0: x, Y0: y, X1: x + 2 + 12*r.Float64(), Y1: y + 2 + 10*r.Float64()}}
	}
	g := data.NewGrid[uint8](width, height)
	across, down := r.IntN(width), r.IntN(height)
	colours := [4]uint8{uint8(r.IntN(classes)), uint8(r.IntN(classes)), uint8(r.IntN(classes)), data.Ignore}
	for y := range height {
		for x := range width {
			k := 0
			if x > across {
				k++
			}
			if y > down {
				k += 2
			}
			g.Set(x, y, colours[k])
		}
	}
	return &data.Sample{Key: key, Image: &image.RGBA{Rect: image.Rect(0, 0, width, height)},
		Known: data.Know(classification.New(p), detection.New(objects), segmentation.New(g))}
}
