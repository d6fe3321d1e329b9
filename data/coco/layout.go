package coco

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/imagefile"
)

// synonyms are the words that tell of a split in the names of files and folders.
var synonyms = map[string]string{
	"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
	"test": "test", "testing": "test", unlabeled: unlabeled,
}

// words returns the parts of a path that consist of letters.
func words(name string) []string {
	return strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r < 'a' || r > 'z' })
}

// splitOf returns the split that a path tells of, "" if none; want, if it does. The last word counts, for
// the file says more than its folder.
func splitOf(name, want string) string {
	of := ""
	for _, w := range words(name) {
		if w == want {
			return want
		}
		of = cmp.Or(synonyms[w], of)
	}
	return of
}

// kindFits tells how well the name of a file fits a set: 0 not at all, else the more the better. Files
// of names that say nothing are taken for instances.
func kindFits(set string) func(words []string) int {
	return func(words []string) int {
		for _, kind := range []string{instances, panoptic, stuff, "captions", "keypoints", "info"} {
			switch {
			case !slices.Contains(words, kind):
			case kind == set:
				return 2
			default:
				return 0
			}
		}
		if set == instances {
			return 1
		}
		return 0
	}
}

// Find returns the one JSON file of a split, relative to root: in it, its folder annotations or one named
// like a split. fits rates the words in its name, 0 for a file of something else. Where no name tells of a
// split, a file may stand for all of them.
func Find(root, split string, fits func(words []string) int) (string, error) {
	var found, whole, others []string
	best := 1
	folders := []string{"."}
	entries, err := imagefile.ReadDir(root)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Dir && (e.Name == "annotations" || synonyms[e.Name] != "") {
			folders = append(folders, e.Name)
		}
	}
	for _, folder := range folders {
		entries, err := imagefile.ReadDir(filepath.Join(root, folder))
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			name := path.Join(folder, e.Name)
			fit := fits(words(name))
			if e.Dir || strings.ToLower(path.Ext(name)) != ".json" || fit < best {
				continue
			}
			if fit > best {
				found, whole, others, best = nil, nil, nil, fit
			}
			switch of := splitOf(name, split); {
			case of == "":
				whole = append(whole, name)
			case of == split || split == "":
				found = append(found, name)
			default:
				others = append(others, name)
			}
		}
	}
	if len(found) == 0 && len(others) == 0 {
		found = whole
	}
	part := ""
	if split != "" {
		part = " of the split " + split
	}
	switch {
	case len(found) == 1:
		return filepath.FromSlash(found[0]), nil
	case len(found) > 1:
		return "", fmt.Errorf("%s: several files of labels%s, %s: choose by split, or give the path of one", root, part, strings.Join(found, ", "))
	case len(others) > 0:
		return "", data.NoPart(fmt.Errorf("%s: no file of labels%s; there is %s", root, part, strings.Join(others, ", ")))
	}
	return "", data.NoPart(fmt.Errorf("%s: no file of labels (JSON)%s in it or its folder annotations", root, part))
}

// probes is how many images are looked for to recognise their folder: many may be missing.
const probes = 1000

// findImages returns the folder of the images that a file of labels lists: one that has one of them under its
// name, else one that has one under the end of its name.
func findImages(file string, names []name) (string, error) {
	dir := filepath.Dir(file)
	stem := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	tail := stem[strings.LastIndex(stem, "_")+1:] // train2017 of instances_train2017
	split := splitOf(stem, "")
	var folders []string
	for _, base := range []string{dir, filepath.Dir(dir)} {
		for _, name := range []string{tail, split, stem, "", "images/" + tail, "images/" + split, "images"} {
			folder := filepath.Join(base, filepath.FromSlash(name))
			if !slices.Contains(folders, folder) && isDir(folder) {
				folders = append(folders, folder)
			}
		}
	}
	for _, folder := range folders {
		for i := 0; i < len(names); i += 1 + len(names)/probes {
			if names[i].loose {
				continue
			}
			if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(names[i].path))); err == nil {
				return folder, nil
			}
		}
	}
	for _, folder := range folders {
		if folder == filepath.Dir(dir) { // whatever else lies beside the set
			continue
		}
		e, err := endings(folder)
		if err != nil {
			continue
		}
		for i := 0; i < len(names); i += 1 + len(names)/probes {
			if e.find(names[i].path) != "" {
				return folder, nil
			}
		}
	}
	return "", fmt.Errorf("its images, such as %s, are in none of %s: name the folder that their file_name is relative to as images_folder (--images-folder)", names[0].path, strings.Join(folders, ", "))
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// present reports which of the files are there. It lists their folders, which for many files is a lot
// faster than asking for each.
func present(folder string, files []string) ([]bool, error) {
	order := make([]int, len(files))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(path.Dir(files[i]), path.Dir(files[j])) })
	there := make([]bool, len(files))
	var names map[string]bool
	listed := "" // the folder that names are of
	for _, i := range order {
		if dir := path.Dir(files[i]); dir != listed {
			var err error
			if names, err = namesIn(filepath.Join(folder, filepath.FromSlash(dir))); err != nil {
				return nil, err
			}
			listed = dir
		}
		there[i] = names[path.Base(files[i])]
		if !there[i] { // unless the file system takes another spelling for the same
			_, err := os.Stat(filepath.Join(folder, filepath.FromSlash(files[i])))
			there[i] = err == nil
		}
	}
	return there, nil
}

// namesIn returns what is in a folder, nothing if there is no such folder.
func namesIn(dir string) (map[string]bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.Readdirnames(-1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	names := make(map[string]bool, len(list))
	for _, name := range list {
		names[name] = true
	}
	return names, nil
}
