// Package train is the one trainer: teachers, students, transfer models and baselines all run through
// it and differ by configuration only.
package train

import (
	"fmt"
	"math"
	"slices"

	"must/augment"
)

// A Config holds the hyper-parameters of a run. MuST publishes none of the values (only the rule for
// the loss weights), so all defaults are ours.
type Config struct {
	Epochs float64 `yaml:"epochs" json:"epochs"`                     // passes over the data; Images and Steps, where set, win
	Images int     `yaml:"images,omitempty" json:"images,omitempty"` // seen in all, for budgets that do not depend on the data or the batch
	Steps  int     `yaml:"steps" json:"steps"`
	Batch  int     `yaml:"batch" json:"batch"` // images per step, of all processes together

	Accumulate int  `yaml:"accumulate,omitempty" json:"accumulate,omitempty"` // pieces that a process computes its part of a batch in, one after another, where memory is short; 0: one
	SyncNorm   bool `yaml:"sync_norm,omitempty" json:"sync_norm,omitempty"`   // batch norms of the backbone see the images of all processes, not each its own

	Optimizer   string  `yaml:"optimizer" json:"optimizer"`   // sgd, adamw or lars
	LR          float64 `yaml:"lr" json:"lr"`                 // after warm-up
	Momentum    float64 `yaml:"momentum" json:"momentum"`     // of SGD and LARS
	Beta2       float64 `yaml:"beta2" json:"beta2,omitempty"` // of AdamW: decay of the mean of squares; 0: 0.999
	WeightDecay float64 `yaml:"weight_decay" json:"weight_decay"`
	Schedule    string  `yaml:"schedule" json:"schedule"` // cosine (to 0), step (÷10 at each milestone) or constant
	Warmup      float64 `yaml:"warmup" json:"warmup"`     // share of the steps in which the rate rises from 0
	Clip        float64 `yaml:"clip" json:"clip"`         // largest gradient norm; 0: any
	EMA         float64 `yaml:"ema" json:"ema"`           // decay of the moving average of weights; 0: none

	Milestones []float64 `yaml:"milestones,omitempty" json:"milestones,omitempty"` // of schedule step, as shares of the run; absent: 2/3 and 11/12, as detectors are trained

	Weights map[string]float64 `yaml:"weights" json:"weights,omitempty"` // of the tasks' losses; absent: 1

	LearnWeights bool `yaml:"learn_weights,omitempty" json:"learn_weights,omitempty"` // each weight is learned beside the network, beginning with that of Weights

	Augment augment.Config `yaml:"augment" json:"augment"`
	Mixup   float64        `yaml:"mixup,omitempty" json:"mixup,omitempty"` // α of the share by which two images of a batch are blended; classification only. 0: none
	Rule    string         `yaml:"rule,omitempty" json:"rule,omitempty"`   // bit: BiT's hyper-rule chooses optimizer, rate, length and mixup by the size of the set
	BF16    bool           `yaml:"bf16" json:"bf16"`                       // activations in bfloat16
	Seed    uint64         `yaml:"seed" json:"seed"`

	EvalEvery int     `yaml:"eval_every" json:"eval_every"`                           // epochs between scores on the validation set; 0: at the end
	SaveEvery float64 `yaml:"save_every" json:"save_every"`                           // seconds between states to resume from; 0: only when stopped
	LogGrads  int     `yaml:"log_gradients,omitempty" json:"log_gradients,omitempty"` // steps between records of every task's gradient on the backbone, which take a step for each; 0: none
	Workers   int     `yaml:"workers" json:"-"`                                       // goroutines that decode and augment; 0: all cores but one
}

// DefaultConfig returns SGD as detectors are trained with.
func DefaultConfig() Config {
	return Config{
		Epochs: 12, Batch: 16, Optimizer: "sgd", LR: 0.02, Momentum: 0.9, WeightDecay: 1e-4,
		Schedule: "cosine", Warmup: 0.05, Clip: 10, Augment: augment.DefaultConfig(), SaveEvery: 60,
	}
}

var optimizers = []string{"sgd", "adamw", "lars"}

