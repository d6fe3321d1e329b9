package loader

import (
	"math"
	"math/rand/v2"

	"must/data"
	"must/task"
	"must/task/registry"
)

// mixup blends every image of a batch, and its labels, with another one of it, by a share drawn from
// Beta(α, α) for the whole batch (Zhang et al. 2018; BiT's program). Labels of tasks that are not
// [task.Blended] become unknown, and so do those where one of two is.
func mixup(b *Batch, alpha float64, rng *rand.Rand) {
	share := beta(alpha, rng)
	partner := rng.Perm(b.N)
	image := 3 * b.Size * b.Size
	images := make([]uint8, len(b.Images))
	samples := make([]*data.Sample, b.N)
	for i, p := range partner {
		own, other := b.Images[i*image:][:image], b.Images[p*image:][:image]
		to := images[i*image:][:image]
		for k := range to {
			to[k] = uint8(share*float64(own[k]) + (1-share)*float64(other[k]) + 0.5)
		}
		s := &data.Sample{Key: b.Samples[i].Key, Image: b.Samples[i].Image}
		for _, x := range b.Samples[i].Known {
			y := b.Samples[p].Label(x.Task())
			if t, ok := registry.Get(x.Task()).(task.Blended); ok && y != nil {
				s.Put(t.Blend(x, y, share))
			}
		}
		samples[i] = s
	}
	copy(b.Images, images)
	b.Samples = samples
}

// beta draws from Beta(α, α) (Jöhnk 1964; quick for α up to about 1).
func beta(alpha float64, rng *rand.Rand) float64 {
	for {
		// In logarithms, since small α make both numbers vanish.
		x, y := math.Log(rng.Float64())/alpha, math.Log(rng.Float64())/alpha
		top := math.Max(x, y)
		sum := top + math.Log(math.Exp(x-top)+math.Exp(y-top))
		if sum <= 0 {
			return math.Exp(x - sum)
		}
	}
}
