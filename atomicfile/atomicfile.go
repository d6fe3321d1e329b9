// Package atomicfile writes files that are either whole or not there: the content goes to a
// temporary name in the same folder, is synced, and is then renamed over the final name, so that
// neither kill -9 nor a power cut nor a full disk leaves half a file behind or harms the old one.
package atomicfile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// A File is a file under a temporary name until Commit gives it its own.
type File struct {
	*os.File
	path string
	open bool
}

// Create opens a temporary file beside path. Call Commit to put it in place; Abort, which does
// nothing after Commit, is meant to be deferred. After kill -9 the temporary file stays behind; its
// name matches TempPattern(path).
func Create(path string) (*File, error) {
	dir, base := filepath.Split(path)
	for {
		// Not os.CreateTemp: its files are readable by their owner only, ours obey the umask.
		name := dir + "." + base + "." + strconv.FormatUint(rand.Uint64(), 36) + ".tmp"
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		return &File{File: f, path: path, open: true}, nil
	}
}

// TempPattern is a filepath.Match pattern of base names: those of the temporary files of path.
func TempPattern(path string) string { return "." + filepath.Base(path) + ".*.tmp" }

// Commit syncs the content, renames the file to its path and syncs the folder. When it fails, the
// temporary file is gone and what was at path before is untouched.
func (f *File) Commit() error {
	if !f.open {
		return fmt.Errorf("write %s: already closed", f.path)
	}
	defer f.Abort()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	f.open = false
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

// Abort closes and removes the temporary file.
func (f *File) Abort() {
	if f.open {
		f.open = false
		f.Close()
		os.Remove(f.Name())
	}
}

// Write puts what fn writes at path, in place of what was there. Writes are buffered. When fn or
// the disk fails, the old file stays and the error names path.
func Write(path string, fn func(io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := fn(w); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit()
}

// WriteFile puts b at path, in place of what was there.
func WriteFile(path string, b []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// WriteJSON puts v at path as JSON for people too: indented, with a newline at its end.
func WriteJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteFile(path, append(b, '\n'))
}

// syncDir makes a rename in the folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
