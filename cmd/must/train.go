package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"must/data"
	"must/run"
	"must/train"
)

// A source names a data set on the command line.
type source struct {
	Format       string  `help:"Format of the data, see must data list." placeholder:"NAME"`
	Path         string  `help:"Folder or file of the data." placeholder:"PATH"`
	Subset       string  `help:"Which set of a family: one of the scenes; for VOC a year, segmentation, or 2012/segmentation." placeholder:"NAME"`
	Count        int     `help:"Use only N images, spread over the set; 0: all." placeholder:"N"`
	Scale        float64 `help:"Depth units per stored unit, where the format cannot know." placeholder:"X"`
	Units        string  `help:"What pairs of image and depth store, where that is not metric: relative or inverse." enum:",metric,relative,inverse" default:"" placeholder:"UNITS"`
	ImagesFolder string  `help:"Folder of the images, where a file of labels cannot tell." placeholder:"DIR"`
	Frame        string  `help:"What labels were drawn on, where sizes do not tell: shown, stored or resized pictures." enum:",shown,stored,resized" default:"" placeholder:"WHICH"`
	Lines        string  `help:"What lines of YOLO labels hold, where their numbers do not tell: box score, box id, box score id, polygon or polygon score." placeholder:"WHAT"`
	Void         string  `help:"Values of semantic maps that are no class, such as 255; or none." placeholder:"VALUES"`
	Encoding     string  `help:"Encoding of text files, where their bytes do not tell, such as gb18030." placeholder:"NAME"`
	Metric       string  `help:"Published protocol to score by: ade20k, nyu, voc or voc07." placeholder:"NAME"`
	Labels       string  `help:"Folder of pseudo labels to fill in what is unknown." placeholder:"DIR"`
}

// at returns the source of one part of the set; "" is what the format takes for all of it.
func (s *source) at(split string) (data.Source, error) {
	if s.Format == "" {
		return data.Source{}, fmt.Errorf("name the format of the data by --format; `must data list` shows them")
	}
	return data.Source{
		Format: s.Format, Path: s.Path, Images: s.ImagesFolder, Set: s.Subset, Split: split, Count: s.Count,
		Scale: s.Scale, Units: s.Units, Frame: s.Frame, Lines: s.Lines, Void: s.Void, Text: s.Encoding, Metric: s.Metric, Labels: s.Labels,
	}, nil
}

// name is what people call the set.
func (s *source) name() string {
	if s.Path == "" {
		return s.Subset
	}
	return filepath.Base(s.Path)
}

type trainCmd struct {
	source
	Out      string   `help:"Folder of the run; the same run that is there goes on." required:"" placeholder:"DIR"`
	Task     []string `help:"Task to learn (repeatable); default: all that the data has labels for." placeholder:"TASK"`
	From     string   `help:"Weights whose trunk to start from, ours, torchvision's or timm's; size and architecture are theirs." type:"existingfile" placeholder:"FILE"`
	Size     int      `help:"Side of the network's input in pixels; default 224." placeholder:"PX"`
	Partial  bool     `help:"Go on where the weights lack a part of the backbone, or have more of it."`
	Backbone string   `help:"ResNet of so many layers, plain or as BiT has it: resnet18, 34, 50, 101, 152, bit50, …; default resnet50." enum:",resnet18,resnet34,resnet50,resnet101,resnet152,bit18,bit34,bit50,bit101,bit152" default:"" placeholder:"NAME"`
	Width    float64  `help:"Factor on its channels; default 1." placeholder:"X"`

	Epochs float64 `help:"Passes over the data; default 12." placeholder:"N"`
	Batch  int     `help:"Images per step; default 16." placeholder:"N"`
	LR     float64 `help:"Learning rate; default 0.02." name:"lr" placeholder:"X"`
	Seed   uint64  `help:"Of weights and order; default 1." placeholder:"N"`

	Set []string `help:"Change any other setting of the recipe (repeatable)." sep:"none" placeholder:"KEY=VALUE"`
	worldFlags
	DryRun bool `help:"Print the recipe that would be run, and do nothing."`
}

