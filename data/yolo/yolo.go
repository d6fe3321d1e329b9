// Package yolo reads sets in the layout of YOLO (Ultralytics): boxes or polygons in a text file for
// each image.
//
//	data.yaml                 names of the classes, folders or lists of the parts
//	images/train/a.jpg        labels/train/a.txt: class x y width height, fractions of the image
//	classes.txt               in place of data.yaml
package yolo

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"must/data"
	"must/data/imagefile"
	"must/metric/rle"
	"must/task/detection"
)

// Open reads the set in src.Path: the folder with data.yaml (or another .yaml with names), that file
// itself, or a folder with images, labels and classes.txt. src.Split is train, val or test as the
// file has them; "" is all of them. In a folder without data.yaml parts are the folders of images
// called so, else they are told by the hash of the key (imagefile.InSplit).
//
// The file of labels has the path of the image with labels in place of the last folder images. A line
// is a class, counted from 0, and a box by its centre and size, with a score where there is a sixth
// number, or the corners of a polygon, which becomes a mask. An empty file says that there are no
// objects; no file, that they are unknown (Ultralytics takes it as none).
//
// Paths in the file are relative to it and stay in its folder: "../" in front, which some exporters
// write, is left out.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set != "" {
		return nil, fmt.Errorf("yolo has no sets, but set is %q: leave it out", src.Set)
	}
	if err := imagefile.CheckSplit(src.Split); err != nil {
		return nil, err
	}
	d := &dataset{root: src.Path}
	file, err := d.findConfig()
	if err != nil {
		return nil, err
	}
	if file != "" {
		err = d.configured(file, src.Split)
	} else {
		err = d.plain(src.Split)
	}
	if err != nil {
		return nil, err
	}
	if len(d.files) == 0 {
		return nil, fmt.Errorf("%s: no images in its %q part", src.Path, src.Split)
	}
	d.keys = imagefile.Keys(d.names)
	d.masks = d.anyPolygon()
	return d, nil
}

type dataset struct {
	root    string
	classes []string
	masks   bool
	files   []string // images, below root
	names   []string // of the images for keys: below their folder images, or the part's
	keys    []string
}

func (d *dataset) Len() int         { return len(d.files) }
func (d *dataset) Key(i int) string { return d.keys[i] }
func (d *dataset) Labels() data.Labels {
	return data.Labels{detection.Name: {Classes: d.classes, Masks: d.masks}}
}

func (d *dataset) Sample(i int) (*data.Sample, error) {
	s, err := imagefile.Sample(d.keys[i], d.path(d.files[i]))
	if err != nil {
		return nil, err
	}
	file := d.path(labelFile(d.files[i]))
	text, err := readText(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var objects []data.Object
	if err == nil {
		objects, err = parseLabels(text, len(d.classes), s.Image.Rect.Dx(), s.Image.Rect.Dy())
	}
	if err != nil {
		return nil, &data.SampleError{Key: s.Key, File: file, Err: err}
	}
	detection.Set(s, objects)
	return s, nil
}

func (d *dataset) path(rel string) string { return filepath.Join(d.root, filepath.FromSlash(rel)) }

// maxText bounds a file of labels or settings.
const maxText = 64 << 20

func readText(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Size() > maxText || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a file of at most %d MB", file, maxText>>20)
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// labelFile returns where the labels of an image are.
func labelFile(image string) string {
	stem := strings.TrimSuffix(image, path.Ext(image)) + ".txt"
	parts := strings.Split(stem, "/")
	for i := len(parts) - 2; i >= 0; i-- {
		if parts[i] == "images" {
			parts[i] = "labels"
			break
		}
	}
	return strings.Join(parts, "/")
}

// A config is what matters in data.yaml.
type config struct {
	Path  string `yaml:"path"`
	Train any    `yaml:"train"`
	Val   any    `yaml:"val"`
	Test  any    `yaml:"test"`
	Names any    `yaml:"names"`
}

// findConfig returns the file of settings and makes its folder the root; "" if there is none.
func (d *dataset) findConfig() (string, error) {
	info, err := os.Stat(d.root)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		file := d.root
		d.root = filepath.Dir(file)
		return file, nil
	}
	entries, err := imagefile.ReadDir(d.root)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		if !e.Dir && slices.Contains([]string{".yaml", ".yml"}, path.Ext(e.Name)) {
			found = append(found, e.Name)
		}
	}
	if i := slices.Index(found, "data.yaml"); i >= 0 {
		found = found[i : i+1]
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return d.path(found[0]), nil
	}
	return "", fmt.Errorf("%s: several .yaml files in it (%s): give the path of one", d.root, strings.Join(found, ", "))
}

