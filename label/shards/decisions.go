package shards

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"must/data"
	"must/task/registry"
)

// What people decide about labels stands beside the shards, which stay as they were written:
// review/decisions.jsonl, one line per decision, only ever appended to. Every line names the label that
// was looked at by its hash, and holds for that label only. Whoever reads the set obeys: Open reads the
// decisions, and read, through which every label passes, applies them.

// Decisions that there are.
const (
	Keep     = "keep"      // the labels are good, but for tasks that are dropped
	Drop     = "drop"      // none of the labels is used
	DropTask = "drop-task" // those of the tasks that Labels names are not used
	Delete   = "delete"    // an object is not there
	Rename   = "rename"    // an object, or the image, is of another class
	Replace  = "replace"   // other labels take the place
	Undo     = "undo"      // the last decision on this key that stands does not
)

// A Decision is a line of the file.
type Decision struct {
	Key    string            `json:"key"`
	N      int               `json:"n"` // lines of this key before it
	Do     string            `json:"do"`
	Labels map[string]string `json:"labels,omitempty"` // by task, LabelHash of what was looked at
	Object *int              `json:"object,omitempty"` // delete and rename: which of the list
	Class  string            `json:"class,omitempty"`  // rename: the new one
	With   map[string][]byte `json:"with,omitempty"`   // replace: by task, a member as the tar would have it
}

const (
	reviewDir     = "review"
	decisionsName = "decisions.jsonl"
)

// DecisionsPath is the file of the decisions about the set in dir. It is part of what the labels are: who
// remembers a set by its content has to look at it too.
func DecisionsPath(dir string) string { return filepath.Join(dir, reviewDir, decisionsName) }

// LabelHash identifies the label of one task of one image.
func LabelHash(member []byte) string {
	h := sha256.Sum256(member)
	return hex.EncodeToString(h[:16])
}

// check refuses lines that say nothing.
func (d Decision) check() error {
	if !validKey(d.Key) {
		return fmt.Errorf("key %q is not a relative path", d.Key)
	}
	for t := range d.Labels {
		if !registry.Has(t) {
			return fmt.Errorf("there is no task %q", t)
		}
	}
	if len(d.Labels) == 0 && d.Do != Undo {
		return fmt.Errorf("%s names no label", d.Do)
	}
	switch d.Do {
	case Keep, Drop, DropTask, Undo:
	case Delete:
		if d.Object == nil {
			return errors.New("delete names no object")
		}
	case Rename:
		if d.Class == "" {
			return errors.New("rename names no class")
		}
	case Replace:
		if len(d.With) == 0 {
			return errors.New("replace has nothing to replace by")
		}
	default:
		return fmt.Errorf("there is no decision %q", d.Do)
	}
	return nil
}

// Decisions are those on a set.
type Decisions struct {
	lines map[string][]Decision // all, by key
	stand map[string][]Decision // without those undone
	stale atomic.Int64
}

// ReadDecisions reads the decisions beside a set. A last line without its end is one that a killed
// process was writing; it was never acknowledged and does not count.
func ReadDecisions(dir string) (*Decisions, error) {
	ds := &Decisions{lines: map[string][]Decision{}, stand: map[string][]Decision{}}
	path := DecisionsPath(dir)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ds, nil
	}
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return ds, nil
		}
		b = rest
		if len(line) == 0 { // the end that a later process gave to a broken line
			continue
		}
		var d Decision
		err := json.Unmarshal(line, &d)
		if err == nil {
			err = d.check()
		}
		if err != nil {
			if bytes.HasSuffix(line, []byte(broken)) {
				continue
			}
			return nil, fmt.Errorf("%s: line %d: %w; mend or remove this line", path, n, err)
		}
		ds.add(d)
	}
}

// broken ends a line that a killed process left unfinished, so that it is told from a damaged one.
const broken = "\x18" // CAN

func (ds *Decisions) add(d Decision) {
	ds.lines[d.Key] = append(ds.lines[d.Key], d)
	if d.Do != Undo {
		ds.stand[d.Key] = append(ds.stand[d.Key], d)
	} else if n := len(ds.stand[d.Key]); n > 1 {
		ds.stand[d.Key] = slices.Clone(ds.stand[d.Key][:n-1])
	} else {
		delete(ds.stand, d.Key)
	}
}

// Of returns the decisions on a key that stand, in their order.
func (ds *Decisions) Of(key string) []Decision { return ds.stand[key] }

