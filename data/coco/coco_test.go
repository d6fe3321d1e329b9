package coco

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
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

// A small instances file with the traps of the real ones: categories last, unsorted and with gaps; a
// crowd as run lengths, a compressed mask, boxes that leave their image, annotations of no image.
const small = `{
"info": {"description": "a \"small\" set ]}", "version": 1.0},
"licenses": [{"url": "http:\/\/x", "id": 1}],
"images": [
	{"license": 1, "file_name": "000000000009.jpg", "height": 10, "width": 20, "id": 9},
	{"file_name": "000000000025.jpg", "height": 10, "width": 20, "id": 25, "date_captured": null},
	{"file_name": "000000000030.jpg", "height": 10, "width": 20, "id": 30},
	{"file_name": "000000000034.jpg", "height": 10, "width": 20, "id": 34}
],
"annotations": [
	{"segmentation": [[2, 1, 6, 1, 6, 4, 2, 4], [10, 1, 12, 1, 12, 3, 10, 3]], "area": 16.5, "iscrowd": 0, "image_id": 25, "bbox": [2, 1, 10, 3], "category_id": 90, "id": 1},
	{"segmentation": {"counts": [0, 10, 180, 10], "size": [10, 20]}, "area": 20, "iscrowd": 1, "image_id": 9, "bbox": [0.0, 0.0, 20.0, 10.0], "category_id": 1, "id": 2},
	{"image_id": 9, "category_id": 3, "bbox": [-2.5, 1, 30.25, 2.125], "area": 63.9, "iscrowd": 0, "segmentation": [], "id": 3},
	{"image_id": 9, "category_id": 3, "bbox": [25, 1, 3, 2], "area": 6, "iscrowd": 0, "id": 4},
	{"image_id": 9, "category_id": 3, "bbox": [5, 1, 0, 2], "area": 0, "iscrowd": 0, "id": 5},
	{"image_id": 77, "category_id": 3, "bbox": [5, 1, 1, 2], "area": 2, "iscrowd": 0, "id": 6},
	{"image_id": 9.0, "category_id": 3, "bbox": null, "iscrowd": false, "segmentation": {"size": [10, 20], "counts": "0:f5"}, "id": 7}
],
"categories": [
	{"supercategory": "x", "id": 90, "name": "toothbrush"},
	{"supercategory": "x", "id": 1, "name": "person"},
	{"supercategory": "x", "id": 3, "name": "car "}
]}
`

func smallSet(t testing.TB) string {
	return datatest.Folder(t, map[string]string{
		"annotations/instances_val2017.json":         small,
		"annotations/instances_train2017.json":       `{"images": [{"id": 1, "file_name": "1.png"}], "categories": [], "annotations": []}`,
		"annotations/captions_val2017.json":          "{}",
		"annotations/person_keypoints_val2017.json":  "{}",
		"annotations/image_info_test2017.json":       `{"images": [{"id": 1, "file_name": "1.png", "width": 2, "height": 3}], "categories": [{"id": 1, "name": "person"}]}`,
		"train2017/1.png":                            "png 2×3",
		"test2017/1.png":                             "png 2×3",
		"val2017/000000000009.jpg":                   "png 20×10",
		"val2017/000000000025.jpg":                   "png 20×10",
		"val2017/000000000034.jpg":                   "png 20×11",
		"unlabeled2017/000000000008.jpg":             "png 3×3",
		"annotations/image_info_unlabeled2017.json":  `{"images": [{"id": 8, "file_name": "000000000008.jpg", "width": 3, "height": 3}]}`,
		"annotations/panoptic_val2017/.keep.me.away": "",
	})
}

