// Package webdataset reads images, and their classes where there are any, from WebDataset shards:
// tars in which the members of one sample lie side by side and share their name up to the first dot
// of its last element. Samples are read at random; opening reads the headers of the tars only.
//
//	train-000000.tar: n01440764/10026.jpg n01440764/10026.cls n01440764/10027.jpg …
//
// A class is an index or a name in a member .cls; else the field cls, class or label of a member .json; else a
// member .txt that holds nothing but an index or the name of a class. Names are in the file
// classes.txt beside the shards, one a line in the order of the indices. Without it the classes are
// called "0", "1", … and names in the tars are not understood.
package webdataset

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/data/text"
	"must/task/classification"
)

const (
	maxImageBytes = 1 << 30 // of a member
	maxLabelBytes = 1 << 20
	maxClasses    = 1 << 20 // where no classes.txt says how many there are
	maxShards     = 1 << 20 // that a pattern may name
)

// OpenPart opens the folder of src.Split in src.Path, or the path itself as the train part.
func OpenPart(src data.Source) (data.Dataset, error) {
	if src.Split != "" {
		folder := filepath.Join(src.Path, src.Split)
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			return Open(folder)
		}
		if src.Split != "train" {
			return nil, data.NoPart(fmt.Errorf("%s: no folder %s in it for this part", src.Path, src.Split))
		}
	}
	return Open(src.Path)
}

// Open opens the shards that path names: a folder of .tar files, one file, or a pattern such as
// imagenet-{000000..000146}.tar, with * and ? too.
func Open(path string) (data.Dataset, error) {
	files, err := shards(path)
	if err != nil {
		return nil, fmt.Errorf("open WebDataset %s: %w", path, err)
	}
	d := &dataset{files: files}
	if err := d.readClasses(filepath.Join(filepath.Dir(files[0]), "classes.txt")); err != nil {
		return nil, fmt.Errorf("open WebDataset %s: %w", path, err)
	}
	s := scanner{dataset: d, most: unknown, index: map[string]int{}}
	for i, c := range d.classes {
		s.index[c] = i
	}
	for i, file := range files {
		if err := s.scan(i, file); err != nil {
			return nil, fmt.Errorf("open WebDataset: %s: %w", file, err)
		}
	}
	if len(d.items) == 0 && d.dotted > 0 {
		return nil, fmt.Errorf("open WebDataset %s: the names of all its images have dots in front of their ending, such as %s: a sample's name ends at the first dot of it, so rename them", path, d.firstDotted)
	}
	if len(d.items) == 0 {
		return nil, fmt.Errorf("open WebDataset %s: %d shards hold no image", path, len(files))
	}
	switch {
	case s.most == unknown: // a list of names alone labels nothing
		d.classes = nil
	case d.classes == nil:
		for i := range s.most + 1 {
			d.classes = append(d.classes, strconv.Itoa(int(i)))
		}
	}
	d.makeKeysUnique()
	return d, nil
}

type dataset struct {
	files   []string
	classes []string
	keys    []string
	items   []item

	// Of the members: images of names with dots before their ending, and labels that are no class.
	dotted, strange           int
	firstDotted, firstStrange string
}

// Carries tells of classes.
func (d *dataset) Carries(i int, _ string) bool { return d.items[i].class != unknown }

// Notes tells what was left out.
func (d *dataset) Notes() (notes []string) {
	without := 0
	for _, it := range d.items {
		if it.class == unknown {
			without++
		}
	}
	if without > 0 && d.classes != nil {
		notes = append(notes, fmt.Sprintf("images without a class: %d", without))
	}
	if d.dotted > 0 {
		notes = append(notes, fmt.Sprintf("images left out, as a sample's name ends at its first dot: %d, such as %s", d.dotted, d.firstDotted))
	}
	if d.strange > 0 {
		notes = append(notes, fmt.Sprintf("labels in .json that are no class, left out: %d, such as %s (list the names in classes.txt beside the shards)", d.strange, d.firstStrange))
	}
	return notes
}

// item says where the image of a sample is.
type item struct {
	offset int64
	size   int64
	shard  int32
	class  int32
}

const unknown = -1

func (d *dataset) Len() int { return len(d.items) }
func (d *dataset) Labels() data.Labels {
	if d.classes == nil {
		return nil
	}
	return data.Labels{classification.Name: {Classes: d.classes}}
}

func (d *dataset) Key(i int) string { return d.keys[i] }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	it := d.items[i]
	s := &data.Sample{Key: d.keys[i]}
	b, err := readAt(d.files[it.shard], it.offset, it.size)
	if err == nil {
		s.Image, err = imagefile.DecodeMember(s.Key, b)
	}
	if err != nil {
		return nil, &data.SampleError{Key: s.Key, File: d.files[it.shard], Err: err}
	}
	if it.class != unknown {
		classification.Set(s, make([]float32, len(d.classes)))
		classification.Of(s)[it.class] = 1
	}
	return s, nil
}

