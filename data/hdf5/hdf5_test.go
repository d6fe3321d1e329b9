package hdf5

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(b []byte) (*File, error) { return Open(bytes.NewReader(b), int64(len(b))) }

// What h5py wrote: element k of the 5×3×7×4 values is a known function of k.
func TestIndex(t *testing.T) {
	f, err := open(read(t, "matlab.h5"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]func(k int) float32{
		"packed":     func(k int) float32 { return float32(k % 251) },
		"shuffled":   func(k int) float32 { return float32(k) / 4 },
		"contiguous": func(k int) float32 { return float32(k) },
		"chunked":    func(k int) float32 { return float32(k) },
	} {
		d, err := f.Dataset(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(d.Shape, []int{5, 3, 7, 4}) {
			t.Errorf("%s: shape %v", name, d.Shape)
		}
		for i := range 5 {
			got, err := d.Index(i)
			if err != nil || len(got) != 84 {
				t.Errorf("%s: index %d has %d values, %v", name, i, len(got), err)
				continue
			}
			for k, v := range got {
				if want := value(84*i + k); v != want {
					t.Errorf("%s: value %d of index %d is %v, want %v", name, k, i, v, want)
					break
				}
			}
		}
	}
	for name, want := range map[string][]float32{"vector": {7}, "unwritten": {0, 0, 0, 0, 0}} {
		d, err := f.Dataset(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Index(min(7, d.Shape[0]-1)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if d, err := f.Dataset("more39"); err != nil {
		t.Error(err)
	} else if got, err := d.Index(0); err != nil || got[1] != 39 {
		t.Errorf("more39: %v, %v", got, err)
	}
}

func TestRefuses(t *testing.T) {
	whole := read(t, "matlab.h5")
	for want, b := range map[string][]byte{
		"not an HDF5 file":     []byte(strings.Repeat("MATLAB 5.0 MAT-file ", 100)),
		"superblock version 3": read(t, "latest.h5"),
		"not an HDF5":          whole[:512],
		"cut short":            whole[:1300],
	} {
		if _, err := open(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f, err := open(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"absent": "no variable absent", "big": "data type 1 of 4 bytes", "names": "data type 7", "#refs#": "not an array",
	} {
		if _, err := f.Dataset(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	d, err := f.Dataset("packed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Index(5); err == nil {
		t.Error("index 5 of 5")
	}
	f.size = 2048 // as if the download had ended
	if _, err := d.Index(4); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(read(f, "matlab.h5"))
	f.Add(read(f, "latest.h5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := open(b)
		if err != nil {
			return
		}
		for name := range file.objects {
			d, err := file.Dataset(name)
			if err != nil {
				continue
			}
			n, err := product(d.Shape[1:], 1<<16)
			if err != nil {
				continue
			}
			if v, err := d.Index(d.Shape[0] - 1); err == nil && len(v) != n {
				t.Errorf("%s: %d values for shape %v", name, len(v), d.Shape)
			}
		}
	})
}
