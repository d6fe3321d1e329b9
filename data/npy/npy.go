// Package npy reads and writes NumPy's .npy arrays (numpy.lib.format, versions 1 to 3) of numbers.
//
// Files come from elsewhere, so nothing is believed: a shape must multiply out to exactly the bytes
// that are there before memory is taken for its values.
package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/x448/float16"

	"must/data"
)

// Element types that Append writes.
const (
	Float16 = "float16"
	Float32 = "float32"
)

// An Array is a file's shape and its values in C order (last axis fastest), whatever their type and
// order in the file. Integers beyond 2²⁴ and float64 are rounded to float32.
type Array struct {
	Shape  []int
	Values []float32
	// Integer says that the file holds whole numbers (or truth values).
	Integer bool
}

var magic = []byte("\x93NUMPY")

// element says how one value of a dtype is stored.
type element struct {
	size int
	get  func(order binary.ByteOrder, b []byte) float32
}

// Keys are NumPy's type strings without the byte order.
var elements = map[string]element{
	"f2": {2, func(o binary.ByteOrder, b []byte) float32 { return float16.Frombits(o.Uint16(b)).Float32() }},
	"f4": {4, func(o binary.ByteOrder, b []byte) float32 { return math.Float32frombits(o.Uint32(b)) }},
	"f8": {8, func(o binary.ByteOrder, b []byte) float32 { return float32(math.Float64frombits(o.Uint64(b))) }},
	"b1": {1, func(_ binary.ByteOrder, b []byte) float32 { return float32(b[0]) }},
	"u1": {1, func(_ binary.ByteOrder, b []byte) float32 { return float32(b[0]) }},
	"i1": {1, func(_ binary.ByteOrder, b []byte) float32 { return float32(int8(b[0])) }},
	"u2": {2, func(o binary.ByteOrder, b []byte) float32 { return float32(o.Uint16(b)) }},
	"i2": {2, func(o binary.ByteOrder, b []byte) float32 { return float32(int16(o.Uint16(b))) }},
	"u4": {4, func(o binary.ByteOrder, b []byte) float32 { return float32(o.Uint32(b)) }},
	"i4": {4, func(o binary.ByteOrder, b []byte) float32 { return float32(int32(o.Uint32(b))) }},
	"u8": {8, func(o binary.ByteOrder, b []byte) float32 { return float32(o.Uint64(b)) }},
	"i8": {8, func(o binary.ByteOrder, b []byte) float32 { return float32(int64(o.Uint64(b))) }},
}

// maxFile is the largest file that ReadFile takes; arrays of labels are far smaller.
const maxFile = 1 << 30

// ReadFile decodes the array in a file of up to 1 GB. The error names the file.
func ReadFile(file string) (*Array, error) {
	b, err := data.ReadFile(file, maxFile)
	if err != nil {
		return nil, err
	}
	a, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return a, nil
}

// Decode reads a whole .npy file.
func Decode(file []byte) (*Array, error) {
	h, body, err := decodeHeader(file)
	if err != nil {
		return nil, err
	}
	el, ok := elements[h.descr[1:]]
	if !ok {
		return nil, fmt.Errorf("npy: element type %q is not a number; save it as float32", h.descr)
	}
	n, err := count(h.shape, len(body)/el.size)
	if err != nil {
		return nil, err
	}
	if len(body) != n*el.size {
		return nil, fmt.Errorf("npy: shape %v of %s needs %d bytes, the file has %d", h.shape, h.descr, n*el.size, len(body))
	}

	a := &Array{h.shape, make([]float32, n), strings.Contains("iub", h.descr[1:2])}
	var order binary.ByteOrder = binary.LittleEndian
	if h.descr[0] == '>' {
		order = binary.BigEndian
	}
	for i := range a.Values {
		a.Values[i] = el.get(order, body[i*el.size:])
	}
	if h.fortran && len(h.shape) > 1 {
		a.Values = fromFortran(a.Values, h.shape)
	}
	return a, nil
}

// count multiplies a shape out and refuses more than limit values, which also keeps the product
// from overflowing.
func count(shape []int, limit int) (int, error) {
	n := 1
	for _, d := range shape {
		if d == 0 {
			return 0, nil
		}
		if n > limit/d {
			return 0, fmt.Errorf("npy: shape %v needs more bytes than the file has", shape)
		}
		n *= d
	}
	return n, nil
}

// fromFortran puts values whose first axis is fastest into C order.
func fromFortran(v []float32, shape []int) []float32 {
	out := make([]float32, len(v))
	at := make([]int, len(shape)) // position in the array of the value that is read
	for _, x := range v {
		i := 0
		for axis, d := range shape {
			i = i*d + at[axis]
		}
		out[i] = x
		for axis := range at {
			if at[axis]++; at[axis] < shape[axis] {
				break
			}
			at[axis] = 0
		}
	}
	return out
}

