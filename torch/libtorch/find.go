// Package libtorch finds a libtorch on this machine and, where there is none, fetches one. It only
// looks at files: nothing is opened into the process here.
package libtorch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"must/native"
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
type Place = native.Place

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

	lib, looked, ok := native.Search("libtorch", "torch", func(dir, reason string) (Library, error) {
		lib, err := open(dir, reason)
		if err == nil && cuda && !lib.CUDA() {
			err = errors.New("built for the CPU only")
		}
		return lib, err
	})
	looked = append([]Place{{Where: "$LIBTORCH", Why: "not set"}}, looked...)
	if !ok {
		return Library{}, &NotFoundError{CUDA: cuda, Looked: looked}
	}
	lib.Looked = looked
	return lib, nil
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
