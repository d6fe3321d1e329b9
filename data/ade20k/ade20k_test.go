package ade20k

import (
	"errors"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/task/segmentation"
)

// grey is a map of one row.
func grey(values ...uint8) string {
	g := image.NewGray(image.Rect(0, 0, len(values), 1))
	copy(g.Pix, values)
	return datatest.PNG(g)
}

const info = "Idx\tRatio\tTrain\tVal\tName\r\n1\t0.1576\t11664\t1172\twall           \r\n2\t0.1072\t6046\t 612\tbuilding, edifice\n3\t0.1\t1\t1\tsky\n\n"

func TestOpen(t *testing.T) {
	rotated, err := os.ReadFile("../imagefile/testdata/exif6.png") // 24×16 stored, 16×24 upright
	if err != nil {
		t.Fatal(err)
	}
	dir := datatest.Folder(t, map[string]string{
		"set/images/training/ADE_train_00000001.jpg":      "png 4×1",
		"set/images/training/ADE_train_00000002.jpg":      string(rotated),
		"set/images/validation/ADE_val_00000001.jpg":      "png 2×1",
		"set/annotations/training/ADE_train_00000001.png": grey(0, 1, 2, 3),
		"set/annotations/training/ADE_train_00000002.png": "png 24×16",
		"set/annotations/validation/ADE_val_00000001.png": grey(3, 0),
		"set/objectInfo150.txt":                           info,
		"other/readme.txt":                                "",
	})
	d, err := Open(data.Source{Path: dir, Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Labels(); !reflect.DeepEqual(got, data.Labels{segmentation.Name: {Classes: []string{"wall", "building", "sky"}}}) {
		t.Errorf("labels %+v", got)
	}
	if d.Len() != 2 || d.Key(0) != "training/ADE_train_00000001" {
		t.Errorf("%d images, first %s", d.Len(), d.Key(0))
	}
	s, err := d.Sample(0)
	if err != nil || !slices.Equal(segmentation.Of(s).Pix, []uint8{data.Ignore, 0, 1, 2}) {
		t.Errorf("%v, %v", s, err)
	}
	if s, err = d.Sample(1); err != nil || s.Image.Rect.Size() != image.Pt(16, 24) || segmentation.Of(s).W != 16 {
		t.Errorf("annotated as stored: %v", err)
	}
	for split, want := range map[string]int{"val": 1, "": 3} {
		if d, err = Open(data.Source{Path: filepath.Join(dir, "set"), Split: split}); err != nil || d.Len() != want {
			t.Errorf("split %q: %v", split, err)
		}
	}
}

// Without objectInfo150 the classes are the benchmark's where images are called as there.
func TestClasses(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{"images/training/ADE_train_00000001.jpg": "png 2×1", "annotations/training/ADE_train_00000001.png": grey(150, 0)})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Sample(0)
	if err != nil || d.Labels()[segmentation.Name].Classes[segmentation.Of(s).Pix[0]] != "flag" {
		t.Errorf("%v, %v", s, err)
	}
	sorted := slices.Sorted(slices.Values(Classes))
	if n := len(slices.Compact(sorted)); n != 150 {
		t.Errorf("%d different classes", n)
	}
}

func TestOwnClasses(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"numbers":    {"readme.txt", "", "1 2 3"},
		"names":      {"classes.txt", "weed\ncrop\nsoil\n", "weed crop soil"},
		"background": {"class_names.txt", "_background_\nweed\ncrop\nsoil\n", "weed crop soil"},
	} {
		dir := datatest.Folder(t, map[string]string{"images/training/a.jpg": "png 3×1", "annotations/training/a.png": grey(3, 0, 1), "images/training/b.jpg": "png 1×1", c.file: c.text})
		d, err := Open(data.Source{Path: dir})
		if err != nil || strings.Join(d.Labels()[segmentation.Name].Classes, " ") != c.want {
			t.Errorf("%s: %v, %v", name, d, err)
			continue
		}
		if s, err := d.Sample(0); err != nil || !slices.Equal(segmentation.Of(s).Pix, []uint8{2, data.Ignore, 0}) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if s, err := d.Sample(1); err != nil || segmentation.Of(s) != nil || data.Labelled(d, segmentation.Name) != 1 {
			t.Errorf("%s, without a map: %+v, %v", name, s, err)
		}
	}
}