type header struct {
	descr   string // byte order and type, such as <f4
	fortran bool
	shape   []int
}

// The header is the text of a Python dict; NumPy writes these three keys and no others.
var (
	descrField   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([<>|=][a-zA-Z]\d+)['"]`)
	fortranField = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	shapeField   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([\d\s,L]*)\)`)
)

var errTruncated = errors.New("npy: the file is cut short")

// decodeHeader returns the header and the bytes after it.
func decodeHeader(b []byte) (h header, body []byte, err error) {
	if !bytes.HasPrefix(b, magic) {
		return h, nil, errors.New("npy: not a .npy file")
	}
	if len(b) < 10 {
		return h, nil, errTruncated
	}
	var n, start int
	switch b[6] {
	case 1:
		n, start = int(binary.LittleEndian.Uint16(b[8:])), 10
	case 2, 3:
		if len(b) < 12 {
			return h, nil, errTruncated
		}
		n, start = int(binary.LittleEndian.Uint32(b[8:])), 12
	default:
		return h, nil, fmt.Errorf("npy: version %d is not known, 1 to 3 are", b[6])
	}
	if n > len(b)-start {
		return h, nil, errTruncated
	}
	dict, body := b[start:start+n], b[start+n:]

	descr, fortran, shape := descrField.FindSubmatch(dict), fortranField.FindSubmatch(dict), shapeField.FindSubmatch(dict)
	if descr == nil || fortran == nil || shape == nil {
		return h, nil, fmt.Errorf("npy: header %.80q does not describe an array of numbers", dict)
	}
	h = header{descr: string(descr[1]), fortran: string(fortran[1]) == "True"}
	for field := range strings.SplitSeq(string(shape[1]), ",") {
		if field = strings.TrimSuffix(strings.TrimSpace(field), "L"); field == "" {
			continue
		}
		d, err := strconv.Atoi(field)
		if err != nil {
			return h, nil, fmt.Errorf("npy: shape (%s) in the header", shape[1])
		}
		h.shape = append(h.shape, d)
	}
	return h, body, nil
}

// Append appends a .npy file of the values, in C order, to dst. It panics where they are not as
// many as the shape says or dtype is neither Float16 nor Float32. Float16 rounds to nearest even;
// what is beyond ±65504 becomes infinite.
func Append(dst []byte, dtype string, shape []int, values []float32) []byte {
	if n, err := count(shape, len(values)); err != nil || n != len(values) {
		panic(fmt.Sprintf("npy: %d values for shape %v", len(values), shape))
	}
	head := appendHeader(nil, dtype, shape)
	dst = slices.Grow(dst, len(head)+Size(dtype)*len(values))
	return appendValues(append(dst, head...), dtype, values)
}

// Write writes what [Append] appends, of values that come in runs, without holding it. It panics where
// they are not as many as the shape says.
func Write(w io.Writer, dtype string, shape []int, runs iter.Seq[[]float32]) error {
	if _, err := w.Write(appendHeader(nil, dtype, shape)); err != nil {
		return err
	}
	const chunk = 1 << 14 // values
	var b []byte
	total := 0
	for run := range runs {
		total += len(run)
		for part := range slices.Chunk(run, chunk) {
			b = appendValues(b[:0], dtype, part)
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	}
	if n, err := count(shape, total); err != nil || n != total {
		panic(fmt.Sprintf("npy: %d values for shape %v", total, shape))
	}
	return nil
}

// Size returns the bytes of a value that is written.
func Size(dtype string) int {
	if dtype == Float16 {
		return 2
	}
	return 4
}

func appendHeader(dst []byte, dtype string, shape []int) []byte {
	descr := map[string]string{Float16: "<f2", Float32: "<f4"}[dtype]
	if descr == "" {
		panic(fmt.Sprintf("npy: cannot write %q", dtype))
	}
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	tuple := strings.Join(dims, ", ")
	if len(dims) == 1 {
		tuple += ","
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	dict += strings.Repeat(" ", 63-(10+len(dict))%64) + "\n" // values start at a multiple of 64

	dst = append(dst, magic...)
	dst = append(dst, 1, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(dict)))
	return append(dst, dict...)
}

func appendValues(dst []byte, dtype string, values []float32) []byte {
	if dtype == Float16 {
		for _, v := range values {
			dst = binary.LittleEndian.AppendUint16(dst, float16.Fromfloat32(v).Bits())
		}
		return dst
	}
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}
