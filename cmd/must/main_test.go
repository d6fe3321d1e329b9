package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"must/data"
	"must/data/formats"
	"must/onnx/ort"
	"must/predictions"
	"must/recipe"
	"must/task/detection"
	"must/task/segmentation"
	"must/torch"
)

func TestMain(m *testing.M) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// must runs a command line that is to succeed, and returns what it printed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	var out, err bytes.Buffer
	if code := execute(args, &out, &err); code != 0 {
		t.Fatalf("must %s: exit status %d\n%s%s", strings.Join(args, " "), code, out.String(), err.String())
	}
	return out.String()
}

// fails runs a command line that is to fail with a message that says all of want.
func fails(t *testing.T, args []string, want ...string) {
	t.Helper()
	var out, err bytes.Buffer
	if code := execute(args, &out, &err); code != 1 {
		t.Errorf("must %s: exit status %d\n%s%s", strings.Join(args, " "), code, out.String(), err.String())
	}
	for _, w := range want {
		if !strings.Contains(err.String(), w) {
			t.Errorf("must %s: the error does not say %q:\n%s", strings.Join(args, " "), w, err.String())
		}
	}
}

func says(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q:\n%s", w, text)
		}
	}
}

func exists(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			t.Error(err)
		}
	}
}

func TestHelp(t *testing.T) {
	says(t, must(t), "must demo", "predict")
	for _, verb := range []string{"demo", "run", "train", "label", "eval", "eval network", "eval coco", "predict", "probe", "import", "export", "clean", "report", "data", "data show", "data convert", "data inspect", "recipe show", "doctor"} {
		says(t, must(t, append(strings.Fields(verb), "--help")...), "Examples:", "must "+strings.Fields(verb)[0])
	}
	says(t, must(t, "version"), "must "+recipe.Version)
	says(t, must(t, "--version"), "must "+recipe.Version)
}

func TestMistypedCommandLines(t *testing.T) {
	fails(t, []string{"rnu", "demo"}, `"run"`)
	fails(t, []string{"demo", "--sett", "a=b"}, "--set")
	fails(t, []string{"run"}, "<recipe>")
	fails(t, []string{"run", "missing.yaml"}, "missing.yaml", "demo")
	fails(t, []string{"run", "demo", "--set", "train.lrr=3", "--dry-run"}, "train.lrr", `"lr"`)
	fails(t, []string{"run", "demo", "--stage", "studen", "--dry-run"}, "studen", `"student"`)
	fails(t, []string{"data", "show", "crowd"}, "crowds")
	fails(t, []string{"data", "show", "--format", "imagefolders", "--path", "."}, `"imagefolder"`)
	fails(t, []string{"data", "show"}, "--format", "must data list")
	fails(t, []string{"predict", "missing.safetensors", "a.png"}, "missing.safetensors")
	fails(t, []string{"recipe", "show", "dem"}, "dem", "must recipes")
	fails(t, []string{"report", t.TempDir()}, "holds no run")
	fails(t, []string{"train", "--format", "images", "--path", t.TempDir(), "--out", t.TempDir()}, "no images")
}

func TestLooking(t *testing.T) {
	t.Chdir(t.TempDir())
	says(t, must(t, "data", "list"), "imagefolder", "voc", "room-normals")
	says(t, must(t, "data", "show", "stuff", "--images", "2"), filepath.Join("out", "show", "stuff.png"))
	exists(t, "out/show/stuff.png")
	says(t, must(t, "data", "inspect", "crowds", "--sample", "5", "--images", "2"), "5 of them looked at", "pyramid", filepath.Join("out", "inspect", "crowds.png"))
	exists(t, "out/inspect/crowds.png")
	says(t, must(t, "recipes"), "demo")
	says(t, must(t, "recipe", "show", "demo"), "name: demo", "stages:")
	os.WriteFile("tiny.yaml", []byte(tiny), 0o666)
	says(t, must(t, "run", "tiny.yaml", "--dry-run"), "train 8, val 4", "transfer", "runs", "2 steps of 4 on 8 images", "about ")
	var out, err bytes.Buffer
	if code := execute([]string{"run", "tiny.yaml", "--dry-run", "--set", "data.fine={format: voc, path: nowhere}"}, &out, &err); code != 1 {
		t.Errorf("a dry run without a set: exit status %d\n%s", code, err.String())
	}
	says(t, out.String(), "nowhere", "expected: Pascal VOC: Annotations", "2 steps of 4")
	if _, err := os.Stat("out/tiny"); err == nil {
		t.Error("a dry run makes a folder")
	}
}

