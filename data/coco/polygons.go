package coco

import (
	"errors"
	"fmt"

	"github.com/go-faster/jx"
)

// readPolygons reads a segmentation that is a list:
//
//	[[x, y, x, y, x, y, …], …]   polygons
//	[x, y, x, y, x, y, …]        one polygon
//	[[x, y], [x, y], [x, y], …]  the corners of one
//
// Of four numbers it cannot be told whether they are two points or a box, and they are no polygon: lists without
// another one give nil. list is false for what is no list.
func readPolygons(content []byte) (polygons [][]float64, list bool, err error) {
	d := jx.DecodeBytes(content)
	if d.Next() != jx.Array {
		return nil, false, nil
	}
	var flat []float64
	var nested [][]float64
	err = d.Arr(func(d *jx.Decoder) error {
		if d.Next() == jx.Array {
			one := []float64{}
			err := d.Arr(func(d *jx.Decoder) error {
				v, err := d.Float64()
				one = append(one, v)
				return err
			})
			nested = append(nested, one)
			return err
		}
		v, err := d.Float64()
		flat = append(flat, v)
		return err
	})
	if err != nil {
		return nil, true, fmt.Errorf("segmentation: neither polygons, [[x, y, x, y, …], …], nor run lengths: %w", err)
	}
	if flat != nil && nested != nil {
		return nil, true, errors.New("segmentation: a list of numbers and of lists")
	}
	if flat != nil {
		nested = [][]float64{flat}
	}
	pairs := len(nested) >= 3
	for _, one := range nested {
		if len(one)%2 == 1 {
			return nil, true, fmt.Errorf("segmentation: a polygon of %d numbers", len(one))
		}
		pairs = pairs && len(one) == 2
	}
	if pairs {
		var corners []float64
		for _, one := range nested {
			corners = append(corners, one...)
		}
		return [][]float64{corners}, true, nil
	}
	for _, one := range nested {
		if len(one) >= 6 {
			polygons = append(polygons, one)
		}
	}
	return polygons, true, nil
}
