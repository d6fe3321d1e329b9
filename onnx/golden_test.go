package onnx

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"must/data"
	"must/onnx/ort"
	"must/predict"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/torch/goldentest"
)

// needRuntime skips a test where there is no ONNX Runtime.
func needRuntime(t testing.TB) {
	t.Helper()
	if _, err := ort.Open(); err != nil {
		if missing := (*ort.NotFoundError)(nil); errors.As(err, &missing) {
			t.Skip("no ONNX Runtime here, so no model is run: `make onnxruntime` fetches one")
		}
		t.Fatal(err)
	}
}

// declaration reads one of testdata.
func declaration(t testing.TB, name string) Declaration {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var d Declaration
	if err := yaml.UnmarshalWithOptions(b, &d, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return d
}

// pixels are the images of make_models.py.
func pixels(n, h, w int) predict.Images {
	pix := make([]uint8, n*3*h*w)
	for i := range pix {
		pix[i] = uint8(i*37 + i*i/11)
	}
	return predict.Images{Pix: pix, N: n, H: h, W: w}
}

type object struct {
	Box   [4]float64
	Score float64
	Class int
	Mask  []uint8
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*max(1, math.Abs(b)) }

// TestGolden compares what teachers see with Python's onnxruntime and numpy.
func TestGolden(t *testing.T) {
	needRuntime(t)
	var cases []struct {
		Declaration string
		N, H, W     int
		Classes     [][]float64
		Objects     [][]object
		Semantic    [][]int
		Confidence  [][]float64
		Depth       [][]*float64
		Normals     [][]float64
	}
	goldentest.Read(t, &cases)
	for _, c := range cases {
		t.Run(c.Declaration, func(t *testing.T) {
			teacher, err := Open(declaration(t, c.Declaration), Options{Dir: "testdata"})
			if err != nil {
				t.Fatal(err)
			}
			defer teacher.Free()
			preds, err := teacher.See(pixels(c.N, c.H, c.W))
			if err != nil {
				t.Fatal(err)
			}
			if len(preds) != c.N || !preds[0].Has(teacher.d.Task) {
				t.Fatalf("%d predictions", len(preds))
			}
			for i, p := range preds {
				switch teacher.d.Task {
				case classification.Name:
					numbers(t, classification.Of(p), c.Classes[i], 1e-5)
				case segmentation.Name:
					for k, want := range c.Semantic[i] {
						if int(segmentation.Of(p).Pix[k]) != want {
							t.Fatalf("image %d, pixel %d: class %d, want %d", i, k, segmentation.Of(p).Pix[k], want)
						}
					}
					numbers(t, segmentation.Confidence(p).Pix, c.Confidence[i], 1e-5)
				case depth.Name:
					for k, want := range c.Depth[i] {
						got := float64(depth.Of(p).Pix[k])
						if want == nil != math.IsNaN(got) || want != nil && !near(got, *want, 1e-5) {
							t.Fatalf("image %d, pixel %d: %v, want %v", i, k, got, want)
						}
					}
				case normals.Name:
					var flat []float32
					for _, v := range normals.Of(p).Pix {
						flat = append(flat, v[:]...)
					}
					numbers(t, flat, c.Normals[i], 1e-5)
				case detection.Name:
					objects(t, detection.Of(p), c.Objects[i])
				}
			}
		})
	}
}

func numbers(t *testing.T, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i := range want {
		if !near(float64(got[i]), want[i], tolerance) {
			t.Fatalf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func objects(t *testing.T, got []data.Object, want []object) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d objects, want %d", len(got), len(want))
	}
	for i, w := range want {
		o := got[i]
		for k, v := range [4]float64{o.Box.X0, o.Box.Y0, o.Box.X1, o.Box.Y1} {
			if !near(v, w.Box[k], 1e-4) {
				t.Fatalf("object %d: box %v, want %v", i, o.Box, w.Box)
			}
		}
		if o.Class != w.Class || !near(float64(o.Score), w.Score, 1e-5) {
			t.Fatalf("object %d: class %d of score %v, want %d of %v", i, o.Class, o.Score, w.Class, w.Score)
		}
		if w.Mask != nil && !slices.Equal(o.Mask.Pix, w.Mask) {
			t.Fatalf("object %d: mask %v, want %v", i, o.Mask.Pix, w.Mask)
		}
	}
}

// TestAtOnce asks for the same images one by one and in a batch.
func TestAtOnce(t *testing.T) {
	needRuntime(t)
	teacher, err := Open(declaration(t, "class.teacher.yaml"), Options{Dir: "testdata"})
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Free()
	images := pixels(5, 8, 8)
	all, err := teacher.See(images)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		one, err := teacher.See(predict.Images{Pix: images.Pix[i*192:][:192], N: 1, H: 8, W: 8}, classification.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(classification.Of(one[0]), classification.Of(all[i])) {
			t.Errorf("image %d: %v alone, %v in a batch", i, classification.Of(one[0]), classification.Of(all[i]))
		}
	}
	none, err := teacher.See(images, depth.Name)
	if err != nil || classification.Of(none[0]) != nil {
		t.Errorf("asked for depth, it sees %v, %v", none[0], err)
	}
}

// TestSpaces maps a model's classes to a recipe's.
func TestSpaces(t *testing.T) {
	needRuntime(t)
	open := func(name string, space []string, table map[string]string) *Teacher {
		t.Helper()
		d := declaration(t, name)
		d.Map = table
		teacher, err := Open(d, Options{Dir: "testdata", Space: space})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(teacher.Free)
		return teacher
	}
	see := func(teacher *Teacher, h, w int) *data.Sample {
		t.Helper()
		p, err := teacher.See(pixels(1, h, w))
		if err != nil {
			t.Fatal(err)
		}
		return p[0]
	}

	// bee .768 and cat .218 become an insect and a pet; ant is unknown.
	space := []string{"pet", "insect", "robot"}
	c := open("class.teacher.yaml", space, map[string]string{"bee": "insect", "cat": "pet", "dog": "pet"})
	if got := c.Knows()[classification.Name].Classes; !slices.Equal(got, space) {
		t.Errorf("it knows %v", got)
	}
	sum := 1 - 0.0116449
	numbers(t, classification.Of(see(c, 8, 8)), []float64{(0.2182902 + 0.002134922) / sum, 0.76793 / sum, 0}, 1e-5)
	// Most of it on classes that the space lacks: unknown.
	if p := see(open("class.teacher.yaml", []string{"cat"}, nil), 8, 8); classification.Of(p) != nil {
		t.Errorf("an image of a bee is %v in a space without", classification.Of(p))
	}

	p := see(open("yolo8.teacher.yaml", []string{"ant", "wasp"}, nil), 16, 16)
	if len(detection.Of(p)) == 0 || !slices.Equal(detection.Unknown(p), []int{1}) {
		t.Errorf("%d objects, unknown %v", len(detection.Of(p)), detection.Unknown(p))
	}
	for _, o := range detection.Of(p) {
		if o.Class != 0 {
			t.Errorf("an object of class %d", o.Class)
		}
	}

	p = see(open("segment.teacher.yaml", []string{"wasp", "cat"}, nil), 8, 12)
	if got := segmentation.Of(p).Pix[:7]; !slices.Equal(got, []uint8{1, 1, 1, 1, 1, 255, 255}) { // ant is none of the space
		t.Errorf("pixels %v", got)
	}

	for name, c := range map[string]struct {
		space []string
		table map[string]string
		want  string
	}{
		"no space":     {nil, map[string]string{"ant": "bee"}, "spaces"},
		"no such":      {[]string{"ant"}, map[string]string{"elk": "ant"}, `no class "elk"`},
		"nothing same": {[]string{"elk"}, nil, "none of the model's classes"},
	} {
		d := declaration(t, "class.teacher.yaml")
		d.Map = c.table
		if _, err := Open(d, Options{Dir: "testdata", Space: c.space}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "map") {
			t.Errorf("%s: error %v does not mention %q", name, err, c.want)
		}
	}
}

// TestSettings tells declarations apart whose labels differ, and only those.
func TestSettings(t *testing.T) {
	needRuntime(t)
	settings := func(change func(d *Declaration)) string {
		t.Helper()
		d := declaration(t, "yolo8.teacher.yaml")
		change(&d)
		teacher, err := Open(d, Options{Dir: "testdata"})
		if err != nil {
			t.Fatal(err)
		}
		defer teacher.Free()
		if len(teacher.SHA256) != 64 {
			t.Errorf("hash %q", teacher.SHA256)
		}
		return string(teacher.Settings())
	}
	usual := settings(func(*Declaration) {})
	if same := settings(func(d *Declaration) { d.NMS, d.Boxes, d.Fit = new(0.5), "cxcywh", predict.Letterbox }); same != usual {
		t.Errorf("what is usual, written out, gives\n%s, not\n%s", same, usual)
	}
	if other := settings(func(d *Declaration) { d.NMS = new(0.6) }); other == usual {
		t.Error("another NMS gives the same settings")
	}
}

// TestRefuses has models that do not fit what is declared, and files that are none.
func TestRefuses(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	whole, err := os.ReadFile("testdata/yolo8.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"cut.onnx": whole[:len(whole)/2], "empty.onnx": nil, "text.onnx": []byte("<html>not found</html>")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		from   string
		change func(d *Declaration)
		want   []string
	}{
		"cut short":       {"yolo8", func(d *Declaration) { d.ONNX = filepath.Join(dir, "cut.onnx") }, []string{"cut.onnx"}},
		"empty":           {"yolo8", func(d *Declaration) { d.ONNX = filepath.Join(dir, "empty.onnx") }, []string{"empty.onnx"}},
		"a page":          {"yolo8", func(d *Declaration) { d.ONNX = filepath.Join(dir, "text.onnx") }, []string{"text.onnx"}},
		"no file":         {"yolo8", func(d *Declaration) { d.ONNX = "gone.onnx" }, []string{"gone.onnx"}},
		"other size":      {"yolo8", func(d *Declaration) { d.Size = Size{32, 32} }, []string{"size is 32×32", "images float32[1, 3, 16, 16]", "output0 float32[1, 6, 64]"}},
		"no size":         {"segment", func(d *Declaration) { d.Size = Size{} }, []string{"size is missing", "x float32[?, 3, ?, ?]"}},
		"keep":            {"yolo8", func(d *Declaration) { d.Fit = predict.Keep }, []string{"fit is keep"}},
		"classes":         {"yolo8", func(d *Declaration) { d.Classes.List = []string{"a", "b", "c", "d"} }, []string{"check classes", "output0"}},
		"more classes":    {"class", func(d *Declaration) { d.Classes = Names{List: []string{"a", "b"}} }, []string{"logits gave [1 4]", "2 classes"}},
		"pixel classes":   {"segment", func(d *Declaration) { d.Classes.List = []string{"a", "b"} }, []string{"out gave", "check classes"}},
		"no output":       {"segment", func(d *Declaration) { d.Outputs = map[string]string{"segmentation": "uot"} }, []string{`no output "uot"`, "aux float32"}},
		"wrong role":      {"rcnn", func(d *Declaration) { d.Outputs = map[string]string{"boxes": "masks"} }, []string{"masks gave"}},
		"other layout":    {"yolo8", func(d *Declaration) { d.Layout = detr }, []string{"outputs.scores: say which"}},
		"other task":      {"yolo8", func(d *Declaration) { *d = Declaration{ONNX: d.ONNX, Task: normals.Name} }, []string{"output0 gave [1 6 64]", "want [1, 3, height, width]"}},
		"no such input":   {"detr", func(d *Declaration) { d.Inputs = map[string]string{"picture": image} }, []string{`called "picture"`, "pixel_values float32"}},
		"input open":      {"detr", func(d *Declaration) { delete(d.Inputs, "sizes") }, []string{"what sizes int64[?, 2] is given"}},
		"batch":           {"yolo8", func(d *Declaration) { d.Batch = 4 }, []string{"batch is 4"}},
		"mean of bytes":   {"bytes", func(d *Declaration) { d.Mean = []float64{1, 2, 3} }, []string{"takes bytes"}},
		"no number":       {"normals", func(d *Declaration) { d.ONNX = "nan.onnx" }, []string{"every value of output y"}},
		"infinite by std": {"class", func(d *Declaration) { d.Std = []float64{0, 0, 0} }, []string{"std is"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := declaration(t, c.from+".teacher.yaml")
			c.change(&d)
			teacher, err := Open(d, Options{Dir: "testdata"})
			if err == nil {
				teacher.Free()
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not mention %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestDamaged loads a model with bytes changed or cut: an error or a teacher, never a crash.
func TestDamaged(t *testing.T) {
	needRuntime(t)
	whole, err := os.ReadFile("testdata/detr.onnx")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	for i := range 60 {
		b := slices.Clone(whole[:len(whole)-i*len(whole)/120])
		for k := range i % 7 {
			b[(i*7919+k*104729)%len(b)] ^= uint8(1 << (k % 8))
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		d := declaration(t, "detr.teacher.yaml")
		d.ONNX = path
		if teacher, err := Open(d, Options{}); err == nil {
			teacher.Free()
		}
	}
}

func BenchmarkSee(b *testing.B) {
	needRuntime(b)
	for _, name := range []string{"class", "yolo8", "segment"} {
		b.Run(name, func(b *testing.B) {
			teacher, err := Open(declaration(b, name+".teacher.yaml"), Options{Dir: "testdata", Threads: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer teacher.Free()
			v := teacher.View()
			images := pixels(1, v.H, v.W)
			for b.Loop() {
				if _, err := teacher.See(images); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleDeclaration() {
	var d Declaration
	err := yaml.Unmarshal([]byte("{onnx: yolov8n.onnx, task: detection, layout: yolo, classes: [person, bicycle], size: [384, 640]}"), &d)
	fmt.Println(d.Check(), err, d.Classes.List, d.Size)
	// Output: <nil> <nil> [person bicycle] {384 640}
}
