package depth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/data/npy"
	depthlabel "must/task/depth"
)

// photo is an image of two pixels, grey16 a map of such.
func photo() string { return datatest.PNG(image.NewRGBA(image.Rect(0, 0, 2, 1))) }

func grey16(values ...uint16) string {
	g := image.NewGray16(image.Rect(0, 0, len(values), 1))
	for i, v := range values {
		binary.BigEndian.PutUint16(g.Pix[2*i:], v)
	}
	return datatest.PNG(g)
}

func array(shape []int, values ...float32) string {
	return string(npy.Append(nil, npy.Float32, shape, values))
}

// check compares keys and depths, where 0 stands for NaN and nil for unknown.
func check(t *testing.T, src data.Source, want map[string][]float32) {
	t.Helper()
	d, err := Open(src)
	if err != nil {
		t.Errorf("%+v: %v", src, err)
		return
	}
	if !reflect.DeepEqual(d.Labels(), data.Labels{depthlabel.Name: {Units: data.Metric}}) || d.Len() != len(want) {
		t.Errorf("%+v: labels %+v, %d images, want %d", src, d.Labels(), d.Len(), len(want))
	}
	for i := range d.Len() {
		s, err := d.Sample(i)
		if err != nil {
			t.Error(err)
			continue
		}
		depth, ok := want[s.Key]
		if !ok || s.Key != d.Key(i) {
			t.Errorf("%+v: key %s", src, s.Key)
		}
		if depth == nil {
			if depthlabel.Of(s) != nil {
				t.Errorf("%s has depth", s.Key)
			}
			continue
		}
		for k, v := range depthlabel.Of(s).Pix {
			if depth[k] == 0 != math.IsNaN(float64(v)) || depth[k] != 0 && v != depth[k] {
				t.Errorf("%s: depth %v, want %v", s.Key, depthlabel.Of(s).Pix, depth)
			}
		}
	}
}

func TestPairs(t *testing.T) {
	files := map[string]string{
		"bts/kitchen/rgb_00045.jpg": photo(), "bts/kitchen/sync_depth_00045.png": grey16(1500, 0),
		"bts/kitchen/rgb_00046.jpg":                        photo(),
		"dense/nyu2_test/0_colors.png":                     photo(),
		"dense/nyu2_test/0_depth.png":                      grey16(3000, 65535),
		"mae/train/rgb/a/1.jpg":                            photo(),
		"mae/train/depth/a/1.png":                          grey16(6554, 1),
		"mae/test/rgb/a/9.jpg":                             photo(),
		"mae/test/depth/a/9.png":                           grey16(1, 1),
		"ultra/images/7.jpg":                               photo(),
		"ultra/depth/7.npy":                                array([]int{1, 2, 1}, 2.5, float32(math.Inf(1))),
		"ultra/depth/7.png":                                "never read",
		"ultra/images/8.jpg":                               photo(),
		"ultra/depth/8.npy":                                array([]int{1, 2}, -1, float32(math.NaN())),
		"lists/test_files_with_gt.txt":                     "\ufeffbath/rgb_1.jpg bath/sync_depth_1.png 518.8579\r\n\r\nbath/rgb_2.jpg None 518.8579\n",
		"lists/official_splits/test/bath/rgb_1.jpg":        photo(),
		"lists/official_splits/test/bath/sync_depth_1.png": grey16(1000, 2000),
		"lists/official_splits/test/bath/rgb_2.jpg":        photo(),
		"lists/train_files_with_gt.txt":                    "/kitchen/rgb_3.jpg /kitchen/sync_depth_3.png 518.8579\n/kitchen/rgb_3.jpg /kitchen/sync_depth_3.png 518.8579\n",
		"lists/sync/kitchen/rgb_3.jpg":                     photo(),
		"lists/sync/kitchen/sync_depth_3.png":              grey16(0, 9999),
	}
	dir := datatest.Folder(t, files)
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, data.Source{Path: at("bts"), Scale: 0.001}, map[string][]float32{"kitchen/rgb_00045": {1.5, 0}, "kitchen/rgb_00046": nil})
	check(t, data.Source{Path: at("dense"), Scale: 0.001}, map[string][]float32{"nyu2_test/0_colors": {3, 65.535}})
	check(t, data.Source{Path: at("mae"), Scale: 10. / 65536, Split: "train"}, map[string][]float32{"train/rgb/a/1": {6554 * 10. / 65536, 10. / 65536}})
	check(t, data.Source{Path: at("ultra")}, map[string][]float32{"images/7": {2.5, 0}, "images/8": {0, 0}})
	check(t, data.Source{Path: at("lists"), Scale: 0.001, Split: "test"},
		map[string][]float32{"official_splits/test/bath/rgb_1": {1, 2}, "official_splits/test/bath/rgb_2": nil})
	check(t, data.Source{Path: at("lists"), Scale: 0.001, Set: "train_files_with_gt.txt"}, map[string][]float32{"sync/kitchen/rgb_3": {0, 9.999}})
}

