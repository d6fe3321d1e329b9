package cocojson

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-faster/jx"
)

// An ID is a number, or a text as some tools write it. The text "1" is another one than the number.
type ID struct {
	Number int64
	Text   string // "": a number
}

func (i ID) String() string {
	if i.Text != "" {
		return strconv.Quote(i.Text)
	}
	return strconv.FormatInt(i.Number, 10)
}

// Compare orders numbers before texts.
func (i ID) Compare(j ID) int {
	return cmp.Or(cmp.Compare(i.Text, j.Text), cmp.Compare(i.Number, j.Number))
}

// Int returns the number of an ID that has to be one.
func (i ID) Int() (int64, error) {
	if i.Text != "" {
		return 0, fmt.Errorf("the id %v is a text, not a number", i)
	}
	return i.Number, nil
}

// ID reads an id.
func (d *Decoder) ID() (id ID, err error) {
	if d.Next() != jx.String {
		id.Number, err = d.Int()
		return id, err
	}
	if id.Text, err = d.Str(); err == nil && id.Text == "" {
		err = errors.New("is empty")
	}
	return id, err
}

// An Image is an item of "images".
type Image struct {
	ID            ID
	Name          string // file_name
	Width, Height int64  // 0: not given
}

// Image reads an image that has the fields required.
func (d *Decoder) Image(required ...string) (i Image, err error) {
	err = d.Fields(func(key []byte) (_ bool, err error) {
		switch string(key) {
		case "id":
			i.ID, err = d.ID()
		case "width":
			i.Width, err = d.Int()
		case "height":
			i.Height, err = d.Int()
		case "file_name":
			i.Name, err = d.Str()
		default:
			return false, nil
		}
		return true, err
	}, required...)
	return i, err
}

// A Category is an item of "categories".
type Category struct {
	ID    ID
	Name  string
	Thing bool // isthing
}

// Category reads a category that has the fields required.
func (d *Decoder) Category(required ...string) (c Category, err error) {
	err = d.Fields(func(key []byte) (_ bool, err error) {
		switch string(key) {
		case "id":
			c.ID, err = d.ID()
		case "name":
			c.Name, err = d.Str()
		case "isthing":
			c.Thing, err = d.Flag()
		default:
			return false, nil
		}
		return true, err
	}, required...)
	return c, err
}

// An Annotation is an item of "annotations", a result, a segment of a panoptic map, or what a panoptic file
// says of an image.
type Annotation struct {
	ID, Image, Category ID
	Box                 [4]float64 // x, y, width, height
	Area, Score         float64
	HasBox, HasArea     bool
	Crowd               bool
	File                string // file_name
	Shape               jx.Raw // segmentation, as it is written; valid until the decoder reads on
	Segments            jx.Raw // segments_info, likewise
}

// Annotation reads an annotation that has the fields required.
func (d *Decoder) Annotation(required ...string) (a Annotation, err error) {
	err = d.Fields(func(key []byte) (_ bool, err error) {
		switch string(key) {
		case "id":
			a.ID, err = d.ID()
		case "image_id":
			a.Image, err = d.ID()
		case "category_id":
			a.Category, err = d.ID()
		case "bbox":
			a.Box, a.HasBox, err = d.Box()
		case "area":
			a.Area, err = d.Float64()
			a.HasArea = true
		case "score":
			a.Score, err = d.score()
		case "iscrowd":
			a.Crowd, err = d.Flag()
		case "file_name":
			a.File, err = d.Str()
		case "segmentation":
			a.Shape, err = d.Raw()
		case "segments_info":
			a.Segments, err = d.Raw()
		default:
			return false, nil
		}
		return true, err
	}, required...)
	return a, err
}
