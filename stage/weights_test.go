package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/checkpoint"
	"must/data"
	"must/model"
	"must/network"
	"must/recipe"
	"must/task/classification"
	"must/task/detection"
	"must/torch"
	"must/train"
)

func TestMain(m *testing.M) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Multi-task supervision without pseudo labels can have the weights that the student has with them, and where
// another optimizer than SGD was at work the rule is left aside and this said.
func TestRuleOfWeights(t *testing.T) {
	r, err := recipe.Parse([]byte(`
name: weights
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
train: {batch: 16, lr: 0.1}
data: {objects: {format: scenes, subset: objects}, crowds: {format: scenes, subset: crowds}}
stages:
  - name: classes
    train: {data: [objects], tasks: [classification]}
  - name: boxes
    train: {data: [crowds], tasks: [detection]}
  - name: labels
    label: {data: [objects, crowds], teachers: [classes, boxes]}
  - name: must
    train: {data: [objects, crowds], labels: labels, tasks: [classification, detection]}
  - name: multitask
    train: {data: [objects, crowds], rule_of: labels, tasks: [classification, detection]}
  - name: equal
    train: {data: [objects, crowds], tasks: [classification, detection]}
  - name: set
    train: {data: [objects, crowds], labels: labels, tasks: [classification, detection], weights: {detection: 3}}
  - name: same
    train: {data: [objects, crowds], labels: labels, tasks: [classification, detection], weights: equal}
  - name: learned
    train: {data: [objects, crowds], labels: labels, tasks: [classification, detection], weights: learned}
  - name: one
    train: {data: [objects], labels: labels, tasks: [classification]}
`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(r)
	if err != nil {
		t.Fatal(err)
	}
	e.Engine = folders(t.TempDir())
	teach := func(stage, task string, m data.Meaning, lr float64, optimizer string) {
		t.Helper()
		spec := e.Spec([]string{task}, data.Labels{task: m})
		spec.Model = model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16}
		err := torch.DoErr(func() error {
			n, err := network.New(spec, 1)
			if err != nil {
				return err
			}
			defer n.Free()
			return checkpoint.Save(filepath.Join(e.Folder(stage), train.ModelFile), n, n.Set.State(), checkpoint.Training{Batch: 16, LR: lr, Optimizer: optimizer})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"classes", "boxes"} {
		if err := os.MkdirAll(e.Folder(dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	two := data.Meaning{Classes: []string{"a", "b"}}
	teach("classes", classification.Name, two, 0.05, "sgd")
	weights := func(stage string) (text, said string) {
		t.Helper()
		s, _ := find[*Train](e, stage)
		c, err := s.config(e)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		w, err := s.weights(e, c, func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) })
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(w), strings.Join(all, "; ")
	}
	check := func(stage, want, says string) {
		t.Helper()
		if got, said := weights(stage); got != want || says == "" && said != "" || !strings.Contains(said, says) {
			t.Errorf("%s: weights %s, said %q; want %s, %q", stage, got, said, want, says)
		}
	}

	teach("boxes", detection.Name, two, 0.2, "sgd")
	check("must", "map[classification:0.5 detection:2]", "")
	check("multitask", "map[classification:0.5 detection:2]", "")
	check("equal", "map[]", "")
	check("set", "map[classification:0.5 detection:3]", "")
	check("same", "map[]", "")
	check("learned", "map[]", "")
	for stage, want := range map[string]bool{"learned": true, "same": false, "must": false} {
		s, _ := find[*Train](e, stage)
		if c, err := s.config(e); err != nil || c.LearnWeights != want {
			t.Errorf("%s: weights are learned: %t, %v", stage, c.LearnWeights, err)
		}
	}
	check("one", "map[classification:0.5]", "")

	teach("boxes", detection.Name, two, 0.001, "adamw")
	check("must", "map[classification:0.5 detection:1]", "detection weighs 1, since MuST's rule of weights holds for SGD only and its teacher was trained by adamw")
	check("set", "map[classification:0.5 detection:3]", "")

	if _, err := recipe.Parse([]byte("name: x\ndata: {a: {format: scenes, subset: rooms}}\nstages:\n  - name: b\n    train: {data: [a], tasks: [depth], weights: some}\n")); err == nil || !strings.Contains(err.Error(), "one of [rule equal learned]") {
		t.Errorf("another word: %v", err)
	}

	// It waits for the teachers, whose training the rule goes by, and not for their labels.
	s, _ := find[*Train](e, "multitask")
	in, err := s.Inputs(e)
	if got := fmt.Sprint(in.Stages(e)); err != nil || got != "[classes boxes]" {
		t.Errorf("it goes on from %s, %v", got, err)
	}
}
