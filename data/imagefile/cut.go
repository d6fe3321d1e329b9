package imagefile

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// cut remembers the pictures of this process that were cut short, by content: a loader reads each again and again.
var cut struct {
	mu    sync.Mutex
	seen  map[[sha256.Size]byte]bool
	first string // the smallest name
}

func noteCut(name string, content []byte) {
	cut.mu.Lock()
	defer cut.mu.Unlock()
	if cut.seen == nil {
		cut.seen = map[[sha256.Size]byte]bool{}
	}
	cut.seen[sha256.Sum256(content)] = true
	if cut.first == "" || name < cut.first {
		cut.first = name
	}
}

// CutShort says how many pictures this process has used that are cut short, "" if none.
func CutShort() string {
	cut.mu.Lock()
	defer cut.mu.Unlock()
	if len(cut.seen) == 0 {
		return ""
	}
	return fmt.Sprintf("%d JPEG cut short, such as %s: the rows that are there were used, the rest is grey; get them again", len(cut.seen), cut.first)
}
