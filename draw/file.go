package draw

import (
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"must/atomicfile"
)

// fast makes files a little larger in a quarter of the time.
var fast = png.Encoder{CompressionLevel: png.BestSpeed}

// JPEG is the quality of pictures for people: text in them stays legible.
var JPEG = &jpeg.Options{Quality: 90}

// WritePNG writes a picture and the folder it lies in; the file is whole or not there.
func WritePNG(path string, img image.Image) error {
	return write(path, func(w io.Writer) error { return fast.Encode(w, img) })
}

// WriteJPEG does so in a smaller file.
func WriteJPEG(path string, img image.Image) error {
	return write(path, func(w io.Writer) error { return jpeg.Encode(w, img, JPEG) })
}

func write(path string, encode func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, encode)
}
