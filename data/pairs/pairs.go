// Package pairs finds which file of labels is of which image where both have names alike, in folders side by
// side or with endings of their own.
package pairs

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"must/data/imagefile"
)

// Rules say how files of labels are called.
type Rules struct {
	Folders      []string // that hold labels: masks, …
	FolderEnds   []string // of folders that hold labels: annot, as trainannot beside train
	ImageFolders []string // that hold their images; an image may also lie in the folder above
	Starts       []string // of their names: depth_
	ImageStarts  []string // of the images' in its place: rgb_
	Ends         []string // of their names without extension: _mask
	ImageEnds    []string // of the images' in its place; "" is one always
}

// IsLabel reports whether a file, by its path below the set's folder, is one of labels.
func (r Rules) IsLabel(file string) bool {
	dir, stem := split(file)
	for _, e := range strings.Split(dir, "/") {
		if r.folder(e) != nil {
			return true
		}
	}
	return slices.ContainsFunc(r.Ends, func(end string) bool { return strings.HasSuffix(stem, end) && stem != end }) ||
		slices.ContainsFunc(r.Starts, func(start string) bool { return strings.HasPrefix(stem, start) && stem != start })
}

// folder returns the folders of images that a folder of labels may belong to, nil where it is none.
func (r Rules) folder(name string) []string {
	for _, f := range r.Folders {
		if strings.EqualFold(f, name) {
			return append(slices.Clone(r.ImageFolders), "")
		}
	}
	for _, end := range r.FolderEnds {
		if base, ok := strings.CutSuffix(name, end); ok && base != "" {
			return []string{strings.TrimRight(base, "_-")}
		}
	}
	return nil
}

func split(file string) (dir, stem string) {
	dir, base := path.Split(file)
	return strings.TrimSuffix(dir, "/"), strings.TrimSuffix(base, path.Ext(base))
}

// images returns what the image of a file of labels may be called, without extension.
func (r Rules) images(file string) (out []string) {
	dir, stem := split(file)
	stems := []string{stem}
	if imagefile.HasExtension(stem) { // a.jpg.png
		stems = append(stems, strings.TrimSuffix(stem, path.Ext(stem)))
	}
	for _, end := range r.Ends {
		if base, ok := strings.CutSuffix(stem, end); ok && base != "" {
			stems = append(stems, base)
			for _, e := range r.ImageEnds {
				stems = append(stems, base+e)
			}
		}
	}
	for _, start := range r.Starts {
		if base, ok := strings.CutPrefix(stem, start); ok && base != "" {
			for _, s := range r.ImageStarts {
				stems = append(stems, s+base)
			}
			stems = append(stems, base)
		}
	}
	add := func(dir string, stems []string) {
		for _, s := range stems {
			out = append(out, path.Join(dir, s))
		}
	}
	elements := strings.Split(dir, "/")
	if dir == "" {
		elements = nil
	}
	for i, e := range slices.Backward(elements) {
		folders := r.folder(e)
		if folders == nil {
			continue
		}
		for _, f := range folders {
			before, after := path.Join(elements[:i]...), path.Join(elements[i+1:]...)
			add(path.Join(before, f, after), stems)
		}
		return out
	}
	add(dir, stems[1:]) // beside its image it has another name
	return out
}

// fold makes names of folders, Images and images, alike.
func fold(file string) string {
	dir, base := path.Split(file)
	return strings.ToLower(dir) + base
}

// Match returns the label of each image, "" for none. prefer says which of two labels of one image is taken. What
// could be the label of two images, a.png of a.jpg and of a.webp, is neither's, unless it names one: a.jpg.png. It
// returns, too, how many labels are so, and how many are of no image.
func (r Rules) Match(images, labels []string, prefer func(a, b string) bool) (of []string, unclear, alone int) {
	type index struct {
		stem map[string][]int
		name map[string]int
	}
	// Names of folders are alike whatever their case where none is the very same.
	exact, folded := index{map[string][]int{}, map[string]int{}}, index{map[string][]int{}, map[string]int{}}
	for i, f := range images {
		stem := strings.TrimSuffix(f, path.Ext(f))
		exact.stem[stem], exact.name[f] = append(exact.stem[stem], i), i
		folded.stem[fold(stem)], folded.name[fold(f)] = append(folded.stem[fold(stem)], i), i
	}
	find := func(x index, stem string) []int {
		if i, ok := x.name[stem]; ok { // it names the file
			return []int{i}
		}
		return x.stem[stem]
	}
	of = make([]string, len(images))
	for _, label := range labels {
		stems := r.images(label)
		var is []int
		for _, stem := range stems {
			if is = find(exact, stem); is != nil {
				break
			}
		}
		for i := 0; is == nil && i < len(stems); i++ {
			is = find(folded, fold(stems[i]))
		}
		switch {
		case len(is) == 0:
			alone++
		case len(is) > 1:
			unclear++
		case of[is[0]] == "" || prefer != nil && prefer(label, of[is[0]]):
			of[is[0]] = label
		}
	}
	return of, unclear, alone
}

// Notes tells what Match left out.
func Notes(of []string, unclear, alone int, what string) (notes []string) {
	without := 0
	for _, l := range of {
		if l == "" {
			without++
		}
	}
	for _, n := range []struct {
		n    int
		text string
	}{
		{without, "images without " + what + ", left unlabelled"},
		{unclear, what + " that could be of two images, left out"},
		{alone, what + " of no image"},
	} {
		if n.n > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d", n.text, n.n))
		}
	}
	return notes
}

// InPart reports for each image whether it belongs to a part, train, val or test ("": all do): by a folder called
// so, or where no image lies in one, by the hash of its key. folder says how it was told.
func InPart(files, keys []string, part string) (in []bool, byFolder bool) {
	of := make([]string, len(files))
	for i, f := range files {
		for e := range strings.SplitSeq(path.Dir(f), "/") {
			if s := imagefile.SplitOf(e); s != "" {
				of[i], byFolder = s, true
			}
		}
	}
	in = make([]bool, len(files))
	for i := range files {
		in[i] = part == "" || byFolder && of[i] == part || !byFolder && imagefile.InSplit(keys[i], part)
	}
	return in, byFolder
}

// Names returns the paths of images without the folder that holds all of them, one of the given, for keys; where two
// would be the same, the paths as they are.
func Names(files, folders []string) []string {
	names := make([]string, len(files))
	seen := make(map[string]bool, len(files))
	for i, f := range files {
		elements := strings.Split(f, "/")
		names[i] = f
		for j, e := range elements[:len(elements)-1] {
			if slices.ContainsFunc(folders, func(folder string) bool { return strings.EqualFold(folder, e) }) {
				names[i] = path.Join(append(slices.Clone(elements[:j]), elements[j+1:]...)...)
				break
			}
		}
		if seen[names[i]] {
			return slices.Clone(files)
		}
		seen[names[i]] = true
	}
	return names
}
