package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
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

// Hash returns the SHA-256 of a file in hexadecimal. The file is read again only when its size or time
// of change is another.
func Hash(path string) (string, error) {
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
