// Package hdf5 reads the HDF5 that MATLAB 7.3 writes: arrays of numbers in the root group, contiguous
// or in chunks, plain or deflated, one index of the first axis at a time, so that an array far larger than
// memory can be read. It knows the file format of HDF5 1.0 to 1.8 in its default settings (superblock 0 and 1,
// version 1 object headers and B-trees), and says so of anything else.
// Source: HDF5 File Format Specification Version 3.0, The HDF Group.
package hdf5

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	signature = "\x89HDF\r\n\x1a\n"
	undefined = math.MaxUint64 // an address that is none
	maxBlock  = 64 << 20       // bytes of a header, node or heap
	maxChunk  = 256 << 20      // bytes of a chunk
	maxValues = 1 << 28        // numbers of one index
	maxRatio  = 1032           // of deflate
)

var le = binary.LittleEndian

// A File is an open file. It is safe for concurrent use.
type File struct {
	r       io.ReaderAt
	base    uint64 // where addresses count from: after the user block
	size    uint64 // of what is after it
	objects map[string]uint64
}

// Open reads the names in the root group of a file of size bytes.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, objects: map[string]uint64{}}
	start := int64(0) // a user block of 0, 512, 1024, … bytes comes first
	head := make([]byte, 96)
	for {
		if start+int64(len(head)) > size {
			return nil, errors.New("not an HDF5 file")
		}
		if _, err := r.ReadAt(head, start); err != nil {
			return nil, err
		}
		if string(head[:8]) == signature {
			break
		}
		start = max(512, 2*start)
	}
	version := head[8]
	if version > 1 {
		return nil, fmt.Errorf("superblock version %d: save the file again in HDF5's earliest format", version)
	}
	if head[13] != 8 || head[14] != 8 {
		return nil, fmt.Errorf("addresses of %d and lengths of %d bytes, only 8 are read", head[13], head[14])
	}
	at := 24 + 4*int(version)
	f.base = le.Uint64(head[at:])
	if f.base > uint64(size) {
		return nil, errors.New("the file is cut short")
	}
	f.size = uint64(size) - f.base
	return f, f.readGroup(le.Uint64(head[at+40:]))
}

// read returns n bytes at an address.
func (f *File) read(address, n uint64) ([]byte, error) {
	if n > maxChunk || address > f.size || n > f.size-address {
		return nil, fmt.Errorf("%d bytes at %d are beyond the end: the file is cut short or damaged", n, address)
	}
	b := make([]byte, n)
	_, err := f.r.ReadAt(b, int64(f.base+address))
	return b, err
}

// block reads n bytes at an address that must begin with a name.
func (f *File) block(name string, address, n uint64) ([]byte, error) {
	b, err := f.read(address, n)
	if err == nil && string(b[:len(name)]) != name {
		err = fmt.Errorf("no %s at %d: the file is damaged", name, address)
	}
	return b, err
}

// A message is a part of an object's header.
type message struct {
	kind uint16
	body []byte
}

const (
	msgDataspace, msgDatatype, msgLayout = 0x1, 0x3, 0x8
	msgFilters, msgContinue, msgGroup    = 0xb, 0x10, 0x11
)

// header reads the messages of an object.
func (f *File) header(address uint64) ([]message, error) {
	b, err := f.read(address, 16)
	if err != nil {
		return nil, err
	}
	if b[0] != 1 {
		return nil, errors.New("an object header of a later version: save the file again in HDF5's earliest format")
	}
	type span struct{ at, n uint64 }
	spans := []span{{address + 16, uint64(le.Uint32(b[8:]))}}
	var out []message
	for k := 0; k < len(spans) && k < 256; k++ {
		if spans[k].n > maxBlock {
			return nil, fmt.Errorf("an object header of %d bytes", spans[k].n)
		}
		b, err := f.read(spans[k].at, spans[k].n)
		if err != nil {
			return nil, err
		}
		for len(b) >= 8 {
			m := message{kind: le.Uint16(b)}
			n := int(le.Uint16(b[2:]))
			if n > len(b)-8 {
				break
			}
			m.body, b = b[8:8+n], b[8+n:]
			if m.kind == msgContinue && n >= 16 {
				spans = append(spans, span{le.Uint64(m.body), le.Uint64(m.body[8:])})
			}
			out = append(out, m)
		}
	}
	return out, nil
}

