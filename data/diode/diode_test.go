package diode

import (
	"errors"
	"image"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/data/npy"
	"must/task/depth"
	"must/task/normals"
)

func picture(w, h int) string { return datatest.PNG(image.NewGray(image.Rect(0, 0, w, h))) }

func array(shape []int, values ...float32) string {
	return string(npy.Append(nil, npy.Float32, shape, values))
}

const (
	indoors = "val/indoors/scene_00019/scan_00183/00019_00183_indoors_000_010"
	outdoor = "val/outdoor/scene_00022/scan_00193/00022_00193_outdoor_000_000"
	train   = "train/outdoor/scene_00001/scan_00001/00001_00001_outdoor_000_000"
)

func set() map[string]string {
	nan := float32(math.NaN())
	return map[string]string{
		indoors + ".png":            picture(3, 2),
		indoors + "_depth.npy":      array([]int{2, 3, 1}, 1.5, 2, 0, -1, nan, 350),
		indoors + "_depth_mask.npy": array([]int{2, 3}, 1, 0, 1, 1, 1, 1),
		// A wall ahead, a ceiling, a wall on the right, none, one that points away, one not of unit length.
		indoors + "_normal.npy":     array([]int{2, 3, 3}, 0, 0, 1, 0, -1, 0, -1, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 5),
		outdoor + ".png":            picture(1, 1),
		outdoor + "_depth.npy":      array([]int{1, 1}, 20),
		outdoor + "_depth_mask.npy": array([]int{1, 1, 1}, 1),
		train + ".png":              picture(1, 1),
		train + "_normal.npy":       array([]int{1, 1, 3}, nan, 0, 0),
		"val/indoors/readme.txt":    "",
	}
}

