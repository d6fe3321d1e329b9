// Package imagefolder reads images sorted into one folder per class, as torchvision's ImageFolder
// does: ImageNet's and most people's own layout.
package imagefolder

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/task/classification"
)

// Open reads src.Path in one of two layouts:
//
//	<class>/…/image.jpg          one folder per class
//	<split>/<class>/…/image.jpg  the same for each split: train, val, test and the like
//
// The second is recognised by a folder with a split's name that itself holds folders. Then src.Split
// must name one of the splits present. In the first, src.Split takes that part of a split by the hash
// of the key (imagefile.InSplit: 90 % train, 5 % val, 5 % test), and "" is everything.
//
// Classes are the sorted names of the class folders, over all splits, so that every split has the same
// indices. A class label is one-hot. Keys are paths relative to src.Path without extension. No file
// is opened yet.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set != "" {
		return nil, fmt.Errorf("class folders have no subsets, but subset is %q: leave it out", src.Set)
	}
	splits, err := splitFolders(src.Path)
	if err != nil {
		return nil, err
	}
	roots := []string{"."}
	chosen := "."
	if len(splits) > 0 {
		if chosen = choose(splits, src.Split); chosen == "" {
			return nil, data.NoPart(fmt.Errorf("%s: split is %q, but its folders are %s: choose one of them", src.Path, src.Split, strings.Join(splits, ", ")))
		}
		roots = splits
	} else if err := imagefile.CheckSplit(src.Split); err != nil {
		return nil, fmt.Errorf("%s: %w", src.Path, err)
	}

	d := &dataset{folder: src.Path}
	var folders []string // class folders of the chosen root
	for _, root := range roots {
		names, err := subfolders(filepath.Join(src.Path, root))
		if err != nil {
			return nil, err
		}
		d.classes = append(d.classes, names...)
		if root == chosen {
			folders = names
		}
	}
	slices.Sort(d.classes)
	d.classes = slices.Compact(d.classes)
	if len(folders) == 0 {
		return nil, fmt.Errorf("%s: no class folders in it; for images without labels use the format images", filepath.Join(src.Path, chosen))
	}

	var files, empty []string
	var class []int
	for _, name := range folders {
		found, err := imagefile.List(filepath.Join(src.Path, chosen, name))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			empty = append(empty, name)
		}
		index, _ := slices.BinarySearch(d.classes, name)
		for _, f := range found {
			files, class = append(files, path.Join(chosen, name, f)), append(class, index)
		}
	}
	if len(empty) > 0 {
		d.notes = append(d.notes, fmt.Sprintf("class folders without an image, which are classes all the same: %s (delete those that are none)", strings.Join(empty, ", ")))
	}
	if len(splits) == 0 && src.Split != "" {
		d.notes = append(d.notes, imagefile.ByHash(src.Split))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no images in its class folders (names ending in .jpg, .png, …)", filepath.Join(src.Path, chosen))
	}
	for i, key := range imagefile.Keys(files) {
		if src.Split == "" || len(splits) > 0 || imagefile.InSplit(key, src.Split) {
			d.files, d.keys, d.class = append(d.files, files[i]), append(d.keys, key), append(d.class, class[i])
		}
	}
	if len(d.files) == 0 {
		return nil, data.NoPart(fmt.Errorf("%s: none of its %d images falls into the %s part", src.Path, len(files), src.Split))
	}
	return d, nil
}

// splitFolders returns the folders of a root that hold the class folders of a split.
func splitFolders(root string) ([]string, error) {
	folders, err := subfolders(root)
	if err != nil {
		return nil, err
	}
	var splits []string
	for _, name := range folders {
		if imagefile.SplitOf(name) == "" {
			continue
		}
		classes, err := subfolders(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		if len(classes) > 0 {
			splits = append(splits, name)
		}
	}
	slices.SortStableFunc(splits, func(a, b string) int {
		return slices.Index(imagefile.Splits, imagefile.SplitOf(a)) - slices.Index(imagefile.Splits, imagefile.SplitOf(b))
	})
	return splits, nil
}

// choose returns the folder that stands for a split, "" if none does.
func choose(folders []string, split string) string {
	if slices.Contains(folders, split) {
		return split
	}
	for _, name := range folders {
		if split != "" && imagefile.SplitOf(name) == split {
			return name
		}
	}
	return ""
}

func subfolders(dir string) ([]string, error) {
	entries, err := imagefile.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Dir {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

type dataset struct {
	folder      string
	classes     []string
	files, keys []string
	class       []int
	notes       []string
}

// Notes tells of empty classes, and of a part told by hash.
func (d *dataset) Notes() []string { return d.notes }

func (d *dataset) Len() int            { return len(d.files) }
func (d *dataset) Labels() data.Labels { return data.Labels{classification.Name: {Classes: d.classes}} }
func (d *dataset) Key(i int) string    { return d.keys[i] }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	s, err := imagefile.Sample(d.keys[i], filepath.Join(d.folder, filepath.FromSlash(d.files[i])))
	if err != nil {
		return nil, err
	}
	classification.Set(s, make([]float32, len(d.classes)))
	classification.Of(s)[d.class[i]] = 1
	return s, nil
}
