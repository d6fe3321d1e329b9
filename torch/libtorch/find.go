// Package libtorch finds a libtorch on this machine and, where there is none, fetches one. It only
// looks at files: nothing is opened into the process here.
package libtorch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinMinor is the oldest supported libtorch: 2.MinMinor.
const MinMinor = 11

// A Library is one libtorch: where its files are and in which order they are opened.
type Library struct {
	Dir     string  // folder of the shared libraries
	Version string  // such as "2.15.0+cu132"; empty where no file beside the libraries tells
	Reason  string  // why this one: the place of the search order it was found at
	Looked  []Place // the places before it, where there was none

	CPULib  string // path of libtorch_cpu
	C10     string // path of libc10
	CUDALib string // path of libtorch_cuda; empty in a build for the CPU only

	// Preload lists the paths of what CPULib needs, C10 among them, each after what it needs
	// itself. Opened in this order with RTLD_GLOBAL they satisfy CPULib wherever its run path
	// points. What is not listed (libc, libstdc++) is the system's.
	Preload []string
	// PreloadCUDA lists, likewise, NVIDIA's libraries that CUDALib needs beyond Preload and CPULib.
	// Libtorch's own (libc10_cuda) are left to the loader, which finds them beside CUDALib.
	PreloadCUDA []string
}

// CUDA tells whether the library was built for NVIDIA GPUs.
func (l Library) CUDA() bool { return l.CUDALib != "" }

// A Place is one spot of the search order and why there is nothing to be used.
type Place struct {
	Where, Why string
}

// NotFoundError says that no libtorch is on this machine.
type NotFoundError struct {
	CUDA   bool // one built for CUDA was asked for
	Looked []Place
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	if e.CUDA {
		b.WriteString("no libtorch built for CUDA found; looked at:\n")
	} else {
		b.WriteString("no libtorch found; looked at:\n")
	}
	for _, p := range e.Looked {
		fmt.Fprintf(&b, "  %s: %s\n", p.Where, p.Why)
	}
	if e.CUDA {
		b.WriteString("`python3 -m pip install torch` mends it, or set LIBTORCH to the folder of such a PyTorch.")
	} else {
		fmt.Fprintf(&b, "`make libtorch` in the project's folder mends it, or set LIBTORCH to the folder of a PyTorch 2.%d or newer.", MinMinor)
	}
	return b.String()
}

// Find returns the first usable libtorch of, in this order: the folder $LIBTORCH or its lib/;
// .libtorch beside the project or the binary; must/libtorch in the user's cache; the torch package
// of the python3 on PATH, which is asked for its folder and not imported. Where LIBTORCH is set,
// nothing else is looked at. The error is a *NotFoundError where nothing is installed.
func Find() (Library, error) { return find(false) }

// FindCUDA is Find among the builds for CUDA only.
func FindCUDA() (Library, error) { return find(true) }

func find(cuda bool) (Library, error) {
	if dir := os.Getenv("LIBTORCH"); dir != "" {
		lib, err := open(dir, "$LIBTORCH")
		if err == nil && cuda && !lib.CUDA() {
			err = fmt.Errorf("%s is built for the CPU only: no %s in it", lib.Dir, libName("torch_cuda"))
		}
		if err != nil {
			return Library{}, fmt.Errorf("LIBTORCH=%s: %w; set it to the folder of a PyTorch 2.%d or newer (the one that holds lib/%s), or unset it",
				dir, err, MinMinor, libName("torch_cpu"))
		}
		return lib, nil
	}

	missing := &NotFoundError{CUDA: cuda, Looked: []Place{{"$LIBTORCH", "not set"}}}
	for place, err := range places() {
		if err != nil {
			missing.Looked = append(missing.Looked, Place{place.Reason, err.Error()})
			continue
		}
		lib, err := open(place.Dir, place.Reason)
		if err == nil && cuda && !lib.CUDA() {
			err = errors.New("built for the CPU only")
		}
		if err == nil {
			lib.Looked = missing.Looked
			return lib, nil
		}
		missing.Looked = append(missing.Looked, Place{place.Dir + " (" + place.Reason + ")", err.Error()})
	}
	return Library{}, missing
}

