// Package goldentest serves tests that compare with golden values: inputs and weights that Go and the
// scripts make_golden.py (by golden.py) compute alike from names and shapes, so that only results are stored.
//
// Gradients are compared in float64, for which [must/model.Set.Double] and [must/torch.Tensor.Wide] are.
package goldentest

import (
	"compress/gzip"
	"encoding/json"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Read fills g from testdata/golden.json.
func Read(t testing.TB, g any) {
	t.Helper()
	ReadFile(t, "golden.json", g)
}

// ReadFile is Read for another file of testdata, which may be compressed by gzip.
func ReadFile(t testing.TB, name string, g any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if filepath.Ext(name) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
	}
	if err := json.NewDecoder(r).Decode(g); err != nil {
		t.Fatalf("%s: %v", f.Name(), err)
	}
}

// Noise returns n values in [-1, 1) that the scripts know by the same name.
func Noise[N int | int64](name string, n N) []float32 {
	v, seed := make([]float32, n), crc32.ChecksumIEEE([]byte(name))
	for i := range v {
		h := (uint32(i) + seed) * 2654435761
		h = (h ^ h>>16) * 0x45d9f3b
		h ^= h >> 16
		v[i] = float32(h>>8)/(1<<23) - 1
	}
	return v
}

// Parameter returns the values of a network's parameter or buffer of a name and shape.
func Parameter(name string, shape []int64) []float32 {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	v := Noise(name, n)
	for i, u := range v {
		switch {
		case len(shape) == 4:
			v[i] = u * float32(math.Sqrt(6/float64(shape[0]*shape[2]*shape[3])))
		case len(shape) == 2:
			v[i] = u * float32(math.Sqrt(3/float64(shape[1])))
		case strings.HasSuffix(name, "weight") || strings.HasSuffix(name, "running_var"):
			v[i] = 1 + 0.3*u
		default:
			v[i] = 0.1 * u
		}
	}
	return v
}

// Some picks about n of the values, those that the scripts store.
func Some[F float32 | float64](v []F, n int) (few []F) {
	for i := 0; i < len(v); i += max(1, len(v)/n) {
		few = append(few, v[i])
	}
	return few
}

// Near fails where values differ by more than a share of the largest.
func Near[G, W float32 | float64](t testing.TB, what string, got []G, want []W, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	largest := 0.
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-float64(w)) <= tolerance*largest) {
			t.Errorf("%s: value %d is %v, want %v (the largest is %.3g)", what, i, got[i], w, largest)
			return
		}
	}
}
