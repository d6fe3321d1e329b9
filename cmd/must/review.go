package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"must/data"
	"must/data/formats"
	"must/label/export"
	"must/label/shards"
	"must/recipe"
	"must/review"
	"must/web"
)

type reviewVerbs struct {
	Open  reviewCmd      `cmd:"" default:"withargs" help:"Look at the labels on a page and decide about them."`
	Merge reviewMergeCmd `cmd:"" help:"Take over what somebody decided on a copy of the labels."`
}

func (reviewVerbs) Help() string {
	return `A page over pseudo labels: images with their labels drawn in, sorted by what is worth a look; keys to keep, drop,
delete and rename. Decisions go beside the shards, one line each, and hold for whatever reads the labels: training
and export. docs/review.md is the manual.

Examples:

    must review photos-labels --path photos
    must review photos-labels --path photos --against student-labels
    must review photos-labels --path photos --export labelstudio --out for-the-team
    must review merge photos-labels copy-of-a-colleague/photos-labels`
}

// A labelled is a set of labels and the images that they were made for.
type labelled struct {
	Labels string `arg:"" help:"Folder of pseudo labels, from must label." type:"existingdir"`
	source `embed:""`
	Split  string `help:"Part of the data that was labelled; default: all of a folder, train of other formats." placeholder:"NAME"`
}

func (l *labelled) images() (data.Dataset, error) {
	src := l.source
	if src.Format == "" {
		src.Format = "images"
	}
	if src.Path == "" && src.Format == "images" {
		return nil, fmt.Errorf("name the folder of the images that were labelled by --path")
	}
	split := l.Split
	if split == "" && src.Format == "scenes" {
		split = "train"
	}
	s, err := src.at(split)
	if err != nil {
		return nil, err
	}
	return formats.Open(s)
}

type reviewCmd struct {
	labelled
	Against string   `help:"Other labels of the same images, such as the student's: sort by disagreement." type:"existingdir" placeholder:"DIR"`
	Listen  string   `help:"Port, or ADDRESS:PORT; without an address only this machine can call." default:"127.0.0.1:8001" placeholder:"PORT"`
	Name    []string `help:"Host name by which others call it (repeatable)." placeholder:"HOST"`
	Export  []string `help:"Write the labels as decided for another tool, in place of a page: labelstudio, cvat, coco." enum:"labelstudio,cvat,coco" placeholder:"TOOL"`
	Out     string   `help:"Folder to write to; default LABELS/export." placeholder:"DIR"`
	Prefix  string   `help:"Label Studio: what comes before a file's name below its local root." placeholder:"DIR/"`
}

func (c *reviewCmd) Run(ctx context.Context, a *app) error {
	if len(c.Export) > 0 {
		return c.export(a)
	}
	images, err := c.images()
	if err != nil {
		return err
	}
	defer data.Close(images)
	l, err := web.Listen(c.Listen)
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := review.Open(ctx, c.labelled.Labels, images, c.Against)
	if err != nil {
		return err
	}
	defer s.Close()
	a.printf("%s: the page. Decisions go to %s. Ctrl-C ends it.\n", web.URL(l), shards.DecisionsPath(c.labelled.Labels))
	return web.Serve(ctx, l, s, web.Options{Names: c.Name, Log: a.display.Logf})
}

// export writes the labels, as decided, in the forms of other tools.
func (c *reviewCmd) export(a *app) error {
	set, err := shards.Open(c.labelled.Labels)
	if err != nil {
		return err
	}
	source := export.FromSet(set)
	if c.Path != "" && (c.Format == "" || c.Format == "images" || c.Format == "imagefolder") {
		if source.File, err = export.Files(c.Path); err != nil {
			return err
		}
	}
	out := c.Out
	if out == "" {
		out = filepath.Join(c.labelled.Labels, "export")
	}
	slices.Sort(c.Export)
	for _, tool := range slices.Compact(c.Export) {
		path := filepath.Join(out, tool)
		switch tool {
		case "labelstudio":
			err = export.LabelStudio(source, path, "must "+recipe.Version, export.LocalFiles(c.Prefix))
		case "cvat":
			path = filepath.Join(path, "annotations.xml")
			if err = os.MkdirAll(filepath.Dir(path), 0o777); err == nil {
				err = export.CVAT(source, path)
			}
		case "coco":
			path = filepath.Join(path, "instances.json")
			if err = os.MkdirAll(filepath.Dir(path), 0o777); err == nil {
				err = export.COCO(source, path)
			}
		}
		if err != nil {
			return err
		}
		a.printf("%-12s %s\n", tool+":", path)
	}
	if n := set.Decisions().Stale(); n > 0 {
		a.printf("stale: %d decisions are on labels that were made anew since, and do not hold\n", n)
	}
	return nil
}

type reviewMergeCmd struct {
	Labels string `arg:"" help:"Folder of pseudo labels." type:"existingdir"`
	From   string `arg:"" help:"A copy of it that somebody else decided on, or its review/decisions.jsonl."`
}

func (c *reviewMergeCmd) Run(a *app) error {
	r, err := shards.OpenReview(c.Labels)
	if err != nil {
		return err
	}
	defer r.Close()
	m, err := r.Merge(c.From)
	if err != nil {
		return err
	}
	a.printf("%d decisions taken over\n", m.Taken)
	if len(m.Conflicts) > 0 {
		a.printf("both decided, otherwise, on %d images; look at them again:\n", len(m.Conflicts))
		for _, key := range m.Conflicts {
			a.printf("  %s\n", key)
		}
	}
	return nil
}
