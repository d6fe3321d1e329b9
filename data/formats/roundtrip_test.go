package formats

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"must/data"
	"must/data/datatest"
	"must/data/npy"
	"must/label/export"
	"must/task/detection"
	"must/task/segmentation"
)

// A white thing on a dark picture, stored in each EXIF orientation and annotated on the pixels as stored, goes through
// every export, with images and without, and is found again where it is white on the picture as shown. Without images
// the exported labels belong to the turned files.
func TestObjectsStayOnTheirPixels(t *testing.T) {
	const w, h = 20, 12
	thing := image.Rect(13, 2, 17, 5)
	picture := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		picture.Set(i%w, i/w, color.Black)
		if image.Pt(i%w, i/w).In(thing) {
			picture.Set(i%w, i/w, color.White)
		}
	}
	class := image.NewGray(picture.Rect)
	for i := range class.Pix {
		if image.Pt(i%w, i/w).In(thing) {
			class.Pix[i] = 1
		}
	}
	for turn := 1; turn <= 8; turn++ {
		file := datatest.Turned(datatest.PNG(picture), turn)
		boxes := datatest.Folder(t, map[string]string{"images/a.png": file, "instances.json": fmt.Sprintf(`{"images": [{"id": 1, "file_name": "a.png", "width": %d, "height": %d}],
			"categories": [{"id": 1, "name": "thing"}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [%d, %d, %d, %d]}]}`, w, h, thing.Min.X, thing.Min.Y, thing.Dx(), thing.Dy())})
		maps := datatest.Folder(t, map[string]string{"images/a.png": file, "masks/a.png": datatest.PNG(class), "classes.txt": "none\nthing\nother\n"})
		yolo := datatest.Folder(t, map[string]string{"images/a.png": file, "classes.txt": "thing\n",
			"labels/a.txt": fmt.Sprintf("0 %v %v %v %v\n", 15./w, 3.5/h, 4./w, 3./h)})
		voc := datatest.Folder(t, map[string]string{"JPEGImages/a.png": file, "Annotations/a.xml": fmt.Sprintf(`<annotation><size><width>%d</width><height>%d</height></size>
			<object><name>thing</name><bndbox><xmin>%d</xmin><ymin>%d</ymin><xmax>%d</xmax><ymax>%d</ymax></bndbox></object></annotation>`, w, h, thing.Min.X+1, thing.Min.Y+1, thing.Max.X, thing.Max.Y)})
		for _, from := range []data.Source{
			{Format: "coco", Path: boxes, Frame: "stored"}, {Format: "voc", Path: voc, Frame: "stored"}, {Format: "yolo", Path: yolo, Frame: "stored"}, {Format: "masks", Path: maps, Frame: "stored"},
		} {
			d, err := Open(from)
			if err != nil {
				t.Fatal(err)
			}
			on(t, fmt.Sprintf("orientation %d, %s", turn, from.Format), d)
			for _, to := range []string{"coco", "yolo", "voc", "png", "multi", "shards"} {
				if (to == "png") != (from.Format == "masks") && to != "multi" && to != "shards" {
					continue
				}
				for _, images := range []bool{false, true} {
					if images && to == "shards" {
						continue
					}
					name := fmt.Sprintf("orientation %d, %s to %s, images %t", turn, from.Format, to, images)
					again := pass(t, d, to, images, file)
					d, err := Open(again)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					on(t, name, d)
				}
			}
		}
	}
}

