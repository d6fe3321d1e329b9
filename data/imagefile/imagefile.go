// Package imagefile finds and decodes image files as people have them: formats told by content and
// not by name, CMYK, grey, 16 bits, transparency, rotated by their camera, broken or too large.
package imagefile

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"must/data"
	"must/turbojpeg"
)

// MaxPixelsVariable is the environment variable that replaces the limit of 2²⁷ (134 million) pixels,
// half a gigabyte as RGBA, beyond which an image is refused before memory is taken for it. HEIC and colours of 16
// bits, which take 8 bytes a pixel, are read up to 5/8 of it, AVIF up to 5/22.
const MaxPixelsVariable = "MUST_MAX_PIXELS"

const (
	maxPixels   = 1 << 27
	maxFileSize = 1 << 30
)

var pixelLimit = sync.OnceValues(func() (int64, error) {
	text := os.Getenv(MaxPixelsVariable)
	if text == "" {
		return maxPixels, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is %q, want a number of pixels", MaxPixelsVariable, text)
	}
	return n, nil
})

// JPEG names what decodes JPEG files here.
func JPEG() string {
	if name, err := turbojpeg.Find(); err == nil {
		return "libjpeg-turbo (" + filepath.Base(name) + ")"
	}
	return "Go"
}

// Decode returns the image in a JPEG, PNG, GIF (first frame), WebP, BMP, TIFF, AVIF or HEIC file: opaque, at
// the origin, upright by its EXIF orientation, 16-bit channels cut to 8. What is transparent shows
// white behind it, as on a page. A JPEG that is cut short is grey where it ends, and [CutShort] counts
// it. The error names the file.
func Decode(file string) (*image.RGBA, error) {
	img, _, err := decodeFile(file, true, 0)
	return img, named(file, err)
}

// DecodeStored is Decode without the EXIF orientation: pixels as they are stored, the frame that
// some annotation tools use.
func DecodeStored(file string) (*image.RGBA, error) {
	img, _, err := decodeFile(file, false, 0)
	return img, named(file, err)
}

// DecodeBytes is Decode for the content of a file, whole or refused. The error does not name it.
func DecodeBytes(content []byte) (*image.RGBA, error) {
	img, _, err := decode("", content, true, 0)
	return img, err
}

// DecodeMember is Decode for the content of a file in an archive; the name is what [CutShort] gives. The
// error does not name it.
func DecodeMember(name string, content []byte) (*image.RGBA, error) {
	img, _, err := decode(name, content, true, 0)
	return img, err
}

// Sample returns a sample of key with the image of file and no labels; its error is a
// data.SampleError.
func Sample(key, file string) (*data.Sample, error) {
	s, _, err := Reduced(key, file, 0)
	return s, err
}

// Reduced is [Sample] for a caller that will shrink the image: it is decoded at 1/2, 1/4 or 1/8 of its sides
// where both stay at least so many pixels. full is the size of the whole image, upright. Side 0 is all of it.
func Reduced(key, file string, side int) (s *data.Sample, full image.Point, err error) {
	img, full, err := decodeFile(file, true, side)
	if err != nil {
		return nil, full, &data.SampleError{Key: key, File: file, Err: err}
	}
	return &data.Sample{Key: key, Image: img}, full, nil
}

// SampleTurned is [Sample], which also tells the EXIF orientation, 1 to 8, by which the stored picture was turned.
func SampleTurned(key, file string) (s *data.Sample, turn int, err error) {
	var img *image.RGBA
	content, err := readFile(file)
	if err == nil {
		img, _, err = decode(file, content, true, 0)
	}
	if err != nil {
		return nil, 0, &data.SampleError{Key: key, File: file, Err: err}
	}
	turn = 1
	for _, f := range formats {
		if f.matches(content) {
			turn = orientation(f.name, content)
			break
		}
	}
	return &data.Sample{Key: key, Image: img}, turn, nil
}

// DecodeIndex returns the palette indices or 8-bit grey values of a label map: never colours, which
// a palette is only there to show. Grey of 1, 2 or 4 bits gives the stored values. Lossy formats
// and colour images are refused. The error names the file.
func DecodeIndex(file string) (*data.Grid[uint8], error) {
	g, err := decodeIndex(file)
	return g, named(file, err)
}

// DecodeGray16 returns the values of a 16-bit grey PNG or TIFF, such as a depth map. The error
// names the file.
func DecodeGray16(file string) (*data.Grid[uint16], error) {
	g, err := decodeGray16(file)
	return g, named(file, err)
}

func named(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", file, err)
}

