package stage

import (
	"os"
	"path/filepath"

	"must/dist"
)

// A stage that several processes run together begins in rank 0 like any other. Where it comes to something to
// share it calls them in; they run the stage too, up to where that is done, and leave the rest to rank 0.

// callIn has the other processes of the world run this stage.
func (w *Work) callIn() error {
	if !w.World.Leads() {
		return nil
	}
	return w.World.Order(w.Name)
}

// take reports whether a part of the stage is this process's to do; release ends that. Parts are taken by locks
// on files in the folder that all share.
func (w *Work) take(part string) (release func(), mine bool, err error) {
	if w.World.Count() == 1 {
		return func() {}, true, nil
	}
	return dist.TryLock(filepath.Join(w.Dir, lockPrefix+part))
}

const lockPrefix = ".part-"

// regroup waits until all processes have done what they took. It reports whether this one goes on.
func (w *Work) regroup() (leads bool, err error) {
	if err := w.World.Barrier(); err != nil || !w.World.Leads() {
		return false, err
	}
	locks, err := filepath.Glob(filepath.Join(w.Dir, lockPrefix+"*"))
	for _, path := range locks {
		os.Remove(path)
	}
	return true, err
}
