package onnx

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"must/onnx/ort"
	"must/predict"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
)

// parse reads a declaration in flow style, with what every one needs.
func parse(t *testing.T, text string) (d Declaration, err error) {
	t.Helper()
	err = yaml.UnmarshalWithOptions([]byte("{onnx: m.onnx, "+text+"}"), &d, yaml.Strict())
	return d, err
}

func TestCheck(t *testing.T) {
	const detector = "task: detection, classes: [a], layout: "
	for text, want := range map[string]string{
		"task: depth, units: inverse":                                "",
		"task: depth, units: metric, scale: 0.001, size: [384, 512]": "",
		"task: normals, signs: [1, -1, -1], fit: keep, multiple: 14": "",
		"task: classification, classes: names.txt, channels: BGR":    "",
		detector + "torchvision, outputs: {masks: m}, nms: 0.5":      "",
		detector + "detr, values: probabilities, relative: false":    "",
		"task: deep":               "task is",
		"task: depth":              "units is",
		"task: depth, units: feet": "units is",
		"task: depth, units: inverse, classes: [a]":                   "classes is for",
		"task: depth, units: inverse, layout: yolo":                   "layout is for",
		"task: depth, units: inverse, values: logits":                 "values is",
		"task: depth, units: inverse, scale: -1":                      "scale is",
		"task: classification":                                        "", // the model may carry them
		"task: classification, classes: [a], values: vectors":         "values is",
		"task: detection, classes: [a]":                               "layout is",
		detector + "yolo, boxes: corners":                             "boxes is",
		detector + "yolo, nms: 2":                                     "nms is",
		detector + "yolo, score: -1":                                  "score is",
		detector + "yolo, values: logits":                             "values is",
		detector + "yolo, outputs: {boxes: b}":                        "outputs",
		detector + "yolo, max_objects: -1":                            "max_objects is",
		"task: normals, mean: [0.5]":                                  "mean is",
		"task: normals, std: [0.5, 0, 0.5]":                           "std is",
		"task: normals, signs: [1, 2, 1]":                             "signs is",
		"task: normals, range: 2":                                     "range is",
		"task: normals, fit: crop":                                    "fit is",
		"task: normals, size: 4":                                      "size is",
		"task: normals, size: [8, 8, 8]":                              "size is",
		"task: normals, channels: GRB":                                "channels is",
		"task: normals, inputs: {x: picture}":                         "inputs",
		"task: normals, size: [9000, 8]":                              "size is",
		"task: segmentation, classes: [a], labels_offset: 2000":       "labels_offset is",
		"task: normals, batch: -2":                                    "batch is",
		"task: depth, units: inverse, signs: [1, 1, 1]":               "signs is for",
		"task: normals, mean: [.nan, 0, 0]":                           "mean is",
		"task: segmentation, classes: [a], map: {a: b}, values: none": "values is",
	} {
		d, err := parse(t, text)
		if err == nil {
			err = d.Check()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want one that mentions %q", text, err, want)
		}
	}
	if err := (&Declaration{Task: "depth", Units: "inverse"}).Check(); err == nil || !strings.Contains(err.Error(), "onnx is missing") {
		t.Errorf("error %v", err)
	}
}

