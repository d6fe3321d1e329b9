package weights

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"must/atomicfile"
)

// Write writes a safetensors file. The same content gives the same bytes: larger items come first,
// as in the format's reference program, so that every array is aligned; among equals the order is
// by name. The file is whole or not there.
func Write(path string, metadata map[string]string, tensors []Tensor) error {
	tensors = slices.SortedFunc(slices.Values(tensors), func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(itemSize[b.DType], itemSize[a.DType]), cmp.Compare(a.Name, b.Name))
	})
	header, err := encodeHeader(metadata, tensors)
	if err != nil {
		return fmt.Errorf("weights %s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		if err := binary.Write(w, binary.LittleEndian, uint64(len(header))); err != nil {
			return err
		}
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, t := range tensors {
			if _, err := w.Write(t.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// encodeHeader makes the JSON header of tensors that follow each other in the given order, padded
// with spaces so that the first one begins at a multiple of 8 bytes.
func encodeHeader(metadata map[string]string, tensors []Tensor) ([]byte, error) {
	for key, value := range metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("metadata %q is not UTF-8", key)
		}
	}
	var fields [][]byte // "key":value
	field := func(key string, value any) error {
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		fields = append(fields, slices.Concat(k, []byte(":"), v))
		return err
	}
	if len(metadata) > 0 {
		if err := field(metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{metadataKey: true}
	var end int64
	for _, t := range tensors {
		if !utf8.ValidString(t.Name) || seen[t.Name] {
			return nil, fmt.Errorf("tensor name %q is used twice, reserved or not UTF-8", t.Name)
		}
		seen[t.Name] = true
		size, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if size != int64(len(t.Data)) {
			return nil, fmt.Errorf("tensor %q: %s of shape %v takes %d bytes, not %d", t.Name, t.DType, t.Shape, size, len(t.Data))
		}
		err = field(t.Name, struct {
			DType   string   `json:"dtype"`
			Shape   []int64  `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{t.DType, append([]int64{}, t.Shape...), [2]int64{end, end + size}})
		if err != nil {
			return nil, err
		}
		end += size
	}
	header := slices.Concat([]byte("{"), bytes.Join(fields, []byte(",")), []byte("}"))
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if len(header) > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes is over the format's limit", len(header))
	}
	return header, nil
}
