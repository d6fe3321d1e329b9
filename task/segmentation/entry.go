package segmentation

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"

	"must/data"
)

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

func encodeMap(buf *bytes.Buffer, t data.Meaning, m *data.Grid[uint8]) error {
	if err := checkMap(m.Pix, t); err != nil {
		return err
	}
	return EncodeMap(buf, m)
}

func decodeMap(b []byte, t data.Meaning, size image.Point) (*data.Grid[uint8], error) {
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

func checkMap(pix []uint8, t data.Meaning) error {
	for i, v := range pix {
		if int(v) >= len(t.Classes) && v != data.Ignore {
			return fmt.Errorf("pixel %d is of class %d of %d", i, v, len(t.Classes))
		}
	}
	return nil
}
