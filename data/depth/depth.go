// Package depth reads pairs of image and depth map, as people keep them and as several public sets have them.
//
//	bathroom/rgb_00045.jpg, bathroom/sync_depth_00045.png     BTS, AdaBins
//	00000_colors.png, 00000_depth.png                         DenseDepth
//	rgb/….jpg, depth/….png, .npy, .exr or .pfm                MultiMAE, Ultralytics, one's own
//	test_files_with_gt.txt                                    lists of lines "rgb depth focal"
//	rgb.txt, depth.txt                                        TUM RGB-D: by time (set: tum)
//	proj_depth/groundtruth/image_02/0000000005.png            KITTI (set: kitti)
package depth

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/frame"
	"must/data/imagefile"
	"must/data/pairs"
	"must/data/text"
	depthlabel "must/task/depth"
)

// The conventions that src.Set can name.
const (
	kitti = "kitti"
	tum   = "tum"
)

// Open reads the set in src.Path.
//
// A folder with a list file for src.Split (one .txt with that word in its name, such as
// nyudepthv2_train_files_with_gt.txt; src.Set names another one) has the pairs of the list, relative to the
// folder or to one in it named after the split, sync, or official_splits/<split>. Without a list, the folder is
// searched for pairs by the rules of [Rules]; the part is told by folders called train, val and test, or, where
// there are none, by the hash of the key. An image without a depth map has unknown depth; so have a.jpg and a.png
// with one map a.png. What maps hold is in [Reader].
//
// src.Set may name a convention: kitti, the folders of KITTI's depth benchmark, scale 1/256; tum, sequences of the
// TUM RGB-D benchmark, images and maps matched by time, at most 0.02 s apart, scale 1/5000.
//
// A map of another size than its image is an error, unless src.Frame says that pictures were resized.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set == kitti && src.Scale == 0 {
		src.Scale = 1. / 256
	}
	if src.Set == tum && src.Scale == 0 {
		src.Scale = 1. / 5000
	}
	r, err := NewReader(src.Scale, src.Units, src.Void)
	if err = cmp.Or(err, frame.Check(src.Frame)); err != nil {
		return nil, err
	}
	d := &dataset{folder: src.Path, reader: r, frame: src.Frame, encoding: src.Text}
	switch src.Set {
	case kitti:
		err = d.search(src.Split, kittiImages)
	case tum:
		err = d.sequences(src.Split)
	default:
		var list string
		if list, err = findList(src); err != nil {
			return nil, err
		}
		var names map[string]bool
		if list != "" {
			names, err = d.namesIn(list)
		}
		switch {
		case err != nil:
		case names != nil:
			err = d.listed(list, names)
		case list != "":
			err = d.readList(list, src.Split)
		default:
			err = d.search(src.Split, nil)
		}
	}
	if err != nil {
		return nil, err
	}
	return d, d.check()
}

// check refuses a set whose maps cannot be understood, by one of each kind.
func (d *dataset) check() error {
	seen := map[string]bool{}
	for _, p := range d.pairs {
		ext := strings.ToLower(path.Ext(p.depth))
		if p.depth == "" || seen[ext] {
			continue
		}
		seen[ext] = true
		if err := d.reader.Need(d.path(p.depth)); err != nil {
			return fmt.Errorf("%s: %s: %w", d.folder, p.depth, err)
		}
	}
	return nil
}

// A pair is an image and its depth map, "" if it has none; slash-separated, below the folder.
type pair struct{ image, depth string }

type dataset struct {
	folder   string
	reader   Reader
	frame    string
	encoding string
	pairs    []pair
	keys     []string
	notes    []string
	counts   frame.Counts
}

