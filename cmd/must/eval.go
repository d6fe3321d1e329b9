package main

import (
	"bytes"
	"context"
	"fmt"

	"must/data"
	"must/data/formats"
	"must/metric"
	"must/predict"
	"must/task"
	"must/teacher"
	"must/torch"
)

type evalCmd struct {
	Network evalNetworkCmd `cmd:"" default:"withargs" help:"Score a network on a data set (the verb may be left out)."`
	COCO    evalCOCOCmd    `cmd:"" name:"coco" help:"Score a COCO results file, as pycocotools does."`
}

func (evalCmd) Help() string {
	return `Examples:

    must eval student.safetensors --format imagefolder --path flowers --split test
    must eval coco --truth instances_val2017.json --results detections.json`
}

type evalNetworkCmd struct {
	Checkpoint string `arg:"" help:"The network." type:"existingfile"`
	source
	Split   string `help:"Part of the data; default test." default:"test" placeholder:"NAME"`
	Batch   int    `help:"Images at once; default 16." placeholder:"N"`
	Classes bool   `help:"Print the scores of every class, too, and what is mistaken for what."`
	engine
}

func (evalNetworkCmd) Help() string {
	return `Scores every task that the network and the data both have, in the frame of the original images.

Examples:

    must eval out/flowers/train/model.safetensors --format imagefolder --path flowers --split test
    must eval out/flowers/train/model.safetensors --format imagefolder --path flowers --split test --classes
    must eval student.safetensors --format scenes --subset ranges
    must eval depth.safetensors --format nyu --path nyu --scale 0.001 --metric nyu`
}

func (c *evalNetworkCmd) Run(ctx context.Context, a *app) error {
	src, err := c.at(c.Split)
	if err != nil {
		return err
	}
	ds, err := formats.Open(src)
	if err != nil {
		return err
	}
	defer data.Close(ds)
	if err := a.engine(); err != nil {
		return err
	}
	opened, err := teacher.Open(c.Checkpoint, ds.Labels(), c.of(a))
	if err != nil {
		return err
	}
	net := opened.Net
	defer torch.Do(net.Free)
	skipped := 0
	o := predict.Options{Batch: c.Batch, Name: "eval", Display: a.display, Skipped: func(err error) {
		skipped++
		a.display.Logf("skipped: %v", err)
	}}
	var classes bytes.Buffer
	if c.Classes {
		o.ByClass = func(task string, c metric.Classes) {
			fmt.Fprintf(&classes, "%s by class\n", task)
			_ = c.Print(&classes, ds.Labels()[task].Classes) // a buffer takes all
		}
	}
	scores, err := predict.Evaluate(ctx, net, ds, o)
	if err != nil {
		return err
	}
	printScores(a, scores)
	a.printf("%s", &classes)
	a.printf("%d images, %d unreadable\n", ds.Len()-skipped, skipped)
	return nil
}

func printScores(a *app, scores task.Scores) {
	for _, t := range scores.Tasks() {
		for _, v := range scores[t] {
			better := "lower is better"
			if v.HigherIsBetter {
				better = "higher is better"
			}
			a.printf("%-16s %-14s %8.4f  %s\n", t, v.Name, v.Value, better)
		}
	}
}

type evalCOCOCmd struct {
	Truth   string `help:"Instances file." type:"existingfile" required:"" placeholder:"FILE"`
	Results string `help:"Results file: a list of detections." type:"existingfile" required:"" placeholder:"FILE"`
	Masks   bool   `help:"Compare masks instead of boxes."`
	Classes bool   `help:"Print the scores of every category, too."`
}

func (evalCOCOCmd) Help() string {
	return `Prints the twelve numbers of pycocotools' COCOeval, and the same values.

Examples:

    must eval coco --truth instances_val2017.json --results detections.json
    must eval coco --truth instances_val2017.json --results segments.json --masks`
}

func (c *evalCOCOCmd) Run(a *app) error {
	res, err := metric.EvalCOCO(c.Truth, c.Results, metric.COCOOptions{Masks: c.Masks})
	if err != nil {
		return err
	}
	for _, w := range res.Warnings {
		a.display.Logf("warning: %s", w)
	}
	a.printf("%s", res.Table())
	if c.Classes {
		classes, names := res.ByClass()
		var b bytes.Buffer
		if err := classes.Print(&b, names); err != nil {
			return err
		}
		a.printf("\n%s", &b)
	}
	return nil
}
