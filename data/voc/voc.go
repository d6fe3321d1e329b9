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
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"must/data"
	"must/data/classes"
	"must/data/frame"
	"must/data/imagefile"
	"must/data/text"
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

// Open reads the set in src.Path: the folder that holds JPEGImages (or images), or one above it such as
// VOCdevkit; or a folder of images with their annotations beside them. src.Set is "", a year (2007, 2012) that
// picks the folder VOC<year>, "segmentation", or both as "2012/segmentation". "2007+2012" is the union of the
// years, or of those that have the split; keys then begin with a year's position. src.Split names a list in
// ImageSets; "" is all images. Where there are no lists at all, train, val and test are the folders of images
// called so, else told by the hash of the id (imagefile.InSplit).
//
// Detection: all annotations are parsed now, on all cores, for the names of the classes (those listed beside
// JPEGImages, see package classes; Classes in VOC itself, which is told by its folder's name; else those found,
// sorted) must not depend on the split. Boxes, 1-based and inclusive in the file, become
// [xmin−1, xmax) × [ymin−1, ymax), fractions kept, clipped to the image. An object without area, or without a
// box, is dropped and its class unknown in the image. Difficult objects are Crowd. An image without an annotation
// has unknown objects, an annotation without objects says that there are none.
//
// Segmentation: values of the maps, 255 ignored unless src.Void says otherwise. Their classes are those listed
// beside JPEGImages, VOC's own in VOC itself, else numbers.
//
// An annotation is of the image of its own name, of a.jpg and a.png the one that its filename names, else of the
// image that filename names. Labels are of the picture whose size they tell, see package frame.
//
// The result is a *Dataset, but for a union.
func Open(src data.Source) (data.Dataset, error) {
	year, task, ok := strings.Cut(src.Set, "/")
	if !ok && year == segmentation {
		year, task = "", segmentation
	}
	if task != "" && task != segmentation || ok && task == "" {
		return nil, fmt.Errorf("voc: subset is %q, want a year, %q or both as in \"2012/%[2]s\"", src.Set, segmentation)
	}
	if err := frame.Check(src.Frame); err != nil {
		return nil, err
	}
	if years := strings.Split(year, "+"); len(years) > 1 {
		return openYears(src, years, task)
	}
	d := &Dataset{segmentation: task == segmentation, encoding: src.Text, frame: src.Frame}
	if err := d.findRoot(src.Path, year); err != nil {
		return nil, err
	}
	if err := d.findImages(); err != nil {
		return nil, err
	}
	var err error
	listed := "Main"
	var labelled []string // ids that have a label
	if d.segmentation {
		listed = "Segmentation"
		if labelled, err = d.stems("SegmentationClass", ".png"); err == nil {
			err = d.findLegend(labelled, src.Void)
		}
	} else if labelled, err = d.stems(d.annotated, ".xml"); err == nil {
		err = d.readAll(labelled)
	}
	if err != nil {
		return nil, err
	}
	d.match(labelled)
	if err := d.list(listed, src.Split); err != nil {
		return nil, err
	}
	if !d.segmentation && !slices.ContainsFunc(d.items, func(it item) bool { return d.annotations[it.label] != nil }) {
		return nil, fmt.Errorf("%s: %w: none of the %d images of the split %q has an annotation there", d.path(d.annotated), data.ErrNoPart, len(d.items), src.Split)
	}
	d.resolve()
	return d, nil
}