const tiny = `
name: tiny
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
train: {batch: 4, epochs: 1}
data:
  objects: {format: scenes, subset: objects, size: 32, parts: {train: 8, val: 4, test: 4}}
  fine: {format: scenes, subset: fine, size: 32, parts: {train: 8, test: 4}}
stages:
  - name: teacher
    train: {data: [objects], tasks: [classification]}
  - name: transfer
    transfer: {from: {scratch: "", must: teacher}, sets: [{data: fine, task: classification}]}
quick: [teacher.with.steps=1, 'transfer.with={steps: 1}']
`

func TestRecipe(t *testing.T) {
	t.Chdir(t.TempDir())
	os.WriteFile("tiny.yaml", []byte(tiny), 0o666)
	says(t, must(t, "run", "tiny.yaml"), filepath.Join("out", "tiny", "report.html"), filepath.Join("out", "tiny", "results.json"), "scratch")
	says(t, must(t, "run", "tiny.yaml", "--dry-run"), "done")
	os.Remove("out/tiny/report.html")
	must(t, "report", "out/tiny")
	exists(t, "out/tiny/report.html")
	says(t, must(t, "run", "tiny.yaml", "--dry-run", "--set", "teacher.with.epochs=2"), "train.epochs 1 → 2", "stage teacher changed")

	// The shorter form has a folder of its own, and the report of the whole run stays.
	before, err := os.ReadFile("out/tiny/report.html")
	if err != nil {
		t.Fatal(err)
	}
	says(t, must(t, "run", "tiny.yaml", "--quick"), filepath.Join("out", "tiny", "quick", "report.html"))
	if after, err := os.ReadFile("out/tiny/report.html"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%v; the report of the whole run is another", err)
	}

	// Results of other settings stay until they are asked to go.
	says(t, must(t, "clean", "out/tiny"), "0 folders unused")
	must(t, "run", "tiny.yaml", "--stage", "teacher", "--set", "teacher.with.lr=0.5")
	says(t, must(t, "clean", "out/tiny"), "teacher@", "train.lr 0.02 → 0.5", "2 folders unused", "must clean out/tiny --remove")
	must(t, "run", "tiny.yaml")
	says(t, must(t, "clean", "out/tiny", "--remove"), "1 folders removed")
	says(t, must(t, "run", "tiny.yaml", "--dry-run"), "done")
	fails(t, []string{"clean", t.TempDir()}, "holds no run")
}

