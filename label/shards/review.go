package shards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"github.com/gofrs/flock"

	"must/data"
)

// A Review takes decisions on a set. One process at a time has it. It is safe for concurrent use.
type Review struct {
	*Table // of the labels as they were written

	mu   sync.Mutex
	lock *flock.Flock
	file *os.File
	ds   *Decisions
	made []string // keys of the decisions of this process, in their order, for Undo
}

// OpenReview opens a finished set to decide on its labels.
func OpenReview(dir string) (*Review, error) {
	set, err := Open(dir)
	if err != nil {
		return nil, err
	}
	table, err := set.AsWritten().Table()
	if err != nil {
		return nil, err
	}
	r := &Review{Table: table, ds: set.decisions}
	if err := os.MkdirAll(filepath.Join(dir, reviewDir), 0o777); err != nil {
		return nil, fmt.Errorf("review labels: %w", err)
	}
	if r.lock, err = acquire(filepath.Join(dir, reviewDir, "lock"), false); err != nil {
		return nil, err
	}
	if r.lock == nil {
		return nil, fmt.Errorf("review labels: another process decides on %s; end it, or review a copy and merge", dir)
	}
	if r.file, err = openLog(DecisionsPath(dir)); err != nil {
		r.Close()
		return nil, err
	}
	// What another process may have decided between Open and the lock.
	if r.ds, err = ReadDecisions(dir); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// openLog opens the file for appending and ends a line that a killed process did not finish.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err = f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = io.WriteString(f, broken+"\n")
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close ends the review.
func (r *Review) Close() {
	if r.file != nil {
		r.file.Close()
	}
	r.lock.Unlock()
}

// Decide writes a decision down. It counts, and is on the disk, when Decide returns. N and, but for undo,
// the hashes of the labels are filled in: of the tasks that d.Labels names, or of all that the image has.
func (r *Review) Decide(i int, d Decision) error {
	d.Key = r.Keys[i]
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.Do != Undo {
		tasks := r.index.tasks()
		if d.Labels != nil {
			tasks = slices.DeleteFunc(tasks, func(t string) bool { _, ok := d.Labels[t]; return !ok })
		}
		d.Labels = map[string]string{}
		for _, task := range tasks {
			member, err := r.Member(i, task)
			if err != nil {
				return err
			}
			if member == nil {
				continue
			}
			now := r.ds.Apply(d.Key, task, member)
			if d.Labels[task] = now.Hash; now.Hash == "" {
				d.Labels[task] = LabelHash(member)
			}
		}
		if len(d.Labels) == 0 {
			return fmt.Errorf("%s has no label to decide on", d.Key)
		}
	} else if len(r.ds.stand[d.Key]) == 0 {
		return fmt.Errorf("nothing is decided about %s", d.Key)
	}
	if err := r.valid(i, d); err != nil {
		return err
	}
	return r.append(d)
}

// valid refuses what could not be read back.
func (r *Review) valid(i int, d Decision) error {
	if d.N = len(r.ds.lines[d.Key]); d.check() != nil {
		return d.check()
	}
	trial := &Decisions{stand: map[string][]Decision{d.Key: append(slices.Clone(r.ds.stand[d.Key]), d)}}
	if d.Do == Undo {
		return nil
	}
	for task := range d.Labels {
		member, err := r.Member(i, task)
		if err != nil {
			return err
		}
		size := r.Size(i)
		if err := trial.decode(member, task, r.index.Tasks[task], &data.Sample{Key: d.Key}, size); err != nil {
			return err
		}
	}
	return nil
}

// append writes a line, whole and synced, and remembers it.
func (r *Review) append(d Decision) error {
	d.N = len(r.ds.lines[d.Key])
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return err
	}
	if _, err := r.file.Write(line.Bytes()); err != nil {
		return fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	r.ds.add(d)
	if d.Do != Undo {
		r.made = append(r.made, d.Key)
	}
	return nil
}

// ErrNothing is returned by Undo where nothing is left to undo.
var ErrNothing = errors.New("nothing was decided since this review was opened")

// Undo takes the latest decision of this process back and returns its image.
func (r *Review) Undo() (key string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.made)
	if n == 0 {
		return "", ErrNothing
	}
	key = r.made[n-1]
	r.made = r.made[:n-1]
	return key, r.append(Decision{Key: key, Do: Undo})
}

