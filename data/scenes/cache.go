package scenes

import (
	"image"
	"slices"
	"sync/atomic"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// Cached keeps the samples of a dataset in memory once they have been asked for, up to limit bytes
// in all; what does not fit is made anew each time. Images are kept without their alpha, and only
// the labels that a sample has: a 64×64 image takes 12 KB, its depth 16 KB. Every call returns a
// fresh copy, which the caller owns.
func Cached(ds data.Dataset, limit int64) data.Dataset {
	return &cached{Dataset: ds, limit: limit, kept: make([]atomic.Pointer[packed], ds.Len())}
}

type cached struct {
	data.Dataset
	kept        []atomic.Pointer[packed]
	used, limit int64 // bytes; used is atomic
}

// A packed sample has its image as three bytes per pixel.
type packed struct {
	data.Sample
	w, h int
	rgb  []uint8
}

func (c *cached) Sample(i int) (*data.Sample, error) {
	if i < 0 || i >= len(c.kept) {
		return c.Dataset.Sample(i) // it knows the error
	}
	if p := c.kept[i].Load(); p != nil {
		return p.unpack(), nil
	}
	s, err := c.Dataset.Sample(i)
	if err != nil {
		return nil, err
	}
	cost := bytes(s)
	if atomic.AddInt64(&c.used, cost) > c.limit || !c.kept[i].CompareAndSwap(nil, pack(s)) {
		atomic.AddInt64(&c.used, -cost)
	}
	return s, nil
}

// bytes estimates what a packed sample takes.
func bytes(s *data.Sample) int64 {
	n := 512 + 3*s.Image.Rect.Dx()*s.Image.Rect.Dy() + 4*len(classification.Of(s))
	for _, o := range detection.Of(s) {
		n += 80
		if o.Mask != nil {
			n += 48 + len(o.Mask.Pix)
		}
	}
	if segmentation.Of(s) != nil {
		n += len(segmentation.Of(s).Pix)
	}
	if segmentation.Confidence(s) != nil {
		n += 4 * len(segmentation.Confidence(s).Pix)
	}
	if depth.Of(s) != nil {
		n += 4 * len(depth.Of(s).Pix)
	}
	if normals.Of(s) != nil {
		n += 12 * len(normals.Of(s).Pix)
	}
	return int64(n)
}

func pack(s *data.Sample) *packed {
	size := s.Image.Rect.Size()
	p := &packed{Sample: copyLabels(s), w: size.X, h: size.Y, rgb: make([]uint8, 0, 3*size.X*size.Y)}
	for y := range p.h {
		row := s.Image.Pix[y*s.Image.Stride:]
		for x := range p.w {
			p.rgb = append(p.rgb, row[4*x:4*x+3]...)
		}
	}
	return p
}

func (p *packed) unpack() *data.Sample {
	s := copyLabels(&p.Sample)
	s.Image = image.NewRGBA(image.Rect(0, 0, p.w, p.h))
	for i := range p.w * p.h {
		copy(s.Image.Pix[4*i:], p.rgb[3*i:3*i+3])
		s.Image.Pix[4*i+3] = 255
	}
	return &s
}

// copyLabels returns a copy of the sample that shares nothing with it and has no image.
func copyLabels(s *data.Sample) data.Sample {
	t := data.Sample{
		Key: s.Key, Known: data.Know(classification.New(slices.Clone(classification.Of(s))), detection.New(slices.Clone(detection.Of(s))), segmentation.NewPrediction(copyGrid(segmentation.Of(s)), copyGrid(segmentation.Confidence(s))), depth.New(copyGrid(depth.Of(s))), normals.New(copyGrid(normals.Of(s)))),
	}
	for i := range detection.Of(&t) {
		if m := detection.Of(&t)[i].Mask; m != nil {
			detection.Of(&t)[i].Mask = &data.Mask{Rect: m.Rect, Pix: slices.Clone(m.Pix)}
		}
	}
	return t
}

func copyGrid[T any](g *data.Grid[T]) *data.Grid[T] {
	if g == nil {
		return nil
	}
	return &data.Grid[T]{W: g.W, H: g.H, Pix: slices.Clone(g.Pix)}
}
