package shards

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"must/atomicfile"
	"must/data"
	kinds "must/task"
	"must/task/registry"
)

// DefaultShardSize is the number of samples per shard where Options gives none.
const DefaultShardSize = 1000

// Options of a Writer.
type Options struct {
	ShardSize int // samples per shard of a new set, 0: DefaultShardSize; a set that is there keeps its own
}

// A Writer fills a set with labels, shard by shard. Its methods may be called concurrently, and
// other processes may have Writers on the same set.
//
//	w, err := shards.NewWriter(dir, dataset, provenance, shards.Options{})
//	for {
//		shard, ok, err := w.Claim(ctx)
//		if !ok { break }
//		for i := shard.From; i < shard.To; i++ {
//			shard.Add(label of sample i) or shard.Skip(key, why)
//		}
//		err = shard.Commit()
//	}
//	err = w.Finish()
type Writer struct {
	dir     string
	dataset data.Dataset
	index   Index
	program string
	totals  Totals // of the set once it is finished

	mu   sync.Mutex
	done []bool // shards known to be finished
}

// NewWriter makes the set in dir for the labels of d, or goes on with one that was begun. A set with
// labels of other teachers, settings or images is refused. NewWriter fills in p.Dataset but for its
// name.
func NewWriter(dir string, d data.Dataset, p Provenance, o Options) (*Writer, error) {
	if o.ShardSize == 0 {
		o.ShardSize = DefaultShardSize
	}
	if o.ShardSize < 0 {
		return nil, fmt.Errorf("labels in %s: %d samples per shard", dir, o.ShardSize)
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("labels in %s: %w", dir, err)
	}
	p.Dataset = Identify(p.Dataset.Name, d)
	for _, folder := range append(p.tasks(), manifestDir) {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o777); err != nil {
			return nil, fmt.Errorf("labels in %s: %w", dir, err)
		}
	}

	l, err := acquire(filepath.Join(dir, manifestDir, "index.lock"), true)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	x, err := readIndex(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x = &Index{Format: formatName, Version: formatVersion, Provenance: p, ShardSize: o.ShardSize, Shards: []Entry{}}
		if err := writeJSON(filepath.Join(dir, indexName), x); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if diff := x.differences(p); len(diff) > 0 {
			return nil, fmt.Errorf("%s holds labels of another making, which are not mixed:\n  %s\nlabel into another folder, or delete %[1]s to start over",
				dir, strings.Join(diff, "\n  "))
		}
	}
	return &Writer{dir: dir, dataset: d, index: *x, program: p.Program, done: make([]bool, x.count())}, nil
}

// Remaining returns the number of samples in shards that nobody has finished.
func (w *Writer) Remaining() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for k := range w.done {
		done, err := w.finished(k)
		if err != nil {
			return 0, err
		}
		if !done {
			from, to := w.index.bounds(k)
			n += to - from
		}
	}
	return n, nil
}

// finished reports whether shard k is there in full. A shard that was cut short after it had been
// finished is not.
func (w *Writer) finished(k int) (bool, error) {
	if w.done[k] {
		return true, nil
	}
	_, err := w.index.readHead(w.dir, k)
	if errors.Is(err, errUnfinished) {
		return false, nil
	}
	w.done[k] = err == nil
	return w.done[k], err
}

