// Package export writes labels in the formats of the field: COCO JSON, YOLO, Pascal VOC, PNG maps and
// NumPy arrays. Classes keep their order. Labels are streamed, so memory does not grow with the set.
// docs/exports.md is the page of what is written.
package export

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/data/npy"
	"must/label/shards"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// A Source is what is exported.
type Source struct {
	Labels  data.Labels
	Records iter.Seq2[shards.Record, error]
	File    func(key string) string // the image's file, relative to the folder of images; nil: key + ".jpg"
	Images  bool                    // write the images too, as PNG; the records must have them
	Partial func(key string)        // told of images whose label tells of some classes only, which is lost; nil: no one
	Part    string                  // of the set, train, val or test, where the format names it; "": train
}

// FromSet returns a set of pseudo labels as a source.
func FromSet(s *shards.Set) Source { return Source{Labels: s.Labels(), Records: s.All()} }

// FromDataset returns the labels of a dataset as a source. Broken samples are left out and told to
// skipped.
func FromDataset(d data.Dataset, skipped func(error)) Source {
	return Source{Labels: d.Labels(), Records: func(yield func(shards.Record, error) bool) {
		for i := range d.Len() {
			s, err := d.Sample(i)
			if _, broken := errors.AsType[*data.SampleError](err); broken {
				skipped(err)
				continue
			}
			r := shards.Record{Sample: s}
			if err == nil {
				r.W, r.H = s.Image.Rect.Dx(), s.Image.Rect.Dy()
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}}
}

// Files returns a Source.File for the images in dir and the folders in it, whose keys are those of
// the dataset of that folder.
func Files(dir string) (func(key string) string, error) {
	files, err := imagefile.List(dir)
	if err != nil {
		return nil, err
	}
	of := make(map[string]string, len(files))
	for i, key := range imagefile.Keys(files) {
		of[key] = files[i]
	}
	return func(key string) string {
		if f, ok := of[key]; ok {
			return f
		}
		return key + ".jpg"
	}, nil
}

// withImages returns the source with its images written into a folder as they pass, if so asked.
func (s Source) withImages(f *folder, dir string) Source {
	if !s.Images {
		return s
	}
	records := s.Records
	s.File = func(key string) string { return key + ".png" }
	s.Records = func(yield func(shards.Record, error) bool) {
		for r, err := range records {
			if err == nil {
				var b bytes.Buffer
				if err = fastPNG.Encode(&b, r.Image); err == nil {
					err = f.write(dir+"/"+s.File(r.Key), b.Bytes())
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
	return s
}

var fastPNG = png.Encoder{CompressionLevel: png.BestSpeed}

func (s Source) file(key string) string {
	if s.File != nil {
		return s.File(key)
	}
	return key + ".jpg"
}

// told reports whether the objects of a record are known, so that an image without any has none. Where only those
// of some classes are, no format can say so.
func (s Source) told(r shards.Record) bool {
	if detection.Of(r.Sample) == nil || len(detection.Of(r.Sample)) == 0 && detection.Unknown(r.Sample) != nil {
		return false
	}
	if detection.Unknown(r.Sample) != nil && s.Partial != nil {
		s.Partial(r.Key)
	}
	return true
}

// need refuses a source without the task.
func (s Source) need(task, format string) error {
	if !s.Labels.Has(task) {
		return fmt.Errorf("export as %s: the labels have no %s", format, task)
	}
	return nil
}

// A folder is written beside its name and gets it when it is whole.
type folder struct {
	path, temp string
	root       *os.Root // no name climbs out of it
	made       string   // the last subfolder made
}

func newFolder(dir string) (*folder, error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("export to %s: it is not empty; delete it or name another folder", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("export to %s: %w", dir, err)
	}
	dir = filepath.Clean(dir)
	f := &folder{path: dir, temp: filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".tmp")}
	err := os.RemoveAll(f.temp) // left by an export that was killed
	if err == nil {
		err = os.MkdirAll(f.temp, 0o777)
	}
	if err == nil {
		f.root, err = os.OpenRoot(f.temp)
	}
	if err != nil {
		return nil, fmt.Errorf("export to %s: %w", dir, err)
	}
	return f, nil
}

func (f *folder) write(name string, b []byte) error {
	dir := path.Dir(name)
	if dir != f.made {
		if err := f.root.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		f.made = dir
	}
	// Two samples may not share a file: not even where the file system takes two names for one.
	w, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is written already: two samples have keys that are one name here", name)
	}
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		w.Close()
		return err
	}
	return w.Close()
}

// close removes what was not committed.
func (f *folder) close() {
	f.root.Close()
	os.RemoveAll(f.temp)
}

// fill makes a folder of what fn writes into it.
func fill(dir string, fn func(*folder) error) error {
	f, err := newFolder(dir)
	if err != nil {
		return err
	}
	defer f.close()
	if err := fn(f); err != nil {
		return fmt.Errorf("export to %s: %w", f.path, err)
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder may be there
		return fmt.Errorf("export to %s: %w", f.path, err)
	}
	if err := os.Rename(f.temp, f.path); err != nil {
		return fmt.Errorf("export to %s: %w", f.path, err)
	}
	return nil
}

// Maps writes the semantic maps as palette PNGs, KEY.png, and the names of the classes as
// classes.txt. A pixel's index is its class, 255 is ignore. With Source.Images maps are in masks/ and the images in
// images/. The format masks reads either.
func Maps(s Source, dir string) error {
	if err := s.need(segmentation.Name, "PNG maps"); err != nil {
		return err
	}
	return fill(dir, func(f *folder) error {
		if err := f.write("classes.txt", lines(s.Labels[segmentation.Name].Classes)); err != nil {
			return err
		}
		below := ""
		if s.Images {
			below = "masks/"
		}
		for r, err := range s.withImages(f, "images").Records {
			if err != nil {
				return err
			}
			if segmentation.Of(r.Sample) == nil {
				continue
			}
			var b bytes.Buffer
			if err := segmentation.EncodeMap(&b, segmentation.Of(r.Sample)); err != nil {
				return fmt.Errorf("map of %s: %w", r.Key, err)
			}
			if err := f.write(below+r.Key+".png", b.Bytes()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Arrays writes float32 arrays: classification/KEY.npy [K], depth/KEY.npy [H, W] with NaN for
// invalid, normals/KEY.npy [H, W, 3] with zeros for invalid; classification/classes.txt has the names.
func Arrays(s Source, dir string) error {
	if !s.Labels.Has(classification.Name) && !s.Labels.Has(depth.Name) && !s.Labels.Has(normals.Name) {
		return errors.New("export as .npy: the labels have no classification, depth or normals")
	}
	return fill(dir, func(f *folder) error {
		if s.Labels.Has(classification.Name) {
			if err := f.write("classification/classes.txt", lines(s.Labels[classification.Name].Classes)); err != nil {
				return err
			}
		}
		for r, err := range s.Records {
			if err != nil {
				return err
			}
			if err := f.writeArrays(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *folder) writeArrays(r shards.Record) error {
	array := func(task string, values []float32, shape ...int) error {
		return f.write(task+"/"+r.Key+".npy", npy.Append(nil, npy.Float32, shape, values))
	}
	if classification.Of(r.Sample) != nil {
		if err := array(classification.Name, classification.Of(r.Sample), len(classification.Of(r.Sample))); err != nil {
			return err
		}
	}
	if depth.Of(r.Sample) != nil {
		if err := array(depth.Name, depth.Of(r.Sample).Pix, r.H, r.W); err != nil {
			return err
		}
	}
	if normals.Of(r.Sample) == nil {
		return nil
	}
	v := make([]float32, 0, 3*len(normals.Of(r.Sample).Pix))
	for _, n := range normals.Of(r.Sample).Pix {
		v = append(v, n[:]...)
	}
	return array(normals.Name, v, r.H, r.W, 3)
}

func lines(names []string) []byte { return []byte(strings.Join(names, "\n") + "\n") }
