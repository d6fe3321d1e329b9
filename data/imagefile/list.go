package imagefile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// extensions are the names under which images are looked for. Some cannot be decoded, so that they
// are reported rather than overlooked.
var extensions = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}

// HasExtension reports whether a file is named like an image.
func HasExtension(name string) bool {
	return slices.Contains(extensions, strings.ToLower(path.Ext(name)))
}

// maxDepth is how deep folders may nest; a loop of links is deeper.
const maxDepth = 32

// List returns the image files in folder and all folders in it: slash-separated paths relative to
// folder, sorted. Hidden files and folders are left out, links are followed. Files are told by
// their extension; none is opened.
func List(folder string) ([]string, error) { return ListFunc(folder, HasExtension) }

// ListFunc is List for the files whose name, without the folder, matches.
func ListFunc(folder string, match func(name string) bool) ([]string, error) {
	var files []string
	if err := list(folder, ".", 0, match, &files); err != nil {
		return nil, err
	}
	slices.Sort(files)
	return files, nil
}

func list(folder, rel string, depth int, match func(string) bool, files *[]string) error {
	dir := filepath.Join(folder, filepath.FromSlash(rel))
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d folders deep: does a link lead back?", dir, maxDepth)
	}
	entries, err := ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name)
		switch {
		case e.Dir:
			if err := list(folder, name, depth+1, match, files); err != nil {
				return err
			}
		case match(e.Name):
			*files = append(*files, name)
		}
	}
	return nil
}

// An Entry is a file or folder in a folder.
type Entry struct {
	Name string
	Dir  bool
}

// litter are folders that systems leave among people's files.
var litter = []string{"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}

// ReadDir returns the files and folders in a folder, sorted by name, links followed, hidden ones, dead links and the
// litter of systems left out.
func ReadDir(dir string) ([]Entry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such folder", dir)
	}
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || slices.Contains(litter, e.Name()) {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(dir, e.Name()))
			if err != nil {
				continue
			}
			mode = info.Mode()
		}
		if mode.IsDir() || mode.IsRegular() {
			out = append(out, Entry{e.Name(), mode.IsDir()})
		}
	}
	return out, nil
}

// Keys returns the keys of files, as sample keys have to be: their paths without extension, or with
// it where two files differ in nothing else. Bytes that are not UTF-8 become %XX.
func Keys(files []string) []string {
	full := make([]string, len(files))
	keys := make([]string, len(files))
	for i, f := range files {
		full[i] = validUTF8(f)
		keys[i] = full[i]
		// "name" and "name/" would be no key: keep what is all extension.
		if stem := strings.TrimSuffix(full[i], path.Ext(full[i])); path.Base(full[i]) != path.Ext(full[i]) {
			keys[i] = stem
		}
	}
	// A full name may in turn be the stem of another file, "a.png" of "a.png.jpg".
	for again := true; again; {
		again = false
		count := make(map[string]int, len(keys))
		for _, k := range keys {
			count[k]++
		}
		for i, k := range keys {
			if count[k] > 1 && k != full[i] {
				keys[i], again = full[i], true
			}
		}
	}
	return keys
}

func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// The splits that InSplit knows.
var Splits = []string{"train", "val", "test"}

// SplitOf returns which of Splits a word names, such as valid and validation val; "" if none.
func SplitOf(word string) string {
	switch strings.ToLower(word) {
	case "train", "training":
		return "train"
	case "val", "valid", "validation":
		return "val"
	case "test", "testing":
		return "test"
	}
	return ""
}

// InSplit assigns a file to one of Splits by the hash of its key, for folders that come without a
// split: 90 % train, 5 % val, 5 % test. The same file is always in the same split, whatever else
// is in the folder.
func InSplit(key, split string) bool {
	sum := sha256.Sum256([]byte(key))
	of := "train"
	switch binary.BigEndian.Uint64(sum[:]) % 20 {
	case 0:
		of = "val"
	case 1:
		of = "test"
	}
	return of == split
}

// ByHash is the note of a set whose parts InSplit tells.
func ByHash(split string) string {
	share := map[string]string{"train": "90 %", "val": "5 %", "test": "5 %"}[split]
	return fmt.Sprintf("no folders of parts in it: the %s part is about %s of the images, told by the hash of their names; split \"\" is all", split, share)
}

// CheckSplit reports a split that InSplit does not know; "" is all files.
func CheckSplit(split string) error {
	if split == "" || slices.Contains(Splits, split) {
		return nil
	}
	return fmt.Errorf("split is %q, want one of %s", split, strings.Join(Splits, ", "))
}
