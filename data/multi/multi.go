// Package multi reads images with labels for several tasks: one folder of images, and a folder of labels for each task
// that there are some for, whose files are called as the images.
//
//	images/a.jpg                 in folders train, val and test, or not
//	classes.csv                  image,class; classes.txt, where it is there, lists the classes in their order
//	boxes/a.txt or a.xml         lines of YOLO with boxes/classes.txt, or annotations of Pascal VOC
//	masks/a.png                  semantic maps; masks/classes.txt or labelmap.txt
//	depth/a.png, .npy, .exr, …   16-bit PNG with scale, or fractions in metres
//	normals/a.npy                [H, W, 3]: x right, y down, z away from the camera; 0, 0, 0 is invalid
package multi

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/classes"
	"must/data/depth"
	"must/data/frame"
	"must/data/imagefile"
	"must/data/npy"
	"must/data/pairs"
	"must/data/text"
	"must/data/voc"
	"must/data/yolo"
	"must/task/classification"
	depthlabel "must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// The names in the set's folder.
const (
	imagesDir   = "images"
	classesCSV  = "classes.csv"
	classesList = "classes.txt"
	boxesDir    = "boxes"
	masksDir    = "masks"
	depthDir    = "depth"
	normalsDir  = "normals"
)

// Open reads the set in src.Path. src.Split is train, val or test: images in a folder called so, or, where there are
// none, a part by the hash of the key; "" is all. An image has the labels whose files there are; an empty file of boxes
// says that there are no objects. src.Scale and src.Units are of depth, src.Void of masks, src.Lines of boxes,
// src.Frame of all.
func Open(src data.Source) (data.Dataset, error) {
	if err := cmp.Or(imagefile.CheckSplit(src.Split), frame.Check(src.Frame)); err != nil {
		return nil, err
	}
	d := &dataset{root: src.Path, frame: src.Frame}
	files, err := imagefile.List(d.path(imagesDir))
	if err != nil {
		return nil, fmt.Errorf("%w: want a folder %s beside those of labels", err, imagesDir)
	}
	// What labels mean is told by those of all parts.
	d.images, d.keys = files, imagefile.Keys(files)
	for _, read := range []func(data.Source) error{d.readClasses, d.readBoxes, d.readMasks, d.readDepth, d.readNormals} {
		if err := read(src); err != nil {
			return nil, err
		}
	}
	if len(d.labels) == 0 {
		return nil, fmt.Errorf("%s: no labels in it: want some of %s, %s, %s, %s and %s beside %s", src.Path, classesCSV, boxesDir, masksDir, depthDir, normalsDir, imagesDir)
	}
	if d.pick(src.Split); len(d.images) == 0 {
		return nil, data.NoPart(fmt.Errorf("%s: none of the %d images in it belongs to the %q part", d.path(imagesDir), len(files), src.Split))
	}
	return d, nil
}

// pick keeps the images of a part.
func (d *dataset) pick(part string) {
	in, byFolder := pairs.InPart(d.images, d.keys, part)
	if !byFolder && part != "" {
		d.notes = append(d.notes, imagefile.ByHash(part))
	}
	d.images, d.keys = kept(d.images, in), kept(d.keys, in)
	if d.class != nil {
		d.class = kept(d.class, in)
	}
	for folder, of := range d.files {
		d.files[folder] = kept(of, in)
	}
}

func kept[T any](of []T, in []bool) (out []T) {
	for i, v := range of {
		if in[i] {
			out = append(out, v)
		}
	}
	return out
}

type dataset struct {
	root, frame  string
	labels       data.Labels
	images, keys []string
	class        []int                                                   // -1: unknown; nil: none have one
	files        map[string][]string                                     // by folder: of each image its file of labels, "": none
	objects      func(string, frame.Frame) ([]data.Object, []int, error) // of a file
	size         func(string) (w, h int)                                 // of the picture of a file of boxes
	legend       *classes.Legend
	depth        depth.Reader
	notes        []string
	counts       frame.Counts
}

func (d *dataset) path(names ...string) string {
	return filepath.Join(d.root, filepath.FromSlash(path.Join(names...)))
}

