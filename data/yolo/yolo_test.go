package yolo

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/data/frame"
	"must/task/detection"
)

// write makes a folder of the given files; images are 20×10.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	for name := range files {
		if strings.HasSuffix(name, ".jpg") {
			files[name] = "png 20×10"
		}
	}
	return datatest.Folder(t, files)
}

func keys(d data.Dataset) (k []string) {
	for i := range d.Len() {
		k = append(k, d.Key(i))
	}
	return k
}

func TestUltralytics(t *testing.T) {
	dir := write(t, map[string]string{
		"data.yaml":               "path: .\ntrain: images/train\nval: [images/val]\ntest: test.txt\nnames:\n  0: dog\n  1: cat\nnc: 2\n",
		"images/train/a.jpg":      "",
		"images/train/sub/b.jpg":  "",
		"images/train/c.jpg":      "",
		"images/val/d.jpg":        "",
		"labels/train/a.txt":      "1 0.5 0.5 0.5 1\r\n0 0.25 0.25 0.1 0.1 0.75\n\n0 0.995 0.5 0.02 0.2\n1 0.5 0.5 0 0\n",
		"labels/train/sub/b.txt":  "",
		"labels/val/d.txt":        "0 0.1 0.1 0.6 0.1 0.6 0.8\n",
		"test.txt":                "./images/val/d.jpg\nimages/train/a.jpg\n\n",
		"labels/train/unused.txt": "broken",
	})
	d, err := Open(data.Source{Path: dir, Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"train/a", "train/c", "train/sub/b"}; !slices.Equal(keys(d), want) || !slices.Equal(d.Labels()[detection.Name].Classes, []string{"dog", "cat"}) || !d.Labels()[detection.Name].Masks {
		t.Fatalf("keys %q, labels %+v", keys(d), d.Labels())
	}
	s, err := d.Sample(0)
	want := []data.Object{
		{Box: data.Box{X0: 5, Y0: 0, X1: 15, Y1: 10}, Class: 1, Score: 1},
		{Box: data.Box{X0: 4, Y0: 2, X1: 6, Y1: 3}, Class: 0, Score: 0.75},
		{Box: data.Box{X0: 19.7, Y0: 4, X1: 20, Y1: 6}, Class: 0, Score: 1},
	}
	if err != nil || len(detection.Of(s)) != 3 {
		t.Fatalf("%v, %+v", err, s)
	}
	for i, o := range detection.Of(s) {
		o.Box.X0, o.Box.X1 = round(o.Box.X0), round(o.Box.X1)
		if o.Box.Y0, o.Box.Y1 = round(o.Box.Y0), round(o.Box.Y1); o != want[i] {
			t.Errorf("object %d is %+v, want %+v", i, o, want[i])
		}
	}
	if s, err := d.Sample(1); err != nil || detection.Of(s) != nil {
		t.Errorf("without a file: %v, %+v", err, s)
	}
	if s, err := d.Sample(2); err != nil || detection.Of(s) == nil || len(detection.Of(s)) != 0 {
		t.Errorf("with an empty file: %v, %+v", err, s)
	}

	d, err = Open(data.Source{Path: filepath.Join(dir, "data.yaml"), Split: "val"})
	if err != nil || !d.Labels()[detection.Name].Masks {
		t.Fatal(err)
	}
	s, err = d.Sample(0)
	if err != nil || detection.Of(s)[0].Mask == nil || !detection.Of(s)[0].Mask.At(10, 3) || detection.Of(s)[0].Mask.At(3, 6) || detection.Of(s)[0].Box.Y1 != 8 {
		t.Errorf("polygon: %v, %+v", err, s)
	}
	if d, err = Open(data.Source{Path: dir, Split: "test"}); err != nil || !slices.Equal(keys(d), []string{"val/d", "train/a"}) {
		t.Errorf("list: %v, %v", err, d)
	}
}

func round(x float64) float64 { return float64(int(x*1e6+0.5)) / 1e6 }

// Other exporters' habits.
func TestLayouts(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"Roboflow": {"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: ['dog', 'cat']", "train/images/a.jpg": "", "train/labels/a.txt": "1 .5 .5 1 1"},
		"LabelImg": {"classes.txt": "dog\ncat\n", "images/train/a.jpg": "", "labels/train/a.txt": "1 .5 .5 1 1"},
		"ours":     {"data.yaml": "path: .\ntrain: images\nval: images\nnames: [dog, cat]", "images/a.jpg": "", "labels/a.txt": "1 .5 .5 1 1"},
		"path":     {"any.yml": "path: ../datasets/x\ntrain: images\nnames: {0: dog, 1: cat}", "datasets/x/images/a.jpg": "", "datasets/x/labels/a.txt": "1 .5 .5 1 1"},
		"absent":   {"any.yml": "path: /elsewhere\ntrain: images\nnames: {0: dog, 1: cat}", "images/a.jpg": "", "labels/a.txt": "1 .5 .5 1 1"},
	} {
		d, err := Open(data.Source{Path: write(t, files), Split: "train"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s, err := d.Sample(0); err != nil || len(detection.Of(s)) != 1 || detection.Of(s)[0].Class != 1 || !slices.Equal(d.Labels()[detection.Name].Classes, []string{"dog", "cat"}) {
			t.Errorf("%s: %v, %+v", name, err, s)
		}
	}
}

func TestMistakes(t *testing.T) {
	yaml := "train: images\nnames: [dog]"
	for want, files := range map[string]map[string]string{
		"neither a data.yaml nor a classes.txt": {"images/a.jpg": ""},
		"no names:":                             {"data.yaml": "train: images", "images/a.jpg": ""},
		"is no index":                           {"data.yaml": "train: images\nnames: {1: a}", "images/a.jpg": ""},
		"no folder or list":                     {"data.yaml": "train: /etc\nnames: [a]", "images/a.jpg": ""},
		"neither a path":                        {"data.yaml": "train: 3\nnames: [a]", "images/a.jpg": ""},
		"names no train part":                   {"data.yaml": "val: images\nnames: [a]", "images/a.jpg": ""},
		"several .yaml":                         {"a.yaml": yaml, "b.yaml": yaml},
		"no images in its":                      {"data.yaml": yaml, "images/x.txt": ""},
	} {
		if _, err := Open(data.Source{Path: write(t, files), Split: "train"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := Open(data.Source{Path: write(t, map[string]string{"data.yaml": yaml}), Split: "minival"}); err == nil || !strings.Contains(err.Error(), "minival") {
		t.Errorf("a split that there is not: %v", err)
	}
	for text, want := range map[string]string{
		"1 .5 .5 .1 .1": "class 1 of 1", "0.5 .5 .5 .1 .1": "class 0.5", "-1 .5 .5 .1 .1": "class -1", "1e300 .5 .5 .1 .1": "class",
		"0 10 5 3 3": "fractions", "0 .5 .5 .1": "4 numbers", "0 .5 x .1 .1": `"x" is no number`, "0 nan .5 .1 .1": "no number", "0 .1 .1 .2 .2 .3 .3 .4\n0 .5 .5 .1 .1\n0 .5 .6 .1 .1": "7 numbers",
	} {
		d, err := Open(data.Source{Path: write(t, map[string]string{"data.yaml": yaml, "images/a.jpg": "", "labels/a.txt": "\n" + text})})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Sample(0)
		if broken, ok := errors.AsType[*data.SampleError](err); !ok || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2") || !strings.HasSuffix(broken.File, "a.txt") {
			t.Errorf("%q: %v does not say %s", text, err, want)
		}
	}
}

func TestPathsStayInside(t *testing.T) {
	d := &dataset{root: "/set"}
	for p, want := range map[string]string{
		"../../etc": "etc", "/etc/passwd": "etc/passwd", "/set/images": "images", "a/../../b": "b", "..": "", "images/./x": "images/x",
	} {
		if got := d.inside(p); got != want {
			t.Errorf("%q becomes %q, want %q", p, got, want)
		}
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("1 0.5 0.5 0.5 1\n0 0.1 0.1 0.6 0.1 0.6 0.8\n")
	f.Fuzz(func(t *testing.T, text string) {
		objects, _, err := (spec{polygons: true}).parse(text, 3, frame.Plain(20, 10))
		if err != nil {
			return
		}
		for _, o := range objects {
			if b := o.Box; o.Class < 0 || o.Class >= 3 || !(b.X0 >= 0 && b.X1 <= 20 && b.Y0 >= 0 && b.Y1 <= 10 && b.Area() > 0) {
				t.Errorf("%+v", o)
			}
		}
	})
}

// What lines hold is declared, or told by all lines of the set, or refused.
func TestLinesAreDeclaredOrUnmistakable(t *testing.T) {
	const box = "0 0.5 0.5 0.5 0.5" // 5..15 × 2.5..7.5
	boxed := data.Box{X0: 5, Y0: 2.5, X1: 15, Y1: 7.5}
	for name, c := range map[string]struct {
		shape, lines, labels string
		box                  data.Box
		mask                 bool
		score                float32
		want                 string // error
	}{
		"pose":                  {"[4, 2]", "", box + " 0.3 0.3 0.7 0.3 0.7 0.7 0.3 0.7", boxed, false, 1, ""},
		"pose, visible":         {"[3, 3]", "", box + " 0.3 0.3 1 0.7 0.3 2 0.7 0.7 0", boxed, false, 1, ""},
		"pose, a point":         {"[1, 2]", "", box + " 0.9 0.9", boxed, false, 1, ""},
		"pose of another shape": {"[4, 2]", "", box + " 0.3 0.3 0.7 0.3", boxed, false, 1, "by kpt_shape [4, 2] a box and its points are 12"},
		"pose, undeclared":      {"", "", box + " 0.3 0.3 0.7 0.3 0.7 0.7 0.3 0.7", boxed, false, 1, "kpt_shape"},
		"score":                 {"", "", box + " 0.87", boxed, false, 0.87, ""},
		"track":                 {"", "", box + " 12", boxed, false, 1, "lines: box id"},
		"track, declared":       {"", "box id", box + " 12", boxed, false, 1, ""},
		"tracked":               {"", "box+score+id", box + " 0.87 12", boxed, false, 0.87, ""},
		"tracked, undeclared":   {"", "", box + " 0.87 1", boxed, false, 0.87, "box score id"},
		"corners":               {"", "", "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n0 0.25 0.25 0.3 0.3 0.2 0.3", boxed, true, 1, ""},
		"oriented":              {"", "", "0 0.75 0.75 0.75 0.25 0.25 0.25 0.25 0.75", boxed, true, 1, ""}, // as a box it would reach to 1.125
		"oriented, undeclared":  {"", "", "0 0.25 0.25 0.25 0.25 0.75 0.25 0.75 0.75", boxed, true, 1, "lines: polygon"},
		"oriented, declared":    {"", "polygon", "0 0.25 0.25 0.25 0.25 0.75 0.25 0.75 0.75", boxed, true, 1, ""},
		"scored polygon":        {"", "polygon score", "0 0.25 0.25 0.75 0.25 0.75 0.75 0.9", boxed, true, 0.9, ""},
	} {
		yaml := "train: images\nnames: [dog]\n"
		if c.shape != "" {
			yaml += "kpt_shape: " + c.shape + "\n"
		}
		dir := write(t, map[string]string{"data.yaml": yaml, "images/a.jpg": "", "labels/a.txt": c.labels})
		d, err := Open(data.Source{Path: dir, Lines: c.lines})
		var s *data.Sample
		if err == nil {
			s, err = d.Sample(0)
		}
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v does not say %s", name, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if o := detection.Of(s)[0]; o.Box != c.box || o.Score != c.score || (o.Mask != nil) != c.mask {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// Folders of one part, and parts, with equal names of files.
func TestKeysAreUnique(t *testing.T) {
	files := map[string]string{"data.yaml": "train: [cam1/images, cam2/images]\nval: cam1/images\nnames: [red, green]\n",
		"cam1/images/1.jpg": "", "cam2/images/1.jpg": "", "cam1/labels/1.txt": "0 .5 .5 .5 .5", "cam2/labels/1.txt": "1 .5 .5 .5 .5"}
	dir := write(t, files)
	for split, want := range map[string][]string{"train": {"cam1/1", "cam2/1"}, "val": {"cam1/1"}, "": {"cam1/1", "cam2/1"}} {
		d, err := Open(data.Source{Path: dir, Split: split})
		if err != nil || !slices.Equal(keys(d), want) {
			t.Errorf("split %q: %v, %v; want %q", split, err, d, want)
			continue
		}
		for i := range d.Len() {
			if s, err := d.Sample(i); err != nil || detection.Of(s)[0].Class != i {
				t.Errorf("split %q, sample %d: %v, %+v", split, i, err, s)
			}
		}
	}
}

// A label is found where tools leave it, and one that could be two images' is no image's.
func TestFilesOfLabels(t *testing.T) {
	dir := write(t, map[string]string{"data.yaml": "train: [site1, site2\\images]\nnames: [red]\n",
		"site1/a.jpg": "", "site1/a.txt": "0 .5 .5 .5 .5", "site2/images/b.jpg": "", "site2/images/b.TXT": "0 .5 .5 .5 .5",
		"site2/images/c.jpg": "", "site2/labels/c.txt": "\xef\xbb\xbf0 .5 .5 .5 .5\r\n0 .5 .5 .5 .5\r\n0 .2 .2 0 0\r\n",
		"site2/images/d.jpg": "", "site2/images/d.png": "png 20×10", "site2/labels/d.txt": "0 .5 .5 .5 .5", "site2/images/e.jpg": ""})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"site1/a": 1, "b": 1, "c": 1, "d.jpg": -1, "d.png": -1, "e": -1}
	for i := range d.Len() {
		s, err := d.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		n, ok := want[s.Key]
		if got := len(detection.Of(s)); !ok || n < 0 && detection.Of(s) != nil || n >= 0 && got != n || data.Carries(d, i, detection.Name) != (n >= 0) {
			t.Errorf("%s: %+v, want %d", s.Key, detection.Of(s), n)
		}
		if s.Key == "c" && !slices.Equal(detection.Unknown(s), []int{0}) {
			t.Errorf("the class of an object without area is unknown: %v", detection.Unknown(s))
		}
	}
	notes := strings.Join(data.Notes(d), "\n")
	for _, want := range []string{"share a file of labels", "without a file of labels, whose objects are unknown (an empty file says that there are none): 1", "objects without area in their image, dropped (their class is unknown there): 1", "repeat one before them, dropped: 1"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes do not say %q:\n%s", want, notes)
		}
	}
}

// Paths of another system or machine.
func TestPathsOfOthers(t *testing.T) {
	for name, train := range map[string]string{"windows": `images\train`, "dot": `.\images\train`, "list": "train.txt", "drive": `D:\work\set\images\train`, "machine": "/content/set/images/train"} {
		dir := write(t, map[string]string{"data.yaml": "path: .\ntrain: " + train + "\nval: " + train + "\nnames: [red]\n", "train.txt": ".\\images\\train\\a.jpg\r\n",
			"images/train/a.jpg": "", "labels/train/a.txt": "0 .5 .5 .5 .5\r\n"})
		d, err := Open(data.Source{Path: dir, Split: "train"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s, err := d.Sample(0); err != nil || len(detection.Of(s)) != 1 {
			t.Errorf("%s: %v, %+v", name, err, s)
		}
	}
}