// A format is told by its first bytes, ? being any.
type format struct {
	name, magic  string
	decodeConfig func(content []byte) (image.Config, error)
	decode       func(content []byte) (image.Image, error)
}

func from[T any](decode func(io.Reader) (T, error)) func([]byte) (T, error) {
	return func(content []byte) (T, error) { return decode(bytes.NewReader(content)) }
}

var formats = []format{
	{"JPEG", "\xff\xd8\xff", from(jpeg.DecodeConfig), decodeJPEG},
	{"PNG", "\x89PNG\r\n\x1a\n", from(png.DecodeConfig), from(png.Decode)},
	{"GIF", "GIF8?a", from(gif.DecodeConfig), from(gif.Decode)},
	{"WebP", "RIFF????WEBP", from(webp.DecodeConfig), decodeWebP},
	{"BMP", "BM????\x00\x00\x00\x00", from(bmp.DecodeConfig), from(bmp.Decode)},
	{"TIFF", "II*\x00", from(tiff.DecodeConfig), decodeTIFF},
	{"TIFF", "MM\x00*", from(tiff.DecodeConfig), decodeTIFF},
	{heifName, "????ftyp", configHEIF, nil},
}

func (f format) matches(content []byte) bool {
	if len(content) < len(f.magic) {
		return false
	}
	for i := range len(f.magic) {
		if f.magic[i] != '?' && f.magic[i] != content[i] {
			return false
		}
	}
	return true
}

func decodeFile(file string, upright bool, side int) (*image.RGBA, image.Point, error) {
	content, err := readFile(file)
	if err != nil {
		return nil, image.Point{}, err
	}
	return decode(file, content, upright, side)
}

// readFile returns the content of a regular file of sensible size. Its errors leave out the name.
func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	if err == nil && info.Size() > maxFileSize {
		return nil, fmt.Errorf("%d MB are too many for an image file", info.Size()>>20)
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(file)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return content, err
}

// decode returns an image, reduced as [Reduced] does, and its whole size. It refuses a picture without a name that
// is cut short.
func decode(name string, content []byte, upright bool, side int) (out *image.RGBA, full image.Point, err error) {
	f, config, err := sniff(content)
	if err != nil {
		return nil, full, err
	}
	full = image.Pt(config.Width, config.Height)
	d := divisor(full, side)
	defer budget.take(f.bytes(config, d))()
	switch f.name {
	case heifName:
		if out, err = decodeHEIF(content, d); err != nil {
			return nil, full, f.explain(err)
		}
	case "JPEG":
		out, err = turbojpeg.Decode(content, full, d) // what it refuses, one that is cut short included, the standard library decodes
	}
	if out == nil || err != nil {
		img, err := f.open(content)
		if errors.Is(err, errCut) && name != "" {
			noteCut(name, content)
			err = nil
		}
		if err != nil {
			return nil, full, err
		}
		out = f.flatten(img, config, d)
	}
	if upright {
		turn := orientation(f.name, content)
		if turn >= 5 {
			full.X, full.Y = full.Y, full.X
		}
		out = orient(out, turn)
	}
	return out, full, nil
}

// flatten makes an image opaque and of 8 bits, at 1/d of its size.
func (f format) flatten(img image.Image, config image.Config, d int) *image.RGBA {
	// The first frame of an animation may cover a part of its screen only.
	screen := image.Rect(0, 0, config.Width, config.Height)
	ground := image.White
	if f.name == "WebP" && config.ColorModel == color.YCbCrModel {
		ground = image.Black // an animation without transparency
	}
	paint := func(out *image.RGBA) {
		draw.Draw(out, out.Rect, ground, image.Point{}, draw.Src)
		draw.Draw(out, img.Bounds(), img, img.Bounds().Min, draw.Over)
		if f.name == "WebP" {
			convert(out, img, videoRange)
		}
	}
	if d > 1 {
		return reduce(screen, d, paint)
	}
	if out, ok := img.(*image.RGBA); ok && out.Rect == screen && out.Opaque() {
		return out
	}
	out := image.NewRGBA(screen)
	paint(out)
	return out
}

