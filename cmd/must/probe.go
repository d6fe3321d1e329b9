package main

import (
	"context"
	"os"
	"path/filepath"

	"must/atomicfile"
	"must/checkpoint"
	"must/data"
	"must/data/formats"
	"must/probe"
	"must/torch"
)

type probeCmd struct {
	Checkpoint string `arg:"" help:"The network, or weights of torchvision or timm." type:"existingfile"`
	source
	TrainSplit string `help:"Part to learn the classes from; default train." default:"train" placeholder:"NAME"`
	TestSplit  string `help:"Part to score on; default test." default:"test" placeholder:"NAME"`
	KNN        []int  `help:"Numbers of neighbours; default 20,200." name:"knn" placeholder:"K"`
	Seed       uint64 `help:"Of the tenth of the training part that the penalty is chosen on; default 1." default:"1" placeholder:"N"`
	Batch      int    `help:"Images at once; default 64." placeholder:"N"`
	Features   string `help:"Folder to write features, classes and scores to, as NumPy and JSON." placeholder:"DIR"`
}

func (probeCmd) Help() string {
	return `Tells what the features of a network are worth as they are: a linear classifier and the nearest neighbours learn
the classes of one part of the data from them and are scored on another. Any network will do, also one that was
pretrained without labels. docs/probes.md tells how.

Examples:

    must probe out/cifar10-baselines/simclr/model.safetensors --format imagefolder --path cifar10
    must probe student.safetensors --format imagefolder --path flowers --test-split val --knn 10
    must probe student.safetensors --format cifar --path cifar-10-batches-bin --features features`
}

func (c *probeCmd) Run(ctx context.Context, a *app) error {
	splits := [2]string{c.TrainSplit, c.TestSplit}
	var sets [2]data.Dataset
	for i, split := range splits {
		src, err := c.at(split)
		if err != nil {
			return err
		}
		if sets[i], err = formats.Open(src); err != nil {
			return err
		}
		defer data.Close(sets[i])
	}
	weights, err := checkpoint.ReadPretrained(c.Checkpoint)
	if err != nil {
		return err
	}
	if err := a.engine(); err != nil {
		return err
	}
	net, err := weights.Backbone()
	if err != nil {
		return err
	}
	defer torch.Do(net.Free)
	o := probe.Options{Seed: c.Seed, K: c.KNN, Batch: c.Batch, Display: a.display}
	var parts [2]*probe.Features
	for i, split := range splits {
		if parts[i], err = probe.Extract(ctx, net, sets[i], "features of "+split, o); err != nil {
			return err
		}
	}
	scores, err := probe.Score(ctx, parts[0], parts[1], o)
	if err != nil {
		return err
	}
	for _, v := range scores.Values {
		a.printf("%-14s %8.4f\n", v.Name, v.Value)
	}
	a.printf("learned from %d images, scored on %d, %d left out; penalty of the linear probe %g\n", scores.Train, scores.Test, scores.Skipped, scores.L2)
	if c.Features == "" {
		return nil
	}
	if err := os.MkdirAll(c.Features, 0o777); err != nil {
		return err
	}
	for i, name := range []string{"train", "test"} {
		if err := parts[i].Write(filepath.Join(c.Features, name)); err != nil {
			return err
		}
	}
	if err := atomicfile.WriteJSON(filepath.Join(c.Features, "scores.json"), scores); err != nil {
		return err
	}
	a.printf("features: %s\n", c.Features)
	return nil
}
