// Package ade20k reads the scene parsing benchmark made of ADE20K (ADEChallengeData2016) and sets in
// its layout: photos with semantic maps.
//
//	images/{training,validation}/ADE_train_00000001.jpg
//	annotations/{training,validation}/ADE_train_00000001.png    8 bits grey: 0 other, 1 to 150 the classes
//	objectInfo150.txt
package ade20k

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/classes"
	"must/data/frame"
	"must/data/imagefile"
	"must/data/text"
	"must/task/segmentation"
)

// Classes are the 150 classes of the benchmark: the first of the synonyms in objectInfo150.txt.
var Classes = []string{
	"wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass",
	"cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair",
	"car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field",
	"armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion",
	"base", "box", "column", "signboard", "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace",
	"refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway",
	"river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench",
	"countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel",
	"bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver",
	"airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet",
	"poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool",
	"stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball",
	"food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
	"screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan",
	"pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
}

// folders are those of each split.
var folders = map[string][]string{"": {"training", "validation"}, "train": {"training"}, "val": {"validation"}}

// maxClasses is how many a map can tell apart: 0 is other, and 255 would be class 254.
const maxClasses = 254

// Open reads the set in src.Path: the folder with images and annotations, or the one above it.
// src.Split is train, val, or "" for both. Keys are paths below images, as training/ADE_train_00000001.
//
// A semantic map holds the stored value less one; 0, which is whatever is none of the classes, is
// data.Ignore. Class names come from objectInfo150.txt or .csv, the first of the synonyms (all of them
// where two classes would share it), or from one of classes.Files; without any of these they are Classes where
// all images are called as the benchmark's, else the numbers in the maps. An image without a map is unlabelled.
// Opening lists the folders and opens no image, unless it has to look for numbers.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set != "" {
		return nil, fmt.Errorf("ade20k has no subsets, but subset is %q: leave it out", src.Set)
	}
	splits, ok := folders[src.Split]
	if !ok {
		return nil, data.NoPart(fmt.Errorf("ade20k: split is %q, want train or val", src.Split))
	}
	if err := frame.Check(src.Frame); err != nil {
		return nil, err
	}
	root, err := findRoot(src.Path)
	if err != nil {
		return nil, err
	}
	d := &dataset{root: root, frame: src.Frame}
	for _, split := range splits {
		files, err := imagefile.List(filepath.Join(root, "images", split))
		if err != nil {
			if src.Split == "" && !isDir(filepath.Join(root, "images", split)) {
				continue
			}
			return nil, err
		}
		if !isDir(filepath.Join(root, "annotations", split)) {
			return nil, data.NoPart(fmt.Errorf("%s: no folder annotations/%s in it", root, split))
		}
		for _, f := range files {
			d.files = append(d.files, path.Join(split, f))
		}
	}
	if len(d.files) == 0 {
		return nil, fmt.Errorf("%s: no images in its %s", filepath.Join(root, "images"), strings.Join(splits, " and "))
	}
	d.keys = imagefile.Keys(d.files)
	maps, err := imagefile.ListFunc(filepath.Join(root, "annotations"), func(name string) bool { return path.Ext(name) == ".png" })
	if err != nil {
		return nil, err
	}
	if err := d.findLegend(maps, src); err != nil {
		return nil, err
	}
	d.pair(maps)
	return d, nil
}

var official = regexp.MustCompile(`(?:^|/)ADE_(?:train|val)_\d+\.[a-z]+$`)

// findLegend names the classes.
func (d *dataset) findLegend(maps []string, src data.Source) error {
	names, err := readClasses(d.root, src.Text)
	if err != nil {
		return err
	}
	var t *classes.Table
	if names != nil {
		t = &classes.Table{Names: names}
	} else if t, err = classes.Find(src.Text, d.root); err != nil {
		return err
	}
	switch {
	case t != nil && classes.Background(t.Names[0]) && len(t.Names) > 1: // of value 0, which is none of the classes
		t.Names, t.Colours = t.Names[1:], nil
	case t == nil && !slices.ContainsFunc(d.files, func(f string) bool { return !official.MatchString(f) }):
		t = &classes.Table{Names: Classes}
	}
	files := make([]string, len(maps))
	for i, m := range maps {
		files[i] = filepath.Join(d.root, "annotations", filepath.FromSlash(m))
	}
	d.numbered = t == nil
	if d.legend, err = classes.ForMaps(t, files, 1, src.Void, "0"); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(d.root, "annotations"), err)
	}
	return nil
}

// pair finds the map of each image: of its name, with or without the extension. A map that two images could mean
// is neither's.
func (d *dataset) pair(maps []string) {
	there := make(map[string]bool, len(maps))
	for _, m := range maps {
		there[m] = true
	}
	users := map[string]int{}
	d.maps = make([]string, len(d.files))
	for i, f := range d.files {
		for _, name := range []string{f + ".png", strings.TrimSuffix(f, path.Ext(f)) + ".png"} {
			if there[name] {
				d.maps[i] = name
				users[name]++
				break
			}
		}
	}
	for i, m := range d.maps {
		if users[m] > 1 {
			d.maps[i] = ""
		}
	}
}

