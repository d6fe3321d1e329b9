package shards

import (
	"image"
	"runtime"
	"testing"

	"must/data"
	"must/data/npy"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// BenchmarkAdd stores labels of depth (float16), class map and ten objects of a 512×512 image.
func BenchmarkAdd(b *testing.B) {
	s := photo()
	p := provenance()
	delete(p.Tasks, normals.Name)
	w, err := NewWriter(b.TempDir(), blank(1<<14), p, Options{ShardSize: 1 << 14})
	if err != nil {
		b.Fatal(err)
	}
	shard, _, err := w.Claim(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer shard.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Key = blank(0).Key(i)
		if err := shard.Add(s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads them back.
func BenchmarkRead(b *testing.B) {
	p := provenance()
	delete(p.Tasks, normals.Name)
	dir := b.TempDir()
	w, err := NewWriter(dir, blank(20), p, Options{})
	if err != nil {
		b.Fatal(err)
	}
	shard, _, err := w.Claim(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := range 20 {
		s := photo()
		s.Key = blank(0).Key(i)
		if err := shard.Add(s); err != nil {
			b.Fatal(err)
		}
	}
	if err := shard.Commit(); err != nil {
		b.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		b.Fatal(err)
	}
	d, err := Merge(photos(20), dir)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := d.Sample(i % 20); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMerge opens a set of 100,000 images.
func BenchmarkMerge(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	p := Provenance{Tasks: map[string]Task{
		depth.Name: {DType: npy.Float16, Units: data.Metric}, classification.Name: {DType: npy.Float32, Classes: []string{"a", "b"}}}}
	w, err := NewWriter(dir, blank(n), p, Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 2, 2)), Known: data.Know(classification.New([]float32{0, 1}), depth.New(data.NewGrid[float32](2, 2)))}
	for {
		shard, ok, err := w.Claim(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			break
		}
		for i := shard.From; i < shard.To; i++ {
			s.Key = blank(0).Key(i)
			if err := shard.Add(s); err != nil {
				b.Fatal(err)
			}
		}
		if err := shard.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before := heap()
		m, err := Merge(blank(n), dir)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((heap()-before)/n, "heap-B/sample")
		runtime.KeepAlive(m)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/sample")
}

type photos int

func (p photos) Len() int          { return int(p) }
func (photos) Labels() data.Labels { return data.Labels{} }
func (photos) Key(i int) string    { return blank(0).Key(i) }
func (p photos) Sample(i int) (*data.Sample, error) {
	return &data.Sample{Key: p.Key(i), Image: image.NewRGBA(image.Rect(0, 0, 512, 512))}, nil
}

// photo is a sample with labels as smooth as those of photographs.
func photo() *data.Sample {
	s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 512, 512)), Known: data.Know(classification.New(make([]float32, 3)))}
	segmentation.Set(s, data.NewGrid[uint8](512, 512))
	depth.Set(s, data.NewGrid[float32](512, 512))
	for i := range depth.Of(s).Pix {
		x, y := i%512, i/512
		segmentation.Of(s).Pix[i], depth.Of(s).Pix[i] = uint8((x*x+y*y)/180000), 1+float32(x*y)/1e4
	}
	for i := range 10 {
		m := &data.Mask{Rect: image.Rect(40*i, 30*i, 40*i+100, 30*i+100), Pix: make([]uint8, 100*100)}
		for j := range m.Pix {
			if dx, dy := j%100-50, j/100-50; dx*dx+dy*dy < 2500 {
				m.Pix[j] = 1
			}
		}
		r := m.Rect
		detection.Set(s, append(detection.Of(s), data.Object{Class: i % 2, Score: 0.9, Mask: m,
			Box: data.Box{X0: float64(r.Min.X), Y0: float64(r.Min.Y), X1: float64(r.Max.X), Y1: float64(r.Max.Y)}}))
	}
	return s
}