// One network goes through all verbs that take one.
func TestNetwork(t *testing.T) {
	t.Chdir(t.TempDir())
	train := []string{"train", "--format", "scenes", "--subset", "stuff", "--out", "net", "--size", "32", "--backbone", "resnet18", "--width", "0.125",
		"--batch", "4", "--epochs", "1", "--set", "model.fpn=8", "--set", "model.head=8", "--set", "model.box_fc=16", "--set", "data.data.parts={train: 8, val: 4}"}
	says(t, must(t, append(train, "--dry-run")...), "width: 0.125", "subset: stuff")
	model := filepath.Join("net", "train", "model.safetensors")
	says(t, must(t, train...), model, filepath.Join("net", "report.html"), "must predict "+model+" photo.jpg", "must export "+model+" --out", "must serve "+model)
	exists(t, model, "net/report.html", "net/train/pictures/detection-0-prediction.png")
	must(t, train...) // done before
	fails(t, append(train, "--lr", "0.3"), "net holds a run", "--out")

	says(t, must(t, "eval", model, "--format", "scenes", "--subset", "stuff", "--count", "3", "--classes"), "segmentation", "mIoU", "segmentation by class", "pixels  predicted", "accuracy  class", "3 images, 0 unreadable")
	fails(t, []string{"eval", model, "--format", "scenes", "--subset", "fine"}, "nothing to score")

	ds, err := formats.Open(data.Source{Format: "scenes", Set: "unlabelled", Split: "test", Count: 4})
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir("photos", 0o777)
	for i := range ds.Len() {
		s, err := ds.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		png.Encode(&b, s.Image)
		os.WriteFile(fmt.Sprintf("photos/%d.png", i), b.Bytes(), 0o666)
	}
	must(t, "label", "--teacher", model, "--path", "photos", "--out", "labels", "--preview", "2")
	exists(t, "labels/preview.png")
	says(t, must(t, "label", "--teacher", model, "--path", "photos", "--out", "labels", "--export", "coco,png"), "4 images", "pixels", filepath.Join("labels", "export", "coco"))
	exists(t, "labels/index.json", "labels/export/coco/instances.json", "labels/export/png/0.png")
	says(t, must(t, "label", "--teacher", model, "--path", "photos", "--out", "labels"), "4 images, 0 of them now")
	fails(t, []string{"label", "--teacher", model, "--path", "photos", "--out", "labels", "--threshold", "segmentation=0.9"}, "labels")
	fails(t, []string{"label", "--teacher", model, "--path", "photos", "--out", "other", "--threshold", "depth=0.9"}, "depth")
	must(t, "data", "show", "--format", "images", "--path", "photos", "--labels", "labels", "--out", "sheet.png")
	exists(t, "sheet.png")

	quality := []string{"label", "--teacher", model, "--format", "scenes", "--subset", "stuff", "--split", "test", "--count", "3", "--out", "quality", "--quality"}
	says(t, must(t, quality...), "precision", "coverage", "ece", "3 images")
	exists(t, "quality/quality.json")
	fails(t, []string{"label", "--teacher", model, "--path", "photos", "--out", "q", "--quality"}, "no true labels")

	probe := []string{"probe", model, "--format", "scenes", "--subset", "objects", "--count", "12", "--features", "features"}
	says(t, must(t, append(probe, "--knn", "1,3")...), "linear.top1", "knn3.top1", "learned from 12 images")
	exists(t, "features/train.npy", "features/test-classes.npy", "features/scores.json")
	fails(t, append(probe, "--knn", "0"), "neighbours")
	fails(t, []string{"probe", model, "--format", "scenes", "--subset", "stuff", "--count", "2"}, "no classes")

	fails(t, []string{"export", model, "--out", "net.pth"}, "ends in .onnx")
	fails(t, []string{"export", model, "--out", "net.pth", "--to", "torch"}, "torchvision has no ResNet-18 of width 0.125")
	if _, err := ort.Find(); err == nil {
		exported(t, model)
	}

	must(t, "predict", model, "photos/0.png", "photos")
	exists(t, "out/predict/0.png", "out/predict/0-2.json", "out/predict/3.segmentation.png")
	var p predictions.Prediction
	b, _ := os.ReadFile("out/predict/0.json")
	if err := json.Unmarshal(b, &p); err != nil || p.Width != 64 || p.Image != "photos/0.png" || p.Detection == nil || p.Segmentation == nil || p.Depth != nil {
		t.Errorf("%v: %s", err, b)
	}
	os.WriteFile("photos/broken.png", []byte("no picture"), 0o666)
	fails(t, []string{"predict", model, "photos"}, "broken.png", "1 of 5 images")
	fails(t, []string{"predict", model, "missing.png"}, "missing.png")
}

