package imagefile

import (
	"image"
	"image/color"
	"image/draw"

	"must/data/imagefile/heif"
)

const heifName = "AVIF or HEIC"

// configHEIF returns the size as shown, and a colour model that tells what decoding takes.
func configHEIF(content []byte) (image.Config, error) {
	h, err := heif.Parse(content)
	if err != nil {
		return image.Config{}, err
	}
	size, model := h.Size(), color.YCbCrModel
	if h.Codec == "AVIF" {
		model = color.RGBAModel
	}
	if h.Deep {
		model = color.RGBA64Model
	}
	return image.Config{Width: size.X, Height: size.Y, ColorModel: model}, nil
}

// heifBytes is [heif.Header.BytesPerPixel] by what configHEIF tells.
func heifBytes(c image.Config) int64 {
	h := heif.Header{Codec: "AVIF", Deep: c.ColorModel == color.RGBA64Model}
	if c.ColorModel == color.YCbCrModel {
		h.Codec = "HEIC"
	}
	return h.BytesPerPixel()
}

// decodeHEIF returns a picture as it is shown, at 1/d of its size.
func decodeHEIF(content []byte, d int) (out *image.RGBA, err error) {
	h, err := heif.Parse(content)
	if err != nil {
		return nil, err
	}
	err = heif.Decode(content, h, func(img image.Image) {
		crop := h.Crop
		if h.Codec == "HEIC" { // cropped and turned by its decoder
			crop = img.Bounds()
		}
		m := matrixOf(h.KR, h.KB, h.Full)
		paint := func(out *image.RGBA) {
			if _, yuv := img.(*image.YCbCr); yuv {
				convert(out, img, m)
				return
			}
			draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
			draw.Draw(out, out.Rect, img, out.Rect.Min.Add(crop.Min), draw.Over)
		}
		screen := image.Rectangle{Max: crop.Size()}
		if d > 1 {
			out = reduce(screen, d, paint)
		} else {
			out = image.NewRGBA(screen)
			paint(out)
		}
	})
	if err != nil {
		return nil, err
	}
	if h.Codec == "AVIF" {
		out = orient(out, h.Turn)
	}
	return out, nil
}
