package metric

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"must/data"
	"must/torch/goldentest"
)

// A cocoCase is a pair of files and the 12 numbers of pycocotools; testdata/make_coco.py makes them.
type cocoCase struct {
	Truth, Results json.RawMessage
	Bbox, Segm     []float64
}

func readCases(t testing.TB) (cases []cocoCase) {
	goldentest.ReadFile(t, "coco.json.gz", &cases)
	return cases
}

// files reads both files of the case.
func (c *cocoCase) files(t testing.TB, masks bool) *cocoFiles {
	t.Helper()
	truth, err := readCOCOTruth(bytes.NewReader(c.Truth), masks)
	if err != nil {
		t.Fatal(err)
	}
	results, err := readCOCOResults(bytes.NewReader(c.Results), masks)
	if err != nil {
		t.Fatal(err)
	}
	return &cocoFiles{masks: masks, truth: truth, results: results}
}

func compare(t *testing.T, what string, got []Value, want []float64) {
	t.Helper()
	for i, w := range want {
		if !(math.Abs(got[i].Value-w) < 1e-9) {
			t.Errorf("%s: %s = %v, want %v", what, got[i].Name, got[i].Value, w)
		}
	}
}

func TestFilesEqualPycocotools(t *testing.T) {
	for i, c := range readCases(t) {
		for _, masks := range []bool{false, true} {
			want := c.Bbox
			if masks {
				want = c.Segm
			}
			if want == nil {
				continue
			}
			r, err := c.files(t, masks).evaluate(1 + i%3)
			if err != nil {
				t.Fatalf("case %d: %v", i, err)
			}
			compare(t, "files", r.Values(), want)
			if t.Failed() {
				t.Fatalf("case %d, masks %v\n%s\n%s", i, masks, c.Truth, c.Results)
			}
		}
	}
}

// A habitCase is a cocoCase of ids that are texts and of scores that are no numbers, which JSON cannot hold;
// testdata/make_coco_habits.py makes them.
type habitCase struct {
	Truth, Results string
	Bbox           []float64
}

func TestTextIDsAndBareScoresEqualPycocotools(t *testing.T) {
	var cases []habitCase
	goldentest.ReadFile(t, "coco_habits.json.gz", &cases)
	texts, nans, infinities := 0, 0, 0
	for i, c := range cases {
		f := (&cocoCase{Truth: json.RawMessage(c.Truth), Results: json.RawMessage(c.Results)}).files(t, false)
		r, err := f.evaluate(1 + i%3)
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		compare(t, "files", r.Values(), c.Bbox)
		if t.Failed() {
			t.Fatalf("case %d\n%s\n%s", i, c.Truth, c.Results)
		}
		if f.truth.images[0].id.Text != "" {
			texts++
		}
		nan := 0
		for _, o := range f.results {
			if math.IsNaN(o.score) {
				nan++
			}
			if math.IsInf(o.score, 0) {
				infinities++
			}
		}
		nans += nan
		if said := strings.Contains(strings.Join(r.Warnings, "\n"), "NaN"); said != (nan > 0) {
			t.Errorf("case %d: %d NaN, warned %q", i, nan, r.Warnings)
		}
	}
	if len(cases) < 200 || texts < 100 || nans < 100 || infinities < 100 {
		t.Errorf("%d cases, %d with texts as ids, %d NaN, %d infinities", len(cases), texts, nans, infinities)
	}
}

// The metric over samples is held to the same cases, as far as samples can express them.
func TestDetectionEqualsPycocotools(t *testing.T) {
	compared := 0
	for i, c := range readCases(t) {
		f := c.files(t, true)
		images, err := f.byImage(&COCOResult{})
		if err != nil {
			t.Fatal(err)
		}
		masks := c.Segm != nil && !f.boxAreas // a sample's masks have areas of their own
		m := NewDetection(len(f.truth.categories), masks)
		inexact := false
		for k := range images {
			add(t, m, sampleOf(t, &images[k], images[k].truth, masks), sampleOf(t, &images[k], images[k].results, masks))
			for _, o := range images[k].truth {
				inexact = inexact || o.id == 0 // a quirk of the files
			}
			for _, o := range images[k].results {
				inexact = inexact || o.box[0]+o.box[2]-o.box[0] != o.box[2] || o.box[1]+o.box[3]-o.box[1] != o.box[3]
			}
		}
		if inexact {
			continue
		}
		if f.results[0].hasBox {
			compare(t, "boxes", m.Values(), c.Bbox)
			compared++
		}
		if masks {
			compare(t, "masks", m.Values()[12:], c.Segm)
			compared++
		}
		if t.Failed() {
			t.Fatalf("case %d\n%s\n%s", i, c.Truth, c.Results)
		}
	}
	if compared < 1000 {
		t.Errorf("only %d cases were compared", compared)
	}
}