func TestBrokenSamples(t *testing.T) {
	files := map[string]string{}
	for name, annotation := range map[string]string{
		"b": grey(1, 4), "c": "png 3×1", "d": "not a map", "e": datatest.PNG(image.NewRGBA(image.Rect(0, 0, 2, 1))),
	} {
		files["images/validation/"+name+".jpg"] = "png 2×1"
		if annotation != "" {
			files["annotations/validation/"+name+".png"] = annotation
		}
	}
	files["images/validation/f.jpg"] = "no image"
	files["objectInfo150.csv"] = "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1,1,1,1,wall\n2,0.1,1,1,1,building;edifice\n3,0.1,1,1,1,wall;other wall\n"
	d, err := Open(data.Source{Path: datatest.Folder(t, files), Split: "val"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Labels()[segmentation.Name].Classes; !slices.Equal(got, []string{"wall", "building", "wall;other wall"}) {
		t.Errorf("classes %q", got)
	}
	for i, want := range []string{"pixel (1, 0) has value 4", "2×1 pixels, but its labels are for 3×1", "d.png: not an image", "not colour"} {
		_, err := d.Sample(i)
		if broken, ok := errors.AsType[*data.SampleError](err); !ok || broken.Key != d.Key(i) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{
		"a/images/training/x.jpg": "png 1×1", "a/annotations/training/x.png": "png 1×1", "a/objectInfo150.txt": "Idx\tName\n2\twall\n",
		"b/images/training/x.jpg": "png 1×1", "b/annotations/other/x.png": "png 1×1",
		"c/images/training/x.txt": "", "c/annotations/training/x.png": "",
		"d/training/x.jpg": "",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		src  data.Source
		want string
	}{
		{data.Source{Path: at("absent")}, "no such folder"},
		{data.Source{Path: at("a"), Set: "x"}, "no subsets"},
		{data.Source{Path: at("a"), Split: "test"}, "want train or val"},
		{data.Source{Path: at("a")}, `objectInfo150.txt: line 2 has Idx "2", want 1`},
		{data.Source{Path: at("b"), Split: "train"}, "no folder annotations/training"},
		{data.Source{Path: at("b"), Split: "val"}, "no such folder"},
		{data.Source{Path: at("c")}, "no images"},
		{data.Source{Path: at("d")}, "not in the layout"},
	} {
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.src, err, c.want)
		}
	}
}

func FuzzParseObjectInfo(f *testing.F) {
	f.Add(info)
	f.Add("Idx,Ratio,Train,Val,Stuff,Name\n1,0.1,1,1,1,wall\n2,0.1,1,1,1,\"building;edifice\"\n")
	f.Add("Name\tIdx\n,\t1\n")
	f.Fuzz(func(t *testing.T, text string) {
		classes, err := parseObjectInfo(text)
		if err == nil && (len(classes) == 0 || len(classes) > maxClasses || slices.Contains(classes, "")) {
			t.Errorf("classes %q", classes)
		}
	})
}

func BenchmarkSample(b *testing.B) {
	dir := b.TempDir()
	photo := image.NewRGBA(image.Rect(0, 0, 683, 512))
	semantic := image.NewGray(photo.Rect)
	for i := range semantic.Pix {
		semantic.Pix[i] = uint8(i / 997 % 151)
		photo.Set(i%683, i/683, color.Gray{uint8(i)})
	}
	for name, img := range map[string]image.Image{"images/training/a.jpg": photo, "annotations/training/a.png": semantic} {
		os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		os.WriteFile(filepath.Join(dir, name), []byte(datatest.PNG(img)), 0o600)
	}
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
