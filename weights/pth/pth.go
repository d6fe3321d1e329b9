// Package pth reads the state dicts that torch.save writes: the zip archives of torch 1.6 and newer
// and the plain files before. Both hold a pickle, a program that Python would run to rebuild the
// objects; here a small machine follows its building of dicts and tensors and calls nothing. What a
// file asks to be called or made by a name that no state dict needs is left out unmade and told by that
// name; a file that asks for a program to be run is refused. A tensor's values are read from the file
// when they are asked for.
//
// The formats are those of torch/serialization.py and Python's Lib/pickletools.py.
package pth

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
)

// maxPickle limits the pickle in bytes; that of a network takes some 100 KB.
const maxPickle = 64 << 20

// A Tensor is one array of a file, whose values are still there.
type Tensor struct {
	DType string // as safetensors names it, such as "F32"; also "C64" and "C128"
	Shape []int64

	storage *storage
	offset  int64   // of the first item in the storage, in items
	strides []int64 // in items
}

// A storage is a run of items of one type that tensors are views of.
type storage struct {
	dtype string // "" where the tensors say it
	item  int64  // bytes
	items int64
	data  io.ReaderAt // nil until the file tells where
}

// itemSize holds the bytes of one item by data type.
var itemSize = map[string]int64{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8, "C128": 16,
	"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}

// zipMagic begins a zip archive, legacyNumber the pickle of one number that torch.save began with
// before, behind the pickle's protocol.
var (
	zipMagic     = []byte("PK\x03\x04")
	legacyNumber = []byte("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")
)

// isLegacy tells from the first bytes whether torch.save wrote a file before 1.6, or does so when asked
// to, by any protocol of pickle from 2 to 5.
func isLegacy(head []byte) bool {
	if len(head) < 2 || head[0] != 0x80 || head[1] < 2 || head[1] > 5 {
		return false
	}
	rest := head[2:]
	if len(rest) > 9 && rest[0] == 0x95 { // a frame and its length
		rest = rest[9:]
	}
	return bytes.HasPrefix(rest, legacyNumber)
}

// headSize is the number of bytes that [Is] looks at.
const headSize = 32

// Is tells from the first bytes of a file, 32 of them are enough, whether torch.save may have written it.
func Is(head []byte) bool {
	// A safetensors file begins with the size of its header, below 2³², which may be just these bytes.
	if len(head) > 8 && head[8] == '{' && bytes.Equal(head[4:8], make([]byte, 4)) {
		return false
	}
	return bytes.HasPrefix(head, zipMagic) || isLegacy(head)
}

// Open reads what a file of size bytes says of its tensors and checks it: every tensor lies within
// its storage and every storage within the file. The state dict is the root of the file or the dict
// in it that container names ("state_dict", "model.teacher"); see [find]. Skipped names the classes and
// functions of what was left out.
func Open(r io.ReaderAt, size int64) (tensors map[string]*Tensor, container string, skipped []string, err error) {
	head := make([]byte, headSize)
	if n, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, "", nil, err
	} else {
		head = head[:n]
	}
	var root any
	left := map[string]bool{}
	switch {
	case bytes.HasPrefix(head, zipMagic):
		root, err = openZip(r, size, left)
	case isLegacy(head):
		root, err = openLegacy(r, size, left)
	default:
		err = errors.New("a pickle, but not one that torch.save wrote; load it in Python and save its state dict by torch.save")
	}
	if err != nil {
		return nil, "", nil, err
	}
	tensors, container, err = find(root)
	return tensors, container, slices.Sorted(maps.Keys(left)), err
}