func readAt(file string, offset, size int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("the shard was cut short since it was opened: %w", err)
	}
	return b, nil
}

// makeKeysUnique puts the names of the shards before the keys where shards share keys.
func (d *dataset) makeKeysUnique() {
	seen := make(map[string]struct{}, len(d.keys))
	for _, k := range d.keys {
		seen[k] = struct{}{}
	}
	if len(seen) == len(d.keys) {
		return
	}
	clear(seen)
	for i, it := range d.items {
		key := strings.TrimSuffix(filepath.Base(d.files[it.shard]), ".tar") + "/" + d.keys[i]
		for n := 2; ; n++ { // the same key twice in one shard, or two folders with a shard of one name
			if _, taken := seen[key]; !taken {
				break
			}
			key = fmt.Sprintf("%s/%s~%d", strings.TrimSuffix(filepath.Base(d.files[it.shard]), ".tar"), d.keys[i], n)
		}
		seen[key] = struct{}{}
		d.keys[i] = key
	}
}

func (d *dataset) readClasses(file string) error {
	list, err := text.List(file)
	if !text.Exists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, name := range list {
		if seen[name] {
			return fmt.Errorf("%s: class %q twice", file, name)
		}
		seen[name] = true
	}
	d.classes = list
	return nil
}

// scanner collects the samples of shard after shard.
type scanner struct {
	*dataset
	index map[string]int // class by name
	most  int32          // largest class seen

	key   string // of the sample at hand
	it    item
	image bool // the sample has one
	rank  int  // of the member that gave the class: 3 .cls, 2 .json, 1 .txt
	first int  // item of the shard at hand

	apart map[string]int   // item of the shard by key, once a label came apart from its image
	early map[string]int32 // classes that came before their image
}

func (s *scanner) scan(shard int, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return s.scanTar(shard, io.NewSectionReader(&window{r: f}, 0, info.Size()))
}

// window reads ahead a little, so that a header, a short label and the next header cost one call of
// the system, whereas an image is passed over.
type window struct {
	r   io.ReaderAt
	at  int64
	n   int
	buf [4096]byte
}

func (w *window) ReadAt(b []byte, offset int64) (int, error) {
	if offset < w.at || offset >= w.at+int64(w.n) {
		if len(b) >= len(w.buf) {
			return w.r.ReadAt(b, offset)
		}
		n, err := w.r.ReadAt(w.buf[:], offset)
		if w.at, w.n = offset, n; n == 0 {
			return 0, err
		}
	}
	n := copy(b, w.buf[offset-w.at:w.n])
	if n == len(b) {
		return n, nil
	}
	m, err := w.ReadAt(b[n:], offset+int64(n))
	return n + m, err
}

