package multi

import (
	"encoding/binary"
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/data/npy"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

func grey(v ...uint8) string {
	g := image.NewGray(image.Rect(0, 0, len(v), 1))
	copy(g.Pix, v)
	return datatest.PNG(g)
}

func grey16(v ...uint16) string {
	g := image.NewGray16(image.Rect(0, 0, len(v), 1))
	for i, v := range v {
		binary.BigEndian.PutUint16(g.Pix[2*i:], v)
	}
	return datatest.PNG(g)
}

func TestAllTasks(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{
		"images/train/a.jpg": "png 2×1", "images/train/b.jpg": "png 2×1", "images/val/c.jpg": "png 2×1",
		"classes.csv": "image,class\ntrain/a.jpg,night\ntrain/b,day\r\nc.jpg,\n", "boxes/classes.txt": "cat\ndog\n",
		"boxes/train/a.txt": "1 0.5 0.5 1 1\n0 0.5 0.5 0 0\n", "boxes/val/c.txt": "",
		"masks/train/a.png": grey(1, 255), "masks/val/c.png": grey(2, 0),
		"depth/train/b.png": grey16(1500, 0),
		"normals/val/c.npy": string(npy.Append(nil, npy.Float32, []int{1, 2, 3}, []float32{0, 0, -2, 0, 0, 0})),
	})
	d, err := Open(data.Source{Path: dir, Scale: 0.001})
	if err != nil {
		t.Fatal(err)
	}
	l := d.Labels()
	if !slices.Equal(l[classification.Name].Classes, []string{"day", "night"}) || !slices.Equal(l[detection.Name].Classes, []string{"cat", "dog"}) || !slices.Equal(l[segmentation.Name].Classes, []string{"0", "1", "2"}) || l[depth.Name].Units != data.Metric || !l.Has(normals.Name) || l[detection.Name].Masks {
		t.Errorf("%+v", l)
	}
	var s [3]*data.Sample
	for i := range s {
		if s[i], err = d.Sample(i); err != nil {
			t.Fatal(err)
		}
		for _, task := range data.Tasks() {
			if data.Carries(d, i, task) != s[i].Has(task) {
				t.Errorf("%s: whether it carries %s is told wrongly", s[i].Key, task)
			}
		}
	}
	a, b, c := s[0], s[1], s[2]
	if a.Key != "train/a" || classification.Of(a)[1] != 1 || len(detection.Of(a)) != 1 || detection.Of(a)[0].Class != 1 || detection.Of(a)[0].Box != (data.Box{X1: 2, Y1: 1}) || !slices.Equal(detection.Unknown(a), []int{0}) || !slices.Equal(segmentation.Of(a).Pix, []uint8{1, data.Ignore}) || depth.Of(a) != nil {
		t.Errorf("%+v", a)
	}
	if classification.Of(b)[0] != 1 || detection.Of(b) != nil || segmentation.Of(b) != nil || depth.Of(b).Pix[0] != 1.5 || !math.IsNaN(float64(depth.Of(b).Pix[1])) {
		t.Errorf("%+v", b)
	}
	if classification.Of(c) != nil || detection.Of(c) == nil || len(detection.Of(c)) > 0 || normals.Of(c).Pix[0] != [3]float32{0, 0, -1} || normals.Of(c).Pix[1] != [3]float32{} {
		t.Errorf("%+v", c)
	}
	if d, err = Open(data.Source{Path: dir, Scale: 0.001, Split: "val"}); err != nil || d.Len() != 1 || d.Key(0) != "val/c" || !slices.Equal(d.Labels()[segmentation.Name].Classes, []string{"0", "1", "2"}) {
		t.Errorf("the val part: %v, %v", d, err)
	}
}

func TestAnnotations(t *testing.T) {
	xml := `<annotation><size><width>20</width><height>10</height></size><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>10</ymax></bndbox></object></annotation>`
	files := map[string]string{"images/a.jpg": "png 20×10", "boxes/a.xml": xml}
	d, err := Open(data.Source{Path: datatest.Folder(t, files)})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := d.Sample(0); err != nil || len(detection.Of(s)) != 1 || detection.Of(s)[0].Box != (data.Box{X1: 10, Y1: 10}) || !slices.Equal(d.Labels()[detection.Name].Classes, []string{"dog"}) {
		t.Errorf("%+v, %v", s, err)
	}
	files["images/a.jpg"] = "png 10×10"
	if d, err = Open(data.Source{Path: datatest.Folder(t, files)}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Sample(0); err == nil || !strings.Contains(err.Error(), "its labels are for 20×10") {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"want a folder images":      {"masks/a.png": grey(0)},
		"no labels in it: want":     {"images/a.jpg": "png 1×1"},
		"names of the classes":      {"images/a.jpg": "png 1×1", "boxes/a.txt": "0 .5 .5 1 1"},
		".txt and .xml in it":       {"images/a.jpg": "png 1×1", "images/b.jpg": "png 1×1", "boxes/a.txt": "", "boxes/b.xml": "<annotation></annotation>"},
		"set scale to the metres":   {"images/a.jpg": "png 1×1", "depth/a.png": grey16(1)},
		"two classes, day and nigh": {"images/a.jpg": "png 1×1", "classes.csv": "a.jpg,day\na.jpg,night\n"},
		"could be x/a.jpg or y/a":   {"images/x/a.jpg": "png 1×1", "images/y/a.jpg": "png 1×1", "classes.csv": "a.jpg,day\n"},
		"none of its 1 images":      {"images/a.jpg": "png 1×1", "classes.csv": "b.jpg,day\n"},
		"3 columns":                 {"images/a.jpg": "png 1×1", "classes.csv": "a.jpg,day,1\n"},
		"no files of labels in it":  {"images/a.jpg": "png 1×1", "masks/readme.md": ""},
	} {
		if _, err := Open(data.Source{Path: datatest.Folder(t, files)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestParseClasses(t *testing.T) {
	for _, content := range []string{"image,class\na.jpg,night\n", "image;class\na.jpg;night\n", "a.jpg\tnight\n", "class,id,image\nnight,3,a.jpg\n", "\"a.jpg\",\"night\"\nb.jpg,\n"} {
		if all, err := parseClasses(content); err != nil || len(all) != 1 || all[0] != [2]string{"a.jpg", "night"} {
			t.Errorf("%q: %q, %v", content, all, err)
		}
	}
}

func FuzzParseClasses(f *testing.F) {
	f.Add("image,class\na.jpg,day\n")
	f.Add("id,n,label\n\"a\\b.jpg\",3,x\n")
	f.Fuzz(func(t *testing.T, content string) {
		all, err := parseClasses(content)
		if err == nil && slices.ContainsFunc(all, func(l [2]string) bool { return l[0] == "" || l[1] == "" }) {
			t.Errorf("%q", all)
		}
	})
}
