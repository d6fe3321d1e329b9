package formats

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"must/data"
	"must/data/depth"
	"must/data/imagefile"
	"must/data/masks"
)

// A Guess is a format that a folder or file seems to have, and why.
type Guess struct {
	Source data.Source // that opens it
	Why    string
}

// Detect returns the formats that a folder or file seems to have, the likeliest first. It looks at names, and at the
// beginning of files of labels; at no more than so many of them as say enough.
func Detect(file string) ([]Guess, error) {
	l, err := look(file)
	if err != nil {
		return nil, err
	}
	var found []Guess
	for _, d := range detectors {
		src := data.Source{Format: d.format, Path: file}
		if why := d.sees(l, &src); why != "" {
			found = append(found, Guess{src, why})
		}
	}
	return found, nil
}

// A sight is what Detect looks at.
type sight struct {
	path  string
	file  bool                // path is a file
	dirs  map[string]bool     // folders below path
	files []string            // files below path, as far as they were listed
	exts  map[string][]string // files by lower-case extension
}

// Bounds of what is listed.
const (
	maxListed = 20000
	maxLevels = 6
)

func look(file string) (*sight, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("%s: no such file or folder; name the one of the data", file)
	}
	l := &sight{path: file, file: !info.IsDir(), dirs: map[string]bool{}, exts: map[string][]string{}}
	if l.file {
		l.add(filepath.Base(file))
		return l, nil
	}
	return l, l.list(".", 0)
}

func (l *sight) add(file string) {
	l.files = append(l.files, file)
	ext := strings.ToLower(path.Ext(file))
	l.exts[ext] = append(l.exts[ext], file)
}

