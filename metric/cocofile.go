package metric

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-faster/jx"

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
	id   int64
	name string
}

// A cocoEntry is an annotation or a result.
type cocoEntry struct {
	id              int64 // of the annotation; the index of the result
	image, category int64
	class           int // index of the category
	box             [4]float64
	area, score     float64
	hasBox, hasArea bool
	crowd           bool
	segmentation    []byte // JSON; nil if there is none or the box is enough
}

// A cocoReader reads files of hundreds of megabytes as a stream. Fields may come in any order;
// unknown ones are skipped.
type cocoReader struct {
	d      cocojson.Decoder
	shapes bool // keep segmentations even where there is a box
	raw    jx.Raw
}

func newCOCOReader(r io.Reader, shapes bool) *cocoReader {
	return &cocoReader{d: cocojson.Decoder{Decoder: jx.Decode(r, 1<<18)}, shapes: shapes}
}

func (r *cocoReader) truth() (f cocoTruthFile, err error) {
	err = r.d.ObjBytes(func(_ *jx.Decoder, key []byte) error {
		switch string(key) {
		case "images":
			return r.list("image", func(int) error {
				image, err := r.image()
				f.images = append(f.images, image)
				return err
			})
		case "categories":
			return r.list("category", func(int) error {
				category, err := r.category()
				f.categories = append(f.categories, category)
				return err
			})
		case "annotations":
			return r.list("annotation", func(int) error {
				o, err := r.entry("id", "image_id", "category_id")
				f.objects = append(f.objects, o)
				return err
			})
		}
		return r.d.Skip()
	})
	return f, err
}

func (r *cocoReader) results() (all []cocoEntry, err error) {
	if t := r.d.Next(); t != jx.Array {
		return nil, fmt.Errorf("results are a list of detections, not %s", t)
	}
	err = r.list("result", func(i int) error {
		o, err := r.entry("image_id", "category_id", "score")
		o.id = int64(i)
		all = append(all, o)
		return err
	})
	return all, err
}

// list reads a list whose items are called name.
func (r *cocoReader) list(name string, item func(i int) error) error {
	i := 0
	return r.d.Arr(func(*jx.Decoder) error {
		if err := item(i); err != nil {
			return fmt.Errorf("%s at index %d: %w", name, i, err)
		}
		i++
		return nil
	})
}

func (r *cocoReader) image() (image cocoImage, err error) {
	err = r.d.Fields(func(key []byte) (_ bool, err error) {
		switch string(key) {
		case "id":
			image.id, err = r.d.Int()
		case "height":
			image.h, err = r.d.Int()
		case "width":
			image.w, err = r.d.Int()
		default:
			return false, nil
		}
		return true, err
	}, "id")
	return image, err
}

func (r *cocoReader) category() (c cocoCategory, err error) {
	err = r.d.Fields(func(key []byte) (_ bool, err error) {
		switch string(key) {
		case "id":
			c.id, err = r.d.Int()
		case "name":
			c.name, err = r.d.Str()
		default:
			return false, nil
		}
		return true, err
	}, "id")
	return c, err
}

func (r *cocoReader) entry(required ...string) (o cocoEntry, err error) {
	r.raw = r.raw[:0]
	err = r.d.Fields(func(key []byte) (_ bool, err error) {
		switch string(key) {
		case "id":
			o.id, err = r.d.Int()
		case "image_id":
			o.image, err = r.d.Int()
		case "category_id":
			o.category, err = r.d.Int()
		case "score":
			o.score, err = r.d.Float64()
		case "area":
			o.area, err = r.d.Float64()
			o.hasArea = true
		case "iscrowd":
			o.crowd, err = r.d.Flag()
		case "bbox":
			o.box, o.hasBox, err = r.d.Box()
		case "segmentation":
			r.raw, err = r.d.RawAppend(r.raw[:0])
		default:
			return false, nil
		}
		return true, err
	}, required...)
	if len(r.raw) > 0 && (r.shapes || !o.hasBox) {
		o.segmentation = append([]byte(nil), r.raw...)
	}
	return o, err
}

// shape returns what is to be compared.
func (o *cocoEntry) shape(image *cocoImage, masks bool) (s cocoShape, err error) {
	if o.hasBox && !masks {
		return cocoShape{box: o.box, area: o.box[2] * o.box[3]}, nil
	}
	switch {
	case o.segmentation != nil:
		if s.mask, err = rle.FromJSON(o.segmentation, int(image.h), int(image.w)); err != nil {
			err = fmt.Errorf("image %d: %w", image.id, err)
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
