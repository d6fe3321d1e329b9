package main

import (
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"path/filepath"
	"time"

	"must/data"
	"must/label/shards"
	"must/machine"
	"must/task/detection"
)

// keys is a set of so many images that there are not.
type keys int

func (k keys) Len() int                       { return int(k) }
func (keys) Labels() data.Labels              { return data.Labels{} }
func (keys) Key(i int) string                 { return fmt.Sprintf("%05d/%08d", i/1000, i) }
func (keys) Sample(int) (*data.Sample, error) { return nil, errors.New("there are no images") }

var provenance = shards.Provenance{Program: "labelset", Dataset: shards.Dataset{Name: "millions"}, Tasks: map[string]shards.Task{
	detection.Name: {Teacher: "boxes", SHA256: "b", Threshold: .5, Classes: []string{"thing"}},
}}

// boxes writes labels of one box or none for each image.
func boxes(dir string, n int) error {
	return write(dir, keys(n), provenance, func(key string, r *rand.Rand) *data.Sample {
		objects := []data.Object{}
		if r.IntN(4) > 0 {
			x, y := 50*r.Float64(), 36*r.Float64()
			objects = append(objects, data.Object{Score: .5 + .5*r.Float32(), Box: data.Box{X0: x, Y0: y, X1: x + 9, Y1: y + 9}})
		}
		return &data.Sample{Key: key, Image: &image.RGBA{Rect: image.Rect(0, 0, width, height)}, Known: data.Know(detection.New(objects))}
	})
}

// reopen opens, merges and goes on with such a set.
func reopen(dir string, n int) error {
	dir = filepath.Join(dir, "labels")
	for _, x := range []struct {
		what string
		do   func() error
	}{
		{"opened", func() error {
			_, err := shards.Open(dir)
			return err
		}},
		{"gone on with", func() error {
			w, err := shards.NewWriter(dir, keys(n), provenance, shards.Options{})
			if err != nil {
				return err
			}
			left, err := w.Remaining()
			if err == nil && left > 0 {
				err = fmt.Errorf("%d samples are not labelled", left)
			}
			return err
		}},
		{"merged", func() error {
			_, err := shards.Merge(keys(n), dir)
			return err
		}},
	} {
		began := time.Now()
		if err := x.do(); err != nil {
			return err
		}
		fmt.Printf("%s in %.1f s; the peak of memory so far is %.0f MB\n", x.what, time.Since(began).Seconds(), float64(machine.Peak())/1e6)
	}
	return nil
}
