package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"must/data"
	"must/data/formats"
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
	return `Without --format it says which format a folder or file seems to have, and why.

Examples:

    must data inspect folder
    must data inspect crowds --sample 200
    must data inspect --format ade20k --path ADEChallengeData2016 --split val
    must data inspect --format imagenet --path ilsvrc --sample 5000`
}

func (c *dataInspectCmd) Run(ctx context.Context, a *app) error {
	if _, err := os.Stat(c.Name); err == nil && c.Path == "" { // people name the folder, as for any other program
		c.Name, c.Path = "", c.Name
	}
	told := false // by detection
	if c.Name == "" && c.Format == "" && c.Path != "" {
		if err := c.detect(a); err != nil {
			return err
		}
		told = true
	}
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
	if part := c.Split; part != "" && c.Name == "" {
		a.printf("part    %s (--split NAME for another, --split '' for all)\n", part)
	}
	a.printf("%s", account.String())
	if told {
		defer a.printf("\nnext:\n  %s\n", c.next(ds.Labels()))
	}
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

// detect fills in the format that the data seem to have, and says why.
func (c *dataInspectCmd) detect(a *app) error {
	guesses, err := formats.Detect(c.Path)
	if err != nil {
		return err
	}
	if len(guesses) == 0 {
		return fmt.Errorf("%s: no format that is known; `must data list` shows those that are, `must data example FORMAT DIR` writes one", c.Path)
	}
	g := guesses[0]
	c.Format, c.Path = g.Source.Format, g.Source.Path
	if c.Subset == "" {
		c.Subset = g.Source.Set
	}
	a.printf("format  %s: %s\n", c.Format, g.Why)
	var others []string
	for _, g := range guesses[1:] {
		if g.Source.Format != "images" {
			others = append(others, fmt.Sprintf("%s (%s)", g.Source.Format, g.Why))
		}
	}
	if len(others) > 0 {
		a.printf("        or, by --format: %s\n", strings.Join(others, "; "))
	}
	return nil
}

// next returns the command that follows for data with such labels.
func (c *dataInspectCmd) next(l data.Labels) string {
	args := []string{"must", "train", "--format", c.Format, "--path", c.Path}
	if len(l) == 0 {
		args[1] = "label"
	}
	for _, o := range []struct{ flag, value string }{
		{"--subset", c.Subset}, {"--images-folder", c.ImagesFolder}, {"--units", c.Units}, {"--frame", c.Frame}, {"--lines", c.Lines}, {"--void", c.Void}, {"--encoding", c.Encoding},
	} {
		if o.value != "" {
			args = append(args, o.flag, o.value)
		}
	}
	if c.Scale != 0 {
		args = append(args, "--scale", strconv.FormatFloat(c.Scale, 'g', -1, 64))
	}
	out := filepath.Join("out", c.name())
	if len(l) == 0 {
		return commandLine(append(args, "--teacher", "MODEL", "--out", out))
	}
	return commandLine(append(args, "--out", out))
}
