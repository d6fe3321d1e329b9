package objects365

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"must/data"
	"must/data/coco"
	"must/data/datatest"
	"must/task/detection"
)

// write makes a folder of files of labels and images of 20×10.
func write(t *testing.T, labels map[string]string, images ...string) string {
	t.Helper()
	files := maps.Clone(labels)
	for _, name := range images {
		files[name] = "png 20×10"
	}
	return datatest.Folder(t, files)
}

func labels(fileNames ...string) string {
	var images []string
	for i, name := range fileNames {
		images = append(images, fmt.Sprintf(`{"height":10,"id":%d,"license":5,"width":20,"file_name":%q,"url":""}`, 420917+i, name))
	}
	return `{"images":[` + strings.Join(images, ",") + `],"annotations":[
		{"id":1,"iscrowd":0,"isfake":0,"isreflected":0,"area":6.5,"bbox":[1.25,2,2.5,2.6],"image_id":420917,"category_id":365},
		{"id":2,"iscrowd":1,"isfake":0,"area":40,"bbox":[0,0,20.000001,2],"image_id":420917,"category_id":1}],
		"categories":[{"name":"Person","id":1},{"name":"Cigar/Cigarette ","id":365},{"name":"Table Tennis","id":364}],
		"licenses":[{"name":"x","id":5,"url":""}]}`
}

func TestOpen(t *testing.T) {
	v2 := labels("images/v1/patch8/objects365_v1_00420917.jpg", "images/v2/patch16/objects365_v2_00908726.jpg", "images/v2/patch16/objects365_v2_00908727.jpg")
	for name, c := range map[string]struct {
		labels map[string]string
		images []string
		src    data.Source
		path   string // of the file of labels, if it is to be named
		keys   []string
	}{
		"version 2": {
			labels: map[string]string{"zhiyuan_objv2_train.json": v2, "zhiyuan_objv2_val.json": "{}", "objects365_train.json": "{}"},
			images: []string{"train/patch8/objects365_v1_00420917.jpg", "train/patch16/objects365_v2_00908727.jpg"},
			src:    data.Source{Split: "train"}, keys: []string{"patch8/objects365_v1_00420917", "patch16/objects365_v2_00908727"}},
		"labels in the folder of the split": {
			labels: map[string]string{"val/zhiyuan_objv2_val.json": v2},
			images: []string{"val/patch8/objects365_v1_00420917.jpg"},
			path:   "val/zhiyuan_objv2_val.json", keys: []string{"patch8/objects365_v1_00420917"}},
		"labels in annotations, images as they are listed": {
			labels: map[string]string{"annotations/zhiyuan_objv2_val.json": v2},
			images: []string{"val/images/v1/patch8/objects365_v1_00420917.jpg"},
			path:   "annotations/zhiyuan_objv2_val.json", keys: []string{"images/v1/patch8/objects365_v1_00420917"}},
		"version 1": {
			labels: map[string]string{"annotations/objects365_train.json": labels("obj365_train_000000420917.jpg"), "annotations/zhiyuan_objv2_train.json": "{}"},
			images: []string{"train/obj365_train_000000420917.jpg"},
			src:    data.Source{Set: "v1", Split: "train"}, keys: []string{"obj365_train_000000420917"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.src.Path = filepath.Join(write(t, c.labels, c.images...), c.path)
			ds, err := Open(c.src)
			if err != nil {
				t.Fatal(err)
			}
			if got := ds.Labels(); !reflect.DeepEqual(got, data.Labels{detection.Name: {Classes: []string{"Person", "Table Tennis", "Cigar/Cigarette"}}}) {
				t.Errorf("labels %+v", got)
			}
			var keys []string
			for i := range ds.Len() {
				keys = append(keys, ds.Key(i))
			}
			if !reflect.DeepEqual(keys, c.keys) {
				t.Errorf("keys %q, want %q", keys, c.keys)
			}
			if d := ds.(*coco.Dataset); len(c.images)+d.Missing != 3 && c.src.Set != "v1" || d.Clipped != 1 {
				t.Errorf("%d missing, %d clipped", d.Missing, d.Clipped)
			}
			s, err := ds.Sample(0)
			if err != nil {
				t.Fatal(err)
			}
			want := []data.Object{
				{Box: data.Box{X0: 1.25, Y0: 2, X1: 3.75, Y1: 4.6}, Class: 2, Score: 1, Area: 6.5},
				{Box: data.Box{X0: 0, Y0: 0, X1: 20, Y1: 2}, Class: 0, Score: 1, Area: 40, Crowd: true},
			}
			if !reflect.DeepEqual(detection.Of(s), want) {
				t.Errorf("objects %+v", detection.Of(s))
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for want, c := range map[string]struct {
		labels map[string]string
		src    data.Source
	}{
		`subset is "v3"`:          {nil, data.Source{Set: "v3"}},
		"no file of labels":       {nil, data.Source{Split: "train"}},
		"such as ../a.jpg":        {map[string]string{"zhiyuan_objv2_val.json": labels("../a.jpg")}, data.Source{}},
		"none of its 1 images":    {map[string]string{"zhiyuan_objv2_val.json": labels("images/v1/patch0/a.jpg")}, data.Source{}},
		"there is zhiyuan_objv2_": {map[string]string{"zhiyuan_objv2_val.json": labels("images/v1/patch0/a.jpg")}, data.Source{Split: "train"}},
	} {
		c.src.Path = write(t, c.labels)
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Open(data.Source{Path: filepath.Join(t.TempDir(), "none.json")}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
