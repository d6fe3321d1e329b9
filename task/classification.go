package task

import (
	"math/rand/v2"

	"must/data"
	"must/metric"
	"must/model"
	classificationlabel "must/task/classification"
	"must/torch"
)

// classification is a linear layer on the feature of the whole image, trained by cross entropy
// against a distribution: one-hot for a true label, a teacher's probabilities for a pseudo label.
type classification struct {
	linear  *model.Linear
	classes int64
}

func newClassification(b model.Builder, s *Spec, width int64) Task {
	n := int64(len(s.Labels[classificationlabel.Name].Classes))
	return &classification{model.NewLinear(b, width, n, model.Normal(0.01)), n}
}

func (*classification) Name() string { return classificationlabel.Name }

type classTargets struct {
	labelled []int64
	probs    []float32 // [n, classes]
}

func (c *classification) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &classTargets{labelled: labelled(samples, classificationlabel.Name)}
	if t.labelled == nil {
		return nil
	}
	for _, i := range t.labelled {
		t.probs = append(t.probs, classificationlabel.Of(samples[i])...)
	}
	return t
}

// logits returns [N, classes].
func (c *classification) logits(pooled *torch.Tensor) *torch.Tensor {
	return c.linear.Forward(pooled).Wide()
}

func (c *classification) Loss(f *model.Features, targets any, _ *rand.Rand) []Loss {
	t := targets.(*classTargets)
	want := torch.From(t.probs, int64(len(t.labelled)), c.classes)
	return []Loss{{"classification", c.logits(rows(f.Pooled(), t.labelled)).CrossEntropy(want, torch.Mean, -100), float64(len(t.labelled))}}
}

func (*classification) Parts() []string { return []string{classificationlabel.Name} }

func (c *classification) Predict(f *model.Features, preds []*data.Sample) {
	decoded(c.Decode(c.Outputs(f, ExportOptions{}), int(f.Size), preds))
}

// Pseudo keeps the whole distribution: the label is soft.
func (*classification) Pseudo(*data.Sample, float64) {}

func (*classification) Metric(data.Labels) metric.Metric { return metric.NewClassification() }
