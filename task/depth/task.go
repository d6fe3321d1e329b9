package depth

import (
	"bytes"
	"fmt"
	"image"
	"math"
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

func (kind) Unit() string { return "depth maps" }

func (kind) Some() data.Meaning { return data.Meaning{Units: data.Metric} }

func (kind) Check(m data.Meaning) error {
	if m.Units != data.Metric && m.Units != data.Inverse {
		return fmt.Errorf("depth is %q; it must be %s or %s", m.Units, data.Metric, data.Inverse)
	}
	return nil
}

func (kind) Head(b model.Builder, s task.HeadSpec) task.Head {
	return &head{task.NewPixelHead(b, s.Model, 1), s.Meaning.Units}
}

// Protocols: nyu is depth within the Eigen crop, and truth up to 10 m. DIODE's is scored as is usual.
func (kind) Protocols() []string { return []string{"nyu"} }

// Metric aligns predictions of unknown scale and shift to the truth by least squares, image by image, in
// inverse depth, as MiDaS does (Ranftl et al. 2020). Truth of unknown scale and shift has no depth to
// compare: there the errors are those of inverse depth.
func (kind) Metric(knows, of data.Meaning) task.Metric {
	o := metric.DepthOptions{Truth: of.Units, Prediction: knows.Units}
	if knows.Units == data.Inverse || of.Units == data.Inverse {
		o.Align = metric.ScaleShift
	}
	if knows.Units == data.Inverse && of.Units == data.Inverse {
		o.Truth, o.Prediction = "", ""
	}
	if of.Protocol == "nyu" {
		o.Max, o.Crop, o.CropOf = 10, metric.EigenCrop, image.Pt(640, 480)
	}
	return scorer{metric.NewDepth(o)}
}

func (k kind) Quality(knows, of data.Meaning, _ float64) task.Metric { return k.Metric(knows, of) }

func (kind) Aligns() bool { return true }

type scorer struct{ *metric.Depth }

func (s scorer) Add(truth, pred data.Label) error {
	p, _ := pred.(Label)
	return s.Depth.Add(truth.(Label).Grid, p.Grid)
}

// Mask implements [task.Masked].
func (kind) Mask(l data.Label, out func(pixel int) bool) data.Label {
	m := l.(Label)
	m.Grid = &data.Grid[float32]{W: m.W, H: m.H, Pix: slices.Clone(m.Pix)}
	for i := range m.Pix {
		if out(i) {
			m.Pix[i] = float32(math.NaN())
		}
	}
	return m
}

func (kind) Noise(_ string, _ data.Meaning, size int, rng *rand.Rand) data.Label {
	m := data.NewGrid[float32](size, size)
	for i := range m.Pix {
		m.Pix[i] = 1 + rng.Float32()
	}
	return Label{Grid: m}
}

func (kind) DType() string { return npy.Float16 }

func (kind) Ext() string { return ".npy" }

func (kind) Store(buf *bytes.Buffer, l data.Label, _ data.Meaning, dtype string, size image.Point) error {
	m := l.(Label)
	if err := task.SameFrame(m.Grid, size); err != nil {
		return err
	}
	return task.StoreNPY(buf, dtype, []int{size.Y, size.X}, m.Pix, true)
}

func (kind) Load(_ string, b []byte, _ data.Meaning, _ string, size image.Point) (data.Label, error) {
	v, err := task.LoadNPY(b, []int{size.Y, size.X}, true)
	if err != nil {
		return nil, err
	}
	return Label{Grid: &data.Grid[float32]{W: size.X, H: size.Y, Pix: v}}, nil
}

func (kind) Outputs() []string { return []string{Name} }

func (kind) Decode(_ string, out task.Outputs, m data.Meaning, size int, preds []*data.Sample) error {
	return (&head{units: m.Units}).Decode(out, size, preds)
}