func (d *dataset) Len() int                     { return len(d.pairs) }
func (d *dataset) Key(i int) string             { return d.keys[i] }
func (d *dataset) Carries(i int, _ string) bool { return d.pairs[i].depth != "" }
func (d *dataset) Notes() []string              { return append(slices.Clone(d.notes), d.counts.Notes()...) }
func (d *dataset) Labels() data.Labels          { return data.Labels{depthlabel.Name: {Units: d.reader.Unit()}} }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	p := d.pairs[i]
	if p.depth == "" {
		return imagefile.Sample(d.keys[i], d.path(p.image))
	}
	g, err := d.reader.Read(d.path(p.depth))
	if err != nil {
		return nil, &data.SampleError{Key: d.keys[i], Err: err}
	}
	s, f, err := frame.Sample(d.keys[i], d.path(p.image), d.frame, g.W, g.H, &d.counts)
	if err != nil {
		return nil, err
	}
	if g, err = frame.Grid(f, g); err != nil {
		return nil, &data.SampleError{Key: s.Key, File: d.path(p.depth), Err: err}
	}
	depthlabel.Set(s, g)
	return s, nil
}

func (d *dataset) path(rel string) string { return filepath.Join(d.folder, filepath.FromSlash(rel)) }

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
		return "", fmt.Errorf("%s: subset is %q, but that is neither kitti nor tum nor one of the list files in it: %s", src.Path, src.Set, strings.Join(all, ", "))
	case src.Set != "":
		return src.Set, nil
	case slices.Contains(lists, src.Split+".txt"):
		return src.Split + ".txt", nil
	case len(lists) > 1:
		return "", fmt.Errorf("%s: several lists for the split %s (%s): name one as subset", src.Path, src.Split, strings.Join(lists, ", "))
	case len(lists) == 1:
		return lists[0], nil
	}
	return "", nil
}

// namesIn returns the names in a list of the images of a part, one a line, as people split their sets; nil for a list
// of pairs.
func (d *dataset) namesIn(list string) (map[string]bool, error) {
	content, err := text.ReadFileAs(filepath.Join(d.folder, list), d.encoding)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, line := range text.Lines(content) {
		name := text.Path(line)
		if len(strings.Fields(name)) != 1 {
			return nil, nil
		}
		if imagefile.HasExtension(name) {
			name = strings.TrimSuffix(name, path.Ext(name))
		}
		names[name] = true
	}
	if len(names) == 0 {
		return nil, nil
	}
	return names, nil
}

// listed takes the pairs in the folder whose image a list names, by its path or its name.
func (d *dataset) listed(list string, names map[string]bool) error {
	if err := d.search("", nil); err != nil {
		return fmt.Errorf("%s names images without depth maps: %w", filepath.Join(d.folder, list), err)
	}
	var taken []pair
	var keys []string
	found := map[string]bool{}
	for i, p := range d.pairs {
		for _, name := range []string{strings.TrimSuffix(p.image, path.Ext(p.image)), strings.TrimSuffix(path.Base(p.image), path.Ext(p.image))} {
			if names[name] {
				taken, keys, found[name] = append(taken, p), append(keys, d.keys[i]), true
				break
			}
		}
	}
	if len(taken) == 0 {
		return fmt.Errorf("%s: it names no image in %s", filepath.Join(d.folder, list), d.folder)
	}
	if lost := len(names) - len(found); lost > 0 {
		d.notes = append(d.notes, fmt.Sprintf("names in %s without an image: %d", list, lost))
	}
	d.pairs, d.keys = taken, keys
	return nil
}

