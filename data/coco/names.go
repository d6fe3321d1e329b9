package coco

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"must/data/imagefile"
	"must/data/text"
)

// A name is where an image is by its file_name.
type name struct {
	path  string // below the folder of images, or what is left of a path of another machine
	loose bool   // it leads nowhere here as it is: absolute, of a drive, or out of its folder
}

// cleanName takes a file_name apart, which may be made on Windows, hold a URL of an annotation tool, or be
// absolute; below one of the folders, an absolute one is a path in there.
func cleanName(file string, folders ...string) name {
	p := text.Path(file)
	if _, query, ok := strings.Cut(p, "?d="); ok { // local-files of Label Studio
		p = query
	}
	p = strings.TrimPrefix(p, "file://")
	if len(p) > 1 && p[1] == ':' && (len(p) == 2 || p[2] == '/') {
		p = p[2:]
		return name{strings.TrimLeft(path.Clean(p), "/"), true}
	}
	if path.IsAbs(p) {
		for _, folder := range folders {
			if abs, err := filepath.Abs(folder); err == nil && folder != "" {
				if rel, err := filepath.Rel(abs, filepath.FromSlash(p)); err == nil && filepath.IsLocal(rel) {
					return name{filepath.ToSlash(rel), false}
				}
			}
		}
		return name{strings.TrimLeft(path.Clean(p), "/"), true}
	}
	n := name{path: path.Clean(p)}
	for n.path == ".." || strings.HasPrefix(n.path, "../") {
		n.path, n.loose = strings.TrimPrefix(strings.TrimPrefix(n.path, ".."), "/"), true
	}
	return n
}

// An ending finds files by the end of a path: of one that has more folders in front than there are here, another
// case of letters, or the escapes of a URL.
type ending struct{ of map[string][]string }

// endings lists the images in a folder.
func endings(folder string) (ending, error) {
	files, err := imagefile.List(folder)
	if err != nil {
		return ending{}, err
	}
	e := ending{make(map[string][]string, len(files))}
	for _, f := range files {
		key := strings.ToLower(path.Base(f))
		e.of[key] = append(e.of[key], f)
	}
	return e, nil
}

// find returns the longest file that a path ends in; "" where there is none, or two are as good.
func (e ending) find(p string) string {
	forms := []string{p}
	if plain, err := url.PathUnescape(p); err == nil && plain != p {
		forms = append(forms, plain)
	}
	for _, fold := range []bool{false, true} {
		for _, form := range forms {
			best, tie := "", false
			for _, f := range e.of[strings.ToLower(path.Base(form))] {
				tail := "/" + form
				if n := len(tail) - len(f) - 1; n < 0 || tail[n] != '/' || !(tail[n+1:] == f || fold && strings.EqualFold(tail[n+1:], f)) {
					continue
				}
				tie = len(f) == len(best)
				if len(f) > len(best) {
					best = f
				}
			}
			if best != "" && !tie {
				return best
			}
		}
	}
	return ""
}

// namePaths takes the paths of the images from their names, finds their folder and makes keys.
func (d *Dataset) namePaths(file string, o Options) error {
	names := make([]name, len(d.index.images))
	d.paths = make([]string, len(names))
	seen := make(map[string]bool, len(names))
	dir := filepath.Dir(file)
	plain := true
	for i := range names {
		n := cleanName(d.index.images[i].name, o.Images, dir, filepath.Dir(dir))
		if o.Rename != nil {
			n = name{path: o.Rename(n.path)}
		}
		if n.path == "." || n.path == "" || !filepath.IsLocal(filepath.FromSlash(n.path)) {
			return fmt.Errorf("the file_name %q is no path of an image", d.index.images[i].name)
		}
		if seen[n.path] && !n.loose {
			return fmt.Errorf("it lists the image %q twice", d.index.images[i].name)
		}
		seen[n.path] = true
		plain = plain && !n.loose
		names[i], d.paths[i] = n, n.path
	}
	var err error
	if d.folder = o.Images; d.folder == "" {
		if d.folder, err = findImages(file, names); err != nil {
			return err
		}
	}
	there, err := present(d.folder, d.paths)
	if err != nil {
		return err
	}
	d.there = there
	d.byEnding(names, plain)
	d.keys = imagefile.Keys(d.paths)
	return nil
}

// byEnding looks for images that are not where their names say. One that two names could mean is neither's.
func (d *Dataset) byEnding(names []name, plain bool) {
	missing := false
	for i := range names {
		missing = missing || !d.there[i] || names[i].loose
	}
	if !missing {
		return
	}
	e, err := endings(d.folder)
	if err != nil {
		return
	}
	user := map[string]int{}
	for i, n := range names {
		if d.there[i] && !n.loose {
			user[n.path] = i
		}
	}
	twice := map[int]bool{}
	found := map[int]string{}
	for i, n := range names {
		if d.there[i] && !n.loose {
			continue
		}
		f := e.find(n.path)
		if f == "" {
			d.there[i] = d.there[i] && !n.loose
			continue
		}
		if j, taken := user[f]; taken {
			twice[i] = true
			if _, loose := found[j]; loose {
				twice[j] = true
			}
			continue
		}
		user[f], found[i] = i, f
	}
	for i, f := range found {
		if !twice[i] {
			d.paths[i], d.there[i] = f, true
			d.ended++
		}
	}
	for i := range twice {
		d.there[i] = false
		d.paths[i] = d.index.images[i].name
		if n := names[i]; n.path != "" {
			d.paths[i] = n.path
		}
	}
}
