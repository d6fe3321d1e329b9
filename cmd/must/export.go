package main

import (
	"context"
	"fmt"
	"strings"

	"must/checkpoint"
	"must/data"
	"must/export"
	"must/predictions"
	"must/recipe"
	"must/torch"
)

type exportCmd struct {
	Checkpoint string   `arg:"" help:"The network." type:"existingfile"`
	Out        string   `help:"File to write." required:"" placeholder:"FILE"`
	To         string   `help:"onnx, or torch: backbone and classifier as a .pth under torchvision's names." enum:"onnx,torch" default:"onnx" placeholder:"FORMAT"`
	Task       []string `help:"Task of the model (repeatable); default: all of the network's." placeholder:"TASK"`
	Feature    []string `help:"Feature that the model gives too (repeatable): pooled, c5, p2 to p7, fused." placeholder:"NAME"`
	Bytes      bool     `help:"The input is bytes; default: float32 in 0 to 255."`
	Argmax     bool     `help:"Segmentation gives classes and confidences, in place of the probabilities of all classes."`
	Raw        bool     `help:"Detection gives all boxes and leaves the last suppression to who runs the model."`
	FP16       bool     `help:"Weights and arithmetic in float16." name:"fp16"`
	ProveOn    []string `help:"Images, or folders of them, to be proven on; default: rendered ones." type:"path" placeholder:"PATH"`
}

func (exportCmd) Help() string {
	return `Writes the network as an ONNX model, run in ONNX Runtime first: what does not give what libtorch gives is not written.
Beside it lie FILE.teacher.yaml, with which it labels here, and FILE.py, which predicts with numpy and onnxruntime alone.
docs/export.md lists inputs, outputs and what is in the metadata.

Examples:

    must export student.safetensors --out student.onnx
    must export student.safetensors --out depth.onnx --task depth --bytes --prove-on photos
    must export student.safetensors --out student.onnx --feature pooled --feature p3
    must export student.safetensors --out trunk.pth --to torch`
}

func (c *exportCmd) Run(ctx context.Context, a *app) error {
	if end := map[string]string{"onnx": ".onnx", "torch": ".pth"}[c.To]; !strings.HasSuffix(c.Out, end) {
		return fmt.Errorf("--out is %s; with --to %s its name ends in %s", c.Out, c.To, end)
	}
	var images data.Dataset
	if c.ProveOn != nil {
		var err error
		if images, err = predictions.Images(c.ProveOn); err != nil {
			return err
		}
	}
	if err := a.engine(); err != nil {
		return err
	}
	n, origin, err := checkpoint.Load(c.Checkpoint)
	if err != nil {
		return err
	}
	defer torch.Do(n.Free)
	if c.To == "torch" {
		build, err := export.Torch(n, c.Out)
		if err != nil {
			return err
		}
		a.printf("written: %s\nfor:     %s\ninput:   RGB in 0 to 255, minus mean %v, by deviation %v\n", c.Out, build, n.Mean, n.Std)
		return nil
	}
	proof, err := export.ONNX(ctx, n, c.Out, export.Options{
		Tasks: c.Task, Features: c.Feature, Argmax: c.Argmax, Raw: c.Raw, Bytes: c.Bytes, Half: c.FP16,
		Images: images, Program: "must " + recipe.Version, Origin: export.Origin{SHA256: origin.SHA256, Training: origin.Training},
	})
	if proof != nil {
		a.printf("%v", proof)
	}
	if err != nil {
		return err
	}
	a.printf("written: %s\n", c.Out)
	if c.Raw {
		return nil // neither could tell its objects
	}
	beside, err := export.Beside(c.Out)
	for _, path := range beside {
		a.printf("beside:  %s\n", path)
	}
	return err
}
