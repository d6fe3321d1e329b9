package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"must/dist"
	"must/recipe"
)

// together is a recipe of every kind of stage that several processes share.
const together = `
name: together
seed: 1
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
train: {steps: 2, batch: 5, lr: 0.02}
data:
  a: {format: scenes, subset: objects, parts: {train: 12, val: 4, test: 4}}
  b: {format: scenes, subset: ranges, parts: {train: 12, val: 4, test: 4}}
stages:
  - name: classes
    train: {data: [a], tasks: [classification]}
  - name: depths
    train: {data: [b], tasks: [depth]}
  - name: labels
    label: {data: [a, b], teachers: [classes, depths], shard_size: 3}
  - name: student
    train: {data: [a, b], tasks: [classification, depth], labels: labels}
  - name: score
    score: {student: student, teachers: {classification: classes, depth: depths}}
  - name: transfer
    transfer: {from: {scratch: {}, must: {from: student}}, sets: [{data: b, task: depth}, {data: a, task: classification}]}
`

const togetherFolder = "MUST_TEST_TOGETHER"

// Two processes share the stages of a recipe: all are done in the end, and nothing is left behind.
func TestTogether(t *testing.T) {
	if out := os.Getenv(togetherFolder); out != "" {
		if err := processOf(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		return
	}
	if _, err := dist.FindMPI(false); err != nil {
		t.Skipf("no MPI: %v", err)
	}
	out := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err := dist.Launch(ctx, 2, func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestTogether$")
		c.Env = append(os.Environ(), togetherFolder+"="+out, "OMP_NUM_THREADS=1")
		c.Stderr = os.Stderr
		return c
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Steps {
		if !r.Ended(s.Name) {
			t.Errorf("stage %s is not done", s.Name)
		}
	}
	left, err := filepath.Glob(filepath.Join(out, "*", ".part-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("locks are left behind: %v %v", left, err)
	}
}

// processOf is one of the processes.
func processOf(ctx context.Context, out string) error {
	dist.Watch()
	place, err := dist.FromEnvironment()
	if err != nil {
		return err
	}
	w, err := dist.Join(place, dist.Options{Version: "test", Fatal: func(text string) {
		fmt.Fprintln(os.Stderr, text)
		os.Exit(1)
	}})
	if err != nil {
		return err
	}
	err = w.CheckFolder(out)
	if err == nil && w.Leads() {
		var rec *recipe.Recipe
		var r *Runner
		if rec, err = recipe.Parse([]byte(together)); err == nil {
			if r, err = New(rec, out); err == nil {
				r.World = w
				err = r.Run(ctx)
			}
		}
	} else if err == nil {
		err = Follow(ctx, out, w)
	}
	if err != nil {
		w.Fail(err)
		return err
	}
	return errors.Join(err, w.Close())
}