func find(messages []message, kind uint16) []byte {
	for _, m := range messages {
		if m.kind == kind {
			return m.body
		}
	}
	return nil
}

// readGroup collects the objects of a group in the format of symbol tables.
func (f *File) readGroup(address uint64) error {
	messages, err := f.header(address)
	if err != nil {
		return fmt.Errorf("root group: %w", err)
	}
	table := find(messages, msgGroup)
	if len(table) < 16 {
		return errors.New("the root group is no symbol table: save the file again in HDF5's earliest format")
	}
	heap, err := f.block("HEAP", le.Uint64(table[8:]), 32)
	if err != nil {
		return err
	}
	if le.Uint64(heap[8:]) > maxBlock {
		return errors.New("more names than fit")
	}
	names, err := f.read(le.Uint64(heap[24:]), le.Uint64(heap[8:]))
	if err != nil {
		return err
	}
	return f.tree(le.Uint64(table), 0, 8, func(_ []byte, child uint64) error {
		b, err := f.block("SNOD", child, 8)
		if err != nil {
			return err
		}
		const entry = 40
		b, err = f.read(child+8, entry*uint64(le.Uint16(b[6:])))
		if err != nil {
			return err
		}
		for ; len(b) > 0; b = b[entry:] {
			at := le.Uint64(b)
			if at >= uint64(len(names)) {
				return errors.New("a name outside its heap: the file is damaged")
			}
			name, _, _ := bytes.Cut(names[at:], []byte{0})
			f.objects[string(name)] = le.Uint64(b[8:])
		}
		return nil
	})
}

