package npy

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every file of 2×3×4 made by NumPy holds 0, 1, 2, … in whatever type and order.
func TestDecodeNumPy(t *testing.T) {
	files, err := filepath.Glob("testdata/*.npy")
	if err != nil || len(files) < 17 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		a, err := Decode(read(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch name {
		case "scalar.npy":
			if len(a.Shape) != 0 || !slices.Equal(a.Values, []float32{7}) {
				t.Errorf("%s: %v %v", name, a.Shape, a.Values)
			}
			continue
		case "empty.npy":
			if !slices.Equal(a.Shape, []int{0, 3}) || len(a.Values) != 0 {
				t.Errorf("%s: %v %v", name, a.Shape, a.Values)
			}
			continue
		case "vector.npy":
			if v := a.Values; v[0] != 0.5 || !math.IsNaN(float64(v[1])) || !math.IsInf(float64(v[2]), 1) || v[3] != -65504 || v[4] == 0 {
				t.Errorf("%s: %v", name, v)
			}
			continue
		}
		if !slices.Equal(a.Shape, []int{2, 3, 4}) {
			t.Errorf("%s: shape %v", name, a.Shape)
		}
		for i, v := range a.Values {
			want := float32(i)
			if name == "ramp-b1.npy" {
				want = float32((i + 1) % 2)
			}
			if v != want {
				t.Errorf("%s: value %d is %g", name, i, v)
			}
		}
	}
}

// What NumPy wrote, Append writes byte for byte.
func TestAppendEqualsNumPy(t *testing.T) {
	for name, dtype := range map[string]string{
		"ramp-f2.npy": Float16, "ramp-f4.npy": Float32, "scalar.npy": Float32, "vector.npy": Float16, "empty.npy": Float32,
	} {
		want := read(t, name)
		a, err := Decode(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := Append(nil, dtype, a.Shape, a.Values); !bytes.Equal(got, want) {
			t.Errorf("%s: %q\nwant %q", name, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := read(t, "ramp-f4.npy")
	swap := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	for want, file := range map[string][]byte{
		"not a .npy":        []byte("PNG"),
		"cut short":         good[:40],
		"needs 96 bytes":    append(slices.Clone(good), 0),
		"more bytes than":   good[:len(good)-1],
		"version 9":         append([]byte("\x93NUMPY\x09\x00"), good[8:]...),
		"not a number":      swap("<f4", "|O8"),
		"does not describe": swap("shape", "shade"),
		"more bytes":        swap("(2, 3, 4), }                ", "(9223372036854775807, 3, 4), }"),
	} {
		if _, err := Decode(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	if a, err := ReadFile("testdata/vector.npy"); err != nil || !slices.Equal(a.Shape, []int{5}) {
		t.Errorf("%v, %v", a, err)
	}
	for file, want := range map[string]string{
		"testdata/absent.npy": "absent.npy: no such file", "testdata": "not a file", "testdata/make_npy.py": "make_npy.py: npy: not a .npy",
	} {
		if _, err := ReadFile(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.npy")
	for _, file := range files {
		f.Add(read(f, filepath.Base(file)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Decode(b)
		if err != nil {
			return
		}
		if len(a.Values) > len(b) {
			t.Errorf("%d values from %d bytes", len(a.Values), len(b))
		}
		again, err := Decode(Append(nil, Float32, a.Shape, a.Values))
		if err != nil || !slices.Equal(again.Shape, a.Shape) {
			t.Errorf("%v does not survive: %v", a.Shape, err)
		}
	})
}