// Claim returns the next unfinished shard, which nobody else then works on. Where all that is left
// is being worked on elsewhere it waits, and takes over the shard of a process that dies. It returns
// false when every shard is finished.
func (w *Writer) Claim(ctx context.Context) (*Shard, bool, error) {
	for {
		s, busy, err := w.claim()
		if err != nil || s != nil || !busy {
			return s, s != nil, err
		}
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// claim takes the first free shard; busy says that others are at work on what is not finished.
func (w *Writer) claim() (s *Shard, busy bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.done {
		if done, err := w.finished(k); err != nil {
			return nil, false, err
		} else if done {
			continue
		}
		l, err := acquire(filepath.Join(w.dir, manifestDir, shardName(k)+".lock"), false)
		if err != nil {
			return nil, false, err
		}
		if l == nil {
			busy = true
			continue
		}
		// Someone may have finished it between the look and the lock.
		if done, err := w.finished(k); err != nil || done {
			l.Unlock()
			if err != nil {
				return nil, false, err
			}
			continue
		}
		s, err := w.newShard(k, l)
		if err != nil {
			l.Unlock()
			return nil, false, err
		}
		return s, false, nil
	}
	return nil, busy, nil
}

// Unstorable begins the reason for which a sample was skipped that could be read.
const Unstorable = "cannot be stored: "

// Retry opens finished shards again of which a skipped sample can be read by now.
func (w *Writer) Retry(readable func(index int) bool) error {
	for k := range w.index.count() {
		head, err := w.index.readHead(w.dir, k)
		if errors.Is(err, errUnfinished) || err == nil && head.Skipped == 0 {
			continue
		}
		if err != nil {
			return err
		}
		m, err := w.index.readManifest(w.dir, k)
		if errors.Is(err, errUnfinished) {
			continue
		}
		if err != nil {
			return err
		}
		again := false
		for i, key := range m.Keys {
			if why, skipped := m.Errors[key]; skipped && !strings.HasPrefix(why, Unstorable) && readable(m.From+i) {
				again = true
				break
			}
		}
		if !again {
			continue
		}
		l, err := acquire(filepath.Join(w.dir, manifestDir, m.Name+".lock"), false)
		if err != nil {
			return err
		}
		if l == nil { // somebody else is at it
			continue
		}
		err = os.Remove(manifestPath(w.dir, m.Name))
		retire(l)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.mu.Lock()
		w.done[k] = false
		w.mu.Unlock()
	}
	return nil
}

// Totals count what a set holds.
type Totals struct {
	Images, Skipped int
	Tasks           map[string]Count
}

func (t *Totals) add(m *manifest) {
	t.Images += m.To - m.From - m.Skipped
	t.Skipped += m.Skipped
	for task, c := range m.Counts {
		t.Tasks[task] = t.Tasks[task].add(c)
	}
}

// Totals are those of the set that Finish has finished.
func (w *Writer) Totals() Totals { return w.totals }

// Totals counts what the set holds, as it was written.
func (s *Set) Totals() (Totals, error) {
	t := Totals{Tasks: map[string]Count{}}
	for m, err := range s.manifests() {
		if err != nil {
			return t, err
		}
		t.add(m)
	}
	return t, nil
}

// Finish writes the index of the finished set. It is an error where shards are missing.
func (w *Writer) Finish() error {
	l, err := acquire(filepath.Join(w.dir, manifestDir, "index.lock"), true)
	if err != nil {
		return err
	}
	defer l.Unlock()
	x := w.index
	x.Complete, x.Skipped, x.Shards = true, 0, make([]Entry, 0, x.count())
	x.Tasks = maps.Clone(x.Tasks)
	w.totals = Totals{Tasks: map[string]Count{}}
	for k := range x.count() {
		m, err := x.readManifest(w.dir, k)
		if err != nil {
			return fmt.Errorf("finish the labels in %s: %w", w.dir, err)
		}
		for task, moments := range m.Moments {
			t := x.Tasks[task]
			t.Moments = t.Moments.Pool(moments)
			x.Tasks[task] = t
		}
		x.Shards = append(x.Shards, m.Entry)
		x.Skipped += m.Skipped
		w.totals.add(m)
		os.Remove(filepath.Join(w.dir, manifestDir, m.Name+".lock")) // left by who died after the commit
	}
	path := filepath.Join(w.dir, indexName)
	if err := removeTemps(path); err != nil {
		return err
	}
	return writeJSON(path, x)
}

func writeJSON(path string, v any) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	})
}

