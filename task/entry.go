package task

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"

	"must/data"
	"must/data/npy"
)

// StoreNPY appends values as a .npy file. NaN is refused where it has no meaning, and what a dtype cannot hold.
func StoreNPY(buf *bytes.Buffer, dtype string, shape []int, v []float32, nan bool) error {
	if err := finite(v, nan); err != nil {
		return err
	}
	const most = 65504 // of float16
	if dtype == npy.Float16 {
		for _, x := range v {
			if x > most || x < -most {
				return fmt.Errorf("value %g does not fit in float16; choose float32", x)
			}
		}
	}
	buf.Grow(256 + npy.Size(dtype)*len(v)) // a header is half of that
	buf.Write(npy.Append(buf.AvailableBuffer(), dtype, shape, v))
	return nil
}

// LoadNPY reads what StoreNPY wrote, of a shape.
func LoadNPY(b []byte, shape []int, nan bool) ([]float32, error) {
	a, err := npy.Decode(b)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(a.Shape, shape) {
		return nil, fmt.Errorf("its shape is %v, not %v", a.Shape, shape)
	}
	return a.Values, finite(a.Values, nan)
}

// finite refuses infinities, and NaN where it has no meaning.
func finite(v []float32, nan bool) error {
	for i, x := range v {
		if math.IsInf(float64(x), 0) || !nan && x != x {
			return fmt.Errorf("value %d is %g", i, x)
		}
	}
	return nil
}

// CheckDType refuses an entry of another dtype than .npy files of labels have.
func CheckDType(dtype string) error {
	if dtype != npy.Float16 && dtype != npy.Float32 {
		return fmt.Errorf("dtype is %q, not %s or %s", dtype, npy.Float16, npy.Float32)
	}
	return nil
}

// CheckClasses refuses a meaning without class names.
func CheckClasses(m data.Meaning) error {
	if len(m.Classes) == 0 {
		return errors.New("no class names")
	}
	return nil
}

// SameFrame refuses a map that is not of its image's size.
func SameFrame[T any](m *data.Grid[T], size image.Point) error {
	if m.W != size.X || m.H != size.Y || len(m.Pix) != m.W*m.H {
		return fmt.Errorf("it is %d×%d, the image %d×%d", m.W, m.H, size.X, size.Y)
	}
	return nil
}
