package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/progress"
	"must/report"
	"must/run"
	"must/torch"
)

// small makes of the recipe one that ends in a minute, on other images in the same layouts.
var small = []string{
	"size=64", "model.width=0.25", "model.fpn=16", "model.head=16", "model.box_fc=32",
	"detection={anchor_scale: 2, rois: 8, pre_nms: 20, post_nms: 10, max_objects: 5}",
	"train.batch=4", "train.steps=1", "train.bf16=false",
	"teacher-classification.with.batch=4", "teacher-depth.with.steps=2", "student.with.batch=4", "student.with.steps=2",
	"transfer.with.batch=4", "transfer.from={scratch: '', must: student}",
}

// The recipe of full size, on miniature copies of all its sets in their real layouts, to its end.
func TestRecipe(t *testing.T) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs("../../recipes/imagenet-objects365-coco.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := write("."); err != nil {
		t.Fatal(err)
	}
	runner, err := run.Load(file, small, "out")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	runner.Display = progress.New(&said)
	plan, err := runner.Plan(context.Background(), os.ErrInvalid)
	if err != nil || plan.Faults() != 0 {
		t.Fatalf("%v\n%s", err, plan.Text())
	}
	for _, want := range []string{
		"imagenet         train 6, val 3, test 3               classification (8)",
		"objects365       train 6, val 3, test 3               detection (6)", // the absent image is no sample
		"coco             train 6, val 3, test 3               segmentation (13)",
		"pascal-detection train 12, test 3                     detection (20)", "cifar100         train 6, test 3                      classification (100)",
		"ade20k           train 6, test 3                      segmentation (10)",
	} {
		if !strings.Contains(plan.Text(), want) {
			t.Errorf("the dry run does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(plan.Text())
	}
	if err := runner.Run(context.Background()); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	res, err := report.ReadResults(filepath.Join("out", run.ResultsFile))
	if err != nil || len(res.Teachers) != 4 || len(res.Transfer) != 6 {
		t.Errorf("%v, %+v", err, res)
	}
	for _, line := range strings.Split(said.String(), "\n") {
		if strings.Contains(line, "skipped") {
			t.Error(line)
		}
	}
}