func TestInstances(t *testing.T) {
	root := smallSet(t)
	for _, src := range []data.Source{
		{Path: root, Split: "val"},
		{Path: root, Split: "valid", Set: "instances"},
		{Path: filepath.Join(root, "annotations", "instances_val2017.json")},
		{Path: filepath.Join(root, "annotations", "instances_val2017.json"), Split: "val", Images: filepath.Join(root, "val2017")},
	} {
		ds, err := Open(src)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := ds.Labels(), (data.Labels{detection.Name: {Classes: []string{"person", "car", "toothbrush"}, Masks: true}}); !reflect.DeepEqual(got, want) {
			t.Errorf("labels %+v", got)
		}
		d := ds.(*Dataset)
		if d.Len() != 4 || d.Missing != 1 || d.Clipped != 1 || d.Dropped != 2 || d.Orphans != 1 {
			t.Errorf("%d samples, %d missing, %d clipped, %d dropped, %d orphans", d.Len(), d.Missing, d.Clipped, d.Dropped, d.Orphans)
		}
		s, err := d.Sample(0)
		if err != nil {
			t.Fatal(err)
		}
		if s.Key != "000000000009" || s.Key != d.Key(0) || len(detection.Of(s)) != 3 {
			t.Fatalf("%s: %+v", s.Key, detection.Of(s))
		}
		crowd := detection.Of(s)[0]
		if !crowd.Crowd || crowd.Class != 0 || crowd.Area != 20 || crowd.Score != 1 || !crowd.Mask.At(0, 5) || crowd.Mask.At(1, 5) || !crowd.Mask.At(19, 9) {
			t.Errorf("crowd %+v", crowd)
		}
		if want := (data.Object{Box: data.Box{X0: 0, Y0: 1, X1: 20, Y1: 3.125}, Class: 1, Score: 1, Area: 63.9}); !reflect.DeepEqual(detection.Of(s)[1], want) {
			t.Errorf("got %+v, want %+v", detection.Of(s)[1], want)
		}
		// Runs 0, 10, 190: the first column; the box is that of the mask.
		if o := detection.Of(s)[2]; o.Box != (data.Box{X0: 0, Y0: 0, X1: 1, Y1: 10}) || o.Mask.Rect != image.Rect(0, 0, 1, 10) {
			t.Errorf("compressed mask %+v", o)
		}
		if s, err = d.Sample(1); err != nil {
			t.Fatal(err)
		}
		if o := detection.Of(s)[0]; len(detection.Of(s)) != 1 || o.Class != 2 || o.Area != 16.5 || o.Mask.Rect != image.Rect(2, 1, 12, 4) ||
			!o.Mask.At(2, 1) || o.Mask.At(8, 1) || !o.Mask.At(11, 2) || o.Mask.At(11, 3) {
			t.Errorf("polygons %+v", o)
		}
		for i, want := range map[int]string{2: "000000000030.jpg: no such file", 3: "has 20×11 pixels, but its labels are for 20×10"} {
			_, err := d.Sample(i)
			if broken, ok := errors.AsType[*data.SampleError](err); !ok || broken.Key != d.Key(i) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}

	// A list of annotations, be it empty, says that there are no objects; without one they are unknown.
	ds, err := Open(data.Source{Path: root, Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := ds.Sample(0); err != nil || detection.Of(s) == nil || len(detection.Of(s)) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, src := range []data.Source{
		{Path: filepath.Join(root, "annotations", "image_info_test2017.json")},
		{Path: filepath.Join(root, "annotations", "image_info_unlabeled2017.json")},
		{Path: root, Split: "unlabeled"},
		{Path: root, Set: "unlabeled", Split: "train"},
		{Path: filepath.Join(root, "unlabeled2017"), Set: "unlabeled"},
	} {
		ds, err := Open(src)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ds.Sample(0)
		if err != nil || detection.Of(s) != nil || len(ds.Labels()) != 0 || ds.Len() != 1 {
			t.Errorf("%+v: %+v, %v", src, s, err)
		}
	}
}

// custom is a file of the kind that annotation tools write.
func custom(names ...string) string {
	var images []string
	for i, n := range names {
		images = append(images, fmt.Sprintf(`{"id": %d, "file_name": %q}`, i, n))
	}
	return fmt.Sprintf("\ufeff"+`{"annotations": [{"id": 1, "image_id": 0, "category_id": 0, "bbox": [0, 0, 1, 1]}], "images": [%s], "categories": [{"id": 0, "name": "a"}]}`, strings.Join(images, ", "))
}

func TestLayouts(t *testing.T) {
	many := make([]string, 200)
	manyFiles := map[string]string{}
	for i := range many {
		many[i] = fmt.Sprintf("%d.png", i)
		manyFiles["images/"+many[i]] = "png 2×2"
	}
	manyFiles["result.json"] = custom(many...)
	for name, c := range map[string]struct {
		files map[string]string
		src   data.Source
		keys  []string
		n     int
	}{
		"one folder per split, labels in it": {
			files: map[string]string{"train/_annotations.coco.json": custom("a.png", "b.png"), "train/a.png": "png 2×2", "train/b.png": "png 2×2", "valid/_annotations.coco.json": custom("c.png"), "valid/c.png": "png 2×2"},
			src:   data.Source{Split: "val"}, keys: []string{"c"}},
		"folders in the names": {
			files: map[string]string{"annotations/instances_default.json": custom(`one\a.png`, "./two/a.png"), "images/one/a.png": "png 2×2", "images/two/a.png": "png 2×2"},
			keys:  []string{"one/a", "two/a"}},
		"names that differ in the extension": {
			files: map[string]string{"x.json": custom("a.png", "a.jpg"), "a.png": "png 2×2", "a.jpg": "png 2×2"},
			keys:  []string{"a.png", "a.jpg"}},
		"images of a dataset made for YOLO": {
			files: map[string]string{"annotations/instances_val2014.json": custom("COCO_val2014_1.png"), "images/val2014/COCO_val2014_1.png": "png 2×2"},
			keys:  []string{"COCO_val2014_1"}},
		"no splits: a part by hash": {files: manyFiles, src: data.Source{Split: "train"}, n: 177},
		"a split of another name": {
			files: map[string]string{"annotations/minival.json": custom("a.png"), "annotations/train.json": custom("b.png"), "a.png": "png 2×2"},
			src:   data.Source{Split: "minival"}, keys: []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.src.Path = datatest.Folder(t, c.files)
			ds, err := Open(c.src)
			if err != nil {
				t.Fatal(err)
			}
			if c.n > 0 {
				if ds.Len() != c.n {
					t.Errorf("%d samples, want %d", ds.Len(), c.n)
				}
				return
			}
			var keys []string
			for i := range ds.Len() {
				s, err := ds.Sample(i)
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, s.Key)
				if len(detection.Of(s)) != 1-min(i, 1) {
					t.Errorf("%s has objects %+v", s.Key, detection.Of(s))
				}
			}
			if !reflect.DeepEqual(keys, c.keys) {
				t.Errorf("keys %q, want %q", keys, c.keys)
			}
		})
	}
}

// panopticPNG paints segment ids as colours.
func panopticPNG(w, h int, id func(x, y int) uint32) string {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := id(x, y)
			img.Set(x, y, color.RGBA{uint8(v), uint8(v >> 8), uint8(v >> 16), 255})
		}
	}
	return datatest.PNG(img)
}