// removeTemps removes what a killed process left beside path.
func removeTemps(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(atomicfile.TempPattern(path), e.Name()); ok {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// A Shard takes the labels of samples [From, To) of the dataset, in order.
type Shard struct {
	From, To int

	w     *Writer
	k     int
	lock  *flock.Flock // nil: committed or closed
	tasks []string
	files []*tarFile // by position in tasks
	m     manifest
}

// tarFile is one tar under its temporary name.
type tarFile struct {
	file *atomicfile.File
	buf  *bufio.Writer
	hash hash.Hash
	size int64
	tar  *tar.Writer
	body bytes.Buffer // the entry being made
	has  bool         // body holds one
}

func (t *tarFile) Write(b []byte) (int, error) {
	n, err := t.buf.Write(b)
	t.hash.Write(b[:n])
	t.size += int64(n)
	return n, err
}

func (w *Writer) newShard(k int, l *flock.Flock) (*Shard, error) {
	from, to := w.index.bounds(k)
	s := &Shard{From: from, To: to, w: w, k: k, tasks: w.index.tasks()}
	s.m = manifest{
		manifestHead: manifestHead{
			Entry:      Entry{Name: shardName(k), From: from, To: to, Program: w.program, Files: map[string]File{}},
			Provenance: w.index.hash(w.index.ShardSize),
		},
		Keys: []string{}, Sizes: [][2]int{},
		Errors: map[string]string{}, Offsets: map[string][]int64{},
	}
	if err := removeTemps(manifestPath(w.dir, s.m.Name)); err != nil {
		return nil, err
	}
	for _, task := range s.tasks {
		path := tarPath(w.dir, task, s.m.Name)
		err := removeTemps(path)
		var f *atomicfile.File
		if err == nil {
			f, err = atomicfile.Create(path)
		}
		if err != nil {
			s.abort()
			return nil, err
		}
		t := &tarFile{file: f, buf: bufio.NewWriterSize(f, 1<<18), hash: sha256.New()}
		t.tar = tar.NewWriter(t)
		s.files = append(s.files, t)
	}
	s.lock = l
	return s, nil
}

// next checks that key is the sample whose turn it is.
func (s *Shard) next(key string) error {
	if s.lock == nil {
		return fmt.Errorf("labels in %s: %s is closed", s.w.dir, s.m.Name)
	}
	i := s.From + len(s.m.Keys)
	if i >= s.To {
		return fmt.Errorf("labels in %s: sample %s comes after the last of %s", s.w.dir, key, s.m.Name)
	}
	if want := s.w.dataset.Key(i); key != want {
		return fmt.Errorf("labels in %s: sample %s came where %s was due", s.w.dir, key, want)
	}
	if !validKey(key) {
		return fmt.Errorf("labels in %s: sample key %q is not a relative path", s.w.dir, key)
	}
	return nil
}

// Add stores the labels of the set's tasks that the sample carries; a task it does not carry, being
// labelled already or unknown, gets no entry. The image itself is not stored, but every label must
// have its frame. A label that cannot be stored is a data.SampleError; then nothing of the sample is
// stored, and Skip may follow.
func (s *Shard) Add(sample *data.Sample) error {
	if err := s.next(sample.Key); err != nil {
		return err
	}
	if sample.Image == nil {
		return fmt.Errorf("labels in %s: sample %s has no image to give the frame", s.w.dir, sample.Key)
	}
	size := sample.Image.Bounds().Size()
	for i, task := range s.tasks {
		t := s.files[i]
		t.body.Reset()
		if t.has = sample.Has(task); t.has {
			if err := encode(&t.body, task, s.w.index.Tasks[task], sample, size); err != nil {
				return &data.SampleError{Key: sample.Key, Err: fmt.Errorf("%s label: %w", task, err)}
			}
		}
	}
	for i, task := range s.tasks {
		t, at := s.files[i], int64(-1)
		if t.has {
			at = t.size
			if err := t.add(memberName(sample.Key, task)); err != nil {
				return fmt.Errorf("write %s: %w", tarPath(s.w.dir, task, s.m.Name), err)
			}
			if kind, ok := registry.Get(task).(kinds.Measured); ok {
				if s.m.Moments == nil {
					s.m.Moments = map[string]*data.Moments{}
				}
				s.m.Moments[task] = s.m.Moments[task].Pool(kind.Moments(sample.Label(task)))
			}
			f := s.m.Files[task]
			f.Samples++
			s.m.Files[task] = f
		}
		s.m.Offsets[task] = append(s.m.Offsets[task], at)
	}
	s.m.Keys = append(s.m.Keys, sample.Key)
	s.m.Sizes = append(s.m.Sizes, [2]int{size.X, size.Y})
	return nil
}

// Count notes how many labels of a task, objects or pixels, the sample that was added last carries, and which classes
// it shows.
func (s *Shard) Count(task string, labels int, shown []int) {
	if s.m.Counts == nil {
		s.m.Counts = map[string]Count{}
	}
	one := Count{Images: 1, Labels: labels}
	if labels == 0 {
		one.Empty = 1
	}
	if _, ok := registry.Get(task).(kinds.Classed); ok {
		one.Shown = make([]int, len(s.w.index.Tasks[task].Classes))
		for _, class := range shown {
			one.Shown[class] = 1
		}
	}
	s.m.Counts[task] = s.m.Counts[task].add(one)
}

// add writes body as a member. No time is stored, so that the same labels give the same bytes.
func (t *tarFile) add(name string) error {
	if err := t.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(t.body.Len())}); err != nil {
		return err
	}
	if _, err := t.tar.Write(t.body.Bytes()); err != nil {
		return err
	}
	return t.tar.Flush()
}

