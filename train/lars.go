package train

import (
	"must/model"
	"must/torch"
)

// trust is the length of a LARS step at a rate of 1, as a share of the length of what it moves
// (SimCLR's value).
const trust = 0.001

// stepLARS takes one step of LARS (You et al. 2017) as SimCLR's program does: every weight decays and
// moves by lr · trust · ‖w‖ / ‖g‖ along its gradient, decay included; where one of the norms is zero,
// by lr. What does not decay, biases and norms, is not adapted either: it moves by lr.
func stepLARS(set *model.Set, velocity *torch.Tensor, lr, beta, decay float64) {
	torch.NoGrad(func() {
		torch.Scope(func() {
			w, g := set.Flat.Data, set.Flat.Grad
			// g + decay·w, as a step of the gradient along the weights: fused, and without a copy.
			torch.StepSGD(g.Narrow(0, 0, set.Decayed), w.Narrow(0, 0, set.Decayed), nil, -decay, 0, 0, false, false)
			var norms []*torch.Tensor
			weights, n := 0, int64(0)
			for ; n < set.Decayed; weights++ {
				l := set.Params[weights].Len()
				norms = append(norms, w.Narrow(0, n, l).Norm(), g.Narrow(0, n, l).Norm())
				n += l
			}
			rates := make([]float64, weights)
			if weights > 0 {
				read := torch.Values[float32](torch.Stack(0, norms...)) // at once: each read waits for the device
				for i := range rates {
					rates[i] = lr
					if wn, gn := float64(read[2*i]), float64(read[2*i+1]); wn > 0 && gn > 0 {
						rates[i] *= trust * wn / gn
					}
				}
			}
			step := func(from, n int64, lr float64) {
				torch.StepMomentum(w.Narrow(0, from, n), g.Narrow(0, from, n), velocity.Narrow(0, from, n), lr, beta)
			}
			at := int64(0)
			for i, rate := range rates {
				l := set.Params[i].Len()
				step(at, l, rate)
				at += l
			}
			if rest := w.Len() - at; rest > 0 {
				step(at, rest, lr)
			}
		})
	})
}
