package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"must/data"
	"must/data/ade20k"
	"must/data/cifar"
	"must/data/coco"
	"must/data/diode"
	"must/data/imagefolder"
	"must/data/imagenet"
	"must/data/images"
	"must/data/nyu"
	"must/data/objects365"
	"must/data/scenes"
	"must/data/voc"
	"must/data/webdataset"
	"must/data/yolo"
	"must/label/shards"
	"must/metric"
)

// A Format is a layout of datasets on disk.
type Format struct {
	Name, About string
	open        func(data.Source) (data.Dataset, error)
}

// formats lists the formats that sets can have.
var formats = []Format{
	{"scenes", "the embedded world: set is one of its sets, no path", scenes.Open},
	{"imagefolder", "<class>/image.jpg, or <split>/<class>/image.jpg", imagefolder.Open},
	{"images", "any folder of images, without labels", images.Open},
	{"imagenet", "ILSVRC2012: class folders, Kaggle's layout, or the original tars; split train or val", imagenet.Open},
	{"cifar", "CIFAR-10 or -100, binary version; set 10, 100 or 100/coarse; split train or test", cifar.Open},
	{"coco", "COCO, or any file in its form (JSON); set instances, panoptic, stuff or unlabeled; split train or val", coco.Open},
	{"objects365", "Objects365, version 2 or 1: boxes; set v1 or v2; split train or val", objects365.Open},
	{"voc", "Pascal VOC: Annotations, JPEGImages, ImageSets; set is a year, segmentation, or both: 2012/segmentation", voc.Open},
	{"yolo", "YOLO: data.yaml, images and labels: boxes or polygons; split train, val or test", yolo.Open},
	{"ade20k", "ADEChallengeData2016: images and annotations; split train or val", ade20k.Open},
	{"nyu", "NYU Depth v2, or pairs of images and depth: 16-bit PNG (needs scale), .npy, a BTS list, or the labelled .mat", nyu.Open},
	{"diode", "DIODE: depth and normals; set indoors or outdoor; split train or val", diode.Open},
	{"webdataset", "tar shards of images and classes; the folder train, val or test in path, where there is one", openShards},
}

// Formats lists the formats that sets can have.
func Formats() []Format { return slices.Clone(formats) }

// format returns the format of a name; the error names those that there are.
func format(name string) (Format, error) {
	var names []string
	for _, f := range formats {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Format{}, fmt.Errorf("format is %q%s", name, suggest(name, names))
}

// openShards opens the folder of a split, or the path itself as the train part.
func openShards(s data.Source) (data.Dataset, error) {
	if s.Split != "" {
		folder := filepath.Join(s.Path, s.Split)
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			return webdataset.Open(folder)
		}
		if s.Split != "train" {
			return nil, fmt.Errorf("%s: no folder %s in it for this part", s.Path, s.Split)
		}
	}
	return webdataset.Open(s.Path)
}

// cacheLimit bounds the memory for rendered images, which are slower to make than to keep.
const cacheLimit = 300 << 20

// Open opens a source, with its pseudo labels if it names some.
func Open(s data.Source) (data.Dataset, error) {
	f, err := format(s.Format)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.Path); s.Path != "" && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file or folder; name the one of the data", s.Path)
	}
	ds, err := f.open(s)
	if err != nil {
		return nil, err
	}
	if s.Count > 0 && ds.Len() > s.Count {
		ds = data.Spread(ds, s.Count)
	}
	if s.Format == "scenes" {
		ds = scenes.Cached(ds, cacheLimit)
	}
	if err := metric.CheckProtocol(s.Metric, ds.Labels()); err != nil {
		return nil, err
	}
	if s.Units != "" && s.Format != "nyu" {
		return nil, fmt.Errorf("units is %q, but only nyu, pairs of image and depth, can have other units than its format says: leave it out", s.Units)
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

func (s scored) Labels() data.Labels {
	l := s.Dataset.Labels()
	for task, m := range l {
		m.Protocol = s.protocol
		l = l.With(task, m)
	}
	return l
}

// source returns one part of a set: train, val or test.
func (s *Set) source(part string) data.Source {
	src := s.Source
	src.Split = part
	if part == "val" && s.Holdout > 0 {
		src.Split = "train"
	}
	if name, ok := s.Splits[src.Split]; ok {
		src.Split = name
	}
	if n := s.Parts[part]; n > 0 {
		src.Count = n
	}
	return src
}
