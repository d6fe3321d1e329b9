package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"must/data"
	"must/data/inspect"
	"must/draw"
)

type dataInspectCmd struct {
	part
	Sample int    `help:"Look at N images, spread evenly over the set; 0: at all of them." placeholder:"N"`
	Images int    `help:"Images on the contact sheet; 0: no sheet." default:"12" placeholder:"N"`
	Out    string `help:"PNG file of the contact sheet; default: out/inspect/NAME.png." placeholder:"FILE"`
}

func (dataInspectCmd) Help() string {
	return `Examples:

    must data inspect crowds --sample 200
    must data inspect --format ade20k --data ADEChallengeData2016 --split val
    must data inspect --format imagenet --data ilsvrc --sample 5000`
}

func (c *dataInspectCmd) Run(ctx context.Context, a *app) error {
	ds, err := c.open()
	if err != nil {
		return err
	}
	defer data.Close(ds)
	looked := ds.Len()
	if c.Sample > 0 {
		looked = min(looked, c.Sample)
	}
	bar := a.display.Task("inspect", int64(looked), "images")
	var account bytes.Buffer
	_, err = inspect.Run(ctx, ds, &account, inspect.Options{Count: c.Sample, Progress: func(done, _ int) { bar.Set(int64(done)) }})
	if err != nil {
		return err
	}
	bar.Done()
	a.printf("%s", account.String())
	if c.Images < 1 {
		return nil
	}
	name := c.name()
	sheet, err := draw.ContactSheet(data.Spread(ds, c.Images), c.Images, draw.Options{Title: fmt.Sprintf("%s, %s part", name, c.Split)})
	if err != nil {
		return err
	}
	out := c.Out
	if out == "" {
		out = filepath.Join("out", "inspect", name+".png")
	}
	if err := draw.WritePNG(out, sheet); err != nil {
		return err
	}
	a.printf("\n%s\n", out)
	return nil
}
