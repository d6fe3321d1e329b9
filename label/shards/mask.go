package shards

import (
	"fmt"
	"image"

	"must/data"
	"must/metric/rle"
)

// maskRLE is COCO's compressed form of a mask.
type maskRLE struct {
	Size   [2]int `json:"size"` // height, width
	Counts string `json:"counts"`
}

func encodeMask(m *data.Mask, size image.Point) *maskRLE {
	return &maskRLE{[2]int{size.Y, size.X}, rle.FromMask(m, size.Y, size.X).String()}
}

func decodeMask(j *maskRLE, size image.Point) (*data.Mask, error) {
	if j.Size != [2]int{size.Y, size.X} {
		return nil, fmt.Errorf("its mask is %d×%d, the image %d×%d", j.Size[1], j.Size[0], size.X, size.Y)
	}
	m, err := rle.Parse(j.Counts, size.Y, size.X)
	if err != nil {
		return nil, err
	}
	return m.Mask(), nil
}
