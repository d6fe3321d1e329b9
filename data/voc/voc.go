// Package voc reads Pascal VOC and the many sets in its layout: boxes from Annotations/*.xml, or the
// semantic maps of SegmentationClass/*.png.
//
//	JPEGImages/<id>.jpg
//	Annotations/<id>.xml
//	ImageSets/Main/<split>.txt            ids, one a line
//	ImageSets/Segmentation/<split>.txt
//	SegmentationClass/<id>.png
package voc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"must/data"
	"must/data/imagefile"
	"must/task/detection"
	segmentationlabel "must/task/segmentation"
)

// Classes are the 20 classes of VOC2007 and VOC2012 in their customary order.
var Classes = []string{
	"aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
	"diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
}

// segmentation is the Set that reads semantic maps.
const segmentation = "segmentation"

// maxClass is the largest class index of a semantic map; 0 is background, 255 the void border.
const maxClass = 20

// Open reads the set in src.Path: the folder that holds JPEGImages, or one above it such as
// VOCdevkit. src.Set is "", a year (2007, 2012) that picks the folder VOC<year>, "segmentation", or
// both as "2012/segmentation". "2007+2012" is the union of the years, or of those that have the
// split; keys then begin with a year's position. src.Split names a list in ImageSets; "" is all images.
// Where there are no lists at all, train, val and test are told by the hash of the id (imagefile.InSplit).
//
// Detection: all annotations are parsed now, on all cores, for the names of the classes (those in
// classes.txt beside JPEGImages, where there is one; Classes if no other occurs, else those found,
// sorted) must not depend on the split. Boxes, 1-based and inclusive in the file, become
// [xmin−1, xmax) × [ymin−1, ymax), fractions kept, clipped to the image; boxes without area are dropped.
// Difficult objects are Crowd. An image without an annotation has unknown objects, an annotation without
// objects says that there are none.
//
// Segmentation: palette indices, 0 background, 1 to 20 Classes, 255 ignore.
//
// The result is a *Dataset, but for a union.
func Open(src data.Source) (data.Dataset, error) {
	year, task, ok := strings.Cut(src.Set, "/")
	if !ok && year == segmentation {
		year, task = "", segmentation
	}
	if task != "" && task != segmentation || ok && task == "" {
		return nil, fmt.Errorf("voc: set is %q, want a year, %q or both as in \"2012/%[2]s\"", src.Set, segmentation)
	}
	if years := strings.Split(year, "+"); len(years) > 1 {
		return openYears(src, years, task)
	}
	root, err := findRoot(src.Path, year)
	if err != nil {
		return nil, err
	}
	d := &Dataset{root: root, segmentation: task == segmentation}
	if err := d.findImages(); err != nil {
		return nil, err
	}
	listed := "Main"
	var labelled []string // ids that have a label, or all images
	if d.segmentation {
		listed = "Segmentation"
		d.labels = d.labels.With(segmentationlabel.Name, data.Meaning{Classes: append([]string{"background"}, Classes...)})
		labelled, err = d.stems("SegmentationClass", ".png")
	} else {
		labelled, err = d.stems("Annotations", ".xml")
	}
	if err != nil {
		return nil, err
	}
	if !d.segmentation {
		d.parseAll(labelled)
		if d.labels.Detection, err = d.classNames(); err != nil {
			return nil, err
		}
		if len(d.labels[detection.Name].Classes) == 0 {
			return nil, fmt.Errorf("%s: no annotation in it names an object%s", filepath.Join(root, "Annotations"), d.firstError())
		}
	}
	if d.ids, err = d.list(listed, src.Split, labelled); err != nil {
		return nil, err
	}
	if !d.segmentation && !slices.ContainsFunc(d.ids, func(id string) bool { return d.annotations[id] != nil }) {
		return nil, fmt.Errorf("%s: %w: none of the %d images of the split %q has an annotation there", filepath.Join(root, "Annotations"), errNoPart, len(d.ids), src.Split)
	}
	d.resolve()
	return d, nil
}

// errNoPart says that a set has not got the split.
var errNoPart = errors.New("no such part")

func openYears(src data.Source, years []string, task string) (data.Dataset, error) {
	var parts []data.Dataset
	var missing error
	for _, year := range years {
		src.Set = year
		if task != "" {
			src.Set += "/" + task
		}
		d, err := Open(src)
		if errors.Is(err, errNoPart) {
			missing = err
			continue
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, d)
	}
	switch len(parts) {
	case 0:
		return nil, missing
	case 1:
		return parts[0], nil
	}
	return data.Union(parts...)
}

