package main

import (
	"context"
	"fmt"

	"must/predictions"
	"must/teacher"
	"must/torch"
)

type predictCmd struct {
	Checkpoint string   `arg:"" help:"The network, or a .teacher.yaml that declares an ONNX model." type:"existingfile"`
	Image      []string `arg:"" help:"Images, or folders of them."`
	Out        string   `help:"Folder to write to." default:"out/predict" placeholder:"DIR"`
	Batch      int      `help:"Images that the network sees at once; default 16. Memory for it grows with this." default:"16" placeholder:"N"`
	Threshold  float64  `help:"Least score of an object; default 0.5." default:"0.5" placeholder:"X"`
	engine
}

func (predictCmd) Help() string {
	return `Writes NAME.png (every task drawn in) and NAME.json for each image, and maps beside them: NAME.segmentation.png,
NAME.depth.npy, NAME.normals.npy. docs/formats-predictions.md describes the JSON.

Examples:

    must predict out/demo/student/model.safetensors photo.jpg
    must predict student.safetensors photos/ --out predictions --threshold 0.3`
}

func (c *predictCmd) Run(ctx context.Context, a *app) error {
	if !(c.Threshold >= 0 && c.Threshold <= 1) {
		return fmt.Errorf("--threshold is %v; it is a score, in [0, 1]", c.Threshold)
	}
	if c.Batch < 1 {
		return fmt.Errorf("--batch is %d; it must be at least 1", c.Batch)
	}
	images, err := predictions.Images(c.Image)
	if err != nil {
		return err
	}
	a.frugal()
	if err := a.engine(); err != nil {
		return err
	}
	net, err := teacher.Open(c.Checkpoint, images.Labels(), c.of(a))
	if err != nil {
		return err
	}
	defer torch.Do(net.Net.Free)
	broken, err := predictions.Predict(ctx, net, images, c.Out, c.Threshold, c.Batch, a.display)
	if err != nil {
		return err
	}
	a.printf("%d images: pictures and JSON are in %s\n", images.Len()-broken, c.Out)
	if broken > 0 {
		return fmt.Errorf("%d of %d images could not be read", broken, images.Len())
	}
	return nil
}
