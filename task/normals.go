package task

import (
	"math/rand/v2"

	"must/data"
	"must/metric"
	"must/model"
	normalslabel "must/task/normals"
	"must/torch"
)

// normals is a pixel head with three outputs, the direction of the surface, trained by 1 − cosine
// over valid pixels.
type normals struct{ head pixelHead }

func newNormals(b model.Builder, s *Spec) Task { return &normals{newPixelHead(b, s.Model, 3)} }

func (*normals) Name() string { return normalslabel.Name }

func (*normals) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &mapTargets{}
	for i, s := range samples {
		if normalslabel.Of(s) == nil {
			continue
		}
		n, at := len(normalslabel.Of(s).Pix), len(t.values)
		planes, valid := make([]float32, 3*n), make([]float32, n)
		some := 0.
		for k, v := range normalslabel.Of(s).Pix {
			if v != [3]float32{} {
				planes[k], planes[n+k], planes[2*n+k], valid[k] = v[0], v[1], v[2], 1
				some++
			}
		}
		if some == 0 {
			t.values = t.values[:at]
			continue
		}
		t.labelled = append(t.labelled, int64(i))
		t.values, t.valid = append(t.values, planes...), append(t.valid, valid...)
		t.count += some
	}
	if t.labelled == nil {
		return nil
	}
	return t
}

func (h *normals) Loss(f *model.Features, targets any, _ *rand.Rand) []Loss {
	t := targets.(*mapTargets)
	want, valid := t.tensors(f.Size, 3)
	cos := torch.CosineSimilarity(h.head.forward(f, t.labelled), want, 1)
	return []Loss{{"normals", valid.Sub(cos.Mul(valid)).Sum().Scale(1 / t.count), t.count}}
}

func (*normals) Parts() []string { return []string{normalslabel.Name} }

func (h *normals) Predict(f *model.Features, preds []*data.Sample) {
	decoded(h.Decode(h.Outputs(f, ExportOptions{}), int(f.Size), preds))
}

// Pseudo keeps the prediction as it is.
func (*normals) Pseudo(*data.Sample, float64) {}

func (*normals) Metric(data.Labels) metric.Metric { return metric.NewNormals() }
