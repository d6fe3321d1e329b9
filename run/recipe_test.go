package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/label"
	"must/model"
	"must/recipe"
	"must/stage"
)

const tiny = `
name: tiny
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
detection: {anchor_scale: 2, rois: 8, pre_nms: 20, post_nms: 10, max_objects: 5}
train: {batch: 4, epochs: 1, lr: 0.01}
data:
  objects: {format: scenes, subset: objects, size: 32, parts: {train: 8, val: 4, test: 4}}
  crowds:  {format: scenes, subset: crowds, size: 32, parts: {train: 8, val: 4, test: 4}}
  rooms:   {format: scenes, subset: rooms, size: 32, parts: {train: 8, test: 4}}
stages:
  - name: data
    show: {data: [objects, rooms], images: 2}
  - name: teacher-class
    train:
      data: [objects]
      tasks: [classification]
      with:
        lr: 0.02
  - name: teacher-boxes
    train: {data: [crowds], tasks: [detection], from: teacher-class}
  - name: labels
    label: {data: [objects, crowds], teachers: [teacher-class, teacher-boxes]}
  - name: student
    train: {data: [objects, crowds], labels: labels, tasks: [classification, detection]}
  - name: score
    score: {student: student, teachers: {classification: teacher-class, detection: teacher-boxes}}
  - name: transfer
    transfer:
      from: {scratch: "", must: student}
      sets: [{data: rooms, task: segmentation, with: {epochs: 2}}]
`

// load returns a runner of the text of a recipe.
func load(t *testing.T, out, text string, settings ...string) *Runner {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path, settings, out)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// read checks the text of a recipe.
func read(text string, settings ...string) (*Runner, error) {
	r, err := recipe.Parse([]byte(text), settings...)
	if err != nil {
		return nil, err
	}
	return New(r, "out")
}

func keys[S stage.Stage](r *Runner, name string) S { return r.Step(name).Stage.(S) }

func TestDefaultsStay(t *testing.T) {
	r := load(t, "", tiny)
	d := recipe.Defaults()
	if r.Seed != d.Seed || r.Train.Momentum != d.Train.Momentum || r.Train.Augment.Flip != d.Train.Augment.Flip || r.Train.Batch != 4 {
		t.Errorf("train settings are %+v", r.Train)
	}
	c, err := r.Settings(keys[*stage.Train](r, "teacher-class").With)
	if err != nil || c.LR != 0.02 || c.Batch != 4 || c.Augment.Size != 32 || c.Seed != 1 {
		t.Errorf("%v; settings of the teacher are %+v", err, c)
	}
}

func TestSettings(t *testing.T) {
	r := load(t, "", tiny,
		"size=64", "train.augment.flip=0", "teacher-class.with.epochs=3", "teacher-class.with.augment.scale_max=2",
		"teacher-class.with.lr=0.5", "student.with.epochs=5", "student.weights.detection=2", "data.rooms.parts.train=5", "labels.thresholds.detection=0.3",
		"transfer.with.batch=2", "transfer.seeds=[1, 2]", "model.width=0.25")
	if r.Size != 64 || r.Train.Augment.Flip != 0 || r.Train.Augment.ScaleMin != 0.8 || r.Model.Backbone != (model.ResNetConfig{Layers: 18, Width: 0.25}) || r.Model.FPN != 8 {
		t.Errorf("recipe is %+v", r)
	}
	c, err := r.Settings(keys[*stage.Train](r, "teacher-class").With)
	if err != nil || c.Epochs != 3 || c.LR != 0.5 || c.Augment.ScaleMax != 2 || c.Augment.ScaleMin != 0.8 {
		t.Errorf("%v; %+v", err, c)
	}
	s := keys[*stage.Train](r, "student")
	if c, err = r.Settings(s.With); err != nil || c.Epochs != 5 || s.Weights.Set["detection"] != 2 || len(s.Tasks) != 2 {
		t.Errorf("%v; %+v %+v", err, c, s)
	}
	if d := r.Data["rooms"]; d.Parts["train"] != 5 || d.Parts["test"] != 4 || d.Set != "rooms" {
		t.Errorf("rooms is %+v", d)
	}
	if th := keys[*stage.Label](r, "labels").Thresholds; th["detection"] != (label.Threshold{0.3, 0.3}) {
		t.Errorf("thresholds %v", th)
	}
	x := keys[*stage.Transfer](r, "transfer")
	if c, err = r.Settings(x.With, x.Sets[0].With); err != nil || c.Batch != 2 || c.Epochs != 2 || len(x.Seeds) != 2 {
		t.Errorf("%v; %+v %v", err, c, x.Seeds)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		text, old, new string
		want           []string
	}{
		{tiny, "batch: 4", "bacth: 4", []string{"[6:9]", `"bacth"`, `"batch"`}},
		{tiny, "lr: 0.02", "learning: 0.02", []string{"learning"}},
		{tiny, "format: scenes, subset: rooms", "format: scene, subset: rooms", []string{"data.rooms", `"scenes"`}},
		{tiny, "from: teacher-class}", "from: teacher-clas}", []string{"stage 3 (teacher-boxes)", `"teacher-class"`}},
		{tiny, "tasks: [detection]", "tasks: [detektion]", []string{`"detection"`}},
		{tiny, "data: [crowds]", "data: [crowd]", []string{`"crowds"`}},
		{tiny, "size: 32\nmodel", "size: 8\nmodel", []string{"size"}},
		{tiny, "name: tiny", "name: ../tiny", []string{"plain word"}},
		{tiny, "rooms:   {", "../rooms:   {", []string{"plain word"}},
		{tiny, "labels: labels,", "labels: student,", []string{"student"}},
		{tiny, `scratch: ""`, `a/b: ""`, []string{"a/b"}},
		{tiny, "show: {data", "score: {student: x, teachers: {}}\n    show: {data", []string{"one thing"}},
		{tiny, "resnet18", "resnet19", []string{"resnet19", "resnet18, resnet34"}},
		{tiny, "backbone: resnet18", "depth: 18", []string{"write backbone: resnet18"}},
		{tiny, "width: 0.125", "width: 0.125, patch: 8", []string{"model.patch is of vit"}},
		{tiny, "width: 0.125", "widht: 0.125", []string{"widht", `"width"`}},
		{tiny, "name: tiny", "name: [", []string{"recipe"}},
	} {
		text := strings.Replace(c.text, c.old, c.new, 1)
		if text == c.text {
			t.Fatalf("%q is not in the recipe", c.old)
		}
		path := filepath.Join(t.TempDir(), "recipe.yaml")
		os.WriteFile(path, []byte(text), 0o666)
		_, err := Load(path, nil, "")
		if err == nil {
			t.Errorf("%s: no error", c.new)
			continue
		}
		for _, want := range append(c.want, path) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %s:\n%v", c.new, want, err)
			}
		}
	}
}

