// Package exr reads the depth in OpenEXR files as renderers write it: one part of scan lines, stored as they are or
// compressed by RLE, ZIP or ZIPS (https://openexr.com/en/latest/OpenEXRFileLayout.html).
//
// Files come from elsewhere, so nothing is believed: sizes are checked against the bytes that are there before memory
// is taken.
package exr

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/x448/float16"

	"must/data"
)

const (
	maxFile   = 1 << 30
	maxPixels = 1 << 27
	// most is how many bytes deflate can make of one.
	most = 1032
)

// Bits of the version field.
const (
	tiled     = 1 << 9
	deep      = 1 << 11
	multipart = 1 << 12
)

// Compressions, by their number in the file, and how many lines a block has.
var compressions = []struct {
	name  string
	lines int
}{{"none", 1}, {"RLE", 1}, {"ZIPS", 1}, {"ZIP", 16}, {"PIZ", 32}, {"PXR24", 16}, {"B44", 32}, {"B44A", 32}, {"DWAA", 32}, {"DWAB", 256}}

const lastRead = 3 // of compressions that are read

// A channel is one value of each pixel.
type channel struct {
	name string
	kind uint32 // 0 unsigned integer, 1 half, 2 float
}

func (c channel) size() int {
	if c.kind == 1 {
		return 2
	}
	return 4
}

// ReadDepth reads the depth in a file of up to 1 GB: its channel Z, or depth, or Y, or the only one, or R of three that
// are alike. Its error names the file.
func ReadDepth(file string) (*data.Grid[float32], error) {
	b, err := data.ReadFile(file, maxFile)
	if err != nil {
		return nil, err
	}
	g, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return g, nil
}

type reader struct {
	b           []byte
	channels    []channel
	compression int
	x0, y0      int // of the data window
	w, h        int
}

var errShort = errors.New("the EXR is cut short")

// Decode reads the depth in a whole file, see [ReadDepth].
func Decode(b []byte) (*data.Grid[float32], error) {
	r := &reader{b: b, compression: -1}
	if err := r.header(); err != nil {
		return nil, err
	}
	at, err := r.pick()
	if err != nil {
		return nil, err
	}
	values, err := r.pixels(at)
	if err != nil {
		return nil, err
	}
	for _, other := range values[1:] {
		if !slices.EqualFunc(values[0], other, func(a, b float32) bool { return a == b || a != a && b != b }) {
			return nil, errors.New("its channels R, G and B differ: it is a picture, not depth")
		}
	}
	return &data.Grid[float32]{W: r.w, H: r.h, Pix: values[0]}, nil
}

// text cuts a text that ends in a zero.
func (r *reader) text() (string, error) {
	n := bytes.IndexByte(r.b[:min(len(r.b), 256)], 0)
	if n < 0 {
		return "", errShort
	}
	s := string(r.b[:n])
	r.b = r.b[n+1:]
	return s, nil
}

func (r *reader) header() error {
	whole := r.b
	if len(r.b) < 8 || binary.LittleEndian.Uint32(r.b) != 20000630 {
		return errors.New("not an EXR")
	}
	version := binary.LittleEndian.Uint32(r.b[4:])
	if version&0xff != 2 || version&(tiled|deep|multipart) != 0 {
		return errors.New("an EXR of tiles, of several parts or of deep pixels is not read: save it as scan lines of one part")
	}
	r.b = r.b[8:]
	window := false
	for {
		name, err := r.text()
		if err != nil {
			return err
		}
		if name == "" {
			break
		}
		kind, err := r.text()
		if err != nil {
			return err
		}
		if len(r.b) < 4 {
			return errShort
		}
		size := binary.LittleEndian.Uint32(r.b)
		r.b = r.b[4:]
		if uint64(size) > uint64(len(r.b)) {
			return errShort
		}
		value := r.b[:size]
		r.b = r.b[size:]
		switch name + " " + kind {
		case "channels chlist":
			if err := r.readChannels(value); err != nil {
				return err
			}
		case "compression compression":
			if size != 1 || int(value[0]) >= len(compressions) {
				return errors.New("an EXR of a compression that is not known")
			}
			r.compression = int(value[0])
		case "dataWindow box2i":
			if size != 16 {
				return errShort
			}
			corner := func(i int) int { return int(int32(binary.LittleEndian.Uint32(value[4*i:]))) }
			r.x0, r.y0 = corner(0), corner(1)
			r.w, r.h = corner(2)-r.x0+1, corner(3)-r.y0+1
			window = true
		}
	}
	switch {
	case !window || r.compression < 0 || len(r.channels) == 0:
		return errors.New("its head lacks channels, compression or dataWindow")
	case r.compression > lastRead:
		return fmt.Errorf("compressed by %s, which is not read: save it with ZIP or none", compressions[r.compression].name)
	case r.w < 1 || r.h < 1 || r.w > maxPixels || r.h > maxPixels/r.w:
		return fmt.Errorf("%d×%d pixels, want at most %d in all", r.w, r.h, maxPixels)
	case int64(r.w)*int64(r.h)*int64(r.bytes()) > int64(len(whole))*most:
		return errShort
	}
	return nil
}

// bytes returns how many bytes a pixel has.
func (r *reader) bytes() (n int) {
	for _, c := range r.channels {
		n += c.size()
	}
	return n
}

