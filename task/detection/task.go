package detection

import (
	"bytes"
	"image"
	"math/rand/v2"
	"slices"

	"must/data"
	"must/detect"
	"must/metric"
	"must/model"
	"must/task"
)

// Task is the task, for the registry.
var Task task.Task = kind{}

type kind struct{ task.Plain }

func (kind) Name() string { return Name }

func (kind) Unit() string { return "objects" }

func (kind) Check(m data.Meaning) error { return task.CheckClasses(m) }

func (kind) Head(b model.Builder, s task.HeadSpec) task.Head {
	c, n, ratios := s.Model, int64(len(s.Meaning.Classes)), int64(len(detect.AnchorRatios))
	d := &head{classes: int(n), masks: s.Meaning.Masks, config: s.Settings.(Config), size: float64(s.Size)}
	rpn := b.In("rpn")
	d.rpn[0] = model.NewConv(rpn.In("conv0"), c.FPN, c.Head, 3, 1, true, model.Kaiming(c.Head*9))
	d.rpn[1] = model.NewConv(rpn.In("conv1"), c.Head, c.Head, 3, 1, true, model.Kaiming(c.Head*9))
	d.objects = model.NewConv(rpn.In("objectness"), c.Head, ratios, 1, 1, true, model.Normal(0.01))
	d.anchorBox = model.NewConv(rpn.In("delta"), c.Head, 4*ratios, 1, 1, true, model.Normal(0.01))

	box := b.In("box")
	d.boxTower = model.NewTower(box.In("tower"), 4, c.FPN, c.Head)
	d.boxFC = model.NewLinear(box.In("fc"), c.Head*boxSide*boxSide, c.BoxFC, model.Kaiming(c.Head*boxSide*boxSide))
	d.class = model.NewLinear(box.In("class"), c.BoxFC, n+1, model.Normal(0.01))
	d.box = model.NewLinear(box.In("delta"), c.BoxFC, 4*(n+1), model.Normal(0.001))

	if d.masks {
		mask := b.In("mask")
		d.maskTower = model.NewTower(mask.In("tower"), 4, c.FPN, c.Head)
		d.deconv = model.NewDeconv(mask.In("deconv"), c.Head, c.Head)
		d.maskOut = model.NewConv(mask.In("linear"), c.Head, n, 1, 1, true, model.Normal(0.01))
	}
	return d
}

func (kind) Threshold() (float64, bool) { return 0.5, true }

// Pseudo keeps the objects whose score reaches the threshold: the label is hard.
func (kind) Pseudo(pred data.Label, threshold float64) data.Label {
	l := pred.(*Label)
	kept := []data.Object{}
	for _, o := range l.Objects {
		if float64(o.Score) >= threshold {
			kept = append(kept, o)
		}
	}
	return &Label{kept, l.Unknown}
}

// Protocols: voc is average precision of the Pascal VOC development kits, VOC10_AP (2010 and later) and
// VOC07_AP; voc07 the same, ranked by VOC07_AP.
func (kind) Protocols() []string { return []string{"voc", "voc07"} }

// Metric is COCO's, or VOC's. What is predicted of classes that the truth does not tell of counts neither
// way.
func (kind) Metric(knows, of data.Meaning) task.Metric {
	switch of.Protocol {
	case "voc", "voc07":
		m := metric.NewVOC(len(knows.Classes))
		m.First07 = of.Protocol == "voc07"
		return classScorer{scorer{m}, m}
	}
	m := metric.NewDetection(len(knows.Classes), knows.Masks)
	return classScorer{scorer{m}, m}
}

// Quality is f1, precision and recall of the boxes that reach the threshold, at an IoU of 0.5, and the
// calibration error of their scores.
func (kind) Quality(_, _ data.Meaning, threshold float64) task.Metric {
	return scorer{metric.NewBoxQuality(threshold, 0.5)}
}

// A classScorer scores each class, too.
type classScorer struct {
	scorer
	task.ByClass
}

type scorer struct {
	counter interface {
		Add(truth, pred []data.Object)
		Values() []metric.Value
	}
}

func (s scorer) Values() []metric.Value { return s.counter.Values() }

func (s scorer) Add(truth, pred data.Label) error {
	t := truth.(*Label)
	var found []data.Object
	if p, ok := pred.(*Label); ok {
		found = p.Objects
	}
	if t.Unknown != nil {
		found = slices.DeleteFunc(slices.Clone(found), func(o data.Object) bool { return slices.Contains(t.Unknown, o.Class) })
	}
	s.counter.Add(t.Objects, found)
	return nil
}

func (kind) Noise(_ string, m data.Meaning, n int, rng *rand.Rand) data.Label {
	l := &Label{Objects: []data.Object{}}
	for range 8 {
		w, h := n/8+rng.IntN(n/4), n/8+rng.IntN(n/4)
		x, y := rng.IntN(n-w), rng.IntN(n-h)
		o := data.Object{Class: rng.IntN(len(m.Classes)), Score: 1, Box: data.Box{X0: float64(x), Y0: float64(y), X1: float64(x + w), Y1: float64(y + h)}}
		if m.Masks {
			o.Mask = &data.Mask{Rect: image.Rect(x, y, x+w, y+h), Pix: make([]uint8, w*h)}
			for i := range o.Mask.Pix {
				o.Mask.Pix[i] = 1
			}
		}
		l.Objects = append(l.Objects, o)
	}
	return l
}

// Shown implements [task.Classed].
func (kind) Shown(l data.Label) (classes []int) {
	for _, o := range l.(*Label).Objects {
		if !slices.Contains(classes, o.Class) {
			classes = append(classes, o.Class)
		}
	}
	return classes
}

// Count is of the objects.
func (kind) Count(l data.Label) int { return len(l.(*Label).Objects) }

func (kind) DType() string { return "" }

func (kind) Ext() string { return ".json" }

func (kind) Store(buf *bytes.Buffer, l data.Label, m data.Meaning, _ string, size image.Point) error {
	return encodeObjects(buf, m, l.(*Label), size)
}

func (kind) Load(_ string, b []byte, m data.Meaning, _ string, size image.Point) (data.Label, error) {
	objects, unknown, err := decodeObjects(b, m, size)
	return NewPartial(objects, unknown), err
}

func (kind) Outputs() []string { return []string{outBoxes, outScores, outLabels, outCount, outMasks} }

func (kind) Decode(_ string, out task.Outputs, m data.Meaning, size int, preds []*data.Sample) error {
	return (&head{classes: len(m.Classes), masks: m.Masks}).Decode(out, size, preds)
}