func sampleOf(t *testing.T, image *cocoImage, entries []*cocoEntry, masks bool) *sample {
	s := &sample{Objects: []data.Object{}}
	for _, e := range entries {
		o := data.Object{
			Box:   data.Box{X0: e.box[0], Y0: e.box[1], X1: e.box[0] + e.box[2], Y1: e.box[1] + e.box[3]},
			Class: e.class, Score: float32(e.score), Area: e.area, Crowd: e.crowd,
		}
		if masks {
			shape, err := e.shape(image, true)
			if err != nil {
				t.Fatal(err)
			}
			o.Mask = shape.mask.Mask()
		}
		s.Objects = append(s.Objects, o)
	}
	return s
}

func TestThresholdsAreNumpys(t *testing.T) {
	want := [...]float64{0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95}
	if cocoThresholds != want {
		t.Errorf("got %v, want %v", cocoThresholds, want)
	}
}

func writeFiles(t testing.TB, truth, results string) (string, string) {
	t.Helper()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "truth.json"), filepath.Join(dir, "results.json")
	for name, text := range map[string]string{a: truth, b: results} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

const smallTruth = `{
	"annotations": [{"id": 1, "image_id": 7.0, "category_id": 90, "bbox": [10, 10, 20, 40], "area": 800, "iscrowd": false, "segmentation": null, "extra": {"a": [1]}}],
	"categories": [{"id": 90, "name": "toothbrush"}],
	"images": [{"id": 7, "file_name": "a.jpg", "height": 100, "width": 100}]}`

