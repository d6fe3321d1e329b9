// Package cifar reads CIFAR-10 and CIFAR-100 in the binary version of their publisher, each image by
// its offset in the files as they are.
//
//	data_batch_1.bin … data_batch_5.bin, test_batch.bin, batches.meta.txt       CIFAR-10
//	train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt           CIFAR-100
//
// A record is one byte of label (CIFAR-100: coarse, then fine) and 32×32 pixels as three planes, red,
// green and blue, each row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
package cifar

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"must/data"
	"must/data/text"
	"must/task/classification"
)

const (
	side   = 32
	pixels = side * side
)

// A variant is one of the published sets.
type variant struct {
	name        string
	folder      string // in the archive
	labels      int    // bytes in front of the pixels
	train, test []string
}

var variants = []variant{
	{"10", "cifar-10-batches-bin", 1,
		[]string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}, []string{"test_batch.bin"}},
	{"100", "cifar-100-binary", 2, []string{"train.bin"}, []string{"test.bin"}},
}

// coarse is what the Set of CIFAR-100's twenty superclasses ends in.
const coarse = "coarse"

// Open reads the set in src.Path: the folder with the .bin files, or the one above it. src.Set is
// "10", "100" (its fine classes), "100/coarse", or "" for the one that is there. src.Split is train or test; ""
// is both. A label is one-hot, keys are train/00000 and so on, counted over all batches. Opening looks
// at the sizes of the files only; an image is read when it is asked for.
func Open(src data.Source) (data.Dataset, error) {
	name, level, _ := strings.Cut(src.Set, "/")
	if level != "" && (level != coarse || name != "100") || name != "" && name != "10" && name != "100" {
		return nil, fmt.Errorf("cifar: subset is %q, want 10, 100 or 100/%s", src.Set, coarse)
	}
	if src.Split != "" && src.Split != "train" && src.Split != "test" {
		return nil, data.NoPart(fmt.Errorf("cifar: split is %q, but CIFAR has train and test", src.Split))
	}
	v, dir, err := find(src.Path, name)
	if err != nil {
		return nil, err
	}
	d := &dataset{record: v.labels + 3*pixels, label: v.labels - 1}
	names := "batches.meta.txt"
	switch {
	case level == coarse:
		names, d.label = "coarse_label_names.txt", 0
	case v.name == "100":
		names = "fine_label_names.txt"
	}
	if d.classes, err = readNames(filepath.Join(dir, names)); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		split string
		files []string
	}{{"train", v.train}, {"test", v.test}} {
		if src.Split == "" || src.Split == s.split {
			if err := d.add(dir, s.split, s.files); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// find returns the set of a name, or the only one, and its folder.
func find(dir, name string) (variant, string, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return variant{}, "", fmt.Errorf("%s: no such folder; unpack the archive of CIFAR's binary version and give its folder", dir)
	}
	var found []variant
	var folders []string
	for _, v := range variants {
		for _, folder := range []string{dir, filepath.Join(dir, v.folder)} {
			if _, err := os.Stat(filepath.Join(folder, v.test[0])); err == nil && (name == "" || name == v.name) {
				found, folders = append(found, v), append(folders, folder)
				break
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], folders[0], nil
	case len(found) > 1:
		return variant{}, "", fmt.Errorf("%s: both CIFAR-10 and CIFAR-100 are in it: give 10 or 100 as subset", dir)
	}
	for _, python := range []string{"test_batch", "test", "cifar-10-batches-py", "cifar-100-python"} {
		if _, err := os.Stat(filepath.Join(dir, python)); err == nil {
			return variant{}, "", fmt.Errorf("%s: %s is of the Python version: fetch the binary version (cifar-10-binary.tar.gz or cifar-100-binary.tar.gz)", dir, python)
		}
	}
	want := "test_batch.bin (CIFAR-10) or test.bin (CIFAR-100)"
	for _, v := range variants {
		if v.name == name {
			want = v.test[0]
		}
	}
	return variant{}, "", fmt.Errorf("%s: no %s in it", dir, want)
}

// readNames reads the names of the classes, one a line.
func readNames(file string) ([]string, error) {
	content, err := text.ReadFile(file)
	if !text.Exists(err) {
		return nil, fmt.Errorf("%s: no such file, but the names of the classes are in it: unpack it from the archive", file)
	}
	if err != nil {
		return nil, err
	}
	names := strings.Fields(content)
	if len(names) == 0 || len(names) > 256 {
		return nil, fmt.Errorf("%s: %d names of classes, want 1 to 256", file, len(names))
	}
	return names, nil
}

type dataset struct {
	classes []string
	record  int // bytes
	label   int // offset of the label in it
	batches []batch
	n       int
}

// A batch is a file.
type batch struct {
	file, split string
	start       int // index of its first image in the set
	first       int // and in the split
	n           int
}

// add appends the files of a split.
func (d *dataset) add(dir, split string, files []string) error {
	first := 0
	for _, name := range files {
		file := filepath.Join(dir, name)
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: no such file; unpack it from the archive", file)
		}
		if err != nil {
			return err
		}
		n := int(info.Size() / int64(d.record))
		if n == 0 || info.Size()%int64(d.record) != 0 {
			return fmt.Errorf("%s: %d bytes are no whole number of %d-byte records: it is cut short or no file of CIFAR's; unpack it again",
				file, info.Size(), d.record)
		}
		d.batches = append(d.batches, batch{file, split, d.n, first, n})
		first += n
		d.n += n
	}
	return nil
}

func (d *dataset) Len() int            { return d.n }
func (d *dataset) Labels() data.Labels { return data.Labels{classification.Name: {Classes: d.classes}} }

func (d *dataset) Key(i int) string {
	b := d.batch(i)
	return fmt.Sprintf("%s/%05d", b.split, b.first+i-b.start)
}

// batch returns the file that image i is in.
func (d *dataset) batch(i int) batch {
	k := 0
	for i >= d.batches[k].start+d.batches[k].n {
		k++
	}
	return d.batches[k]
}

func (d *dataset) Sample(i int) (*data.Sample, error) {
	b := d.batch(i)
	fail := func(err error) error { return &data.SampleError{Key: d.Key(i), File: b.file, Err: err} }
	f, err := os.Open(b.file)
	if err != nil {
		return nil, fail(err)
	}
	defer f.Close()
	record := make([]byte, d.record)
	if _, err := f.ReadAt(record, int64(i-b.start)*int64(d.record)); err != nil {
		return nil, fail(fmt.Errorf("record %d cannot be read: %w", i-b.start, err))
	}
	class := int(record[d.label])
	if class >= len(d.classes) {
		return nil, fail(fmt.Errorf("record %d has class %d, but there are %d classes", i-b.start, class, len(d.classes)))
	}
	s := &data.Sample{Key: d.Key(i), Image: image.NewRGBA(image.Rect(0, 0, side, side)), Known: data.Know(classification.New(make([]float32, len(d.classes))))}
	classification.Of(s)[class] = 1
	planes := record[len(record)-3*pixels:]
	for p := range pixels {
		copy(s.Image.Pix[4*p:], []uint8{planes[p], planes[pixels+p], planes[2*pixels+p], 255})
	}
	return s, nil
}
