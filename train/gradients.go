package train

import (
	"must/loader"
	"must/torch"
)

// gradients returns the norm of the gradient that each task alone has on the backbone, times its weight: which
// of them the shared layers follow. It runs the network once more for every task, and changes nothing.
func (t *trainer) gradients(pieces []*loader.Batch, parts []part) (map[string]float64, error) {
	counts, err := t.count(parts, pieces, nil)
	if err != nil {
		return nil, err
	}
	set := t.Net.Set
	var statistics *torch.Tensor
	torch.NoGrad(func() { statistics = set.Stats.Data.Clone() })
	norms := map[string]float64{}
	for _, h := range t.Net.Heads {
		set.Flat.Grad.Fill(0)
		found := false
		for _, b := range pieces {
			torch.Scope(func() {
				losses := t.losses(b)
				for i := range losses {
					if losses[i].Task == h.Name() {
						if sum, _ := t.weigh(parts, losses[i:i+1], counts); sum != nil {
							sum.Backward()
							found = true
						}
					}
				}
			})
		}
		if found {
			torch.Scope(func() { norms[h.Name()] = set.GradNorm("backbone.") })
		}
	}
	torch.NoGrad(func() { set.Stats.Data.Copy(statistics) })
	set.Flat.Grad.Fill(0)
	return norms, nil
}
