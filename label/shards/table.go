package shards

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	"must/data"
)

// A Table finds the labels of any image of a set at once. It holds keys, sizes and places: some 60 bytes
// an image and 8 more for every task.
type Table struct {
	*Set
	Keys    []string          // in the order of the dataset
	Skipped map[string]string // images without labels, and why
	sizes   [][2]int32
	offsets map[string][]int64 // by task, -1: none
}

// AsWritten returns the set without the decisions on it.
func (s *Set) AsWritten() *Set {
	return &Set{dir: s.dir, index: s.index, decisions: &Decisions{}}
}

// Decisions returns those that reading the set obeys. They must not be changed.
func (s *Set) Decisions() *Decisions { return s.decisions }

// Tasks lists the tasks of the set in the order in which they are always shown.
func (s *Set) Tasks() []string { return s.index.tasks() }

// Table reads the manifests.
func (s *Set) Table() (*Table, error) {
	x := s.index
	t := &Table{Set: s, Keys: make([]string, x.Dataset.Samples), Skipped: map[string]string{}, sizes: make([][2]int32, x.Dataset.Samples), offsets: map[string][]int64{}}
	for _, task := range x.tasks() {
		t.offsets[task] = make([]int64, x.Dataset.Samples)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, len(x.Shards))
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for k := range x.Shards {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			m, err := x.readManifest(s.dir, k)
			if err != nil {
				errs[k] = fmt.Errorf("open labels: %w; run must label again", err)
				return
			}
			copy(t.Keys[m.From:], m.Keys)
			for i, size := range m.Sizes {
				t.sizes[m.From+i] = [2]int32{int32(size[0]), int32(size[1])}
			}
			for task, to := range t.offsets {
				copy(to[m.From:], m.Offsets[task])
			}
			mu.Lock()
			defer mu.Unlock()
			for key, why := range m.Errors {
				t.Skipped[key] = why
			}
		})
	}
	wg.Wait()
	return t, errors.Join(errs...)
}

// Size is the size of an image; 0, 0 where it was skipped.
func (t *Table) Size(i int) image.Point { return image.Pt(int(t.sizes[i][0]), int(t.sizes[i][1])) }

// Dir is the folder of the set.
func (s *Set) Dir() string { return s.dir }

// Has reports whether an image has a label of a task.
func (t *Table) Has(i int, task string) bool {
	return t.offsets[task] != nil && t.offsets[task][i] >= 0
}

// Shard returns the number of the shard of an image.
func (t *Table) Shard(i int) int { return i / t.index.ShardSize }

// Member returns the member of one task of an image as the tar has it, nil where there is none.
func (t *Table) Member(i int, task string) ([]byte, error) {
	if t.offsets[task] == nil || t.offsets[task][i] < 0 {
		return nil, nil
	}
	path := tarPath(t.dir, task, t.index.Shards[t.Shard(i)].Name)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readMember(f, t.offsets[task][i], memberName(t.Keys[i], task))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w; %s", path, t.Keys[i], err, remedy(path))
	}
	return b, nil
}

// Scan calls f with the members of a shard, task by task and in order, of those tasks of the set that are
// named. It opens every tar once.
func (t *Table) Scan(shard int, tasks []string, f func(i int, task string, member []byte) error) error {
	e := t.index.Shards[shard]
	for _, task := range t.index.tasks() {
		if !slices.Contains(tasks, task) {
			continue
		}
		if err := t.scan(e, task, f); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) scan(e Entry, task string, f func(int, string, []byte) error) error {
	path := tarPath(t.dir, task, e.Name)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	for i := e.From; i < e.To; i++ {
		at := t.offsets[task][i]
		if at < 0 {
			continue
		}
		b, err := parseMember(io.NewSectionReader(file, at, info.Size()-at), memberName(t.Keys[i], task))
		if err == nil {
			err = f(i, task, b)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w; %s", path, t.Keys[i], err, remedy(path))
		}
	}
	return nil
}

// Decode parses a member into a sample.
func (t *Table) Decode(i int, task string, member []byte, s *data.Sample) error {
	return decode(member, task, t.index.Tasks[task], s, t.Size(i))
}

// Decided reads the labels that people decided on otherwise than they were written: by key, and by task,
// nil where a label is dropped.
func (s *Set) Decided() (map[string]map[string]data.Label, error) {
	all := map[string]map[string]data.Label{}
	if len(s.decisions.stand) == 0 {
		return all, nil
	}
	t, err := s.Table()
	if err != nil {
		return nil, err
	}
	for i, key := range t.Keys {
		if len(s.decisions.stand[key]) == 0 {
			continue
		}
		for _, task := range t.index.tasks() {
			b, err := t.Member(i, task)
			if err != nil {
				return nil, err
			}
			sample := &data.Sample{Key: key}
			d := s.decisions.Apply(key, task, b)
			if b != nil && !d.Dropped {
				err = s.decisions.decode(b, task, t.index.Tasks[task], sample, t.Size(i))
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", s.dir, key, err)
			}
			_, editable := sample.Label(task).(editable)
			if b == nil || !d.Dropped && bytes.Equal(d.Member, b) && (!editable || len(d.edits) == 0) {
				continue
			}
			if all[key] == nil {
				all[key] = map[string]data.Label{}
			}
			all[key][task] = sample.Label(task)
		}
	}
	return all, nil
}

// Encode makes the member of one task of an image of a sample's label.
func (t *Table) Encode(i int, task string, s *data.Sample) ([]byte, error) {
	if !slices.Contains(t.index.tasks(), task) {
		return nil, fmt.Errorf("the set has no %s", task)
	}
	var b bytes.Buffer
	err := encode(&b, task, t.index.Tasks[task], s, t.Size(i))
	return b.Bytes(), err
}
