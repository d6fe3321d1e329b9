// Package nyu reads NYU Depth v2: the labelled set as published, or, as the many copies of it are, pairs of image
// and depth (package depth).
//
//	nyu_depth_v2_labeled.mat, splits.mat                      1449 images, 795 train and 654 test
package nyu

import (
	"must/data"
	"must/data/depth"
)

// Open reads the set in src.Path: nyu_depth_v2_labeled.mat or its folder, see openLabeled, else what [depth.Open] reads.
func Open(src data.Source) (data.Dataset, error) {
	if file, ok := labeledFile(src.Path); ok {
		return openLabeled(file, src)
	}
	return depth.Open(src)
}
