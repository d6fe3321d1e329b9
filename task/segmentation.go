package task

import (
	"math/rand/v2"

	"must/data"
	"must/metric"
	"must/model"
	segmentationlabel "must/task/segmentation"
	"must/torch"
)

// segmentation is a pixel head with one logit per class, trained by the mean cross entropy over the
// pixels that are not data.Ignore.
type segmentation struct {
	head    pixelHead
	classes int
}

func newSegmentation(b model.Builder, s *Spec) Task {
	n := len(s.Labels[segmentationlabel.Name].Classes)
	return &segmentation{newPixelHead(b, s.Model, int64(n)), n}
}

func (*segmentation) Name() string { return segmentationlabel.Name }

type segmentTargets struct {
	labelled []int64
	classes  []int64 // [n, S, S]
	count    float64 // of those that are known
}

func (s *segmentation) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &segmentTargets{}
	for i, sample := range samples {
		if segmentationlabel.Of(sample) == nil {
			continue
		}
		start, known := len(t.classes), 0.
		for _, c := range segmentationlabel.Of(sample).Pix {
			t.classes = append(t.classes, int64(c))
			if c != data.Ignore {
				known++
			}
		}
		if known == 0 { // all unknown is no label
			t.classes = t.classes[:start]
			continue
		}
		t.labelled = append(t.labelled, int64(i))
		t.count += known
	}
	if t.labelled == nil {
		return nil
	}
	return t
}

func (s *segmentation) Loss(f *model.Features, targets any, _ *rand.Rand) []Loss {
	t := targets.(*segmentTargets)
	want := torch.From(t.classes, int64(len(t.labelled)), f.Size, f.Size)
	return []Loss{{"segmentation", s.head.forward(f, t.labelled).CrossEntropy(want, torch.Mean, data.Ignore), t.count}}
}

func (*segmentation) Parts() []string { return []string{segmentationlabel.Name} }

func (s *segmentation) Predict(f *model.Features, preds []*data.Sample) {
	decoded(s.Decode(s.Outputs(f, ExportOptions{Argmax: true}), int(f.Size), preds))
}

// Pseudo ignores pixels whose class is less probable than the threshold.
func (*segmentation) Pseudo(pred *data.Sample, threshold float64) {
	for i, c := range segmentationlabel.Confidence(pred).Pix {
		if float64(c) < threshold {
			segmentationlabel.Of(pred).Pix[i] = data.Ignore
		}
	}
	segmentationlabel.SetConfidence(pred, nil)
}

func (s *segmentation) Metric(l data.Labels) metric.Metric {
	return metric.ForSegmentation(s.classes, l)
}
