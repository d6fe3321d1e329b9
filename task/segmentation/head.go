package segmentation

import (
	"math/rand/v2"

	"must/data"
	"must/model"
	"must/task"
	"must/torch"
)

// A head is a pixel head with one logit per class, trained by the mean cross entropy over the
// pixels that are not data.Ignore.
type head struct {
	pixels  task.PixelHead
	classes int
}

type segmentTargets struct {
	labelled []int64
	classes  []int64 // [n, S, S]
	count    float64 // of those that are known
}

func (s *head) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &segmentTargets{}
	for i, sample := range samples {
		if Of(sample) == nil {
			continue
		}
		start, known := len(t.classes), 0.
		for _, c := range Of(sample).Pix {
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

func (s *head) Loss(f *model.Features, targets any, _ *rand.Rand) []task.Loss {
	t := targets.(*segmentTargets)
	n := int64(len(t.labelled))
	want := torch.From(t.classes, n, f.Size, f.Size)
	// The probabilities of all classes at all pixels would be the largest tensor of all.
	strips := max(1, f.Size/strip)
	value := s.pixels.Coarse(f, t.labelled).SumOver(int(n*strips), func(coarse *torch.Tensor, i int) *torch.Tensor {
		image, at := int64(i)/strips, int64(i)%strips
		from, to := at*f.Size/strips, (at+1)*f.Size/strips
		logits := coarse.Narrow(0, image, 1).BilinearRows(f.Size, f.Size, from, to)
		return logits.CrossEntropy(want.Narrow(0, image, 1).Narrow(1, from, to-from), torch.Sum, data.Ignore).Scale(1 / t.count)
	})
	return []task.Loss{{Name: "segmentation", Value: value, Count: t.count}}
}

// strip is about how many rows of pixels the loss is computed of at once.
const strip = 128

// Parts implements [task.Head].
func (*head) Parts() []string { return []string{Name} }

func (s *head) Predict(f *model.Features, preds []*data.Sample) {
	task.Must(s.Decode(s.Outputs(f, task.ExportOptions{Logits: true}), int(f.Size), preds))
}

// Name implements [task.Head].
func (*head) Name() string { return Name }