// configured takes the classes and images that a file names.
func (d *dataset) configured(file, split string) error {
	text, err := readText(file)
	if err != nil {
		return err
	}
	var c config
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if d.classes, err = classNames(c.Names); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var places []string
	for _, part := range []struct {
		name  string
		where any
	}{{"train", c.Train}, {"val", c.Val}, {"test", c.Test}} {
		if split != "" && split != part.name {
			continue
		}
		where, err := texts(part.where)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", file, part.name, err)
		}
		if split != "" && len(where) == 0 {
			return fmt.Errorf("%s: it names no %s part", file, split)
		}
		for _, w := range where {
			if !slices.Contains(places, w) {
				places = append(places, w)
			}
		}
	}
	for _, p := range places {
		if err := d.addPlace(c.Path, p); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// classNames reads a list of names, or names by index.
func classNames(v any) ([]string, error) {
	var names []string
	switch v := v.(type) {
	case []any:
		for _, n := range v {
			names = append(names, fmt.Sprint(n))
		}
	case map[string]any:
		names = make([]string, len(v))
		for key, n := range v {
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return nil, fmt.Errorf("names: %q is no index below their number, %d", key, len(v))
			}
			names[i] = fmt.Sprint(n)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no names: want a list of the classes, or names by index")
	}
	return names, nil
}

// texts reads a text or a list of texts; none for nil.
func texts(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if v == "" {
			return nil, nil
		}
		return []string{v}, nil
	case []any:
		var all []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("%v is no path", x)
			}
			all = append(all, s)
		}
		return all, nil
	}
	return nil, fmt.Errorf("%v is neither a path nor a list of paths", v)
}

// inside makes a path one below the root; absolute ones only if they lead there.
func (d *dataset) inside(p string) string {
	p = filepath.ToSlash(p)
	if root, err := filepath.Abs(d.root); err == nil && path.IsAbs(p) {
		if rel, err := filepath.Rel(root, p); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
	}
	for p = path.Clean(p); p == ".." || strings.HasPrefix(p, "../"); p = strings.TrimPrefix(strings.TrimPrefix(p, ".."), "/") {
	}
	return strings.TrimPrefix(path.Join("/", p), "/")
}

// addPlace adds the images of a folder, or of a list of images, below the set's path in the root or
// the root itself.
func (d *dataset) addPlace(base, place string) error {
	for _, p := range []string{path.Join(d.inside(base), d.inside(place)), d.inside(place)} {
		info, err := os.Stat(d.path(p))
		switch {
		case err != nil:
			continue
		case info.IsDir():
			return d.addFolder(p)
		case path.Ext(p) == ".txt":
			return d.addList(p)
		}
	}
	return fmt.Errorf("%s: no folder or list (.txt) of images of this name below %s", place, d.root)
}

func (d *dataset) addFolder(folder string) error {
	files, err := imagefile.List(d.path(folder))
	if err != nil {
		return err
	}
	for _, f := range files {
		d.add(path.Join(folder, f))
	}
	return nil
}

func (d *dataset) addList(file string) error {
	text, err := readText(d.path(file))
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		rel := d.inside(line)
		if strings.HasPrefix(filepath.ToSlash(line), "./") { // Ultralytics: beside the list
			rel = path.Join(path.Dir(file), rel)
		}
		if rel == "" {
			return fmt.Errorf("%s: %q is no path of an image", file, line)
		}
		d.add(rel)
	}
	return nil
}