// TestRoundTrip writes declarations, as recipes are kept, and reads them back.
func TestRoundTrip(t *testing.T) {
	for _, text := range []string{
		"task: depth, units: inverse, size: 384, outputs: {depth: \"797\"}",
		"task: detection, layout: yolo, classes: [a, b], size: [384, 640], nms: 0, relative: true",
		"task: classification, classes: names.txt, mean: [0.5, 0.25, 0.125]",
	} {
		d, err := parse(t, text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := yaml.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again Declaration
		if err := yaml.UnmarshalWithOptions(b, &again, yaml.Strict()); err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		other, err := yaml.Marshal(again)
		if err != nil || string(other) != string(b) || again.Check() != nil {
			t.Errorf("written and read, %s is\n%s", b, other)
		}
		if strings.Contains(string(b), "range") || strings.Contains(string(b), "labels_offset") {
			t.Errorf("what was left out is written:\n%s", b)
		}
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("good.txt", "ant\r\n\nbee keeper\n")
	write("twice.txt", "ant\nbee\nant\n")
	write("empty.txt", "\n")
	write("large.txt", strings.Repeat("x", maxNamesFile+1))
	d := Declaration{ONNX: "m.onnx", Task: "classification", Classes: Names{File: "good.txt"}}
	if err := d.complete(dir); err != nil || !slices.Equal(d.Classes.List, []string{"ant", "bee keeper"}) {
		t.Errorf("%q, %v", d.Classes.List, err)
	}
	for file, want := range map[string]string{"twice.txt": `classes 0 and 2 are both called "ant"`, "empty.txt": "none", "gone.txt": "gone.txt", "large.txt": "too many"} {
		d := Declaration{ONNX: "m.onnx", Task: "classification", Classes: Names{File: file}}
		err := d.complete(dir)
		if err == nil {
			err = d.name("")
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "classes") {
			t.Errorf("%s: error %v, want %q", file, err, want)
		}
	}
}

func TestCarriedNames(t *testing.T) {
	for text, want := range map[string]string{
		`{0: 'person', 1: "bull's eye"}`: "",
		"":                               "carries no names",
		"{":                              "carries no names",
		`["person", "bull's eye"]`:       "",
		"{0: a, 2: b}":                   "lack class 1",
		"{0: a, 1: a}":                   "both called",
	} {
		d := Declaration{Task: "detection"}
		err := d.name(text)
		if want == "" && (err != nil || !slices.Equal(d.Classes.List, []string{"person", "bull's eye"})) {
			t.Errorf("%s: %q, %v", text, d.Classes.List, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v does not mention %q", text, err, want)
		}
	}
}

// TestPlan fits declarations to inputs and outputs of the usual models.
func TestPlan(t *testing.T) {
	port := func(name string, shape ...int64) ort.Port {
		return ort.Port{Name: name, Type: ort.Float32, Shape: shape}
	}
	plan := func(text string, inputs, outputs []ort.Port) (*plan, error) {
		t.Helper()
		d, err := parse(t, text)
		if err == nil {
			err = d.complete("")
		}
		if err != nil {
			t.Fatal(err)
		}
		return newPlan(&d, inputs, outputs)
	}
	for name, c := range map[string]struct {
		text            string
		inputs, outputs []ort.Port
		view            predict.View
		batch           int
		last, single    bool
		read            string
	}{
		"MiDaS": {"task: depth, units: inverse", []ort.Port{port("0", 1, 3, 256, 256)}, []ort.Port{port("797", 1, 256, 256)},
			predict.View{W: 256, H: 256, Fit: predict.Stretched}, 1, false, false, "797"},
		"Depth Anything": {"task: depth, units: inverse, size: 518, fit: keep, multiple: 14", []ort.Port{port("pixel_values", -1, 3, -1, -1)}, []ort.Port{port("predicted_depth", -1, -1, -1)},
			predict.View{W: 518, H: 518, Fit: predict.Keep, Multiple: 14}, 0, false, false, "predicted_depth"},
		"YOLOv8": {"task: detection, layout: yolo, classes: [a], batch: 1, size: [384, 640]", []ort.Port{port("images", -1, 3, -1, -1)}, []ort.Port{port("output0", -1, 5, -1)},
			predict.View{W: 640, H: 384, Fit: predict.Letterbox}, 1, false, false, "output0"},
		"TensorFlow": {"task: classification, classes: [a]", []ort.Port{port("input_1", -1, 224, 160, 3)}, []ort.Port{port("probs", -1, 1)},
			predict.View{W: 160, H: 224, Fit: predict.Stretched}, 0, true, false, "probs"},
		"torchvision detector": {"task: detection, layout: torchvision, classes: [a], size: 800", []ort.Port{port("input", 3, -1, -1)},
			[]ort.Port{port("boxes", -1, 4), port("labels", -1), port("scores", -1), port("masks", -1, 1, -1, -1)},
			predict.View{W: 800, H: 800, Fit: predict.Letterbox}, 1, false, true, "boxes labels scores masks"},
		"torchvision detector without names": {"task: detection, layout: torchvision, classes: [a], size: 800, outputs: {boxes: \"3\", labels: \"1\", scores: \"2\"}", []ort.Port{port("0", 3, -1, -1)},
			[]ort.Port{port("1", -1), port("2", -1), port("3", -1, 4)}, predict.View{W: 800, H: 800, Fit: predict.Letterbox}, 1, false, true, "3 1 2"},
		"DETR": {"task: detection, layout: detr, classes: [a], size: 800, inputs: {pixel_values: image, pixel_mask: ones}", []ort.Port{port("pixel_values", -1, 3, -1, -1), port("pixel_mask", -1, 64, 64)},
			[]ort.Port{port("logits", -1, 100, 2), port("pred_boxes", -1, 100, 4), port("last_hidden", -1, 1)}, predict.View{W: 800, H: 800, Fit: predict.Letterbox}, 0, false, false, "logits pred_boxes"},
		"DeepLab": {"task: segmentation, classes: [a], size: 520", []ort.Port{port("x", -1, 3, -1, -1)}, []ort.Port{port("out", -1, 1, -1, -1), port("aux", -1, 1, -1, -1)},
			predict.View{W: 520, H: 520, Fit: predict.Stretched}, 0, false, false, "out"},
	} {
		p, err := plan(c.text, c.inputs, c.outputs)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.view != c.view || p.batch != c.batch || p.last != c.last || p.single != c.single || strings.Join(p.outputs, " ") != c.read {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for name, c := range map[string]struct {
		inputs []ort.Port
		want   string
	}{
		"no inputs": {nil, "none"},
		"a vector":  {[]ort.Port{port("x", 1, 3)}, "takes no image"},
		"grey":      {[]ort.Port{port("x", 1, 1, 8, 8)}, "takes no colour image"},
		"two":       {[]ort.Port{port("x", 1, 3, 8, 8), port("y", 1)}, "say what x float32[1, 3, 8, 8] is given"},
		"unknown":   {[]ort.Port{port("x", -1, -1, -1, -1)}, "size is missing"},
	} {
		if _, err := plan("task: normals", c.inputs, []ort.Port{port("y", 1, 3, 8, 8)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not mention %q", name, err, c.want)
		}
	}
	if _, err := plan("task: normals, size: 8", []ort.Port{port("x", 1, 3, 8, 8)}, nil); err == nil || !strings.Contains(err.Error(), "outputs.normals") {
		t.Errorf("no outputs: error %v", err)
	}
}

// FuzzDecode has outputs of any shape and content: an error or predictions within their bounds.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(0), uint8(3), uint8(1), uint8(2), uint8(4), []byte{1, 2, 3, 255, 0, 128})
	f.Add(uint8(5), uint8(4), uint8(2), uint8(7), uint8(6), []byte{200})
	texts := []string{
		"task: classification, classes: [a, b]", "task: segmentation, classes: [a, b]", "task: segmentation, classes: [a, b], values: classes, labels_offset: 1",
		"task: depth, units: metric", "task: normals, values: colours",
		"task: detection, layout: yolo, classes: [a, b]", "task: detection, layout: rows, classes: [a, b], labels_offset: 1",
		"task: detection, layout: detr, classes: [a, b]", "task: detection, layout: torchvision, classes: [a, b]", "task: detection, layout: torchvision, classes: [a, b], boxes: yxyx, relative: true",
	}
	f.Fuzz(func(t *testing.T, which, a, b, c, dims uint8, content []byte) {
		d, err := parse(t, texts[int(which)%len(texts)])
		if err == nil {
			err = d.complete("")
		}
		if err != nil {
			t.Fatal(err)
		}
		needed, optional := d.roles()
		if optional != "" && a%2 == 0 {
			needed = append(slices.Clone(needed), optional)
		}
		teacher := &Teacher{d: d, plan: &plan{roles: needed, outputs: needed}}
		var out []ort.Tensor
		for i := range needed {
			shape := []int64{int64(a % 4), int64(b % 8), int64(c % 8), int64((a + c) % 8), int64(b % 3)}[:(int(dims)+i)%6%5+1]
			n := int64(1)
			for _, s := range shape {
				n *= s
			}
			v := make([]float32, n)
			for k := range v {
				if len(content) > 0 {
					x := content[(k+i)%len(content)]
					v[k] = float32(x)/16 - 4
					if x == 255 {
						v[k] = v[k] / 0 * float32(k%2) // infinite or no number
					}
				}
			}
			out = append(out, ort.Tensor{Shape: shape, Values: v})
		}
		samples := newSamples(1 + int(c%2))
		if err := teacher.decode(out, frame{8, 6}, samples); err != nil {
			return
		}
		for _, p := range samples {
			for _, o := range detection.Of(p) {
				if o.Class < 0 || o.Class > 1 || !(o.Box.X0 >= 0 && o.Box.X1 <= 8 && o.Box.Y0 >= 0 && o.Box.Y1 <= 6 && o.Box.Area() > 0) || !(o.Score >= 0.05 && o.Score <= 1) {
					t.Errorf("object %+v", o)
				}
			}
			if segmentation.Of(p) != nil {
				for k, c := range segmentation.Of(p).Pix {
					if c > 1 && c != 255 || !(segmentation.Confidence(p).Pix[k] >= 0 && segmentation.Confidence(p).Pix[k] <= 1) {
						t.Errorf("pixel of class %d, %v", c, segmentation.Confidence(p).Pix[k])
					}
				}
			}
			if depth.Of(p) != nil {
				for _, v := range depth.Of(p).Pix {
					if v <= 0 || v-v != 0 && v == v {
						t.Errorf("depth %v", v)
					}
				}
			}
		}
	})
}