func (s *scanner) scanTar(shard int, f io.ReadSeeker) error {
	s.key, s.first, s.apart, s.early = "", len(s.items), nil, nil
	var magic [2]byte
	if n, _ := f.Read(magic[:]); n == 2 && magic == [2]byte{0x1f, 0x8b} {
		return errors.New("it is compressed by gzip, whatever its name, and cannot be read at random: uncompress it")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	t := tar.NewReader(f)
	for {
		h, err := t.Next()
		if err == io.EOF {
			s.flush()
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %s: the tar is damaged or cut short: %w; fetch it again", cmp.Or(s.key, "its beginning"), err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		key, ext := split(h.Name)
		if key == "" {
			continue
		}
		if !fs.ValidPath(key) || key == "." {
			return fmt.Errorf("member %q is outside the folder; its name must be a relative path", h.Name)
		}
		if key != s.key {
			s.flush()
			s.key, s.it, s.image, s.rank = key, item{shard: int32(shard), class: unknown}, false, 0
		}
		if err := s.member(t, f, h, ext); err != nil {
			return fmt.Errorf("member %s: %w", h.Name, err)
		}
	}
}

// split cuts a member's name into key and extension. The key is empty for what is no part of a sample.
func split(name string) (key, ext string) {
	name = strings.TrimLeft(strings.TrimPrefix(name, "./"), "/")
	dir, base := path.Split(name)
	stem, ext, ok := strings.Cut(base, ".")
	if !ok || stem == "" || strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return "", ""
	}
	return dir + stem, strings.ToLower(ext)
}

func (s *scanner) member(t *tar.Reader, f io.Seeker, h *tar.Header, ext string) error {
	rank := map[string]int{"cls": 3, "json": 2, "txt": 1}[ext]
	switch {
	case rank > s.rank && h.Size <= maxLabelBytes:
		b, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		class, err := s.class(b, ext)
		if err != nil && ext == "cls" {
			return err
		}
		if err != nil && ext == "json" && !errors.Is(err, errNoClass) {
			if s.strange++; s.firstStrange == "" {
				s.firstStrange = h.Name
			}
		}
		if err == nil { // any other .json or .txt is a caption or the like
			s.it.class, s.rank = class, rank
		}
	case strings.Contains(ext, ".") && imagefile.HasExtension("x."+ext):
		if s.dotted++; s.firstDotted == "" {
			s.firstDotted = h.Name
		}
	case !s.image && imagefile.HasExtension("x."+ext):
		if h.Size > maxImageBytes {
			return fmt.Errorf("%d bytes are too many for an image", h.Size)
		}
		at, err := f.Seek(0, io.SeekCurrent) // a tar.Reader reads not beyond the header
		if err != nil {
			return err
		}
		s.it.offset, s.it.size, s.image = at, h.Size, true
	}
	return nil
}

// flush ends the sample at hand. A label that lies apart from its image is still its.
func (s *scanner) flush() {
	class := s.it.class
	switch {
	case s.key == "":
		return
	case !s.image && class == unknown:
		return
	case !s.image:
		if s.apart == nil {
			s.apart, s.early = map[string]int{}, map[string]int32{}
			for i := s.first; i < len(s.items); i++ {
				s.apart[s.keys[i]] = i
			}
		}
		if i, ok := s.apart[s.key]; ok {
			if s.items[i].class == unknown {
				s.items[i].class = class
			}
		} else {
			s.early[s.key] = class
		}
	default:
		if early, ok := s.early[s.key]; ok && class == unknown {
			s.it.class, class = early, early
		}
		if s.apart != nil {
			s.apart[s.key] = len(s.items)
		}
		s.items = append(s.items, s.it)
		s.keys = append(s.keys, s.key)
		s.image = false
	}
	s.most = max(s.most, class)
}

// errNoClass says that a .json has no class.
var errNoClass = errors.New("no class in it")

// class reads the class out of a member.
func (s *scanner) class(b []byte, ext string) (int32, error) {
	label := string(bytes.TrimSpace(b))
	if ext != "json" {
		plain, err := text.Decode(b, "")
		if err != nil {
			return 0, err
		}
		label = strings.TrimSpace(plain)
	}
	if ext == "json" {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(b, &fields); err != nil {
			return 0, err
		}
		label = ""
		for _, name := range []string{"cls", "class", "label"} {
			if v, ok := fields[name]; ok {
				label = strings.Trim(string(v), `"`)
				break
			}
		}
		if label == "" {
			return 0, errNoClass
		}
	}
	if i, ok := s.index[label]; ok {
		return int32(i), nil
	}
	limit := len(s.classes)
	if limit == 0 {
		limit = maxClasses
	}
	i, err := strconv.Atoi(strings.TrimSuffix(label, ".0"))
	if err != nil {
		return 0, fmt.Errorf("%.40q is neither the index of a class nor a name in classes.txt beside the shards", label)
	}
	if i < 0 || i >= limit {
		return 0, fmt.Errorf("class %d of %d", i, limit)
	}
	return int32(i), nil
}

// shards lists the tars that path names.
func shards(path string) ([]string, error) {
	var files []string
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), ".tar") {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
		files = slices.DeleteFunc(files, func(f string) bool { return !strings.HasSuffix(f, ".tar") && !compressed(f) })
	} else if err == nil {
		files = []string{path}
	} else {
		patterns, err := expand(path)
		if err != nil {
			return nil, err
		}
		for _, p := range patterns {
			if !strings.ContainsAny(p, "*?") {
				files = append(files, p)
				continue
			}
			found, err := filepath.Glob(p)
			if err != nil {
				return nil, err
			}
			files = append(files, found...)
		}
	}
	if len(files) == 0 {
		return nil, errors.New("there is no .tar file")
	}
	for _, f := range files {
		if compressed(f) {
			return nil, fmt.Errorf("%s is compressed and cannot be read at random; uncompress it", f)
		}
	}
	return files, nil
}

func compressed(file string) bool {
	switch filepath.Ext(file) {
	case ".gz", ".tgz", ".zst", ".bz2", ".xz":
		return true
	}
	return false
}

// expand does what a shell does with braces: {a,b} and {000..012}.
func expand(pattern string) ([]string, error) {
	head, rest, ok := strings.Cut(pattern, "{")
	if !ok {
		return []string{pattern}, nil
	}
	body, tail, ok := strings.Cut(rest, "}")
	if !ok {
		return nil, errors.New("a { without its }")
	}
	middle := strings.Split(body, ",")
	if from, to, ok := strings.Cut(body, ".."); ok {
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if errA != nil || errB != nil || a > b || b-a >= maxShards {
			return nil, fmt.Errorf("{%s} is not a range of shards", body)
		}
		middle = middle[:0]
		for i := a; i <= b; i++ {
			middle = append(middle, fmt.Sprintf("%0*d", len(from), i))
		}
	}
	tails, err := expand(tail)
	if err != nil {
		return nil, err
	}
	if len(middle)*len(tails) > maxShards {
		return nil, fmt.Errorf("more than %d shards", maxShards)
	}
	var out []string
	for _, m := range middle {
		for _, t := range tails {
			out = append(out, head+m+t)
		}
	}
	return out, nil
}
