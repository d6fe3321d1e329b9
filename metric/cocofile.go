package metric

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-faster/jx"

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
	d      *jx.Decoder
	shapes bool // keep segmentations even where there is a box
	number jx.Num
	raw    jx.Raw
}

func newCOCOReader(r io.Reader, shapes bool) *cocoReader {
	return &cocoReader{d: jx.Decode(r, 1<<18), shapes: shapes}
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

// fields reads an object; read says whether it used the field. A null is a missing field, and those
// required must be there.
func (r *cocoReader) fields(read func(key string) (used bool, err error), required ...string) error {
	missing := (1<<len(required) - 1)
	err := r.d.ObjBytes(func(_ *jx.Decoder, k []byte) error {
		if r.d.Next() == jx.Null {
			return r.d.Skip()
		}
		key := string(k)
		used, err := read(key)
		if err != nil {
			return fmt.Errorf("field %q: %w", key, err)
		}
		for i, name := range required {
			if name == key {
				missing &^= 1 << i
			}
		}
		if !used {
			return r.d.Skip()
		}
		return nil
	})
	for i, name := range required {
		if err == nil && missing&(1<<i) != 0 {
			err = fmt.Errorf("has no %q", name)
		}
	}
	return err
}

func (r *cocoReader) image() (image cocoImage, err error) {
	err = r.fields(func(key string) (_ bool, err error) {
		switch key {
		case "id":
			image.id, err = r.int()
		case "height":
			image.h, err = r.int()
		case "width":
			image.w, err = r.int()
		default:
			return false, nil
		}
		return true, err
	}, "id")
	return image, err
}

func (r *cocoReader) category() (c cocoCategory, err error) {
	err = r.fields(func(key string) (_ bool, err error) {
		switch key {
		case "id":
			c.id, err = r.int()
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
	err = r.fields(func(key string) (_ bool, err error) {
		switch key {
		case "id":
			o.id, err = r.int()
		case "image_id":
			o.image, err = r.int()
		case "category_id":
			o.category, err = r.int()
		case "score":
			o.score, err = r.d.Float64()
		case "area":
			o.area, err = r.d.Float64()
			o.hasArea = true
		case "iscrowd":
			o.crowd, err = r.flag()
		case "bbox":
			o.box, o.hasBox, err = r.box()
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

// int reads a whole number, which may be written as 1.0.
func (r *cocoReader) int() (n int64, err error) {
	if t := r.d.Next(); t != jx.Number {
		return 0, fmt.Errorf("is a %s, not a whole number", t)
	}
	if r.number, err = r.d.NumAppend(r.number[:0]); err != nil {
		return 0, err
	}
	return r.number.Int64()
}

// flag reads 0, 1, false or true.
func (r *cocoReader) flag() (bool, error) {
	if r.d.Next() == jx.Bool {
		return r.d.Bool()
	}
	n, err := r.int()
	return n != 0, err
}

// box reads four numbers; an empty list is no box.
func (r *cocoReader) box() (box [4]float64, ok bool, err error) {
	n := 0
	err = r.d.Arr(func(*jx.Decoder) error {
		v, err := r.d.Float64()
		if n < len(box) {
			box[n] = v
		}
		n++
		return err
	})
	if err == nil && n != 0 && n != len(box) {
		err = fmt.Errorf("a box of %d numbers, not x, y, width, height", n)
	}
	return box, n > 0, err
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