// findRoot returns the folder with JPEGImages: dir itself or one of those below it.
func findRoot(dir, year string) (string, error) {
	if year != "" && strings.Trim(year, "0123456789") != "" {
		return "", fmt.Errorf("voc: %q is no year; set is \"\", 2007, 2012, %q or \"2012/%[2]s\"", year, segmentation)
	}
	if _, err := imagefile.ReadDir(dir); err != nil {
		return "", err
	}
	isRoot := func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, "JPEGImages"))
		return err == nil && info.IsDir()
	}
	if isRoot(dir) && (year == "" || filepath.Base(dir) == "VOC"+year) {
		return dir, nil
	}
	var roots []string
	for _, above := range []string{dir, filepath.Join(dir, "VOCdevkit")} {
		entries, err := imagefile.ReadDir(above)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.Dir && isRoot(filepath.Join(above, e.Name)) && (year == "" || e.Name == "VOC"+year) {
				roots = append(roots, filepath.Join(above, e.Name))
			}
		}
	}
	switch {
	case len(roots) == 1:
		return roots[0], nil
	case len(roots) > 1:
		return "", fmt.Errorf("%s: several VOC sets (%s): give the path of one, or its year as set", dir, strings.Join(roots, ", "))
	case year != "":
		return "", fmt.Errorf("%s: no folder VOC%s with JPEGImages in it", dir, year)
	}
	return "", fmt.Errorf("%s: not in VOC layout, there is no folder JPEGImages", dir)
}

// A Dataset is an open VOC set.
type Dataset struct {
	root         string
	segmentation bool
	labels       data.Labels
	ids          []string
	images       map[string]string // id to file, relative to JPEGImages
	annotations  map[string]*annotation
	classes      map[string]int

	// Clipped and Dropped count, over the samples of this split, the boxes that reach out of their
	// image and those without any area inside it.
	Clipped, Dropped int
}

func (d *Dataset) Len() int            { return len(d.ids) }
func (d *Dataset) Labels() data.Labels { return d.labels }
func (d *Dataset) Key(i int) string    { return d.ids[i] }

// Notes tells what the counts of d say.
func (d *Dataset) Notes() (notes []string) {
	if d.Clipped > 0 {
		notes = append(notes, fmt.Sprintf("boxes clipped to their image: %d", d.Clipped))
	}
	if d.Dropped > 0 {
		notes = append(notes, fmt.Sprintf("boxes without area in their image, dropped: %d", d.Dropped))
	}
	return notes
}

// findImages lists JPEGImages.
func (d *Dataset) findImages() error {
	dir := filepath.Join(d.root, "JPEGImages")
	files, err := imagefile.List(dir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: no images in it", dir)
	}
	d.images = make(map[string]string, len(files))
	for _, f := range files {
		id := strings.TrimSuffix(f, path.Ext(f))
		if _, taken := d.images[id]; !taken {
			d.images[id] = f
		}
	}
	return nil
}

// stems returns the ids that have a file in a folder of labels, or in the folders in it.
func (d *Dataset) stems(folder, ext string) ([]string, error) {
	dir := filepath.Join(d.root, folder)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no folder %s in it", d.root, folder)
	}
	files, err := imagefile.ListFunc(dir, func(name string) bool { return strings.HasSuffix(name, ext) })
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, f := range files {
		if id := strings.TrimSuffix(f, ext); validID(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// validID reports whether id stays inside its folder, and so is a sample key.
func validID(id string) bool {
	return fs.ValidPath(id) && id != "." && filepath.IsLocal(filepath.FromSlash(id)) && !strings.HasPrefix(path.Base(id), ".")
}

// parseAll parses the annotations of ids.
func (d *Dataset) parseAll(ids []string) {
	parsed := make([]*annotation, len(ids))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)); i = next.Add(1) - 1 {
				parsed[i] = readAnnotation(d.annotationFile(ids[i]))
			}
		})
	}
	wg.Wait()
	d.annotations = make(map[string]*annotation, len(ids))
	for i, id := range ids {
		d.annotations[id] = parsed[i]
	}
}

func (d *Dataset) annotationFile(id string) string {
	return filepath.Join(d.root, "Annotations", filepath.FromSlash(id)+".xml")
}

// firstError explains an empty set by a broken annotation, if there is one.
func (d *Dataset) firstError() string {
	first := ""
	for id, a := range d.annotations {
		if a.err != nil && (first == "" || id < first) {
			first = id
		}
	}
	if first == "" {
		return ""
	}
	return fmt.Sprintf("; %s: %v", d.annotationFile(first), d.annotations[first].err)
}

// classNames returns the names in classes.txt; without that file Classes if no other name occurs, else
// the names that do, sorted.
func (d *Dataset) classNames() ([]string, error) {
	found := map[string]bool{}
	foreign := false
	for _, a := range d.annotations {
		for _, o := range a.objects {
			found[o.name] = true
			foreign = foreign || !slices.Contains(Classes, o.name)
		}
	}
	file := filepath.Join(d.root, "classes.txt")
	text, err := os.ReadFile(file)
	if err == nil {
		var listed []string
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" {
				listed = append(listed, line)
			}
		}
		for name := range found {
			if !slices.Contains(listed, name) {
				return nil, fmt.Errorf("%s: the class %q of the annotations is not listed in it", file, name)
			}
		}
		return listed, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(found) == 0 {
		return nil, nil
	}
	if !foreign {
		return Classes, nil
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// list returns the ids of a split.
func (d *Dataset) list(folder, split string, labelled []string) ([]string, error) {
	dir := filepath.Join(d.root, "ImageSets", folder)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var lists []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".txt"); ok {
			lists = append(lists, name)
		}
	}
	switch {
	case split == "":
		return d.all(labelled), nil
	case len(lists) > 0:
		if !slices.Contains(lists, split) {
			return nil, fmt.Errorf("%s: %w: no list %s.txt for the split; there are %s", dir, errNoPart, split, strings.Join(lists, ", "))
		}
		return d.readList(filepath.Join(dir, split+".txt"))
	}
	if err := imagefile.CheckSplit(split); err != nil {
		return nil, fmt.Errorf("%s: no lists of splits in it, and %w", dir, err)
	}
	var ids []string
	for _, id := range d.all(labelled) {
		if imagefile.InSplit(id, split) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s: none of its images falls into the %s part", d.root, split)
	}
	return ids, nil
}

