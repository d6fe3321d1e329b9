// Package cocojson reads files in COCO's form, of labels and of results: as a stream of any size, fields in any
// order, unknown ones skipped, null for a missing one.
package cocojson

import (
	"fmt"

	"github.com/go-faster/jx"
)

// A Decoder is a JSON decoder that knows the habits of COCO files.
type Decoder struct {
	*jx.Decoder
	digits jx.Num
}

// NewDecoder returns a decoder of items; ResetBytes gives it one.
func NewDecoder() *Decoder { return &Decoder{Decoder: &jx.Decoder{}} }

// Fields reads an object; read says whether it used the field, and what it does not use is skipped. Those
// required must be there.
func (d *Decoder) Fields(read func(key []byte) (used bool, err error), required ...string) error {
	missing := 1<<len(required) - 1
	err := d.ObjBytes(func(_ *jx.Decoder, key []byte) error {
		if d.Next() == jx.Null {
			return d.Skip()
		}
		used, err := read(key)
		if err != nil {
			return fmt.Errorf("field %q: %w", key, err)
		}
		for i, name := range required {
			if name == string(key) {
				missing &^= 1 << i
			}
		}
		if !used {
			return d.Skip()
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

// Int reads a whole number, which may be written as 1.0.
func (d *Decoder) Int() (n int64, err error) {
	if t := d.Next(); t != jx.Number {
		return 0, fmt.Errorf("is a %s, not a whole number", t)
	}
	if d.digits, err = d.NumAppend(d.digits[:0]); err != nil {
		return 0, err
	}
	return d.digits.Int64()
}

// Flag reads 0, 1, false or true.
func (d *Decoder) Flag() (bool, error) {
	if d.Next() == jx.Bool {
		return d.Bool()
	}
	n, err := d.Int()
	return n != 0, err
}

// Box reads x, y, width and height; an empty list is no box.
func (d *Decoder) Box() (box [4]float64, ok bool, err error) {
	n := 0
	err = d.Arr(func(*jx.Decoder) error {
		v, err := d.Float64()
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