func TestEvalCOCO(t *testing.T) {
	truth, results := writeFiles(t, smallTruth,
		`[{"image_id": 7, "category_id": 90, "bbox": [10, 10, 20, 30], "score": 0.5}, {"image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1}]`)
	r, err := EvalCOCO(truth, results, COCOOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// As pycocotools prints it.
	const want = ` Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.600
 Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 1.000
 Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ] = 1.000
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.600
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = -1.000
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.600
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 0.600
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.600
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.600
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = -1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000
`
	if got := r.Table(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if r.Images != 1 || r.Objects != 1 || r.Detections != 1 || len(r.Warnings) != 1 {
		t.Errorf("counted %d images, %d objects, %d detections, warned %q", r.Images, r.Objects, r.Detections, r.Warnings)
	}
	if len(r.Classes) != 1 || r.Classes[0].Name != "toothbrush" || math.Abs(r.Classes[0].Values[0].Value-0.6) > 1e-9 {
		t.Errorf("classes %+v", r.Classes)
	}
}

func TestNoResultsScoreZero(t *testing.T) {
	truth, results := writeFiles(t, smallTruth, `[]`)
	r, err := EvalCOCO(truth, results, COCOOptions{})
	if err != nil || r.Values()[0].Value != 0 {
		t.Errorf("got %v, %v, want an AP of 0", r, err)
	}
}

func TestEvalCOCOErrors(t *testing.T) {
	const good = `[{"image_id": 7, "category_id": 90, "bbox": [1, 1, 2, 2], "score": 1}]`
	for _, test := range []struct {
		truth, results string
		masks          bool
		want           string // part of the error
	}{
		{smallTruth, `[{"image_id": 8, "category_id": 90, "bbox": [1, 1, 2, 2], "score": 1}]`, false, "result 0 is of image 8"},
		{smallTruth, `[{"image_id": 7, "category_id": 90, "bbox": [1, 1, 2, 2]}]`, false, `has no "score"`},
		{smallTruth, `[{"image_id": 7, "category_id": 90, "score": 1}]`, false, "result 0: has neither"},
		{smallTruth, `[{"image_id": 7, "category_id": 90, "bbox": [1, 1, 2], "score": 1}]`, false, "box of 3 numbers"},
		{smallTruth, `[{"image_id": "7", "category_id": 90, "bbox": [1, 1, 2, 2], "score": 1}]`, false, `image "7", which the truth does not list`},
		{smallTruth, strings.Replace(good, "1}]", `"1"}]`, 1), false, "a text, not a number"},
		{smallTruth, strings.Replace(good, "[1,", `[NaN,`, 1), false, "NaN, which is no number"},
		{smallTruth, good[:40], false, "results.json"},
		{smallTruth, `{"annotations": []}`, false, "list of detections"},
		{smallTruth[:200], good, false, "truth.json"},
		{`{}`, good, false, "0 images"},
		{strings.Replace(smallTruth, `"images": [`, `"images": [{"id": 7}, `, 1), good, false, "image 7 twice"},
		{strings.Replace(smallTruth, `null`, `{"size": [9, 9], "counts": [81]}`, 1), good, true, "height 9"},
		{strings.Replace(smallTruth, `null`, `{"size": [100, 100], "counts": "!"}`, 1), good, true, "annotation 1"},
		{strings.Replace(smallTruth, `null`, `{"size": [100, 100]}`, 1), good, true, "no counts"},
		{strings.Replace(smallTruth, `null`, `[]`, 1), good, true, "without polygons"},
	} {
		truth, results := writeFiles(t, test.truth, test.results)
		_, err := EvalCOCO(truth, results, COCOOptions{Masks: test.masks})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got error %v, want one with %q", err, test.want)
		}
	}
	if _, err := EvalCOCO("nowhere.json", "nowhere.json", COCOOptions{}); err == nil {
		t.Error("missing files were read")
	}
}

// Readers must not depend on where their buffer ends.
func TestReadingInSmallPieces(t *testing.T) {
	for _, c := range readCases(t)[:40] {
		whole := c.files(t, true)
		truth, err := readCOCOTruth(iotest.HalfReader(bytes.NewReader(c.Truth)), true)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range truth.objects {
			want := whole.truth.objects[i]
			if !bytes.Equal(o.segmentation, want.segmentation) || o.box != want.box || o.area != want.area {
				t.Fatalf("got %+v, want %+v", o, want)
			}
		}
	}
}

func FuzzCOCO(f *testing.F) {
	f.Add([]byte(smallTruth), []byte(`[]`))
	f.Add([]byte(strings.Replace(strings.Replace(smallTruth, `"id": 7,`, `"id": "7",`, 1), "7.0", `"7"`, 1)),
		[]byte(`[{"image_id": "7", "category_id": 90, "bbox": [1, 1, 2, 2], "score": NaN}, {"image_id": "7", "category_id": 90, "bbox": [1, 1, 2, 2], "score": -Infinity}]`))
	for _, shape := range []string{
		`[[10,10,20,10,20.5,40]]`, `{"size":[100,100],"counts":[1005,20,8975]}`, `{"counts":"RT11SO;WR\\1","size":[100,100]}`,
	} {
		f.Add([]byte(strings.Replace(smallTruth, "null", shape, 1)),
			[]byte(`[{"image_id":7,"category_id":90,"score":1e-1,"segmentation":`+shape+`}]`))
	}
	f.Fuzz(func(t *testing.T, truth, results []byte) {
		for _, masks := range []bool{false, true} {
			tf, err := readCOCOTruth(bytes.NewReader(truth), masks)
			if err != nil {
				return
			}
			rf, err := readCOCOResults(bytes.NewReader(results), masks)
			if err != nil {
				return
			}
			r, err := (&cocoFiles{masks: masks, truth: tf, results: rf}).evaluate(2)
			if err != nil {
				continue
			}
			for _, v := range r.Values() {
				if !(v.Value == -1 || v.Value >= 0 && v.Value <= 1) {
					t.Fatalf("%s = %v", v.Name, v.Value)
				}
			}
		}
	})
}

// BenchmarkEvalCOCO runs on the files that testdata/compare_coco.py makes.
func BenchmarkEvalCOCO(b *testing.B) {
	folder := os.Getenv("COCO_FOLDER")
	if folder == "" {
		b.Skip("run testdata/compare_coco.py, which makes the files and times pycocotools beside this")
	}
	opt := COCOOptions{Masks: os.Getenv("COCO_KIND") == "segm"}
	var table string
	for b.Loop() {
		r, err := EvalCOCO(filepath.Join(folder, "truth.json"), filepath.Join(folder, "results.json"), opt)
		if err != nil {
			b.Fatal(err)
		}
		table = r.Table()
	}
	b.Log("\n" + table)
}
