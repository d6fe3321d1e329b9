// Package coco reads COCO and everybody's sets in its form: objects with boxes and masks, panoptic and
// stuff maps, and its unlabelled images.
//
//	annotations/instances_<split>2017.json
//	annotations/panoptic_<split>2017.json, annotations/panoptic_<split>2017/<id>.png
//	annotations/stuff_<split>2017.json, or stuffthingmaps/<split>2017/<id>.png
//	<split>2017/<id>.jpg
package coco

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"must/data"
	"must/data/frame"
	"must/data/imagefile"
	"must/data/images"
	"must/metric/rle"
	"must/task/detection"
)

// The sets that a Source can name.
const (
	instances = "instances"
	panoptic  = "panoptic"
	stuff     = "stuff"
	unlabeled = "unlabeled"
)

// Open reads the set in src.Path: a folder laid out like COCO, of whatever year, or a file of labels
// (JSON). Images are looked for in the folders where COCO and its kin have them, beside the file or one
// above, unless src.Images names their folder.
//
// src.Set is
//
//   - "" or "instances": boxes, masks where the file has them, crowds. Classes are the file's
//     categories by ascending id, whatever gaps there are. An image without annotations has no objects;
//     a file without a list of annotations leaves them unknown.
//   - "panoptic": the semantic map of all categories (133 in COCO), and the things among them as
//     objects. Pixels of no segment are ignored.
//   - "stuff": the semantic map of the 171 things and stuffs in use from the folder stuffthingmaps, or
//     where there is none, of the categories of stuff_<split>2017.json.
//   - "unlabeled": the images of unlabeled2017 alone.
//
// src.Split, train, val or test, picks one of the files in a folder; "" will do where there is one only.
// It may be "unlabeled" too. Of a file whose name tells of no split it takes a part by the hash of the
// keys (imagefile.InSplit), "" is everything.
//
// Images are looked for under their file_name; where they are not, under the end of it: annotation tools write
// absolute paths, and folders of their own. Labels are of a picture of the size that the file tells, see package
// frame. An object without area, or without a box, is dropped, and its class unknown in the image; where some
// annotations are of images that the file does not list, images without one are not taken for empty.
//
// The file is read once from end to end. Polygons and run lengths stay in it, and are read and drawn
// when their sample is.
func Open(src data.Source) (data.Dataset, error) {
	set := src.Set
	if set == "" {
		set = instances
	}
	if src.Split == unlabeled {
		set = unlabeled
	}
	switch set {
	case unlabeled:
		return openUnlabeled(src)
	case instances, panoptic, stuff:
	default:
		return nil, fmt.Errorf("coco: subset is %q, want %q, %q, %q or %q", src.Set, instances, panoptic, stuff, unlabeled)
	}
	info, err := os.Stat(src.Path)
	if err != nil {
		return nil, err
	}
	split := cmp.Or(synonyms[src.Split], src.Split)
	file, name := src.Path, filepath.Base(src.Path)
	if info.IsDir() {
		if set == stuff {
			if maps, err := findMaps(src.Path, split); maps != "" || err != nil {
				return openMaps(maps, src)
			}
		}
		if name, err = Find(src.Path, split, kindFits(set)); err != nil {
			return nil, err
		}
		file = filepath.Join(src.Path, name)
	}
	o := Options{Images: src.Images, Frame: src.Frame}
	switch of := splitOf(name, split); {
	case of == "":
		o.Split = split
	case split != "" && of != split:
		return nil, data.NoPart(fmt.Errorf("%s: by its name this is the %s part, not %s; if it is to serve as that, say so in splits", file, of, split))
	}
	return open(file, set, o)
}

// openUnlabeled reads the images of COCO that have no labels.
func openUnlabeled(src data.Source) (data.Dataset, error) {
	if src.Split != "" && src.Split != unlabeled && src.Split != "train" {
		return nil, data.NoPart(fmt.Errorf("coco: the set %q has no %s part", unlabeled, src.Split))
	}
	folder := src.Images
	if folder == "" {
		folder = src.Path
		for _, name := range []string{"unlabeled2017", "images/unlabeled2017"} {
			if dir := filepath.Join(src.Path, name); isDir(dir) {
				folder = dir
				break
			}
		}
		if folder == src.Path && filepath.Base(folder) != "unlabeled2017" {
			return nil, fmt.Errorf("%s: no folder unlabeled2017 in it", src.Path)
		}
	}
	return images.Open(data.Source{Path: folder})
}

