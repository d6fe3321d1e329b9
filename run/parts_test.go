package run

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder writes an image folder with some parts, two classes of two images each.
func folder(t *testing.T, parts ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, part := range parts {
		for class, shade := range map[string]uint8{"dark": 40, "light": 200} {
			dir := filepath.Join(root, part, class)
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a.png", "b.png"} {
				img := image.NewGray(image.Rect(0, 0, 32, 32))
				for i := range img.Pix {
					img.Pix[i] = shade
				}
				img.SetGray(0, 0, color.Gray{name[0]})
				var b bytes.Buffer
				if err := png.Encode(&b, img); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return root
}

const folders = `
name: folders
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8}
train: {batch: 4, steps: 1}
data:
  own: {format: imagefolder, path: PATH}
stages:
  - name: net
    train: {data: [own], tasks: [classification]}
`

// What a set has is scored: its val part, else its test part, and it is said which.
func TestWhatIsThereIsScored(t *testing.T) {
	for _, c := range []struct {
		parts []string
		want  string
	}{
		{[]string{"train", "val", "test"}, "on the val part"},
		{[]string{"train", "test"}, "own has no val part: its test part is scored in its place"},
		{[]string{"train"}, "not scored: data set own has neither a val nor a test part"},
	} {
		text := strings.Replace(folders, "PATH", folder(t, c.parts...), 1)
		out := t.TempDir()
		said := runAll(t, load(t, out, text))
		if !strings.Contains(said, c.want) {
			t.Errorf("%v: it does not say %q:\n%s", c.parts, c.want, said)
		}
		b, err := os.ReadFile(filepath.Join(out, "net", "results.json"))
		if scored := strings.Contains(string(b), "top1"); err != nil || scored != (len(c.parts) > 1) {
			t.Errorf("%v: %v, results are %s", c.parts, err, b)
		}
		// The folder's own recipe says what was scored, and the given one is found done.
		again, err := Open(out)
		if err != nil || !again.Ended("net") {
			t.Errorf("%v: %v; by its own recipe the stage is not done", c.parts, err)
		}
		if n := passed(runAll(t, load(t, out, text))); len(n) != 1 {
			t.Errorf("%v: the stage is run again", c.parts)
		}
	}
}

// A val part that is there and cannot be read is no set without one.
func TestUnreadableValPart(t *testing.T) {
	root := folder(t, "train", "val", "test")
	text := strings.NewReplacer("imagefolder", "yolo", "PATH", root, "classification", "detection").Replace(folders)
	files := map[string]string{"data.yaml": "names: [a]\ntrain: images/train\nval: images/val\n", "images/train/a.png": "", "labels/train/a.txt": "0 0.5 0.5 0.2 0.2\n"}
	b, err := os.ReadFile(filepath.Join(root, "train", "dark", "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	files["images/train/a.png"] = string(b)
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	r := load(t, t.TempDir(), text)
	plan, err := r.Plan(t.Context(), os.ErrInvalid)
	if err != nil || plan.Faults() == 0 || !strings.Contains(plan.Text(), "images/val") {
		t.Errorf("%v; the dry run says\n%s", err, plan.Text())
	}
	if err := load(t, r.Out, text).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "val part") {
		t.Errorf("it trains without the val part: %v", err)
	}
}

// spoil makes images of a folder unreadable.
func spoil(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(n)), []byte("no picture"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// A large share of unreadable images stops a stage; a smaller one is told of.
func TestUnreadableImages(t *testing.T) {
	root := folder(t, "train", "val")
	text := strings.Replace(folders, "PATH", root, 1)
	out := t.TempDir()
	spoil(t, root, "train/dark/a.png")
	said := runAll(t, load(t, out, text, "train.epochs=1", "train.steps=0"))
	if !strings.Contains(said, "net: 1 of 4 images of own (train part) could not be read") {
		t.Errorf("it does not say what is unreadable:\n%s", said)
	}
	for _, file := range []string{ResultsFile, ReportFile, filepath.Join("net", doneFile)} {
		b, err := os.ReadFile(filepath.Join(out, file))
		if text := string(b); err != nil || !strings.Contains(text, "1 of 4 images of own") && !strings.Contains(text, `"broken": 1`) && !strings.Contains(text, `"broken":1`) {
			t.Errorf("%v: %s does not say it", err, file)
		}
	}
	plan, err := load(t, out, text, "train.epochs=1", "train.steps=0").Plan(t.Context(), os.ErrInvalid)
	if err != nil || !strings.Contains(plan.Text(), "1 of 4 images of own (train part) could not be read") {
		t.Errorf("%v: the dry run does not say it:\n%s", err, plan.Text())
	}

	spoil(t, root, "train/dark/b.png", "train/light/a.png")
	err = load(t, t.TempDir(), text, "train.epochs=1", "train.steps=0").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "3 of its 4 images cannot be read so far, more than the share of 0.1 that max_broken allows") {
		t.Errorf("most images are unreadable: %v", err)
	}
	runAll(t, load(t, t.TempDir(), text, "train.epochs=1", "train.steps=0", "max_broken=1"))
}

// Nothing is trained without one labelled image, and how many there are is said.
func TestLabelledImages(t *testing.T) {
	root := folder(t, "train")
	text := strings.NewReplacer("imagefolder", "coco", "PATH", filepath.Join(root, "labels.json"), "classification", "detection", "name: net", "name: net").Replace(folders)
	write := func(annotations string) {
		json := `{"images": [{"id": 1, "file_name": "train/dark/a.png", "width": 32, "height": 32}, {"id": 2, "file_name": "train/dark/b.png", "width": 32, "height": 32}],
			"categories": [{"id": 1, "name": "x"}], "annotations": [` + annotations + `]}`
		if err := os.WriteFile(filepath.Join(root, "labels.json"), []byte(json), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "area": 64, "iscrowd": 0}`)
	small := []string{"detection={rois: 8, pre_nms: 20, post_nms: 10, max_objects: 5}", "model.box_fc=16", "data.own.images_folder=" + root}
	said := runAll(t, load(t, t.TempDir(), text, small...))
	if !strings.Contains(said, "net: labels of 2 images: detection 2") {
		t.Errorf("it does not say how many images carry labels:\n%s", said)
	}
	plan, err := load(t, t.TempDir(), text, small...).Plan(t.Context(), os.ErrInvalid)
	if err != nil || !strings.Contains(plan.Text(), "labels of 2 images: detection 2") {
		t.Errorf("%v: the dry run does not say it:\n%s", err, plan.Text())
	}
}
