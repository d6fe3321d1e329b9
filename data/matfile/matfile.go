// Package matfile reads MATLAB's MAT-files of level 5 (MATLAB 5 to 7.2): the lists, splits and class
// tables that data sets keep in them. Numbers, text, cells and structures are read; other classes
// (sparse, function, object) come out with their shape only. Source: MAT-File Format, The MathWorks.
package matfile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"unicode/utf16"
)

const (
	maxFile  = 256 << 20 // bytes, packed or not
	maxDepth = 16        // of cells and structures in each other
)

// A Value is an array. All but Shape depend on its class and are nil otherwise.
type Value struct {
	Shape   []int
	Numbers []float64          // in MATLAB's order: the first axis is fastest
	Text    string             // of a row of characters
	Cells   []Value            // of a cell array
	Fields  map[string][]Value // of a structure array: for each field one value per element
}

// ReadFile reads the variables of a file. The error names it.
func ReadFile(file string) (map[string]Value, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d MB are too many for a MAT-file of level 5", file, info.Size()>>20)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	vars, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return vars, nil
}

// Data types of elements, and classes of arrays.
const (
	miINT8, miUINT8, miINT16, miUINT16, miINT32, miUINT32 = 1, 2, 3, 4, 5, 6
	miSINGLE, miDOUBLE, miINT64, miUINT64                 = 7, 9, 12, 13
	miMATRIX, miCOMPRESSED, miUTF8, miUTF16               = 14, 15, 16, 17

	mxCELL, mxSTRUCT, mxCHAR, mxDOUBLE, mxUINT64 = 1, 2, 4, 6, 15
)

var errShort = errors.New("the MAT-file is cut short")

// Decode reads the variables in the content of a file.
func Decode(file []byte) (map[string]Value, error) {
	const header = 128
	if len(file) < header {
		return nil, errors.New("not a MAT-file of level 5")
	}
	d := decoder{order: binary.LittleEndian, budget: maxFile}
	switch string(file[126:128]) {
	case "IM":
	case "MI":
		d.order = binary.BigEndian
	default:
		return nil, errors.New("not a MAT-file of level 5")
	}
	if d.order.Uint16(file[124:])>>8 == 2 {
		return nil, errors.New("a MAT-file of MATLAB 7.3, which is HDF5: save it again with -v7")
	}
	vars := map[string]Value{}
	for rest := file[header:]; len(rest) > 0; {
		kind, body, after, err := d.element(rest)
		if err != nil {
			return nil, err
		}
		rest = after
		if kind == miCOMPRESSED {
			if kind, body, err = d.unpack(body); err != nil {
				return nil, err
			}
		}
		if kind != miMATRIX {
			continue
		}
		name, v, err := d.matrix(body, 0)
		if err != nil {
			return nil, fmt.Errorf("variable %q: %w", name, err)
		}
		vars[name] = v
	}
	return vars, nil
}

type decoder struct {
	order  binary.ByteOrder
	budget int64 // bytes that may still be unpacked
}

// element splits the first data element off b. Elements are padded to 8 bytes, compressed ones are not.
func (d *decoder) element(b []byte) (kind uint32, body, rest []byte, err error) {
	if len(b) < 8 {
		return 0, nil, nil, errShort
	}
	kind = d.order.Uint32(b)
	if n := kind >> 16; n != 0 { // up to four bytes, within the tag
		if n > 4 {
			return 0, nil, nil, fmt.Errorf("a small element of %d bytes", n)
		}
		return kind & 0xffff, b[4 : 4+n], b[8:], nil
	}
	n := int(d.order.Uint32(b[4:]))
	if n > len(b)-8 {
		return 0, nil, nil, errShort
	}
	body, rest = b[8:8+n], b[8+n:]
	if pad := -n & 7; kind != miCOMPRESSED {
		rest = rest[min(pad, len(rest)):]
	}
	return kind, body, rest, nil
}

