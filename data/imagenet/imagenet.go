// Package imagenet reads ImageNet's classification set (ILSVRC2012) as its publisher and its mirrors
// ship it: class folders, the layout of Kaggle, or the original tars without unpacking them.
//
//	train/n01440764/n01440764_10026.JPEG    val/n01440764/ILSVRC2012_val_00000293.JPEG
//	train/n01440764.tar                     val/ILSVRC2012_val_00000293.JPEG
//	ILSVRC/Data/CLS-LOC/{train,val}         LOC_synset_mapping.txt, LOC_val_solution.csv
//	ILSVRC2012_img_train.tar (a tar of 1000 tars), ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz
//
// A class is a WordNet id such as n01440764; its index is its position among the sorted ids, as in all
// frameworks. The devkit numbers classes otherwise.
package imagenet

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/task/classification"
)

// The published archives.
const (
	trainTar = "ILSVRC2012_img_train.tar"
	valTar   = "ILSVRC2012_img_val.tar"
)

var wnidPattern = regexp.MustCompile(`^n[0-9]{8}$`)

// Open reads the set in src.Path, a folder in one of the layouts above. src.Split is train or val.
//
// Classes are those of LOC_synset_mapping.txt, synset_words.txt or the devkit, where there is one, with
// their names in words; else the ids of all class folders and labels found. Images of a flat val
// folder or tar get their class from LOC_val_solution.csv, val_annotations.txt,
// imagenet_2012_validation_synset_labels.txt or the devkit, see truth.
//
// Keys and their order are the same in every layout: train/n01440764/n01440764_10026 and
// val/ILSVRC2012_val_00000293. Opening a tar reads its headers, a few minutes for the 1.28 million of the
// training set on a disk at rest; what it finds is kept in the user's cache folder, so that the next opening
// takes seconds. Images are decoded by their content: one of the JPEGs is a PNG, some are CMYK.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set != "" {
		return nil, fmt.Errorf("imagenet has no subsets, but subset is %q: leave it out", src.Set)
	}
	if src.Split != "train" && src.Split != "val" {
		return nil, data.NoPart(fmt.Errorf("imagenet: split is %q, want train or val (the labels of test were never published)", src.Split))
	}
	if _, err := imagefile.ReadDir(src.Path); err != nil {
		return nil, err
	}
	d := &dataset{}
	parts := map[string]*part{}
	for _, split := range []string{"train", "val"} {
		p, err := findPart(src.Path, split)
		if err != nil {
			return nil, err
		}
		parts[split] = p
	}
	p := parts[src.Split]
	if p == nil {
		return nil, fmt.Errorf("%s: no %s images: want a folder %[2]s (or ILSVRC/Data/CLS-LOC/%[2]s) with class folders such as n01440764, or %s",
			src.Path, src.Split, map[string]string{"train": trainTar, "val": valTar}[src.Split])
	}
	t, err := readTables(src.Path)
	if err != nil {
		return nil, err
	}
	ids := t.ids(parts)
	if err := d.add(p, t, ids, src.Split); err != nil {
		return nil, err
	}
	d.classes = t.names(ids)
	return d, nil
}

type dataset struct {
	classes []string
	dir     string   // of the files
	tars    []source // of the others
	keys    []string
	images  []location
}

// A location says where the bytes of an image are.
type location struct {
	file         string // below dir; "": in a tar
	tar          int32
	class        int32 // −1: unknown
	offset, size int64
}

func (d *dataset) Len() int            { return len(d.images) }
func (d *dataset) Labels() data.Labels { return data.Labels{classification.Name: {Classes: d.classes}} }
func (d *dataset) Key(i int) string    { return d.keys[i] }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	at := d.images[i]
	var s *data.Sample
	var err error
	if at.file != "" {
		s, err = imagefile.Sample(d.keys[i], filepath.Join(d.dir, filepath.FromSlash(at.file)))
	} else {
		s, err = d.unpack(i)
	}
	if err != nil {
		return nil, err
	}
	if at.class >= 0 {
		classification.Set(s, make([]float32, len(d.classes)))
		classification.Of(s)[at.class] = 1
	}
	return s, nil
}

// unpack decodes an image in a tar.
func (d *dataset) unpack(i int) (*data.Sample, error) {
	at := d.images[i]
	s := &data.Sample{Key: d.keys[i]}
	file := d.tars[at.tar].file
	f, err := os.Open(file)
	if err == nil {
		defer f.Close()
		content := make([]byte, at.size)
		if _, err = io.ReadFull(io.NewSectionReader(f, at.offset, at.size), content); err == nil {
			s.Image, err = imagefile.DecodeMember(s.Key, content)
		}
	}
	if err != nil {
		return nil, &data.SampleError{Key: s.Key, File: file, Err: err}
	}
	return s, nil
}

