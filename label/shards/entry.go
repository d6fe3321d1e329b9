package shards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"slices"

	"must/data"
	"must/data/npy"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// encode appends the entry of one task to buf. size is the frame of the image.
func encode(buf *bytes.Buffer, task string, t Task, s *data.Sample, size image.Point) error {
	switch task {
	case classification.Name:
		if len(classification.Of(s)) != len(t.Classes) {
			return fmt.Errorf("%d probabilities for %d classes", len(classification.Of(s)), len(t.Classes))
		}
		return encodeNPY(buf, t.DType, []int{len(classification.Of(s))}, classification.Of(s), false)
	case detection.Name:
		return encodeObjects(buf, t, s, size)
	case segmentation.Name:
		if err := sameFrame(segmentation.Of(s).W, segmentation.Of(s).H, len(segmentation.Of(s).Pix), size); err != nil {
			return err
		}
		return encodeMap(buf, t, segmentation.Of(s))
	case depth.Name:
		if err := sameFrame(depth.Of(s).W, depth.Of(s).H, len(depth.Of(s).Pix), size); err != nil {
			return err
		}
		return encodeNPY(buf, t.DType, []int{size.Y, size.X}, depth.Of(s).Pix, true)
	default:
		if err := sameFrame(normals.Of(s).W, normals.Of(s).H, len(normals.Of(s).Pix), size); err != nil {
			return err
		}
		v := make([]float32, 0, 3*len(normals.Of(s).Pix))
		for _, n := range normals.Of(s).Pix {
			v = append(v, n[:]...)
		}
		return encodeNPY(buf, t.DType, []int{size.Y, size.X, 3}, v, false)
	}
}

// decode parses an entry into the sample. size is the frame of the image.
func decode(b []byte, task string, t Task, s *data.Sample, size image.Point) error {
	switch task {
	case classification.Name:
		p, err := decodeNPY(b, []int{len(t.Classes)}, false)
		classification.Set(s, p)
		return err
	case detection.Name:
		objects, unknown, err := decodeObjects(b, t, size)
		s.Put(detection.NewPartial(objects, unknown))
		return err
	case segmentation.Name:
		m, err := decodeMap(b, t, size)
		segmentation.Set(s, m)
		return err
	case depth.Name:
		v, err := decodeNPY(b, []int{size.Y, size.X}, true)
		if err == nil {
			depth.Set(s, &data.Grid[float32]{W: size.X, H: size.Y, Pix: v})
		}
		return err
	}
	v, err := decodeNPY(b, []int{size.Y, size.X, 3}, false)
	if err == nil {
		m := data.NewGrid[[3]float32](size.X, size.Y)
		for i := range m.Pix {
			m.Pix[i] = [3]float32(v[3*i:])
		}
		normals.Set(s, m)
	}
	return err
}

func sameFrame(w, h, n int, size image.Point) error {
	if w != size.X || h != size.Y || n != w*h {
		return fmt.Errorf("it is %d×%d, the image %d×%d", w, h, size.X, size.Y)
	}
	return nil
}

func encodeNPY(buf *bytes.Buffer, dtype string, shape []int, v []float32, nan bool) error {
	if err := finite(v, nan); err != nil {
		return err
	}
	const most = 65504 // of float16
	if dtype == npy.Float16 {
		for _, x := range v {
			if x > most || x < -most {
				return fmt.Errorf("value %g does not fit in float16; choose float32", x)
			}
		}
	}
	buf.Grow(256 + npy.Size(dtype)*len(v)) // a header is half of that
	buf.Write(npy.Append(buf.AvailableBuffer(), dtype, shape, v))
	return nil
}

func decodeNPY(b []byte, shape []int, nan bool) ([]float32, error) {
	a, err := npy.Decode(b)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(a.Shape, shape) {
		return nil, fmt.Errorf("its shape is %v, not %v", a.Shape, shape)
	}
	return a.Values, finite(a.Values, nan)
}

// finite refuses infinities, and NaN where it has no meaning.
func finite(v []float32, nan bool) error {
	for i, x := range v {
		if math.IsInf(float64(x), 0) || !nan && x != x {
			return fmt.Errorf("value %d is %g", i, x)
		}
	}
	return nil
}

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

func encodeObjects(buf *bytes.Buffer, t Task, s *data.Sample, size image.Point) error {
	if err := checkUnknown(detection.Unknown(s), t); err != nil {
		return err
	}
	list := objectList{size.X, size.Y, make([]object, len(detection.Of(s))), detection.Unknown(s)}
	for i, o := range detection.Of(s) {
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

func decodeObjects(b []byte, t Task, size image.Point) (objects []data.Object, unknown []int, err error) {
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

func checkUnknown(unknown []int, t Task) error {
	for i, c := range unknown {
		if c < 0 || c >= len(t.Classes) || i > 0 && c <= unknown[i-1] {
			return fmt.Errorf("unknown classes are %v; they must ascend and be below %d", unknown, len(t.Classes))
		}
	}
	return nil
}

func checkObject(o data.Object, t Task) error {
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

// Palette is Pascal VOC's colour map, which everyone's viewers show class maps in.
var Palette = func() color.Palette {
	p := make(color.Palette, 256)
	for i := range p {
		var r, g, b uint8
		for j, id := 7, i; j >= 0; j, id = j-1, id>>3 {
			r |= uint8(id&1) << j
			g |= uint8(id>>1&1) << j
			b |= uint8(id>>2&1) << j
		}
		p[i] = color.RGBA{r, g, b, 255}
	}
	return p
}()

// Large areas of one class compress well at any level; the default takes ten times as long on them.
var pngEncoder = png.Encoder{CompressionLevel: png.BestSpeed}

// EncodeMap writes a class map as an 8-bit palette PNG: a pixel's index is its class, or data.Ignore.
func EncodeMap(w io.Writer, m *data.Grid[uint8]) error {
	return pngEncoder.Encode(w, &image.Paletted{Pix: m.Pix, Stride: m.W, Rect: image.Rect(0, 0, m.W, m.H), Palette: Palette})
}

func encodeMap(buf *bytes.Buffer, t Task, m *data.Grid[uint8]) error {
	if err := checkMap(m.Pix, t); err != nil {
		return err
	}
	return EncodeMap(buf, m)
}

func decodeMap(b []byte, t Task, size image.Point) (*data.Grid[uint8], error) {
	c, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if c.Width != size.X || c.Height != size.Y {
		return nil, fmt.Errorf("it is %d×%d, the image %d×%d", c.Width, c.Height, size.X, size.Y)
	}
	if _, ok := c.ColorModel.(color.Palette); !ok {
		return nil, errors.New("it is not a palette PNG")
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	p := img.(*image.Paletted)
	return &data.Grid[uint8]{W: size.X, H: size.Y, Pix: p.Pix}, checkMap(p.Pix, t)
}

func checkMap(pix []uint8, t Task) error {
	for i, v := range pix {
		if int(v) >= len(t.Classes) && v != data.Ignore {
			return fmt.Errorf("pixel %d is of class %d of %d", i, v, len(t.Classes))
		}
	}
	return nil
}