// A set goes through all formats of boxes and comes back with its classes in their order.
func TestConvert(t *testing.T) {
	t.Chdir(t.TempDir())
	convert := func(to, out string, args ...string) {
		t.Helper()
		says(t, must(t, append([]string{"data", "convert", "--to", to, "--out", out}, args...)...), out+": 5 images, 0 unreadable")
	}
	scenes := []string{"--format", "scenes", "--subset", "crowds", "--count", "5"}
	convert("coco", "coco", append(scenes, "--with-images")...)
	convert("yolo", "yolo", "--format", "coco", "--path", "coco", "--with-images")
	convert("voc", "voc", "--format", "yolo", "--path", "yolo", "--with-images")
	convert("coco", "again", "--format", "voc", "--path", "voc", "--with-images")
	convert("shards", "labels", "--format", "voc", "--path", "voc")
	open := func(s data.Source) data.Dataset {
		t.Helper()
		ds, err := formats.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	first := open(data.Source{Format: "scenes", Set: "crowds", Split: "train", Count: 5})
	for _, c := range []struct {
		set  data.Source
		near float64 // pixels; VOC has whole ones
	}{
		{data.Source{Format: "coco", Path: "coco", Split: "train"}, 1e-9},
		{data.Source{Format: "yolo", Path: "yolo", Split: "train"}, 1e-5},
		{data.Source{Format: "voc", Path: "voc", Split: "train"}, 0.51},
		{data.Source{Format: "coco", Path: "again", Split: "train"}, 0.51},
		{data.Source{Format: "images", Path: "voc/JPEGImages", Labels: "labels"}, 0.51},
	} {
		ds := open(c.set)
		if !slices.Equal(ds.Labels()[detection.Name].Classes, first.Labels()[detection.Name].Classes) || ds.Len() != 5 {
			t.Errorf("%s: %d images of %v", c.set.Format, ds.Len(), ds.Labels()[detection.Name].Classes)
		}
		for i := range ds.Len() {
			got, err := ds.Sample(i)
			want, _ := first.Sample(i)
			if err != nil || len(detection.Of(got)) != len(detection.Of(want)) || !bytes.Equal(got.Image.Pix, want.Image.Pix) {
				t.Fatalf("%s: sample %d: %v, %+v", c.set.Format, i, err, got)
			}
			for k, o := range detection.Of(got) {
				w := detection.Of(want)[k]
				if d := max(math.Abs(o.Box.X0-w.Box.X0), math.Abs(o.Box.Y0-w.Box.Y0), math.Abs(o.Box.X1-w.Box.X1), math.Abs(o.Box.Y1-w.Box.Y1)); o.Class != w.Class || d > c.near {
					t.Errorf("%s: object %d of sample %d is %+v, was %+v", c.set.Format, k, i, o, w)
				}
			}
		}
	}
	fails(t, append([]string{"data", "convert", "--to", "coco", "--out", "coco"}, scenes...), "coco", "not empty")
	fails(t, append([]string{"data", "convert", "--to", "png", "--out", "maps"}, scenes...), "no segmentation")
	fails(t, append([]string{"data", "convert", "--to", "npy", "--out", "maps", "--with-images"}, scenes...), "--with-images")
}

func TestEvalCOCO(t *testing.T) {
	t.Chdir(t.TempDir())
	os.WriteFile("truth.json", []byte(`{"images":[{"id":1,"width":10,"height":10}],"categories":[{"id":1,"name":"a"}],
		"annotations":[{"id":1,"image_id":1,"category_id":1,"bbox":[1,1,4,4],"area":16,"iscrowd":0}]}`), 0o666)
	os.WriteFile("results.json", []byte(`[{"image_id":1,"category_id":1,"bbox":[1,1,4,4],"score":0.9}]`), 0o666)
	says(t, must(t, "eval", "coco", "--truth", "truth.json", "--results", "results.json", "--classes"), "Average Precision", "1.000", "objects  predicted")
	fails(t, []string{"eval", "coco", "--truth", "truth.json", "--results", "truth.json"}, "truth.json")
}

// onText calls a function once, when a text is first written.
type onText struct {
	mu   sync.Mutex
	text string
	do   func()
	all  bytes.Buffer
}

func (w *onText) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(b)
	if w.do != nil && bytes.Contains(w.all.Bytes(), []byte(w.text)) {
		w.do()
		w.do = nil
	}
	return len(b), nil
}

