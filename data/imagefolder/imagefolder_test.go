package imagefolder

import (
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"must/data"
	"must/data/imagefile"
	"must/task/classification"
	"must/task/detection"
)

// folder makes a folder with 1×1 images of the given names; a name ending in / is an empty folder.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			os.MkdirAll(file, 0o755)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return dir
}

func TestOpen(t *testing.T) {
	withSplits := folder(t,
		"train/cat/1.jpg", "train/cat/more/2.png", "train/dog/1.JPEG", "train/.cache/x.png", "train/stray.jpg",
		"test/dog/1.jpg", "test/eel/9.jpg", "LICENSE.png", "valid/cat/7.png")
	trap := folder(t, "car/1.png", "train/1.png", "test/1.png") // vehicles, not splits
	for _, c := range []struct {
		src     data.Source
		classes []string
		keys    []string // key:class
	}{
		{data.Source{Path: withSplits, Split: "train"}, []string{"cat", "dog", "eel"}, []string{"train/cat/1:0", "train/cat/more/2:0", "train/dog/1:1"}},
		{data.Source{Path: withSplits, Split: "test"}, []string{"cat", "dog", "eel"}, []string{"test/dog/1:1", "test/eel/9:2"}},
		{data.Source{Path: withSplits, Split: "val"}, []string{"cat", "dog", "eel"}, []string{"valid/cat/7:0"}},
		{data.Source{Path: filepath.Join(withSplits, "train")}, []string{"cat", "dog"}, []string{"cat/1:0", "cat/more/2:0", "dog/1:1"}},
		{data.Source{Path: trap}, []string{"car", "test", "train"}, []string{"car/1:0", "test/1:1", "train/1:2"}},
	} {
		d, err := Open(c.src)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := d.Labels(); !reflect.DeepEqual(got, data.Labels{classification.Name: {Classes: c.classes}}) {
			t.Errorf("%+v: labels %+v", c.src, got)
		}
		var keys []string
		for i := range d.Len() {
			s, err := d.Sample(i)
			if err != nil {
				t.Fatal(err)
			}
			var sum float32
			class := -1
			for k, p := range classification.Of(s) {
				if sum += p; p == 1 {
					class = k
				}
			}
			if s.Key != d.Key(i) || sum != 1 || len(classification.Of(s)) != len(c.classes) || s.Has(detection.Name) {
				t.Errorf("%+v", s)
			}
			keys = append(keys, fmt.Sprintf("%s:%d", s.Key, class))
		}
		if !reflect.DeepEqual(keys, c.keys) {
			t.Errorf("%+v: got %v, want %v", c.src, keys, c.keys)
		}
	}
}

func TestOpenWithoutSplitFolders(t *testing.T) {
	var names []string
	for i := range 80 {
		names = append(names, fmt.Sprintf("class%d/%d.png", i%2, i))
	}
	dir := folder(t, names...)
	seen := map[string]bool{}
	for _, split := range imagefile.Splits {
		d, err := Open(data.Source{Path: dir, Split: split})
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Labels()[classification.Name].Classes) != 2 {
			t.Errorf("%s has classes %v", split, d.Labels()[classification.Name].Classes)
		}
		for i := range d.Len() {
			seen[d.Key(i)] = true
		}
	}
	if len(seen) != 80 {
		t.Errorf("the splits hold %d of 80 images", len(seen))
	}
}

func TestOpenRefuses(t *testing.T) {
	flat := folder(t, "a.png")
	splits := folder(t, "train/a/1.png", "test/a/1.png")
	for want, src := range map[string]data.Source{
		"no such folder":        {Path: filepath.Join(flat, "absent")},
		"format images":         {Path: flat},
		"no images":             {Path: folder(t, "a/", "b/")},
		"no subsets":            {Path: splits, Set: "x", Split: "train"},
		"folders are train, te": {Path: splits, Split: "val"},
		`split is ""`:           {Path: splits},
		`split is "dev"`:        {Path: folder(t, "a/1.png"), Split: "dev"},
	} {
		if _, err := Open(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
