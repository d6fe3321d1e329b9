// Package images reads a plain folder of images, without any labels.
package images

import (
	"fmt"
	"image"
	"path/filepath"

	"must/data"
	"must/data/imagefile"
)

// Open returns all images in the folder src.Path and the folders in it, sorted by path. Its samples
// carry no labels; their keys are the paths relative to src.Path without extension (with it where
// names differ in nothing else). No file is opened yet.
//
// All of an unlabelled folder is its train part; there is no other, as nothing could be scored on it. With
// pseudo labels, src.Labels, parts are told by the hash of the key (imagefile.InSplit). src.Split "" is all.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set != "" {
		return nil, fmt.Errorf("a folder of images has no subsets, but subset is %q: leave it out", src.Set)
	}
	if err := imagefile.CheckSplit(src.Split); err != nil {
		return nil, err
	}
	split := src.Split
	if src.Labels == "" {
		if split != "" && split != "train" {
			return nil, data.NoPart(fmt.Errorf("%s: a folder of images without labels has no %s part: all of it is the train part", src.Path, split))
		}
		split = ""
	}
	files, err := imagefile.List(src.Path)
	if err != nil {
		return nil, err
	}
	d := &dataset{folder: src.Path}
	for i, key := range imagefile.Keys(files) {
		if split == "" || imagefile.InSplit(key, split) {
			d.files, d.keys = append(d.files, files[i]), append(d.keys, key)
		}
	}
	if split != "" {
		d.notes = []string{imagefile.ByHash(split)}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no images in it (names ending in .jpg, .png, …)", src.Path)
	}
	if len(d.files) == 0 {
		return nil, data.NoPart(fmt.Errorf("%s: none of its %d images falls into the %s part", src.Path, len(files), src.Split))
	}
	return d, nil
}

type dataset struct {
	folder      string
	files, keys []string
	notes       []string
}

// Notes tells of a part told by hash.
func (d *dataset) Notes() []string { return d.notes }

func (d *dataset) Len() int            { return len(d.files) }
func (d *dataset) Labels() data.Labels { return data.Labels{} }
func (d *dataset) Key(i int) string    { return d.keys[i] }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	return imagefile.Sample(d.keys[i], d.file(i))
}

func (d *dataset) Reduced(i, side int) (*data.Sample, image.Point, error) {
	return imagefile.Reduced(d.keys[i], d.file(i), side)
}

func (d *dataset) file(i int) string {
	return filepath.Join(d.folder, filepath.FromSlash(d.files[i]))
}
