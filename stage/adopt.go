package stage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"must/atomicfile"
)

// share makes files of one folder those of another too, with the folders between; a nil match takes all.
// Files that are replaced as a whole are linked and take no more room; logs, which grow, are copied.
func share(from, to string, match func(name string) bool) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return nil
		}
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, inside)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o777)
		case !d.Type().IsRegular(), match != nil && !match(d.Name()):
			return nil
		}
		if _, err := os.Lstat(target); err == nil {
			return nil
		}
		if !strings.HasSuffix(path, ".jsonl") && os.Link(path, target) == nil {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return atomicfile.WriteFile(target, b)
	})
}
