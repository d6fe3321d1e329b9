package detection

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"

	"must/data"
	"must/metric/rle"
)

// objectList is the JSON of a detection entry: COCO's names, but the class is an index.
type objectList struct {
	Width   int      `json:"width"`
	Height  int      `json:"height"`
	Objects []object `json:"objects"`
	Unknown []int    `json:"unknown,omitempty"` // classes that the list does not tell of
}

type object struct {
	Box   [4]float64 `json:"bbox"` // x, y, width, height
	Class int        `json:"category_id"`
	Name  string     `json:"category"`
	Score float32    `json:"score"`
	Area  float64    `json:"area,omitempty"`
	Crowd int        `json:"iscrowd,omitempty"`
	Mask  *maskRLE   `json:"segmentation,omitempty"`
}

func encodeObjects(buf *bytes.Buffer, t data.Meaning, l *Label, size image.Point) error {
	if err := checkUnknown(l.Unknown, t); err != nil {
		return err
	}
	list := objectList{size.X, size.Y, make([]object, len(l.Objects)), l.Unknown}
	for i, o := range l.Objects {
		if err := checkObject(o, t); err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
		j := object{
			Box:   [4]float64{o.Box.X0, o.Box.Y0, o.Box.W(), o.Box.H()},
			Class: o.Class, Name: t.Classes[o.Class], Score: o.Score, Area: o.Area,
		}
		if o.Crowd {
			j.Crowd = 1
		}
		if o.Mask != nil && t.Masks {
			j.Mask = encodeMask(o.Mask, size)
		}
		list.Objects[i] = j
	}
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	return e.Encode(list)
}

func decodeObjects(b []byte, t data.Meaning, size image.Point) (objects []data.Object, unknown []int, err error) {
	var list objectList
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, nil, err
	}
	if list.Objects == nil {
		return nil, nil, errors.New("it has no list of objects")
	}
	if err := checkUnknown(list.Unknown, t); err != nil {
		return nil, nil, err
	}
	if list.Width != size.X || list.Height != size.Y {
		return nil, nil, fmt.Errorf("it is of an image of %d×%d, the image has %d×%d", list.Width, list.Height, size.X, size.Y)
	}
	objects = make([]data.Object, len(list.Objects))
	for i, j := range list.Objects {
		o := data.Object{
			Box:   data.Box{X0: j.Box[0], Y0: j.Box[1], X1: j.Box[0] + j.Box[2], Y1: j.Box[1] + j.Box[3]},
			Class: j.Class, Score: j.Score, Area: j.Area, Crowd: j.Crowd != 0,
		}
		err := checkObject(o, t)
		if err == nil && j.Name != t.Classes[j.Class] {
			err = fmt.Errorf("class %d is called %q, the index says %q", j.Class, j.Name, t.Classes[j.Class])
		}
		if err == nil && j.Mask != nil {
			o.Mask, err = decodeMask(j.Mask, size)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("object %d: %w", i, err)
		}
		objects[i] = o
	}
	return objects, list.Unknown, nil
}

func checkUnknown(unknown []int, t data.Meaning) error {
	for i, c := range unknown {
		if c < 0 || c >= len(t.Classes) || i > 0 && c <= unknown[i-1] {
			return fmt.Errorf("unknown classes are %v; they must ascend and be below %d", unknown, len(t.Classes))
		}
	}
	return nil
}

func checkObject(o data.Object, t data.Meaning) error {
	if o.Class < 0 || o.Class >= len(t.Classes) {
		return fmt.Errorf("class %d of %d", o.Class, len(t.Classes))
	}
	for _, v := range []float64{o.Box.X0, o.Box.Y0, o.Box.X1, o.Box.Y1, float64(o.Score), o.Area} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("box %v or score %g is not finite", o.Box, o.Score)
		}
	}
	if o.Box.W() < 0 || o.Box.H() < 0 {
		return fmt.Errorf("box %v is inverted", o.Box)
	}
	return nil
}

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