func (d *dataset) Len() int            { return len(d.images) }
func (d *dataset) Key(i int) string    { return d.keys[i] }
func (d *dataset) Labels() data.Labels { return d.labels }
func (d *dataset) Notes() []string     { return append(slices.Clone(d.notes), d.counts.Notes()...) }

// Carries tells of the files there are.
func (d *dataset) Carries(i int, task string) bool {
	if task == classification.Name {
		return d.class != nil && d.class[i] >= 0
	}
	of := d.files[map[string]string{detection.Name: boxesDir, segmentation.Name: masksDir, depthlabel.Name: depthDir, normals.Name: normalsDir}[task]]
	return of != nil && of[i] != ""
}

// find matches the files of a folder of labels to the images; nil where there is no such folder.
func (d *dataset) find(folder string, match func(name string) bool) ([]string, error) {
	if info, err := os.Stat(d.path(folder)); err != nil || !info.IsDir() {
		return nil, nil
	}
	found, err := imagefile.ListFunc(d.path(folder), func(name string) bool {
		return match(name) && !slices.Contains(classes.Files, name)
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no files of labels in it", d.path(folder))
	}
	pictures, labels := make([]string, len(d.images)), make([]string, len(found))
	for i, f := range d.images {
		pictures[i] = path.Join(imagesDir, f)
	}
	for i, f := range found {
		labels[i] = path.Join(folder, f)
	}
	rules := pairs.Rules{Folders: []string{folder}, ImageFolders: []string{imagesDir}}
	of, unclear, _ := rules.Match(pictures, labels, nil)
	d.notes = append(d.notes, pairs.Notes(of, unclear, 0, "files in "+folder)...)
	full := make([]string, len(of))
	for i, f := range of {
		if f != "" {
			full[i] = d.path(f)
		}
	}
	if d.files == nil {
		d.files = map[string][]string{}
	}
	d.files[folder] = full
	return full, nil
}

// names reads the classes of a folder of labels: listed in it, or in the set's folder where no other could mean them.
func (d *dataset) names(folder, other, encoding string) (*classes.Table, error) {
	t, err := classes.Find(encoding, d.path(folder))
	if t != nil || err != nil {
		return t, err
	}
	if info, err := os.Stat(d.path(other)); err == nil && info.IsDir() {
		return nil, nil
	}
	return classes.Find(encoding, d.root)
}

func ending(ends ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(ends, strings.ToLower(path.Ext(name))) }
}

func (d *dataset) readBoxes(src data.Source) error {
	files, err := d.find(boxesDir, ending(".txt", ".xml"))
	if files == nil || err != nil {
		return err
	}
	t, err := d.names(boxesDir, masksDir, src.Text)
	if err != nil {
		return err
	}
	present := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return f == "" })
	isXML := func(f string) bool { return strings.EqualFold(filepath.Ext(f), ".xml") }
	switch n := len(slices.DeleteFunc(slices.Clone(present), isXML)); {
	case n > 0 && n < len(present):
		return fmt.Errorf("%s: .txt and .xml in it: want files of YOLO or of Pascal VOC", d.path(boxesDir))
	case n == 0 && len(present) > 0:
		var names []string
		if t != nil {
			names = t.Names
		}
		b, err := voc.ReadBoxes(present, names, src.Text)
		if err != nil {
			return fmt.Errorf("%s: %w", d.path(boxesDir), err)
		}
		d.labels = d.labels.With(detection.Name, data.Meaning{Classes: b.Classes})
		d.objects, d.size = b.Objects, b.Size
	case t == nil:
		return fmt.Errorf("%s: list the names of the classes, from 0 on, in classes.txt in it", d.path(boxesDir))
	default:
		f, err := yolo.ReadFiles(present, len(t.Names), src.Lines, src.Text)
		if err != nil {
			return err
		}
		if f.Lost > 0 {
			d.notes = append(d.notes, fmt.Sprintf("objects without area in their image, dropped (their class is unknown there): %d", f.Lost))
		}
		d.labels = d.labels.With(detection.Name, data.Meaning{Classes: t.Names, Masks: f.Masks()})
		d.objects = f.Objects
		d.size = func(string) (int, int) { return 0, 0 }
	}
	return nil
}

