// Package yolo reads sets in the layout of YOLO (Ultralytics): boxes, polygons or poses in a text file for
// each image.
//
//	data.yaml                 names of the classes, folders or lists of the parts
//	images/train/a.jpg        labels/train/a.txt: class x y width height, fractions of the image
//	classes.txt               in place of data.yaml
package yolo

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/frame"
	"must/data/imagefile"
	"must/data/text"
	"must/task/detection"
)

// Open reads the set in src.Path: the folder with data.yaml (or another .yaml with names), that file
// itself, or a folder with images, labels and classes.txt. src.Split is train, val or test as the
// file has them; "" is all of them. In a folder without data.yaml parts are the folders of images
// called so, else they are told by the hash of the key (imagefile.InSplit).
//
// The file of labels has the path of the image with labels in place of the last folder images; where it is not
// there, of another folder images, or it lies beside the image. An empty file says that there are no objects; no
// file, that they are unknown (Ultralytics takes it as none). So does a file that two images could mean, a.jpg
// and a.png. What a line holds is in lines.go. An object without area leaves its class unknown in the image.
//
// All files of labels are read now, on all cores: what lines hold is told by all of them. Fractions are of the
// picture as shown, as Ultralytics takes them, unless src.Frame says otherwise.
//
// Paths in the file are relative to it and stay in its folder: "../" in front, which some exporters
// write, is left out; an absolute path of another machine is found by its end.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set != "" {
		return nil, fmt.Errorf("yolo has no subsets, but subset is %q: leave it out", src.Set)
	}
	if err := cmp.Or(imagefile.CheckSplit(src.Split), frame.Check(src.Frame)); err != nil {
		return nil, err
	}
	d := &dataset{root: src.Path, encoding: src.Text, frame: src.Frame, known: map[string]int{}, members: map[string]bool{}, parts: map[string][]int32{}, dirs: map[string]map[string]string{}}
	file, err := d.findConfig()
	if err != nil {
		return nil, err
	}
	d.spec, err = declared(src.Lines)
	if err != nil {
		return nil, err
	}
	if file != "" {
		err = d.configured(file, src.Split)
	} else {
		err = d.plain()
	}
	if err != nil {
		return nil, err
	}
	d.name()
	d.findLabels()
	if err := d.scan(); err != nil {
		return nil, err
	}
	d.known, d.members, d.dirs = nil, nil, nil
	if d.pick(src.Split, file != ""); len(d.picked) == 0 {
		return nil, data.NoPart(fmt.Errorf("%s: no images in its %q part", src.Path, src.Split))
	}
	return d, nil
}

type dataset struct {
	root     string
	encoding string
	frame    string
	classes  []string
	spec     spec
	pictures []picture // of all parts
	parts    map[string][]int32
	picked   []int32                      // those of the part
	known    map[string]int               // index by file
	members  map[string]bool              // of parts
	dirs     map[string]map[string]string // what is in folders, by lower-case name
	notes    []string
	counts   frame.Counts
}

// A picture is an image of the set.
type picture struct {
	file   string // below root
	key    string
	label  string // file of its labels, below root; "": none
	shared bool   // another image could mean that file too
	sum    summary
}

func (d *dataset) Len() int         { return len(d.picked) }
func (d *dataset) Key(i int) string { return d.pictures[d.picked[i]].key }
func (d *dataset) Labels() data.Labels {
	return data.Labels{detection.Name: {Classes: d.classes, Masks: d.spec.polygons}}
}

// Carries tells of the files of labels.
func (d *dataset) Carries(i int, task string) bool {
	p := &d.pictures[d.picked[i]]
	return task == detection.Name && p.label != "" && !p.shared && p.sum.err == nil
}

func (d *dataset) Sample(i int) (*data.Sample, error) {
	p := &d.pictures[d.picked[i]]
	s, f, err := frame.Sample(p.key, d.path(p.file), d.frame, 0, 0, &d.counts)
	if err != nil || p.label == "" || p.shared {
		return s, err
	}
	content, err := text.ReadFileAs(d.path(p.label), d.encoding)
	if err != nil { // it names the file
		return nil, &data.SampleError{Key: s.Key, Err: err}
	}
	objects, unknown, err := d.spec.parse(content, len(d.classes), f)
	if err != nil {
		return nil, &data.SampleError{Key: s.Key, File: d.path(p.label), Err: err}
	}
	s.Put(detection.NewPartial(objects, unknown))
	return s, nil
}

// Notes tells what was lost, and what could not be told.
func (d *dataset) Notes() []string {
	var none, shared, lost, twice, broken int
	first := ""
	for _, i := range d.picked {
		p := &d.pictures[i]
		switch {
		case p.label == "":
			none++
		case p.shared:
			shared++
			first = cmp.Or(first, p.file)
		case p.sum.err != nil:
			broken++
		}
		lost += p.sum.lost
		twice += p.sum.twice
	}
	notes := slices.Clone(d.notes)
	for _, n := range []struct {
		n    int
		what string
	}{
		{none, "images without a file of labels, whose objects are unknown (an empty file says that there are none)"},
		{shared, "images that share a file of labels with one of another ending, such as " + first + ", left unlabelled"},
		{broken, "images whose file of labels cannot be read"},
		{lost, "objects without area in their image, dropped (their class is unknown there)"},
		{twice, "lines that repeat one before them, dropped"},
	} {
		if n.n > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d", n.what, n.n))
		}
	}
	return append(notes, d.counts.Notes()...)
}

func (d *dataset) path(rel string) string { return filepath.Join(d.root, filepath.FromSlash(rel)) }