// Depth of no unit becomes inverse depth: as stored, or by inversion.
func TestUnits(t *testing.T) {
	grey8 := image.NewGray(image.Rect(0, 0, 2, 1))
	grey8.Pix = []uint8{0, 200}
	dir := datatest.Folder(t, map[string]string{
		"ReDWeb/Imgs/1.jpg": photo(), "ReDWeb/RDs/1.png": datatest.PNG(grey8),
		"DIML/color/2_c.png": photo(), "DIML/depth_filled/2_depth_filled.png": grey16(2000, 500),
		"stereo/images/3.jpg": photo(), "stereo/disparity/3.npy": array([]int{1, 2}, -3, float32(math.NaN())),
	})
	nan := float32(math.NaN())
	for _, c := range []struct {
		name, units, set string
		want             [2]float32
	}{
		{"8 bits", data.Inverse, "ReDWeb", [2]float32{nan, 200}},
		{"relative", data.Relative, "DIML", [2]float32{1. / 2000, 1. / 500}},
		{"negative disparity", data.Inverse, "stereo", [2]float32{-3, nan}},
	} {
		d, err := Open(data.Source{Path: filepath.Join(dir, c.set), Units: c.units})
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Sample(0)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			if got := depthlabel.Of(s).Pix[i]; d.Labels()[depthlabel.Name].Units != data.Inverse || got != want && (got == got || want == want) {
				t.Errorf("%s: %s depth %v, want %v", c.name, d.Labels()[depthlabel.Name].Units, got, want)
			}
		}
	}
	if _, err := Open(data.Source{Path: filepath.Join(dir, "DIML"), Units: "feet"}); err == nil || !strings.Contains(err.Error(), "relative") {
		t.Errorf("feet: %v", err)
	}
	d, err := Open(data.Source{Path: filepath.Join(dir, "ReDWeb"), Scale: 0.001})
	if err == nil {
		_, err = d.Sample(0)
	}
	if err == nil { // 8 bits tell no metres
		t.Error("metric depth of 8 bits was read")
	}
}

func TestSplitByHash(t *testing.T) {
	files := map[string]string{}
	for i := range 60 {
		files["rgb_"+string(rune('A'+i))+".jpg"], files["depth_"+string(rune('A'+i))+".png"] = photo(), grey16(1, 2)
	}
	dir, n := datatest.Folder(t, files), 0
	for _, split := range []string{"train", "val", "test"} {
		d, err := Open(data.Source{Path: dir, Split: split, Scale: 1})
		if err != nil {
			t.Fatal(err)
		}
		n += d.Len()
	}
	if n != 60 {
		t.Errorf("the splits hold %d of 60", n)
	}
}