// An embedded recipe is a base by its name.
func TestEmbeddedBase(t *testing.T) {
	r := load(t, "", "base: demo\nname: my\nsize: 96\n", "student.with.epochs=1")
	if r.Size != 96 || len(r.Steps) == 0 || r.Data["crowds"] == nil || r.Name != "my" {
		t.Errorf("%+v", r.Recipe)
	}
}

// A key that is called otherwise now is told so.
func TestRenamedKeys(t *testing.T) {
	_, err := read(baselines, "figures=[{title: x, stage: transfer, against: scratch, points: [{at: one, start: net}]}]")
	if err == nil || !strings.Contains(err.Error(), `"start" is called "from" now`) || strings.Contains(err.Error(), "did you mean") {
		t.Errorf("%v", err)
	}
}

func TestMistakesInSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	os.WriteFile(path, []byte(tiny), 0o666)
	for setting, want := range map[string]string{
		"train.lr":                   "key=value",
		"train.lrr=1":                `"lr"`,
		"train.lr=fast":              "fast",
		"teacher-class.with.epoch=3": `"epochs"`,
		"data.room.count=3":          "data.room",
		"student.tasks=[x":           "[x",
		"train.batch=0":              "batch",
		"nothing=1":                  "nothing",
		"transfer.with=3":            "with",
	} {
		if _, err := Load(path, []string{setting}, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: error %v does not say %s", setting, err, want)
		}
	}
}

// The recipe of a run's folder is the one that was run.
func TestTextIsTheRecipe(t *testing.T) {
	for _, r := range []*Runner{load(t, "", tiny, "student.with.epochs=5", "teacher-class.with.augment.flip=0"), load(t, "", string(must(recipe.Text("demo"))))} {
		text, err := r.Text()
		if err != nil {
			t.Fatal(err)
		}
		again := load(t, "", string(text))
		for _, s := range r.Steps {
			if r.fingerprint(s.Name).sum != again.fingerprint(s.Name).sum {
				t.Errorf("stage %s is another after reading\n%s", s.Name, text)
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestShippedRecipes(t *testing.T) {
	names := recipe.Embedded()
	files, _ := filepath.Glob("../recipes/*.yaml")
	if len(names) == 0 {
		t.Error("no recipe is embedded")
	}
	for _, name := range append(names, files...) {
		if _, err := Load(name, nil, ""); err != nil {
			t.Error(err)
		}
	}
	if _, err := Load("missing", nil, ""); err == nil || !strings.Contains(err.Error(), "demo") {
		t.Errorf("a missing recipe: %v", err)
	}
}

// The page, or one that it leads to, names every key, and its example is a recipe.
func TestDocumentation(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	page := read("recipes.md")
	all := page
	for _, name := range []string{"models.md", "pretext.md", "onnx.md"} {
		if !strings.Contains(page, name) {
			t.Errorf("docs/recipes.md does not lead to %s", name)
		}
		all += read(name)
	}
	for _, key := range recipe.Keys() {
		if !strings.Contains(all, "`"+key+"`") {
			t.Errorf("docs/recipes.md and the pages beside it do not name the key %s", key)
		}
	}
	_, example, _ := strings.Cut(page, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	load(t, "", example)
}

// Another file of the same name is another start.
func TestFingerprintOfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "start.safetensors")
	sum := func() string {
		return load(t, "", tiny, "teacher-class.from="+path).fingerprint("teacher-class").sum
	}
	seen := map[string]bool{sum(): true} // while there is none
	for _, text := range []string{"one", "another"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		seen[sum()] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d fingerprints of 3 states of the file", len(seen))
	}
}
