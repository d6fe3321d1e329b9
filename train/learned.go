package train

import (
	"math"

	"must/torch"
)

// Learned weights (Kendall et al. 2018): every task has a log variance s, and the loss is
// Σ wᵢ·exp(−sᵢ)·Lᵢ + sᵢ/2, where wᵢ is its fixed weight. It is least where exp(−sᵢ) = 1 / (2·wᵢ·Lᵢ): a task
// weighs the less the larger its loss is by nature. Each s follows its gradient beside the network's
// parameters, at a rate of its own, which is our choice; the published form has one more factor of a half for
// regression, which s takes up.
const varianceRate = 0.01

// variances are the log variances of the heads' tasks, in their order; nil where weights are fixed.
type variances struct {
	tasks  []string
	values []float32
	stored *torch.Tensor // as part of the state
}

func newVariances(tasks []string) *variances {
	return &variances{tasks, make([]float32, len(tasks)), torch.Zeros(torch.Float, int64(len(tasks))).Keep()}
}

// store and restore bring the values to the state and back.
func (v *variances) store() {
	if v != nil {
		torch.Load(v.stored, v.values)
	}
}

func (v *variances) restore() {
	if v != nil {
		v.values = torch.Values[float32](v.stored)
	}
}

func (v *variances) free() {
	if v != nil {
		v.stored.Free()
	}
}

// factor is what the loss of a task weighs beside its fixed weight.
func (v *variances) factor(task string) float64 {
	if v != nil {
		for i, name := range v.tasks {
			if name == task {
				return math.Exp(-float64(v.values[i]))
			}
		}
	}
	return 1
}

// follow moves the log variances of tasks by the losses that they had, times their fixed weights.
func (v *variances) follow(weighted map[string]float64) {
	if v == nil {
		return
	}
	for i, name := range v.tasks {
		if loss, ok := weighted[name]; ok {
			v.values[i] -= varianceRate * float32(0.5-math.Exp(-float64(v.values[i]))*loss)
		}
	}
}

// weights are those of all tasks as they are now; nil where they are fixed.
func (t *trainer) weightsNow() map[string]float64 {
	if t.variances == nil {
		return nil
	}
	now := map[string]float64{}
	for _, name := range t.variances.tasks {
		now[name] = t.weight(name)
	}
	return now
}

// weight is that of a task's loss in this step.
func (t *trainer) weight(task string) float64 {
	w, ok := t.Config.Weights[task]
	if !ok {
		w = 1
	}
	return w * t.variances.factor(task)
}