func (r *reader) readChannels(b []byte) error {
	list := reader{b: b}
	for len(list.b) > 0 && list.b[0] != 0 {
		name, err := list.text()
		if err != nil || len(list.b) < 16 {
			return errShort
		}
		c := channel{name, binary.LittleEndian.Uint32(list.b)}
		if c.kind > 2 || binary.LittleEndian.Uint32(list.b[8:]) != 1 || binary.LittleEndian.Uint32(list.b[12:]) != 1 {
			return fmt.Errorf("its channel %s has not a value for each pixel", name)
		}
		list.b = list.b[16:]
		if r.channels = append(r.channels, c); len(r.channels) > 1024 {
			return errors.New("more than 1024 channels")
		}
	}
	return nil
}

// pick returns the channels that hold depth; several must be alike.
func (r *reader) pick() ([]int, error) {
	find := func(match func(name string) bool) int {
		return slices.IndexFunc(r.channels, func(c channel) bool { return match(c.name) })
	}
	for _, name := range []string{"z", "depth", "y"} {
		if i := find(func(s string) bool {
			s = strings.ToLower(s)
			return s == name || strings.HasSuffix(s, "."+name)
		}); i >= 0 {
			return []int{i}, nil
		}
	}
	if len(r.channels) == 1 {
		return []int{0}, nil
	}
	var at []int
	for _, name := range []string{"R", "G", "B"} {
		if i := find(func(s string) bool { return s == name || strings.HasSuffix(s, "."+name) }); i >= 0 {
			at = append(at, i)
		}
	}
	if len(at) == 3 {
		return at, nil
	}
	var names []string
	for _, c := range r.channels {
		names = append(names, c.name)
	}
	return nil, fmt.Errorf("which of its channels %s is depth? Save it as Z, or alone", strings.Join(names, ", "))
}

// pixels reads channels, each as a map.
func (r *reader) pixels(at []int) ([][]float32, error) {
	lines := compressions[r.compression].lines
	blocks := (r.h + lines - 1) / lines
	if len(r.b) < 8*blocks {
		return nil, errShort
	}
	r.b = r.b[8*blocks:] // where blocks are, which follow each other
	out := make([][]float32, len(at))
	for i := range out {
		out[i] = make([]float32, r.w*r.h)
	}
	seen := make([]bool, blocks)
	for range blocks {
		if len(r.b) < 8 {
			return nil, errShort
		}
		y := int(int32(binary.LittleEndian.Uint32(r.b))) - r.y0
		size := binary.LittleEndian.Uint32(r.b[4:])
		r.b = r.b[8:]
		if uint64(size) > uint64(len(r.b)) {
			return nil, errShort
		}
		if y < 0 || y >= r.h || y%lines != 0 || seen[y/lines] {
			return nil, fmt.Errorf("a block of line %d, where there are %d", y, r.h)
		}
		seen[y/lines] = true
		n := min(lines, r.h-y)
		want := n * r.w * r.bytes()
		block, err := r.expand(r.b[:size], want)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", y, err)
		}
		r.b = r.b[size:]
		for line := range n {
			for c, ch := range r.channels {
				values := block[:r.w*ch.size()]
				block = block[len(values):]
				for i, picked := range at {
					if picked == c {
						ch.read(out[i][(y+line)*r.w:][:r.w], values)
					}
				}
			}
		}
	}
	return out, nil
}

func (c channel) read(to []float32, b []byte) {
	for i := range to {
		switch c.kind {
		case 0:
			to[i] = float32(binary.LittleEndian.Uint32(b[4*i:]))
		case 1:
			to[i] = float16.Frombits(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		default:
			to[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	}
}

// expand undoes the compression of a block of so many bytes. One that compression did not make smaller is stored.
func (r *reader) expand(b []byte, want int) ([]byte, error) {
	if r.compression == 0 || len(b) == want {
		if len(b) != want {
			return nil, fmt.Errorf("%d bytes, want %d", len(b), want)
		}
		return b, nil
	}
	var packed []byte
	if r.compression == 1 {
		var err error
		if packed, err = unpackRuns(b, want); err != nil {
			return nil, err
		}
	} else {
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		packed = make([]byte, want)
		if _, err := io.ReadFull(z, packed); err != nil {
			return nil, err
		}
	}
	// Bytes are differences, and the even ones come before the odd.
	for i := 1; i < len(packed); i++ {
		packed[i] += packed[i-1] - 128
	}
	out := make([]byte, want)
	half := (want + 1) / 2
	for i := range out {
		out[i] = packed[i%2*half+i/2]
	}
	return out, nil
}

// unpackRuns undoes run lengths: a count of n ≥ 0 and a byte that comes n+1 times, or -n and n bytes.
func unpackRuns(b []byte, want int) ([]byte, error) {
	out := make([]byte, 0, want)
	for len(b) > 0 {
		n := int(int8(b[0]))
		b = b[1:]
		switch {
		case n < 0 && -n <= len(b) && len(out)-n <= want:
			out, b = append(out, b[:-n]...), b[-n:]
		case n >= 0 && len(b) > 0 && len(out)+n+1 <= want:
			for range n + 1 {
				out = append(out, b[0])
			}
			b = b[1:]
		default:
			return nil, errShort
		}
	}
	if len(out) != want {
		return nil, errShort
	}
	return out, nil
}
