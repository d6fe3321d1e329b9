package metric

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"must/metric/cocojson"
	"must/metric/rle"
)

// A cocoTruthFile is an instances file.
type cocoTruthFile struct {
	images     []cocoImage
	categories []cocoCategory
	objects    []cocoEntry
}

type cocoCategory struct {
	id   cocojson.ID
	name string
}

// A cocoEntry is an annotation or a result.
type cocoEntry struct {
	id              int64 // of the annotation, a number as pycocotools wants it; the index of the result
	image, category cocojson.ID
	class           int // index of the category
	box             [4]float64
	area, score     float64
	hasBox, hasArea bool
	crowd           bool
	segmentation    []byte // JSON; nil if there is none or the box is enough
}

// window is how much of a file is held at a time.
const window = 1 << 20

// readCOCOTruth reads an instances file. shapes says to keep segmentations even where there is a box.
func readCOCOTruth(r io.Reader, shapes bool) (f cocoTruthFile, err error) {
	d := cocojson.NewDecoder()
	err = cocojson.Lists(r, window, func(list string) func([]byte, int64) error {
		switch list {
		case "images":
			return func(item []byte, _ int64) error {
				d.ResetBytes(item)
				i, err := d.Image("id")
				f.images = append(f.images, cocoImage{id: i.ID, w: i.Width, h: i.Height})
				return err
			}
		case "categories":
			return func(item []byte, _ int64) error {
				d.ResetBytes(item)
				c, err := d.Category("id")
				f.categories = append(f.categories, cocoCategory{c.ID, c.Name})
				return err
			}
		case "annotations":
			return func(item []byte, _ int64) error {
				o, err := readCOCOEntry(d, item, shapes, "id", "image_id", "category_id")
				f.objects = append(f.objects, o)
				return err
			}
		}
		return nil
	})
	return f, err
}

// readCOCOResults reads a file of results.
func readCOCOResults(r io.Reader, shapes bool) (all []cocoEntry, err error) {
	d := cocojson.NewDecoder()
	err = cocojson.List(r, window, func(item []byte, _ int64) error {
		o, err := readCOCOEntry(d, cocojson.Scored(item), shapes, "image_id", "category_id", "score")
		o.id = int64(len(all)) // an id that the file may give is not used, as in pycocotools
		all = append(all, o)
		return err
	})
	return all, err
}

func readCOCOEntry(d *cocojson.Decoder, item []byte, shapes bool, required ...string) (cocoEntry, error) {
	d.ResetBytes(item)
	a, err := d.Annotation(required...)
	if err != nil {
		return cocoEntry{}, err
	}
	o := cocoEntry{
		image: a.Image, category: a.Category, box: a.Box, hasBox: a.HasBox,
		area: a.Area, hasArea: a.HasArea, score: a.Score, crowd: a.Crowd,
	}
	if o.id, err = a.ID.Int(); err != nil {
		return cocoEntry{}, fmt.Errorf("field \"id\": %w", err)
	}
	if len(a.Shape) > 0 && (shapes || !o.hasBox) {
		o.segmentation = bytes.Clone(a.Shape)
	}
	return o, nil
}

// shape returns what is to be compared.
func (o *cocoEntry) shape(image *cocoImage, masks bool) (s cocoShape, err error) {
	if o.hasBox && !masks {
		return cocoShape{box: o.box, area: o.box[2] * o.box[3]}, nil
	}
	switch {
	case o.segmentation != nil:
		if s.mask, err = rle.FromJSON(o.segmentation, int(image.h), int(image.w)); err != nil {
			err = fmt.Errorf("image %v: %w", image.id, err)
		}
	case o.hasBox:
		s.mask, err = rle.FromBox(o.box[0], o.box[1], o.box[2], o.box[3], int(image.h), int(image.w))
	default:
		err = errors.New("has neither bbox nor segmentation")
	}
	s.bounds = s.mask.Bounds()
	s.area = float64(s.mask.Area())
	s.box = [4]float64{float64(s.bounds.Min.X), float64(s.bounds.Min.Y), float64(s.bounds.Dx()), float64(s.bounds.Dy())}
	return s, err
}
