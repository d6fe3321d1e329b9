package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"must/native"
)

// MinMinor is the oldest supported ONNX Runtime: 1.MinMinor.
const MinMinor = 17

// A Library is one ONNX Runtime on this machine.
type Library struct {
	Path    string // of the shared library
	Version string // such as "1.32.0"; empty where its name does not tell
	Reason  string // why this one: the place of the search order it was found at
	Looked  []native.Place
}

// NotFoundError says that no ONNX Runtime is on this machine.
type NotFoundError struct{ Looked []native.Place }

func (e *NotFoundError) Error() string {
	var b strings.Builder
	b.WriteString("no ONNX Runtime found; looked at:\n")
	for _, p := range e.Looked {
		fmt.Fprintf(&b, "  %s: %s\n", p.Where, p.Why)
	}
	fmt.Fprintf(&b, "`make onnxruntime` in the project's folder mends it, or set ONNXRUNTIME to the folder of an ONNX Runtime 1.%d or newer.", MinMinor)
	return b.String()
}

// Find returns the first usable ONNX Runtime of, in this order: the folder $ONNXRUNTIME;
// .onnxruntime beside the project or the binary; must/onnxruntime in the user's cache; the
// onnxruntime package of the python3 on PATH. Where ONNXRUNTIME is set, nothing else is looked at.
// The error is a *NotFoundError where nothing is installed.
func Find() (Library, error) {
	if dir := os.Getenv("ONNXRUNTIME"); dir != "" {
		lib, err := describe(dir, "$ONNXRUNTIME")
		if err != nil {
			return Library{}, fmt.Errorf("ONNXRUNTIME=%s: %w; set it to the folder of an ONNX Runtime 1.%d or newer, or unset it", dir, err, MinMinor)
		}
		return lib, nil
	}
	lib, looked, ok := native.Search("onnxruntime", "onnxruntime", describe)
	looked = append([]native.Place{{Where: "$ONNXRUNTIME", Why: "not set"}}, looked...)
	if !ok {
		return Library{}, &NotFoundError{looked}
	}
	lib.Looked = looked
	return lib, nil
}

// libraryName matches the names of the library in wheels and archives: libonnxruntime.so.1.32.0,
// libonnxruntime.1.32.0.dylib, libonnxruntime.so.
var libraryName = regexp.MustCompile(`^libonnxruntime(?:\.so|(?:\.[\d.]+)?\.dylib)(?:\.[\d.]+)?$`)
var versionInName = regexp.MustCompile(`(\d+)\.(\d+)\.\d+`)

// describe looks for the library in dir, its lib/ (Microsoft's archives) and its capi/ (the Python
// package).
func describe(dir, reason string) (Library, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Library{}, err
	}
	if _, err := os.Stat(dir); err != nil {
		return Library{}, errors.New("no such folder")
	}
	best := Library{Reason: reason}
	for _, sub := range []string{"", "lib", "capi"} {
		files, _ := os.ReadDir(filepath.Join(dir, sub))
		for _, f := range files {
			// Of the links libonnxruntime.so and .so.1 and the file that they lead to, that whose name tells most.
			if libraryName.MatchString(f.Name()) && len(f.Name()) > len(filepath.Base(best.Path)) {
				best.Path = filepath.Join(dir, sub, f.Name())
			}
		}
		if best.Path != "" {
			break
		}
	}
	if best.Path == "" {
		return Library{}, errors.New("no libonnxruntime in it")
	}
	if m := versionInName.FindStringSubmatch(filepath.Base(best.Path)); m != nil {
		best.Version = m[0]
		major, _ := strconv.Atoi(m[1])
		if minor, _ := strconv.Atoi(m[2]); major < 1 || major == 1 && minor < MinMinor {
			return Library{}, fmt.Errorf("ONNX Runtime %s is too old: 1.%d or newer is needed", m[0], MinMinor)
		}
	}
	return best, nil
}

// bundles holds one release by GOOS/GOARCH.
var bundles = map[string]native.Bundle{
	"linux/amd64": {
		Tags: []string{"manylinux_2_28_x86_64", "manylinux_2_27_x86_64"},
		Wheels: []native.Wheel{{Name: "onnxruntime", Version: "1.32.0", SHA256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d", Size: 27773237,
			Libs: []string{"onnxruntime/capi/libonnxruntime.so.1.32.0"}}},
		Unpacked: 34824680,
	},
	"linux/arm64": {
		Tags: []string{"manylinux_2_28_aarch64", "manylinux_2_27_aarch64"},
		Wheels: []native.Wheel{{Name: "onnxruntime", Version: "1.32.0", SHA256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c", Size: 23195070,
			Libs: []string{"onnxruntime/capi/libonnxruntime.so.1.32.0"}}},
		Unpacked: 27165936,
	},
	"darwin/arm64": {
		Tags: []string{"macosx_14_0_arm64"},
		Wheels: []native.Wheel{{Name: "onnxruntime", Version: "1.32.0", SHA256: "366b9e53d07812cc5c92822cecf7563b76a8a0f32ba3bb8dd232a206ac3bcb6c", Size: 22506162,
			Libs: []string{"onnxruntime/capi/libonnxruntime.1.32.0.dylib"}}},
		Unpacked: 35272344,
	},
}

// Fetch downloads a pinned release with pip, checks its SHA-256 and puts the library into dir, see
// [native.Bundle.Fetch]. A dir that is there already is only described.
func Fetch(ctx context.Context, dir string, out io.Writer) (Library, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	b, ok := bundles[platform]
	if !ok {
		return Library{}, fmt.Errorf("fetch ONNX Runtime: no wheel for %s is known here; build or find one and set ONNXRUNTIME to its folder", platform)
	}
	b.Title, b.Product, b.Variable = "ONNX Runtime", "ONNX Runtime", "ONNXRUNTIME"
	err := native.CheckLibC()
	reason := "fetched before"
	if err == nil {
		var fresh bool
		fresh, err = b.Fetch(ctx, dir, out, func(dir string) error {
			_, err := describe(dir, "")
			return err
		})
		if fresh {
			reason = "fetched just now"
		}
	}
	if err != nil {
		return Library{}, fmt.Errorf("fetch ONNX Runtime: %w", err)
	}
	return describe(dir, reason)
}
