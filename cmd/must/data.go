package main

import (
	"fmt"
	"path/filepath"

	"must/data"
	"must/data/formats"
	"must/data/scenes"
	"must/draw"
)

type dataCmd struct {
	List    dataListCmd    `cmd:"" help:"List the formats, and the sets of the embedded world."`
	Show    dataShowCmd    `cmd:"" help:"Draw a contact sheet of a set with all its labels."`
	Inspect dataInspectCmd `cmd:"" help:"Say what is in a set: counts, sizes, labels, broken images; and draw it."`
	Convert dataConvertCmd `cmd:"" help:"Write a set's labels in another format."`
	Example dataExampleCmd `cmd:"" help:"Write the smallest set of a format that works, to see how it is laid out."`
}

func (dataCmd) Help() string {
	return `Examples:

    must data list
    must data show crowds
    must data inspect --path folder
    must data inspect --format voc --path VOCdevkit --subset 2007
    must data example yolo out/yolo
    must data convert --format voc --path VOCdevkit --subset 2007 --to coco --out voc-coco`
}

type dataListCmd struct{}

func (dataListCmd) Run(a *app) error {
	a.printf("Formats (--format, or format: in a recipe):\n")
	for _, f := range formats.All() {
		a.printf("  %-14s %s\n", f.Name, f.About)
	}
	a.printf("Sets of the embedded world (must data show SET):\n")
	for _, s := range scenes.Sets() {
		a.printf("  %-14s %s\n", s.Name, s.About)
	}
	return nil
}

// A part is one part of a set on the command line.
type part struct {
	Name string `arg:"" optional:"" name:"set" help:"A set of the embedded world; for other data give --format and --path."`
	source
	Split string `help:"Part of the data." default:"train" placeholder:"NAME"`
}

func (p *part) open() (data.Dataset, error) {
	if p.Name != "" {
		if p.Format != "" && p.Format != "scenes" || p.Path != "" {
			return nil, fmt.Errorf("set %s is one of the embedded world; for other data leave it out, or name it by --subset", p.Name)
		}
		p.Format, p.Subset = "scenes", p.Name
	}
	src, err := p.at(p.Split)
	if err != nil {
		return nil, err
	}
	return formats.Open(src)
}

type dataShowCmd struct {
	part
	Images int    `help:"How many, spread over the set." default:"12" placeholder:"N"`
	Out    string `help:"PNG file to write; default: out/show/NAME.png." placeholder:"FILE"`
}

func (dataShowCmd) Help() string {
	return `Examples:

    must data show stuff
    must data show --format voc --path VOCdevkit --subset 2007 --split val --out voc.png
    must data show --format images --path photos --labels photos-labels`
}

func (c *dataShowCmd) Run(a *app) error {
	ds, err := c.open()
	if err != nil {
		return err
	}
	defer data.Close(ds)
	name := c.name()
	sheet, err := draw.ContactSheet(data.Spread(ds, c.Images), c.Images, draw.Options{Title: fmt.Sprintf("%s, %s part", name, c.Split)})
	if err != nil {
		return err
	}
	out := c.Out
	if out == "" {
		out = filepath.Join("out", "show", name+".png")
	}
	if err := draw.WritePNG(out, sheet); err != nil {
		return err
	}
	a.printf("%s\n", out)
	return nil
}

type dataExampleCmd struct {
	Format string `arg:"" help:"A format, see must data list."`
	Dir    string `arg:"" help:"Folder to write; it must not be there, or be empty."`
}

func (dataExampleCmd) Help() string {
	return `Examples:

    must data example masks out/masks
    must data inspect --path out/masks`
}

func (c *dataExampleCmd) Run(a *app) error {
	if _, err := formats.Example(c.Format, c.Dir); err != nil {
		return err
	}
	f, err := formats.Find(c.Format)
	if err != nil {
		return err
	}
	a.printf("%s", f.Listing())
	a.printf("%s\n", commandLine([]string{"must", "data", "inspect", "--format", c.Format, "--path", c.Dir}))
	return nil
}