// sniff tells format and size, and refuses what is too large.
func sniff(content []byte) (f format, config image.Config, err error) {
	if len(content) == 0 {
		return f, config, errors.New("the file is empty")
	}
	for _, f = range formats {
		if f.matches(content) {
			break
		}
	}
	if !f.matches(content) {
		return f, config, errors.New("not an image: want JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC")
	}
	limit, err := pixelLimit()
	if err != nil {
		return f, config, err
	}
	defer f.recover(&err)
	config, err = f.decodeConfig(content)
	if err != nil {
		return f, config, f.explain(err)
	}
	w, h := int64(config.Width), int64(config.Height)
	if own := f.own(config); own >= 8 { // the limit is meant for memory
		limit = max(1, limit*5/own)
	}
	switch {
	case w < 1 || h < 1:
		return f, config, fmt.Errorf("%s of %d×%d pixels", f.name, w, h)
	case w > limit/h:
		return f, config, fmt.Errorf("%d×%d pixels are over the limit of %d: shrink the image, or set %s", w, h, limit, MaxPixelsVariable)
	}
	return f, config, nil
}

func (f format) open(content []byte) (img image.Image, err error) {
	defer f.recover(&err)
	img, err = f.decode(content)
	if err != nil && !errors.Is(err, errCut) {
		return nil, f.explain(err)
	}
	return img, err
}

// recover turns the panic of a decoder into an error: one damaged file must not end a long run.
func (f format) recover(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged %s: %v", f.name, p)
	}
}

func (f format) explain(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || strings.Contains(err.Error(), "not enough") {
		return fmt.Errorf("%s cut short: %w", f.name, err)
	}
	return fmt.Errorf("cannot read this %s: %w", f.name, err)
}

func decodeIndex(file string) (*data.Grid[uint8], error) {
	content, err := readFile(file)
	if err != nil {
		return nil, err
	}
	f, _, err := sniff(content)
	if err != nil {
		return nil, err
	}
	if f.name == "JPEG" || f.name == "WebP" || f.name == heifName {
		return nil, fmt.Errorf("a label map cannot be a %s, which is lossy: want a paletted or 8-bit grey PNG", f.name)
	}
	img, err := f.open(content)
	if err != nil {
		return nil, err
	}
	switch img := img.(type) {
	case *image.Paletted:
		return &data.Grid[uint8]{W: img.Rect.Dx(), H: img.Rect.Dy(), Pix: packed(img.Pix, img.Stride, img.Rect.Dx(), img.Rect.Dy())}, nil
	case *image.Gray:
		g := &data.Grid[uint8]{W: img.Rect.Dx(), H: img.Rect.Dy(), Pix: packed(img.Pix, img.Stride, img.Rect.Dx(), img.Rect.Dy())}
		if bits := pngBits(f, content); bits < 8 {
			// The decoder has stretched the values to 0–255.
			step := uint8(255 / (1<<bits - 1))
			for i := range g.Pix {
				g.Pix[i] /= step
			}
		}
		return g, nil
	}
	return nil, fmt.Errorf("a label map of class indices must be a paletted or 8-bit grey image, not %s", kind(img))
}

// pngBits returns the bits per channel of a PNG, 8 for other formats.
func pngBits(f format, content []byte) int {
	const at = 24 // signature, length and type of IHDR, width, height
	if f.name != "PNG" || len(content) <= at || content[at] == 0 {
		return 8
	}
	return int(content[at])
}

func packed(pix []uint8, stride, w, h int) []uint8 {
	if stride == w {
		return pix[:w*h]
	}
	out := make([]uint8, 0, w*h)
	for y := range h {
		out = append(out, pix[y*stride:][:w]...)
	}
	return out
}

func decodeGray16(file string) (*data.Grid[uint16], error) {
	content, err := readFile(file)
	if err != nil {
		return nil, err
	}
	f, _, err := sniff(content)
	if err != nil {
		return nil, err
	}
	if f.name == heifName {
		return nil, fmt.Errorf("want a 16-bit grey PNG, not %s", f.name)
	}
	img, err := f.open(content)
	if err != nil {
		return nil, err
	}
	grey, ok := img.(*image.Gray16)
	if !ok {
		return nil, fmt.Errorf("want a 16-bit grey PNG, not %s", kind(img))
	}
	g := data.NewGrid[uint16](grey.Rect.Dx(), grey.Rect.Dy())
	for i := range g.Pix {
		x, y := i%g.W, i/g.W
		g.Pix[i] = uint16(grey.Pix[y*grey.Stride+2*x])<<8 | uint16(grey.Pix[y*grey.Stride+2*x+1])
	}
	return g, nil
}

// kind names an image's pixels as a person would.
func kind(img image.Image) string {
	switch img.(type) {
	case *image.Gray:
		return "8-bit grey"
	case *image.Gray16:
		return "16-bit grey"
	case *image.Paletted:
		return "paletted"
	case *image.CMYK:
		return "CMYK"
	}
	return "colour"
}
