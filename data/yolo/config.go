package yolo

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/data/text"
	"must/yamlfile"
)

// A config is what matters in data.yaml.
type config struct {
	Path       string `yaml:"path"`
	Train      any    `yaml:"train"`
	Val        any    `yaml:"val"`
	Valid      any    `yaml:"valid"`
	Validation any    `yaml:"validation"`
	Test       any    `yaml:"test"`
	Names      any    `yaml:"names"`
	NC         *int   `yaml:"nc"`
	Points     []int  `yaml:"kpt_shape"`
}

// findConfig returns the file of settings and makes its folder the root; "" if there is none.
func (d *dataset) findConfig() (string, error) {
	info, err := os.Stat(d.root)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		file := d.root
		d.root = filepath.Dir(file)
		return file, nil
	}
	entries, err := imagefile.ReadDir(d.root)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		if !e.Dir && slices.Contains([]string{".yaml", ".yml"}, strings.ToLower(path.Ext(e.Name))) {
			found = append(found, e.Name)
		}
	}
	if i := slices.Index(found, "data.yaml"); i >= 0 {
		found = found[i : i+1]
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return d.path(found[0]), nil
	}
	return "", fmt.Errorf("%s: several .yaml files in it (%s): give the path of one", d.root, strings.Join(found, ", "))
}

// configured takes the classes and the images of all parts that a file names. What is wrong with other parts
// than the one that is asked for does not matter.
func (d *dataset) configured(file, split string) error {
	content, err := text.ReadFileAs(file, d.encoding)
	if err != nil {
		return err
	}
	var c config
	if err := yamlfile.Unmarshal([]byte(content), &c, "a data.yaml"); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("%s: not the YAML of a YOLO set: %s", file, first)
	}
	if d.classes, err = classNames(c.Names, c.NC); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := d.spec.pose(c.Points); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	named := false
	for _, part := range []struct {
		name  string
		where []any
	}{{"train", []any{c.Train}}, {"val", []any{c.Val, c.Valid, c.Validation}}, {"test", []any{c.Test}}} {
		asked := split == "" || split == part.name
		for _, v := range part.where {
			places, err := texts(v)
			if err != nil && asked {
				return fmt.Errorf("%s: %s: %w", file, part.name, err)
			}
			for _, place := range places {
				named = named || asked
				if err := d.addPlace(c.Path, place, part.name); err != nil && asked {
					return fmt.Errorf("%s: %s: %w", file, part.name, err)
				}
			}
		}
	}
	if split != "" && !named {
		return data.NoPart(fmt.Errorf("%s: it names no %s part", file, split))
	}
	return nil
}

// classNames reads a list of names, or names by index; without names classes are called by number.
func classNames(v any, nc *int) ([]string, error) {
	const most = 1 << 16
	var names []string
	switch v := v.(type) {
	case []any:
		for _, n := range v {
			names = append(names, strings.TrimSpace(fmt.Sprint(n)))
		}
	case map[string]any:
		names = make([]string, len(v))
		for key, n := range v {
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return nil, fmt.Errorf("names: %q is no index below their number, %d: want 0 to %d, without a gap", key, len(v), len(v)-1)
			}
			names[i] = strings.TrimSpace(fmt.Sprint(n))
		}
	case nil:
		if nc != nil && *nc > 0 && *nc <= most {
			for i := range *nc {
				names = append(names, strconv.Itoa(i))
			}
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no names: want a list of the classes, or names by index")
	}
	if nc != nil && *nc != len(names) {
		return nil, fmt.Errorf("nc is %d, but there are %d names", *nc, len(names))
	}
	return names, nil
}

// texts reads a text or a list of texts; none for nil.
func texts(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if v == "" {
			return nil, nil
		}
		return []string{v}, nil
	case []any:
		var all []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("%v is no path", x)
			}
			all = append(all, s)
		}
		return all, nil
	}
	return nil, fmt.Errorf("%v is neither a path nor a list of paths", v)
}

// absolute reports whether a path, with slashes, is absolute on some system.
func absolute(p string) bool {
	return path.IsAbs(p) || len(p) > 2 && p[1] == ':' && p[2] == '/'
}

// inside makes a path of any system one below the root; an absolute one loses what is above it, or its drive.
func (d *dataset) inside(p string) string {
	p = text.Path(p)
	if root, err := filepath.Abs(d.root); err == nil && path.IsAbs(p) {
		if rel, err := filepath.Rel(root, filepath.FromSlash(p)); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
	}
	if absolute(p) {
		p = strings.TrimLeft(p[strings.Index(p, "/"):], "/")
	}
	for p = path.Clean(p); p == ".." || strings.HasPrefix(p, "../"); p = strings.TrimPrefix(strings.TrimPrefix(p, ".."), "/") {
	}
	return strings.TrimPrefix(path.Join("/", p), "/")
}

// addPlace adds the images of a folder, or of a list of images, below the set's path in the root or
// the root itself.
func (d *dataset) addPlace(base, place, part string) error {
	rel := d.inside(place)
	tries := []string{path.Join(d.inside(base), rel), rel}
	if absolute(text.Path(place)) { // of another machine: its end may be here
		for rest := rel; rest != ""; {
			tries = append(tries, rest)
			_, rest, _ = strings.Cut(rest, "/")
		}
	}
	for i, p := range tries {
		info, err := os.Stat(d.path(p))
		if err != nil || !info.IsDir() && !strings.EqualFold(path.Ext(p), ".txt") {
			continue
		}
		if i > 2 {
			note := fmt.Sprintf("%s is not here: %s taken in its place", place, p)
			if !slices.Contains(d.notes, note) {
				d.notes = append(d.notes, note)
			}
		}
		if info.IsDir() {
			return d.addFolder(p, part)
		}
		return d.addList(base, p, part)
	}
	return fmt.Errorf("%s: no folder or list (.txt) of images of this name below %s", place, d.root)
}

// addList adds the images of a list. "./" in front is the list's own folder, as in Ultralytics; other paths are
// below the set's, or that of the list.
func (d *dataset) addList(base, file, part string) error {
	content, err := text.ReadFileAs(d.path(file), d.encoding)
	if err != nil {
		return err
	}
	for n, line := range text.Lines(content) {
		rel := d.inside(line)
		if rel == "" {
			return fmt.Errorf("%s:%d: %q is no path of an image", file, n, line)
		}
		beside := path.Join(path.Dir(file), rel)
		tries := []string{rel, path.Join(d.inside(base), rel), beside}
		if strings.HasPrefix(text.Path(line), "./") {
			tries = []string{beside}
		}
		found := tries[0]
		for _, p := range tries {
			if _, err := os.Stat(d.path(p)); err == nil {
				found = p
				break
			}
		}
		if _, err := os.Stat(d.path(found)); err != nil && absolute(text.Path(line)) {
			for rest := rel; rest != ""; _, rest, _ = strings.Cut(rest, "/") {
				if _, err := os.Stat(d.path(rest)); err == nil {
					found = rest
					break
				}
			}
		}
		d.add(found, part)
	}
	return nil
}