// Options say how a set in COCO's form departs from COCO.
type Options struct {
	Images  string                       // folder of the images; "": to be found
	Rename  func(fileName string) string // from an image's file_name to its path in that folder; nil: the same
	Split   string                       // part to take by the hash of the keys; "": everything
	Frame   string                       // what labels were drawn on, see package frame
	Present bool                         // leave out images that are not there; else they are samples in error
}

// OpenInstances reads the boxes and masks of a file of labels, as [Open] does.
func OpenInstances(file string, o Options) (*Dataset, error) { return open(file, instances, o) }

// window is how much of a file is held at a time.
const window = 1 << 20

// A Dataset is a file of labels and its images.
type Dataset struct {
	// Of the samples of this dataset: images that are not there, boxes that reach out of their image,
	// boxes that have no area inside it and are dropped, and objects without any box.
	Missing, Clipped, Dropped, Boxless int
	// Orphans counts annotations of images that the file does not list.
	Orphans int

	file     *os.File
	folder   string // of images
	frame    string
	panoptic bool
	part     string // told by hash; "": all
	maps     string // of panoptic maps
	index    *index
	labels   data.Labels
	paths    []string // of the images in folder
	there    []bool   // whether they are
	ended    int      // that were found by the end of their name
	keys     []string
	picked   []int32 // index of the image of each sample
	label    func(d *Dataset, image int, s *data.Sample, f frame.Frame) error
	counts   frame.Counts
	unclear  atomic.Int64 // shapes that are none, of samples that were read
}

func (d *Dataset) Len() int            { return len(d.picked) }
func (d *Dataset) Labels() data.Labels { return d.labels }
func (d *Dataset) Key(i int) string    { return d.keys[d.picked[i]] }

// Close closes the file of labels, which shapes are read from.
func (d *Dataset) Close() error { return d.file.Close() }

// Carries tells of the annotations.
func (d *Dataset) Carries(i int, _ string) bool { return d.labelled(int(d.picked[i])) }

// labelled reports whether it is known what is in an image.
func (d *Dataset) labelled(at int) bool {
	if d.panoptic || d.Orphans > 0 {
		return len(d.index.of(at)) > 0
	}
	return d.index.annotated
}

// Notes tells what the counts of d say.
func (d *Dataset) Notes() (notes []string) {
	unlabelled, empty := 0, 0
	for _, at := range d.picked {
		switch {
		case !d.labelled(int(at)):
			unlabelled++
		case len(d.index.of(int(at))) == 0:
			empty++
		}
	}
	for _, note := range []struct {
		what string
		n    int
	}{
		{"listed images that are not there", d.Missing},
		{"images found by the end of their file_name", d.ended},
		{"boxes clipped to their image", d.Clipped},
		{"boxes without area in their image, dropped (their class is unknown there)", d.Dropped},
		{"objects without a box or a shape, dropped (their class is unknown there)", d.Boxless},
		{"segmentations that are no polygon of three corners or more, left out (of the samples that were read)", int(d.unclear.Load())},
		{"annotations of images that are not listed", d.Orphans},
		{"images without an annotation, where the label is unknown", unlabelled},
		{"images without an annotation, which counts as none of the classes being there", empty},
	} {
		if note.n > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d", note.what, note.n))
		}
	}
	if d.part != "" {
		notes = append(notes, imagefile.ByHash(d.part))
	}
	seen := map[string]bool{}
	for _, c := range d.index.categories {
		if seen[c.name] {
			notes = append(notes, fmt.Sprintf("several categories are called %q: they are different classes here", c.name))
		}
		seen[c.name] = true
	}
	return append(notes, d.counts.Notes()...)
}