// tree visits the leaves of a version 1 B-tree of a kind whose keys have a size: each with the key
// before it.
func (f *File) tree(address uint64, kind byte, keySize int, leaf func(key []byte, child uint64) error) error {
	size := uint64(0)
	var visit func(address uint64, level int) error
	visit = func(address uint64, level int) error {
		b, err := f.block("TREE", address, 24)
		if err != nil {
			return err
		}
		if b[4] != kind || level >= 0 && int(b[5]) != level {
			return errors.New("a tree of the wrong kind: the file is damaged")
		}
		level = int(b[5])
		n := uint64(le.Uint16(b[6:])) * uint64(keySize+8)
		if size += 24 + n; size > f.size {
			return errors.New("a tree larger than the file: it is damaged")
		}
		b, err = f.read(address+24, n)
		if err != nil {
			return err
		}
		for ; len(b) > 0; b = b[keySize+8:] {
			child := le.Uint64(b[keySize:])
			if level == 0 {
				err = leaf(b[:keySize], child)
			} else {
				err = visit(child, level-1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return visit(address, -1)
}

// A Dataset is an array of numbers.
type Dataset struct {
	Shape []int // at least one axis

	f       *File
	decode  func(b []byte) float32
	element int // bytes
	address uint64
	chunk   []int // shape of a chunk; nil: contiguous
	chunks  map[string]chunk
	filters []uint16 // in the order in which they were applied
}

// A chunk is where a piece of the array is stored.
type chunk struct {
	address uint64
	size    uint32
	skipped uint32 // bits of filters that were not applied
}

// Dataset opens an array of the root group.
func (f *File) Dataset(name string) (*Dataset, error) {
	address, ok := f.objects[name]
	if !ok {
		return nil, fmt.Errorf("no variable %s in it", name)
	}
	d := &Dataset{f: f}
	messages, err := f.header(address)
	if err == nil {
		err = d.parse(messages)
	}
	if err != nil {
		return nil, fmt.Errorf("variable %s: %w", name, err)
	}
	return d, nil
}

var errMessage = errors.New("it is not an array of numbers as MATLAB writes it")

func (d *Dataset) parse(messages []message) error {
	space, kind, layout := find(messages, msgDataspace), find(messages, msgDatatype), find(messages, msgLayout)
	if len(space) < 8 || len(kind) < 8 || len(layout) < 2 || layout[0] != 3 {
		return errMessage
	}
	rank := int(space[1])
	at := map[byte]int{1: 8, 2: 4}[space[0]]
	if at == 0 || rank < 1 || len(space) < at+8*rank {
		return errMessage
	}
	for i := range rank {
		n := le.Uint64(space[at+8*i:])
		if n == 0 || n > math.MaxInt32 {
			return fmt.Errorf("axis %d has %d elements", i, n)
		}
		d.Shape = append(d.Shape, int(n))
	}
	if err := d.setType(kind); err != nil {
		return err
	}
	if _, err := product(d.Shape[1:], maxValues); err != nil {
		return err
	}
	if err := d.setFilters(find(messages, msgFilters)); err != nil {
		return err
	}
	switch body := layout[2:]; {
	case layout[1] == 1 && len(body) >= 8:
		d.address = le.Uint64(body)
		if len(d.filters) > 0 || d.address == undefined {
			return errMessage
		}
		return nil
	case layout[1] == 2 && len(body) >= 9+4*(rank+1) && int(body[0]) == rank+1:
		tree := le.Uint64(body[1:])
		for i := range rank {
			d.chunk = append(d.chunk, int(le.Uint32(body[9+4*i:])))
		}
		if slices.Contains(d.chunk, 0) {
			return errMessage
		}
		if _, err := product(d.chunk, maxChunk/d.element); err != nil {
			return err
		}
		d.chunks = map[string]chunk{}
		if tree == undefined { // nothing was ever written
			return nil
		}
		return d.f.tree(tree, 1, 8+8*(rank+1), func(key []byte, child uint64) error {
			d.chunks[string(key[8:8+8*rank])] = chunk{child, le.Uint32(key), le.Uint32(key[4:])}
			return nil
		})
	}
	return errMessage
}

// product multiplies a shape out; more than limit is an error.
func product(shape []int, limit int) (int, error) {
	n := 1
	for _, d := range shape {
		if n > limit/d {
			return 0, fmt.Errorf("shape %v is over the limit of %d numbers", shape, limit)
		}
		n *= d
	}
	return n, nil
}

// setType takes integers of up to 2 bytes and floats, little-endian: what images and depth are.
func (d *Dataset) setType(b []byte) error {
	class, bigEndian, signed := b[0]&0xf, b[1]&1 != 0, b[1]&8 != 0
	d.element = int(le.Uint32(b[4:]))
	switch {
	case bigEndian:
	case class == 0 && !signed && d.element == 1:
		d.decode = func(b []byte) float32 { return float32(b[0]) }
	case class == 0 && !signed && d.element == 2:
		d.decode = func(b []byte) float32 { return float32(le.Uint16(b)) }
	case class == 1 && d.element == 4:
		d.decode = func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }
	case class == 1 && d.element == 8:
		d.decode = func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }
	}
	if d.decode == nil {
		return fmt.Errorf("data type %d of %d bytes is not read", class, d.element)
	}
	return nil
}

const (
	filterDeflate = 1
	filterShuffle = 2
)

func (d *Dataset) setFilters(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if len(b) < 8 || b[0] != 1 {
		return errMessage
	}
	n := int(b[1])
	b = b[8:]
	for range n {
		if len(b) < 8 {
			return errMessage
		}
		id, name, values := le.Uint16(b), int(le.Uint16(b[2:])), int(le.Uint16(b[6:]))
		if id != filterDeflate && id != filterShuffle {
			return fmt.Errorf("filter %d is not known", id)
		}
		d.filters = append(d.filters, id)
		size := 8 + (name+7)/8*8 + (values+values%2)*4
		b = b[min(size, len(b)):]
	}
	return nil
}

// Index returns the numbers with index i of the first axis, in C order.
func (d *Dataset) Index(i int) ([]float32, error) {
	if i < 0 || i >= d.Shape[0] {
		return nil, fmt.Errorf("index %d of %d", i, d.Shape[0])
	}
	n, err := product(d.Shape[1:], maxValues)
	if err != nil {
		return nil, err
	}
	if d.chunk == nil {
		size := uint64(n * d.element)
		b, err := d.f.read(d.address+uint64(i)*size, size)
		if err != nil {
			return nil, err
		}
		out := make([]float32, n)
		for k := range out {
			out[k] = d.decode(b[k*d.element:])
		}
		return out, nil
	}
	out := make([]float32, n)
	at := make([]int, len(d.Shape)) // origin of the chunk at hand
	at[0] = i / d.chunk[0] * d.chunk[0]
	for {
		if err := d.copyChunk(out, at, i-at[0]); err != nil {
			return nil, err
		}
		axis := len(at) - 1
		for ; axis > 0; axis-- {
			if at[axis] += d.chunk[axis]; at[axis] < d.Shape[axis] {
				break
			}
			at[axis] = 0
		}
		if axis <= 0 {
			return out, nil
		}
	}
}

// copyChunk copies what the chunk with an origin has for index `first` of its first axis.
func (d *Dataset) copyChunk(out []float32, origin []int, first int) error {
	var key []byte
	for _, o := range origin {
		key = le.AppendUint64(key, uint64(o))
	}
	c, ok := d.chunks[string(key)]
	if !ok {
		return nil // zeros
	}
	size, _ := product(d.chunk, maxChunk/d.element)
	b, err := d.unpack(c, size*d.element)
	if err != nil {
		return fmt.Errorf("chunk at %v: %w", origin, err)
	}
	b = b[first*(size/d.chunk[0])*d.element:]

	// Rows along the last axis are whole in both.
	last := len(origin) - 1
	if last == 0 {
		out[0] = d.decode(b)
		return nil
	}
	width := min(d.chunk[last], d.Shape[last]-origin[last])
	pos := make([]int, last) // within the chunk, axes 1 to last−1
	for {
		from, to, inside := 0, 0, true
		for axis := 1; axis < last; axis++ {
			from = from*d.chunk[axis] + pos[axis]
			to = to*d.Shape[axis] + origin[axis] + pos[axis]
			inside = inside && origin[axis]+pos[axis] < d.Shape[axis]
		}
		if inside {
			row := b[from*d.chunk[last]*d.element:]
			for k := range width {
				out[to*d.Shape[last]+origin[last]+k] = d.decode(row[k*d.element:])
			}
		}
		axis := last - 1
		for ; axis > 0; axis-- {
			if pos[axis]++; pos[axis] < d.chunk[axis] {
				break
			}
			pos[axis] = 0
		}
		if axis <= 0 {
			return nil
		}
	}
}

// unpack returns the size bytes of a chunk.
func (d *Dataset) unpack(c chunk, size int) ([]byte, error) {
	if size > maxRatio*int(c.size) {
		return nil, fmt.Errorf("%d bytes cannot hold %d", c.size, size)
	}
	b, err := d.f.read(c.address, uint64(c.size))
	if err != nil {
		return nil, err
	}
	for k, id := range slices.Backward(d.filters) {
		if c.skipped>>k&1 != 0 {
			continue
		}
		switch id {
		case filterDeflate:
			z, err := zlib.NewReader(bytes.NewReader(b))
			if err != nil {
				return nil, err
			}
			plain := make([]byte, size)
			if _, err := io.ReadFull(z, plain); err != nil {
				return nil, err
			}
			b = plain
		case filterShuffle: // all first bytes, all second bytes, …
			plain := make([]byte, len(b))
			n := len(b) / d.element
			for i := range n * d.element {
				plain[i%n*d.element+i/n] = b[i]
			}
			copy(plain[n*d.element:], b[n*d.element:])
			b = plain
		}
	}
	if len(b) < size {
		return nil, fmt.Errorf("%d bytes, want %d", len(b), size)
	}
	return b, nil
}
