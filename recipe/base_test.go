package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/model"
)

// keys are a kind of stage for these tests.
type keys struct {
	Data []string `yaml:"data"`
	From string   `yaml:"from"`
	With *Changes `yaml:"with"`
}

func TestMain(m *testing.M) {
	for _, name := range []string{"show", "train", "label", "score", "probe", "transfer"} {
		Register(name, (*keys)(nil))
	}
	os.Exit(m.Run())
}

// write writes recipes into a folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const below = `
name: below
size: 64
model: {backbone: resnet18, width: 0.5}
train: {batch: 8, lr: 0.1, augment: {flip: 0, scale_min: 0.5}}
data:
  a: {format: scenes, subset: objects, parts: {train: 8, val: 4}}
  b: {format: scenes, subset: crowds}
stages:
  - {name: one, train: {data: [a]}}
  - {name: two, train: {data: [b]}}
quick: [name=quick]
`

// Maps are merged by key, lists and values replaced, and settings change the result.
func TestBase(t *testing.T) {
	dir := write(t, map[string]string{
		"below.yaml": below,
		"sub/middle.yaml": `
base: ../below.yaml
name: middle
train: {lr: 0.2}
`,
		"above.yaml": `
base: sub/middle.yaml
name: above
train: {augment: {flip: 1}}
data:
  a: {parts: {val: 2}}
  c: {format: scenes, subset: rooms}
stages:
  - {name: three, train: {data: [c]}}
quick: []
`})
	r, err := Load(filepath.Join(dir, "above.yaml"), []string{"train.batch=2", "three.with.epochs=3"})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Data["a"]
	if r.Base != "" || r.Name != "above" || r.Size != 64 || r.Model.Backbone != (model.ResNetConfig{Layers: 18, Width: 0.5}) || r.Train.LR != 0.2 || r.Train.Batch != 2 ||
		r.Train.Augment.Flip != 1 || r.Train.Augment.ScaleMin != 0.5 || a.Set != "objects" || a.Parts["train"] != 8 || a.Parts["val"] != 2 ||
		r.Data["b"] == nil || r.Data["c"] == nil || len(r.Stages) != 1 || r.Stages[0].Name != "three" || r.Stages[0].Keys.(*keys).With == nil || len(r.Quick) != 0 {
		t.Errorf("it is %+v", r)
	}
	// Written down it is whole.
	text, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text)
	if err != nil || again.Train.LR != 0.2 || again.Data["a"].Set != "objects" {
		t.Errorf("%v: %s", err, text)
	}
}

func TestMistakesInBases(t *testing.T) {
	long := map[string]string{"0.yaml": below}
	for i := 1; i <= mostBases+1; i++ {
		long[fmt.Sprint(i, ".yaml")] = fmt.Sprintf("base: %d.yaml\nname: n\n", i-1)
	}
	for _, c := range []struct {
		files map[string]string
		load  string
		want  []string
	}{
		{map[string]string{"a.yaml": "base: b.yaml\nname: a\n", "b.yaml": "base: a.yaml\nname: b\n"}, "a.yaml", []string{"extends itself", "a.yaml → ", "b.yaml"}},
		{map[string]string{"a.yaml": "base: a.yaml\nname: a\n"}, "a.yaml", []string{"extends itself"}},
		{map[string]string{"a.yaml": "base: gone.yaml\nname: a\n"}, "a.yaml", []string{"gone.yaml"}},
		{map[string]string{"a.yaml": "base: /etc/passwd\nname: a\n"}, "a.yaml", []string{"relative to this one"}},
		{map[string]string{"a.yaml": "base: [b]\nname: a\n"}, "a.yaml", []string{"base"}},
		{map[string]string{"a.yaml": "base: b.yaml\nname: a\n", "b.yaml": "name: b\nsizes: 3\n"}, "a.yaml", []string{"b.yaml", `"size"`, "[2:1]"}},
		{map[string]string{"a.yaml": "base: b.yaml\nname: a\nsizes: 3\n", "b.yaml": below}, "a.yaml", []string{"[3:1]", `"size"`}},
		{long, fmt.Sprint(mostBases+1, ".yaml"), []string{"in a row"}},
	} {
		dir := write(t, c.files)
		_, err := Load(filepath.Join(dir, c.load), nil)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: error %v does not say %s", c.files["a.yaml"], err, want)
			}
		}
	}
	if _, err := Load(filepath.Join(write(t, long), fmt.Sprint(mostBases, ".yaml")), nil); err != nil {
		t.Errorf("%d bases: %v", mostBases, err)
	}
	if _, err := Parse([]byte("base: demo\nname: a\n")); err == nil {
		t.Error("a text extends a recipe")
	}
}

func TestStages(t *testing.T) {
	for text, want := range map[string]string{
		"{name: a, train: {data: [x]}, show: {data: [x]}}": "stage 1 (a): it has show and train",
		"{name: a}":                          "it does nothing; give it one of show, train",
		"{name: a, trian: {}}":               `"train"`,
		"{name: a, train: {dta: [x]}}":       `"data"`,
		"{name: figures, train: {data: []}}": "file or folder of the run",
		"{name: a@b, train: {data: []}}":     "plain word",
		"~":                                  "stage 1 is empty",
	} {
		if _, err := Parse([]byte("name: n\nstages: [" + text + "]\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %s", text, err, want)
		}
	}
}