// Keys lists the images with decisions that stand, in no order.
func (ds *Decisions) Keys() []string { return slices.Collect(maps.Keys(ds.stand)) }

// Counts says how much was decided.
type Counts struct {
	Images   int `json:"images"` // with a decision that stands
	Kept     int `json:"kept"`
	Dropped  int `json:"dropped"`
	Tasks    int `json:"tasks"`   // dropped, of images
	Deleted  int `json:"deleted"` // objects
	Renamed  int `json:"renamed"`
	Replaced int `json:"replaced"`
}

func (c Counts) String() string {
	return fmt.Sprintf("%d kept, %d dropped, %d dropped for a task, %d objects deleted, %d renamed, %d with other labels", c.Kept, c.Dropped, c.Tasks, c.Deleted, c.Renamed, c.Replaced)
}

// Counts counts the decisions that stand. An image is kept or dropped by the last word on it.
func (ds *Decisions) Counts() (c Counts) {
	for key := range ds.stand {
		c.Images++
		switch ds.Verdict(key) {
		case Keep:
			c.Kept++
		case Drop:
			c.Dropped++
		}
		for _, d := range ds.stand[key] {
			switch d.Do {
			case DropTask:
				c.Tasks += len(d.Labels)
			case Delete:
				c.Deleted++
			case Rename:
				c.Renamed++
			case Replace:
				c.Replaced++
			}
		}
	}
	return c
}

// Verdict is the last word on an image: Keep, Drop, or "".
func (ds *Decisions) Verdict(key string) string {
	for _, d := range slices.Backward(ds.stand[key]) {
		if d.Do == Keep || d.Do == Drop {
			return d.Do
		}
	}
	return ""
}

// Stale counts decisions that were met so far and are on labels that have been made anew since: they do
// not hold.
func (ds *Decisions) Stale() int { return int(ds.stale.Load()) }

// A Decided is a label as decided.
type Decided struct {
	Member  []byte
	Hash    string
	Dropped bool
	Stale   int // decisions on other labels than this one
	edits   []Decision
}

// Apply says what becomes of the member of one task.
func (ds *Decisions) Apply(key, task string, member []byte) Decided {
	r := Decided{Member: member}
	list := ds.stand[key]
	if len(list) == 0 {
		return r
	}
	r.Hash = LabelHash(member)
	all, only := false, false
	for _, d := range list {
		hash, concerns := d.Labels[task]
		switch {
		case !concerns:
		case hash != r.Hash:
			r.Stale++
		case d.Do == Keep || d.Do == Drop:
			all = d.Do == Drop
		case d.Do == DropTask:
			only = true
		case d.Do == Replace && d.With[task] != nil:
			r.Member, all, only, r.edits = d.With[task], false, false, nil
			r.Hash = LabelHash(r.Member)
		case d.Do == Delete || d.Do == Rename:
			r.edits = append(r.edits, d)
		}
	}
	r.Dropped = all || only
	return r
}

// decode parses a member as decided into the sample.
func (ds *Decisions) decode(member []byte, task string, t Task, s *data.Sample, size image.Point) error {
	r := ds.Apply(s.Key, task, member)
	ds.stale.Add(int64(r.Stale))
	if r.Dropped {
		return nil
	}
	if err := decode(r.Member, task, t, s, size); err != nil {
		return err
	}
	return r.edit(task, t, s)
}

// edit deletes and renames.
func (r Decided) edit(task string, t Task, s *data.Sample) error {
	if len(r.edits) == 0 {
		return nil
	}
	l, ok := s.Label(task).(editable)
	if !ok {
		return nil // nothing in it can be named
	}
	deleted, renamed := map[int]bool{}, map[int]int{}
	for _, d := range r.edits {
		object := -1
		if d.Object != nil {
			object = *d.Object
		}
		if d.Do == Delete {
			deleted[object] = true
			continue
		}
		class := slices.Index(t.Classes, d.Class)
		if class < 0 {
			return fmt.Errorf("a decision renames to %q, which is no class of the set", d.Class)
		}
		renamed[object] = class
	}
	edited, err := l.Edit(deleted, renamed)
	if err != nil {
		return fmt.Errorf("a decision is %w", err)
	}
	s.Put(edited)
	return nil
}

// An editable label takes what people decide about its parts: which objects are deleted, and the class
// that an object, or the image under -1, has in truth.
type editable interface {
	Edit(deleted map[int]bool, renamed map[int]int) (data.Label, error)
}