func open(file, set string, o Options) (_ *Dataset, err error) {
	if err := cmp.Or(imagefile.CheckSplit(o.Split), frame.Check(o.Frame)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	d := &Dataset{file: f, frame: o.Frame, panoptic: set == panoptic, part: o.Split}
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("%s: %w", file, err)
		}
	}()
	if d.index, err = readIndex(f, d.panoptic, window); err != nil {
		return nil, err
	}
	d.Orphans = d.index.orphans
	if err := d.namePaths(file, o); err != nil {
		return nil, err
	}
	n := 0
	for i, key := range d.keys {
		if o.Split != "" && !imagefile.InSplit(key, o.Split) {
			continue
		}
		n++
		if !d.there[i] {
			d.Missing++
			if o.Present {
				continue
			}
		}
		d.picked = append(d.picked, int32(i))
	}
	switch {
	case n == 0:
		return nil, data.NoPart(fmt.Errorf("none of its %d images falls into the %s part", len(d.paths), o.Split))
	case d.Missing == n:
		return nil, fmt.Errorf("none of its %d images, such as %s, is in %s: name the folder that their file_name is relative to as images_folder (--images-folder)", n, d.index.images[0].name, d.folder)
	}
	switch set {
	case instances:
		d.setInstances()
	case panoptic:
		err = d.setPanoptic(file)
	case stuff:
		err = d.setStuff()
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Sample reads sample i.
func (d *Dataset) Sample(i int) (*data.Sample, error) {
	at := int(d.picked[i])
	file := filepath.Join(d.folder, filepath.FromSlash(d.paths[at]))
	picture := d.index.images[at]
	s, f, err := frame.Sample(d.keys[at], file, d.frame, int(picture.w), int(picture.h), &d.counts)
	if err != nil {
		return nil, err
	}
	if d.labelled(at) {
		if err := d.label(d, at, s, f); err != nil {
			return nil, &data.SampleError{Key: s.Key, Err: err}
		}
	}
	return s, nil
}

// shape returns the part of the file that an annotation left there.
func (d *Dataset) shape(a *annotation) ([]byte, error) {
	text := make([]byte, a.length)
	if _, err := d.file.ReadAt(text, a.offset); err != nil && err != io.EOF {
		return nil, err
	}
	return text, nil
}

// mask reads the shape of an annotation on a picture of w×h pixels; nil where it is no shape.
func (d *Dataset) mask(a *annotation, w, h int) (*data.Mask, error) {
	content, err := d.shape(a)
	if err != nil {
		return nil, err
	}
	var m rle.Mask
	polygons, list, err := readPolygons(content)
	switch {
	case err != nil:
	case !list:
		m, err = rle.FromJSON(content, h, w)
	case polygons == nil:
		d.unclear.Add(1)
		return nil, nil
	default:
		m, err = rle.FromPolygons(polygons, h, w)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: at byte %d: %w", d.file.Name(), a.offset, err)
	}
	return m.Mask(), nil
}

// setInstances makes objects the labels.
func (d *Dataset) setInstances() {
	d.label = (*Dataset).objects
	if !d.index.annotated {
		return
	}
	m := data.Meaning{Classes: d.index.classes()}
	for i := range uint32(d.index.annotations.len()) {
		if d.index.annotations.at(i).length > 0 {
			m.Masks = true
			break
		}
	}
	d.labels = d.labels.With(detection.Name, m)
	for _, at := range d.picked {
		w, h := int(d.index.images[at].w), int(d.index.images[at].h)
		if w == 0 || h == 0 {
			continue
		}
		for _, n := range d.index.of(int(at)) {
			a := d.index.annotations.at(n)
			if !a.boxed {
				if a.length == 0 {
					d.Boxless++
				}
				continue
			}
			box := a.bounds()
			switch clipped := box.Clip(w, h); {
			case clipped.Area() == 0:
				d.Dropped++
			case clipped != box:
				d.Clipped++
			}
		}
	}
}

// objects gives a sample its objects.
func (d *Dataset) objects(at int, s *data.Sample, f frame.Frame) (err error) {
	detection.Set(s, []data.Object{})
	for _, n := range d.index.of(at) {
		a := d.index.annotations.at(n)
		o := data.Object{Class: int(a.class), Score: 1, Area: f.Area(a.area), Crowd: a.crowd, Box: a.bounds().Clip(f.W, f.H)}
		if a.length > 0 {
			if o.Mask, err = d.mask(a, f.W, f.H); err != nil {
				return err
			}
			if !a.boxed && o.Mask != nil {
				r := o.Mask.Rect
				o.Box = data.Box{X0: float64(r.Min.X), Y0: float64(r.Min.Y), X1: float64(r.Max.X), Y1: float64(r.Max.Y)}
			}
			o.Mask = f.Mask(o.Mask)
		}
		if o.Box.Area() > 0 {
			o.Box = f.Box(o.Box)
			detection.Set(s, append(detection.Of(s), o))
		} else {
			detection.SetUnknown(s, append(detection.Unknown(s), o.Class))
		}
	}
	slices.Sort(detection.Unknown(s))
	detection.SetUnknown(s, slices.Compact(detection.Unknown(s)))
	return nil
}
