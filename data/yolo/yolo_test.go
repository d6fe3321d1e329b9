package yolo

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
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
	if want := []string{"train/a", "train/c", "train/sub/b"}; !slices.Equal(keys(d), want) || !slices.Equal(d.Labels()[detection.Name].Classes, []string{"dog", "cat"}) || d.Labels()[detection.Name].Masks {
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
		"0 10 5 3 3": "fractions", "0 .5 .5 .1": "4 numbers", "0 .5 x .1 .1": `"x" is no number`, "0 nan .5 .1 .1": "no number", "0 .1 .1 .2 .2 .3 .3 .4": "8 numbers",
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
		objects, err := parseLabels(text, 3, 20, 10)
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
