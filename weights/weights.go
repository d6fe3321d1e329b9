// Package weights reads and writes safetensors files: named arrays and a table of strings about
// them, little-endian, row-major, nothing in them to be executed. The format is Hugging Face's
// (docs/source/index.mdx of its safetensors project); docs/weights.md says what this project's
// files carry. A file is read by name and piece by piece, never as a whole. State dicts that
// torch.save wrote are read alike, by package pth.
package weights

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"
)

// A Tensor is one named array.
type Tensor struct {
	Name  string
	DType string // as the format names it: "F32", "BF16", "I64", "U8", "BOOL", …
	Shape []int64
	Data  []byte // little-endian, row-major
}

// itemSize holds the bytes of one item by data type.
var itemSize = map[string]int64{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
	"I64": 8, "I32": 4, "I16": 2, "I8": 1,
	"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}

// byteSize is the size of an array in bytes, or an error where there can be no such array.
func byteSize(dtype string, shape []int64) (int64, error) {
	size, ok := itemSize[dtype]
	if !ok {
		return 0, fmt.Errorf("unknown data type %q", dtype)
	}
	for _, n := range shape {
		if n < 0 {
			return 0, fmt.Errorf("negative shape %v", shape)
		}
		if n > 0 && size > math.MaxInt64/n {
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		size *= n
	}
	return size, nil
}

// FromFloat32s makes a tensor of type F32.
func FromFloat32s(name string, shape []int64, values []float32) Tensor {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return Tensor{Name: name, DType: "F32", Shape: shape, Data: data}
}

// Float32s converts the items of a tensor of any floating-point type but the 8-bit ones to float32.
// F64 is rounded to nearest, the others are exact.
func Float32s(t Tensor) ([]float32, error) {
	var item func([]byte) float32
	switch t.DType {
	case "F32":
		item = func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }
	case "F64":
		item = func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) }
	case "F16":
		item = func(b []byte) float32 { return float16.Frombits(binary.LittleEndian.Uint16(b)).Float32() }
	case "BF16":
		item = func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) }
	default:
		return nil, fmt.Errorf("tensor %q holds %s, want floating point", t.Name, t.DType)
	}
	size := int(itemSize[t.DType])
	if len(t.Data)%size != 0 {
		return nil, fmt.Errorf("tensor %q: %d bytes are no whole number of %s", t.Name, len(t.Data), t.DType)
	}
	values := make([]float32, len(t.Data)/size)
	for i := range values {
		values[i] = item(t.Data[i*size:])
	}
	return values, nil
}
