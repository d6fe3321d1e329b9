package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"must/atomicfile"
	"must/data"
	"must/data/formats"
	"must/draw"
	"must/label"
	"must/label/export"
	"must/label/shards"
	"must/recipe"
	"must/review"
	"must/stage"
	"must/task/registry"
	"must/teacher"
)

type labelVerbs struct {
	Run    labelCmd       `cmd:"" default:"withargs" help:"Label images with trained networks."`
	Import labelImportCmd `cmd:"" help:"Read labels that came back from Label Studio, CVAT or a COCO tool in place of pseudo labels."`
}

func (labelVerbs) Help() string { return labelCmd{}.Help() }

type labelCmd struct {
	source
	engine
	Split     string             `help:"Part of the data to label; default: all of a folder, train of other formats." placeholder:"NAME"`
	Teacher   []string           `help:"Checkpoint, or .teacher.yaml that declares an ONNX model (docs/onnx.md); it labels (repeatable)." type:"existingfile" required:"" placeholder:"FILE"`
	Out       string             `help:"Folder of the labels; labelling that is under way there goes on." required:"" placeholder:"DIR"`
	Task      []string           `help:"Task to label (repeatable); default: all of the teachers' that the data lacks labels for." placeholder:"TASK"`
	Threshold map[string]float64 `help:"Least score of a box, confidence of a pixel, probability of a class; default: detection=0.5, segmentation=0.5, and all classifications." placeholder:"TASK=X"`
	Batch     int                `help:"Images at once; default 16." placeholder:"N"`
	ShardSize int                `help:"Images per shard; default 1000." placeholder:"N"`
	Preview   int                `help:"Only draw N images, spread over the set, with their labels into DIR/preview.png." placeholder:"N"`
	Quality   bool               `help:"Also tell how good the labels are, by the true ones that the data has; into DIR/quality.json."`
	Export    []string           `help:"Write the labels in these formats too, into DIR/export: coco, yolo, voc, png, npy, multi." enum:"coco,yolo,voc,png,npy,multi" placeholder:"FORMAT"`
}

func (labelCmd) Help() string {
	return `Labels what the images lack, by the rules of MuST: boxes of a score of at least 0.5, pixels under a confidence
of 0.5 ignored, whole class distributions, depth as predicted. True labels stay. It streams, goes on where it was
cut off, and several processes may share one DIR. docs/formats-shards.md describes what is written.

Examples:

    must label --teacher teacher.safetensors --path photos --out photos-labels --preview 9
    must label --teacher teacher.safetensors --path photos --out photos-labels
    must label --teacher boxes.safetensors --format coco --path coco --split val --count 500 --out quality --quality
    must label --teacher boxes.safetensors --teacher depth.safetensors --path photos --out labels --threshold detection=0.7 --export coco`
}

func (c *labelCmd) Run(ctx context.Context, a *app) error {
	if c.Format == "" {
		c.Format = "images"
	}
	split := c.Split
	if whole := c.Format == "images" || c.Format == "imagefolder" || c.Format == "shards"; split == "" && !whole {
		split = "train"
	}
	set, err := c.at(split)
	if err != nil {
		return err
	}
	if (c.Format == "images" || c.Format == "imagefolder") && within(c.Path, c.Out) {
		return fmt.Errorf("--out %s lies in --path %s, whose pictures would be labelled too the next time: name a folder outside of it", c.Out, c.Path)
	}
	thresholds := label.DefaultThresholds()
	if err := label.CheckThresholds(c.Threshold); err != nil {
		return fmt.Errorf("--%w", err)
	}
	maps.Copy(thresholds, c.Threshold)
	ds, err := formats.Open(set)
	if errors.Is(err, data.ErrNoPart) && c.Split == "" { // a set without parts
		if set, err = c.at(""); err == nil {
			ds, err = formats.Open(set)
		}
	}
	if err != nil {
		return err
	}
	defer data.Close(ds)
	a.frugal()
	if err := a.engine(); err != nil {
		return err
	}
	teachers, err := teacher.OpenAll(c.Teacher, ds.Labels(), c.of(a))
	if err != nil {
		return err
	}
	defer teacher.Free(teachers)
	o := label.Options{
		Name: c.name(), Tasks: c.Task, Thresholds: thresholds, Batch: c.Batch, ShardSize: c.ShardSize, Program: "must " + recipe.Version, Display: a.display,
	}
	if c.Preview > 0 {
		img, err := label.Preview(ctx, ds, teachers, c.Preview, o)
		if err != nil {
			return err
		}
		path := filepath.Join(c.Out, "preview.png")
		if err := draw.WritePNG(path, img); err != nil {
			return err
		}
		a.printf("preview: %s\n", path)
		return nil
	}
	if c.Quality {
		if err := c.quality(ctx, a, ds, teachers, o); err != nil || c.Task == nil && label.Missing(ds, teachers) == nil {
			return err
		}
	}
	sum, err := label.Run(ctx, ds, teachers, c.Out, o)
	if err != nil {
		return err
	}
	a.printf("labels:  %s (%d images, %d of them now", c.Out, sum.All.Images, sum.Images)
	for _, t := range data.Ordered(maps.Keys(sum.All.Tasks)) {
		if n := sum.All.Tasks[t]; n.Images > 0 {
			a.printf(", %d %s", n.Labels, registry.Get(t).Unit())
		}
	}
	a.printf(")\n")
	for _, h := range sum.Health {
		a.printf("%-8s %s: %s\n", "", h.Task, h)
	}
	for _, w := range sum.Warnings {
		a.printf("%s\n", w)
	}
	if sum.All.Skipped > 0 {
		a.printf("skipped: %d images could not be read; %s says why\n", sum.All.Skipped, filepath.Join(c.Out, "manifest"))
	}
	return c.export(a)
}