// all returns all ids: for segmentation those with a map, else those with an image or an annotation.
func (d *Dataset) all(labelled []string) []string {
	ids := slices.Clone(labelled)
	if !d.segmentation {
		for id := range d.images {
			if validID(id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// readList reads the ids in a list. The lists of a class have a second column: 1, -1 or 0.
func (d *Dataset) readList(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var ids []string
	seen := map[string]bool{}
	for n, line := range strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n") {
		id := strings.TrimSpace(line)
		if fields := strings.Fields(id); len(fields) > 1 && slices.Contains([]string{"1", "-1", "0"}, fields[len(fields)-1]) {
			id = strings.TrimSpace(strings.TrimSuffix(id, fields[len(fields)-1]))
		}
		// Some lists name files.
		if _, known := d.images[id]; !known && imagefile.HasExtension(id) {
			id = strings.TrimSuffix(id, path.Ext(id))
		}
		if id == "" {
			continue
		}
		if !validID(id) {
			return nil, fmt.Errorf("%s:%d: %q is no image of this set: it leads out of its folder or is not UTF-8", file, n+1, id)
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s: the list is empty", file)
	}
	return ids, nil
}

// resolve indexes the classes and counts the boxes that cannot be used as they are.
func (d *Dataset) resolve() {
	d.classes = map[string]int{}
	for i, name := range d.labels[detection.Name].Classes {
		d.classes[name] = i
	}
	for _, id := range d.ids {
		a := d.annotations[id]
		if a == nil || a.w < 1 || a.h < 1 {
			continue
		}
		for _, o := range a.objects {
			clipped := o.box.Clip(a.w, a.h)
			switch {
			case clipped.Area() == 0:
				d.Dropped++
			case clipped != o.box:
				d.Clipped++
			}
		}
	}
}

// Sample decodes sample i.
func (d *Dataset) Sample(i int) (*data.Sample, error) {
	id := d.ids[i]
	a := d.annotations[id]
	if a != nil && a.err != nil {
		return nil, &data.SampleError{Key: id, File: d.annotationFile(id), Err: a.err}
	}
	name, ok := d.images[id]
	if !ok && a != nil {
		// Only a name that the listing of JPEGImages gave can be reached this way.
		name, ok = d.images[strings.TrimSuffix(a.filename, path.Ext(a.filename))]
	}
	if !ok {
		return nil, &data.SampleError{Key: id, Err: fmt.Errorf("no image of that name in %s", filepath.Join(d.root, "JPEGImages"))}
	}
	file := filepath.Join(d.root, "JPEGImages", filepath.FromSlash(name))
	s, err := imagefile.Sample(id, file)
	if err != nil {
		return nil, err
	}
	size := s.Image.Rect.Size()
	if d.segmentation {
		mapFile := filepath.Join(d.root, "SegmentationClass", filepath.FromSlash(id)+".png")
		if s.Semantic, err = readMap(mapFile, size.X, size.Y); err != nil {
			return nil, &data.SampleError{Key: id, Err: err}
		}
		return s, nil
	}
	if a == nil {
		return s, nil
	}
	if size.X != size.Y && a.w == size.Y && a.h == size.X {
		// It was annotated as stored, before its EXIF rotation.
		if s.Image, err = imagefile.DecodeStored(file); err != nil {
			return nil, &data.SampleError{Key: id, Err: err}
		}
		size = s.Image.Rect.Size()
	}
	detection.Set(s, []data.Object{})
	for _, o := range a.objects {
		box := o.box.Clip(size.X, size.Y)
		if box.Area() > 0 {
			detection.Set(s, append(detection.Of(s), data.Object{Box: box, Class: d.classes[o.name], Score: 1, Crowd: o.difficult}))
		}
	}
	return s, nil
}

// readMap reads a semantic map that belongs to a w×h image.
func readMap(file string, w, h int) (*data.Grid[uint8], error) {
	g, err := imagefile.DecodeIndex(file)
	if err != nil {
		return nil, err
	}
	if g.W != w || g.H != h {
		return nil, fmt.Errorf("%s: the map has %d×%d pixels, its image %d×%d", file, g.W, g.H, w, h)
	}
	for i, v := range g.Pix {
		if v > maxClass && v != data.Ignore {
			return nil, fmt.Errorf("%s: pixel (%d, %d) has class %d, want 0 to %d or %d", file, i%w, i/w, v, maxClass, data.Ignore)
		}
	}
	return g, nil
}