// unpack returns the element in a compressed one.
func (d *decoder) unpack(b []byte) (kind uint32, body []byte, err error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return 0, nil, fmt.Errorf("compressed element: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, d.budget+1))
	if err != nil {
		return 0, nil, fmt.Errorf("compressed element: %w", err)
	}
	if d.budget -= int64(len(plain)); d.budget < 0 {
		return 0, nil, fmt.Errorf("it unpacks to more than %d MB", maxFile>>20)
	}
	kind, body, _, err = d.element(plain)
	return kind, body, err
}

// matrix reads the parts of an array: flags, shape, name, values.
func (d *decoder) matrix(b []byte, depth int) (name string, v Value, err error) {
	if len(b) == 0 { // an empty array may be no more than its tag
		return "", Value{Shape: []int{0, 0}}, nil
	}
	if depth > maxDepth {
		return "", v, fmt.Errorf("more than %d cells or structures in each other", maxDepth)
	}
	_, flags, b, err := d.element(b)
	if err != nil || len(flags) < 8 {
		return "", v, errShort
	}
	class := d.order.Uint32(flags) & 0xff
	_, shape, b, err := d.element(b)
	if err != nil {
		return "", v, err
	}
	_, label, b, err := d.element(b)
	if err != nil {
		return "", v, err
	}
	name = string(label)
	count := 1
	for ; len(shape) >= 4; shape = shape[4:] {
		n := int(int32(d.order.Uint32(shape)))
		if n < 0 || n > 0 && count > math.MaxInt32/n {
			return name, v, fmt.Errorf("shape with %d", n)
		}
		v.Shape = append(v.Shape, n)
		count *= n
	}

	switch {
	case class == mxCELL:
		v.Cells, _, err = d.matrices(b, count, depth)
	case class == mxSTRUCT:
		v.Fields, err = d.structure(b, count, depth)
	case class == mxCHAR:
		v.Text, err = d.text(b)
	case class >= mxDOUBLE && class <= mxUINT64:
		v.Numbers, err = d.numbers(b)
		if err == nil && len(v.Numbers) != count {
			err = fmt.Errorf("%d numbers for shape %v", len(v.Numbers), v.Shape)
		}
	}
	return name, v, err
}

// matrices reads n arrays.
func (d *decoder) matrices(b []byte, n, depth int) (values []Value, rest []byte, err error) {
	if n > len(b)/8 {
		return nil, nil, errShort
	}
	values = make([]Value, n)
	for i := range values {
		var body []byte
		if _, body, b, err = d.element(b); err != nil {
			return nil, nil, err
		}
		if _, values[i], err = d.matrix(body, depth+1); err != nil {
			return nil, nil, err
		}
	}
	return values, b, nil
}

// structure reads n elements, each with all its fields in order.
func (d *decoder) structure(b []byte, n, depth int) (map[string][]Value, error) {
	_, length, b, err := d.element(b)
	if err != nil || len(length) < 4 {
		return nil, errShort
	}
	width := int(d.order.Uint32(length))
	_, text, b, err := d.element(b)
	if err != nil {
		return nil, err
	}
	if width < 1 || len(text)%width != 0 {
		return nil, fmt.Errorf("field names of %d bytes each in %d", width, len(text))
	}
	var names []string
	for ; len(text) > 0; text = text[width:] {
		name, _, _ := strings.Cut(string(text[:width]), "\x00")
		names = append(names, name)
	}
	if len(names) > 0 && n > len(b)/8/len(names) {
		return nil, errShort
	}
	values, _, err := d.matrices(b, n*len(names), depth)
	if err != nil {
		return nil, err
	}
	fields := make(map[string][]Value, len(names))
	for i, v := range values {
		name := names[i%len(names)]
		fields[name] = append(fields[name], v)
	}
	return fields, nil
}

// sizes are those of a number of each data type, in bytes.
var sizes = map[uint32]int{
	miINT8: 1, miUINT8: 1, miINT16: 2, miUINT16: 2, miINT32: 4, miUINT32: 4,
	miSINGLE: 4, miDOUBLE: 8, miINT64: 8, miUINT64: 8,
}

// numbers reads an element of numbers, which MATLAB stores in the smallest type that holds them.
func (d *decoder) numbers(b []byte) ([]float64, error) {
	kind, body, _, err := d.element(b)
	if err != nil {
		return nil, err
	}
	size, ok := sizes[kind]
	if !ok || len(body)%size != 0 {
		return nil, fmt.Errorf("%d bytes of data type %d are no numbers", len(body), kind)
	}
	out := make([]float64, len(body)/size)
	for i := range out {
		p := body[i*size:]
		switch kind {
		case miINT8:
			out[i] = float64(int8(p[0]))
		case miUINT8:
			out[i] = float64(p[0])
		case miINT16:
			out[i] = float64(int16(d.order.Uint16(p)))
		case miUINT16:
			out[i] = float64(d.order.Uint16(p))
		case miINT32:
			out[i] = float64(int32(d.order.Uint32(p)))
		case miUINT32:
			out[i] = float64(d.order.Uint32(p))
		case miSINGLE:
			out[i] = float64(math.Float32frombits(d.order.Uint32(p)))
		case miDOUBLE:
			out[i] = math.Float64frombits(d.order.Uint64(p))
		case miINT64:
			out[i] = float64(int64(d.order.Uint64(p)))
		case miUINT64:
			out[i] = float64(d.order.Uint64(p))
		}
	}
	return out, nil
}

func (d *decoder) text(b []byte) (string, error) {
	kind, body, _, err := d.element(b)
	if err != nil {
		return "", err
	}
	switch kind {
	case miUTF8, miINT8, miUINT8:
		return strings.ToValidUTF8(string(body), "\uFFFD"), nil
	case miUTF16, miUINT16:
		units := make([]uint16, len(body)/2)
		for i := range units {
			units[i] = d.order.Uint16(body[2*i:])
		}
		return string(utf16.Decode(units)), nil
	}
	return "", fmt.Errorf("data type %d is no text", kind)
}
