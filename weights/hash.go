package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// hashes remembers those of files, which can be large.
var hashes sync.Map // fileState → string

type fileState struct {
	path string
	size int64
	time time.Time
}

// Hash returns the SHA-256 of a file in hexadecimal; of an index, that of the digests of the index and
// of the files that it names. A file is read again only when its size or time of change is another.
func Hash(path string) (string, error) {
	sum, err := hashFile(path)
	if err != nil || !strings.HasSuffix(path, ".json") {
		return sum, err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	shards, err := readIndex(f, info.Size())
	if err != nil || shards == nil {
		return sum, nil // another JSON file
	}
	all := sha256.New()
	fmt.Fprintln(all, sum)
	files := slices.Sorted(maps.Values(shards))
	for _, file := range slices.Compact(files) {
		sum, err := hashFile(filepath.Join(filepath.Dir(path), file))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(all, sum)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	state := fileState{path, info.Size(), info.ModTime()}
	if sum, ok := hashes.Load(state); ok {
		return sum.(string), nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	hashes.Store(state, sum)
	return sum, nil
}