// openZip reads an archive: the pickle NAME/data.pkl and every storage under NAME/data/KEY.
func openZip(r io.ReaderAt, size int64, skipped map[string]bool) (any, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("cut short, or damaged: %w; get the file again", err)
	}
	files := map[string]*zip.File{}
	var pickle *zip.File
	for _, f := range archive.File {
		if files[f.Name] != nil {
			return nil, fmt.Errorf("two entries %q", f.Name)
		}
		files[f.Name] = f
		if path.Base(f.Name) == "data.pkl" && strings.Count(f.Name, "/") == 1 {
			if pickle != nil {
				return nil, fmt.Errorf("two pickles, %q and %q", pickle.Name, f.Name)
			}
			pickle = f
		}
	}
	if pickle == nil {
		for name := range files {
			if strings.HasSuffix(name, ".npy") {
				return nil, errors.New("arrays of NumPy (.npz), not a file of torch.save; load them in Python and save them as a state dict")
			}
		}
		return nil, errors.New("a zip archive, but not torch.save's: no entry NAME/data.pkl; where it holds a file of weights, unpack it")
	}
	dir := path.Dir(pickle.Name)
	if files[dir+"/constants.pkl"] != nil {
		return nil, errors.New("a TorchScript archive; in Python, save torch.jit.load(file).state_dict() by torch.save")
	}
	if f := files[dir+"/byteorder"]; f != nil {
		order, err := entry(r, size, f)
		if err != nil {
			return nil, err
		}
		word := make([]byte, min(6, f.UncompressedSize64))
		if _, err := order.ReadAt(word, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if string(word) != "little" {
			return nil, errors.New("written on a big-endian machine; load it in Python there and save it as safetensors")
		}
	}
	data, err := entry(r, size, pickle)
	if err != nil {
		return nil, err
	}
	m := newMachine(bufio.NewReader(io.NewSectionReader(data, 0, int64(pickle.UncompressedSize64))), maxPickle)
	m.skipped = skipped
	m.storage = func(key string, s *storage) (*storage, error) {
		f := files[dir+"/data/"+key]
		if f == nil {
			return nil, fmt.Errorf("no entry %s/data/%s", dir, key)
		}
		if s.items > math.MaxInt64/s.item || uint64(s.items*s.item) > f.UncompressedSize64 {
			return nil, fmt.Errorf("%s has %d bytes, too few for %d × %d", f.Name, f.UncompressedSize64, s.items, s.item)
		}
		s.data, err = entry(r, size, f)
		return s, err
	}
	root, err := m.run()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pickle.Name, err)
	}
	return root, nil
}

// entry gives the content of an archive's entry. Checksums stay unread, as torch's option not to
// compute them leaves wrong ones.
func entry(r io.ReaderAt, size int64, f *zip.File) (io.ReaderAt, error) {
	at, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	if at < 0 || at > size || f.CompressedSize64 > uint64(size-at) || f.UncompressedSize64 > math.MaxInt64 {
		return nil, fmt.Errorf("%s: cut short: %d bytes at %d in a file of %d", f.Name, f.CompressedSize64, at, size)
	}
	switch f.Method {
	case zip.Store:
		if f.CompressedSize64 != f.UncompressedSize64 {
			return nil, fmt.Errorf("%s: stored, yet of %d bytes that are %d", f.Name, f.UncompressedSize64, f.CompressedSize64)
		}
		return io.NewSectionReader(r, at, int64(f.UncompressedSize64)), nil
	case zip.Deflate:
		if f.UncompressedSize64/1100 > f.CompressedSize64 { // deflate reaches 1:1032
			return nil, fmt.Errorf("%s: %d bytes cannot hold %d", f.Name, f.CompressedSize64, f.UncompressedSize64)
		}
		return deflated{f}, nil
	}
	return nil, fmt.Errorf("%s: compressed by method %d; save the file anew by torch.save", f.Name, f.Method)
}

// deflated reads a compressed entry from its start each time.
type deflated struct{ f *zip.File }