// findRoot returns the folder with images and annotations: dir or one in it.
func findRoot(dir string) (string, error) {
	if isDir(filepath.Join(dir, "images")) && isDir(filepath.Join(dir, "annotations")) {
		return dir, nil
	}
	entries, err := imagefile.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		below := filepath.Join(dir, e.Name)
		if e.Dir && isDir(filepath.Join(below, "images", "training")) && isDir(filepath.Join(below, "annotations", "training")) {
			return below, nil
		}
	}
	return "", fmt.Errorf("%s: not in the layout of ADEChallengeData2016, there are no folders images and annotations"+
		" (the full ADE20K has other labels and is another format)", dir)
}

func isDir(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// readClasses reads the names in the folder; nil where there are none.
func readClasses(root, encoding string) ([]string, error) {
	for _, name := range []string{"objectInfo150.txt", "objectInfo150.csv"} {
		file := filepath.Join(root, name)
		content, err := text.ReadFileAs(file, encoding)
		if !text.Exists(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names, err := parseObjectInfo(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return names, nil
	}
	return nil, nil
}

// parseObjectInfo reads a table with the columns Idx and Name, among others, separated by tabs (synonyms
// by commas) or commas (synonyms by semicolons).
func parseObjectInfo(text string) ([]string, error) {
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	separator, synonym := ",", ";"
	if strings.Contains(lines[0], "\t") {
		separator, synonym = "\t", ","
	}
	header := cells(lines[0], separator)
	index, name := slices.Index(header, "Idx"), slices.Index(header, "Name")
	if index < 0 || name < 0 {
		return nil, fmt.Errorf("line 1 has the columns %q, but Idx and Name are needed", header)
	}
	var short, full []string
	for n, line := range lines[1:] {
		if strings.TrimSpace(line) == "" {
			continue
		}
		row := cells(line, separator)
		if len(row) <= max(index, name) {
			return nil, fmt.Errorf("line %d has %d columns, line 1 has %d", n+2, len(row), len(header))
		}
		if i, err := strconv.Atoi(row[index]); err != nil || i != len(full)+1 {
			return nil, fmt.Errorf("line %d has Idx %q, want %d", n+2, row[index], len(full)+1)
		}
		first, _, _ := strings.Cut(row[name], synonym)
		if first = strings.TrimSpace(first); first == "" {
			return nil, fmt.Errorf("line %d has no Name", n+2)
		}
		short, full = append(short, first), append(full, row[name])
	}
	if len(full) == 0 || len(full) > maxClasses {
		return nil, fmt.Errorf("%d classes, want 1 to %d", len(full), maxClasses)
	}
	count := map[string]int{}
	for _, s := range short {
		count[s]++
	}
	for i, s := range short {
		if count[s] > 1 {
			short[i] = full[i]
		}
	}
	return short, nil
}

// cells splits a row, and takes spaces and quotes off its cells.
func cells(line, separator string) []string {
	row := strings.Split(line, separator)
	for i, c := range row {
		row[i] = strings.Trim(c, " \t\r\"")
	}
	return row
}

type dataset struct {
	root        string
	frame       string
	legend      *classes.Legend
	numbered    bool
	files, keys []string // files are relative to images
	maps        []string // relative to annotations; "": none
	counts      frame.Counts
}

func (d *dataset) Len() int { return len(d.files) }
func (d *dataset) Labels() data.Labels {
	return data.Labels{segmentation.Name: {Classes: d.legend.Names}}
}
func (d *dataset) Key(i int) string             { return d.keys[i] }
func (d *dataset) Carries(i int, _ string) bool { return d.maps[i] != "" }

// Notes tells what is not labelled, and what was taken for granted.
func (d *dataset) Notes() (notes []string) {
	without := 0
	for _, m := range d.maps {
		if m == "" {
			without++
		}
	}
	if without > 0 {
		notes = append(notes, fmt.Sprintf("images without a map, or with one that two images could mean, left unlabelled: %d", without))
	}
	if d.numbered {
		notes = append(notes, "classes are called by their numbers in the maps, of which 0 is none, as in ADE20K: list their names from 1 on in classes.txt; for maps of which 0 is a class use the format masks")
	}
	return append(notes, d.counts.Notes()...)
}

func (d *dataset) Sample(i int) (*data.Sample, error) {
	file := filepath.Join(d.root, "images", filepath.FromSlash(d.files[i]))
	if d.maps[i] == "" {
		return imagefile.Sample(d.keys[i], file)
	}
	mapFile := filepath.Join(d.root, "annotations", filepath.FromSlash(d.maps[i]))
	g, err := d.legend.Read(mapFile)
	if err != nil {
		return nil, &data.SampleError{Key: d.keys[i], Err: err} // it names the file
	}
	s, f, err := frame.Sample(d.keys[i], file, d.frame, g.W, g.H, &d.counts)
	if err != nil {
		return nil, err
	}
	m, err := frame.Grid(f, g)
	if err != nil {
		return nil, &data.SampleError{Key: s.Key, File: mapFile, Err: err}
	}
	segmentation.Set(s, m)
	return s, nil
}
