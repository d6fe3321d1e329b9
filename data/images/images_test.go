package images

import (
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/data"
	"must/data/imagefile"
)

func write(t *testing.T, file string, w, h int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.png"), 3, 2)
	write(t, filepath.Join(dir, "deep", "er", "a.png"), 1, 1)
	write(t, filepath.Join(dir, "b.jpg"), 5, 4) // a PNG in truth
	os.WriteFile(filepath.Join(dir, "broken.png"), []byte("no"), 0o600)
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for i := range d.Len() {
		keys = append(keys, d.Key(i))
	}
	if got := strings.Join(keys, " "); got != "b.jpg b.png broken deep/er/a" {
		t.Errorf("keys %s", got)
	}
	s, err := d.Sample(0)
	if err != nil || s.Image.Rect.Dx() != 5 || s.Key != "b.jpg" {
		t.Errorf("%v, %v", s, err)
	}
	for _, task := range data.Tasks() {
		if s.Has(task) || d.Labels().Has(task) {
			t.Errorf("a plain image has %s", task)
		}
	}
	var broken *data.SampleError
	if _, err := d.Sample(2); !errors.As(err, &broken) || broken.Key != "broken" {
		t.Error(err)
	}
}

func TestOpenSplits(t *testing.T) {
	dir := t.TempDir()
	for i := range 60 {
		os.WriteFile(filepath.Join(dir, strings.Repeat("i", i+1)+".jpg"), nil, 0o600)
	}
	if d, err := Open(data.Source{Path: dir, Split: "train"}); err != nil || d.Len() != 60 {
		t.Errorf("all of an unlabelled folder is its train part: %v, %v", d, err)
	}
	if _, err := Open(data.Source{Path: dir, Split: "val"}); err == nil || !strings.Contains(err.Error(), "no val part") {
		t.Error(err)
	}
	n := 0
	for _, split := range imagefile.Splits { // with pseudo labels
		d, err := Open(data.Source{Path: dir, Split: split, Labels: "labels"})
		if err != nil {
			t.Fatal(err)
		}
		n += d.Len()
	}
	if n != 60 {
		t.Errorf("the splits hold %d of 60 images", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	empty := t.TempDir()
	for want, src := range map[string]data.Source{
		"no such folder": {Path: filepath.Join(empty, "absent")},
		"no images":      {Path: empty},
		"no subsets":     {Path: empty, Set: "x"},
		"train, val":     {Path: empty, Split: "trian"},
	} {
		if _, err := Open(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
