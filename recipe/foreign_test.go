package recipe

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/label/shards"
	"must/onnx"
	"must/onnx/ort"
	"must/progress"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
)

const models = "../onnx/testdata/"

// foreignRecipe labels scenes by an ONNX model of inverse depth and a file's detector, and trains on that.
const foreignRecipe = `
name: foreign
size: 32
model: {depth: 18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
detection: {anchor_scale: 2, rois: 8, pre_nms: 20, post_nms: 10, max_objects: 5}
spaces: {detection: [wasp, bee]}
teachers:
  midas: {onnx: ` + models + `depth.onnx, task: depth, units: inverse}
data:
  plain: {format: scenes, set: crowds, tasks: [classification], parts: {train: 12, val: 4}, size: 32}
  ranges: {format: scenes, set: ranges, parts: {train: 2, val: 4}, size: 32}
train: {batch: 4, epochs: 1, lr: 0.01}
stages:
  - name: labels
    label: {data: [plain], teachers: [midas, ` + models + `yolo8.teacher.yaml]}
  - name: student
    train: {data: [plain], labels: labels, tasks: [depth, detection]}
`

func TestForeignTeachers(t *testing.T) {
	if _, err := ort.Find(); err != nil {
		if missing := (*ort.NotFoundError)(nil); errors.As(err, &missing) {
			t.Skip("no ONNX Runtime here: `make onnxruntime` fetches one")
		}
		t.Fatal(err)
	}
	r, err := Parse([]byte(foreignRecipe))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	run := &Runner{Recipe: r, Out: out, Display: progress.New(io.Discard)}
	survey, err := run.Survey(t.Context(), errors.New("not measured"))
	if err != nil || survey.Faults() > 0 {
		t.Fatalf("%v\n%s", err, survey.Text())
	}
	if err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	set, err := shards.Open(filepath.Join(out, "labels", "plain"))
	if err != nil {
		t.Fatal(err)
	}
	if l := set.Labels(); l[depth.Name].Units != data.Inverse || !slices.Equal(l[detection.Name].Classes, []string{"wasp", "bee"}) {
		t.Errorf("labels are %+v", l)
	}
	index := set.Index()
	d, err := (r.Foreign["midas"]).Hash("")
	if p := index.Tasks[depth.Name]; err != nil || p.SHA256 != d || p.Teacher != "midas" || p.Settings == "" {
		t.Errorf("the origin of depth is %+v, want a model of %s", p, d)
	}
	// Its quality is told by the first set that has the truth, though that is in metres.
	var found []TeacherQuality
	if err := readJSON(filepath.Join(out, "labels", QualityFile), &found); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Teacher != "midas" || found[0].Set != "ranges" || found[0].Scores[depth.Name] == nil {
		t.Errorf("quality of labels: %+v", found)
	}

	// What has been run can be run again from its own copy.
	b, err := os.ReadFile(filepath.Join(out, recipeFile))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	again.Check()
	s := &Runner{Recipe: again, Out: out}
	for _, stage := range again.Stages {
		if _, done := s.finished(stage); !done {
			t.Errorf("by its own copy of the recipe stage %s is to be run again:\n%s", stage.Name, b)
		}
	}
	// Another declaration is another teacher.
	again.Foreign["midas"].Mean = []float64{0.5, 0.5, 0.5}
	if _, done := s.finished(again.Stages[0]); done {
		t.Error("with another mean the labels are the same")
	}
}

// Other names in the file of classes are other labels.
func TestForeignKey(t *testing.T) {
	names := filepath.Join(t.TempDir(), "names.txt")
	r := &Recipe{Foreign: map[string]*onnx.Declaration{"bugs": {ONNX: models + "class.onnx", Task: classification.Name, Classes: onnx.Names{File: names}}}}
	key := func(text string) string {
		if err := os.WriteFile(names, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(r.foreignKey("bugs"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := key("bee\nant\n"), key("ant\nbee\n"); a == b {
		t.Error("they are not: ", a)
	}
}

func TestPredictByForeigner(t *testing.T) {
	if _, err := ort.Find(); err != nil {
		t.Skip("no ONNX Runtime here: `make onnxruntime` fetches one")
	}
	teachers, err := OpenTeachers([]string{models + "class.teacher.yaml"}, data.Labels{classification.Name: {Classes: []string{"dog", "bee", "ant", "cat"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer teachers[0].Net.Free()
	if got := teachers[0].Net.Knows()[classification.Name].Classes[0]; got != "dog" {
		t.Errorf("its first class is %s, not the set's", got)
	}
	if _, err := OpenTeachers([]string{models + "gone.teacher.yaml"}, data.Labels{}); err == nil || !strings.Contains(err.Error(), "gone.teacher.yaml") {
		t.Errorf("error %v", err)
	}
}

func TestForeignRefused(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":   {"units: inverse", "unit: inverse", `did you mean "units"?`},
		"no units":      {"units: inverse", "size: 8", "teachers.midas: units"},
		"unknown task":  {"task: depth, units", "task: deep, units", "teachers.midas: task"},
		"no teacher":    {"teachers: [midas", "teachers: [medas", "medas"},
		"stage's name":  {"  midas:", "  labels:", "a stage is called so"},
		"as start":      {"labels: labels, tasks", "from: midas, tasks", "midas"},
		"other's shape": {"onnx: " + models + "depth.onnx, task", "onnx: [a], task", "string"},
	} {
		text := strings.Replace(foreignRecipe, c.from, c.to, 1)
		r, err := Parse([]byte(text))
		if err == nil {
			err = r.Check()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not mention %q", name, err, c.want)
		}
	}
}

func FuzzTeacher(f *testing.F) {
	files, _ := filepath.Glob(models + "*.teacher.yaml")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseTeacher(b); err == nil && d.ONNX == "" {
			t.Error("a teacher without a model")
		}
	})
}
