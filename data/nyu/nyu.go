// Package nyu reads NYU Depth v2 as it is passed around, and any other folder of photos with depth
// maps: pairs of an image and a 16-bit PNG or a .npy, found by their names or by the list files of
// BTS, and the labelled set as published, one MATLAB file.
//
//	bathroom/rgb_00045.jpg   bathroom/sync_depth_00045.png    BTS and AdaBins, millimetres
//	00000_colors.png         00000_depth.png                  DenseDepth
//	rgb/kitchen/7.jpg        depth/kitchen/7.png or .npy      MultiMAE, Ultralytics
//	nyudepthv2_test_files_with_gt.txt                         lines "rgb depth focal"
//	nyu_depth_v2_labeled.mat, splits.mat                      1449 images, 795 train and 654 test
package nyu

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/data/npy"
	depthlabel "must/task/depth"
)

// Open reads the set in src.Path.
//
// A folder with a list file for src.Split (one .txt with that word in its name, such as
// nyudepthv2_train_files_with_gt.txt; src.Set names another one) has the pairs of the list, relative to the
// folder or to one in it named after the split, sync, or official_splits/<split>. Without a list, the
// folder of the split, or the whole folder, is searched for pairs by name; where there is no folder of the
// split either, the split is told by the hash of the key (imagefile.InSplit). An image without a depth
// map has unknown depth.
//
// Values in a PNG are in units that only its maker knows: src.Scale, metres per unit, is required: 0.001
// for BTS, 10.0/65536 for MultiMAE. A .npy is in metres unless src.Scale says otherwise. Zeros,
// negative and infinite values are invalid, NaN. No image is opened yet.
//
// src.Units says what is stored, where it is not metric: relative, depth of unknown scale, or inverse, such
// as disparity, of unknown scale and shift. Both need no src.Scale, may be PNGs of 8 bits and give labels of
// inverse depth; of inverse values in a .npy only NaN and infinities are invalid.
//
// With nyu_depth_v2_labeled.mat as src.Path, or in it, see openLabeled.
func Open(src data.Source) (data.Dataset, error) {
	if src.Scale < 0 || math.IsNaN(src.Scale) || math.IsInf(src.Scale, 0) {
		return nil, fmt.Errorf("nyu: scale is %v, want metres per stored unit", src.Scale)
	}
	switch src.Units {
	case "", data.Metric, data.Relative, data.Inverse:
	default:
		return nil, fmt.Errorf("nyu: units is %q, want %s, %s or %s", src.Units, data.Metric, data.Relative, data.Inverse)
	}
	if file, ok := labeledFile(src.Path); ok {
		return openLabeled(file, src)
	}
	list, err := findList(src)
	if err != nil {
		return nil, err
	}
	d := &dataset{folder: src.Path, scale: src.Scale, units: cmp.Or(src.Units, data.Metric)}
	if list != "" {
		err = d.readList(list, src.Split)
	} else {
		err = d.search(src.Split)
	}
	if err != nil {
		return nil, err
	}
	for _, p := range d.pairs {
		if d.scale == 0 && d.units == data.Metric && path.Ext(p.depth) == ".png" {
			return nil, fmt.Errorf("%s: the values of %s have no unit: set scale to the metres in one, 0.001 if they are millimetres (BTS, AdaBins), 10/65536 = 0.000152587890625 for MultiMAE's", src.Path, p.depth)
		}
	}
	if d.scale == 0 {
		d.scale = 1
	}
	return d, nil
}

// A pair is an image and its depth map, "" if it has none; slash-separated, below the folder.
type pair struct{ image, depth string }

type dataset struct {
	folder string
	scale  float64
	units  string
	pairs  []pair
	keys   []string
}

func (d *dataset) Len() int         { return len(d.pairs) }
func (d *dataset) Key(i int) string { return d.keys[i] }

func (d *dataset) Labels() data.Labels {
	if d.units == data.Metric {
		return data.Labels{depthlabel.Name: {Units: data.Metric}}
	}
	return data.Labels{depthlabel.Name: {Units: data.Inverse}}
}

func (d *dataset) Sample(i int) (*data.Sample, error) {
	p := d.pairs[i]
	s, err := imagefile.Sample(d.keys[i], d.path(p.image))
	if err != nil || p.depth == "" {
		return s, err
	}
	m, err := d.readDepth(d.path(p.depth))
	if err == nil {
		if d.units == data.Relative {
			depthlabel.InvertMap(m)
		}
		if w, h := s.Image.Rect.Dx(), s.Image.Rect.Dy(); m.W != w || m.H != h {
			err = fmt.Errorf("%s: the depth map has %d×%d pixels, its image %d×%d", d.path(p.depth), m.W, m.H, w, h)
		}
	}
	if err != nil {
		return nil, &data.SampleError{Key: s.Key, Err: err}
	}
	depthlabel.Set(s, m)
	return s, nil
}

