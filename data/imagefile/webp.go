package imagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"iter"
	"slices"

	"golang.org/x/image/webp"
)

// chunks walks the chunks of a RIFF file behind its header, or of a chunk: type, length of payload, payload padded to even.
func chunks(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for len(b) >= 8 {
			n := uint64(binary.LittleEndian.Uint32(b[4:]))
			if uint64(len(b)) < 8+n || !yield(string(b[:4]), b[8:8+n]) {
				return
			}
			b = b[min(uint64(len(b)), 8+n+n&1):]
		}
	}
}

// decodeWebP decodes a WebP file, the first frame of an animation at its place on the canvas.
func decodeWebP(content []byte) (image.Image, error) {
	const animated, hasAlpha = 1 << 1, 1 << 4
	var canvas, frame []byte
	for name, payload := range chunks(content[min(12, len(content)):]) {
		if name == "VP8X" && len(payload) == 10 && payload[0]&animated != 0 {
			canvas = payload
		}
		if name == "ANMF" && frame == nil {
			frame = payload
		}
	}
	if canvas == nil {
		return webp.Decode(bytes.NewReader(content))
	}
	// x and y in pairs of pixels, width and height less 1, duration, flags, chunks of a still picture.
	if len(frame) < 16 {
		return nil, errors.New("the animation has no frame")
	}
	u24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	x, y, w, h := 2*u24(frame), 2*u24(frame[3:]), u24(frame[6:])+1, u24(frame[9:])+1
	if x+w > u24(canvas[4:])+1 || y+h > u24(canvas[7:])+1 {
		return nil, errors.New("the first frame reaches beyond the canvas")
	}
	header := make([]byte, 10)
	copy(header[4:], frame[6:12])
	var still []byte
	for name, payload := range chunks(frame[16:]) {
		switch name {
		case "ALPH":
			header[0] = hasAlpha
		case "VP8 ", "VP8L":
		default:
			continue
		}
		still = appendChunk(still, name, payload)
	}
	still = slices.Concat([]byte("WEBP"), appendChunk(nil, "VP8X", header), still)
	img, err := webp.Decode(bytes.NewReader(appendChunk(nil, "RIFF", still)))
	if err != nil {
		return nil, err
	}
	at := image.Rect(x, y, x+w, y+h)
	switch img := img.(type) {
	case *image.YCbCr:
		img.Rect = at
	case *image.NYCbCrA:
		img.Rect = at
	case *image.NRGBA:
		img.Rect = at
	default:
		return nil, errors.New("a frame of unknown kind")
	}
	return img, nil
}

func appendChunk(b []byte, name string, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, name...), uint32(len(payload)))
	b = append(b, payload...)
	if len(payload)%2 == 1 {
		b = append(b, 0)
	}
	return b
}
