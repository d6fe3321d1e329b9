package metric

import (
	"image"
	"math"
	"testing"

	"must/data"
	"must/torch/goldentest"
)

// scores holds what testdata/make_scores.py computes by the formulas of the reference programs.
type scores struct {
	Classification struct {
		Images []struct {
			Class         int
			Probabilities []float32
		}
		Want []float64
	}
	Segmentation struct {
		Classes, W, H int
		Images        []struct{ Truth, Prediction []int }
		Want, ADE20K  []float64
	}
	Depth struct {
		W, H     int
		Min, Max float64
		Crop     [4]int
		Wants    []struct {
			Units, Align string
			Crop         bool
			Want         []float64
		}
		Images []struct{ Truth, Metric, Inverse []*float32 }
	}
	Normals struct {
		W, H   int
		Images []struct{ Truth, Prediction []float32 }
		Want   []float64
	}
	VOC struct {
		Classes int
		Cases   []struct {
			Truth, Results [][][6]float64
			Want           []float64
		}
	}
}

func readScores(t *testing.T) (s scores) {
	goldentest.ReadFile(t, "scores.json.gz", &s)
	return s
}

func TestClassificationEqualsReference(t *testing.T) {
	g := readScores(t).Classification
	m := NewClassification()
	for _, image := range g.Images {
		truth := make([]float32, len(image.Probabilities))
		truth[image.Class] = 1
		add(t, m, &sample{Class: truth}, &sample{Class: image.Probabilities})
	}
	compare(t, "classification", m.Values(), g.Want)
}

func TestSegmentationEqualsReference(t *testing.T) {
	g := readScores(t).Segmentation
	m := NewSegmentation(g.Classes)
	grid := func(values []int) *sample {
		s := &sample{Semantic: data.NewGrid[uint8](g.W, g.H)}
		for i, v := range values {
			s.Semantic.Pix[i] = uint8(v)
		}
		return s
	}
	for _, image := range g.Images {
		add(t, m, grid(image.Truth), grid(image.Prediction))
	}
	compare(t, "segmentation", m.Values(), g.Want)
	iou, accuracy, score := m.ADE20K()
	compare(t, "ADE20K", []Value{{Value: iou}, {Value: accuracy}, {Value: score}}, g.ADE20K)
	if iou := m.IoU(); !math.IsNaN(iou[6]) || iou[5] != 0 {
		t.Errorf("IoU per class %v: class 6 occurs nowhere, class 5 only in predictions", iou)
	}
}

func TestSegmentationKept(t *testing.T) {
	truth, pred := data.NewGrid[uint8](5, 1), data.NewGrid[uint8](5, 1)
	copy(truth.Pix, []uint8{0, 1, 1, data.Ignore, 0})
	copy(pred.Pix, []uint8{0, 1, data.Ignore, 0, 1})
	m := NewSegmentation(2)
	add(t, m, &sample{Semantic: truth}, &sample{Semantic: pred})
	if coverage, accuracy := m.Kept(); coverage != 3./4 || accuracy != 2./3 {
		t.Errorf("coverage %v and accuracy %v, want 3/4 and 2/3", coverage, accuracy)
	}
}

func TestDepthEqualsReference(t *testing.T) {
	g := readScores(t).Depth
	grid := func(values []*float32) *sample {
		s := &sample{Depth: data.NewGrid[float32](g.W, g.H)}
		for i, v := range values {
			s.Depth.Pix[i] = float32(math.NaN())
			if v != nil {
				s.Depth.Pix[i] = *v
			}
		}
		return s
	}
	for _, want := range g.Wants {
		opt := DepthOptions{Min: g.Min, Max: g.Max, Prediction: want.Units}
		opt.Align = map[string]Alignment{"median": MedianScale, "scale-shift": ScaleShift}[want.Align]
		if want.Crop {
			opt.Crop = image.Rect(g.Crop[0], g.Crop[1], g.Crop[2], g.Crop[3])
		}
		m := NewDepth(opt)
		for _, image := range g.Images {
			p := image.Metric
			if want.Units == data.Inverse {
				p = image.Inverse
			}
			add(t, m, grid(image.Truth), grid(p))
		}
		compare(t, want.Units+" "+want.Align, m.Values(), want.Want)
	}
}