func (d *dataset) readMasks(src data.Source) error {
	files, err := d.find(masksDir, ending(".png", ".bmp", ".tif", ".tiff", ".gif"))
	if files == nil || err != nil {
		return err
	}
	t, err := d.names(masksDir, boxesDir, src.Text)
	if err != nil {
		return err
	}
	present := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return f == "" })
	if d.legend, err = classes.ForMaps(t, present, 0, src.Void, "255"); err != nil {
		return fmt.Errorf("%s: %w", d.path(masksDir), err)
	}
	d.labels = d.labels.With(segmentation.Name, data.Meaning{Classes: d.legend.Names})
	return nil
}

func (d *dataset) readDepth(src data.Source) (err error) {
	if d.depth, err = depth.NewReader(src.Scale, src.Units, ""); err != nil {
		return err
	}
	files, err := d.find(depthDir, depth.IsMap)
	if files == nil || err != nil {
		return err
	}
	for _, f := range files {
		if f != "" {
			if err := d.depth.Need(f); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			break
		}
	}
	d.labels = d.labels.With(depthlabel.Name, data.Meaning{Units: d.depth.Unit()})
	return nil
}

func (d *dataset) readNormals(data.Source) error {
	files, err := d.find(normalsDir, ending(".npy"))
	if files != nil {
		d.labels = d.labels.With(normals.Name, data.Meaning{})
	}
	return err
}

// readClasses reads classes.csv: an image, by its path below images or its name, and its class, on each line.
func (d *dataset) readClasses(src data.Source) error {
	file := d.path(classesCSV)
	content, err := text.ReadFileAs(file, src.Text)
	if !text.Exists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := parseClasses(content)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var names []string
	for _, line := range all {
		names = append(names, line[1])
	}
	slices.Sort(names)
	names = slices.Compact(names)
	list, err := text.List(d.path(classesList))
	switch {
	case err == nil:
		for _, name := range names {
			if !slices.Contains(list, name) {
				return fmt.Errorf("%s: class %q is not in %s", file, name, d.path(classesList))
			}
		}
		names = list
	case text.Exists(err):
		return err
	}
	number := make(map[string]int, len(names))
	for k, name := range names {
		number[name] = k
	}
	d.labels = d.labels.With(classification.Name, data.Meaning{Classes: names})
	d.class = make([]int, len(d.images))
	at := map[string][]int{}
	for i, f := range d.images {
		d.class[i] = -1
		at[f] = append(at[f], i)
		if base := path.Base(f); base != f {
			at[base] = append(at[base], i)
		}
		stem := strings.TrimSuffix(f, path.Ext(f))
		at[stem] = append(at[stem], i)
	}
	unknown := 0
	for _, line := range all {
		is := at[strings.TrimPrefix(line[0], imagesDir+"/")]
		switch {
		case len(is) == 0: // of another part, or no image
			unknown++
		case len(is) > 1:
			return fmt.Errorf("%s: %q could be %s or %s: give its path in the folder %s", file, line[0], d.images[is[0]], d.images[is[1]], imagesDir)
		default:
			class := number[line[1]]
			if d.class[is[0]] >= 0 && d.class[is[0]] != class {
				return fmt.Errorf("%s: %q has two classes, %s and %s", file, line[0], names[d.class[is[0]]], line[1])
			}
			d.class[is[0]] = class
		}
	}
	if unknown == len(all) {
		return fmt.Errorf("%s: none of its %d images, such as %s, is in %s", file, len(all), all[0][0], d.path(imagesDir))
	}
	return nil
}