func TestPanoptic(t *testing.T) {
	root := datatest.Folder(t, map[string]string{
		"annotations/panoptic_val2017.json": `{"images": [
			{"id": 1, "file_name": "a.jpg", "width": 6, "height": 4}, {"id": 2, "file_name": "b.jpg", "width": 6, "height": 4},
			{"id": 3, "file_name": "c.jpg", "width": 6, "height": 4}],
		"annotations": [
			{"image_id": 2, "file_name": "b.png", "segments_info": [{"id": 7, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1}]},
			{"segments_info": [
				{"id": 3226956, "category_id": 92, "iscrowd": 0, "bbox": [0, 0, 6, 2], "area": 12},
				{"id": 300, "category_id": 3, "iscrowd": 0, "bbox": [1, 2, 2, 2], "area": 3},
				{"id": 65536, "category_id": 1, "iscrowd": 1, "bbox": [4, 2, 1, 1], "area": 1}], "file_name": "a.png", "image_id": 1}],
		"categories": [{"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]}, {"id": 92, "name": "banner", "isthing": 0}, {"id": 3, "name": "car", "isthing": 1}]}`,
		"annotations/panoptic_val2017/a.png": panopticPNG(6, 4, func(x, y int) uint32 {
			switch {
			case y < 2:
				return 3226956
			case x == 1 || x == 2 && y == 2:
				return 300
			case x == 4 && y == 2:
				return 65536
			}
			return 0
		}),
		"annotations/panoptic_val2017/b.png": panopticPNG(6, 4, func(x, y int) uint32 { return 8 }),
		"val2017/a.jpg":                      "png 6×4", "val2017/b.jpg": "png 6×4", "val2017/c.jpg": "png 6×4",
	})
	d, err := Open(data.Source{Path: root, Set: "panoptic", Split: "val"})
	if err != nil {
		t.Fatal(err)
	}
	want := data.Labels{detection.Name: {Classes: []string{"person", "car"}, Masks: true}, segmentationlabel.Name: {Classes: []string{"person", "car", "banner"}}}
	if got := d.Labels(); !reflect.DeepEqual(got, want) {
		t.Errorf("labels %+v", got)
	}
	s, err := d.Sample(0)
	if err != nil {
		t.Fatal(err)
	}
	const v = data.Ignore
	if got, want := segmentationlabel.Of(s).Pix, []uint8{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, v, 1, 1, v, 0, v, v, 1, v, v, v, v}; !bytes.Equal(got, want) {
		t.Errorf("map %v, want %v", got, want)
	}
	objects := []data.Object{
		{Box: data.Box{X0: 1, Y0: 2, X1: 3, Y1: 4}, Class: 1, Score: 1, Area: 3, Mask: &data.Mask{Rect: image.Rect(1, 2, 3, 4), Pix: []uint8{1, 1, 1, 0}}},
		{Box: data.Box{X0: 4, Y0: 2, X1: 5, Y1: 3}, Class: 0, Score: 1, Area: 1, Crowd: true, Mask: &data.Mask{Rect: image.Rect(4, 2, 5, 3), Pix: []uint8{1}}},
	}
	if !reflect.DeepEqual(detection.Of(s), objects) {
		t.Errorf("objects %+v", detection.Of(s))
	}
	if _, err = d.Sample(1); err == nil || !strings.Contains(err.Error(), "pixel (0, 0) is of segment 8") {
		t.Error(err)
	}
	if s, err := d.Sample(2); err != nil || segmentationlabel.Of(s) != nil || detection.Of(s) != nil {
		t.Errorf("an image without annotation: %+v, %v", s, err)
	}
}