func TestBrokenSamples(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{
		"rgb_1.jpg": photo(), "depth_1.png": grey16(1, 2, 3),
		"rgb_2.jpg": photo(), "depth_2.png": datatest.PNG(image.NewGray(image.Rect(0, 0, 2, 1))),
		"rgb_3.jpg": photo(), "depth_3.npy": array([]int{1, 2}, 1, 2)[:100],
		"rgb_4.jpg": photo(), "depth_4.npy": array([]int{2}, 1, 2),
		"rgb_5.jpg": "no image", "depth_5.npy": array([]int{1, 2}, 1, 2),
		"rgb_6.jpg": photo(), "depth_6.npy": array([]int{1, 3}, 1, 2, 3),
		"list.txt": "rgb_1.jpg sync_depth_1.png\n",
	})
	for set, wants := range map[string][]string{
		"":         {"2×1 pixels, but its labels are for 3×1", "want a 16-bit grey PNG, not 8-bit", "depth_3.npy: npy", "shape [2] is no depth map", "rgb_5.jpg: not an image", "3×1"},
		"list.txt": {"sync_depth_1.png: no such file"},
	} {
		d, err := Open(data.Source{Path: dir, Scale: 1, Set: set})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range wants {
			_, err := d.Sample(i)
			if broken, ok := errors.AsType[*data.SampleError](err); !ok || broken.Key != d.Key(i) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{
		"a/rgb_1.jpg": photo(), "a/depth_1.png": grey16(1, 2),
		"b/rgb_1.jpg":  photo(),
		"c/test_1.txt": "rgb_1.jpg depth_1.png", "c/test_2.txt": "",
		"d/climb.txt": "a.jpg a.png\n../../x.jpg d.png\n", "d/short.txt": "a.jpg", "d/empty.txt": "\n", "d/ext.txt": "a.jpg a.mat\n", "d/gone.txt": "a.jpg a.png\n",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		src  data.Source
		want string
	}{
		{data.Source{Path: at("absent")}, "no such folder"},
		{data.Source{Path: at("a")}, "set scale"},
		{data.Source{Path: at("a"), Scale: -1}, "scale is -1"},
		{data.Source{Path: at("a"), Scale: 1, Split: "dev"}, `split is "dev"`},
		{data.Source{Path: at("a"), Scale: 1, Set: "list.txt"}, "nor one of the list files"},
		{data.Source{Path: at("b"), Scale: 1}, "none of its 1 images has a depth map"},
		{data.Source{Path: at("c"), Split: "test"}, "several lists"},
		{data.Source{Path: at("d"), Set: "climb.txt"}, `climb.txt:2: "../../x.jpg" is no path`},
		{data.Source{Path: at("d"), Set: "short.txt"}, "short.txt names images without depth maps"},
		{data.Source{Path: at("d"), Set: "empty.txt"}, "empty"},
		{data.Source{Path: at("d"), Set: "ext.txt"}, "is none of .png"},
		{data.Source{Path: at("d"), Set: "gone.txt"}, "first image a.jpg is not below"},
	} {
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.src, err, c.want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("bathroom/rgb_00045.jpg bathroom/sync_depth_00045.png 518.8579\n")
	f.Add("/a/b.jpg None 1\n../a b.png\n//\n")
	f.Fuzz(func(t *testing.T, text string) {
		pairs, err := parseList(text)
		if err != nil {
			return
		}
		for _, p := range pairs {
			if !filepath.IsLocal(p.image) || p.depth != "" && !filepath.IsLocal(p.depth) {
				t.Errorf("%q", p)
			}
		}
	})
}

// Pairs as people have them: by folder, by ending, EXR and PFM, and what no map of its own may be taken for.
func TestOwnPairs(t *testing.T) {
	pfm := "Pf\n2 1\n-1.0\n\x00\x00\x80\x3f\x00\x00\x80\x7f" // 1, infinite
	for name, c := range map[string]struct {
		files map[string]string
		src   data.Source
		want  map[string][]float32
	}{
		"PFM":       {map[string]string{"images/a.jpg": photo(), "depth/a.pfm": pfm}, data.Source{}, map[string][]float32{"images/a": {1, 0}}},
		"ending":    {map[string]string{"a.jpg": photo(), "a_depth.npy": array([]int{1, 2}, 2, -1), "b.jpg": photo()}, data.Source{}, map[string][]float32{"a": {2, 0}, "b": nil}},
		"parts":     {map[string]string{"train/images/a.jpg": photo(), "train/depth/a.png": grey16(4, 0), "val/images/b.jpg": photo(), "val/depth/b.png": grey16(4, 0)}, data.Source{Scale: 0.5, Split: "val"}, map[string][]float32{"val/images/b": {2, 0}}},
		"void":      {map[string]string{"rgb/a.jpg": photo(), "depth/a.png": grey16(4, 65535)}, data.Source{Scale: 0.5, Void: "65535"}, map[string][]float32{"rgb/a": {2, 0}}},
		"two names": {map[string]string{"rgb/a.jpg": photo(), "rgb/a.png": photo(), "depth/a.npy": array([]int{1, 2}, 2, 2), "rgb/b.jpg": photo(), "depth/b.jpg.npy": array([]int{1, 2}, 3, 3)}, data.Source{}, map[string][]float32{"rgb/a.jpg": nil, "rgb/a.png": nil, "rgb/b": {3, 3}}},
		"KITTI": {map[string]string{"raw/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png": photo(), "raw/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000006.png": photo(),
			"train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png": grey16(512, 0)}, data.Source{Set: "kitti"},
			map[string][]float32{"raw/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005": {2, 0}}},
		"TUM": {map[string]string{"room/rgb.txt": "# color images\n1.00 rgb/1.00.png\n1.03 rgb/1.03.png\n2.00 rgb/2.00.png\n", "room/depth.txt": "1.015 depth/1.015.png\n1.031 depth/1.031.png\n2.5 depth/2.5.png\n",
			"room/rgb/1.00.png": photo(), "room/rgb/1.03.png": photo(), "room/rgb/2.00.png": photo(), "room/depth/1.015.png": grey16(5000, 0), "room/depth/1.031.png": grey16(10000, 0), "room/depth/2.5.png": grey16(1, 1)}, data.Source{Set: "tum"},
			map[string][]float32{"room/rgb/1.00": {1, 0}, "room/rgb/1.03": {2, 0}}},
	} {
		c.src.Path = datatest.Folder(t, c.files)
		t.Run(name, func(t *testing.T) { check(t, c.src, c.want) })
	}
	// Whole numbers have a unit only where it is declared.
	ints := "\x93NUMPY\x01\x00\x46\x00" + fmt.Sprintf("%-69s\n", "{'descr': '<u2', 'fortran_order': False, 'shape': (1, 2), }") + "\xe8\x03\x00\x00"
	dir := datatest.Folder(t, map[string]string{"images/a.jpg": photo(), "depth/a.npy": ints})
	if _, err := Open(data.Source{Path: dir}); err == nil || !strings.Contains(err.Error(), "set scale to the metres in one") {
		t.Errorf("millimetres as metres: %v", err)
	}
	check(t, data.Source{Path: dir, Scale: 0.001}, map[string][]float32{"images/a": {1, 0}})
}

func FuzzPFM(f *testing.F) {
	f.Add([]byte("Pf\n2 1\n-1.0\n\x00\x00\x80\x3f\x00\x00\x80\x7f"))
	f.Add([]byte("Pf 1 1 1 \x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := decodePFM(b); err == nil && len(g.Pix) != g.W*g.H {
			t.Error(g)
		}
	})
}

func FuzzTimes(f *testing.F) {
	f.Add("# a\n1.0 rgb/1.png\n", "1.01 depth/1.png\n")
	f.Add("1,a.png\n2,b.png", "1 ../x\n")
	f.Fuzz(func(t *testing.T, rgb, depth string) {
		d := &dataset{folder: datatest.Folder(t, map[string]string{"rgb.txt": rgb, "depth.txt": depth})}
		if err := d.sequences(""); err != nil {
			return
		}
		for _, p := range d.pairs {
			if !filepath.IsLocal(p.image) || !filepath.IsLocal(p.depth) {
				t.Errorf("%q", p)
			}
		}
	})
}