// Decisions calls f with the decisions, which it must not keep.
func (r *Review) Decisions(f func(*Decisions)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.ds)
}

// Decided returns the label of one task of an image as decided; its Member is nil where there is none.
func (r *Review) Decided(i int, task string) (Decided, error) {
	member, err := r.Member(i, task)
	if err != nil || member == nil {
		return Decided{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ds.Apply(r.Keys[i], task, member), nil
}

// Sample returns the labels of an image as decided.
func (r *Review) Sample(i int, tasks ...string) (*data.Sample, error) {
	s := &data.Sample{Key: r.Keys[i]}
	for _, task := range tasks {
		d, err := r.Decided(i, task)
		if err != nil {
			return nil, err
		}
		if d.Member == nil || d.Dropped {
			continue
		}
		if err := decode(d.Member, task, r.index.Tasks[task], s, r.Size(i)); err != nil {
			return nil, err
		}
		if err := d.edit(task, r.index.Tasks[task], s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Edit applies to a label the deletions and new names.
func (t *Table) Edit(d Decided, task string, s *data.Sample) error {
	return d.edit(task, t.index.Tasks[task], s)
}

// Edits returns which objects of the list of an image are decided away, and the classes others are
// renamed to.
func (d Decided) Edits() (gone map[int]bool, renamed map[int]string) {
	gone, renamed = map[int]bool{}, map[int]string{}
	for _, e := range d.edits {
		switch {
		case e.Object == nil:
		case e.Do == Delete:
			gone[*e.Object] = true
		case e.Do == Rename:
			renamed[*e.Object] = e.Class
		}
	}
	return gone, renamed
}

// A Merged tells what Merge did.
type Merged struct {
	Taken     int      // decisions taken over
	Conflicts []string // keys on which both decided otherwise
}

// Merge takes over the decisions that were made on a copy of the set, given by its folder or its file of
// decisions. On an image that both decided on since the copy, all decisions hold together; where one keeps
// it and the other drops it, it is dropped. Such images are listed, to be looked at again.
func (r *Review) Merge(from string) (m Merged, err error) {
	dir := from
	if info, err := os.Stat(from); err != nil {
		return m, err
	} else if !info.IsDir() {
		dir = filepath.Dir(filepath.Dir(from))
		if DecisionsPath(dir) != filepath.Clean(from) {
			return m, fmt.Errorf("%s: name the folder of the labels, or its %s", from, filepath.Join(reviewDir, decisionsName))
		}
	}
	if _, err := os.Stat(DecisionsPath(dir)); err != nil {
		return m, fmt.Errorf("merge decisions: %w", err)
	}
	theirs, err := ReadDecisions(dir)
	if err != nil {
		return m, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.Keys { // in the order of the set, so that the result does not depend on chance
		if list := theirs.lines[key]; list != nil {
			if err := r.mergeKey(key, list, theirs.stand[key], &m); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

func (r *Review) mergeKey(key string, lines, stand []Decision, m *Merged) error {
	own := r.ds.lines[key]
	common := 0
	for common < min(len(own), len(lines)) && reflect.DeepEqual(own[common], lines[common]) {
		common++
	}
	take := func(d Decision) error {
		m.Taken++
		return r.append(d)
	}
	if common == len(lines) {
		return nil
	}
	if common == len(own) { // only they went on
		for _, d := range lines[common:] {
			if err := take(d); err != nil {
				return err
			}
		}
		return nil
	}
	verdict := r.ds.Verdict(key)
	other := (&Decisions{stand: map[string][]Decision{key: stand}}).Verdict(key)
	conflict := verdict != "" && other != "" && verdict != other
	for _, d := range stand {
		if d.N < common { // known here, and perhaps undone
			continue
		}
		if slices.ContainsFunc(r.ds.stand[key], func(o Decision) bool { o.N = d.N; return reflect.DeepEqual(o, d) }) {
			continue
		}
		for _, o := range r.ds.stand[key] {
			if d.Object != nil && o.Object != nil && *d.Object == *o.Object && reflect.DeepEqual(d.Labels, o.Labels) || d.Do == Replace && o.Do == Replace {
				conflict = true
			}
		}
		if d.Do == Keep && verdict == Drop {
			continue // dropped it stays
		}
		if err := take(d); err != nil {
			return err
		}
	}
	if conflict {
		m.Conflicts = append(m.Conflicts, key)
	}
	return nil
}
