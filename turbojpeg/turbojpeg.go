// Package turbojpeg decodes JPEG by the libjpeg-turbo of the machine, where there is one: two to five times as fast as
// the standard library, and large photos at a half, a quarter or an eighth at once.
//
// It is opened at run time, without cgo, and spoken to through TurboJPEG's own functions, which return errors; those of
// libjpeg itself jump out of a caller that is not C. Chroma is repeated and not smoothed, as the standard library has
// it: pixels are the same within two levels, with rare exceptions of three.
package turbojpeg

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Variable is the environment variable that chooses: the path of a libturbojpeg, or "go" for none.
const Variable = "MUST_JPEG"

// Go is the value of [Variable] for the standard library's decoder.
const Go = "go"

// ErrNone says that no library was found, or that none is wanted.
var ErrNone = errors.New("no libturbojpeg")

// names are tried in order, with the paths that packages and installers use beyond the system's own.
func names() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libturbojpeg.dylib", "/opt/homebrew/lib/libturbojpeg.dylib", "/usr/local/lib/libturbojpeg.dylib", "/opt/libjpeg-turbo/lib/libturbojpeg.dylib"}
	}
	return []string{"libturbojpeg.so.0", "libturbojpeg.so", "/opt/libjpeg-turbo/lib64/libturbojpeg.so.0"}
}

// A library holds the addresses of the functions, those that versions 1.4 to 3 have.
type library struct {
	name                              string
	open, header, decompress, destroy uintptr
}

var load = sync.OnceValues(func() (*library, error) {
	all := names()
	switch chosen := os.Getenv(Variable); chosen {
	case Go:
		return nil, ErrNone
	case "":
	default:
		all = []string{chosen}
	}
	var failed error
	for _, name := range all {
		h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		l := &library{name: name}
		for _, f := range []struct {
			to   *uintptr
			name string
		}{{&l.open, "tjInitDecompress"}, {&l.header, "tjDecompressHeader3"}, {&l.decompress, "tjDecompress2"}, {&l.destroy, "tjDestroy"}} {
			if *f.to, err = purego.Dlsym(h, f.name); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		return l, nil
	}
	if os.Getenv(Variable) != "" {
		return nil, fmt.Errorf("%s: %w; leave it out, or set it to the path of a libturbojpeg, or to %s for the decoder of the standard library", Variable, failed, Go)
	}
	return nil, ErrNone
})

// Find returns the name of the library in use; the error is [ErrNone], or says why the one that is asked for cannot be
// used.
func Find() (string, error) {
	l, err := load()
	if err != nil {
		return "", err
	}
	return l.name, nil
}

// Flags and formats of turbojpeg.h.
const (
	formatRGBA    = 7       // TJPF_RGBA
	fastUpsample  = 1 << 8  // TJFLAG_FASTUPSAMPLE
	accurateDCT   = 1 << 12 // TJFLAG_ACCURATEDCT
	stopOnWarning = 1 << 13 // TJFLAG_STOPONWARNING
	limitScans    = 1 << 15 // TJFLAG_LIMITSCANS: a file of thousands of scans is refused
)

// Decode decodes a grey or YCbCr JPEG as it is stored, which has the given full size, at 1/d of its sides, rounded up; d
// is 1, 2, 4 or 8. What is damaged in any way is refused.
func Decode(content []byte, full image.Point, d int) (*image.RGBA, error) {
	l, err := load()
	if err != nil {
		return nil, err
	}
	if len(content) == 0 {
		return nil, errors.New("no content")
	}
	defer runtime.KeepAlive(content)
	handle, _, _ := purego.SyscallN(l.open)
	if handle == 0 {
		return nil, errors.New("tjInitDecompress failed")
	}
	defer purego.SyscallN(l.destroy, handle)
	var size [4]int32 // width, height, subsampling, colour space
	at := func(i int) uintptr { return uintptr(unsafe.Pointer(&size[i])) }
	bytes := uintptr(unsafe.Pointer(&content[0]))
	if r, _, _ := purego.SyscallN(l.header, handle, bytes, uintptr(len(content)), at(0), at(1), at(2), at(3)); int32(r) != 0 {
		return nil, errors.New("libjpeg-turbo refuses the header")
	}
	if image.Pt(int(size[0]), int(size[1])) != full {
		return nil, fmt.Errorf("libjpeg-turbo takes %d×%d pixels for %v", size[0], size[1], full)
	}
	const grey, ycbcr = 2, 1 // of TJCS; what is stored as RGB or with four inks is left to the caller
	if size[3] != grey && size[3] != ycbcr {
		return nil, errors.New("neither grey nor YCbCr")
	}
	out := image.NewRGBA(image.Rect(0, 0, (full.X+d-1)/d, (full.Y+d-1)/d))
	r, _, _ := purego.SyscallN(l.decompress, handle, bytes, uintptr(len(content)), uintptr(unsafe.Pointer(&out.Pix[0])),
		uintptr(out.Rect.Dx()), uintptr(out.Stride), uintptr(out.Rect.Dy()), formatRGBA, fastUpsample|accurateDCT|stopOnWarning|limitScans)
	if int32(r) != 0 {
		return nil, errors.New("libjpeg-turbo finds the file damaged")
	}
	return out, nil
}
