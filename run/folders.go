package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"must/atomicfile"
)

// separator stands between a stage's name and its fingerprint.
const separator = "@"

// digits of a fingerprint name a folder: enough to tell those of one run apart.
const digits = 10

// Folder returns where a stage's result lies: OUT/NAME@FINGERPRINT. OUT/NAME is a link to it.
func (r *Runner) Folder(name string) string {
	return filepath.Join(r.Out, name+separator+r.fingerprint(name).sum[:digits])
}

// Path returns a file of a stage's result as people would type it, by the stage's plain name where that
// leads there.
func (r *Runner) Path(name, file string) string {
	plain, real := filepath.Join(r.Out, name, file), filepath.Join(r.Folder(name), file)
	a, err := os.Stat(plain)
	b, err2 := os.Stat(real)
	if err == nil && err2 == nil && os.SameFile(a, b) {
		return plain
	}
	return real
}

// folders lists all folders of a stage, the one that was made or finished last first.
func (r *Runner) folders(name string) (dirs []string) {
	type made struct {
		dir string
		at  int64
	}
	var all []made
	entries, _ := os.ReadDir(r.Out)
	for _, e := range entries {
		if stage, _, ok := strings.Cut(e.Name(), separator); ok && stage == name && e.IsDir() {
			dir := filepath.Join(r.Out, e.Name())
			m := made{dir: dir}
			if _, err := os.Stat(filepath.Join(dir, inputsFile)); err != nil {
				continue // of an earlier version
			}
			for _, file := range []string{doneFile, spentFile} {
				if info, err := os.Stat(filepath.Join(dir, file)); err == nil {
					m.at = max(m.at, info.ModTime().UnixNano())
				}
			}
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b made) int { return int(min(1, max(-1, b.at-a.at))) })
	for _, m := range all {
		dirs = append(dirs, m.dir)
	}
	return dirs
}

// Earlier lists the folders of a stage that are of other fingerprints, the latest first.
func (r *Runner) Earlier(name string) []string {
	own := r.Folder(name)
	return slices.DeleteFunc(r.folders(name), func(dir string) bool { return dir == own })
}

// latest is the first of them; "" without any.
func (r *Runner) latest(name string) string {
	if dirs := r.Earlier(name); dirs != nil {
		return dirs[0]
	}
	return ""
}

// pointer returns the folder that a plain name leads to; false where it is nothing that point made.
func pointer(plain string) (folder string, ours bool) {
	folder, err := os.Readlink(plain)
	if err != nil {
		if info, err := os.Lstat(plain); err != nil || !info.Mode().IsRegular() || info.Size() > 512 {
			return "", false
		}
		b, _ := os.ReadFile(plain)
		folder = strings.TrimSuffix(string(b), "\n")
	}
	return folder, strings.HasPrefix(folder, filepath.Base(plain)+separator)
}

// point has the plain name of a stage lead to its folder: a relative symbolic link or, on file systems
// that have none, a file with the folder's name in it.
func (r *Runner) point(name string) error {
	plain, target := filepath.Join(r.Out, name), filepath.Base(r.Folder(name))
	if to, ours := pointer(plain); ours && to == target {
		return nil
	}
	temp := filepath.Join(r.Out, "."+name+".link")
	os.Remove(temp)
	if err := os.Symlink(target, temp); err != nil {
		return atomicfile.WriteFile(plain, []byte(target+"\n"))
	}
	if err := os.Rename(temp, plain); err != nil {
		os.Remove(temp)
		return fmt.Errorf("link %s to its result: %w", plain, err)
	}
	return nil
}

// pointAll has the plain names of all stages lead to their results, and those that have none yet
// nowhere. What an earlier version of must made under a plain name was made by other rules: it is not
// taken over, nor removed, but gets another name.
func (r *Runner) pointAll() error {
	for _, s := range r.Steps {
		plain := filepath.Join(r.Out, s.Name)
		_, err := os.Lstat(plain)
		if _, ours := pointer(plain); err == nil && !ours {
			aside, err := r.moveAside(plain)
			if err != nil {
				return err
			}
			r.Display.Logf("%s: what an earlier version of must made of it cannot be taken over; it is kept in %s", s.Name, aside)
		}
		if _, err = os.Stat(r.Folder(s.Name)); err == nil {
			err = r.point(s.Name)
		} else {
			err = os.Remove(plain)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// moveAside gives what lies under a plain name another one, and returns that.
func (r *Runner) moveAside(plain string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s%sold-%d", plain, separator, n)
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return aside, os.Rename(plain, aside)
		}
	}
}

// Changed lists the stages that have results, but none of these inputs and settings.
func (r *Runner) Changed() (names []string) {
	r.resolve()
	for _, s := range r.Steps {
		if _, err := os.Stat(r.Folder(s.Name)); err != nil && r.latest(s.Name) != "" {
			names = append(names, s.Name)
		}
	}
	return names
}

// An Unused folder is of a stage, but of no current one.
type Unused struct {
	Name  string // of the folder
	Bytes int64  // less what it shares with other folders
	Why   string // how it differs from the current one
}

// Unused lists the folders in the run's that no stage of the recipe, as it was run last, uses.
func (r *Runner) Unused() (found []Unused, err error) {
	used := map[string]bool{}
	for _, s := range r.Steps {
		used[filepath.Base(r.Folder(s.Name))] = true
	}
	entries, err := os.ReadDir(r.Out)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.Contains(e.Name(), separator) || used[e.Name()] {
			continue
		}
		u := Unused{Name: e.Name(), Why: r.difference(e.Name())}
		err := filepath.WalkDir(filepath.Join(r.Out, e.Name()), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Nlink == 1 {
				u.Bytes += info.Size()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		found = append(found, u)
	}
	return found, nil
}

// difference says how a folder differs from that of its stage now.
func (r *Runner) difference(folder string) string {
	name, _, _ := strings.Cut(folder, separator)
	if r.Step(name) == nil {
		return "the recipe has no such stage"
	}
	changes, err := r.changesFrom(name, filepath.Join(r.Out, folder))
	if err != nil {
		return "of an earlier version of must"
	}
	return summary(changes)
}

// Clean removes the unused folders, and returns them.
func (r *Runner) Clean() (removed []Unused, err error) {
	lock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	found, err := r.Unused()
	if err != nil {
		return nil, err
	}
	for _, u := range found {
		if err := os.RemoveAll(filepath.Join(r.Out, u.Name)); err != nil {
			return removed, err
		}
		removed = append(removed, u)
	}
	return removed, nil
}
