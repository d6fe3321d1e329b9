package imagefile

import (
	"bytes"
	"image"

	"golang.org/x/image/tiff"
)

// decodeTIFF decodes a TIFF file. Fax codes (compression 3 and 4) store white runs as 0, whatever 0 shows
// (TIFF 6.0 §11): the decoder shows them white where 0 is black.
func decodeTIFF(content []byte) (image.Image, error) {
	img, err := tiff.Decode(bytes.NewReader(content))
	const compression, photometric, blackIsZero = 259, 262, 1
	fax := tiffTag(content, compression)
	if grey, ok := img.(*image.Gray); ok && (fax == 3 || fax == 4) && tiffTag(content, photometric) == blackIsZero {
		for i, v := range grey.Pix {
			grey.Pix[i] = 255 - v
		}
	}
	return img, err
}