func (l *sight) list(rel string, level int) error {
	entries, err := imagefile.ReadDir(filepath.Join(l.path, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Dir {
			l.dirs[path.Join(rel, e.Name)] = true
		} else if len(l.files) < maxListed {
			l.add(path.Join(rel, e.Name))
		}
	}
	for _, e := range entries {
		if e.Dir && level < maxLevels && len(l.files) < maxListed {
			if err := l.list(path.Join(rel, e.Name), level+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// dir returns the first of some folders that is there, at the top or one level further down.
func (l *sight) dir(names ...string) string {
	for _, name := range names {
		if l.dirs[name] {
			return name
		}
	}
	for d := range l.dirs {
		_, below, ok := strings.Cut(d, "/")
		if ok && slices.Contains(names, below) {
			return d
		}
	}
	return ""
}

// match returns the first file whose path matches.
func (l *sight) match(pattern *regexp.Regexp) string {
	for _, f := range l.files {
		if pattern.MatchString(f) {
			return f
		}
	}
	return ""
}

// holds reports whether the beginning of a file has all of some words.
func (l *sight) holds(file string, words ...string) bool {
	full := l.path
	if !l.file {
		full = filepath.Join(l.path, filepath.FromSlash(file))
	}
	f, err := os.Open(full)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 1<<20)
	n, _ := io.ReadFull(f, head)
	head = head[:n]
	if info, err := f.Stat(); err == nil && info.Size() > 1<<20 { // lists may come in any order
		tail := make([]byte, 1<<16)
		n, _ := f.ReadAt(tail, info.Size()-1<<16)
		head = append(head, tail[:n]...)
	}
	return !slices.ContainsFunc(words, func(w string) bool { return !bytes.Contains(head, []byte(w)) })
}

// images counts the images below a folder, "." for all.
func (l *sight) images(folder string) (n int) {
	for _, f := range l.files {
		if imagefile.HasExtension(f) && (folder == "." || strings.HasPrefix(f, folder+"/")) {
			n++
		}
	}
	return n
}

var (
	wnid             = regexp.MustCompile(`(^|/)n\d{8}(/|\.tar$)`)
	ilsvrcTar        = regexp.MustCompile(`(^|/)ILSVRC2012_img_(train|val)\.tar$`)
	cifarBin         = regexp.MustCompile(`(^|/)(data_batch_1|test_batch)\.bin$|(^|/)fine_label_names\.txt$`)
	objects365Labels = regexp.MustCompile(`(^|/)(zhiyuan_)?objv?2?_?(365)?_?(train|val)\.json$`)
	kittiDepth       = regexp.MustCompile(`(^|/)proj_depth/groundtruth/|(^|/)groundtruth_depth/`)
	diodeDepth       = regexp.MustCompile(`(^|/)(indoors|outdoor)/scene_\d+/`)
)

// detectors see formats, the surest first.
var detectors = []struct {
	format string
	sees   func(l *sight, src *data.Source) string
}{
	{"nyu", func(l *sight, _ *data.Source) string {
		for _, f := range l.exts[".mat"] {
			if path.Base(f) == "nyu_depth_v2_labeled.mat" {
				return "nyu_depth_v2_labeled.mat is in it"
			}
		}
		return ""
	}},
	{"cifar", func(l *sight, _ *data.Source) string { return because(l.match(cifarBin), "%s is in it") }},
	{"diode", func(l *sight, _ *data.Source) string {
		return because(l.match(diodeDepth), "%s is a scene of DIODE")
	}},
	{"imagenet", func(l *sight, _ *data.Source) string {
		if f := l.match(ilsvrcTar); f != "" {
			return f + " is in it"
		}
		n := map[string]bool{}
		for d := range l.dirs {
			if wnid.MatchString(d) {
				n[path.Base(d)] = true
			}
		}
		if len(n) > 100 {
			return fmt.Sprintf("%d folders are called as ImageNet's classes, such as n01440764", len(n))
		}
		return ""
	}},
	{"objects365", func(l *sight, _ *data.Source) string {
		return because(l.match(objects365Labels), "%s is called as Objects365's labels")
	}},
	{"multi", func(l *sight, _ *data.Source) string {
		if l.file || !l.dirs["images"] {
			return ""
		}
		var have []string
		for _, d := range []string{"boxes", "masks", "depth", "normals"} {
			if l.dirs[d] {
				have = append(have, d+"/")
			}
		}
		if slices.Contains(l.files, "classes.csv") {
			have = append(have, "classes.csv")
		}
		if len(have) > 1 || len(have) == 1 && have[0] != "masks/" && have[0] != "depth/" {
			return "images/ and beside it " + strings.Join(have, ", ")
		}
		return ""
	}},
	{"yolo", func(l *sight, src *data.Source) string {
		for _, ext := range []string{".yaml", ".yml"} {
			for _, f := range l.exts[ext] {
				if strings.Count(f, "/") <= 1 && (l.holds(f, "names") || l.holds(f, "nc:")) && (l.holds(f, "train") || l.holds(f, "val")) {
					if dir := path.Dir(f); dir != "." {
						src.Path = filepath.Join(l.path, filepath.FromSlash(dir))
					}
					return f + " names classes and parts"
				}
			}
		}
		if l.dirs["labels"] && l.dirs["images"] && (slices.Contains(l.files, "classes.txt") || slices.Contains(l.files, "labels/classes.txt")) {
			return "images/, labels/ and classes.txt are in it"
		}
		return ""
	}},
	{"coco", func(l *sight, src *data.Source) string {
		for _, f := range l.exts[".json"] {
			if l.holds(f, `"images"`, `"file_name"`) && (l.holds(f, `"annotations"`) || l.holds(f, `"categories"`)) {
				if dir := path.Dir(f); strings.Count(f, "/") > 1 {
					src.Path = filepath.Join(l.path, filepath.FromSlash(path.Dir(dir)))
				}
				return f + " lists images and annotations"
			}
		}
		return ""
	}},
	{"voc", func(l *sight, src *data.Source) string {
		pictures := l.dir("JPEGImages", "images")
		switch {
		case pictures != "" && path.Base(pictures) == "JPEGImages" && l.dir("Annotations") == "" && l.dir("SegmentationClass") != "":
			src.Set = "segmentation"
			return l.dir("SegmentationClass") + "/ has maps of " + pictures + "/"
		case pictures != "" && l.dir("Annotations") != "" && len(l.exts[".xml"]) > 0:
			return l.dir("Annotations") + "/ has XML for " + pictures + "/"
		}
		for _, f := range l.exts[".xml"] {
			if l.holds(f, "<annotation", "<object") {
				return f + " is an annotation of Pascal VOC"
			}
		}
		return ""
	}},
	{"ade20k", func(l *sight, _ *data.Source) string {
		if l.dir("images/training") != "" && l.dir("annotations/training") != "" {
			return "images/training and annotations/training are in it"
		}
		return ""
	}},
	{"masks", func(l *sight, src *data.Source) string {
		pictures, maps := l.split(masks.Rules.IsLabel, imagefile.HasExtension)
		of, _, _ := masks.Rules.Match(pictures, maps, nil)
		for i, m := range of {
			if m != "" {
				return fmt.Sprintf("%s is called as a map of %s", m, pictures[i])
			}
		}
		return ""
	}},
	{"depth", func(l *sight, src *data.Source) string {
		if f := l.match(kittiDepth); f != "" {
			src.Set = "kitti"
			return f + " lies as KITTI's depth does"
		}
		if f := l.match(regexp.MustCompile(`(^|/)rgb\.txt$`)); f != "" && slices.Contains(l.files, path.Join(path.Dir(f), "depth.txt")) {
			src.Set = "tum"
			return f + " and depth.txt beside it are of TUM RGB-D"
		}
		pictures, maps := l.split(depth.Rules.IsLabel, depth.IsMap)
		of, _, _ := depth.Rules.Match(pictures, maps, nil)
		for i, m := range of {
			if m != "" {
				return fmt.Sprintf("%s is called as the depth of %s", m, pictures[i])
			}
		}
		return ""
	}},
	{"webdataset", func(l *sight, _ *data.Source) string {
		for _, f := range l.exts[".tar"] {
			if !wnid.MatchString(f) {
				return f + " is a tar"
			}
		}
		return ""
	}},
	{"imagefolder", func(l *sight, src *data.Source) string {
		folders, splits := map[string]int{}, map[string]bool{}
		for _, f := range l.files {
			if !imagefile.HasExtension(f) {
				continue
			}
			elements := strings.Split(f, "/")
			if len(elements) > 2 && imagefile.SplitOf(elements[0]) != "" {
				splits[elements[0]] = true
				elements = elements[1:]
			}
			if len(elements) == 1 {
				return "" // images beside the folders
			}
			folders[elements[0]]++
		}
		if len(folders) < 2 {
			return ""
		}
		if len(splits) > 0 {
			return fmt.Sprintf("folders of parts hold %d folders with images, which would be classes", len(folders))
		}
		for _, name := range []string{"images", "photos", "imgs", "JPEGImages"} {
			if folders[name] > 0 {
				return ""
			}
		}
		for name := range folders {
			if imagefile.SplitOf(name) != "" { // parts without classes
				return ""
			}
		}
		return fmt.Sprintf("%d folders with images, which would be classes", len(folders))
	}},
	{"images", func(l *sight, _ *data.Source) string {
		if n := l.images("."); n > 0 {
			return fmt.Sprintf("%d images, and no labels that are known", n)
		}
		return ""
	}},
}

// split tells images from files of labels.
func (l *sight) split(isLabel, isMap func(string) bool) (pictures, labels []string) {
	for _, f := range l.files {
		switch {
		case isLabel(f) && isMap(f):
			labels = append(labels, f)
		case imagefile.HasExtension(f):
			pictures = append(pictures, f)
		}
	}
	return pictures, labels
}

func because(file, why string) string {
	if file == "" {
		return ""
	}
	return fmt.Sprintf(why, file)
}
