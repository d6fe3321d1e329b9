package nyu

import (
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	depthlabel "must/task/depth"
)

// The miniature of the labelled set is a known function of image, x and y; see testdata/make_nyu.py.
func TestLabeled(t *testing.T) {
	for _, c := range []struct {
		set, split string
		keys       []int
	}{{"", "train", []int{2, 4}}, {"filled", "test", []int{0, 1, 3}}, {"", "", []int{0, 1, 2, 3, 4}}} {
		d, err := Open(data.Source{Path: "testdata", Set: c.set, Split: c.split})
		if err != nil {
			t.Fatal(err)
		}
		if d.Len() != len(c.keys) {
			t.Fatalf("%d images, want %d", d.Len(), len(c.keys))
		}
		for k, i := range c.keys {
			s, err := d.Sample(k)
			if err != nil {
				t.Fatal(err)
			}
			if s.Key != "0000"+string(rune('0'+i)) || s.Image.Rect != image.Rect(0, 0, 6, 4) {
				t.Errorf("%s of %v", s.Key, s.Image.Rect)
			}
			for y := range 4 {
				for x := range 6 {
					if got, want := s.Image.RGBAAt(x, y), (color.RGBA{uint8(10*x + i), uint8(20*y + i), uint8(40 * i), 255}); got != want {
						t.Errorf("%s: pixel (%d, %d) is %v, want %v", s.Key, x, y, got, want)
					}
					got, want := depthlabel.Of(s).At(x, y), 1+float32(i)+float32(x)/8+float32(y)/16
					if missing := c.set == "" && (x+y+i)%3 == 0; missing != math.IsNaN(float64(got)) || !missing && got != want {
						t.Errorf("%s: depth (%d, %d) is %v, want %v", s.Key, x, y, got, want)
					}
				}
			}
		}
	}
}

func TestLabeledRefuses(t *testing.T) {
	whole, err := os.ReadFile("testdata/" + labeledName)
	if err != nil {
		t.Fatal(err)
	}
	splits, err := os.ReadFile("testdata/" + splitsName)
	if err != nil {
		t.Fatal(err)
	}
	dir := datatest.Folder(t, map[string]string{
		"a/" + labeledName: string(whole),
		"b/" + labeledName: "MATLAB 5.0 MAT-file",
		"c/" + labeledName: string(whole), "c/" + splitsName: "x",
		"d/other.mat": string(splits),
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		src  data.Source
		want string
	}{
		{data.Source{Path: at("a"), Split: "train"}, "fetch splits.mat"},
		{data.Source{Path: at("a"), Split: "val"}, "train and test"},
		{data.Source{Path: at("a"), Set: "raw"}, "filled for in-painted"},
		{data.Source{Path: at("a"), Scale: 0.001}, "in metres: leave it out"},
		{data.Source{Path: at("b")}, "not an HDF5 file"},
		{data.Source{Path: at("c/" + labeledName), Split: "test"}, "splits.mat: not a MAT-file"},
		{data.Source{Path: at("d/other.mat")}, "not an HDF5 file"},
		{data.Source{Path: at("d/absent.mat")}, "no such folder"},
	} {
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.src, err, c.want)
		}
	}
}
