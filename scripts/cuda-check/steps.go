package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"must/data"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/features"
	"must/task/normals"
	"must/task/segmentation"
	"must/torch"
	"must/train"
)

// A step is what a training step came to.
type step struct {
	Name string
	Loss float64
	Norm float64 // of the gradient
	Fail string
}

// specs are every backbone with every task.
func specs() map[string]network.Spec {
	backbones := map[string]model.Config{
		"resnet":       {Backbone: model.ResNetConfig{Layers: 18, Width: 0.25}},
		"resnet, deep": {Backbone: model.ResNetConfig{Layers: 50, Width: 0.25, Stem: model.StemDeep}},
		"group norm":   {Backbone: model.ResNetConfig{Layers: 18, Width: 0.25}, Norm: model.NormGroup},
		"bit":          {Backbone: model.BiTConfig{Layers: 50, Width: 0.25}},
		"vit":          {Backbone: model.ViTConfig{Patch: 16, Grid: 8, Dim: 64, Heads: 4, Layers: 2}},
	}
	names := []string{"a", "b", "c", "d", "e"}
	meanings := data.Labels{
		classification.Name: {Classes: names}, detection.Name: {Classes: names, Masks: true}, segmentation.Name: {Classes: names},
		depth.Name: {Units: data.Metric}, normals.Name: {}, features.Name: {Channels: 8, Grid: 4},
	}
	all := map[string]network.Spec{}
	for name, m := range backbones {
		m.FPN, m.Head, m.BoxFC = 32, 32, 64
		for task, meaning := range meanings {
			all[name+", "+task] = network.Spec{
				Model: m, Detection: detection.Config{AnchorScale: 2, RoIs: 32, PreNMS: 100, PostNMS: 50, MaxObjects: 10}, Tasks: []string{task},
				Labels: data.Labels{task: meaning}, Size: 128, Mean: network.ImageNetMean, Std: network.ImageNetStd,
			}
		}
	}
	return all
}

// steps takes a step of every backbone with every task on a device, and prints a line of JSON for each.
func steps(device string) error {
	if err := torch.Open(torch.Options{Device: device}); err != nil {
		return err
	}
	all := specs()
	say := json.NewEncoder(os.Stdout)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range all {
			if !yield(name) {
				return
			}
		}
	}) {
		s := step{Name: name}
		if err := torch.DoErr(func() error {
			net, err := network.New(all[name], 1)
			if err != nil {
				return err
			}
			defer net.Free()
			c := train.DefaultConfig()
			c.Batch, c.LR, c.Warmup, c.Clip = 4, 0.01, 0, 0
			stepper, err := train.NewStepper(net, nil, c)
			if err != nil {
				return err
			}
			defer stepper.Free()
			rng := rand.New(rand.NewPCG(1, 1))
			b := train.Noise(net.Spec, c.Batch, rng)
			for range 2 { // the second one sees what the first has made of the weights
				b.Extra = net.Targets(b.Samples, rand.New(rand.NewPCG(2, 2)))
				r, err := stepper.Step(b)
				if err != nil {
					return err
				}
				s.Loss, s.Norm = r.Total, r.GradNorm
			}
			return nil
		}); err != nil {
			s.Fail = err.Error()
		}
		if err := say.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// compare holds the device's steps against the CPU's. A detector's proposals may differ where two scores are nearly
// equal, and with them its losses.
func (c *check) compare(ctx context.Context) []row {
	of := func(device string) (map[string]step, error) {
		cmd := c.command(ctx, "steps", "cuda-check", "-worker", "-device", device)
		cmd.Env = append(os.Environ(), "NVIDIA_TF32_OVERRIDE=0") // float32 is float32
		text, err := c.output(ctx, cmd, "steps")
		found := map[string]step{}
		for lines := bufio.NewScanner(bytes.NewReader([]byte(text))); lines.Scan(); {
			var s step
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				found[s.Name] = s
			}
		}
		return found, err
	}
	const part = "a step of every backbone and task, beside the CPU's"
	want, err := of("cpu")
	if err != nil {
		return []row{{part, "on the CPU: " + err.Error(), 0}}
	}
	got, err := of(c.device)
	var faults []string
	if err != nil {
		faults = append(faults, err.Error())
	}
	worst, where := 0., ""
	for name, w := range want {
		g, ok := got[name]
		if !ok || g.Fail != "" || w.Fail != "" {
			faults = append(faults, fmt.Sprintf("%s: %s%s", name, w.Fail, g.Fail))
			continue
		}
		limit := 2e-3
		if strings.HasSuffix(name, detection.Name) {
			limit = 3e-2
		}
		d := max(math.Abs(g.Loss-w.Loss)/w.Loss, math.Abs(g.Norm-w.Norm)/w.Norm)
		if !(d <= limit) {
			faults = append(faults, fmt.Sprintf("%s: loss %.5g and gradient %.5g, %.5g and %.5g on the CPU", name, g.Loss, g.Norm, w.Loss, w.Norm))
		} else if d/limit > worst {
			worst, where = d/limit, fmt.Sprintf("the largest difference is %.1e, %s", d, name)
		}
	}
	slices.Sort(faults)
	return []row{{part, fmt.Sprintf("%d of %d agree; %s", len(want)-len(faults), len(want), strings.Join(append([]string{where}, faults...), "\n")), 0}}
}
