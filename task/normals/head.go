package normals

import (
	"math/rand/v2"

	"must/data"
	"must/model"
	"must/task"
	"must/torch"
)

// A head is a pixel head with three outputs, the direction of the surface, trained by 1 − cosine
// over valid pixels.
type head struct{ pixels task.PixelHead }

func (*head) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &task.MapTargets{}
	for i, s := range samples {
		if Of(s) == nil {
			continue
		}
		n, at := len(Of(s).Pix), len(t.Values)
		planes, valid := make([]float32, 3*n), make([]float32, n)
		some := 0.
		for k, v := range Of(s).Pix {
			if v != [3]float32{} {
				planes[k], planes[n+k], planes[2*n+k], valid[k] = v[0], v[1], v[2], 1
				some++
			}
		}
		if some == 0 {
			t.Values = t.Values[:at]
			continue
		}
		t.Labelled = append(t.Labelled, int64(i))
		t.Values, t.Valid = append(t.Values, planes...), append(t.Valid, valid...)
		t.Count += some
	}
	if t.Labelled == nil {
		return nil
	}
	return t
}

func (h *head) Loss(f *model.Features, targets any, _ *rand.Rand) []task.Loss {
	t := targets.(*task.MapTargets)
	want, valid := t.Tensors(f.Size, 3)
	cos := torch.CosineSimilarity(h.pixels.Forward(f, t.Labelled), want, 1)
	return []task.Loss{{Name: "normals", Value: valid.Sub(cos.Mul(valid)).Sum().Scale(1 / t.Count), Count: t.Count}}
}

// Parts implements [task.Head].
func (*head) Parts() []string { return []string{Name} }

func (h *head) Predict(f *model.Features, preds []*data.Sample) {
	task.Must(h.Decode(h.Outputs(f, task.ExportOptions{}), int(f.Size), preds))
}

// Name implements [task.Head].
func (*head) Name() string { return Name }
