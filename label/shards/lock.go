package shards

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A lock is a file that one process at a time holds; the kernel frees it when that process ends,
// however it ends. (flock also excludes two holders in one process; fcntl locks do not.)
type lock struct{ f *os.File }

// acquire waits for the lock, or returns nil where wait is false and someone else has it.
func acquire(path string, wait bool) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return &lock{f}, nil
	}
	f.Close()
	if !wait && errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w (does the file system support flock?)", path, err)
}

func (l *lock) release() { l.f.Close() }

// retire releases the lock of work that is done for good, and removes its file. Who opened the file
// before may still get the lock, but then sees that the work is done.
func (l *lock) retire() {
	os.Remove(l.f.Name())
	l.f.Close()
}
