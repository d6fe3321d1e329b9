package classification

import (
	"math/rand/v2"

	"must/data"
	"must/model"
	"must/task"
	"must/torch"
)

// A head is a linear layer on the feature of the whole image, trained by cross entropy
// against a distribution: one-hot for a true label, a teacher's probabilities for a pseudo label.
type head struct {
	linear  *model.Linear
	classes int64
}

type classTargets struct {
	labelled []int64
	probs    []float32 // [n, classes]
}

func (c *head) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &classTargets{labelled: task.Labelled(samples, Name)}
	if t.labelled == nil {
		return nil
	}
	for _, i := range t.labelled {
		t.probs = append(t.probs, Of(samples[i])...)
	}
	return t
}

// logits returns [N, classes].
func (c *head) logits(pooled *torch.Tensor) *torch.Tensor {
	return c.linear.Forward(pooled).Wide()
}

func (c *head) Loss(f *model.Features, targets any, _ *rand.Rand) []task.Loss {
	t := targets.(*classTargets)
	want := torch.From(t.probs, int64(len(t.labelled)), c.classes)
	return []task.Loss{{Name: "classification", Value: c.logits(task.Rows(f.Pooled(), t.labelled)).CrossEntropy(want, torch.Mean, -100), Count: float64(len(t.labelled))}}
}

// Parts implements [task.Head].
func (*head) Parts() []string { return []string{Name} }

func (c *head) Predict(f *model.Features, preds []*data.Sample) {
	task.Must(c.Decode(c.Outputs(f, task.ExportOptions{}), int(f.Size), preds))
}

// Name implements [task.Head].
func (*head) Name() string { return Name }
