package shards

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime"

	"must/data"
)

// A Set is a finished set of labels. It is safe for concurrent use.
type Set struct {
	dir       string
	index     *Index
	decisions *Decisions // that people made on the labels; reading obeys them
}

// Open opens a finished set and checks that its shards are there in full length. What people decided about
// its labels holds for all that is read from it.
func Open(dir string) (*Set, error) {
	x, err := readIndex(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open labels: %w; %s is not a folder that must label wrote", err, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open labels: %w", err)
	}
	if !x.Complete {
		return nil, fmt.Errorf("open labels: %s is not finished; run must label again, it goes on where it was", dir)
	}
	if len(x.Shards) != x.count() {
		return nil, fmt.Errorf("open labels: %s lists %d shards of %d; run must label again", dir, len(x.Shards), x.count())
	}
	for k, e := range x.Shards {
		if from, to := x.bounds(k); e.Name != shardName(k) || e.From != from || e.To != to {
			return nil, fmt.Errorf("open labels: %s: entry %d is %s with samples %d to %d; run must label again", dir, k, e.Name, e.From, e.To)
		}
		for _, task := range x.tasks() {
			path := tarPath(dir, task, e.Name)
			info, err := os.Stat(path)
			if err != nil {
				return nil, fmt.Errorf("open labels: %w; %s", err, remedy(path))
			}
			if info.Size() != e.Files[task].Bytes {
				return nil, fmt.Errorf("open labels: %s has %d bytes of %d; %s", path, info.Size(), e.Files[task].Bytes, remedy(path))
			}
		}
	}
	decisions, err := ReadDecisions(dir)
	if err != nil {
		return nil, fmt.Errorf("open labels: %w", err)
	}
	return &Set{dir, x, decisions}, nil
}

// remedy says how a damaged shard is mended.
func remedy(path string) string {
	return fmt.Sprintf("delete %s and run must label again, which makes that shard anew", path)
}

// Index returns the index. It must not be changed.
func (s *Set) Index() *Index { return s.index }

// Labels returns what the labels mean.
func (s *Set) Labels() data.Labels { return s.index.Labels() }

// Verify reads every shard and compares its SHA-256 with the index.
func (s *Set) Verify(ctx context.Context) error {
	for _, e := range s.index.Shards {
		for _, task := range s.index.tasks() {
			if err := ctx.Err(); err != nil {
				return err
			}
			path := tarPath(s.dir, task, e.Name)
			sum, err := fileSHA256(path)
			if err != nil {
				return fmt.Errorf("verify labels: %w; %s", err, remedy(path))
			}
			if sum != e.Files[task].SHA256 {
				return fmt.Errorf("verify labels: %s is not what was written; %s", path, remedy(path))
			}
		}
	}
	return nil
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// manifests yields those of all shards in order; they are read a few at a time, on all cores. It ends after the first
// error.
func (s *Set) manifests() iter.Seq2[*manifest, error] {
	return func(yield func(*manifest, error) bool) {
		type read struct {
			m   *manifest
			err error
		}
		n := len(s.index.Shards)
		ahead := make(chan chan read, 2*runtime.GOMAXPROCS(0))
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			defer close(ahead)
			for k := range n {
				one := make(chan read, 1)
				select {
				case ahead <- one: // no more are under way than this holds
				case <-stop:
					return
				}
				go func() {
					m, err := s.index.readManifest(s.dir, k)
					one <- read{m, err}
				}()
			}
		}()
		for one := range ahead {
			r := <-one
			if r.err != nil {
				r.err = fmt.Errorf("open labels: %w; run must label again", r.err)
			}
			if !yield(r.m, r.err) || r.err != nil {
				return
			}
		}
	}
}

// A Record is the labels of one image. Its sample has no image.
type Record struct {
	*data.Sample
	W, H int // of the image
}

// All yields the labels of all samples in the order of the dataset, without those that were skipped.
// It holds one shard's list of keys at a time. It ends after the first error.
func (s *Set) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for k := range s.index.Shards {
			m, err := s.index.readManifest(s.dir, k)
			if err != nil {
				yield(Record{}, fmt.Errorf("read labels: %w; run must label again", err))
				return
			}
			for i, key := range m.Keys {
				if _, skipped := m.Errors[key]; skipped {
					continue
				}
				r := Record{&data.Sample{Key: key}, m.Sizes[i][0], m.Sizes[i][1]}
				for _, task := range s.index.tasks() {
					if err = s.read(r.Sample, task, m.Name, m.Offsets[task][i], image.Pt(r.W, r.H)); err != nil {
						break
					}
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// read fills in the label of one task, whose member begins at offset. Where there is none it does
// nothing.
func (s *Set) read(sample *data.Sample, task, shard string, offset int64, size image.Point) error {
	if offset < 0 {
		return nil
	}
	path, name := tarPath(s.dir, task, shard), memberName(sample.Key, task)
	err := func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := readMember(f, offset, name)
		if err != nil {
			return err
		}
		return s.decisions.decode(b, task, s.index.Tasks[task], sample, size)
	}()
	if err != nil {
		return &data.SampleError{Key: sample.Key, File: path,
			Err: fmt.Errorf("member %s: %w; unless the image is no longer the one that was labelled, %s", name, err, remedy(path))}
	}
	return nil
}

// readMember reads the member that begins at offset and must have the name.
func readMember(f *os.File, offset int64, name string) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return parseMember(io.NewSectionReader(f, offset, info.Size()-offset), name)
}

func parseMember(r *io.SectionReader, name string) ([]byte, error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if err != nil {
		return nil, fmt.Errorf("the shard is damaged: %w", err)
	}
	if h.Name != name {
		return nil, fmt.Errorf("the shard is damaged: %q is in its place", h.Name)
	}
	if h.Typeflag != tar.TypeReg || h.Size > r.Size() { // before memory is taken
		return nil, fmt.Errorf("the shard is damaged: %d bytes of type %q of %d that are left", h.Size, h.Typeflag, r.Size())
	}
	b := make([]byte, h.Size)
	if _, err := io.ReadFull(t, b); err != nil {
		return nil, fmt.Errorf("the shard is damaged: %w", err)
	}
	return b, nil
}
