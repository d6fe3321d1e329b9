package formats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/data/datatest"
)

// The smallest set of each format is written, seen as what it is, opens and has labels; its page shows its files.
func TestExamples(t *testing.T) {
	for _, f := range All() {
		dir := filepath.Join(t.TempDir(), f.Name)
		src, err := Example(f.Name, dir)
		if f.Name == "scenes" {
			if err == nil {
				t.Error("an example of scenes")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(src)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		s, err := d.Sample(0)
		if err != nil || (len(s.Known) == 0) != (f.Name == "images") {
			t.Errorf("%s: %+v, %v", f.Name, s, err)
		}
		guesses, err := Detect(dir)
		if err != nil || len(guesses) == 0 {
			t.Errorf("%s: %v, %v", f.Name, guesses, err)
			continue
		}
		seen := guesses[0].Source
		want := f.Name
		switch f.Name {
		case "nyu": // pairs of image and depth
			want = "depth"
		case "imagenet": // with two of its classes, any folders of classes
			want = "imagefolder"
		}
		if seen.Format != want || guesses[0].Why == "" {
			t.Errorf("%s: seen as %s, as %s", f.Name, seen.Format, guesses[0].Why)
		}
		seen.Split = "train"
		if again, err := Open(seen); err != nil || again.Len() != d.Len() {
			t.Errorf("%s as %+v: %v", f.Name, seen, err)
		}
		if _, err := Example(f.Name, dir); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("%s: written twice: %v", f.Name, err)
		}
		page := map[string]string{"webdataset": "formats-webdataset"}[f.Name]
		if page == "" {
			page = "data-" + f.Name
		}
		b, err := os.ReadFile(filepath.Join("..", "..", "docs", page+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		if text := string(b); !strings.Contains(text, "must data example "+f.Name) || !strings.Contains(text, f.Listing()) {
			t.Errorf("docs/%s.md does not show the smallest set:\nmust data example %s\n%s", page, f.Name, f.Listing())
		}
	}
}

func TestDetect(t *testing.T) {
	p := "png 8×8"
	for want, files := range map[string]map[string]string{
		"yolo":   {"train/images/a.jpg": p, "train/labels/a.txt": "0 .5 .5 .1 .1", "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['x']\n"},
		"voc":    {"train/a.jpg": p, "train/a.xml": "<annotation><object><name>x</name></object></annotation>"},
		"coco":   {"result.json": `{"categories": [], "images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}`, "images/a.jpg": p},
		"masks":  {"train/a.png": p, "trainannot/a.png": p},
		"depth":  {"rgb/1.png": p, "depth/1.png": p},
		"images": {"a.jpg": p, "b/c.jpg": p},
		"multi":  {"images/a.jpg": p, "masks/a.png": p, "depth/a.npy": ""},
	} {
		dir := datatest.Folder(t, files)
		g, err := Detect(dir)
		if err != nil || len(g) == 0 || g[0].Source.Format != want {
			t.Errorf("want %s: %+v, %v", want, g, err)
		}
	}
	if g, err := Detect(t.TempDir()); err != nil || len(g) > 0 {
		t.Errorf("an empty folder: %+v, %v", g, err)
	}
	if _, err := Detect("no/such"); err == nil {
		t.Error("no folder")
	}
}