// Check tells what is wrong with a configuration.
func (c Config) Check() error {
	for name, v := range map[string]float64{
		"epochs": c.Epochs, "lr": c.LR, "weight_decay": c.WeightDecay, "clip": c.Clip, "save_every": c.SaveEvery,
	} {
		if !(v >= 0 && v <= math.MaxInt32) {
			return fmt.Errorf("train.%s is %v; it must be a number from 0 to %d", name, v, math.MaxInt32)
		}
	}
	switch {
	case c.Steps < 0 || c.Images < 0 || c.Steps == 0 && c.Images == 0 && c.Epochs == 0:
		return fmt.Errorf("train: %v epochs, %d images and %d steps; one of them must be positive", c.Epochs, c.Images, c.Steps)
	case c.Batch < 1:
		return fmt.Errorf("train.batch is %d; it must be at least 1", c.Batch)
	case c.Accumulate < 0 || c.Accumulate > c.Batch:
		return fmt.Errorf("train.accumulate is %d; it is a number of pieces, at most train.batch, which is %d", c.Accumulate, c.Batch)
	case !slices.Contains(optimizers, c.Optimizer):
		return fmt.Errorf("train.optimizer is %q; it must be one of %v", c.Optimizer, optimizers)
	case c.Schedule != "cosine" && c.Schedule != "step" && c.Schedule != "constant":
		return fmt.Errorf("train.schedule is %q; use cosine, step or constant", c.Schedule)
	case c.Milestones != nil && c.Schedule != "step":
		return fmt.Errorf("train.milestones are of schedule step; it is %s", c.Schedule)
	case slices.ContainsFunc(c.Milestones, func(at float64) bool { return !(at >= 0 && at <= 1) }):
		return fmt.Errorf("train.milestones are %v; each is a share of the run, in [0, 1]", c.Milestones)
	case c.LR == 0:
		return fmt.Errorf("train.lr is %v; it must be positive", c.LR)
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return fmt.Errorf("train.momentum is %v; it must be in [0, 1)", c.Momentum)
	case !(c.Beta2 >= 0 && c.Beta2 < 1):
		return fmt.Errorf("train.beta2 is %v; it must be in [0, 1)", c.Beta2)
	case !(c.EMA >= 0 && c.EMA < 1):
		return fmt.Errorf("train.ema is %v; it must be in [0, 1)", c.EMA)
	case !(c.Warmup >= 0 && c.Warmup <= 1):
		return fmt.Errorf("train.warmup is %v; it is a share of the steps, in [0, 1]", c.Warmup)
	case !(c.Mixup >= 0 && c.Mixup <= 1):
		return fmt.Errorf("train.mixup is %v; it must be in [0, 1]", c.Mixup)
	case c.Rule != "" && c.Rule != RuleBiT:
		return fmt.Errorf("train.rule is %q; leave it out or use %s", c.Rule, RuleBiT)
	case c.LogGrads < 0:
		return fmt.Errorf("train.log_gradients is %d; it is a number of steps", c.LogGrads)
	case c.EvalEvery < 0:
		return fmt.Errorf("train.eval_every is %d; it must not be negative", c.EvalEvery)
	}
	for task, w := range c.Weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return fmt.Errorf("train.weights.%s is %v; it must be finite and not negative", task, w)
		}
	}
	return c.Augment.Validate()
}

// TotalSteps returns the number of steps on a set of n samples.
func (c Config) TotalSteps(n int) int {
	switch c = c.ruled(n); {
	case c.Steps > 0:
		return c.Steps
	case c.Images > 0:
		return max(1, (c.Images+c.Batch-1)/c.Batch)
	}
	return max(1, int(math.Ceil(c.Epochs*float64(n)/float64(c.Batch))))
}

// Rate returns the learning rate of a step.
func (c Config) Rate(step, total int) float64 {
	warm := c.Warmup * float64(total)
	if s := float64(step + 1); s < warm {
		return c.LR * s / warm
	}
	done := (float64(step) - warm) / math.Max(1, float64(total)-warm)
	switch c.Schedule {
	case "cosine":
		return c.LR * (1 + math.Cos(math.Pi*math.Max(0, done))) / 2
	case scheduleBiT:
		return rateBiT(c.LR, step, total)
	case "step":
		milestones, rate := c.Milestones, c.LR
		if milestones == nil {
			milestones = []float64{2. / 3, 11. / 12}
		}
		for _, at := range milestones {
			if done >= at {
				rate /= 10
			}
		}
		return rate
	}
	return c.LR
}