// places yields folders worth a look, with Dir and Reason set, in search order; an error is why the
// place called Reason has no folder to look at.
func places() iter.Seq2[Library, error] {
	return func(yield func(Library, error) bool) {
		seen := map[string]bool{}
		for _, dir := range projectDirs() {
			dir = filepath.Join(dir, ".libtorch")
			if seen[dir] {
				continue
			}
			seen[dir] = true
			if !yield(Library{Dir: dir, Reason: "beside the project"}, nil) {
				return
			}
		}
		cache, err := CacheDir()
		if !yield(Library{Dir: cache, Reason: "the user's cache"}, err) {
			return
		}
		dir, python, err := pythonTorch()
		if err != nil {
			yield(Library{Reason: "torch of python3"}, err)
			return
		}
		yield(Library{Dir: dir, Reason: "torch of " + python}, nil)
	}
}

// projectDirs lists the folders that can hold the project's .libtorch: the working folder and those
// above it up to the one with go.mod (only the first where there is none: a .libtorch in /tmp must
// not reach everybody below), then the binary's folder and the one above it.
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

// CacheDir is the folder in the user's cache where a libtorch for all projects is looked for.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "must", "libtorch"), nil
}

// printTorch prints the folder of the installed torch package. The working folder leaves the path
// first: a folder there that happens to be called torch is not it (this project has one).
const printTorch = `import sys, importlib.util
sys.path = [p for p in sys.path if p]
spec = importlib.util.find_spec("torch")
if spec and spec.origin:
    print(spec.submodule_search_locations[0])`

// pythonTorch asks the python3 on PATH for the folder of its torch package.
func pythonTorch() (dir, python string, err error) {
	python, err = exec.LookPath("python3")
	if err != nil {
		return "", "", errors.New("no python3 on PATH")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", printTorch).Output()
	if err != nil {
		return "", "", fmt.Errorf("%s failed: %w", python, err)
	}
	dir = strings.TrimSpace(string(out))
	if dir == "" {
		return "", "", fmt.Errorf("%s has no package torch", python)
	}
	return dir, python, nil
}

// open describes the libtorch in dir, which holds the libraries or is the folder above their lib/.
func open(dir, reason string) (Library, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Library{}, err
	}
	if !exists(dir) {
		return Library{}, errors.New("no such folder")
	}
	libs := dir
	if !exists(filepath.Join(libs, libName("torch_cpu"))) {
		libs = filepath.Join(dir, "lib")
	}
	lib := Library{
		Dir:    libs,
		Reason: reason,
		CPULib: filepath.Join(libs, libName("torch_cpu")),
		C10:    filepath.Join(libs, libName("c10")),
	}
	if lib.Version, err = version(libs); err != nil {
		return Library{}, err
	}
	for _, path := range []string{lib.CPULib, lib.C10} {
		if !exists(path) {
			return Library{}, fmt.Errorf("no %s in %s", filepath.Base(path), libs)
		}
	}

	near := neighbours(libs)
	if lib.Preload, err = needs(lib.CPULib, near, nil); err != nil {
		return Library{}, err
	}
	if path := filepath.Join(libs, libName("torch_cuda")); exists(path) {
		lib.CUDALib = path
		all, err := needs(path, near, append([]string{lib.CPULib}, lib.Preload...))
		if err != nil {
			return Library{}, err
		}
		// libtorch's own use each other beyond what they declare and can only be opened together.
		lib.PreloadCUDA = slices.DeleteFunc(all, func(path string) bool { return filepath.Dir(path) == libs })
	}
	return lib, nil
}

// versionLine matches the version in a version file of ours or of the C++ archive, where it is the
// whole line, and in the torch package's version.py.
var versionLine = regexp.MustCompile(`(?m)^(?:__version__ = ')?((\d+)\.(\d+)[^'\s]*)'?$`)

// version reads the version from the files that libtorch's distributions put beside or above the
// libraries. It is empty where there is none, and an error where it is too old.
func version(libs string) (string, error) {
	for _, name := range []string{"version", "../version.py", "../build-version", "../version"} {
		text, err := os.ReadFile(filepath.Join(libs, name))
		if err != nil {
			continue
		}
		m := versionLine.FindSubmatch(bytes.ReplaceAll(text, []byte("\r"), nil))
		if m == nil {
			continue
		}
		major, _ := strconv.Atoi(string(m[2]))
		minor, _ := strconv.Atoi(string(m[3]))
		if major < 2 || major == 2 && minor < MinMinor {
			return "", fmt.Errorf("libtorch %s in %s is too old: 2.%d or newer is needed", m[1], libs, MinMinor)
		}
		return string(m[1]), nil
	}
	return "", nil
}

// libName is the file name of a shared library here.
func libName(name string) string {
	if runtime.GOOS == "darwin" {
		return "lib" + name + ".dylib"
	}
	return "lib" + name + ".so"
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