// readList takes the pairs of a list file.
func (d *dataset) readList(name, split string) error {
	file := filepath.Join(d.folder, name)
	content, err := text.ReadFileAs(file, d.encoding)
	if err != nil {
		return err
	}
	found, err := parseList(content)
	if err != nil {
		return fmt.Errorf("%s:%w", file, err)
	}
	roots := []string{".", "sync", "official_splits/" + split}
	if fs.ValidPath(split) && split != "" {
		roots = append(roots, split)
	}
	root := slices.IndexFunc(roots, func(root string) bool {
		_, err := os.Stat(d.path(path.Join(root, found[0].image)))
		return err == nil
	})
	if root < 0 {
		return fmt.Errorf("%s: its first image %s is not below %s, nor below %s in it", file, found[0].image, d.folder, strings.Join(roots[1:], ", "))
	}
	var images []string
	for _, p := range found {
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
func parseList(content string) ([]pair, error) {
	var found []pair
	seen := map[string]bool{}
	for n, line := range text.Lines(content) {
		fields := strings.Fields(text.Path(line))
		if len(fields) < 2 {
			return nil, fmt.Errorf("%d: %.80q is no image and depth map", n, line)
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
		if p.depth != "" && !IsMap(p.depth) {
			return nil, fmt.Errorf("%d: %s is none of %s", n, p.depth, strings.Join(mapEndings, ", "))
		}
		if !seen[p.image] {
			seen[p.image] = true
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("1: the list is empty")
	}
	return found, nil
}

// Rules tell depth maps and their images by name.
var Rules = pairs.Rules{
	Folders:      []string{"depth", "depths", "depth_filled", "depth_map", "depth_maps", "depthmaps", "groundtruth_depth", "disparity", "disparities", "RDs"},
	ImageFolders: []string{"rgb", "image", "images", "img", "imgs", "color", "colors", "photos"},
	Starts:       []string{"sync_depth_", "depth_"},
	ImageStarts:  []string{"rgb_", "image_", "img_"},
	Ends:         []string{"_depth_filled", "_depth", "-depth", "_depthmap"},
	ImageEnds:    []string{"_colors", "_color", "_rgb", "_image", "_img", "_c"},
}

// search finds pairs by their names.
func (d *dataset) search(split string, images func(file string) []string) error {
	root := "."
	if split != "" {
		if info, err := os.Stat(filepath.Join(d.folder, split)); err == nil && info.IsDir() && filepath.IsLocal(split) {
			root = split
		} else if err := imagefile.CheckSplit(split); err != nil {
			return fmt.Errorf("%s: no list and no folder of the split in it, and %w", d.folder, err)
		}
	}
	files, err := imagefile.ListFunc(d.path(root), func(name string) bool { return imagefile.HasExtension(name) || IsMap(name) })
	if err != nil {
		return err
	}
	var pictures, maps []string
	for _, f := range files {
		f = path.Join(root, f)
		switch label := images == nil && Rules.IsLabel(f) || images != nil && images(f) != nil; {
		case label && IsMap(f):
			maps = append(maps, f)
		case !label && imagefile.HasExtension(f):
			pictures = append(pictures, f)
		}
	}
	var of []string
	if images == nil {
		// Where there are several maps of an image, the more exact.
		exact := func(a, b string) bool {
			return slices.Index(mapEndings, path.Ext(a)) > slices.Index(mapEndings, path.Ext(b))
		}
		var unclear, alone int
		of, unclear, alone = Rules.Match(pictures, maps, exact)
		d.notes = pairs.Notes(of, unclear, alone, "depth maps")
	} else {
		at := map[string]string{}
		for _, m := range maps {
			for _, image := range images(m) {
				at[image] = m
			}
		}
		var named []string
		for _, p := range pictures { // KITTI's raw images are many more than have depth
			if at[strings.TrimSuffix(p, path.Ext(p))] != "" {
				named, of = append(named, p), append(of, at[strings.TrimSuffix(p, path.Ext(p))])
			}
		}
		pictures = named
	}
	keys := imagefile.Keys(pictures)
	in, byFolder := pairs.InPart(pictures, keys, split)
	if !byFolder && split != "" {
		d.notes = append(d.notes, imagefile.ByHash(split))
	}
	depths := 0
	for i, p := range pictures {
		if !in[i] && !(root != "." && byFolder) {
			continue
		}
		if of[i] != "" {
			depths++
		}
		d.pairs, d.keys = append(d.pairs, pair{p, of[i]}), append(d.keys, keys[i])
	}
	if depths == 0 && slices.ContainsFunc(of, func(m string) bool { return m != "" }) {
		return data.NoPart(fmt.Errorf("%s: none of its %d images with depth belongs to the %s part", d.folder, len(of), split))
	}
	if depths == 0 {
		return fmt.Errorf("%s: none of its %d images has a depth map: want rgb_1.jpg with sync_depth_1.png, 1_colors.png with 1_depth.png, rgb/1.jpg with depth/1.png (or %s), or a list file", d.path(root), len(d.pairs), strings.Join(mapEndings[1:], ", "))
	}
	return nil
}