// A part is where the images of a split are: a folder of class folders and class tars, a flat folder, or the
// published tar.
type part struct {
	path    string   // of the folder or the tar
	ids     []string // of the classes that folders and tars are called after, sorted
	folders []string // the ids of class folders
	flat    bool     // images are in the folder itself
	tars    []source
}

// findPart looks for a split in every layout; nil if it is in none.
func findPart(root, split string) (*part, error) {
	for _, above := range []string{".", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC"} {
		dir := filepath.Join(root, filepath.FromSlash(above), split)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		entries, err := imagefile.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		p := &part{path: dir}
		images := false
		for _, e := range entries {
			id, isTar := strings.CutSuffix(e.Name, ".tar")
			switch {
			case e.Dir && wnidPattern.MatchString(e.Name):
				p.folders = append(p.folders, e.Name)
			case !e.Dir && isTar && wnidPattern.MatchString(id):
				tar, err := wholeFile(filepath.Join(dir, e.Name), id)
				if err != nil {
					return nil, err
				}
				p.tars = append(p.tars, tar)
			}
			images = images || e.Dir || imagefile.HasExtension(e.Name) // Tiny ImageNet's are in val/images
		}
		p.setIDs()
		p.flat = len(p.ids) == 0 && split == "val" && images
		if p.flat || len(p.ids) > 0 {
			return p, nil
		}
	}
	p := &part{path: filepath.Join(root, map[string]string{"train": trainTar, "val": valTar}[split])}
	whole, err := wholeFile(p.path, "")
	if err != nil {
		return nil, nil
	}
	if p.tars = []source{whole}; split == "train" {
		if p.tars, err = classTars(p.path); err != nil {
			return nil, err
		}
		p.setIDs()
	}
	return p, nil
}

func (p *part) setIDs() {
	p.ids = slices.Clone(p.folders)
	for _, t := range p.tars {
		p.ids = append(p.ids, t.id)
	}
	slices.Sort(p.ids)
	p.ids = slices.Compact(p.ids)
}

// A found image has its name and its location, the class not yet.
type found struct {
	name string // id/name.JPEG, or name.JPEG where no folder tells the class
	at   location
}

// add lists the images of a part and gives them keys and classes.
func (d *dataset) add(p *part, t *tables, ids []string, split string) error {
	images, err := d.list(p)
	if err != nil {
		return err
	}
	if len(images) == 0 {
		return fmt.Errorf("%s: no images in it", p.path)
	}
	if len(ids) == 0 {
		return fmt.Errorf("%s: nothing tells the classes of its images: sort them into class folders, or put LOC_val_solution.csv or ILSVRC2012_devkit_t12.tar.gz into the folder of the set", p.path)
	}
	index := make(map[string]int32, len(ids))
	for i, id := range ids {
		index[id] = int32(i)
	}

	labelled := 0
	names := make([]string, len(images))
	for i := range images {
		im := &images[i]
		id, _, inFolder := strings.Cut(im.name, "/")
		base := path.Base(im.name)
		if !inFolder || !wnidPattern.MatchString(id) {
			id = t.truth[strings.TrimSuffix(base, path.Ext(base))]
		}
		class, ok := index[id]
		if id != "" && !ok {
			return fmt.Errorf("%s: class %s of %s is not among the %d of %s", p.path, id, im.name, len(ids), t.source)
		}
		if im.at.class = -1; id != "" {
			im.at.class = class
			labelled++
		}
		if split == "val" {
			im.name = base
		}
	}
	if labelled == 0 {
		return fmt.Errorf("%s: none of its %d images has a class in %s", p.path, len(images), t.truthSource)
	}
	slices.SortFunc(images, func(a, b found) int { return strings.Compare(a.name, b.name) })
	for i, im := range images {
		if i > 0 && im.name == images[i-1].name {
			return fmt.Errorf("%s: two images are called %s: use the format imagefolder for folders that are not ImageNet's", p.path, im.name)
		}
		names[i] = split + "/" + im.name
		d.images = append(d.images, im.at)
	}
	d.keys = imagefile.Keys(names)
	return nil
}

// list finds the images of a part.
func (d *dataset) list(p *part) ([]found, error) {
	d.dir, d.tars = p.path, p.tars
	roots := p.folders
	if p.flat {
		roots = []string{"."}
	}
	var out []found
	for _, root := range roots {
		files, err := imagefile.List(filepath.Join(p.path, root))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			name := path.Join(root, f)
			out = append(out, found{name, location{file: name}})
		}
	}
	if len(p.tars) == 0 {
		return out, nil
	}
	ix, err := openIndex(p.tars)
	if err != nil {
		return nil, err
	}
	for i, t := range p.tars {
		for _, m := range ix.Members[i] {
			out = append(out, found{path.Join(t.id, m.Name), location{tar: int32(i), offset: m.Offset, size: m.Size}})
		}
	}
	return out, nil
}
