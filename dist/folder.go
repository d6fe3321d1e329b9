package dist

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// TryLock takes the lock of a file, which it makes where there is none, unless another process has it. The
// system drops the lock when the process ends, however it ends.
func TryLock(path string) (release func(), ok bool, err error) {
	l := flock.New(path, flock.SetPermissions(0o666))
	if ok, err = l.TryLock(); err != nil {
		return nil, false, fmt.Errorf("%w: the file system of this folder has no locks (flock); put the run on one that has, such as NFS 4", err)
	}
	return func() { l.Close() }, ok, nil
}

// seeTime is how long a file that one machine wrote may take to be seen by another.
const seeTime = 10 * time.Second

// CheckFolder checks, together with all other ranks, that a folder is the same for all of them and that locks
// and renames in it are seen by all: work is shared out by them.
func (w *World) CheckFolder(dir string) error {
	if w == nil {
		return nil
	}
	path := filepath.Join(dir, ".shared")
	var release func()
	if w.Rank == 0 {
		token := []byte(w.Describe())
		err := os.WriteFile(path+".new", token, 0o666)
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			return err
		}
		var free bool
		if release, free, err = TryLock(path); err != nil {
			return err
		}
		if !free {
			return fmt.Errorf("%s is locked: another run works in this folder", path)
		}
		defer os.Remove(path)
		defer release()
	}
	if err := w.Barrier(); err != nil {
		return err
	}
	if w.Rank > 0 {
		want := name(w.Size, w.line.welcome.All[0])
		for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			if b, err := os.ReadFile(path); err == nil && string(b) == want {
				break
			}
			if time.Since(began) > seeTime {
				return fmt.Errorf("the folder %s is not that of process 0 on %s: after %v a file renamed there is not seen here; give all processes one shared folder by --out", dir, w.line.welcome.All[0].Host, seeTime)
			}
		}
		again, free, err := TryLock(path)
		if err != nil {
			return err
		}
		if free {
			again()
			return fmt.Errorf("the folder %s does not share locks between machines: what process 0 on %s has locked is free here; mount it with locks (NFS 4; Lustre with -o flock)", dir, w.line.welcome.All[0].Host)
		}
	}
	return w.Barrier()
}