func (trainCmd) Help() string {
	return `Trains one network as a recipe of one stage: the same trainer, report and rules as must run. The model is
OUT/train/model.safetensors. The val part of the data is scored at the end, and every --set train.eval_every=N epochs.

Examples:

    must train --format imagefolder --path flowers --out out/flowers --size 128 --backbone resnet18
    must train --format voc --path VOCdevkit --subset 2007 --out out/voc --from teacher.safetensors --epochs 8
    must train --format scenes --subset ranges --out out/depth --size 64 --backbone resnet18 --width 0.25
    must train --format images --path photos --labels photos-labels --out out/student`
}

func (c *trainCmd) Run(ctx context.Context, a *app) error {
	set, err := c.at("")
	if err != nil {
		return err
	}
	if c.Scale < 0 || c.Count < 0 {
		return fmt.Errorf("--scale and --count must not be negative")
	}
	fit, err := a.fit(c.Out)
	if err != nil {
		return err
	}
	r, chosen, err := run.Training(runName(c.Out), set, c.Task, c.From, c.Partial, c.settings(), fit)
	if err != nil {
		return err
	}
	if c.DryRun {
		text, err := r.Text()
		a.printf("%s", text)
		return err
	}
	runner, err := run.New(r, c.Out)
	if err != nil {
		return err
	}
	defer runner.Close()
	runner.Display = a.display
	if changed := runner.Changed(); len(changed) > 0 {
		return fmt.Errorf("%s holds a run with other data or settings; choose another --out, or remove it", c.Out)
	}
	if c.Processes > 1 && a.place.Size == 1 {
		return a.launch(ctx, c.Processes)
	}
	if err := a.share(c.Out); err != nil {
		return err
	}
	if !a.world.Leads() {
		return run.Follow(ctx, c.Out, a.world)
	}
	runner.World = a.world
	if len(chosen) > 0 {
		a.display.Logf("%s: chosen for images of %d pixels on %s: %s; --set changes any", run.Single, r.Size, a.options.Device, strings.Join(chosen, ", "))
	}
	if err := c.foretell(ctx, a, runner); err != nil {
		return err
	}
	if err := runner.Run(ctx); err != nil {
		return err
	}
	model := runner.Path(run.Single, train.ModelFile)
	a.printf("model:   %s\n", model)
	if err := printRun(a, c.Out); err != nil {
		return err
	}
	a.printf("next:\n")
	for _, words := range [][]string{
		{"predict", model, c.picture()}, {"export", model, "--out", strings.TrimSuffix(model, filepath.Ext(model)) + ".onnx"}, {"serve", model},
	} {
		a.printf("  must %s\n", commandLine(words))
	}
	return nil
}

// long is the pixels in all steps from which on a run is worth an estimate, which takes seconds itself.
const long = 3e7

// foretell says how long a run will take that is not short, and what it needs.
func (c *trainCmd) foretell(ctx context.Context, a *app, r *run.Runner) error {
	if a.display == nil || a.world.Count() > 1 || r.Ended(run.Single) {
		return nil
	}
	pixels, err := r.Pixels(run.Single)
	if err != nil || pixels < long {
		return err
	}
	p, err := r.Plan(ctx, nil)
	if err != nil {
		return err
	}
	for _, line := range p.Foretell(run.Single) {
		a.display.Logf("%s: %s", run.Single, line)
	}
	return nil
}

// picture names an image to try the model on: a folder of them where that is what the data is.
func (c *trainCmd) picture() string {
	if c.Format == "images" || c.Format == "imagefolder" {
		return c.Path
	}
	return "photo.jpg"
}

// settings are those flags that were given, as settings of the recipe; --set comes last and wins.
func (c *trainCmd) settings() []string {
	var s []string
	add := func(key string, value any, given bool) {
		if given {
			s = append(s, fmt.Sprintf("%s=%v", key, value))
		}
	}
	add("size", c.Size, c.Size != 0)
	add("model.backbone", c.Backbone, c.Backbone != "")
	add("model.width", c.Width, c.Width != 0)
	add("train.epochs", c.Epochs, c.Epochs != 0)
	add("train.batch", c.Batch, c.Batch != 0)
	add("train.lr", c.LR, c.LR != 0)
	add("seed", c.Seed, c.Seed != 0)
	return append(s, c.Set...)
}

// runName is the folder's name as a recipe's.
func runName(out string) string {
	if name := strings.TrimLeft(filepath.Base(out), "."); name != "" && name != string(filepath.Separator) {
		return name
	}
	return "train"
}
