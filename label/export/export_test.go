package export

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/npy"
	"must/label/shards"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// scene has three labelled images, one that is broken and one that only has a class.
type scene struct{}

func (scene) Len() int         { return 5 }
func (scene) Key(i int) string { return []string{"a/x", "a/y.1", "broken", "b/none", "plain"}[i] }
func (scene) Labels() data.Labels {
	return data.Labels{
		classification.Name: {Classes: []string{"day", "night"}}, detection.Name: {Classes: []string{"zebra", "ape & co"}, Masks: true},
		segmentation.Name: {Classes: []string{"sky", "grass"}}, depth.Name: {Units: data.Metric}, normals.Name: {},
	}
}

func (d scene) Sample(i int) (*data.Sample, error) {
	s := &data.Sample{Key: d.Key(i), Image: image.NewRGBA(image.Rect(0, 0, 8, 4)), Known: data.Know(classification.New([]float32{0.25, 0.75}))}
	if s.Key == "broken" {
		return nil, &data.SampleError{Key: s.Key, Err: io.ErrUnexpectedEOF}
	}
	if s.Key == "plain" {
		return s, nil
	}
	detection.Set(s, []data.Object{})
	if i < 2 {
		detection.Set(s, []data.Object{
			{Box: data.Box{X0: 1, Y0: 0, X1: 5, Y1: 2}, Class: 1, Score: 0.5,
				Mask: &data.Mask{Rect: image.Rect(1, 0, 3, 2), Pix: []uint8{1, 1, 0, 1}}},
			{Box: data.Box{X0: 6.2, Y0: 2.4, X1: 7.8, Y1: 9}, Class: 0, Score: 0.9, Crowd: true, Area: 2},
		})
	}
	segmentation.Set(s, data.NewGrid[uint8](8, 4))
	depth.Set(s, data.NewGrid[float32](8, 4))
	normals.Set(s, data.NewGrid[[3]float32](8, 4))
	segmentation.Of(s).Pix[1], segmentation.Of(s).Pix[2] = 1, data.Ignore
	depth.Of(s).Pix[3] = float32(math.NaN())
	normals.Of(s).Pix[4] = [3]float32{0, 0, -1}
	return s, nil
}

func source(t *testing.T) Source {
	t.Helper()
	broken := 0
	s := FromDataset(scene{}, func(error) { broken++ })
	t.Cleanup(func() {
		if broken != 1 {
			t.Errorf("%d broken samples", broken)
		}
	})
	return s
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tree lists the files of a folder.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestCOCO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "instances.json")
	s := source(t)
	s.File = func(key string) string { return key + ".png" }
	if err := COCO(s, path); err != nil {
		t.Fatal(err)
	}
	want := `{"info": {}, "licenses": [],
"categories": [{"id":1,"name":"zebra"},{"id":2,"name":"ape \u0026 co"}],
"annotations": [
{"id":1,"image_id":1,"category_id":2,"bbox":[1,0,4,2],"area":3,"iscrowd":0,"score":0.5,"segmentation":{"size":[4,8],"counts":"4131c0"}},
{"id":2,"image_id":1,"category_id":1,"bbox":[6.2,2.4,1.5999999999999996,6.6],"area":2,"iscrowd":1,"score":0.9},
{"id":3,"image_id":2,"category_id":2,"bbox":[1,0,4,2],"area":3,"iscrowd":0,"score":0.5,"segmentation":{"size":[4,8],"counts":"4131c0"}},
{"id":4,"image_id":2,"category_id":1,"bbox":[6.2,2.4,1.5999999999999996,6.6],"area":2,"iscrowd":1,"score":0.9}],
"images": [
{"id":1,"file_name":"a/x.png","width":8,"height":4},
{"id":2,"file_name":"a/y.1.png","width":8,"height":4},
{"id":3,"file_name":"b/none.png","width":8,"height":4}]}
`
	if got := read(t, path); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := tree(t, filepath.Dir(path)); got != "instances.json" {
		t.Errorf("files: %s", got)
	}
}

