// Package native finds the shared libraries of others on this machine and fetches them where they are
// missing. It only looks at files: nothing is opened into the process here.
package native

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Place is one spot of the search order and why there is nothing to be used.
type Place struct {
	Where, Why string
}

// Search returns what open makes of the first folder that it accepts of, in this order: .NAME beside
// the project or the binary; must/NAME in the user's cache; the package of the python3 on PATH, which
// is asked for its folder and not imported. Reason is the place of that order. Looked lists the places
// before it; nothing was found where all of them are in it.
func Search[T any](name, pkg string, open func(dir, reason string) (T, error)) (found T, looked []Place, ok bool) {
	for c, err := range candidates(name, pkg) {
		if err != nil {
			looked = append(looked, Place{c.reason, err.Error()})
			continue
		}
		found, err := open(c.dir, c.reason)
		if err == nil {
			return found, looked, true
		}
		looked = append(looked, Place{c.dir + " (" + c.reason + ")", err.Error()})
	}
	return found, looked, false
}

type candidate struct{ dir, reason string }

// candidates yields folders worth a look in search order; an error is why there is none to look at
// for a reason.
func candidates(name, pkg string) iter.Seq2[candidate, error] {
	return func(yield func(candidate, error) bool) {
		seen := map[string]bool{}
		for _, dir := range projectDirs() {
			dir = filepath.Join(dir, "."+name)
			if seen[dir] {
				continue
			}
			seen[dir] = true
			if !yield(candidate{dir, "beside the project"}, nil) {
				return
			}
		}
		cache, err := os.UserCacheDir()
		if !yield(candidate{filepath.Join(cache, "must", name), "the user's cache"}, err) {
			return
		}
		dir, python, err := PythonPackage(pkg)
		if err != nil {
			yield(candidate{reason: pkg + " of python3"}, err)
			return
		}
		yield(candidate{dir, pkg + " of " + python}, nil)
	}
}

// projectDirs lists the folders that can hold the project's .NAME: the working folder and those above
// it up to the one with go.mod (only the first where there is none: one in /tmp must not reach
// everybody below), then the binary's folder and the one above it.
func projectDirs() []string {
	var dirs []string
	if cwd, err := os.Getwd(); err == nil {
		dirs = append(dirs, cwd)
		var above []string
		for dir := cwd; ; dir = filepath.Dir(dir) {
			if dir != cwd {
				above = append(above, dir)
			}
			if exists(filepath.Join(dir, "go.mod")) {
				dirs = append(dirs, above...)
				break
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		dirs = append(dirs, dir, filepath.Dir(dir))
	}
	return dirs
}

// printPackage prints the folder of an installed package. The working folder leaves the path first: a
// folder there that happens to be called so is not it (this project has a torch and an onnx).
const printPackage = `import sys, importlib.util
sys.path = [p for p in sys.path if p]
spec = importlib.util.find_spec(sys.argv[1])
if spec and spec.origin:
    print(spec.submodule_search_locations[0])`

// PythonPackage asks the python3 on PATH for the folder of a package.
func PythonPackage(name string) (dir, python string, err error) {
	python, err = exec.LookPath("python3")
	if err != nil {
		return "", "", errors.New("no python3 on PATH")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", printPackage, name).Output()
	if err != nil {
		return "", "", fmt.Errorf("%s failed: %w", python, err)
	}
	dir = strings.TrimSpace(string(out))
	if dir == "" {
		return "", "", fmt.Errorf("%s has no package %s", python, name)
	}
	return dir, python, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
