package weights

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"must/weights/pth"
)

// maxHeader is the format's limit on the header, in bytes.
const maxHeader = 100_000_000

// metadataKey is the one key of the header that is no tensor.
const metadataKey = "__metadata__"

// A Reader gives the tensors of one file. Its methods may be called from several goroutines.
type Reader struct {
	Metadata map[string]string
	Skipped  []string // what a file of torch's holds beside tensors that was left out unmade, by name

	path    string
	file    *os.File           // nil of an index
	files   []*Reader          // of an index: the files that it names
	shards  map[string]*Reader // of an index: the file of each tensor
	data    int64              // where the tensors begin in the file
	entries map[string]entry
	torch   map[string]*pth.Tensor // of a file of torch's, in place of data
}

// An entry is what the header says of one tensor; begin and end count from the first one's begin.
type entry struct {
	dtype      string
	shape      []int64
	begin, end int64
}

// ContainerKey is the metadata of a file of torch's whose tensors are a part of what it holds: its
// name there, such as "state_dict".
const ContainerKey = "torch.container"

// Open reads the header of a safetensors file and checks it wholly: every array has the size that
// its type and shape ask for, and together they fill the file without a gap or an overlap. What
// Read returns later needs no further checks. Files that torch.save wrote, known by their first
// bytes, are read and checked by package pth. An index of several files (model.safetensors.index.json)
// opens them as one.
func Open(path string) (*Reader, error) {
	r, shards, err := openFile(path)
	if shards != nil {
		return openIndex(path, shards)
	}
	return r, err
}

// openFile opens a file of tensors, or reads an index.
func openFile(path string) (*Reader, map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	r, shards, err := open(f)
	if err != nil || shards != nil {
		f.Close()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("weights %s: %w", path, err)
	}
	if r != nil {
		r.path = path
	}
	return r, shards, nil
}

// open reads the header of a file of tensors, or of an index the file of each.
func open(f *os.File) (r *Reader, shards map[string]string, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case info.IsDir():
		return nil, nil, errors.New("a folder; name the file of weights in it")
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("not a file")
	case info.Size() == 0:
		return nil, nil, errors.New("the file is empty; get it again")
	}
	head := make([]byte, 64)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	head = head[:n]
	if pth.Is(head) {
		r, err = openTorch(f, info.Size())
		return r, nil, err
	}
	if shards, err = readIndex(f, info.Size()); err != nil || shards != nil {
		return nil, shards, err
	}
	unknown := func() error {
		if kind := kindOf(head); kind != "" {
			return fmt.Errorf("neither safetensors nor a file of torch.save: %s", kind)
		}
		return fmt.Errorf("neither safetensors nor a file of torch.save, or damaged: it begins with % x", head[:min(8, n)])
	}
	if n < 9 || head[8] != '{' {
		return nil, nil, unknown()
	}
	length := binary.LittleEndian.Uint64(head)
	if length > maxHeader {
		return nil, nil, unknown()
	}
	data := 8 + int64(length)
	if data > info.Size() {
		return nil, nil, fmt.Errorf("cut short: its header of %d bytes is longer than the file of %d; get it again", length, info.Size())
	}
	header := make([]byte, length)
	if _, err := f.ReadAt(header, 8); err != nil {
		return nil, nil, err
	}
	metadata, entries, err := parseHeader(header, info.Size()-data)
	if err != nil {
		return nil, nil, err
	}
	return &Reader{Metadata: metadata, file: f, data: data, entries: entries}, nil, nil
}

func openTorch(f *os.File, size int64) (*Reader, error) {
	tensors, container, skipped, err := pth.Open(f, size)
	if err != nil {
		return nil, err
	}
	r := &Reader{Metadata: map[string]string{}, Skipped: skipped, file: f, entries: map[string]entry{}, torch: tensors}
	if container != "" {
		r.Metadata[ContainerKey] = container
	}
	for name, t := range tensors {
		r.entries[name] = entry{t.DType, t.Shape, 0, t.Bytes()}
	}
	return r, nil
}

