package imagenet

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"must/atomicfile"
	"must/data/imagefile"
)

const (
	maxImage = 1 << 30 // bytes
	worth    = 10000   // images from which an index is worth keeping
)

// A member is a file in a tar: the base of its name, and where its bytes are in the outermost file.
type member struct {
	Name         string
	Offset, Size int64
}

// A source is a tar of images, in a file of its own or in another tar. The id is that of its class, "" if
// it holds all.
type source struct {
	file, id     string
	offset, size int64
}

// An index says where the images of sources are: for each of them its members.
type index struct {
	Stamp   string // of the files that it was made of
	Members [][]member
}

// wholeFile returns the tar that is a file.
func wholeFile(file, id string) (source, error) {
	info, err := os.Stat(file)
	if err != nil {
		return source{}, err
	}
	return source{file, id, 0, info.Size()}, nil
}

// classTars lists the tars of classes in the training archive.
func classTars(file string) ([]source, error) {
	whole, err := wholeFile(file, "")
	if err != nil {
		return nil, err
	}
	members, err := whole.scan(func(name string) bool {
		id, ok := strings.CutSuffix(name, ".tar")
		return ok && wnidPattern.MatchString(id)
	})
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("%s: no class tars such as n01440764.tar in it", file)
	}
	sources := make([]source, len(members))
	for i, m := range members {
		sources[i] = source{file, strings.TrimSuffix(m.Name, ".tar"), m.Offset, m.Size}
	}
	return sources, nil
}

// scan lists the members whose base name matches. Only headers are read. The error names the tar.
func (s source) scan(match func(name string) bool) ([]member, error) {
	f, err := os.Open(s.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name := s.file
	if s.id != "" && s.offset > 0 {
		name += ": " + s.id + ".tar"
	}
	section := io.NewSectionReader(f, s.offset, s.size)
	t := tar.NewReader(section)
	var out []member
	last := "its beginning"
	for {
		h, err := t.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: after %s: the tar is damaged or cut short: %w; fetch it again", name, last, err)
		}
		last = h.Name
		base := path.Base(h.Name)
		if h.Typeflag != tar.TypeReg || strings.HasPrefix(base, ".") || !match(base) {
			continue
		}
		at, err := section.Seek(0, io.SeekCurrent) // a tar.Reader reads not beyond the header
		if err != nil {
			return nil, err
		}
		if h.Size > s.size-at {
			return nil, fmt.Errorf("%s: the tar is cut short in %s; fetch it again", name, last)
		}
		out = append(out, member{base, s.offset + at, h.Size})
	}
}

// openIndex returns the index of sources: a kept one, else of their headers as they are.
func openIndex(sources []source) (*index, error) {
	cache, stamp, err := cacheFile(sources)
	if err != nil {
		return nil, err
	}
	if ix := loadIndex(cache, stamp, sources); ix != nil {
		return ix, nil
	}
	ix, err := buildIndex(sources)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, members := range ix.Members {
		n += len(members)
	}
	if ix.Stamp = stamp; n >= worth && cache != "" {
		saveIndex(cache, ix) // without it the next opening takes longer, that is all
	}
	return ix, nil
}

// buildIndex scans sources, more at a time than there are cores, for it is the disk that is waited for.
func buildIndex(sources []source) (*index, error) {
	ix := &index{Members: make([][]member, len(sources))}
	errs := make([]error, len(sources))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(4*runtime.GOMAXPROCS(0), len(sources)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(sources)); i = next.Add(1) - 1 {
				ix.Members[i], errs[i] = sources[i].scan(imagefile.HasExtension)
				for _, m := range ix.Members[i] {
					if m.Size > maxImage && errs[i] == nil {
						errs[i] = fmt.Errorf("%s: %s: %d bytes are too many for an image", sources[i].file, m.Name, m.Size)
					}
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return ix, nil
}

// cacheFile returns where the index of sources is kept, "" where there is no place, and the stamp of the
// files as they are now: their names, sizes and times.
func cacheFile(sources []source) (file, stamp string, err error) {
	paths, state := sha256.New(), sha256.New()
	last := ""
	for _, s := range sources {
		if s.file == last {
			continue
		}
		last = s.file
		full, err := filepath.Abs(s.file)
		if err != nil {
			return "", "", err
		}
		info, err := os.Stat(s.file)
		if err != nil {
			return "", "", err
		}
		fmt.Fprintln(paths, full)
		fmt.Fprintln(state, full, info.Size(), info.ModTime().UnixNano())
	}
	stamp = hex.EncodeToString(state.Sum(nil))
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", stamp, nil
	}
	return filepath.Join(dir, "must", "imagenet-"+hex.EncodeToString(paths.Sum(nil)[:8])+".index"), stamp, nil
}

// loadIndex returns a kept index, nil where there is none that fits the files as they are now.
func loadIndex(cache, stamp string, sources []source) *index {
	f, err := os.Open(cache)
	if err != nil {
		return nil
	}
	defer f.Close()
	var ix index
	if gob.NewDecoder(bufio.NewReaderSize(f, 1<<20)).Decode(&ix) != nil || ix.Stamp != stamp || len(ix.Members) != len(sources) {
		return nil
	}
	for i, s := range sources {
		for _, m := range ix.Members[i] {
			if m.Offset < s.offset || m.Size < 0 || m.Size > maxImage || m.Offset-s.offset > s.size-m.Size {
				return nil
			}
		}
	}
	return &ix
}

func saveIndex(cache string, ix *index) error {
	if err := os.MkdirAll(filepath.Dir(cache), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(cache, func(w io.Writer) error { return gob.NewEncoder(w).Encode(ix) })
}