// parseClasses reads lines of an image and a class, with or without a header.
func parseClasses(content string) ([][2]string, error) {
	r := csv.NewReader(strings.NewReader(content))
	r.TrimLeadingSpace, r.FieldsPerRecord = true, -1
	first, _, _ := strings.Cut(content, "\n")
	for _, comma := range ";\t" { // as spreadsheets write them
		if !strings.Contains(first, ",") && strings.ContainsRune(first, comma) {
			r.Comma, r.TrimLeadingSpace = comma, comma != '\t'
			break
		}
	}
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("not lines of image,class: %w", err)
	}
	var all [][2]string
	image, class := 0, 1
	for n, row := range rows {
		if n == 0 {
			column := func(names ...string) int { // the first of the names that is there
				for _, name := range names {
					if i := slices.IndexFunc(row, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), name) }); i >= 0 {
						return i
					}
				}
				return -1
			}
			i, c := column("image", "file", "filename", "file_name", "path", "name", "id"), column("class", "label", "category")
			if i >= 0 && c >= 0 {
				image, class = i, c
				continue
			}
		}
		if len(row) <= max(image, class) || len(row) > 2 && image == 0 && class == 1 && n == 0 {
			return nil, fmt.Errorf("line %d has %d columns: want image,class, or a header that names them", n+1, len(row))
		}
		line := [2]string{strings.TrimSpace(text.Path(row[image])), strings.TrimSpace(row[class])}
		if line[0] == "" {
			return nil, fmt.Errorf("line %d names no image", n+1)
		}
		if line[1] != "" { // an image without a class
			all = append(all, line)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no class in it")
	}
	return all, nil
}

func (d *dataset) Sample(i int) (*data.Sample, error) {
	p, err := frame.Decode(d.keys[i], d.path(imagesDir, d.images[i]))
	if err != nil {
		return nil, err
	}
	if d.class != nil && d.class[i] >= 0 {
		classification.Set(p.Sample, make([]float32, len(d.labels[classification.Name].Classes)))
		classification.Of(p.Sample)[d.class[i]] = 1
	}
	for _, l := range []struct {
		folder string
		label  func(frame.Picture, string) error
	}{{boxesDir, d.box}, {masksDir, d.mask}, {depthDir, d.measure}, {normalsDir, d.normal}} {
		of := d.files[l.folder]
		if of == nil || of[i] == "" {
			continue
		}
		if err := l.label(p, of[i]); err != nil {
			if broken, ok := errors.AsType[*data.SampleError](err); ok {
				return nil, broken
			}
			return nil, &data.SampleError{Key: p.Key, Err: err}
		}
	}
	return p.Sample, nil
}

func (d *dataset) box(p frame.Picture, file string) error {
	w, h := d.size(file)
	f, err := p.Frame(d.frame, w, h, &d.counts)
	if err != nil {
		return err
	}
	objects, unknown, err := d.objects(file, f)
	if err == nil {
		p.Put(detection.NewPartial(objects, unknown))
	}
	return err
}

func (d *dataset) mask(p frame.Picture, file string) error {
	g, err := d.legend.Read(file)
	if err != nil {
		return err
	}
	if g, err = place(d, p, g); err == nil {
		segmentation.Set(p.Sample, g)
	}
	return err
}

func (d *dataset) measure(p frame.Picture, file string) error {
	g, err := d.depth.Read(file)
	if err != nil {
		return err
	}
	if g, err = place(d, p, g); err == nil {
		depthlabel.Set(p.Sample, g)
	}
	return err
}

// place brings a map to the image.
func place[T any](d *dataset, p frame.Picture, g *data.Grid[T]) (*data.Grid[T], error) {
	f, err := p.Frame(d.frame, g.W, g.H, &d.counts)
	if err != nil {
		return nil, err
	}
	return frame.Grid(f, g)
}

// normal reads normals, which are those of the picture as shown.
func (d *dataset) normal(p frame.Picture, file string) error {
	a, err := npy.ReadFile(file)
	if err != nil {
		return err
	}
	w, h := p.Image.Rect.Dx(), p.Image.Rect.Dy()
	if !slices.Equal(a.Shape, []int{h, w, 3}) {
		return fmt.Errorf("%s: shape %v, but its image has %d rows of %d pixels, so it must be [%[3]d %[4]d 3]", file, a.Shape, h, w)
	}
	g := data.NewGrid[[3]float32](w, h)
	for i := range g.Pix {
		x, y, z := float64(a.Values[3*i]), float64(a.Values[3*i+1]), float64(a.Values[3*i+2])
		if length := math.Sqrt(x*x + y*y + z*z); length > 1e-6 && !math.IsInf(length, 1) {
			g.Pix[i] = [3]float32{float32(x / length), float32(y / length), float32(z / length)}
		}
	}
	normals.Set(p.Sample, g)
	return nil
}
