package network

import (
	"math"
	"testing"

	"must/model"
	"must/torch"
)

// backbones are tiny ones of every kind.
var backbones = map[string]model.Config{
	"resnet": {Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16},
	"bit":    {Backbone: model.BiTConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16},
	"vit":    {Backbone: model.ViTConfig{Patch: 8, Grid: 8, Dim: 32, Heads: 2, Layers: 2}, FPN: 8, Head: 8, BoxFC: 16},
}

// Every head learns a few images by heart on every backbone.
func TestEveryBackboneTeachesEveryHead(t *testing.T) {
	const size, steps = 64, 20
	images := noiseImages(2, size)
	samples := viewsOf(images, size)
	for name, c := range backbones {
		s := spec(size, labels(), labels().Tasks()...)
		s.Model = c
		do(t, func() {
			n, err := New(s, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Free()
			flat := n.Set.Flat
			mean, square, count := torch.Zeros(torch.Float, flat.Data.Len()), torch.Zeros(torch.Float, flat.Data.Len()), torch.Zeros(torch.Float)
			targets := n.Targets(samples, seeded())
			first, last := map[string]float64{}, map[string]float64{}
			for step := range steps {
				torch.Scope(func() {
					losses := n.Losses(n.Features(images, 2, model.Mode{Train: true}), targets, seeded())
					if len(losses) != len(labels().Tasks()) {
						t.Fatalf("%s: losses of %d tasks", name, len(losses))
					}
					for _, l := range losses {
						last[l.Task] = l.Total.Item()
						if step == 0 {
							first[l.Task] = last[l.Task]
						}
					}
					flat.Grad.Fill(0)
					total(losses).Backward()
					torch.StepAdamW(flat.Data, flat.Grad, mean, square, count, 1e-2, 0.9, 0.999, 0, 1e-8)
				})
			}
			for task, v := range last {
				if !(v < 0.7*first[task]) || math.IsInf(first[task], 0) {
					t.Errorf("%s: the loss of %s went from %.3g to %.3g", name, task, first[task], v)
				}
			}
		})
	}
}
