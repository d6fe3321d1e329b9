package normals

import (
	"bytes"
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

func (kind) Unit() string { return "maps of normals" }

func (kind) Some() data.Meaning { return data.Meaning{} }

func (kind) Head(b model.Builder, s task.HeadSpec) task.Head {
	return &head{task.NewPixelHead(b, s.Model, 3)}
}

func (kind) Metric(_, _ data.Meaning) task.Metric { return scorer{metric.NewNormals()} }

func (k kind) Quality(knows, of data.Meaning, _ float64) task.Metric { return k.Metric(knows, of) }

type scorer struct{ *metric.Normals }

func (s scorer) Add(truth, pred data.Label) error {
	p, _ := pred.(Label)
	return s.Normals.Add(truth.(Label).Grid, p.Grid)
}

// Mask implements [task.Masked].
func (kind) Mask(l data.Label, out func(pixel int) bool) data.Label {
	m := l.(Label)
	m.Grid = &data.Grid[[3]float32]{W: m.W, H: m.H, Pix: slices.Clone(m.Pix)}
	for i := range m.Pix {
		if out(i) {
			m.Pix[i] = [3]float32{}
		}
	}
	return m
}

func (kind) Noise(_ string, _ data.Meaning, size int, _ *rand.Rand) data.Label {
	m := data.NewGrid[[3]float32](size, size)
	for i := range m.Pix {
		m.Pix[i] = [3]float32{0, 0, -1}
	}
	return Label{m}
}

func (kind) DType() string { return npy.Float16 }

func (kind) Ext() string { return ".npy" }

func (kind) Store(buf *bytes.Buffer, l data.Label, _ data.Meaning, dtype string, size image.Point) error {
	m := l.(Label)
	if err := task.SameFrame(m.Grid, size); err != nil {
		return err
	}
	v := make([]float32, 0, 3*len(m.Pix))
	for _, n := range m.Pix {
		v = append(v, n[:]...)
	}
	return task.StoreNPY(buf, dtype, []int{size.Y, size.X, 3}, v, false)
}

func (kind) Load(_ string, b []byte, _ data.Meaning, _ string, size image.Point) (data.Label, error) {
	v, err := task.LoadNPY(b, []int{size.Y, size.X, 3}, false)
	if err != nil {
		return nil, err
	}
	m := data.NewGrid[[3]float32](size.X, size.Y)
	for i := range m.Pix {
		m.Pix[i] = [3]float32(v[3*i:])
	}
	return Label{m}, nil
}

func (kind) Outputs() []string { return []string{Name} }

func (kind) Decode(_ string, out task.Outputs, _ data.Meaning, size int, preds []*data.Sample) error {
	return (&head{}).Decode(out, size, preds)
}
