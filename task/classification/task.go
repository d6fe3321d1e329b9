package classification

import (
	"bytes"
	"fmt"
	"image"
	"math/rand/v2"

	"must/data"
	"must/data/npy"
	"must/metric"
	"must/model"
	"must/task"
)

// Task is the task, for the registry.
var Task task.Task = kind{}

type kind struct{ task.Plain }

func (kind) Name() string { return Name }

func (kind) Unit() string { return "classes" }

func (kind) Check(m data.Meaning) error { return task.CheckClasses(m) }

func (kind) Pyramid(data.Meaning) bool { return false }

func (kind) Head(b model.Builder, s task.HeadSpec) task.Head {
	n := int64(len(s.Meaning.Classes))
	return &head{model.NewLinear(b, s.Pooled, n, model.Normal(0.01)), n}
}

func (kind) Metric(_, _ data.Meaning) task.Metric { return scorer{metric.NewClassification()} }

func (k kind) Quality(knows, of data.Meaning, _ float64) task.Metric { return k.Metric(knows, of) }

type scorer struct{ *metric.Classification }

func (s scorer) Add(truth, pred data.Label) error {
	p, _ := pred.(Label)
	s.Classification.Add(truth.(Label), p)
	return nil
}

func (kind) Noise(_ string, m data.Meaning, _ int, rng *rand.Rand) data.Label {
	l := make(Label, len(m.Classes))
	l[rng.IntN(len(l))] = 1
	return l
}

func (kind) DType() string { return npy.Float32 }

func (kind) Ext() string { return ".npy" }

func (kind) Store(buf *bytes.Buffer, l data.Label, m data.Meaning, dtype string, _ image.Point) error {
	p := l.(Label)
	if len(p) != len(m.Classes) {
		return fmt.Errorf("%d probabilities for %d classes", len(p), len(m.Classes))
	}
	return task.StoreNPY(buf, dtype, []int{len(p)}, p, false)
}

func (kind) Load(_ string, b []byte, m data.Meaning, _ string, _ image.Point) (data.Label, error) {
	p, err := task.LoadNPY(b, []int{len(m.Classes)}, false)
	return New(p), err
}

func (kind) Outputs() []string { return []string{Name} }

func (kind) Decode(_ string, out task.Outputs, m data.Meaning, size int, preds []*data.Sample) error {
	return (&head{classes: int64(len(m.Classes))}).Decode(out, size, preds)
}

// Blend implements [task.Blended].
func (kind) Blend(a, b data.Label, share float64) data.Label {
	x, y := a.(Label), b.(Label)
	out := make(Label, len(x))
	for c := range x {
		out[c] = float32(share)*x[c] + float32(1-share)*y[c]
	}
	return out
}
