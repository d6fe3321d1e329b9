package segmentation

import (
	"bytes"
	"fmt"
	"image"
	"math/rand/v2"

	"must/data"
	"must/metric"
	"must/model"
	"must/task"
)

// Task is the task, for the registry.
var Task task.Task = kind{}

type kind struct{ task.Plain }

func (kind) Name() string { return Name }

func (kind) Unit() string { return "pixels with a class" }

func (kind) Check(m data.Meaning) error {
	if n := len(m.Classes); n > data.Ignore {
		return fmt.Errorf("segmentation has %d classes; a map holds at most %d", n, data.Ignore)
	}
	return task.CheckClasses(m)
}

func (kind) Head(b model.Builder, s task.HeadSpec) task.Head {
	n := len(s.Meaning.Classes)
	return &head{task.NewPixelHead(b, s.Model, int64(n)), n}
}

func (kind) Threshold() (float64, bool) { return 0.5, true }

// Pseudo ignores pixels whose class is less probable than the threshold.
func (kind) Pseudo(pred data.Label, threshold float64) data.Label {
	l := pred.(*Label)
	if l.coarse != nil { // whose pixels are not counted yet
		coarse := *l.coarse
		coarse.least = float32(threshold)
		return &Label{coarse: &coarse}
	}
	l.ignore(float32(threshold))
	return l
}

// Protocols: ade20k is the scene parsing benchmark: mean IoU over all classes, pixel accuracy, and their
// mean.
func (kind) Protocols() []string { return []string{"ade20k"} }

func (kind) Metric(knows, of data.Meaning) task.Metric {
	m := metric.NewSegmentation(len(knows.Classes))
	m.Benchmark = of.Protocol == "ade20k"
	return scorer{m}
}

type scorer struct{ *metric.Segmentation }

func (s scorer) Add(truth, pred data.Label) error {
	var m *data.Grid[uint8]
	if p, ok := pred.(*Label); ok {
		m = p.fine().Map
	}
	return s.Segmentation.Add(truth.(*Label).Map, m)
}

// Quality is the accuracy of the pixels that are kept; coverage, their share; and the calibration error of
// all pixels.
func (k kind) Quality(knows, _ data.Meaning, threshold float64) task.Metric {
	return &quality{metric.NewSegmentation(len(knows.Classes)), threshold, metric.Calibration{}}
}

type quality struct {
	kept        *metric.Segmentation
	threshold   float64
	calibration metric.Calibration // of the probabilities of pixels, before the threshold
}

func (q *quality) Add(truth, pred data.Label) error {
	t, p := truth.(*Label), pred.(*Label).fine()
	if p.Confidence == nil { // what people decided
		return q.kept.Add(t.Map, p.Map)
	}
	for i, c := range t.Map.Pix {
		if c != data.Ignore {
			q.calibration.Add(float64(p.Confidence.Pix[i]), p.Map.Pix[i] == c)
		}
	}
	return q.kept.Add(t.Map, kind{}.Pseudo(p, q.threshold).(*Label).Map)
}

func (q *quality) Values() []metric.Value {
	if q.kept.Values() == nil {
		return nil
	}
	coverage, accuracy := q.kept.Kept()
	return []metric.Value{
		{Name: "accuracy", Value: accuracy, HigherIsBetter: true},
		{Name: "coverage", Value: coverage, HigherIsBetter: true},
		{Name: "ece", Value: q.calibration.ECE()},
	}
}

// Map implements [task.Mapped].
func (kind) Map(l data.Label) *data.Grid[uint8] { return l.(*Label).fine().Map }

func (kind) Noise(_ string, m data.Meaning, size int, _ *rand.Rand) data.Label {
	out := data.NewGrid[uint8](size, size)
	for i := range out.Pix {
		out.Pix[i] = uint8(i % len(m.Classes))
	}
	return New(out)
}

// Shown implements [task.Classed].
func (kind) Shown(l data.Label) (classes []int) {
	var seen [data.Ignore + 1]bool
	for _, c := range l.(*Label).Map.Pix {
		seen[c] = true
	}
	for c, is := range seen[:data.Ignore] {
		if is {
			classes = append(classes, c)
		}
	}
	return classes
}

// Count is of the pixels that have a class.
func (kind) Count(l data.Label) int {
	n := 0
	for _, c := range l.(*Label).Map.Pix {
		if c != data.Ignore {
			n++
		}
	}
	return n
}

func (kind) DType() string { return "" }

func (kind) Ext() string { return ".png" }

func (kind) Store(buf *bytes.Buffer, l data.Label, m data.Meaning, _ string, size image.Point) error {
	g := l.(*Label).Map
	if err := task.SameFrame(g, size); err != nil {
		return err
	}
	return encodeMap(buf, m, g)
}

func (kind) Load(_ string, b []byte, m data.Meaning, _ string, size image.Point) (data.Label, error) {
	g, err := decodeMap(b, m, size)
	return New(g), err
}

func (kind) Outputs() []string { return []string{Name, confidence, allLogits} }

func (kind) Decode(_ string, out task.Outputs, m data.Meaning, size int, preds []*data.Sample) error {
	return (&head{classes: len(m.Classes)}).Decode(out, size, preds)
}
