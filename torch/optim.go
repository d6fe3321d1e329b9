package torch

// StepSGD is one fused step of SGD over flat buffers, as torch.optim.SGD takes it: decay is added to
// the gradient, the momentum buffer follows it, and the parameters follow the buffer. first says
// that the buffer is not yet filled; without momentum (beta 0) there need be none.
func StepSGD(params, grads, momentum *Tensor, lr, beta, decay float64, nesterov, first bool) {
	buffers := []*Tensor{momentum}
	if beta == 0 {
		buffers = nil
	}
	NoGrad(func() {
		dispatch("_fused_sgd_", []any{[]*Tensor{params}, []*Tensor{grads}, buffers,
			decay, beta, lr, 0.0, nesterov, false, first, nil, nil})
	})
}

// StepAdamW is one fused step of AdamW over flat buffers, as torch.optim.AdamW takes it. step is a
// float32 scalar that counts the steps, on any device; it is incremented here.
func StepAdamW(params, grads, mean, square, step *Tensor, lr, beta1, beta2, decay, eps float64) {
	NoGrad(func() {
		Scope(func() {
			step.Copy(step.AddScalar(1))
			n := step.To(params.Device()) // the kernel reads it there, unchecked
			dispatch("_fused_adamw_", []any{[]*Tensor{params}, []*Tensor{grads}, []*Tensor{mean}, []*Tensor{square}, []*Tensor{}, []*Tensor{n},
				lr, beta1, beta2, decay, eps, false, false, nil, nil})
		})
	})
}

// StepMomentum is one fused step of momentum as LARS takes it (You et al. 2017): the learning rate acts
// before the velocity is averaged, v = beta·v + lr·g, p = p − v, so that a falling rate does not slow
// down what was gathered under a higher one.
func StepMomentum(params, grads, velocity *Tensor, lr, beta float64) {
	NoGrad(func() {
		// PyTorch's kernel computes v = beta·v + (1 − dampening)·g, p = p − rate·v.
		const decay, rate = 0.0, 1.0
		dispatch("_fused_sgd_", []any{[]*Tensor{params}, []*Tensor{grads}, []*Tensor{velocity},
			decay, beta, rate, 1 - lr, false, false, false, nil, nil})
	})
}
