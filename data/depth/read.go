package depth

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/exr"
	"must/data/imagefile"
	"must/data/npy"
	depthlabel "must/task/depth"
)

// mapEndings are the files that hold depth, the least exact first.
var mapEndings = []string{".png", ".tif", ".tiff", ".pfm", ".exr", ".npy"}

// IsMap reports whether a file is named as one that [Reader] reads.
func IsMap(file string) bool { return slices.Contains(mapEndings, strings.ToLower(path.Ext(file))) }

// A Reader reads depth maps: 16-bit grey PNG and TIFF, .npy of [H, W], [H, W, 1] or [1, H, W], EXR and PFM.
//
// Whole numbers are in units that only their maker knows: their scale, metres per unit, is required: 0.001 for
// millimetres. Fractions are in metres unless it says otherwise. Zeros, negative and infinite values are invalid,
// NaN; so are those declared as void.
//
// Depth of relative units, of unknown scale, and of inverse ones, such as disparity, of unknown scale and shift, needs
// no scale, may be PNGs of 8 bits and becomes inverse depth; of inverse values in fractions only NaN and infinities
// are invalid.
type Reader struct {
	scale float64
	units string
	void  []float64
}

// NewReader makes a reader. void lists values, with commas between them, that are invalid too.
func NewReader(scale float64, units, void string) (Reader, error) {
	if scale < 0 || math.IsNaN(scale) || math.IsInf(scale, 0) {
		return Reader{}, fmt.Errorf("scale is %v, want metres per stored unit", scale)
	}
	switch units {
	case "", data.Metric, data.Relative, data.Inverse:
	default:
		return Reader{}, fmt.Errorf("units is %q, want %s, %s or %s", units, data.Metric, data.Relative, data.Inverse)
	}
	r := Reader{scale: scale, units: cmp.Or(units, data.Metric)}
	if void == "" || void == "none" {
		return r, nil
	}
	for v := range strings.SplitSeq(void, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil {
			return r, fmt.Errorf("void is %q, want stored values that are no depth, such as 65535 or 1e10", void)
		}
		r.void = append(r.void, x)
	}
	return r, nil
}

// Unit returns the unit of what Read returns.
func (r Reader) Unit() string {
	if r.units == data.Metric {
		return data.Metric
	}
	return data.Inverse
}

var errScale = errors.New("its values are whole numbers and have no unit: set scale to the metres in one, 0.001 if they are millimetres (BTS, AdaBins), 1/256 = 0.00390625 for KITTI, 10/65536 = 0.000152587890625 for MultiMAE; or units to relative or inverse")

// Need reports what a set of files such as this one has to declare.
func (r Reader) Need(file string) error {
	if r.scale != 0 || r.units != data.Metric {
		return nil
	}
	switch strings.ToLower(filepath.Ext(file)) {
	case ".png", ".tif", ".tiff":
		return errScale
	case ".npy":
		if a, err := npy.ReadFile(file); err == nil && a.Integer {
			return errScale
		}
	}
	return nil
}

// Read reads a map. Its error names the file.
func (r Reader) Read(file string) (*data.Grid[float32], error) {
	g, whole, err := r.stored(file)
	if err != nil {
		return nil, err
	}
	if whole && r.scale == 0 && r.units == data.Metric {
		return nil, fmt.Errorf("%s: %w", file, errScale)
	}
	scale := cmp.Or(r.scale, 1)
	nan := float32(math.NaN())
	for i, v := range g.Pix {
		x := float64(v)
		switch {
		case slices.Contains(r.void, x), math.IsInf(x, 0), x != x:
			g.Pix[i] = nan
		case r.units == data.Inverse && !whole: // 0 is far away, and negative what a shift makes
		case !(x > 0):
			g.Pix[i] = nan
		default:
			g.Pix[i] = float32(x * scale)
		}
	}
	if r.units == data.Relative {
		depthlabel.InvertMap(g)
	}
	return g, nil
}

// stored reads the values of a map, and whether they are whole numbers by their type.
func (r Reader) stored(file string) (g *data.Grid[float32], whole bool, err error) {
	switch ext := strings.ToLower(filepath.Ext(file)); ext {
	case ".npy":
		a, err := npy.ReadFile(file)
		if err != nil {
			return nil, false, err
		}
		shape := a.Shape
		if len(shape) == 3 && shape[2] == 1 {
			shape = shape[:2]
		} else if len(shape) == 3 && shape[0] == 1 {
			shape = shape[1:]
		}
		if len(shape) != 2 {
			return nil, false, fmt.Errorf("%s: shape %v is no depth map, want rows and columns", file, a.Shape)
		}
		return &data.Grid[float32]{W: shape[1], H: shape[0], Pix: a.Values}, a.Integer, nil
	case ".exr":
		g, err = exr.ReadDepth(file)
		return g, false, err
	case ".pfm":
		g, err = readPFM(file)
		return g, false, err
	}
	if r.units != data.Metric { // 8 bits are enough where they have no unit
		if small, err := imagefile.DecodeIndex(file); err == nil {
			return floats(small), true, nil
		}
	}
	wide, err := imagefile.DecodeGray16(file)
	if err != nil {
		return nil, true, err
	}
	return floats(wide), true, nil
}

func floats[T uint8 | uint16](g *data.Grid[T]) *data.Grid[float32] {
	out := data.NewGrid[float32](g.W, g.H)
	for i, v := range g.Pix {
		out.Pix[i] = float32(v)
	}
	return out
}