func (d *dataset) path(rel string) string { return filepath.Join(d.folder, filepath.FromSlash(rel)) }

// readDepth reads a 16-bit PNG or an array of [H, W], [H, W, 1] or [1, H, W].
func (d *dataset) readDepth(file string) (*data.Grid[float32], error) {
	if filepath.Ext(file) == ".png" {
		stored, err := d.readPNG(file)
		if err != nil {
			return nil, err
		}
		g := data.NewGrid[float32](stored.W, stored.H)
		for i, v := range stored.Pix {
			g.Pix[i] = valid(float64(v), d.scale)
		}
		return g, nil
	}
	a, err := npy.ReadFile(file)
	if err != nil {
		return nil, err
	}
	shape := a.Shape
	if len(shape) == 3 && shape[2] == 1 {
		shape = shape[:2]
	} else if len(shape) == 3 && shape[0] == 1 {
		shape = shape[1:]
	}
	if len(shape) != 2 {
		return nil, fmt.Errorf("%s: shape %v is no depth map, want rows and columns", file, a.Shape)
	}
	for i, v := range a.Values {
		switch {
		case d.units != data.Inverse:
			a.Values[i] = valid(float64(v), d.scale)
		case math.IsInf(float64(v), 0): // 0 is far away, and negative what a shift makes
			a.Values[i] = float32(math.NaN())
		}
	}
	return &data.Grid[float32]{W: shape[1], H: shape[0], Pix: a.Values}, nil
}

// readPNG reads stored values; 8 bits are enough where they have no unit.
func (d *dataset) readPNG(file string) (*data.Grid[uint16], error) {
	if d.units != data.Metric {
		if g, err := imagefile.DecodeIndex(file); err == nil {
			wide := data.NewGrid[uint16](g.W, g.H)
			for i, v := range g.Pix {
				wide.Pix[i] = uint16(v)
			}
			return wide, nil
		}
	}
	return imagefile.DecodeGray16(file)
}

// valid converts a stored value; what no sensor measures becomes NaN.
func valid(stored, scale float64) float32 {
	if !(stored > 0) || math.IsInf(stored, 1) {
		return float32(math.NaN())
	}
	return float32(stored * scale)
}

// findList returns the list file of the split, relative to the folder, "" if there is none.
func findList(src data.Source) (string, error) {
	entries, err := imagefile.ReadDir(src.Path)
	if err != nil {
		return "", err
	}
	var all, lists []string
	for _, e := range entries {
		if e.Dir || path.Ext(e.Name) != ".txt" {
			continue
		}
		all = append(all, e.Name)
		words := strings.FieldsFunc(strings.TrimSuffix(e.Name, ".txt"), func(r rune) bool { return strings.ContainsRune("_-. ", r) })
		if src.Split != "" && slices.Contains(words, src.Split) {
			lists = append(lists, e.Name)
		}
	}
	switch {
	case src.Set != "" && !slices.Contains(all, src.Set):
		return "", fmt.Errorf("%s: set is %q, but that is none of the list files in it: %s", src.Path, src.Set, strings.Join(all, ", "))
	case src.Set != "":
		return src.Set, nil
	case len(lists) > 1:
		return "", fmt.Errorf("%s: several lists for the split %s (%s): name one as set", src.Path, src.Split, strings.Join(lists, ", "))
	case len(lists) == 1:
		return lists[0], nil
	}
	return "", nil
}

// readList takes the pairs of a list file.
func (d *dataset) readList(name, split string) error {
	file := filepath.Join(d.folder, name)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pairs, err := parseList(string(text))
	if err != nil {
		return fmt.Errorf("%s:%w", file, err)
	}
	roots := []string{".", "sync", "official_splits/" + split}
	if fs.ValidPath(split) && split != "" {
		roots = append(roots, split)
	}
	root := slices.IndexFunc(roots, func(root string) bool {
		_, err := os.Stat(d.path(path.Join(root, pairs[0].image)))
		return err == nil
	})
	if root < 0 {
		return fmt.Errorf("%s: its first image %s is not below %s, nor below %s in it", file, pairs[0].image, d.folder, strings.Join(roots[1:], ", "))
	}
	var images []string
	for _, p := range pairs {
		p.image = path.Join(roots[root], p.image)
		if p.depth != "" {
			p.depth = path.Join(roots[root], p.depth)
		}
		d.pairs, images = append(d.pairs, p), append(images, p.image)
	}
	d.keys = imagefile.Keys(images)
	return nil
}