// Ctrl-C and a closed terminal end with status 130, and the same command goes on.
func TestInterrupt(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) { interrupt(t, s) })
	}
}

func interrupt(t *testing.T, s syscall.Signal) {
	if signal.Ignored(s) {
		t.Skipf("%v is ignored here, as under nohup", s)
	}
	t.Chdir(t.TempDir())
	os.WriteFile("tiny.yaml", []byte(tiny), 0o666)
	stderr := &onText{text: "teacher: 0/", do: func() { syscall.Kill(os.Getpid(), s) }}
	var out bytes.Buffer
	args := []string{"run", "tiny.yaml", "--stage", "teacher", "--set", "teacher.with.steps=400"}
	if code := execute(args, &out, stderr); code != interrupted {
		t.Errorf("exit status %d", code)
	}
	says(t, stderr.all.String(), "Ctrl-C again", "must run tiny.yaml --stage teacher")
	exists(t, "out/tiny/teacher/state.safetensors")
	args[len(args)-1] = "teacher.with.steps=400"
	says(t, must(t, append(args, "--dry-run")...), "resumes")
}

func TestCommandLine(t *testing.T) {
	if got := commandLine([]string{"run", "a b.yaml", "--set", "x=[1, 2]", "it's", ""}); got != `run 'a b.yaml' --set 'x=[1, 2]' 'it'\''s' ''` {
		t.Error(got)
	}
}

// exported checks that what must export writes labels photos as the network does, and so does the engine
// that runs it.
func exported(t *testing.T, model string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	says(t, must(t, "export", model, "--out", "net.onnx", "--prove-on", "photos"), "16 images in ONNX Runtime", "boxes", "written: net.onnx", "beside:  net.teacher.yaml", "beside:  net.py")
	must(t, "label", "--teacher", "net.teacher.yaml", "--path", "photos", "--out", "labels-onnx")
	must(t, "label", "--teacher", model, "--path", "photos", "--out", "labels-engine", "--engine", "onnxruntime")
	says(t, must(t, "label", "--teacher", model, "--path", "photos", "--out", "labels-engine"), "0 of them now") // another engine, the same labels
	read := func(dir string) data.Dataset {
		set, err := formats.Open(data.Source{Format: "images", Path: "photos", Labels: dir})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	want := read("labels")
	for _, dir := range []string{"labels-onnx", "labels-engine"} {
		got := read(dir)
		for i := range want.Len() {
			a, err := want.Sample(i)
			if err != nil {
				t.Fatal(err)
			}
			b, err := got.Sample(i)
			if err != nil {
				t.Fatal(err)
			}
			m, n := segmentation.Of(a), segmentation.Of(b)
			other := 0
			for k, c := range m.Pix {
				if n.Pix[k] != c {
					other++
				}
			}
			if other > len(m.Pix)/500 || len(detection.Of(a)) != len(detection.Of(b)) {
				t.Errorf("%s, image %d: %d pixels are others, %d objects, want %d", dir, i, other, len(detection.Of(b)), len(detection.Of(a)))
			}
		}
	}
}

func TestCutShortIsSaid(t *testing.T) {
	dir := t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i >> 7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "half.jpg"), b.Bytes()[:b.Len()*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	if code := execute([]string{"data", "inspect", "--format", "images", "--path", dir, "--images", "0"}, &out, &said); code != 0 {
		t.Errorf("exit status %d", code)
	}
	says(t, said.String(), "1 JPEG cut short", "half.jpg")
}
