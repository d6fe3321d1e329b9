package stage

import (
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"must/atomicfile"
	"must/data"
)

// A limited data set counts the images that cannot be read, and is of no use where they are too many.
type limited struct {
	data.Dataset
	name  string // for people
	share float64

	mu     sync.Mutex
	broken map[int]bool
	first  error
}

func (l *limited) Unwrap() data.Dataset { return l.Dataset }

func (l *limited) Sample(i int) (*data.Sample, error) {
	s, err := l.Dataset.Sample(i)
	return s, l.note(i, err)
}

// Reduced makes a limited set a [data.Reducer] where the set itself is one.
func (l *limited) Reduced(i, side int) (*data.Sample, image.Point, error) {
	s, full, err := data.Reduced(l.Dataset, i, side)
	return s, full, l.note(i, err)
}

// note counts a sample that cannot be read, and turns its error into one that ends the stage where they are too many.
func (l *limited) note(i int, err error) error {
	if _, ok := errors.AsType[*data.SampleError](err); !ok {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken, l.first = map[int]bool{}, err
	}
	l.broken[i] = true
	// A few are no share of anything.
	if n, all := len(l.broken), l.Len(); n > 2 && float64(n) > l.share*float64(all) {
		return fmt.Errorf("%s: %d of its %d images cannot be read so far, more than the share of %v that max_broken allows; the first: %v", l.name, n, all, l.share, l.first)
	}
	return err
}

func (l *limited) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.broken)
}

// A Broken part has images that could not be read.
type Broken struct {
	Set    string `json:"set"`
	Part   string `json:"part"`
	Broken int    `json:"broken"`
	Images int    `json:"images"`
}

func (b Broken) String() string {
	return fmt.Sprintf("%d of %d images of %s (%s part)", b.Broken, b.Images, b.Set, b.Part)
}

// Broken lists, of some parts, those with images that this process could not read.
func (e *Env) Broken(parts []Part) (found []Broken) {
	for _, p := range parts {
		l, ok := e.opened["own/"+p.Set+"/"+p.Part].(*limited)
		if !ok || l.count() == 0 {
			continue
		}
		b := Broken{p.Set, p.Part, l.count(), l.Len()}
		if !slices.Contains(found, b) {
			found = append(found, b)
		}
	}
	return found
}

// brokenFolder is where processes that do parts of a stage leave what they could not read, a file each.
const brokenFolder = "unreadable"

// KeepBroken writes down, in a stage's folder, what this process could not read in one of its parts, for
// the process that ends the stage.
func (e *Env) KeepBroken(dir, part string, parts []Part) error {
	broken := e.Broken(parts)
	if len(broken) == 0 {
		return nil
	}
	name := strings.NewReplacer("/", "-", "\\", "-").Replace(part)
	return atomicfile.WriteJSON(filepath.Join(dir, brokenFolder, name+".json"), broken)
}

// KeptBroken joins what processes wrote down with what this one found. All read the same images of a part,
// so that the largest count is that of the part.
func KeptBroken(dir string, found []Broken) ([]Broken, error) {
	files, err := filepath.Glob(filepath.Join(dir, brokenFolder, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		var kept []Broken
		if err := readJSON(file, &kept); err != nil {
			return nil, err
		}
		for _, b := range kept {
			at := slices.IndexFunc(found, func(f Broken) bool { return f.Set == b.Set && f.Part == b.Part })
			if at < 0 {
				found = append(found, b)
			} else if found[at].Broken < b.Broken {
				found[at] = b
			}
		}
	}
	return found, nil
}