// parseHeader parses and checks the JSON header of a file whose arrays take size bytes.
func parseHeader(header []byte, size int64) (map[string]string, map[string]entry, error) {
	metadata, entries, err := decodeHeader(header)
	if err != nil {
		return nil, nil, fmt.Errorf("safetensors with a damaged header: %w", err)
	}
	names := slices.SortedFunc(maps.Keys(entries), func(a, b string) int {
		ea, eb := entries[a], entries[b]
		return cmp.Or(cmp.Compare(ea.begin, eb.begin), cmp.Compare(ea.end, eb.end), cmp.Compare(a, b))
	})
	var end int64
	for _, name := range names {
		e := entries[name]
		want, err := byteSize(e.dtype, e.shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		switch {
		case e.begin < end:
			return nil, nil, fmt.Errorf("tensor %q overlaps the one before it: it begins at %d, that ends at %d", name, e.begin, end)
		case e.begin > end:
			return nil, nil, fmt.Errorf("a gap before tensor %q: bytes %d to %d belong to none", name, end, e.begin)
		case e.end > size:
			return nil, nil, fmt.Errorf("cut short: tensor %q ends at byte %d of the data, the file holds %d; get it again", name, e.end, size)
		case e.end-e.begin != want:
			return nil, nil, fmt.Errorf("tensor %q: %s of shape %v takes %d bytes, the header gives it %d", name, e.dtype, e.shape, want, e.end-e.begin)
		}
		end = e.end
	}
	if end != size {
		return nil, nil, fmt.Errorf("%d bytes after the last tensor belong to none", size-end)
	}
	return metadata, entries, nil
}

// decodeHeader reads the header's one object key by key, because decoding it into a map would
// silently keep the last of two tensors with the same name.
func decodeHeader(header []byte) (map[string]string, map[string]entry, error) {
	if !bytes.HasPrefix(header, []byte("{")) {
		return nil, nil, errors.New("it does not begin with {")
	}
	d := json.NewDecoder(bytes.NewReader(header))
	if _, err := d.Token(); err != nil {
		return nil, nil, err
	}
	var metadata map[string]string
	entries := map[string]entry{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		name := token.(string) // the decoder lets nothing else be a key
		if name == metadataKey {
			if metadata != nil {
				return nil, nil, fmt.Errorf("two %s", metadataKey)
			}
			if err := d.Decode(&metadata); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", metadataKey, err)
			}
			continue
		}
		if _, double := entries[name]; double {
			return nil, nil, fmt.Errorf("two tensors %q", name)
		}
		var fields struct {
			DType   *string  `json:"dtype"`
			Shape   *[]int64 `json:"shape"`
			Offsets *[]int64 `json:"data_offsets"`
		}
		if err := d.Decode(&fields); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if fields.DType == nil || fields.Shape == nil || fields.Offsets == nil {
			return nil, nil, fmt.Errorf("tensor %q lacks its dtype, shape or data_offsets", name)
		}
		offsets := *fields.Offsets
		if len(offsets) != 2 || offsets[0] < 0 || offsets[1] < offsets[0] {
			return nil, nil, fmt.Errorf("tensor %q has the data_offsets %d", name, offsets)
		}
		entries[name] = entry{*fields.DType, *fields.Shape, offsets[0], offsets[1]}
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, errors.New("something follows its last }")
	}
	return metadata, entries, nil
}

// Close closes the file, or those of an index.
func (r *Reader) Close() error {
	if r.file != nil {
		return r.file.Close()
	}
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Names lists the tensors, sorted.
func (r *Reader) Names() []string { return slices.Sorted(maps.Keys(r.entries)) }

// Lookup tells type and shape of a tensor and leaves Data nil; ok is false where there is none of
// that name.
func (r *Reader) Lookup(name string) (t Tensor, ok bool) {
	e, ok := r.entries[name]
	return Tensor{Name: name, DType: e.dtype, Shape: slices.Clone(e.shape)}, ok
}

// Read reads one tensor.
func (r *Reader) Read(name string) (Tensor, error) {
	e, err := r.entry(name)
	if err != nil {
		return Tensor{}, err
	}
	t := Tensor{Name: name, DType: e.dtype, Shape: slices.Clone(e.shape), Data: make([]byte, e.end-e.begin)}
	return t, r.ReadInto(name, t.Data)
}

// ReadInto reads the bytes of one tensor into data, which must have its size.
func (r *Reader) ReadInto(name string, data []byte) error {
	e, err := r.entry(name)
	if err != nil {
		return err
	}
	if int64(len(data)) != e.end-e.begin {
		return fmt.Errorf("weights %s: tensor %q has %d bytes (%s %v), there is room for %d", r.path, name, e.end-e.begin, e.dtype, e.shape, len(data))
	}
	if r.shards != nil {
		return r.shards[name].ReadInto(name, data)
	}
	if r.torch != nil {
		err = r.torch[name].ReadInto(data)
	} else {
		_, err = r.file.ReadAt(data, r.data+e.begin)
	}
	if err != nil {
		return fmt.Errorf("weights %s: tensor %q: %w", r.path, name, err)
	}
	return nil
}

func (r *Reader) entry(name string) (entry, error) {
	e, ok := r.entries[name]
	if !ok {
		return entry{}, fmt.Errorf("weights %s: no tensor %q among its %d", r.path, name, len(r.entries))
	}
	return e, nil
}