// add adds an image of a part, "" for a set without parts; once, however many places name it.
func (d *dataset) add(file, part string) {
	i, ok := d.known[file]
	if !ok {
		i = len(d.pictures)
		d.known[file] = i
		d.pictures = append(d.pictures, picture{file: file})
	}
	if member := part + "\x00" + file; !d.members[member] {
		d.members[member] = true
		d.parts[part] = append(d.parts[part], int32(i))
	}
}

func (d *dataset) addFolder(folder, part string) error {
	files, err := imagefile.List(d.path(folder))
	if err != nil {
		return err
	}
	for _, f := range files {
		d.add(path.Join(folder, f), part)
	}
	return nil
}

// name makes keys: paths below the last folder images, or, where two images would have one key so, below the
// set's folder, for all of them. Keys are the same whichever part is opened.
func (d *dataset) name() {
	short, long := make([]string, len(d.pictures)), make([]string, len(d.pictures))
	of := map[string]string{} // folder that a short name without extension comes from
	distinct := true
	for i, p := range d.pictures {
		short[i], long[i] = p.file, p.file
		if at := strings.LastIndex("/"+p.file, "/images/"); at >= 0 {
			short[i] = p.file[at+len("images/"):]
			long[i] = p.file[:at] + short[i]
		}
		stem, dir := strings.TrimSuffix(short[i], path.Ext(short[i])), path.Dir(p.file)
		if before, taken := of[stem]; taken && before != dir {
			distinct = false
		}
		of[stem] = dir
	}
	names := short
	if !distinct {
		names = long
		if twice(long) {
			for i, p := range d.pictures {
				names[i] = p.file
			}
		}
	}
	for i, key := range imagefile.Keys(names) {
		d.pictures[i].key = key
	}
}

func twice(names []string) bool {
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		if seen[n] {
			return true
		}
		seen[n] = true
	}
	return false
}

// pick takes the images of a part.
func (d *dataset) pick(split string, named bool) {
	if part, ok := d.parts[split]; split != "" && (ok || named) {
		d.picked = part
		return
	}
	if split != "" {
		d.notes = append(d.notes, imagefile.ByHash(split))
	}
	for i, p := range d.pictures { // without data.yaml, a part that is no folder is told by hash
		if split == "" || imagefile.InSplit(p.key, split) {
			d.picked = append(d.picked, int32(i))
		}
	}
}

// LabelFile returns where the field's programs look for the labels of an image: its path with labels in place
// of the last folder images.
func LabelFile(image string) string { return labelFiles(image)[0] }

// labelFiles returns where labels of an image may be, the likeliest place first.
func labelFiles(image string) (places []string) {
	stem := strings.TrimSuffix(image, path.Ext(image)) + ".txt"
	parts := strings.Split(stem, "/")
	for i := len(parts) - 2; i >= 0; i-- {
		if parts[i] == "images" {
			parts[i] = "labels"
			places = append(places, strings.Join(parts, "/"))
			parts[i] = "images"
		}
	}
	return append(places, stem)
}

// findLabels finds the file of labels of each image.
func (d *dataset) findLabels() {
	users := map[string][]int{}
	for i := range d.pictures {
		p := &d.pictures[i]
		for _, place := range labelFiles(p.file) {
			if p.label = d.there(place); p.label != "" {
				users[p.label] = append(users[p.label], i)
				break
			}
		}
	}
	for _, pictures := range users {
		for _, i := range pictures {
			d.pictures[i].shared = len(pictures) > 1
		}
	}
}

// there returns the name of a file, whatever the case of its extension; "" if there is none.
func (d *dataset) there(file string) string {
	dir, base := path.Split(file)
	names, listed := d.dirs[dir]
	if !listed {
		names = map[string]string{}
		if entries, err := os.ReadDir(d.path(dir)); err == nil {
			for _, e := range entries {
				name := e.Name()
				if ext := path.Ext(name); strings.EqualFold(ext, ".txt") {
					names[strings.TrimSuffix(name, ext)+".txt"] = name
				}
			}
		}
		d.dirs[dir] = names
	}
	if name, ok := names[base]; ok {
		return dir + name
	}
	return ""
}

// scan reads all files of labels, to tell what their lines hold and what is lost of them.
func (d *dataset) scan() error {
	files := make([]string, len(d.pictures))
	for i, p := range d.pictures {
		if p.label != "" && !p.shared {
			files[i] = d.path(p.label)
		}
	}
	sums, err := d.spec.scan(files, len(d.classes), d.encoding)
	if err != nil {
		return fmt.Errorf("%s: %w", d.root, err)
	}
	for i, sum := range sums {
		d.pictures[i].sum = sum
	}
	return nil
}

// plain reads a folder with images, labels and names of classes.
func (d *dataset) plain() error {
	for _, name := range []string{"classes.txt", "labels/classes.txt", "obj.names"} {
		list, err := text.List(d.path(name))
		if !text.Exists(err) {
			continue
		}
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("%s: no names in it", d.path(name))
		}
		d.classes = list
		break
	}
	if d.classes == nil {
		return fmt.Errorf("%s: neither a data.yaml nor a classes.txt in it tells the names of the classes", d.root)
	}
	folder := "images"
	if info, err := os.Stat(d.path(folder)); err != nil || !info.IsDir() {
		folder = "."
	}
	files, err := imagefile.List(d.path(folder))
	if err != nil {
		return err
	}
	for _, f := range files {
		part := ""
		if first, _, below := strings.Cut(f, "/"); below && slices.Contains(imagefile.Splits, first) {
			part = first
		}
		d.add(path.Join(folder, f), part)
	}
	if len(files) == 0 {
		return errors.New(d.root + ": no images in it")
	}
	return nil
}
