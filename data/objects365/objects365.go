// Package objects365 reads Objects365, versions 2 and 1: boxes of 365 classes, no masks.
//
//	zhiyuan_objv2_train.json, also in a folder annotations or train
//	train/patch0/objects365_v1_00000001.jpg
package objects365

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/coco"
)

// Open reads the set in src.Path: the folder that holds the folders of the splits, or a file of labels.
// src.Set, "v1" or "v2", picks a version where both are there. src.Split is train or val; "" will do
// where there is one only.
//
// The labels name images images/v1/patch8/x.jpg that lie in <split>/patch8/x.jpg: the last two parts of
// the path are kept, unless there is a folder <split>/images. Images that are not there are left out and
// counted: the publisher's own archives lack three, and few people have all 712 GB.
//
// Classes are the file's categories by ascending id; versions differ in their order and spelling. The
// result is a *coco.Dataset.
func Open(src data.Source) (data.Dataset, error) {
	if !slices.Contains([]string{"", "v1", "v2"}, src.Set) {
		return nil, fmt.Errorf("objects365: subset is %q, want v1 or v2", src.Set)
	}
	info, err := os.Stat(src.Path)
	if err != nil {
		return nil, err
	}
	file, root := src.Path, filepath.Dir(src.Path)
	if info.IsDir() {
		name, err := coco.Find(src.Path, src.Split, versionFits(src.Set))
		if err != nil {
			return nil, err
		}
		file, root = filepath.Join(src.Path, name), src.Path
	}
	split := src.Split
	for _, name := range []string{"train", "val"} {
		if split == "" && strings.Contains(filepath.Base(file), name) {
			split = name
		}
	}
	o := coco.Options{Images: src.Images, Rename: lastTwo, Frame: src.Frame, Present: true}
	if o.Images == "" {
		o.Images = findImages(root, split)
	}
	if _, err := os.Stat(filepath.Join(o.Images, "images")); err == nil {
		o.Rename = nil
	}
	return coco.OpenInstances(file, o)
}

// versionFits rates the words in the name of a file of labels.
func versionFits(version string) func(words []string) int {
	return func(words []string) int {
		switch of2 := slices.Contains(words, "objv"); {
		case of2 && version != "v1":
			return 2
		case !of2 && version != "v2":
			return 1
		}
		return 0
	}
}

// findImages returns the folder of a split: in the root, or above it for a file in a folder annotations
// or in the folder of the split itself.
func findImages(root, split string) string {
	for _, dir := range []string{filepath.Join(root, split), filepath.Join(filepath.Dir(root), split)} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return root
}

// lastTwo keeps the last two parts of a path.
func lastTwo(name string) string {
	dir, base := path.Split(name)
	return path.Join(path.Base(dir), base)
}
