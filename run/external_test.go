package run

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/label/shards"
	"must/onnx/ort"
	"must/stage"
	"must/task/depth"
	"must/task/detection"
)

const models = "../onnx/testdata/"

// externalRecipe labels scenes by an ONNX model of inverse depth and a file's detector, and trains on that.
const externalRecipe = `
name: external
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
detection: {anchor_scale: 2, rois: 8, pre_nms: 20, post_nms: 10, max_objects: 5}
spaces: {detection: [wasp, bee]}
teachers:
  midas: {onnx: ` + models + `depth.onnx, task: depth, units: inverse}
data:
  plain: {format: scenes, subset: crowds, tasks: [classification], parts: {train: 12, val: 4}, size: 32}
  ranges: {format: scenes, subset: ranges, parts: {train: 2, val: 4}, size: 32}
train: {batch: 4, epochs: 1, lr: 0.01}
stages:
  - name: labels
    label: {data: [plain], teachers: [midas, ` + models + `yolo8.teacher.yaml], quality: [ranges]}
  - name: student
    train: {data: [plain], labels: labels, tasks: [depth, detection]}
`

func TestExternalTeachers(t *testing.T) {
	if _, err := ort.Find(); err != nil {
		if missing := (*ort.NotFoundError)(nil); errors.As(err, &missing) {
			t.Skip("no ONNX Runtime here: `make onnxruntime` fetches one")
		}
		t.Fatal(err)
	}
	out := t.TempDir()
	r := load(t, out, externalRecipe)
	plan, err := r.Plan(t.Context(), errors.New("not measured"))
	if err != nil || plan.Faults() > 0 {
		t.Fatalf("%v\n%s", err, plan.Text())
	}
	runAll(t, r)
	set, err := shards.Open(filepath.Join(out, "labels", "plain"))
	if err != nil {
		t.Fatal(err)
	}
	if l := set.Labels(); l[depth.Name].Units != data.Inverse || !slices.Equal(l[detection.Name].Classes, []string{"wasp", "bee"}) {
		t.Errorf("labels are %+v", l)
	}
	index := set.Index()
	d, err := (r.External["midas"]).Hash("")
	if p := index.Tasks[depth.Name]; err != nil || p.SHA256 != d || p.Teacher != "midas" || p.Settings == "" {
		t.Errorf("the origin of depth is %+v, want a model of %s", p, d)
	}
	// Its quality is told by the first set that has the truth, though that is in metres.
	var found []stage.TeacherQuality
	b, err := os.ReadFile(filepath.Join(out, "labels", stage.QualityFile))
	if err == nil {
		err = json.Unmarshal(b, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Teacher != "midas" || found[0].Set != "ranges" || found[0].Scores[depth.Name] == nil {
		t.Errorf("quality of labels: %+v", found)
	}

	// What has been run can be run again from its own copy.
	again, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range again.Steps {
		if !again.Ended(s.Name) {
			t.Errorf("by its own copy of the recipe stage %s is to be run again", s.Name)
		}
	}
	// Another declaration is another teacher.
	if load(t, out, externalRecipe, "teachers.midas.mean=[0.5, 0.5, 0.5]").Ended("labels") {
		t.Error("with another mean the labels are the same")
	}
}

// Other names in the file of classes are other labels.
func TestFingerprintOfClasses(t *testing.T) {
	names := filepath.Join(t.TempDir(), "names.txt")
	sum := func(text string) string {
		if err := os.WriteFile(names, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return load(t, "", strings.Replace(externalRecipe, "teachers:", "teachers:\n  bugs: {onnx: "+models+"class.onnx, task: classification, classes: "+names+"}", 1),
			"labels.teachers=[bugs]").fingerprint("labels").sum
	}
	if a, b := sum("bee\nant\n"), sum("ant\nbee\n"); a == b {
		t.Error("they are not: ", a)
	}
}

func TestExternalRefused(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":   {"units: inverse", "unit: inverse", `did you mean "units"?`},
		"no units":      {"units: inverse", "size: 8", "teachers.midas: units"},
		"unknown task":  {"task: depth, units", "task: deep, units", "teachers.midas: task"},
		"no teacher":    {"teachers: [midas", "teachers: [medas", "medas"},
		"stage's name":  {"  midas:", "  labels:", "a stage is called so"},
		"as start":      {"labels: labels, tasks", "from: midas, tasks", "midas"},
		"other's shape": {"onnx: " + models + "depth.onnx, task", "onnx: [a], task", "string"},
	} {
		text := strings.Replace(externalRecipe, c.from, c.to, 1)
		_, err := read(text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not mention %q", name, err, c.want)
		}
	}
}