func TestOpen(t *testing.T) {
	dir := datatest.Folder(t, set())
	d, err := Open(data.Source{Path: dir, Split: "val"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Labels(); !reflect.DeepEqual(got, data.Labels{depth.Name: {Units: data.Metric}, normals.Name: {}}) {
		t.Errorf("labels %+v", got)
	}
	if d.Len() != 2 || d.Key(0) != indoors || d.Key(1) != outdoor {
		t.Errorf("%d images, first %s", d.Len(), d.Key(0))
	}
	s, err := d.Sample(0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{1.5, 0, 0, 0, 0, 350} {
		got := depth.Of(s).Pix[i]
		if want == 0 != math.IsNaN(float64(got)) || want != 0 && got != want {
			t.Errorf("depth %d is %v, want %v", i, got, want)
		}
	}
	want := [][3]float32{{0, 0, -1}, {0, 1, 0}, {-1, 0, 0}, {}, {0, 0, -1}, {0, 0, -1}}
	for i, n := range normals.Of(s).Pix {
		for k := range n {
			if n[k] != want[i][k] {
				t.Errorf("normal %d is %v, want %v", i, n, want[i])
			}
		}
	}
	if s, err = d.Sample(1); err != nil || depth.Of(s).Pix[0] != 20 || normals.Of(s) != nil {
		t.Errorf("an image without normals: %+v, %v", s, err)
	}

	for _, c := range []struct {
		src    data.Source
		keys   []string
		labels data.Labels
	}{
		{data.Source{Path: dir}, []string{train, indoors, outdoor}, data.Labels{depth.Name: {Units: data.Metric}, normals.Name: {}}},
		{data.Source{Path: dir, Split: "val", Set: "outdoor"}, []string{outdoor}, data.Labels{depth.Name: {Units: data.Metric}}},
		{data.Source{Path: dir, Split: "train"}, []string{train}, data.Labels{normals.Name: {}}},
		{data.Source{Path: filepath.Join(dir, "val"), Split: "val", Set: "indoors"}, []string{strings.TrimPrefix(indoors, "val/")}, data.Labels{depth.Name: {Units: data.Metric}, normals.Name: {}}},
	} {
		d, err := Open(c.src)
		if err != nil {
			t.Error(err)
			continue
		}
		var keys []string
		for i := range d.Len() {
			keys = append(keys, d.Key(i))
		}
		if !reflect.DeepEqual(keys, c.keys) || !reflect.DeepEqual(d.Labels(), c.labels) {
			t.Errorf("%+v: %v, %+v", c.src, keys, d.Labels())
		}
	}
}

// Every normal that comes out faces the camera, wherever in the image it is.
func TestNormalsFaceTheCamera(t *testing.T) {
	const w, h = 8, 6
	var values []float32
	for i := range w * h {
		a := float64(i)
		values = append(values, float32(math.Sin(a)), float32(math.Cos(a)*math.Sin(3*a)), float32(math.Cos(5*a)))
	}
	dir := datatest.Folder(t, map[string]string{indoors + ".png": picture(w, h), indoors + "_normal.npy": array([]int{h, w, 3}, values...)})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Sample(0)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range normals.Of(s).Pix {
		x, y := (float64(i%w)+0.5)*128-512, (float64(i/w)+0.5)*128-384
		if dot := float64(n[0])*x/focalX + float64(n[1])*y/focalY + float64(n[2]); dot > 1e-6 {
			t.Errorf("normal %d faces away: %v", i, n)
		}
		if length := math.Hypot(math.Hypot(float64(n[0]), float64(n[1])), float64(n[2])); math.Abs(length-1) > 1e-6 {
			t.Errorf("normal %d has length %v", i, length)
		}
	}
}

func TestBrokenSamples(t *testing.T) {
	good := set()
	cut := func(name string) string { return good[name][:len(good[name])-1] }
	for want, change := range map[string]map[string]string{
		"_depth_mask.npy: no such file":       {indoors + "_depth_mask.npy": ""},
		"more bytes than the file has":        {indoors + "_depth.npy": cut(indoors + "_depth.npy")},
		"_normal.npy: npy":                    {indoors + "_normal.npy": cut(indoors + "_normal.npy")},
		"shape [3 2 1], but its image has 2":  {indoors + "_depth.npy": array([]int{3, 2, 1}, 1, 2, 3, 4, 5, 6)},
		"must be [2 3 3]":                     {indoors + "_normal.npy": array([]int{2, 3}, 1, 2, 3, 4, 5, 6)},
		"000_010_depth_mask.npy: npy: not a ": {indoors + "_depth_mask.npy": "PNG"},
		"000_010.png: not an image":           {indoors + ".png": "x"},
	} {
		files := set()
		for name, content := range change {
			if files[name] = content; content == "" {
				delete(files, name)
			}
		}
		d, err := Open(data.Source{Path: datatest.Folder(t, files), Set: "indoors"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Sample(0)
		if broken, ok := errors.AsType[*data.SampleError](err); !ok || broken.Key != indoors || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := datatest.Folder(t, set())
	for _, c := range []struct {
		src  data.Source
		want string
	}{
		{data.Source{Path: filepath.Join(dir, "absent")}, "no such folder"},
		{data.Source{Path: dir, Set: "outdoors"}, "want indoors or outdoor"},
		{data.Source{Path: dir, Split: "test"}, "train and val"},
		{data.Source{Path: filepath.Join(dir, "val"), Split: "train"}, "a split itself"},
		{data.Source{Path: dir, Split: "train", Set: "indoors"}, "no images"},
		{data.Source{Path: t.TempDir()}, "not in DIODE's layout"},
		{data.Source{Path: datatest.Folder(t, map[string]string{indoors + ".png": picture(1, 1)})}, "no *_depth.npy"},
	} {
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.src, err, c.want)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	const w, h = fullW, fullH
	values := make([]float32, 3*w*h)
	for i := range values {
		values[i] = float32(i%7) - 3
	}
	dir := datatest.Folder(b, map[string]string{
		indoors + ".png": picture(w, h), indoors + "_depth.npy": array([]int{h, w, 1}, values[:w*h]...),
		indoors + "_depth_mask.npy": array([]int{h, w}, values[:w*h]...), indoors + "_normal.npy": array([]int{h, w, 3}, values...),
	})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.Sample(0); err != nil {
			b.Fatal(err)
		}
	}
}