// pass exports a set and returns how to read it again.
func pass(t *testing.T, d data.Dataset, to string, images bool, file string) data.Source {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	s := export.FromDataset(d, func(err error) { t.Error(err) })
	s.Images, s.File = images, func(key string) string { return key + ".png" }
	place := func(folder string) {
		if !images {
			if err := os.MkdirAll(folder, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "a.png"), []byte(file), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	var err error
	src := data.Source{Path: out}
	photos := filepath.Join(out, "..", "photos")
	switch to {
	case "coco":
		src.Format = "coco"
		err = export.COCOFolder(s, out)
		place(filepath.Join(out, "train"))
	case "yolo":
		src.Format = "yolo"
		err = export.YOLO(s, out)
		place(filepath.Join(out, "images"))
	case "voc":
		src.Format = "voc"
		err = export.VOC(s, out)
		place(filepath.Join(out, "JPEGImages"))
	case "png":
		src.Format = "masks"
		err = export.Maps(s, out)
		if place(photos); !images {
			src.Images = photos
		}
	case "multi":
		src.Format = "multi"
		err = export.Multi(s, out)
		place(filepath.Join(out, "images"))
	case "shards":
		if err = os.MkdirAll(out, 0o777); err == nil {
			err = export.Shards(context.Background(), d, "set", out, "test", func(err error) { t.Error(err) })
		}
		place(photos)
		src = data.Source{Format: "images", Path: photos, Labels: out}
	}
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// on checks that labels cover the white pixels of the first sample, and no other.
func on(t *testing.T, name string, d data.Dataset) {
	t.Helper()
	s, err := d.Sample(0)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if len(detection.Of(s)) != 1 && segmentation.Of(s) == nil {
		t.Errorf("%s: no label, %+v", name, s)
		return
	}
	for y := range s.Image.Rect.Dy() {
		for x := range s.Image.Rect.Dx() {
			white := s.Image.RGBAAt(x, y).R > 127
			labelled := false
			if segmentation.Of(s) != nil {
				labelled = segmentation.Of(s).At(x, y) == 1
			} else {
				b := detection.Of(s)[0].Box
				cx, cy := float64(x)+0.5, float64(y)+0.5
				labelled = cx > b.X0 && cx < b.X1 && cy > b.Y0 && cy < b.Y1
			}
			if white != labelled {
				t.Errorf("%s: pixel (%d, %d) is white: %t, labelled: %t", name, x, y, white, labelled)
				return
			}
		}
	}
}

// Keys with folders called images, equal names in several folders, and names that differ in their extension or case
// survive every export, each with its own label.
func TestKeysThroughExports(t *testing.T) {
	files := map[string]string{"classes.txt": "thing\n"}
	for i, name := range []string{"cam1/images/1", "cam2/images/1", "a.b/1", "A.b/1", "a.b/2.png"} {
		files["images/"+name+".jpg"] = fmt.Sprintf("png %d×8", 10+i)
		files["boxes/"+name+".txt"] = fmt.Sprintf("0 0.5 0.5 %v 0.5\n", 1/float64(10+i)) // one pixel wide
	}
	files["boxes/classes.txt"] = "thing\n"
	d, err := Open(data.Source{Format: "multi", Path: datatest.Folder(t, files)})
	if err != nil {
		t.Fatal(err)
	}
	widths := func(d data.Dataset) map[int]float64 {
		of := map[int]float64{}
		for i := range d.Len() {
			s, err := d.Sample(i)
			if err != nil || len(detection.Of(s)) != 1 {
				t.Fatalf("%v, %+v", err, s)
			}
			of[s.Image.Rect.Dx()] = detection.Of(s)[0].Box.W()
		}
		return of
	}
	for _, to := range []string{"coco", "yolo", "voc", "multi"} {
		again, err := Open(pass(t, d, to, true, ""))
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		for w, box := range widths(again) {
			if box < 0.99 || box > 2.01 || again.Len() != d.Len() { // VOC rounds
				t.Errorf("%s: a box of %v pixels on the image of %d, %d images", to, box, w, again.Len())
			}
		}
	}
}

// TestMulti writes a set with labels of all tasks and reads it back equal.
func TestMulti(t *testing.T) {
	files := map[string]string{
		"images/a.png": "png 6×4", "images/sub/b.png": "png 8×4", "images/none.png": "png 5×5",
		"classes.csv": "image,class\na.png,zebra\nsub/b.png,\"ant, red\"\n", "classes.txt": "zebra\nunseen\nant, red\n",
		"boxes/classes.txt": "thing\nother\n", "boxes/a.txt": "1 0.25 0.5 0.125 0.25\n0 0.5 0.5 0.1 0.7\n", "boxes/sub/b.txt": "",
		"masks/classes.txt": "ground\nsky\n",
		"masks/a.png":       datatest.PNG(&image.Gray{Pix: []uint8{0, 1, 1, 0, 255, 1, 0, 1, 1, 0, 255, 1, 0, 1, 1, 0, 255, 1, 0, 1, 1, 0, 255, 1}, Stride: 6, Rect: image.Rect(0, 0, 6, 4)}),
		"depth/a.npy":       string(npy.Append(nil, npy.Float32, []int{4, 6}, slices.Repeat([]float32{1.5, 2.25, 1e-3}, 8))),
		"normals/sub/b.npy": string(npy.Append(nil, npy.Float32, []int{4, 8, 3}, slices.Repeat([]float32{0, 0, -1, 0.6, 0.8, 0}, 16))),
	}
	first, err := Open(data.Source{Format: "multi", Path: datatest.Folder(t, files)})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	s := export.FromDataset(first, func(err error) { t.Error(err) })
	s.Images = true
	if err := export.Multi(s, out); err != nil {
		t.Fatal(err)
	}
	again, err := Open(data.Source{Format: "multi", Path: out})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.Labels(), first.Labels()) || again.Len() != 3 {
		t.Fatalf("%d images of %+v, want 3 of %+v", again.Len(), again.Labels(), first.Labels())
	}
	for i := range 3 {
		want, err := first.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Known, got.Known, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-6), cmpopts.IgnoreUnexported(segmentation.Label{})); got.Key != want.Key || d != "" {
			t.Errorf("%s read back as %s: %s", want.Key, got.Key, d)
		}
	}
}