// Alignment undoes any scale and shift of inverse depth, whichever side has it.
func TestScaleShiftIsUndone(t *testing.T) {
	depth, inverse := data.NewGrid[float32](8, 8), data.NewGrid[float32](8, 8)
	for i := range depth.Pix {
		d := 1 + float64(i)/8
		depth.Pix[i], inverse.Pix[i] = float32(d), float32(3/d-0.5)
	}
	for _, opt := range []DepthOptions{
		{Prediction: data.Inverse, Align: ScaleShift},
		{Truth: data.Inverse, Prediction: data.Inverse, Align: ScaleShift},
	} {
		truth := depth
		if opt.Truth == data.Inverse {
			truth = inverse
		}
		m := NewDepth(opt)
		add(t, m, &sample{Depth: truth}, &sample{Depth: inverse})
		if v := m.Values(); v[0].Value != 1 || v[3].Value > 1e-5 {
			t.Errorf("%+v: %v", opt, v)
		}
	}
}

func TestNormalsEqualReference(t *testing.T) {
	g := readScores(t).Normals
	m := NewNormals()
	grid := func(values []float32) *sample {
		s := &sample{Normals: data.NewGrid[[3]float32](g.W, g.H)}
		for i := range s.Normals.Pix {
			copy(s.Normals.Pix[i][:], values[3*i:])
		}
		return s
	}
	for _, image := range g.Images {
		add(t, m, grid(image.Truth), grid(image.Prediction))
	}
	for i, v := range m.Values() {
		tolerance := 1e-6 // of acos at small angles
		if v.Name == "median_angle" {
			tolerance = 1e-4 // half a bin
		}
		if !(math.Abs(v.Value-g.Want[i]) <= tolerance) {
			t.Errorf("%s = %v, want %v", v.Name, v.Value, g.Want[i])
		}
	}
}

func TestVOCEqualsReference(t *testing.T) {
	g := readScores(t).VOC
	for i, c := range g.Cases {
		m := NewVOC(g.Classes)
		for k := range c.Truth {
			truth, pred := []data.Object{}, []data.Object{}
			// The last pixel is inside here, outside there; counting from 0 or 1 makes no difference.
			box := func(o [6]float64) data.Box { return data.Box{X0: o[1], Y0: o[2], X1: o[3] + 1, Y1: o[4] + 1} }
			for _, o := range c.Truth[k] {
				truth = append(truth, data.Object{Class: int(o[0]), Box: box(o), Crowd: o[5] != 0})
			}
			for _, o := range c.Results[k] {
				pred = append(pred, data.Object{Class: int(o[0]), Box: box(o), Score: float32(o[5])})
			}
			add(t, m, &sample{Objects: truth}, &sample{Objects: pred})
		}
		compare(t, "VOC", m.Values(), c.Want)
		if t.Failed() {
			t.Fatalf("case %d", i)
		}
	}
}

func TestBoxQuality(t *testing.T) {
	m := NewBoxQuality(0.5, 0.5)
	at := func(x float64, score float32) data.Object {
		return data.Object{Box: data.Box{X0: x, X1: x + 10, Y1: 10}, Score: score}
	}
	crowd := at(90, 1)
	crowd.Crowd = true
	add(t, m,
		&sample{Objects: []data.Object{at(0, 1), at(20, 1), at(40, 1), crowd}},
		&sample{Objects: []data.Object{
			at(1, 0.9), at(0, 0.8), // the second finds nothing new
			at(21, 0.4),  // too unsure
			at(41, 0.5),  // just sure enough
			at(60, 0.99), // on nothing
			at(91, 0.7),  // on the crowd
		}})
	gap := func(score float32, right float64) float64 { return math.Abs(right - float64(score)) }
	compare(t, "boxes", m.Values(), []float64{2 * 0.5 * (2. / 3) / (0.5 + 2./3), 0.5, 2. / 3, (gap(0.99, 0) + gap(0.9, 1) + gap(0.8, 0) + gap(0.5, 1)) / 4})
}

func BenchmarkDetection(b *testing.B) {
	pred := labelled()
	for range 100 {
		pred.Objects = append(pred.Objects, pred.Objects[0])
	}
	truth := labelled()
	for b.Loop() {
		NewDetection(80, true).Add(truth.Objects, pred.Objects)
	}
}
