package voc

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/task/detection"
	segmentationlabel "must/task/segmentation"
)

func object1(name, extra string, box ...any) string {
	return fmt.Sprintf("<object><name>%s</name>%s<bndbox><xmin>%v</xmin><ymin>%v</ymin><xmax>%v</xmax><ymax>%v</ymax></bndbox></object>",
		append([]any{name, extra}, box...)...)
}

func doc(w, h int, objects ...string) string {
	return fmt.Sprintf("<annotation><size><width>%d</width><height>%d</height></size>%s</annotation>", w, h, strings.Join(objects, ""))
}

func TestDetection(t *testing.T) {
	part := "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
	dir := datatest.Folder(t, map[string]string{
		"VOC2007/JPEGImages/000001.jpg": "png 20×10",
		"VOC2007/JPEGImages/000002.jpg": "png 20×10",
		"VOC2007/JPEGImages/000003.jpg": "png 20×10",
		"VOC2007/JPEGImages/000004.jpg": "not an image",
		"VOC2007/Annotations/000001.xml": doc(20, 10,
			object1("dog", "<difficult>0</difficult>", 1, 1, 20, 10),
			object1("person", "<difficult> 1 </difficult>"+part, "2.5", 3, 4, 5),
			object1("cat", "", -5, 3, 40, 6),
			object1("cat", "", 30, 3, 40, 6),
			object1("cat", "", 9, 3, 5, 6)),
		"VOC2007/Annotations/000002.xml":      doc(20, 10),
		"VOC2007/Annotations/000004.xml":      doc(20, 10, object1("dog", "", 1, 1, 2, 2)),
		"VOC2007/Annotations/000005.xml":      doc(20, 10, object1("dog", "", 1, 1, 2, 2)),
		"VOC2007/Annotations/000006.xml":      "<annotation><object>",
		"VOC2007/Annotations/.hidden.xml":     "x",
		"VOC2007/ImageSets/Main/train.txt":    "000001\r\n000002\r\n\r\n000003\n000001\n",
		"VOC2007/ImageSets/Main/test.txt":     "000004.jpg\n000005\n000006\n",
		"VOC2007/ImageSets/Main/dog_test.txt": "000001  1\n000002 -1\n000003  0\n",
	})
	d, err := Open(data.Source{Path: dir, Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Labels(); !reflect.DeepEqual(got, data.Labels{detection.Name: {Classes: Classes}}) {
		t.Errorf("labels %+v", got)
	}
	if v := d.(*Dataset); d.Len() != 3 || v.Clipped != 1 || v.Dropped != 2 {
		t.Errorf("%d samples, %d clipped, %d dropped", d.Len(), v.Clipped, v.Dropped)
	}
	want := [][]data.Object{
		{
			{Box: data.Box{X0: 0, Y0: 0, X1: 20, Y1: 10}, Class: 11, Score: 1},
			{Box: data.Box{X0: 1.5, Y0: 2, X1: 4, Y1: 5}, Class: 14, Score: 1, Crowd: true},
			{Box: data.Box{X0: 0, Y0: 2, X1: 20, Y1: 6}, Class: 7, Score: 1},
		},
		{},  // none
		nil, // unknown
	}
	for i, objects := range want {
		s, err := d.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(detection.Of(s), objects) {
			t.Errorf("%s: got %+v, want %+v", s.Key, detection.Of(s), objects)
		}
	}

	if d, err = Open(data.Source{Path: filepath.Join(dir, "VOC2007"), Split: "test"}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"not an image", "no image of that name", "not a VOC annotation"} {
		_, err := d.Sample(i)
		var broken *data.SampleError
		if !errors.As(err, &broken) || broken.Key != d.Key(i) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if d, err = Open(data.Source{Path: dir, Set: "2007", Split: "dog_test"}); err != nil || d.Len() != 3 {
		t.Errorf("a class's list: %v", err)
	}
	if d, err = Open(data.Source{Path: dir}); err != nil || d.Len() != 6 {
		t.Errorf("everything: %v", err)
	}
}

func TestForeignClassesAndNoLists(t *testing.T) {
	files := map[string]string{}
	for i := range 60 {
		id := fmt.Sprintf("img %d", i)
		files["JPEGImages/"+id+".png"] = "png 4×4"
		files["Annotations/"+id+".xml"] = doc(0, 0, object1([]string{"RBC", "dog", "Äpfel"}[i%3], "", 0, 0, 9, 9))
	}
	dir := datatest.Folder(t, files)
	n := 0
	for _, split := range []string{"train", "val", "test"} {
		d, err := Open(data.Source{Path: dir, Split: split})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Labels()[detection.Name].Classes; !reflect.DeepEqual(got, []string{"RBC", "dog", "Äpfel"}) {
			t.Errorf("classes %q", got)
		}
		n += d.Len()
		s, err := d.Sample(0)
		if err != nil || len(detection.Of(s)) != 1 || detection.Of(s)[0].Box != (data.Box{X1: 4, Y1: 4}) {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if n != 60 {
		t.Errorf("the splits hold %d of 60", n)
	}
}

func TestAnnotatedAsStored(t *testing.T) {
	rotated, err := os.ReadFile("../imagefile/testdata/exif6.png") // 24×16 stored, 16×24 upright
	if err != nil {
		t.Fatal(err)
	}
	dir := datatest.Folder(t, map[string]string{
		"JPEGImages/a.png":  string(rotated),
		"JPEGImages/b.png":  string(rotated),
		"Annotations/a.xml": doc(24, 16, object1("x", "", 1, 1, 24, 16)),
		"Annotations/b.xml": doc(16, 24, object1("x", "", 1, 1, 16, 24)),
	})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []image.Point{{16, 24}, {16, 24}} { // either is shown upright
		s, err := d.Sample(i)
		if err != nil || s.Image.Rect.Size() != want || detection.Of(s)[0].Box.Area() != 24*16 {
			t.Errorf("%v, %v, want %v", s, err, want)
		}
	}
}

func TestSegmentation(t *testing.T) {
	palette := make(color.Palette, 256)
	for i := range palette {
		palette[i] = color.RGBA{9, 9, 9, 255}
	}
	good := image.NewPaletted(image.Rect(0, 0, 3, 1), palette)
	copy(good.Pix, []uint8{0, 20, 255})
	bad := image.NewPaletted(image.Rect(0, 0, 3, 1), palette)
	bad.Pix[1] = 21
	dir := datatest.Folder(t, map[string]string{
		"VOCdevkit/VOC2012/JPEGImages/a.jpg":                "png 3×1",
		"VOCdevkit/VOC2012/JPEGImages/b.jpg":                "png 3×1",
		"VOCdevkit/VOC2012/JPEGImages/c.jpg":                "png 3×2",
		"VOCdevkit/VOC2012/JPEGImages/d.jpg":                "png 3×2",
		"VOCdevkit/VOC2012/SegmentationClass/a.png":         datatest.PNG(good),
		"VOCdevkit/VOC2012/SegmentationClass/b.png":         datatest.PNG(bad),
		"VOCdevkit/VOC2012/SegmentationClass/c.png":         datatest.PNG(good),
		"VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt":  "a\nb\nc\nd",
		"VOCdevkit/VOC2012/ImageSets/Main/trainval.txt":     "a",
		"VOCdevkit/VOC2007/JPEGImages/a.jpg":                "png 1×1",
		"VOCdevkit/VOC2007/SegmentationClass/something.png": "",
	})
	d, err := Open(data.Source{Path: dir, Set: "2012/segmentation", Split: "val"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Labels(); len(got[segmentationlabel.Name].Classes) != 21 || got[segmentationlabel.Name].Classes[20] != "tvmonitor" || got[detection.Name].Classes != nil {
		t.Errorf("labels %+v", got)
	}
	s, err := d.Sample(0)
	if err != nil || !reflect.DeepEqual(segmentationlabel.Of(s).Pix, good.Pix) || detection.Of(s) != nil {
		t.Errorf("%+v, %v", s, err)
	}
	for i, want := range []string{"pixel (1, 0) has value 21", "3×2 pixels, but its labels are for 3×1", "d.png: no such file"} {
		if _, err := d.Sample(i + 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if d, err = Open(data.Source{Path: filepath.Join(dir, "VOCdevkit", "VOC2012"), Set: "segmentation"}); err != nil || d.Len() != 3 {
		t.Errorf("everything: %v, %v", d, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{
		"a/JPEGImages/x.jpg": "png 1×1", "a/Annotations/x.xml": doc(1, 1, object1("dog", "", 1, 1, 1, 1)),
		"a/ImageSets/Main/climb.txt": "x\n../../etc/passwd\n", "a/ImageSets/Main/root.txt": "/etc/passwd",
		"a/ImageSets/Main/bytes.txt": "\xff", "a/ImageSets/Main/empty.txt": "\n", "a/ImageSets/Main/other.txt": "y",
		"b/JPEGImages/x.jpg": "png 1×1", "b/Annotations/x.xml": doc(1, 1),
		"c/JPEGImages/x.jpg": "png 1×1", "c/Annotations/x.xml": "<html>",
		"d/JPEGImages/x.txt":            "",
		"e/Annotations/x.xml":           doc(1, 1),
		"f/JPEGImages/x.jpg":            "png 1×1",
		"many/VOC2007/JPEGImages/x.jpg": "", "many/VOC2012/JPEGImages/x.jpg": "",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		src  data.Source
		want string
	}{
		{data.Source{Path: at("absent")}, "no such folder"},
		{data.Source{Path: at("a"), Split: "climb"}, "climb.txt:2:"},
		{data.Source{Path: at("a"), Split: "root"}, "leads out"},
		{data.Source{Path: at("a"), Split: "bytes"}, "UTF-8"},
		{data.Source{Path: at("a"), Split: "empty"}, "the list is empty"},
		{data.Source{Path: at("a"), Split: "other"}, "none of the 1 images"},
		{data.Source{Path: at("a"), Split: "../climb"}, "there are bytes, climb"},
		{data.Source{Path: at("a"), Set: "segmentation"}, "no folder SegmentationClass"},
		{data.Source{Path: at("a"), Set: "2012"}, "no folder VOC2012"},
		{data.Source{Path: at("a"), Set: "../a"}, "want a year"},
		{data.Source{Path: at("a"), Set: "boxes"}, "no year"},
		{data.Source{Path: at("b")}, "names an object"},
		{data.Source{Path: at("c")}, "not a VOC annotation"},
		{data.Source{Path: at("d")}, "no images"},
		{data.Source{Path: at("e")}, "not in VOC layout"},
		{data.Source{Path: at("f")}, "no folder Annotations"},
		{data.Source{Path: at("many")}, "several VOC sets"},
	} {
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.src, err, c.want)
		}
	}
}

func TestFilenameInAnnotation(t *testing.T) {
	outside := datatest.Folder(t, map[string]string{"secret.jpg": "png 1×1"})
	xml := func(filename string) string {
		return "<annotation><filename>" + filename + "</filename>" + object1("dog", "", 1, 1, 1, 1) + "</annotation>"
	}
	dir := datatest.Folder(t, map[string]string{
		"JPEGImages/photo.jpg": "png 1×1",
		"Annotations/1.xml":    xml("photo.jpg"),
		"Annotations/2.xml":    xml("../../" + filepath.Base(outside) + "/secret.jpg"),
		"Annotations/3.xml":    xml(filepath.Join(outside, "secret.jpg")),
	})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Sample(0); err != nil {
		t.Error(err)
	}
	for _, i := range []int{1, 2} {
		if _, err := d.Sample(i); err == nil || !strings.Contains(err.Error(), "no image of that name") {
			t.Errorf("%s: %v", d.Key(i), err)
		}
	}
}

func TestParseAnnotationRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":              "empty",
		"<html></html>": "not a VOC annotation",
		doc(1, 1, object1("dog", "", 1, "NaN", 1, 1)): `"NaN" in its bndbox`,
		doc(1, 1, object1("dog", "", 1, 1, "", 1)):    `"" in its bndbox`,
		doc(1, 1, object1(" ", "", 1, 1, 1, 1)):       "object 1 has no name",
	} {
		if _, err := parseAnnotation([]byte(text), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	a, err := parseAnnotation([]byte(`<?xml version="1.0" encoding="gb2312"?><annotation><path>C:\a&b</path>`+object1("dog", "", 1, 1, 1, 1)+`</annotation>`), "")
	if err != nil || len(a.objects) != 1 {
		t.Errorf("a bare & and a foreign encoding: %+v, %v", a, err)
	}
}

func FuzzParseAnnotation(f *testing.F) {
	f.Add([]byte(doc(20, 10, object1("dog", "<part><name>head</name></part>", 1, "2.5", 3, 4))))
	f.Add([]byte(`<annotation><object><name>a</name><bndbox><xmin>1e309</xmin></bndbox></object></annotation>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseAnnotation(text, "")
		if err != nil {
			return
		}
		for _, o := range a.objects {
			if o.name == "" || math.IsNaN(o.box.Area()) {
				t.Errorf("%+v", o)
			}
			if b := o.box.Clip(20, 10); b.X0 < 0 || b.X1 > 20 || b.Y0 < 0 || b.Y1 > 10 {
				t.Errorf("%+v", b)
			}
		}
	})
}

func BenchmarkParseAnnotation(b *testing.B) {
	text := []byte(doc(20, 10, object1("dog", "", 1, 1, 3, 4), object1("dog", "", 1, 1, 3, 4), object1("dog", "", 1, 1, 3, 4)))
	for b.Loop() {
		if _, err := parseAnnotation(text, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func TestUnionOfYears(t *testing.T) {
	files := map[string]string{}
	for _, year := range []string{"2007", "2012"} {
		files["VOC"+year+"/JPEGImages/"+year+"_1.jpg"] = "png 20×10"
		files["VOC"+year+"/Annotations/"+year+"_1.xml"] = doc(20, 10, object1("dog", "", 1, 1, 2, 2))
		files["VOC"+year+"/ImageSets/Main/trainval.txt"] = year + "_1\n"
	}
	files["VOC2007/ImageSets/Main/test.txt"] = "2007_1\n"
	dir := datatest.Folder(t, files)
	d, err := Open(data.Source{Path: dir, Set: "2007+2012", Split: "trainval"})
	if err != nil || d.Len() != 2 || d.Key(1) != "1/2012_1" {
		t.Fatalf("%v, %v", d, err)
	}
	if d, err = Open(data.Source{Path: dir, Set: "2007+2012", Split: "test"}); err != nil || d.Len() != 1 || d.Key(0) != "2007_1" {
		t.Errorf("%v, %v", d, err)
	}
	for set, want := range map[string]string{"2007+2012": "other.txt", "2007+2010": "VOC2010", "2007+x": "no year"} {
		if _, err := Open(data.Source{Path: dir, Set: set, Split: "other"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", set, err)
		}
	}
}

func TestOwnClasses(t *testing.T) {
	palette := make(color.Palette, 256)
	for i := range palette {
		palette[i] = color.Gray{uint8(i)}
	}
	m := image.NewPaletted(image.Rect(0, 0, 3, 1), palette)
	copy(m.Pix, []uint8{0, 2, 255})
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"labelme": {map[string]string{"class_names.txt": "_background_\nweed\ncrop\n"}, []string{"_background_", "weed", "crop"}},
		"boxes":   {map[string]string{"classes.txt": "weed\ncrop\n", "Annotations/x.xml": doc(3, 1)}, []string{"background", "weed", "crop"}},
		"CVAT":    {map[string]string{"labelmap.txt": "background:0,0,0::\nweed:2,2,2::\n"}, []string{"background", "weed"}},
		"numbers": {nil, []string{"0", "1", "2"}},
	} {
		files := map[string]string{"JPEGImages/x.jpg": "png 3×1", "SegmentationClass/x.png": datatest.PNG(m)}
		for n, text := range c.files {
			files[n] = text
		}
		src := data.Source{Path: datatest.Folder(t, files), Set: "segmentation"}
		if name == "CVAT" {
			src.Void = "255/255/255"
		}
		d, err := Open(src)
		if err != nil || !reflect.DeepEqual(d.Labels()[segmentationlabel.Name].Classes, c.want) {
			t.Errorf("%s: %v, %v", name, d, err)
			continue
		}
		s, err := d.Sample(0)
		if err != nil || segmentationlabel.Of(s).Pix[2] != data.Ignore || segmentationlabel.Of(s).Pix[1] == 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	d, err := Open(data.Source{Path: datatest.Folder(t, map[string]string{"JPEGImages/x.jpg": "png 3×1", "Annotations/x.xml": doc(3, 1, object1("dog", "", 1, 1, 2, 1))})})
	if err != nil || !reflect.DeepEqual(d.Labels()[detection.Name].Classes, []string{"dog"}) {
		t.Errorf("boxes of dogs: %+v, %v", d, err)
	}
}

// What is lost of an annotation is unknown, not absent.
func TestLostObjectsAreUnknown(t *testing.T) {
	rotated := "<object><name>cat</name><robndbox><cx>3</cx><cy>3</cy><w>2</w><h>2</h><angle>0.3</angle></robndbox></object>"
	polygon := "<object><name>cow</name><polygon><x1>2</x1><y1>2</y1><x2>5</x2><y2>2</y2><x3>5</x3><y3>6</y3></polygon></object>"
	dir := datatest.Folder(t, map[string]string{
		"JPEGImages/a.png":  "png 20×10",
		"Annotations/a.xml": doc(20, 10, object1("dog", "", 30, 3, 40, 6), object1("dog", "", 9, 3, 5, 6), rotated, polygon),
		"JPEGImages/b.png":  "png 20×10",
	})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Sample(0)
	if err != nil || !reflect.DeepEqual(detection.Unknown(s), []int{0, 2}) || len(detection.Of(s)) != 1 || detection.Of(s)[0].Box != (data.Box{X0: 1, Y0: 1, X1: 5, Y1: 6}) || detection.Of(s)[0].Class != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if data.Labelled(d, detection.Name) != 1 {
		t.Errorf("%d labelled, want 1", data.Labelled(d, detection.Name))
	}
	notes := strings.Join(data.Notes(d), "\n")
	for _, want := range []string{"without area in their image, dropped (their class is unknown there): 2", "without a bndbox, dropped (their class is unknown there): 1", "images without a label, where it is unknown: 1"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes do not say %q:\n%s", want, notes)
		}
	}
}

// A label that names its file is of that file.
func TestLabelsNameTheirFile(t *testing.T) {
	xml := func(filename string) string {
		return "<annotation><filename>" + filename + "</filename>" + object1("dog", "", 1, 1, 1, 1) + "</annotation>"
	}
	dir := datatest.Folder(t, map[string]string{
		"JPEGImages/a.jpg": "png 1×1", "JPEGImages/a.png": "png 2×2", "Annotations/a.xml": xml("a.png"),
		"JPEGImages/b.jpg": "png 1×1", "JPEGImages/b.png": "png 2×2", "Annotations/b.xml": xml(""),
		"JPEGImages/x/c.jpg": "png 1×1", "JPEGImages/y/c.jpg": "png 2×2", "Annotations/y/c.xml": xml("c.jpg"),
		"JPEGImages/x/d.jpg": "png 1×1", "JPEGImages/y/d.jpg": "png 2×2", "Annotations/e.xml": xml(`C:\set\d.jpg`),
		"JPEGImages/x/f.jpg": "png 2×2", "Annotations/g.xml": xml(`C:\set\f.jpg`),
	})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := data.CheckKeys(d); err != nil {
		t.Error(err)
	}
	got := map[string]string{}
	for i := range d.Len() {
		s, err := d.Sample(i)
		if err != nil {
			got[d.Key(i)] = "error"
			continue
		}
		got[d.Key(i)] = fmt.Sprint(s.Image.Rect.Dx(), detection.Of(s) != nil)
	}
	want := map[string]string{"a": "2 true", "a.jpg": "1 false", "b": "error", "b.jpg": "1 false", "b.png": "2 false", "x/c": "1 false", "y/c": "2 true",
		"x/d": "1 false", "y/d": "2 false", "e": "error", "g": "2 true"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Pictures shrunk after labelling, and labels of a wrong size.
func TestResized(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{"JPEGImages/a.png": "png 20×10", "Annotations/a.xml": doc(200, 100, object1("dog", "", 11, 21, 100, 60))})
	for rule, want := range map[string]data.Box{"": {}, "resized": {X0: 1, Y0: 2, X1: 10, Y1: 6}, "shown": {X0: 10, Y0: 10, X1: 20, Y1: 10}} {
		d, err := Open(data.Source{Path: dir, Frame: rule})
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Sample(0)
		switch {
		case rule == "" && (err == nil || !strings.Contains(err.Error(), "its labels are for 200×100")):
			t.Errorf("undeclared: %v", err)
		case rule == "resized" && (err != nil || detection.Of(s)[0].Box != want):
			t.Errorf("resized: %+v, %v", s, err)
		case rule == "shown" && (err != nil || len(detection.Of(s)) != 0 || len(detection.Unknown(s)) != 1): // it lies outside
			t.Errorf("shown: %+v, %v", s, err)
		}
	}
}

func TestEncodings(t *testing.T) {
	for name, c := range map[string][2]string{
		"gb2312": {"<?xml version=\"1.0\" encoding=\"gb2312\"?>" + doc(3, 3, object1("\xc3\xa8", "", 1, 1, 2, 2)), "猫"},
		"latin1": {"<?xml version='1.0' encoding='ISO-8859-1'?>" + doc(3, 3, object1("ch\xe2teau", "", 1, 1, 2, 2)), "château"},
		"utf-8":  {"<?xml version=\"1.0\" encoding=\"utf-8\"?>" + doc(3, 3, object1("猫", "", 1, 1, 2, 2)), "猫"},
		"wrong":  {"<?xml version=\"1.0\" encoding=\"utf-16\"?>" + doc(3, 3, object1("cat", "", 1, 1, 2, 2)), "cat"},
		"told":   {doc(3, 3, object1("\xb9\xb7", "", 1, 1, 2, 2)), "狗"},
	} {
		if a, err := parseAnnotation([]byte(c[0]), ""); err != nil || a.objects[0].name != c[1] {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}
