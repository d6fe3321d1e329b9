package rle

import (
	"errors"
	"fmt"

	"github.com/go-faster/jx"
)

// FromJSON returns the segmentation of a COCO annotation or result: a list of polygons, whose union it
// is, or an object of size and counts, as a list of numbers or in the compressed form. It belongs to an
// image of h×w pixels; where that is not known, both 0, there can be no polygons.
func FromJSON(segmentation []byte, h, w int) (Mask, error) {
	d := jx.DecodeBytes(segmentation)
	if d.Next() == jx.Array {
		polygons, err := readList(d, func(d *jx.Decoder) ([]float64, error) { return readList(d, (*jx.Decoder).Float64) })
		if err != nil {
			return Mask{}, fmt.Errorf("segmentation: %w", err)
		}
		if h == 0 || w == 0 {
			return Mask{}, errors.New("segmentation: the height and width of the image that its polygons lie on are unknown")
		}
		return FromPolygons(polygons, h, w)
	}
	var size []int
	var counts []uint32
	var text []byte
	err := d.ObjBytes(func(d *jx.Decoder, key []byte) (err error) {
		switch {
		case string(key) == "size":
			size, err = readList(d, (*jx.Decoder).Int)
		case string(key) == "counts" && d.Next() == jx.String:
			text, err = d.StrAppend([]byte{})
		case string(key) == "counts":
			counts, err = readList(d, (*jx.Decoder).UInt32)
		default:
			err = d.Skip()
		}
		return err
	})
	switch {
	case err != nil:
		return Mask{}, fmt.Errorf("segmentation: %w", err)
	case len(size) != 2:
		return Mask{}, fmt.Errorf("segmentation: a size of %d numbers, not height and width", len(size))
	case h != 0 && w != 0 && (size[0] != h || size[1] != w):
		return Mask{}, fmt.Errorf("segmentation: height %d and width %d, on an image of %d and %d", size[0], size[1], h, w)
	case text == nil && counts == nil:
		return Mask{}, errors.New("segmentation: has no counts")
	case text != nil:
		return Parse(text, size[0], size[1])
	}
	return FromCounts(counts, size[0], size[1])
}

func readList[T any](d *jx.Decoder, item func(*jx.Decoder) (T, error)) (list []T, err error) {
	err = d.Arr(func(d *jx.Decoder) error {
		v, err := item(d)
		list = append(list, v)
		return err
	})
	return list, err
}
