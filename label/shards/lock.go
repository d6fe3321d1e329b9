package shards

import (
	"fmt"
	"os"

	"github.com/gofrs/flock"
)

// acquire waits for a lock, or returns nil where wait is false and someone else has it. One process at a time
// holds the file; the kernel frees it when that process ends, however it ends.
func acquire(path string, wait bool) (*flock.Flock, error) {
	l := flock.New(path, flock.SetPermissions(0o666))
	held, err := true, error(nil)
	if wait {
		err = l.Lock()
	} else {
		held, err = l.TryLock()
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w (does the file system support flock?)", path, err)
	}
	if !held {
		return nil, nil
	}
	return l, nil
}

// retire releases the lock of work that is done for good, and removes its file. Who opened the file before
// may still get the lock, but then sees that the work is done.
func retire(l *flock.Flock) {
	os.Remove(l.Path())
	l.Unlock()
}