// parseList reads lines of an image, a depth map ("None": none) and a focal length, which is not used.
// BTS begins paths with a slash where it means none.
func parseList(text string) ([]pair, error) {
	var pairs []pair
	seen := map[string]bool{}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("%d: %.80q is no image and depth map", n, strings.TrimSpace(line))
		}
		p := pair{strings.TrimLeft(fields[0], "/"), strings.TrimLeft(fields[1], "/")}
		if p.depth == "None" {
			p.depth = ""
		}
		for _, f := range []string{p.image, p.depth} {
			if f != "" && (!fs.ValidPath(f) || !filepath.IsLocal(filepath.FromSlash(f))) || p.image == "" {
				return nil, fmt.Errorf("%d: %q is no path in the folder", n, f)
			}
		}
		if ext := path.Ext(p.depth); p.depth != "" && ext != ".png" && ext != ".npy" {
			return nil, fmt.Errorf("%d: %s is neither a .png nor a .npy", n, p.depth)
		}
		if !seen[p.image] {
			seen[p.image] = true
			pairs = append(pairs, p)
		}
	}
	if len(pairs) == 0 {
		return nil, errors.New("1: the list is empty")
	}
	return pairs, nil
}

// search finds pairs by their names.
func (d *dataset) search(split string) error {
	root, byHash := ".", false
	if split != "" {
		info, err := os.Stat(filepath.Join(d.folder, split))
		if err == nil && info.IsDir() && filepath.IsLocal(split) {
			root = split
		} else if err := imagefile.CheckSplit(split); err != nil {
			return fmt.Errorf("%s: no list and no folder of the split in it, and %w", d.folder, err)
		} else {
			byHash = true
		}
	}
	files, err := imagefile.ListFunc(d.path(root), func(name string) bool {
		return imagefile.HasExtension(name) || path.Ext(name) == ".npy"
	})
	if err != nil {
		return err
	}
	var images []string
	depthOf := map[string]string{} // by the image's path without extension
	for _, f := range files {
		f = path.Join(root, f)
		candidates := imagesOf(f)
		if candidates == nil {
			if path.Ext(f) != ".npy" {
				images = append(images, f)
			}
			continue
		}
		for _, c := range candidates {
			if path.Ext(depthOf[c]) != ".npy" { // where there are both, the array is the more exact
				depthOf[c] = f
			}
		}
	}
	depths := 0
	for i, key := range imagefile.Keys(images) {
		if byHash && !imagefile.InSplit(key, split) {
			continue
		}
		depth := depthOf[strings.TrimSuffix(images[i], path.Ext(images[i]))]
		if depth != "" {
			depths++
		}
		d.pairs, d.keys = append(d.pairs, pair{images[i], depth}), append(d.keys, key)
	}
	if depths == 0 {
		return fmt.Errorf("%s: none of its %d images has a depth map: want rgb_1.jpg with sync_depth_1.png, 1_colors.png with 1_depth.png, rgb/1.jpg with depth/1.png (or .npy), or a list file", d.path(root), len(d.pairs))
	}
	return nil
}

// Names and folders that tell a depth map, and those of its image.
var (
	depthName  = regexp.MustCompile(`^(?:sync_)?depth_(.+)$`)
	imageNames = []string{"rgb_", "image_", "img_"}
	depthEnds  = []string{"_depth", "_depth_filled"}
	imageEnds  = []string{"_colors", "_color", "_rgb", "_image", "_c", ""}
	depthDirs  = []string{"depth", "depths", "depth_filled", "disparity", "disparities", "RDs"}
	imageDirs  = []string{"rgb", "image", "images", "img", "imgs", "Imgs", "color", "colors"}
)

// imagesOf returns what the image of a depth map may be called, without extension; nil for a file
// that is no depth map.
func imagesOf(file string) []string {
	ext := path.Ext(file)
	if ext != ".png" && ext != ".npy" {
		return nil
	}
	dir, stem := path.Split(strings.TrimSuffix(file, ext))
	var out []string
	if m := depthName.FindStringSubmatch(stem); m != nil {
		for _, name := range imageNames {
			out = append(out, dir+name+m[1])
		}
	}
	stems := []string{stem} // that the image may have in a folder of images
	for _, end := range depthEnds {
		if base, ok := strings.CutSuffix(stem, end); ok {
			for _, end := range imageEnds {
				stems = append(stems, base+end)
				out = append(out, dir+base+end)
			}
		}
	}
	elements := strings.Split(dir, "/")
	for i, e := range slices.Backward(elements) {
		if slices.Contains(depthDirs, e) {
			for _, name := range imageDirs {
				elements[i] = name
				for _, stem := range stems {
					out = append(out, strings.Join(elements, "/")+stem)
				}
			}
			break
		}
	}
	return out
}