// quality tells how good the labels are.
func (c *labelCmd) quality(ctx context.Context, a *app, ds data.Dataset, teachers []label.Teacher, o label.Options) error {
	if _, err := os.Stat(shards.DecisionsPath(c.Out)); err == nil {
		set, err := shards.Open(c.Out)
		if err != nil {
			return err
		}
		if o.Decided, err = set.Decided(); err != nil {
			return err
		}
	}
	q, err := label.Assess(ctx, ds, teachers, o)
	if err != nil {
		return err
	}
	printScores(a, q.Scores)
	path := filepath.Join(c.Out, stage.QualityFile)
	if err := os.MkdirAll(c.Out, 0o777); err != nil {
		return err
	}
	if err := atomicfile.WriteJSON(path, q); err != nil {
		return err
	}
	a.printf("quality: %s, %d images", path, q.Images)
	if q.Decided > 0 {
		a.printf(", %d of them with labels that people changed or dropped", q.Decided)
	}
	a.printf("\n")
	return nil
}

// export writes the finished labels in other formats.
func (c *labelCmd) export(a *app) error {
	if len(c.Export) == 0 {
		return nil
	}
	set, err := shards.Open(c.Out)
	if err != nil {
		return err
	}
	source := export.FromSet(set)
	if c.Format == "images" || c.Format == "imagefolder" {
		if source.File, err = export.Files(c.Path); err != nil {
			return err
		}
	}
	slices.Sort(c.Export)
	for _, format := range slices.Compact(c.Export) {
		path := filepath.Join(c.Out, "export", format)
		write := map[string]func(export.Source, string) error{
			"yolo": export.YOLO, "voc": export.VOC, "png": export.Maps, "npy": export.Arrays, "multi": export.Multi,
			"coco": func(s export.Source, path string) error {
				if err := os.MkdirAll(path, 0o777); err != nil {
					return err
				}
				return export.COCO(s, filepath.Join(path, "instances.json"))
			},
		}[format]
		if err := os.RemoveAll(path); err != nil { // an older export, or what was left of one
			return err
		}
		if err := write(source, path); err != nil {
			return fmt.Errorf("export %s: %w", format, err)
		}
		a.printf("%-8s %s\n", format+":", path)
	}
	return nil
}

func (labelImportCmd) Help() string {
	return `Takes what people mended in another tool in place of the pseudo labels. Images are found by the names that went out
with "must review --export"; those that the file does not have stay as they are. Decisions go to
DIR/review/decisions.jsonl, can be undone on the page, and are obeyed by whatever reads the labels.

Examples:

    must review photos-labels --path photos --export cvat --out for-the-team
    must label import photos-labels annotations.xml --from cvat
    must label import photos-labels project.json --from labelstudio`
}

type labelImportCmd struct {
	Labels string `arg:"" help:"Folder of pseudo labels." type:"existingdir"`
	File   string `arg:"" help:"What the tool exported: Label Studio's JSON, CVAT's XML for images, COCO's instances." type:"existingfile"`
	From   string `help:"The tool: labelstudio, cvat or coco." enum:"labelstudio,cvat,coco" required:"" placeholder:"TOOL"`
}

func (c *labelImportCmd) Run(a *app) error {
	r, err := shards.OpenReview(c.Labels)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := review.Import(r, c.From, c.File)
	if err != nil {
		return err
	}
	a.printf("%d images have other labels now, %d came back as they were and are kept", n.Replaced, n.Kept)
	if n.Decided > 0 {
		a.printf(", %d were kept already", n.Decided)
	}
	a.printf("; see %s\n", shards.DecisionsPath(c.Labels))
	for _, kind := range slices.Sorted(maps.Keys(n.Unread)) {
		a.printf("%d images have what is not read here (%s), and stay as they are\n", n.Unread[kind], kind)
	}
	if k := len(n.Unknown); k > 0 {
		a.printf("%d images of the file are not in the set, such as %s\n", k, n.Unknown[0])
	}
	return nil
}

// within tells whether a path is a folder or lies in it.
func within(folder, path string) bool {
	f, err := filepath.Abs(folder)
	p, err2 := filepath.Abs(path)
	if err != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(f, p)
	return err == nil && filepath.IsLocal(rel)
}