// add adds an image under the name that it has below its folder images.
func (d *dataset) add(file string) {
	name := file
	if i := strings.LastIndex("/"+file, "/images/"); i >= 0 {
		name = ("/" + file)[i+len("/images/"):]
	}
	d.files, d.names = append(d.files, file), append(d.names, name)
}

// plain reads a folder with images, labels and classes.txt.
func (d *dataset) plain(split string) error {
	file := d.path("classes.txt")
	text, err := readText(file)
	if err != nil {
		return fmt.Errorf("%s: neither a data.yaml nor a classes.txt in it tells the names of the classes", d.root)
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			d.classes = append(d.classes, line)
		}
	}
	if len(d.classes) == 0 {
		return fmt.Errorf("%s: no names in it", file)
	}
	if split != "" {
		if info, err := os.Stat(d.path("images/" + split)); err == nil && info.IsDir() {
			return d.addFolder("images/" + split)
		}
	}
	if err := d.addFolder("images"); err != nil {
		return err
	}
	if split == "" {
		return nil
	}
	files, names := d.files, d.names
	d.files, d.names = nil, nil
	for i, key := range imagefile.Keys(names) {
		if imagefile.InSplit(key, split) {
			d.files, d.names = append(d.files, files[i]), append(d.names, names[i])
		}
	}
	return nil
}

// anyPolygon looks for polygons in a few files of labels.
func (d *dataset) anyPolygon() bool {
	const most = 20
	for i := range min(most, len(d.files)) {
		at := i * len(d.files) / min(most, len(d.files))
		text, err := readText(d.path(labelFile(d.files[at])))
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			if len(strings.Fields(line)) > 6 {
				return true
			}
		}
	}
	return false
}

// parseLabels reads the objects in a w×h image.
func parseLabels(text string, classes, w, h int) ([]data.Object, error) {
	objects := []data.Object{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		o, err := parseLine(fields, classes, w, h)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if o.Box.Area() > 0 {
			objects = append(objects, o)
		}
	}
	return objects, nil
}

// slack is how far outside of the image a coordinate may be by its maker's rounding.
const slack = 0.01

func parseLine(fields []string, classes, w, h int) (o data.Object, err error) {
	v := make([]float64, len(fields))
	for i, f := range fields {
		if v[i], err = strconv.ParseFloat(f, 64); err != nil || math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
			return o, fmt.Errorf("%q is no number", f)
		}
	}
	if v[0] != math.Trunc(v[0]) || v[0] < 0 || int(min(v[0], 1e6)) >= classes {
		return o, fmt.Errorf("class %s of %d", fields[0], classes)
	}
	o = data.Object{Class: int(v[0]), Score: 1}
	for i, x := range v[1:] {
		if x < -slack || x > 1+slack {
			return o, fmt.Errorf("%s is not between 0 and 1: coordinates are fractions of the image", fields[1+i])
		}
	}
	fw, fh := float64(w), float64(h)
	switch n := len(v) - 1; {
	case n == 4 || n == 5:
		o.Box = data.Box{X0: (v[1] - v[3]/2) * fw, Y0: (v[2] - v[4]/2) * fh, X1: (v[1] + v[3]/2) * fw, Y1: (v[2] + v[4]/2) * fh}
		if n == 5 {
			o.Score = float32(v[5])
		}
	case n >= 6 && n%2 == 0:
		xy := make([]float64, n)
		o.Box = data.Box{X0: math.Inf(1), Y0: math.Inf(1), X1: math.Inf(-1), Y1: math.Inf(-1)}
		for i := 0; i < n; i += 2 {
			x, y := v[1+i]*fw, v[2+i]*fh
			xy[i], xy[i+1] = x, y
			o.Box = data.Box{X0: min(o.Box.X0, x), Y0: min(o.Box.Y0, y), X1: max(o.Box.X1, x), Y1: max(o.Box.Y1, y)}
		}
		m, err := rle.FromPolygon(xy, h, w)
		if err != nil {
			return o, err
		}
		o.Mask = m.Mask()
	default:
		return o, fmt.Errorf("%d numbers: want a class and a box (4), a box and a score (5), or the corners of a polygon", len(v))
	}
	o.Box = o.Box.Clip(w, h)
	return o, nil
}
