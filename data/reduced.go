package data

import "image"

// A Reducer is a dataset of pictures without labels that can decode large ones at a fraction of their size,
// for less time and memory.
type Reducer interface {
	// Reduced is Sample with an image of 1/2, 1/4 or 1/8 of the sides where both stay at least so many
	// pixels; full is the size of the whole picture.
	Reduced(i, side int) (s *Sample, full image.Point, err error)
}

// Reduced decodes sample i as a [Reducer] does; datasets that are none, and side 0, give the whole picture.
func Reduced(d Dataset, i, side int) (*Sample, image.Point, error) {
	if r, ok := d.(Reducer); ok && side > 0 {
		return r.Reduced(i, side)
	}
	s, err := d.Sample(i)
	if err != nil {
		return nil, image.Point{}, err
	}
	return s, s.Image.Rect.Size(), nil
}

func (s spread) Reduced(i, side int) (*Sample, image.Point, error) {
	return Reduced(s.Dataset, s.at(i), side)
}

func (c chosen) Reduced(i, side int) (*Sample, image.Point, error) {
	return Reduced(c.Dataset, int(c.index[i]), side)
}