// Skip notes that a sample could not be read or labelled, and why.
func (s *Shard) Skip(key string, why error) error {
	if err := s.next(key); err != nil {
		return err
	}
	for _, task := range s.tasks {
		s.m.Offsets[task] = append(s.m.Offsets[task], -1)
	}
	s.m.Keys = append(s.m.Keys, key)
	s.m.Sizes = append(s.m.Sizes, [2]int{})
	s.m.Errors[key] = why.Error()
	s.m.Skipped++
	return nil
}

// Commit makes the shard part of the set: its tars get their names, then its manifest is written.
func (s *Shard) Commit() error {
	defer s.Close()
	if s.lock == nil {
		return fmt.Errorf("labels in %s: %s is closed", s.w.dir, s.m.Name)
	}
	if got, want := len(s.m.Keys), s.To-s.From; got != want {
		return fmt.Errorf("labels in %s: %s has %d samples of %d", s.w.dir, s.m.Name, got, want)
	}
	for i, task := range s.tasks {
		t := s.files[i]
		err := t.tar.Close()
		if err == nil {
			err = t.buf.Flush()
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", tarPath(s.w.dir, task, s.m.Name), err)
		}
		if err := t.file.Commit(); err != nil {
			return err
		}
		s.m.Files[task] = File{s.m.Files[task].Samples, t.size, hex.EncodeToString(t.hash.Sum(nil))}
	}
	b, err := json.Marshal(s.m)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(manifestPath(s.w.dir, s.m.Name), b); err != nil {
		return err
	}
	s.w.mu.Lock()
	s.w.done[s.k] = true
	s.w.mu.Unlock()
	retire(s.lock)
	s.lock = nil
	return nil
}

// Close gives up a shard that was not committed; someone may claim it anew. After Commit it does
// nothing, so it can be deferred.
func (s *Shard) Close() {
	if s.lock != nil {
		s.abort()
		s.lock.Unlock()
		s.lock = nil
	}
}

func (s *Shard) abort() {
	for _, t := range s.files {
		t.file.Abort()
	}
}
