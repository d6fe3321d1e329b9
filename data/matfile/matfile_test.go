package matfile

import (
	"os"
	"path/filepath"
	"reflect"
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

// An array of structures as SciPy wrote it, packed and plain.
func TestStructures(t *testing.T) {
	for _, name := range []string{"meta.mat", "plain.mat"} {
		vars, err := ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		s := vars["synsets"]
		if !reflect.DeepEqual(s.Shape, []int{3, 1}) || len(s.Fields) != 4 {
			t.Fatalf("%s: shape %v, %d fields", name, s.Shape, len(s.Fields))
		}
		for i, want := range []string{"n01440764", "n02119789", "n00000001"} {
			if got := s.Fields["WNID"][i].Text; got != want {
				t.Errorf("%s: WNID %d is %q", name, i, got)
			}
			if got := s.Fields["ILSVRC2012_ID"][i].Numbers; !reflect.DeepEqual(got, []float64{float64(i + 1)}) {
				t.Errorf("%s: id %d is %v", name, i, got)
			}
		}
		if got := s.Fields["words"][1].Text; got != "kit fox, Vulpes macrotis" {
			t.Errorf("%s: words %q", name, got)
		}
		if got := s.Fields["words"][2].Text; got != "" {
			t.Errorf("%s: no words are %q", name, got)
		}
	}
}

func TestTypes(t *testing.T) {
	vars, err := Decode(read(t, "types.mat"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, v := range vars {
		if !strings.HasPrefix(name, "t_") {
			continue
		}
		n++
		want := []float64{1, 4, 2, 5, 3, 6} // column by column
		if name == "t_bool" {
			want = []float64{1, 1, 1, 1, 1, 1}
		}
		if !reflect.DeepEqual(v.Shape, []int{2, 3}) || !reflect.DeepEqual(v.Numbers, want) {
			t.Errorf("%s: %v %v", name, v.Shape, v.Numbers)
		}
	}
	if n != 11 {
		t.Errorf("%d types", n)
	}
	if got := vars["trainNdxs"].Numbers; !reflect.DeepEqual(got, []float64{3, 5}) {
		t.Errorf("trainNdxs %v", got)
	}
	if c := vars["cells"].Cells; len(c) != 3 || c[0].Text != "ab" || c[1].Text != "çé" || !reflect.DeepEqual(c[2].Numbers, []float64{7.5, -1}) {
		t.Errorf("cells %+v", c)
	}
	if e := vars["empty"]; !reflect.DeepEqual(e.Shape, []int{0, 2}) || len(e.Numbers) != 0 {
		t.Errorf("empty %+v", e)
	}
}

func TestDecodeRefuses(t *testing.T) {
	plain := read(t, "plain.mat")
	hdf5 := append([]byte(nil), plain...)
	hdf5[125], hdf5[124] = 2, 0
	swapped := append([]byte(nil), plain...)
	swapped[126], swapped[127] = 'x', 'x'
	packed := read(t, "meta.mat")
	for want, file := range map[string][]byte{
		"not a MAT-file":     []byte("\x89HDF"),
		"not a MAT-file of":  swapped,
		"save it again":      hdf5,
		"cut short":          plain[:len(plain)-8],
		"the MAT-file is":    packed[:len(packed)-8],
		"compressed element": append(append([]byte(nil), packed[:140]...), make([]byte, len(packed)-140)...),
	} {
		if _, err := Decode(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"plain.mat", "meta.mat", "types.mat"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		vars, err := Decode(b)
		if err != nil {
			return
		}
		for name, v := range vars {
			n := 1
			for _, d := range v.Shape {
				n *= d
			}
			if v.Numbers != nil && len(v.Numbers) != n || v.Cells != nil && len(v.Cells) != n {
				t.Errorf("%s: shape %v, %d numbers, %d cells", name, v.Shape, len(v.Numbers), len(v.Cells))
			}
		}
	})
}
