// Package formats is the table of all formats that data sets can have, and opens any of them.
package formats

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"must/data"
	"must/data/ade20k"
	"must/data/cifar"
	"must/data/coco"
	"must/data/depth"
	"must/data/diode"
	"must/data/imagefolder"
	"must/data/imagenet"
	"must/data/images"
	"must/data/masks"
	"must/data/multi"
	"must/data/nyu"
	"must/data/objects365"
	"must/data/scenes"
	"must/data/voc"
	"must/data/webdataset"
	"must/data/yolo"
	"must/label/shards"
	"must/task/registry"
)

// A Format is a layout of data sets on disk.
type Format struct {
	Name, About string
	// Options are the keys of a data.Source that the format takes besides those that all take (path, split,
	// count, metric, labels), and what each says.
	Options map[string]string

	open func(data.Source) (data.Dataset, error)
}

// What options say that several formats take.
const (
	frameOption = "what labels were drawn on where sizes do not tell: shown, stored or resized"
	voidOption  = "values, colours (255/0/0) or names of what is no class in maps; or none"
	linesOption = "what lines hold where their numbers do not tell: box score, box id, box score id, polygon or polygon score"
	textOption  = "encoding of text files where their bytes do not tell, such as gb18030"
)

// table lists the formats.
var table = []Format{
	{"scenes", "the embedded world: subset is one of its sets, no path",
		map[string]string{"subset": "one of its sets", "size": "rendered side in pixels", "seed": "another world"},
		scenes.Open},
	{"imagefolder", "<class>/image.jpg, or <split>/<class>/image.jpg", nil, imagefolder.Open},
	{"images", "any folder of images, without labels", nil, images.Open},
	{"imagenet", "ILSVRC2012: class folders, Kaggle's layout, or the original tars; split train or val", nil, imagenet.Open},
	{"cifar", "CIFAR-10 or -100, binary version; subset 10, 100 or 100/coarse; split train or test",
		map[string]string{"subset": "10, 100 or 100/coarse"}, cifar.Open},
	{"coco", "COCO, or any file in its form (JSON); subset instances, panoptic, stuff or unlabeled; split train or val",
		map[string]string{"subset": "instances, panoptic, stuff or unlabeled", "images_folder": "folder of the images", "frame": frameOption}, coco.Open},
	{"objects365", "Objects365, version 2 or 1: boxes; subset v1 or v2; split train or val",
		map[string]string{"subset": "v1 or v2", "images_folder": "folder of the images", "frame": frameOption}, objects365.Open},
	{"voc", "Pascal VOC: Annotations, JPEGImages, ImageSets; subset is a year, segmentation, or both: 2012/segmentation",
		map[string]string{"subset": "a year, segmentation, or both: 2012/segmentation", "frame": frameOption, "void": voidOption, "encoding": textOption}, voc.Open},
	{"yolo", "YOLO: data.yaml, images and labels: boxes or polygons; split train, val or test",
		map[string]string{"lines": linesOption, "frame": frameOption, "encoding": textOption}, yolo.Open},
	{"ade20k", "ADEChallengeData2016: images and annotations; split train or val",
		map[string]string{"frame": frameOption, "void": voidOption, "encoding": textOption}, ade20k.Open},
	{"masks", "images and semantic maps (index or colour PNG): images/ and masks/, train/ and trainannot/, or a.jpg and a_mask.png",
		map[string]string{"images_folder": "folder of the images, where path holds maps alone", "void": voidOption, "frame": frameOption, "encoding": textOption}, masks.Open},
	{"depth", "images and depth maps: rgb/ and depth/, a.jpg and a_depth.png (needs scale), .npy, EXR, PFM, a list; subset kitti or tum",
		map[string]string{"subset": "kitti, tum, or a list file", "scale": "metres per stored unit", "units": "metric, relative or inverse", "void": "stored values that are no depth", "frame": frameOption, "encoding": textOption}, depth.Open},
	{"multi", "images with labels for several tasks: images/ beside some of classes.csv, boxes/, masks/, depth/, normals/",
		map[string]string{"scale": "metres per stored unit of depth", "units": "of depth: metric, relative or inverse", "void": voidOption, "lines": linesOption, "frame": frameOption, "encoding": textOption}, multi.Open},
	{"nyu", "NYU Depth v2: the labelled .mat, a BTS list, or whatever depth reads",
		map[string]string{"subset": "filled (of the .mat), or as of depth", "scale": "metres per stored unit", "units": "metric, relative or inverse", "void": "stored values that are no depth", "frame": frameOption, "encoding": textOption}, nyu.Open},
	{"diode", "DIODE: depth and normals; subset indoors or outdoor; split train or val",
		map[string]string{"subset": "indoors or outdoor"}, diode.Open},
	{"webdataset", "tar shards of images and classes; the folder train, val or test in path, where there is one", nil, webdataset.OpenPart},
}

