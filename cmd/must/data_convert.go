package main

import (
	"context"
	"fmt"
	"os"

	"must/data"
	"must/label/export"
	"must/recipe"
)

type dataConvertCmd struct {
	part
	To         string `help:"Format to write: coco, yolo, voc (boxes), png (maps), npy (classes, depth, normals), multi (all of these in one folder) or shards (all labels, for --labels)." enum:"coco,yolo,voc,png,npy,multi,shards" required:"" placeholder:"FORMAT"`
	Out        string `help:"Folder to write; it must not be there, or be empty." required:"" placeholder:"DIR"`
	WithImages bool   `help:"Write the images too, as PNG, so that the folder is a set by itself (coco, yolo, voc, png, multi)."`
}

func (dataConvertCmd) Help() string {
	return `Classes keep their order. Without --with-images only labels are written, under the names of the images.
docs/exports.md says what is written, and where the images belong.

Examples:

    must data convert --format coco --path coco --split val --to yolo --with-images --out coco-yolo
    must data convert --format yolo --path coco-yolo --split val --to voc --with-images --out coco-voc
    must data convert --format images --path photos --split '' --labels photos-labels --to coco --out photos-coco
    must data convert --format voc --path VOCdevkit --subset 2007 --to shards --out voc-labels`
}

func (c *dataConvertCmd) Run(ctx context.Context, a *app) error {
	ds, err := c.open()
	if err != nil {
		return err
	}
	defer data.Close(ds)
	broken := 0
	skipped := func(err error) {
		broken++
		a.display.Logf("skipped: %v", err)
	}
	if c.WithImages && (c.To == "npy" || c.To == "shards") {
		return fmt.Errorf("--with-images goes with coco, yolo, voc, png and multi; %s is labels alone", c.To)
	}
	bar := a.display.Task("convert", int64(ds.Len()), "images")
	ds = watched{ds, func() error { bar.Add(1); return ctx.Err() }}
	source := export.FromDataset(ds, skipped)
	source.Images, source.Part = c.WithImages, c.Split
	partial := 0
	source.Partial = func(string) { partial++ }
	switch c.To {
	case "coco":
		err = export.COCOFolder(source, c.Out)
	case "yolo":
		err = export.YOLO(source, c.Out)
	case "voc":
		err = export.VOC(source, c.Out)
	case "png":
		err = export.Maps(source, c.Out)
	case "multi":
		err = export.Multi(source, c.Out)
	case "npy":
		err = export.Arrays(source, c.Out)
	case "shards":
		if err = os.MkdirAll(c.Out, 0o777); err == nil {
			err = export.Shards(ctx, ds, c.name(), c.Out, "must "+recipe.Version, skipped)
		}
	}
	bar.Done()
	if err != nil {
		return err
	}
	a.printf("%s: %d images, %d unreadable\n", c.Out, ds.Len()-broken, broken)
	if partial > 0 {
		a.printf("%d images have labels that do not tell of all classes, or crowds: %s cannot say so, and takes them for complete\n", partial, c.To)
	}
	for _, note := range data.Notes(ds) {
		a.printf("%s\n", note)
	}
	return nil
}

// watched asks before every sample whether to go on.
type watched struct {
	data.Dataset
	next func() error
}

func (w watched) Sample(i int) (*data.Sample, error) {
	if err := w.next(); err != nil {
		return nil, err
	}
	return w.Dataset.Sample(i)
}

func (w watched) Unwrap() data.Dataset { return w.Dataset }