func openYears(src data.Source, years []string, task string) (data.Dataset, error) {
	var parts []data.Dataset
	var missing error
	for _, year := range years {
		src.Set = year
		if task != "" {
			src.Set += "/" + task
		}
		d, err := Open(src)
		if errors.Is(err, data.ErrNoPart) {
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

// The folders of images, the customary one first.
var imageFolders = []string{"JPEGImages", "images", "Images"}

// findRoot finds the folder with JPEGImages, dir itself or one of those below it, and names its folders.
func (d *Dataset) findRoot(dir, year string) error {
	if year != "" && strings.Trim(year, "0123456789") != "" {
		return fmt.Errorf("voc: %q is no year; subset is \"\", 2007, 2012, %q or \"2012/%[2]s\"", year, segmentation)
	}
	if _, err := imagefile.ReadDir(dir); err != nil {
		return err
	}
	isDir := func(dir ...string) bool {
		info, err := os.Stat(filepath.Join(dir...))
		return err == nil && info.IsDir()
	}
	isRoot := func(dir string) bool {
		return isDir(dir, imageFolders[0]) || isDir(dir, "Annotations") && (isDir(dir, imageFolders[1]) || isDir(dir, imageFolders[2]))
	}
	var roots []string
	if isRoot(dir) && (year == "" || filepath.Base(dir) == "VOC"+year) {
		roots = []string{dir}
	} else {
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
	}
	switch {
	case len(roots) > 1:
		return fmt.Errorf("%s: several VOC sets (%s): give the path of one, or its year as subset", dir, strings.Join(roots, ", "))
	case len(roots) == 1:
		d.root, d.annotated = roots[0], "Annotations"
		for _, name := range imageFolders {
			if isDir(d.root, name) {
				d.pictured = name
				return nil
			}
		}
	case year != "":
		return fmt.Errorf("%s: no folder VOC%s with JPEGImages in it", dir, year)
	}
	// Annotations may lie beside the images.
	d.root, d.pictured, d.annotated = dir, ".", "."
	images, err := imagefile.List(dir)
	if err != nil {
		return err
	}
	if beside, err := d.stems(".", ".xml"); err != nil || len(images) == 0 || len(beside) == 0 || d.segmentation {
		return fmt.Errorf("%s: not in VOC layout, there is no folder JPEGImages", dir)
	}
	return nil
}

// A Dataset is an open VOC set.
type Dataset struct {
	root                string
	pictured, annotated string // folders of images and annotations in root
	segmentation        bool
	encoding, frame     string
	labels              data.Labels
	legend              *classes.Legend
	numbered            bool
	part                string // told by hash; "": it is not
	items               []item
	stem                map[string][]string // images, below their folder, by their path without extension
	base                map[string][]string // by the name of their file
	annotations         map[string]*annotation
	classes             map[string]int
	counts              frame.Counts

	// Over the samples of this split: boxes that reach out of their image, those without any area inside it, and
	// objects without a box.
	Clipped, Dropped, Boxless int
}

// An item is a sample: an image, its label, or both.
type item struct {
	key   string
	label string // id of its annotation or map, "": none
	image string // below the folder of images, "": none
	err   error
}

func (d *Dataset) Len() int            { return len(d.items) }
func (d *Dataset) Labels() data.Labels { return d.labels }
func (d *Dataset) Key(i int) string    { return d.items[i].key }
func (d *Dataset) path(names ...string) string {
	return filepath.Join(d.root, filepath.FromSlash(path.Join(names...)))
}

// Carries tells of annotations and maps.
func (d *Dataset) Carries(i int, _ string) bool {
	it := d.items[i]
	if d.segmentation {
		return it.label != ""
	}
	a := d.annotations[it.label]
	return a != nil && a.err == nil
}

// Notes tells what the counts of d say.
func (d *Dataset) Notes() (notes []string) {
	unlabelled := 0
	for i := range d.items {
		if d.items[i].label == "" {
			unlabelled++
		}
	}
	for _, n := range []struct {
		n    int
		what string
	}{
		{d.Clipped, "boxes clipped to their image"},
		{d.Dropped, "boxes without area in their image, dropped (their class is unknown there)"},
		{d.Boxless, "objects without a bndbox, dropped (their class is unknown there)"},
		{unlabelled, "images without a label, where it is unknown"},
	} {
		if n.n > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d", n.what, n.n))
		}
	}
	if d.numbered {
		notes = append(notes, fmt.Sprintf("classes are called by their numbers in the maps: list their names, from 0 on, in %s to name them", d.path("class_names.txt")))
	}
	if d.part != "" {
		notes = append(notes, imagefile.ByHash(d.part))
	}
	return append(notes, d.counts.Notes()...)
}

// ours reports whether this is VOC itself.
func (d *Dataset) ours() bool {
	root, err := filepath.Abs(d.root)
	return err == nil && years.MatchString(filepath.Base(root))
}

var years = regexp.MustCompile(`^VOC20\d\d$`)

// findImages lists JPEGImages.
func (d *Dataset) findImages() error {
	dir := d.path(d.pictured)
	files, err := imagefile.List(dir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: no images in it", dir)
	}
	d.stem, d.base = make(map[string][]string, len(files)), make(map[string][]string, len(files))
	for _, f := range files {
		id := strings.TrimSuffix(f, path.Ext(f))
		d.stem[id] = append(d.stem[id], f)
		d.base[path.Base(f)] = append(d.base[path.Base(f)], f)
	}
	return nil
}

// findLegend says what the values of maps are.
func (d *Dataset) findLegend(ids []string, void string) error {
	t, err := classes.Find(d.encoding, d.root)
	if err != nil {
		return err
	}
	switch {
	case t != nil && filepath.Base(t.File) == "classes.txt" && !classes.Background(t.Names[0]):
		if _, err := os.Stat(d.path("Annotations")); err == nil { // it lists the classes of boxes, which have no background
			t.Names = append([]string{"background"}, t.Names...)
		}
	case t == nil && d.ours():
		t = &classes.Table{Names: append([]string{"background"}, Classes...)}
	}
	files := make([]string, len(ids))
	for i, id := range ids {
		files[i] = d.mapFile(id)
	}
	d.numbered = t == nil
	if d.legend, err = classes.ForMaps(t, files, 0, void, "255"); err != nil {
		return fmt.Errorf("%s: %w", d.path("SegmentationClass"), err)
	}
	d.labels = d.labels.With(segmentationlabel.Name, data.Meaning{Classes: d.legend.Names})
	return nil
}

func (d *Dataset) mapFile(id string) string { return d.path("SegmentationClass", id+".png") }

// readAll parses all annotations and names the classes.
func (d *Dataset) readAll(ids []string) error {
	d.parseAll(ids)
	classes, err := d.classNames()
	if err != nil {
		return err
	}
	d.labels = d.labels.With(detection.Name, data.Meaning{Classes: classes})
	if len(classes) == 0 {
		return fmt.Errorf("%s: no annotation in it names an object%s", d.path(d.annotated), d.firstError())
	}
	return nil
}

// match finds the image of each label, and makes samples of these pairs and of the images that are left.
func (d *Dataset) match(labelled []string) {
	used := make(map[string]bool, len(labelled))
	keys := make(map[string]bool, len(labelled))
	for _, id := range labelled {
		it := item{key: id, label: id}
		it.image, it.err = d.imageOf(id)
		used[it.image] = true
		keys[id] = true
		d.items = append(d.items, it)
	}
	if !d.segmentation {
		for id, files := range d.stem {
			for _, f := range files {
				if used[f] || !validID(f) {
					continue
				}
				key := id
				if len(files) > 1 || keys[id] || path.Base(id) == "" || !validID(id) {
					key = f
				}
				d.items = append(d.items, item{key: key, image: f})
			}
		}
	}
	slices.SortFunc(d.items, func(a, b item) int { return strings.Compare(a.key, b.key) })
}

// imageOf returns the image that a label is of.
func (d *Dataset) imageOf(id string) (string, error) {
	named := ""
	if a := d.annotations[id]; a != nil {
		named = path.Base(text.Path(a.filename))
	}
	same := d.stem[id]
	for _, f := range same {
		if strings.EqualFold(path.Base(f), named) {
			return f, nil
		}
	}
	switch {
	case len(same) == 1:
		return same[0], nil
	case len(same) > 1:
		return "", fmt.Errorf("its label could be of %s: name the file in the annotation's filename", strings.Join(same, " or "))
	case named == "":
		return "", fmt.Errorf("no image of that name in %s", d.path(d.pictured))
	}
	// Only a name that the listing of JPEGImages gave can be reached this way.
	switch found := d.base[named]; {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("its filename %s could be %s", named, strings.Join(found, " or "))
	}
	if found := d.stem[strings.TrimSuffix(named, path.Ext(named))]; len(found) == 1 {
		return found[0], nil
	}
	return "", fmt.Errorf("no image of that name, nor %s as its annotation says, in %s", named, d.path(d.pictured))
}

// stems returns the ids that have a file in a folder of labels, or in the folders in it.
func (d *Dataset) stems(folder, ext string) ([]string, error) {
	dir := filepath.Join(d.root, folder)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no folder %s in it", d.root, folder)
	}
	files, err := imagefile.ListFunc(dir, func(name string) bool { return strings.EqualFold(path.Ext(name), ext) })
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, f := range files {
		id := strings.TrimSuffix(f, path.Ext(f))
		if validID(id) && (len(ids) == 0 || ids[len(ids)-1] != id) {
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
				parsed[i] = readAnnotation(d.annotationFile(ids[i]), d.encoding)
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
	for _, ext := range []string{".xml", ".XML"} {
		if file := d.path(d.annotated, id+ext); ext != ".xml" {
			if _, err := os.Stat(file); err == nil {
				return file
			}
		} else if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return d.path(d.annotated, id+".xml")
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

// classNames returns the names that are listed beside JPEGImages; without such a file Classes in VOC itself, else
// the names found, sorted.
func (d *Dataset) classNames() ([]string, error) {
	found := map[string]bool{}
	foreign := false
	for _, a := range d.annotations {
		for _, o := range a.objects {
			found[o.name] = true
			foreign = foreign || !slices.Contains(Classes, o.name)
		}
	}
	t, err := classes.Find(d.encoding, d.root)
	if err != nil {
		return nil, err
	}
	if t != nil {
		listed := t.Names
		if classes.Background(listed[0]) && !found[listed[0]] {
			listed = listed[1:]
		}
		for name := range found {
			if !slices.Contains(listed, name) {
				return nil, fmt.Errorf("%s: the class %q of the annotations is not listed in it", t.File, name)
			}
		}
		return listed, nil
	}
	if len(found) > 0 && !foreign && d.ours() {
		return Classes, nil
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// list keeps the samples of a split.
func (d *Dataset) list(folder, split string) error {
	dir := d.path("ImageSets", folder)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var lists []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".txt"); ok {
			lists = append(lists, name)
		}
	}
	switch {
	case split == "":
		return nil
	case len(lists) > 0:
		if !slices.Contains(lists, split) {
			return fmt.Errorf("%s: %w: no list %s.txt for the split; there are %s", dir, data.ErrNoPart, split, strings.Join(lists, ", "))
		}
		return d.readList(filepath.Join(dir, split+".txt"))
	}
	if err := imagefile.CheckSplit(split); err != nil {
		return fmt.Errorf("%s: no lists of splits in it, and %w", dir, err)
	}
	all := d.items
	d.items = nil
	folders := false // of the parts
	for _, it := range all {
		first, _, below := strings.Cut(it.key, "/")
		folders = folders || below && slices.Contains(imagefile.Splits, imagefile.SplitOf(first))
	}
	for _, it := range all {
		first, _, _ := strings.Cut(it.key, "/")
		if folders && imagefile.SplitOf(first) == split || !folders && imagefile.InSplit(it.key, split) {
			d.items = append(d.items, it)
		}
	}
	if !folders {
		d.part = split
	}
	if len(d.items) == 0 {
		return data.NoPart(fmt.Errorf("%s: none of its images falls into the %s part", d.root, split))
	}
	return nil
}

// readList keeps the samples whose ids are in a list. The lists of a class have a second column: 1, -1 or 0.
func (d *Dataset) readList(file string) error {
	content, err := text.ReadFileAs(file, d.encoding)
	if err != nil {
		return err
	}
	known := make(map[string]item, len(d.items))
	byImage := make(map[string]item, len(d.items))
	for _, it := range d.items {
		known[it.key] = it
		if it.image != "" {
			byImage[it.image] = it
		}
	}
	d.items = nil
	seen := map[string]bool{}
	for n, line := range text.Lines(content) {
		id := text.Path(line)
		if fields := strings.Fields(id); len(fields) > 1 && slices.Contains([]string{"1", "-1", "0"}, fields[len(fields)-1]) {
			id = strings.TrimSpace(strings.TrimSuffix(id, fields[len(fields)-1]))
		}
		it, ok := byImage[id] // some lists name files
		if !ok {
			it, ok = known[id]
		}
		if !ok && imagefile.HasExtension(id) {
			id = strings.TrimSuffix(id, path.Ext(id))
			it, ok = known[id]
		}
		if !validID(id) {
			return fmt.Errorf("%s:%d: %q is no image of this set: it leads out of its folder or is not UTF-8", file, n, id)
		}
		if !ok {
			it = item{key: id}
			if d.segmentation {
				it.label = id
			}
			if it.image, it.err = d.imageOf(id); it.err == nil {
				if other, taken := byImage[it.image]; taken { // under another key
					it = other
				}
			}
		}
		if !seen[it.key] {
			seen[it.key] = true
			d.items = append(d.items, it)
		}
	}
	if len(d.items) == 0 {
		return fmt.Errorf("%s: the list is empty", file)
	}
	return nil
}

// resolve indexes the classes and counts the boxes that cannot be used as they are.
func (d *Dataset) resolve() {
	d.classes = map[string]int{}
	for i, name := range d.labels[detection.Name].Classes {
		d.classes[name] = i
	}
	for _, it := range d.items {
		a := d.annotations[it.label]
		if a == nil {
			continue
		}
		for _, o := range a.objects {
			switch clipped := o.box.Clip(a.w, a.h); {
			case o.boxless:
				d.Boxless++
			case o.box.Area() == 0 || a.w > 0 && a.h > 0 && clipped.Area() == 0:
				d.Dropped++
			case a.w > 0 && a.h > 0 && clipped != o.box:
				d.Clipped++
			}
		}
	}
}

// Sample decodes sample i.
func (d *Dataset) Sample(i int) (*data.Sample, error) {
	it := d.items[i]
	a := d.annotations[it.label]
	if a != nil && a.err != nil {
		return nil, &data.SampleError{Key: it.key, File: d.annotationFile(it.label), Err: a.err}
	}
	if it.err != nil {
		return nil, &data.SampleError{Key: it.key, Err: it.err}
	}
	file := d.path(d.pictured, it.image)
	if d.segmentation {
		mapFile := d.mapFile(it.label)
		g, err := d.legend.Read(mapFile)
		if err != nil {
			return nil, &data.SampleError{Key: it.key, Err: err}
		}
		s, f, err := frame.Sample(it.key, file, d.frame, g.W, g.H, &d.counts)
		if err != nil {
			return nil, err
		}
		m, err := frame.Grid(f, g)
		if err != nil {
			return nil, &data.SampleError{Key: it.key, File: mapFile, Err: err}
		}
		segmentationlabel.Set(s, m)
		return s, nil
	}
	w, h := 0, 0
	if a != nil {
		w, h = a.w, a.h
	}
	s, f, err := frame.Sample(it.key, file, d.frame, w, h, &d.counts)
	if err != nil || a == nil {
		return s, err
	}
	s.Put(detection.NewPartial(a.place(d.classes, f)))
	return s, nil
}
