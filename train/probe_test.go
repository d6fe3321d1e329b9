package train

import (
	"testing"

	"must/data"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

func TestProbe(t *testing.T) {
	names := []string{"a", "b"}
	labels := data.Labels{
		classification.Name: {Classes: names}, detection.Name: {Classes: names, Masks: true}, segmentation.Name: {Classes: names}, depth.Name: {Units: data.Metric}, normals.Name: {},
		"features.vit": {Channels: 5, Grid: 3},
	}
	s := network.Spec{
		Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16}, Detection: detection.Config{AnchorScale: 2, RoIs: 8, PreNMS: 20, PostNMS: 10, MaxObjects: 5},
		Tasks: labels.Tasks(), Labels: labels,
		Size: 32, Mean: network.ImageNetMean, Std: network.ImageNetStd,
	}
	c := DefaultConfig()
	c.Augment.Size = s.Size
	build := func() (*network.Network, Pretext, error) {
		net, err := network.New(s, 1)
		return net, nil, err
	}
	small, err := Probe(c, 2, build)
	if err != nil || small.Step <= 0 || small.Predict <= 0 || small.Step < small.Predict {
		t.Fatalf("%v, %+v", err, small)
	}
	c.Optimizer, c.EMA = "adamw", 0.99
	more, err := Probe(c, 2, build)
	if err != nil || more.Fixed*3 < small.Fixed*4 {
		t.Errorf("%v: %d bytes for AdamW with an average, %d for SGD", err, more.Fixed, small.Fixed)
	}
}
