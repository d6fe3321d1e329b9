package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"must/checkpoint"
	"must/checkpoint/convert"
	"must/model"
	"must/network"
	"must/recipe"
	"must/torch"
)

type importCmd struct {
	Weights string `help:"The file: .safetensors, or what torch.save wrote (.pth, .pt, .bin)." required:"" type:"existingfile" placeholder:"FILE"`
	Classes string `help:"Text file with the names of its classes, a line each, in the order of its outputs." required:"" type:"existingfile" placeholder:"FILE"`
	Out     string `help:"Checkpoint to write; default: the network is built and told about, and not written." placeholder:"FILE"`
	List    bool   `help:"Tell of every tensor what became of it."`

	Size      int     `help:"Side of the network's input in pixels; default 224, or what a ViT was trained with." placeholder:"PX"`
	Heads     int64   `help:"Attention heads of a ViT, which its weights do not tell; default: of 64 values each." placeholder:"N"`
	Normalise string  `help:"What the weights expect of pixels: ImageNet's mean and deviation, CLIP's, or -1 to 1; default: as timm's config.json beside it says, else as the layout has it." enum:"imagenet,clip,half," default:"" placeholder:"imagenet|clip|half"`
	Batch     int     `help:"Images per step that it was trained with; default 256, as torchvision's ResNets." default:"256" placeholder:"N"`
	LR        float64 `help:"Learning rate of that batch: by MuST's rule the two weigh the loss on its labels; default 0.1." name:"lr" default:"0.1" placeholder:"X"`
	Optimizer string  `help:"What it was trained by: the rule holds for sgd, the default, only; the loss on labels of another one's weighs 1." enum:"sgd,adamw,lars" default:"sgd" placeholder:"sgd|adamw|lars"`
}

func (importCmd) Help() string {
	return `Makes a checkpoint of this program of a classifier or detector by torchvision or timm, to label, score or predict
with. Nothing in the file is executed. docs/weights.md lists the architectures. To train from such a file's trunk, name it
by must train --from or by from: in a recipe; it needs no import.

Examples:

    must import --weights resnet50.pth --classes imagenet.txt --out resnet50.safetensors
    must import --weights vit_small.safetensors --classes imagenet.txt --list`
}

func (c *importCmd) Run(a *app) error {
	if c.Batch < 1 || !(c.LR > 0) {
		return fmt.Errorf("--batch is %d and --lr %v; both must be positive", c.Batch, c.LR)
	}
	classes, err := lines(c.Classes)
	if err != nil {
		return err
	}
	weights, err := checkpoint.ReadPretrained(c.Weights)
	if err != nil {
		return err
	}
	if err := a.engine(); err != nil {
		return err
	}
	net, started, err := weights.Import(classes, c.change)
	if err != nil {
		return err
	}
	defer torch.Do(net.Free)
	if c.List {
		for _, name := range started.Taken {
			a.printf("taken over    %s\n", name)
		}
		for _, name := range started.Fresh {
			a.printf("starts afresh %s\n", name)
		}
		for _, u := range started.Unused {
			a.printf("unused        %s: %s\n", u.Name, u.Reason)
		}
	}
	a.printf("%v\n", started)
	a.printf("%v of %d px, %d classes, mean %.4v, deviation %.4v\n", net.Model, net.Size, len(classes), net.Mean, net.Std)
	if vit, ok := net.Model.Backbone.(model.ViTConfig); ok && vit.Variant.PreNorm && c.Normalise == "" && net.Mean == convert.HalfMean {
		a.printf("a norm before the blocks is CLIP's: where images were normalised by CLIP's mean, say --normalise clip\n")
	}
	if c.Out == "" {
		return nil
	}
	var state map[string][]float32
	if err := torch.Do(func() { state = net.Set.State() }); err != nil {
		return err
	}
	t := checkpoint.Training{Batch: c.Batch, LR: c.LR, Optimizer: c.Optimizer, Data: []string{filepath.Base(c.Weights)}, Start: weights.SHA256, Version: recipe.Version}
	if err := checkpoint.Save(c.Out, net, state, t); err != nil {
		return err
	}
	a.printf("written: %s\n", c.Out)
	return nil
}

// change sets what flags say of the network.
func (c *importCmd) change(s *network.Spec) {
	if c.Size != 0 {
		s.Size = c.Size
	}
	if vit, ok := s.Model.Backbone.(model.ViTConfig); ok && c.Heads != 0 {
		vit.Heads = c.Heads
		s.Model.Backbone = vit
	}
	switch c.Normalise {
	case "imagenet":
		s.Mean, s.Std = network.ImageNetMean, network.ImageNetStd
	case "clip":
		s.Mean, s.Std = convert.CLIPMean, convert.CLIPStd
	case "half":
		s.Mean, s.Std = convert.HalfMean, convert.HalfStd
	}
}

// lines reads the lines of a text file, without empty ones at its end.
func lines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		all = append(all, strings.TrimSpace(s.Text()))
	}
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, name := range all {
		if name == "" {
			return nil, fmt.Errorf("%s: line %d is empty; it must name class %d", path, i+1, i)
		}
	}
	return all, nil
}
