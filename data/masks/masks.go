// Package masks reads images with semantic maps as most people keep their own: index or colour PNGs in a folder beside
// that of the images, or beside the images with an ending of their own.
//
//	images/a.jpg, masks/a.png                       or labels, annotations, gt, SegmentationClass, …
//	train/a.png, trainannot/a.png                   CamVid as SegNet has it
//	leftImg8bit/train/x/a_leftImg8bit.png, gtFine/train/x/a_gtFine_labelIds.png    Cityscapes
//	a.jpg, a_mask.png
//	classes.txt, labelmap.txt, label_colors.txt, class_dict.csv                    names, with colours or without
package masks

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/classes"
	"must/data/frame"
	"must/data/imagefile"
	"must/data/pairs"
	"must/task/segmentation"
)

// Rules tell maps and their images by name.
var Rules = pairs.Rules{
	Folders:      []string{"masks", "mask", "labels", "label", "annotations", "annotation", "gt", "ground_truth", "groundtruth", "segmentation", "segmentations", "seg", "SegmentationClass", "SegmentationClassPNG", "gtFine", "gtCoarse", "semantic"},
	FolderEnds:   []string{"annot", "_labels", "_masks", "_mask", "_gt"},
	ImageFolders: []string{"images", "image", "imgs", "img", "JPEGImages", "leftImg8bit", "photos", "rgb", "color"},
	Ends:         []string{"_gtFine_labelIds", "_gtCoarse_labelIds", "_labelIds", "_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg", "_segmentation", "_L"},
	ImageEnds:    []string{"_leftImg8bit", "_image", "_img"},
}

// Endings of maps that tools write beside those of classes.
var others = []string{"_color", "_instanceIds", "_labelTrainIds", "_polygons", "_viz", "_vis", "_preview"}

// Open reads the set in src.Path; src.Images names the folder of the images, where it is another one. src.Split is
// train, val or test: images in a folder called so, or, where there are none, a part by the hash of the key; "" is all.
//
// Classes are those of one of classes.Files in the folder or in that of the maps, by their place in the file, or by
// the colours in it; without such a file, the numbers in the maps. src.Void lists values, names or colours that are
// no class, and is 255 otherwise. Maps that hold nothing but 0 and 255 need it declared.
//
// An image without a map is unlabelled; so are a.jpg and a.png with one map a.png.
func Open(src data.Source) (data.Dataset, error) {
	if err := frame.Check(src.Frame); err != nil {
		return nil, err
	}
	if err := imagefile.CheckSplit(src.Split); err != nil {
		return nil, err
	}
	d := &dataset{images: src.Path, root: src.Path, frame: src.Frame}
	pictures, maps, err := d.find(src)
	if err != nil {
		return nil, err
	}
	if len(maps) == 0 && d.lossy != "" {
		return nil, fmt.Errorf("%s: %s is no map: a JPEG changes the values of pixels; save maps as PNG", src.Path, d.lossy)
	}
	of, unclear, single := Rules.Match(pictures, maps, prefer)
	if src.Images != "" {
		for i := range of {
			of[i] = strings.TrimPrefix(of[i], alone)
		}
	}
	if n := len(pictures); n == 0 || slices.Equal(of, make([]string, n)) {
		return nil, fmt.Errorf("%s: none of its %d images has a map: want images/a.jpg with masks/a.png, train/a.png with trainannot/a.png, or a.jpg with a_mask.png", src.Path, n)
	}
	keys := imagefile.Keys(pairs.Names(pictures, Rules.ImageFolders))
	if err := d.findLegend(src, of); err != nil {
		return nil, err
	}
	in, byFolder := pairs.InPart(pictures, keys, src.Split)
	if !byFolder && src.Split != "" {
		d.notes = append(d.notes, imagefile.ByHash(src.Split))
	}
	var kept []string
	for i := range pictures {
		if in[i] {
			d.pictures, d.keys, kept = append(d.pictures, pictures[i]), append(d.keys, keys[i]), append(kept, of[i])
		}
	}
	if len(d.pictures) == 0 {
		return nil, data.NoPart(fmt.Errorf("%s: none of its %d images belongs to the %s part", src.Path, len(pictures), src.Split))
	}
	d.maps = kept
	d.notes = append(d.notes, pairs.Notes(kept, unclear, single, "maps")...)
	return d, nil
}