func TestStuff(t *testing.T) {
	grey := image.NewGray(image.Rect(0, 0, 3, 1))
	grey.Pix = []uint8{0, 181, 255}
	unused := image.NewGray(image.Rect(0, 0, 3, 1))
	unused.Pix = []uint8{0, 11, 255}
	root := datatest.Folder(t, map[string]string{
		"stuffthingmaps/val2017/1.png":               datatest.PNG(grey),
		"stuffthingmaps/val2017/2.png":               datatest.PNG(unused),
		"stuffthingmaps/val2017/3.png":               datatest.PNG(grey),
		"stuffthingmaps/val2017/1_labelTrainIds.png": datatest.PNG(unused),
		"val2017/1.jpg":                              "png 3×1",
		"val2017/2.jpg":                              "png 3×1",
		"train2017/1.jpg":                            "png 3×2",
		"annotations/stuff_train2017.json": `{"images": [{"id": 1, "file_name": "1.jpg", "width": 3, "height": 2}],
			"annotations": [
				{"id": 1, "image_id": 1, "category_id": 183, "bbox": [0, 0, 1, 2], "segmentation": {"size": [2, 3], "counts": [0, 2, 4]}},
				{"id": 2, "image_id": 1, "category_id": 92, "bbox": [1, 0, 1, 2], "segmentation": {"size": [2, 3], "counts": [3, 2, 1]}}],
			"categories": [{"id": 92, "name": "banner"}, {"id": 183, "name": "other"}]}`,
	})
	d, err := Open(data.Source{Path: root, Set: "stuff", Split: "val"})
	if err != nil {
		t.Fatal(err)
	}
	if len(StuffThings) != 171 || len(d.Labels()[segmentationlabel.Name].Classes) != 171 || d.Len() != 3 {
		t.Errorf("%d classes, %d samples", len(d.Labels()[segmentationlabel.Name].Classes), d.Len())
	}
	s, err := d.Sample(0)
	if err != nil || !bytes.Equal(segmentationlabel.Of(s).Pix, []uint8{0, 170, 255}) {
		t.Errorf("%+v, %v", s, err)
	}
	for i, want := range map[int]string{1: "pixel (1, 0) is 11", 2: "no image of that name"} {
		if _, err := d.Sample(i); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// Ids of classes around the gaps: street sign (12) was never used, toothbrush is 90, banner 92.
	for id, name := range map[int]string{1: "person", 11: "fire hydrant", 13: "stop sign", 90: "toothbrush", 92: "banner", 182: "wood"} {
		if got := StuffThings[stuffClass[id-1]]; got != name {
			t.Errorf("category %d is %s, want %s", id, got, name)
		}
	}
	if d, err = Open(data.Source{Path: root, Set: "stuff", Split: "train"}); err != nil {
		t.Fatal(err)
	}
	if s, err = d.Sample(0); err != nil || !bytes.Equal(segmentationlabel.Of(s).Pix, []uint8{1, 255, 0, 1, 0, 255}) {
		t.Errorf("%+v, %v", s, err)
	}
	if got := d.Labels(); !reflect.DeepEqual(got, data.Labels{segmentationlabel.Name: {Classes: []string{"banner", "other"}}}) {
		t.Errorf("labels %+v", got)
	}
}

func TestRefused(t *testing.T) {
	file := func(text string) map[string]string { return map[string]string{"x.json": text, "a.png": "png 2×2"} }
	one := func(annotation string) map[string]string {
		return file(`{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "a"}], "annotations": [` + annotation + `]}`)
	}
	for want, c := range map[string]struct {
		files map[string]string
		src   data.Source
	}{
		"the file is cut short":                            {files: file(`{"images": [{"id": 1, "file_name": "a`)},
		"is it a file of results?":                         {files: file(`[]`)},
		`lists no "images"`:                                {files: file(`{"annotations": []}`)},
		"more text after the end":                          {files: file(`{"images": [{"id": 1, "file_name": "a.png"}]} x`)},
		`']' where ',' should be`:                          {files: file(`{"images": [{"id": 1, "file_name": "a.png"}]]`)},
		`item 0 of "images", at byte 12: "}" expected`:     {files: file(`{"images": [{"id": 1, "file_name": "a.png"]]}`)},
		`item 0 of "images", at byte 12: has no "id"`:      {files: file(`{"images": [{"id": null, "file_name": "a.png"}]}`)},
		`"/" is no path of an image`:                       {files: file(`{"images": [{"id": 1, "file_name": "/"}]}`)},
		"such as etc/passwd, are in none":                  {files: file(`{"images": [{"id": 1, "file_name": "/etc/passwd"}]}`)},
		"such as b.png, are in none":                       {files: file(`{"images": [{"id": 1, "file_name": "../b.png"}]}`)},
		`of category_id "1", which its`:                    {files: one(`{"image_id": 1, "category_id": "1"}`)},
		`lists the image "./a.png" twice`:                  {files: file(`{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "./a.png"}]}`)},
		"two images of id 1":                               {files: file(`{"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]}`)},
		"two categories of id 1":                           {files: file(`{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}`)},
		"category_id 2, which":                             {files: one(`{"image_id": 1, "category_id": 2, "bbox": [1, 1, 1, 1]}`)},
		"a box of 3 numbers":                               {files: one(`{"image_id": 1, "category_id": 1, "bbox": [1, 1, 1]}`)},
		`field "image_id": is a bool`:                      {files: one(`{"image_id": true, "category_id": 1}`)},
		`has no "category_id"`:                             {files: one(`{"image_id": 1, "id": 1, "caption": "a caption"}`)},
		"as images_folder (--images-folder)":               {files: file(`{"images": [{"id": 1, "file_name": "elsewhere.png"}]}`)},
		"subset is \"keypoints\"":                          {src: data.Source{Set: "keypoints"}},
		"no file of labels (JSON) of the split val":        {src: data.Source{Split: "val"}},
		"choose by split":                                  {files: map[string]string{"train.json": "{}", "val.json": "{}"}},
		"no file of labels of the split test; there is va": {files: map[string]string{"val.json": "{}"}, src: data.Source{Split: "test"}},
		"no folder unlabeled2017":                          {src: data.Source{Split: "unlabeled"}},
		"no folder panoptic_val of PNG maps":               {files: map[string]string{"a.png": "png 2×2", "panoptic_val.json": `{"images": [{"id": 1, "file_name": "a.png"}], "categories": [], "annotations": []}`}, src: data.Source{Set: "panoptic"}},
	} {
		c.src.Path = datatest.Folder(t, c.files)
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.src.Path) && c.src.Set != "keypoints" {
			t.Errorf("%v, want %q", err, want)
		}
	}
	file1 := filepath.Join(datatest.Folder(t, one("")), "instances_val.json")
	if err := os.WriteFile(file1, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(data.Source{Path: file1, Split: "train"}); err == nil || !strings.Contains(err.Error(), "this is the val part, not train") {
		t.Error(err)
	}

	// What is wrong with one shape concerns its image only.
	for want, segmentation := range map[string]string{
		"a polygon of 3 numbers": `[[1, 2, 3]]`,
		"height 9 and width 9":   `{"size": [9, 9], "counts": [81]}`,
		"has no counts":          `{"size": [2, 2]}`,
		"runs of 1000 pixels":    `{"size": [2, 2], "counts": [1000]}`,
	} {
		d, err := Open(data.Source{Path: datatest.Folder(t, one(`{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": `+segmentation+`}`))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Sample(0); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.json: at byte ") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestWindow reads through windows so small that everything crosses their edges.
func TestWindow(t *testing.T) {
	want, err := readIndex(strings.NewReader(small), false, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for window := 1; window < 40; window++ {
		got, err := readIndex(strings.NewReader(small), false, window)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("window %d: %v", window, err)
		}
	}
	a := want.annotations.at(0)
	if text := small[a.offset:][:a.length]; strings.TrimSpace(text) != "[[2, 1, 6, 1, 6, 4, 2, 4], [10, 1, 12, 1, 12, 3, 10, 3]]" {
		t.Errorf("the first shape is at %q", text)
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(small), false)
	f.Add([]byte(custom("a.png", `b\\"c.png`)), false)
	f.Add([]byte(`{"images":[{"id":1,"file_name":"a"}],"annotations":[{"image_id":1,"file_name":"a.png","segments_info":[{"id":1}]}]}`), true)
	f.Add([]byte(`{"a":{"b":[1,2,{"c":"\\\""}]},"images":[],"x":-1e5,"annotations":[{}]}`), true)
	f.Fuzz(func(t *testing.T, text []byte, panoptic bool) {
		x, err := readIndex(bytes.NewReader(text), panoptic, 1<<16)
		y, errSmall := readIndex(bytes.NewReader(text), panoptic, 3)
		if (err == nil) != (errSmall == nil) || err == nil && !reflect.DeepEqual(x, y) {
			t.Fatalf("it depends on the window: %v, %v", err, errSmall)
		}
		if err != nil {
			return
		}
		for i := range uint32(x.annotations.len()) {
			a := x.annotations.at(i)
			if a.offset < 0 || a.offset+int64(a.length) > int64(len(text)) {
				t.Errorf("annotation %d lies at %d, %d bytes long", i, a.offset, a.length)
			}
			d := &Dataset{index: x}
			d.readSegments(text[a.offset:][:a.length])
		}
	})
}

// Names as annotation tools write them.
func TestFileNames(t *testing.T) {
	for name, c := range map[string]struct{ file, disk string }{
		"absolute": {"/srv/label/media/upload/4/a.png", "a.png"}, "climbs": {`..\\..\\label\\4\\a.png`, "a.png"}, "drive": {`D:\\label\\a.png`, "a.png"},
		"query": {"/data/local-files/?d=pics/a.png", "a.png"}, "a folder too many": {"images/1/a.png", "a.png"}, "its own folder": {"images/a.png", "a.png"},
		"case": {"A.PNG", "a.png"}, "spaces": {"my photo ü.png", "my photo ü.png"}, "escaped": {"my%20photo.png", "my photo.png"},
	} {
		dir := datatest.Folder(t, map[string]string{"images/" + c.disk: "png 2×2", "result.json": custom("x.png")})
		text := strings.Replace(custom("x.png"), "x.png", c.file, 1)
		if err := os.WriteFile(filepath.Join(dir, "result.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(data.Source{Path: dir})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s, err := d.Sample(0); err != nil || len(detection.Of(s)) != 1 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}

	// An absolute name is right where it leads into the set's own folder, or into the one that is named.
	dir := datatest.Folder(t, map[string]string{"diskA/a.png": "png 2×2", "diskB/b.png": "png 2×2", "elsewhere/x": ""})
	for at, src := range map[string]data.Source{
		"coco.json":           {},
		"elsewhere/coco.json": {Images: dir},
		"elsewhere/root.json": {Images: "/"},
	} {
		if err := os.WriteFile(filepath.Join(dir, at), []byte(custom(filepath.Join(dir, "diskA/a.png"), filepath.Join(dir, "diskB/b.png"))), 0o600); err != nil {
			t.Fatal(err)
		}
		src.Path = filepath.Join(dir, at)
		d, err := Open(src)
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		for i := range d.Len() {
			if _, err := d.Sample(i); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
	}

	// Nobody's image is taken for another's: neither a file of another folder, nor one that two names end in.
	dir = datatest.Folder(t, map[string]string{"images/cam1/1.png": "png 2×2", "images/2.png": "png 2×2", "images/3.png": "png 2×2",
		"r.json": custom("cam2/1.png", "x/2.png", "y/2.png", "3.png", "z/3.png")})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Len() {
		if _, err := d.Sample(i); (err == nil) != (i == 3) {
			t.Errorf("%s: %v", d.Key(i), err)
		}
	}
}

// What a list of numbers is: polygons, one polygon, corners; two points or a box is none.
func TestSegmentations(t *testing.T) {
	const square = "2, 2, 6, 2, 6, 6, 2, 6"
	for segmentation, masked := range map[string]bool{
		"[[" + square + "]]": true, "[" + square + "]": true, "[[2, 2], [6, 2], [6, 6], [2, 6]]": true,
		"[[" + square + "], [1, 1, 3, 3]]": true, "[[2, 2, 6, 6]]": false, "[2, 2, 6, 6]": false, "[[2, 2], [6, 6]]": false, "[]": false,
	} {
		dir := datatest.Folder(t, map[string]string{"a.png": "png 8×8", "r.json": `{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "a"}],
			"annotations": [{"image_id": 1, "category_id": 1, "bbox": [2, 2, 4, 4], "segmentation": ` + segmentation + `}]}`})
		d, err := Open(data.Source{Path: dir})
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Sample(0)
		if err != nil || len(detection.Of(s)) != 1 || detection.Of(s)[0].Box != (data.Box{X0: 2, Y0: 2, X1: 6, Y1: 6}) {
			t.Errorf("%s: %+v, %v", segmentation, s, err)
			continue
		}
		m := detection.Of(s)[0].Mask
		if (m != nil) != masked || masked && (m.Rect != image.Rect(2, 2, 6, 6) || !m.At(4, 4)) {
			t.Errorf("%s: mask %+v", segmentation, m)
		}
		if told := strings.Contains(strings.Join(data.Notes(d), " "), "no polygon"); told == masked && segmentation != "[]" {
			t.Errorf("%s: notes %q", segmentation, data.Notes(d))
		}
	}
}

// Objects that are lost leave their class unknown; annotations of no image, the images without one.
func TestLostIsUnknown(t *testing.T) {
	open := func(more string) data.Dataset {
		dir := datatest.Folder(t, map[string]string{"a.png": "png 8×8", "b.png": "png 8×8", "r.json": `{
			"images": [{"id": "one", "file_name": "a.png", "width": 8, "height": 8}, {"id": "two", "file_name": "b.png", "width": 8, "height": 8}],
			"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}],
			"annotations": [{"image_id": "one", "category_id": 1, "bbox": [1, 1, 2, 2]}, {"image_id": "one", "category_id": 2, "bbox": [9, 9, 2, 2]},
				{"image_id": "one", "category_id": 3, "keypoints": [1, 1, 2]}` + more + `]}`})
		d, err := Open(data.Source{Path: dir})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open("")
	if s, err := d.Sample(0); err != nil || len(detection.Of(s)) != 1 || !reflect.DeepEqual(detection.Unknown(s), []int{1, 2}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := d.Sample(1); err != nil || detection.Of(s) == nil || detection.Unknown(s) != nil {
		t.Errorf("an image without annotation: %+v, %v", s, err)
	}
	if c := d.(*Dataset); c.Dropped != 1 || c.Boxless != 1 || data.Labelled(d, detection.Name) != 2 {
		t.Errorf("%d dropped, %d boxless, %d labelled", c.Dropped, c.Boxless, data.Labelled(d, detection.Name))
	}
	d = open(`, {"image_id": 2, "category_id": 1, "bbox": [1, 1, 2, 2]}`) // the number is not the text
	if s, err := d.Sample(1); err != nil || detection.Of(s) != nil || data.Labelled(d, detection.Name) != 1 {
		t.Errorf("beside an annotation of no image: %+v, %v", s, err)
	}
	if notes := strings.Join(data.Notes(d), " "); !strings.Contains(notes, "not listed: 1") || !strings.Contains(notes, "where the label is unknown: 1") {
		t.Errorf("notes %q", notes)
	}
}

// Labels stay on their object whatever way a picture is turned, and whatever size it has now.
func TestFrames(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 12, 8))
	img.Set(9, 2, color.White)
	for turn := 1; turn <= 8; turn++ {
		for _, rule := range []string{"", "stored"} {
			if rule == "" && turn < 5 && turn > 1 {
				continue // its size does not tell
			}
			dir := datatest.Folder(t, map[string]string{"a.png": datatest.Turned(datatest.PNG(img), turn), "r.json": `{"images": [{"id": 1, "file_name": "a.png", "width": 12, "height": 8}],
				"categories": [{"id": 1, "name": "a"}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [9, 2, 1, 1], "area": 1, "segmentation": {"size": [8, 12], "counts": [74, 1, 21]}}]}`})
			d, err := Open(data.Source{Path: dir, Frame: rule})
			if err != nil {
				t.Fatal(err)
			}
			s, err := d.Sample(0)
			if err != nil {
				t.Fatal(err)
			}
			o := detection.Of(s)[0]
			x, y := int(o.Box.X0), int(o.Box.Y0)
			if o.Box.Area() != 1 || s.Image.RGBAAt(x, y).R != 255 || !o.Mask.At(x, y) {
				t.Errorf("orientation %d, frame %q: %+v", turn, rule, o)
			}
		}
	}
}

func FuzzPolygons(f *testing.F) {
	for _, s := range []string{"[[1,2,3,4,5,6]]", "[1,2,3,4]", "[[1,2],[3,4],[5,6]]", "[[1,2,3,4]", "[1,[2]]", "[]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		polygons, _, err := readPolygons(b)
		for _, p := range polygons {
			if err == nil && (len(p) < 6 || len(p)%2 == 1) {
				t.Errorf("%q: %v", b, p)
			}
		}
	})
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"/srv/a.png", `..\\..\\a.png`, `D:\\a.png`, "?d=a", "file:///a", "..", "a/../../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := cleanName(s, "/tmp")
		if n.path == ".." || strings.HasPrefix(n.path, "../") || strings.HasPrefix(n.path, "/") {
			t.Errorf("%q becomes %q", s, n.path)
		}
	})
}