func TestYOLO(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "yolo")
	if err := YOLO(source(t), dir); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); got != "data.yaml labels/a/x.txt labels/a/y.1.txt labels/b/none.txt" {
		t.Errorf("files: %s", got)
	}
	if got, want := read(t, dir, "data.yaml"), "path: .\ntrain: images\nval: images\nnames:\n- zebra\n- ape & co\n"; got != want {
		t.Errorf("%q", got)
	}
	if got, want := read(t, dir, "labels/a/x.txt"), "1 0.375 0.25 0.5 0.5\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := read(t, dir, "labels/b/none.txt"); got != "" {
		t.Errorf("no objects: %q", got)
	}
}

func TestVOC(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "voc")
	if err := VOC(source(t), dir); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, "ImageSets/Main/train.txt"), "a/x\na/y.1\nb/none\n"; got != want {
		t.Errorf("list %q", got)
	}
	if got, want := read(t, dir, "classes.txt"), "zebra\nape & co\n"; got != want {
		t.Errorf("classes %q", got)
	}
	got := strings.Join(strings.Fields(read(t, dir, "Annotations/a/x.xml")), "")
	want := "<annotation><folder>JPEGImages/a</folder><filename>x.jpg</filename><size><width>8</width><height>4</height><depth>3</depth></size>" +
		"<object><name>ape&amp;co</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>" +
		"<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>5</xmax><ymax>2</ymax></bndbox></object>" +
		"<object><name>zebra</name><pose>Unspecified</pose><truncated>0</truncated><difficult>1</difficult>" +
		"<bndbox><xmin>7</xmin><ymin>3</ymin><xmax>8</xmax><ymax>4</ymax></bndbox></object></annotation>"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestMaps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "maps")
	if err := Maps(source(t), dir); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); got != "a/x.png a/y.1.png b/none.png classes.txt" {
		t.Errorf("files: %s", got)
	}
	f, err := os.Open(filepath.Join(dir, "a/x.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if p, ok := img.(*image.Paletted); err != nil || !ok || !slices.Equal(p.Pix[:4], []uint8{0, 1, 255, 0}) || len(p.Palette) != 256 {
		t.Errorf("%v %T", err, img)
	}
}

func TestArrays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "arrays")
	if err := Arrays(source(t), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"classification/plain.npy": "[2] [0.25 0.75]",
		"depth/a/x.npy":            "[4 8] [0 0 0 NaN]",
		"normals/a/x.npy":          "[4 8 3] [0 0 0 0]",
	} {
		a, err := npy.Decode([]byte(read(t, dir, name)))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(a.Shape, a.Values[:min(4, len(a.Values))]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "mine"), nil, 0o666)
	if err := YOLO(Source{Labels: scene{}.Labels()}, dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("folder in use: %v", err)
	}
	if err := COCO(Source{}, filepath.Join(dir, "x")); err == nil || !strings.Contains(err.Error(), "no detection") {
		t.Errorf("no objects: %v", err)
	}
	bad := func(r shards.Record, err error) Source {
		return Source{Labels: scene{}.Labels(), Records: func(yield func(shards.Record, error) bool) { yield(r, err) }}
	}
	climb := shards.Record{Sample: &data.Sample{Key: "../../x", Known: data.Know(detection.New([]data.Object{}))}, W: 1, H: 1}
	fault := errors.New("damaged")
	for name, s := range map[string]Source{"climbing key": bad(climb, nil), "damaged shard": bad(shards.Record{}, fault)} {
		out := filepath.Join(dir, "out")
		for _, err := range []error{YOLO(s, out), VOC(s, out)} {
			if err == nil || !strings.Contains(err.Error(), out) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := tree(t, dir); got != "mine" {
			t.Errorf("%s leaves %s", name, got)
		}
	}
}

// The heap while writing does not depend on how much was written.
func TestMemoryIsFlat(t *testing.T) {
	held := func(n int) (most float64) {
		sample, _ := scene{}.Sample(0)
		s := Source{Labels: scene{}.Labels(), Records: func(yield func(shards.Record, error) bool) {
			for i := range n {
				if i == n-1 {
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = float64(m.HeapAlloc)
				}
				if !yield(shards.Record{Sample: sample, W: 8, H: 4}, nil) {
					return
				}
			}
		}}
		if err := COCO(s, filepath.Join(t.TempDir(), "x.json")); err != nil {
			t.Fatal(err)
		}
		return most
	}
	if few, many := held(1000), held(20000); many > few+200e3 {
		t.Errorf("%.0f bytes for 1,000 images, %.0f for 20,000", few, many)
	}
}
