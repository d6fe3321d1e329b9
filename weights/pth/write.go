package pth

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"must/atomicfile"
)

// An Entry is a tensor to write: items of F32 or I64, little-endian, row by row.
type Entry struct {
	Name  string
	DType string
	Shape []int64
	Data  []byte
}

// written are the classes that hold items of a type.
var written = map[string]string{"F32": "FloatStorage", "I64": "LongStorage"}

// Write writes a state dict as torch.save does, in the order given. torch.load reads it with
// weights_only.
func Write(path string, entries []Entry) error {
	pickle, err := writePickle(entries)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		z := zip.NewWriter(w)
		at := int64(0) // where the next record begins
		add := func(name string, data []byte) error {
			h := &zip.FileHeader{
				Name: "archive/" + name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data),
				UncompressedSize64: uint64(len(data)), CompressedSize64: uint64(len(data)),
			}
			// torch maps files into memory: data begins at a multiple of 64. A record of padding is of at least 4 bytes.
			const local = 30
			pad := (64 - (at+local+int64(len(h.Name))+4)%64) % 64
			h.Extra = append([]byte("FB"), byte(pad), byte(pad>>8))
			h.Extra = append(h.Extra, make([]byte, pad)...)
			at += local + int64(len(h.Name)+len(h.Extra)+len(data))
			to, err := z.CreateRaw(h)
			if err != nil {
				return err
			}
			_, err = to.Write(data)
			return err
		}
		if err := add("data.pkl", pickle); err != nil {
			return err
		}
		if err := add("byteorder", []byte("little")); err != nil {
			return err
		}
		for i, e := range entries {
			if err := add(fmt.Sprint("data/", i), e.Data); err != nil {
				return err
			}
		}
		if err := add("version", []byte("3\n")); err != nil {
			return err
		}
		return z.Close()
	})
}

// writePickle writes the program, of protocol 2, that builds the dict.
func writePickle(entries []Entry) ([]byte, error) {
	var b bytes.Buffer
	text := func(s string) {
		b.WriteByte('X')
		binary.Write(&b, binary.LittleEndian, uint32(len(s)))
		b.WriteString(s)
	}
	integer := func(n int64) {
		b.WriteString("\x8a\x08") // 8 bytes, whatever the number
		binary.Write(&b, binary.LittleEndian, n)
	}
	tuple := func(f func()) {
		b.WriteByte('(')
		f()
		b.WriteByte('t')
	}
	dict := func() { b.WriteString("ccollections\nOrderedDict\n)R") }
	b.WriteString("\x80\x02")
	dict()
	b.WriteByte('(')
	for i, e := range entries {
		class, ok := written[e.DType]
		items := int64(1)
		for _, n := range e.Shape {
			items *= n
		}
		if !ok || items*itemSize[e.DType] != int64(len(e.Data)) {
			return nil, fmt.Errorf("tensor %s: %d bytes of %s do not fill %v", e.Name, len(e.Data), e.DType, e.Shape)
		}
		text(e.Name)
		b.WriteString("ctorch._utils\n_rebuild_tensor_v2\n")
		tuple(func() {
			tuple(func() {
				text("storage")
				b.WriteString("ctorch\n" + class + "\n")
				text(fmt.Sprint(i))
				text("cpu")
				integer(items)
			})
			b.WriteByte('Q')
			integer(0) // offset
			tuple(func() {
				for _, n := range e.Shape {
					integer(n)
				}
			})
			tuple(func() {
				stride := items
				for _, n := range e.Shape {
					stride /= max(1, n)
					integer(stride)
				}
			})
			b.WriteByte('\x89') // no gradient
			dict()
		})
		b.WriteByte('R')
	}
	b.WriteString("u.")
	return b.Bytes(), nil
}
