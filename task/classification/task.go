package classification

import (
	"bytes"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"

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

// Threshold: the paper keeps all distributions, however flat.
func (kind) Threshold() (float64, bool) { return 0, true }

// Pseudo keeps a distribution whose largest probability reaches the threshold.
func (kind) Pseudo(pred data.Label, threshold float64) data.Label {
	if l := pred.(Label); threshold > 0 && !(float64(slices.Max(l)) >= threshold) {
		return nil
	}
	return pred
}

// Shown implements [task.Classed].
func (kind) Shown(l data.Label) []int {
	p := l.(Label)
	return []int{slices.Index(p, slices.Max(p))}
}

func (kind) Metric(_, _ data.Meaning) task.Metric { return scorer{metric.NewClassification()} }

// Quality is of the images whose label reaches the threshold, with their share of all (coverage) where there is one.
func (k kind) Quality(_, _ data.Meaning, threshold float64) task.Metric {
	return &quality{scorer: scorer{metric.NewClassification()}, threshold: threshold}
}

type quality struct {
	scorer
	threshold    float64
	images, kept int
}

func (q *quality) Add(truth, pred data.Label) error {
	q.images++
	if p, ok := pred.(Label); !ok || (kind{}).Pseudo(p, q.threshold) == nil {
		return nil
	}
	q.kept++
	return q.scorer.Add(truth, pred)
}

func (q *quality) Values() []metric.Value {
	v := q.scorer.Values()
	if q.threshold > 0 && q.images > 0 {
		v = append(v, metric.Value{Name: "coverage", Value: float64(q.kept) / float64(q.images), HigherIsBetter: true})
	}
	return v
}

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
