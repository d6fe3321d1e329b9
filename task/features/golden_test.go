package features

import (
	"log"
	"math"
	"os"
	"testing"

	"must/data"
	"must/model"
	"must/task"
	"must/torch"
	"must/torch/goldentest"
)

func TestMain(m *testing.M) {
	if err := torch.Open(torch.Options{}); err != nil {
		log.Fatal(err)
	}
	os.Exit(m.Run())
}

// The loss and its gradients are PyTorch's: cells that are not valid and images without a label have no part
// in them, and targets are standardised by channel.
func TestLoss(t *testing.T) {
	var g struct {
		Cosine, Smooth float64
		Input          []float64
		Grad           map[string][]float64
	}
	goldentest.Read(t, &g)
	const images, width, channels, grid = 3, 16, 5, 2
	meaning := data.Meaning{Channels: channels, Grid: grid, Moments: &data.Moments{Count: 1, Mean: make([]float64, channels), Variance: make([]float64, channels)}}
	mean, variance := goldentest.Noise("mean", channels), goldentest.Noise("variance", channels)
	for c := range channels {
		meaning.Moments.Mean[c], meaning.Moments.Variance[c] = float64(mean[c]), 1+float64(variance[c])/2
	}
	samples := make([]*data.Sample, images)
	for i := range samples {
		samples[i] = &data.Sample{}
		if i == 1 {
			continue
		}
		values := goldentest.Noise("label "+string(rune('0'+i)), grid*grid*channels)
		for k := range values {
			values[k] *= 2
		}
		if i == 0 {
			for c := range channels {
				values[3*channels+c] = float32(math.NaN())
			}
		}
		samples[i].Put(New(vit, grid, channels, values))
	}
	set, b := model.NewSet()
	h := newHead(b, task.HeadSpec{Task: vit, Model: model.Config{FPN: 8}, Pooled: width, Meaning: meaning})
	err := torch.Do(func() {
		set.Build(1)
		defer set.Free()
		state := map[string][]float32{}
		for _, p := range set.All() {
			state[p.Name] = goldentest.Parameter(p.Name, p.Shape)
		}
		if missing, unused, err := set.Load(state); err != nil || missing != nil || unused != nil {
			t.Fatal(missing, unused, err)
		}
		set.Double()
		flat := torch.NewFlat(torch.Double, [][]int64{{images, width, 4, 4}}, true)
		defer flat.Free()
		torch.Load(flat.Data, goldentest.Noise("C5", images*width*4*4))
		torch.Scope(func() {
			losses := h.Loss(&model.Features{C5: flat.Params[0], Size: 128}, h.Targets(samples, nil), nil)
			for i, want := range []float64{g.Cosine, g.Smooth} {
				if l := losses[i]; math.Abs(l.Value.Item()-want) > 1e-6 || l.Count != 7 {
					t.Errorf("%s is %v over %v cells, want %v over 7", l.Name, l.Value.Item(), l.Count, want)
				}
			}
			losses[0].Value.Add(losses[1].Value).Backward()
			goldentest.Near(t, "gradient of the input", goldentest.Some(torch.Values[float64](flat.Grad), 40), g.Input, 1e-5)
			grad := torch.Values[float64](set.Flat.Grad)
			for _, p := range set.Params {
				goldentest.Near(t, "gradient of "+p.Name, goldentest.Some(grad[:p.Len()], 40), g.Grad[p.Name], 1e-5)
				grad = grad[p.Len():]
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
