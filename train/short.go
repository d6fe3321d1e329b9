package train

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"must/loader"
	"must/torch"
)

// short tells of an operator that found too little memory which batch would have fitted, as halves of it show; other
// errors it passes on.
func (t *trainer) short(err error, b *loader.Batch) error {
	if !torch.OutOfMemory(err) {
		return err
	}
	at, _, _ := strings.Cut(err.Error(), "(")
	what := fmt.Sprintf("there is too little memory for a step on %d images (in %s)", b.N, at)
	if t.Pretext != nil || t.several() { // a part of a batch is no batch, and the others wait
		return fmt.Errorf("%s: lower train.batch or size: %w", what, err)
	}
	n := t.fits(b)
	if n == 0 {
		return fmt.Errorf("%s, nor for a single one: lower size, the model's widths or detection.rois: %w", what, err)
	}
	pieces := max(1, t.Config.Accumulate) * (b.N + n - 1) / n
	return fmt.Errorf("%s; %d fit: set train.accumulate to %d, which computes the batch in so many pieces, or train.batch to %d: %w", what, n, pieces, n*max(1, t.Config.Accumulate), err)
}

// fits returns how many images of a batch a step has room for, by halves; 0 for none.
func (t *trainer) fits(b *loader.Batch) int {
	for n := b.N / 2; n > 0; n /= 2 {
		part := &loader.Batch{N: n, Size: b.Size, Images: b.Images[:3*n*b.Size*b.Size], Samples: b.Samples[:n]}
		err := torch.DoErr(func() error {
			rng := rand.New(rand.NewPCG(t.Config.Seed, 0))
			part.Extra = t.Net.Targets(part.Samples, rng)
			var sum *torch.Tensor
			for _, l := range t.losses(part) {
				sum = add(sum, l.Total)
			}
			if sum != nil {
				sum.Backward()
				torch.Synchronize()
			}
			return nil
		})
		if err == nil {
			return n
		}
	}
	return 0
}