// prefer takes, of two maps of an image, that of class ids.
func prefer(a, b string) bool {
	return strings.Contains(a, "labelIds") && !strings.Contains(b, "labelIds")
}

type dataset struct {
	images, root string // folders that pictures and maps are below
	frame        string
	legend       *classes.Legend
	pictures     []string
	maps         []string // of each picture, "": none
	keys         []string
	notes        []string
	counts       frame.Counts
	lossy        string // a JPEG where a map should be
}

// alone is the folder that maps get by which images are in another one.
const alone = "masks/"

// find lists the images and the maps.
func (d *dataset) find(src data.Source) (pictures, maps []string, err error) {
	files, err := imagefile.List(src.Path)
	if err != nil {
		return nil, nil, err
	}
	isOther := func(f string) bool {
		stem := strings.TrimSuffix(f, path.Ext(f))
		return slices.ContainsFunc(others, func(end string) bool { return strings.HasSuffix(stem, end) })
	}
	isMap := func(f string) bool {
		switch strings.ToLower(path.Ext(f)) {
		case ".png", ".bmp", ".tif", ".tiff", ".gif":
			return true
		}
		return false
	}
	if src.Images != "" { // all that is in path is maps, called as the images
		d.images = src.Images
		if pictures, err = imagefile.List(src.Images); err != nil {
			return nil, nil, err
		}
		for _, f := range files {
			if isMap(f) && !isOther(f) {
				maps = append(maps, alone+f)
			}
		}
		return pictures, maps, nil
	}
	for _, f := range files {
		switch label := Rules.IsLabel(f); {
		case label && isMap(f) && !isOther(f):
			maps = append(maps, f)
		case label && d.lossy == "":
			d.lossy = f
		case !label && !isOther(f):
			pictures = append(pictures, f)
		}
	}
	return pictures, maps, nil
}

// findLegend names the classes.
func (d *dataset) findLegend(src data.Source, of []string) error {
	folders := []string{src.Path}
	var files []string
	for _, m := range of {
		if m == "" {
			continue
		}
		files = append(files, d.path(m))
		if top, _, below := strings.Cut(m, "/"); below && len(folders) == 1 {
			folders = append(folders, d.path(top))
		}
	}
	t, err := classes.Find(src.Text, folders...)
	if err != nil {
		return err
	}
	if d.legend, err = classes.ForMaps(t, files, 0, src.Void, "255"); err != nil {
		return fmt.Errorf("%s: %w", src.Path, err)
	}
	if t == nil {
		d.notes = append(d.notes, "classes are called by their numbers in the maps: list their names, from 0 on, in classes.txt")
	}
	return nil
}

func (d *dataset) path(rel string) string { return filepath.Join(d.root, filepath.FromSlash(rel)) }

func (d *dataset) Len() int { return len(d.pictures) }
func (d *dataset) Labels() data.Labels {
	return data.Labels{segmentation.Name: {Classes: d.legend.Names}}
}
func (d *dataset) Key(i int) string             { return d.keys[i] }
func (d *dataset) Carries(i int, _ string) bool { return d.maps[i] != "" }
func (d *dataset) Notes() []string              { return append(slices.Clone(d.notes), d.counts.Notes()...) }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	file := filepath.Join(d.images, filepath.FromSlash(d.pictures[i]))
	if d.maps[i] == "" {
		return imagefile.Sample(d.keys[i], file)
	}
	g, err := d.legend.Read(d.path(d.maps[i]))
	if err != nil {
		return nil, &data.SampleError{Key: d.keys[i], Err: err}
	}
	s, f, err := frame.Sample(d.keys[i], file, d.frame, g.W, g.H, &d.counts)
	if err != nil {
		return nil, err
	}
	if g, err = frame.Grid(f, g); err != nil {
		return nil, &data.SampleError{Key: s.Key, File: d.path(d.maps[i]), Err: err}
	}
	segmentation.Set(s, g)
	return s, nil
}