// All lists the formats.
func All() []Format { return slices.Clone(table) }

// Find returns the format of a name; the error lists those that there are.
func Find(name string) (Format, error) {
	var names []string
	near := ""
	for _, f := range table {
		if f.Name == name {
			return f, nil
		}
		if name != "" && (strings.HasPrefix(f.Name, name) || strings.HasPrefix(name, f.Name)) {
			near = f.Name
		}
		names = append(names, f.Name)
	}
	if near != "" {
		return Format{}, fmt.Errorf("format is %q; did you mean %q?", name, near)
	}
	return Format{}, fmt.Errorf("format is %q; there are %s", name, strings.Join(names, ", "))
}

// check refuses options that the format does not take.
func (f Format) check(s data.Source) error {
	for _, o := range []struct {
		key   string
		value any
		given bool
	}{
		{"images_folder", s.Images, s.Images != ""},
		{"subset", s.Set, s.Set != ""},
		{"size", s.Size, s.Size != 0},
		{"seed", s.Seed, s.Seed != 0},
		{"scale", s.Scale, s.Scale != 0},
		{"units", s.Units, s.Units != ""},
		{"frame", s.Frame, s.Frame != ""},
		{"lines", s.Lines, s.Lines != ""},
		{"void", s.Void, s.Void != ""},
		{"encoding", s.Text, s.Text != ""},
	} {
		if _, takes := f.Options[o.key]; o.given && !takes {
			var names []string
			for _, other := range table {
				if _, takes := other.Options[o.key]; takes {
					names = append(names, other.Name)
				}
			}
			return fmt.Errorf("%s is %v, but the format %s has no use for it (it is for %s): leave it out", o.key, o.value, f.Name, strings.Join(names, ", "))
		}
	}
	return nil
}

// cacheLimit bounds the memory for rendered images, which are slower to make than to keep.
const cacheLimit = 300 << 20

// Open opens a source, with its pseudo labels if it names some.
func Open(s data.Source) (data.Dataset, error) {
	f, err := Find(s.Format)
	if err != nil {
		return nil, err
	}
	if err := f.check(s); err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.Path); s.Path != "" && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file or folder; name the one of the data", s.Path)
	}
	ds, err := f.open(s)
	if err != nil {
		return nil, err
	}
	if err := data.CheckKeys(ds); err != nil {
		return nil, fmt.Errorf("%s: %w", cmp.Or(s.Path, s.Set), err)
	}
	if s.Count > 0 && ds.Len() > s.Count {
		ds = data.Spread(ds, s.Count)
	}
	if s.Format == "scenes" {
		ds = scenes.Cached(ds, cacheLimit)
	}
	if err := registry.CheckProtocol(s.Metric, ds.Labels()); err != nil {
		return nil, err
	}
	if s.Metric != "" {
		ds = scored{ds, s.Metric}
	}
	if s.Labels != "" {
		return shards.Merge(ds, s.Labels)
	}
	return ds, nil
}

// scored is a set that is scored by a published protocol.
type scored struct {
	data.Dataset
	protocol string
}

func (s scored) Unwrap() data.Dataset { return s.Dataset }

func (s scored) Carries(i int, task string) bool { return data.Carries(s.Dataset, i, task) }

func (s scored) Labels() data.Labels {
	l := s.Dataset.Labels()
	for task, m := range l {
		m.Protocol = s.protocol
		l = l.With(task, m)
	}
	return l
}
