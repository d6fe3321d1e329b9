package imagefile

import (
	"bytes"
	"encoding/binary"
	"image"
)

// orientation returns the EXIF orientation of an image file, 1 where it has none.
func orientation(format string, content []byte) int {
	switch format {
	case "TIFF":
		return tiffOrientation(content)
	case "JPEG":
		for s := range segments(content) {
			if exif, ok := bytes.CutPrefix(s.payload, []byte("Exif\x00\x00")); ok && s.marker == app1 {
				return tiffOrientation(exif)
			}
			if s.marker == sos {
				break
			}
		}
	case "PNG":
		// Chunks: length of payload, type, payload, checksum.
		for b := content[8:]; len(b) >= 12; {
			n := uint64(binary.BigEndian.Uint32(b))
			if uint64(len(b)) < 12+n {
				break
			}
			if string(b[4:8]) == "eXIf" {
				return tiffOrientation(b[8 : 8+n])
			}
			b = b[12+n:]
		}
	case "WebP":
		for name, payload := range chunks(content[12:]) {
			if name == "EXIF" {
				return tiffOrientation(bytes.TrimPrefix(payload, []byte("Exif\x00\x00")))
			}
		}
	}
	return 1
}

// tiffOrientation returns the orientation in a TIFF structure, 1 where it has none.
func tiffOrientation(b []byte) int {
	if v := tiffTag(b, 0x0112); v >= 1 && v <= 8 {
		return v
	}
	return 1
}

// tiffTag reads a tag of one short number in the first directory of a TIFF structure, 0 where it is not there.
func tiffTag(b []byte, tag uint16) int {
	if len(b) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if b[0] == 'I' {
		order = binary.LittleEndian
	}
	at := uint64(order.Uint32(b[4:]))
	if at+2 > uint64(len(b)) {
		return 0
	}
	entries := b[at+2:]
	for range order.Uint16(b[at:]) {
		if len(entries) < 12 {
			break
		}
		if order.Uint16(entries) == tag {
			return int(order.Uint16(entries[8:]))
		}
		entries = entries[12:]
	}
	return 0
}

// orient turns an image upright. Orientations 5 to 8 swap its sides.
func orient(src *image.RGBA, orientation int) *image.RGBA {
	if orientation == 1 {
		return src
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	// Where the first pixel of the upright image is stored, and the steps right and down from it.
	const p = 4
	row := src.Stride
	last := src.PixOffset(w-1, h-1)
	right, bottom := src.PixOffset(w-1, 0), src.PixOffset(0, h-1)
	steps := [...]struct{ start, x, y int }{
		2: {right, -p, row},  // mirrored
		3: {last, -p, -row},  // upside down
		4: {bottom, p, -row}, // mirrored upside down
		5: {0, row, p},       // transposed
		6: {bottom, -row, p}, // to be turned clockwise
		7: {last, -row, -p},  // transposed along the other diagonal
		8: {right, row, -p},  // to be turned counter-clockwise
	}
	s := steps[orientation]
	if orientation >= 5 {
		w, h = h, w
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		out := dst.Pix[y*dst.Stride:][:p*w]
		at := s.start + y*s.y
		for x := range w {
			copy(out[p*x:][:p], src.Pix[at:][:p])
			at += s.x
		}
	}
	return dst
}
