package train

// RuleBiT names BiT's hyper-rule for fine-tuning.
const RuleBiT = "bit"

// ruled returns the settings of a run on n samples where a rule chooses them. BiT's (Kolesnikov et al.
// 2020, §3.3, and their program): SGD at 0.003 · batch / 512 without weight decay; 500 steps on fewer than
// 20,000 samples, 10,000 on fewer than 500,000, else 20,000; the rate rises for 100 or 500 steps and
// falls to a tenth at 30, 60 and 90 % of all; mixup of α = 0.1 but on small sets. Its resolution is the
// recipe's to choose: 128 px for images smaller than 96, else 384.
func (c Config) ruled(n int) Config {
	if c.Rule != RuleBiT {
		return c
	}
	c.Optimizer, c.Momentum, c.WeightDecay, c.Clip = "sgd", 0.9, 0, 0
	c.LR = 0.003 * float64(c.Batch) / 512
	c.Schedule, c.Milestones = scheduleBiT, nil
	warm := 500
	switch {
	case n < 20_000:
		c.Steps, c.Mixup, warm = 500, 0, 100
	case n < 500_000:
		c.Steps, c.Mixup = 10_000, 0.1
	default:
		c.Steps, c.Mixup = 20_000, 0.1
	}
	c.Warmup = float64(warm) / float64(c.Steps)
	return c
}

// scheduleBiT falls to a tenth at these shares of all steps, the warm-up among them.
const scheduleBiT = "bit"

var decaysBiT = []float64{0.3, 0.6, 0.9}

// rateBiT returns the rate after warm-up: on a small set the decays come after 200, 300 and 400 of 500
// steps.
func rateBiT(lr float64, step, total int) float64 {
	decays := decaysBiT
	if total <= 500 {
		decays = []float64{0.4, 0.6, 0.8}
	}
	for _, at := range decays {
		if float64(step) > at*float64(total) {
			lr /= 10
		}
	}
	return lr
}