func (d deflated) ReadAt(p []byte, off int64) (int, error) {
	r, err := d.f.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// openLegacy reads five pickles (a magic number, a version, the machine's sizes, the object, the keys
// of its storages) and the storages, each after its number of items.
func openLegacy(r io.ReaderAt, size int64, skipped map[string]bool) (any, error) {
	in := bufio.NewReader(io.NewSectionReader(r, 0, size))
	var at int64
	found := map[string]*storage{}
	next := func(what string) (any, error) {
		m := newMachine(in, min(size-at, maxPickle))
		m.skipped = skipped
		m.storage = func(key string, s *storage) (*storage, error) {
			old := found[key]
			if old == nil {
				found[key] = s
				return s, nil
			}
			if old.dtype != s.dtype || old.items != s.items {
				return nil, fmt.Errorf("storage %q is %d × %q and %d × %q", key, old.items, old.dtype, s.items, s.dtype)
			}
			return old, nil
		}
		v, err := m.run()
		at += m.read
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return v, nil
	}
	var parts [5]any
	for i, what := range []string{"magic number", "version", "system", "object", "storage keys"} {
		var err error
		if parts[i], err = next(what); err != nil {
			return nil, err
		}
	}
	if parts[1] != int64(1001) {
		return nil, fmt.Errorf("version %v of the format; 1001 is known", parts[1])
	}
	if system, ok := parts[2].(*dict); ok && system.items["little_endian"] == false {
		return nil, errors.New("written on a big-endian machine; load it in Python there and save it as safetensors")
	}
	keys, ok := parts[4].(*list)
	if !ok || len(keys.items) != len(found) {
		return nil, fmt.Errorf("the list of its storages does not name the %d that its tensors lie in", len(found))
	}
	for _, k := range keys.items {
		key, _ := k.(string)
		s := found[key]
		if s == nil || s.data != nil {
			return nil, fmt.Errorf("storage %q is none of its tensors', or listed twice", key)
		}
		var count [8]byte
		if _, err := r.ReadAt(count[:], at); err != nil {
			return nil, fmt.Errorf("cut short before storage %q", key)
		}
		at += 8
		if n := binary.LittleEndian.Uint64(count[:]); n != uint64(s.items) {
			return nil, fmt.Errorf("storage %q has %d items where its tensors say %d", key, n, s.items)
		}
		if s.items > (size-at)/s.item {
			return nil, fmt.Errorf("cut short: storage %q has %d × %d bytes at %d in a file of %d", key, s.items, s.item, at, size)
		}
		s.data = io.NewSectionReader(r, at, s.items*s.item)
		at += s.items * s.item
	}
	return parts[3], nil
}

// containers are the names that state dicts have among what is saved with them, the best first: moving
// averages are what programs test and publish, as timm's loader takes them.
var containers = []string{
	"state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "teacher",
	"state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights", "module", "student",
}

// find looks for the state dict: the root or a dict in it (three deep, optimizers left out) that maps
// names to tensors. Among several the one under the first of containers is taken, then the one of most tensors.
func find(root any) (map[string]*Tensor, string, error) {
	type candidate struct {
		tensors map[string]*Tensor
		unread  map[string]unread
		path    []string
	}
	var best *candidate
	rank := func(c *candidate) int {
		best := len(containers)
		for _, name := range c.path {
			if i := slices.Index(containers, name); i >= 0 {
				best = min(best, i)
			}
		}
		return best
	}
	better := func(c *candidate) bool {
		if best == nil || rank(c) != rank(best) {
			return best == nil || rank(c) < rank(best)
		}
		if len(c.tensors) != len(best.tensors) {
			return len(c.tensors) > len(best.tensors)
		}
		return slices.Compare(c.path, best.path) < 0
	}
	seen := map[*dict]bool{}
	var look func(d *dict, path []string)
	look = func(d *dict, path []string) {
		if seen[d] || len(path) > 3 {
			return
		}
		seen[d] = true
		c := &candidate{map[string]*Tensor{}, map[string]unread{}, path}
		for _, name := range slices.Sorted(maps.Keys(d.items)) { // a dict may be there under several names
			switch v := d.items[name].(type) {
			case *Tensor:
				c.tensors[name] = v
			case unread:
				c.unread[name] = v
			case *dict:
				if !strings.Contains(strings.ToLower(name), "optim") {
					look(v, append(slices.Clip(path), name))
				}
			}
		}
		if len(c.tensors)+len(c.unread) > 0 && better(c) {
			best = c
		}
	}
	switch v := root.(type) {
	case *dict:
		look(v, nil)
	case object:
		return nil, "", fmt.Errorf("it holds an object %s, not a state dict; in Python, save its state_dict() by torch.save", string(v))
	case *Tensor:
		return nil, "", errors.New("it holds one tensor, not a state dict")
	}
	if best == nil {
		return nil, "", errors.New("it holds no state dict, no names with their tensors; in Python, save model.state_dict() by torch.save")
	}
	for _, name := range slices.Sorted(maps.Keys(best.unread)) {
		return nil, "", fmt.Errorf("tensor %q is made by %s, which is not known here; in Python, save it as a plain tensor", name, string(best.unread[name]))
	}
	return best.tensors, strings.Join(best.path, "."), nil
}

// Bytes is the size of the tensor's values.
func (t *Tensor) Bytes() int64 {
	n := itemSize[t.DType]
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// ReadInto reads the values, little-endian and row-major whatever the strides, into data, which must
// have their size.
func (t *Tensor) ReadInto(data []byte) error {
	size := itemSize[t.DType]
	if int64(len(data)) != t.Bytes() {
		return fmt.Errorf("%d bytes of room for %d", len(data), t.Bytes())
	}
	if len(data) == 0 {
		return nil
	}
	first := t.offset * size
	step, dense := size, true // bytes between neighbours where they lie in order
	for i := len(t.Shape) - 1; i >= 0; i-- {
		dense = dense && (t.Shape[i] == 1 || t.strides[i]*size == step)
		step *= t.Shape[i]
	}
	if dense {
		return readAt(t.storage.data, data, first)
	}
	span := int64(1)
	for i, d := range t.Shape {
		span += (d - 1) * t.strides[i]
	}
	raw := make([]byte, span*size)
	if err := readAt(t.storage.data, raw, first); err != nil {
		return err
	}
	index, from := make([]int64, len(t.Shape)), int64(0)
	for to := int64(0); to < int64(len(data)); to += size {
		copy(data[to:to+size], raw[from*size:])
		for i := len(index) - 1; i >= 0; i-- { // count up, the last dimension fastest
			index[i]++
			from += t.strides[i]
			if index[i] < t.Shape[i] {
				break
			}
			from -= index[i] * t.strides[i]
			index[i] = 0
		}
	}
	return nil
}

func readAt(r io.ReaderAt, p []byte, at int64) error {
	if n, err := r.ReadAt(p, at); n < len(p) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
