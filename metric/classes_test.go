package metric

import (
	"math"
	"strings"
	"testing"

	"must/data"
)

// The means over the classes are the golden numbers of the whole.
func TestClassesAverageToTheWhole(t *testing.T) {
	mean := func(c Classes, k int) float64 {
		sum, n := 0.0, 0.0
		for _, v := range c.Of {
			if !math.IsNaN(v.Values[k].Value) {
				sum += v.Values[k].Value
				n++
			}
		}
		return sum / n
	}
	for i, c := range readCases(t)[:100] {
		r, err := c.files(t, false).evaluate(1)
		if err != nil {
			t.Fatal(err)
		}
		if c.Bbox[0] < 0 {
			continue
		}
		classes, names := r.ByClass()
		if got := mean(classes, 0); math.Abs(got-c.Bbox[0]) > 1e-9 || len(names) != len(classes.Of) {
			t.Errorf("case %d: the mean AP is %v, want %v", i, got, c.Bbox[0])
		}
		predicted := int64(0)
		for _, v := range classes.Of {
			predicted += v.Predicted
		}
		if int(predicted) > r.Detections || r.Detections < cocoMaxDets && int(predicted) != r.Detections {
			t.Errorf("case %d: %d detections by class, %d in all", i, predicted, r.Detections)
		}
	}

	g := readScores(t)
	s := NewSegmentation(g.Segmentation.Classes)
	for _, image := range g.Segmentation.Images {
		truth, pred := data.NewGrid[uint8](g.Segmentation.W, g.Segmentation.H), data.NewGrid[uint8](g.Segmentation.W, g.Segmentation.H)
		for i := range truth.Pix {
			truth.Pix[i], pred.Pix[i] = uint8(image.Truth[i]), uint8(image.Prediction[i])
		}
		add(t, s, &sample{Semantic: truth}, &sample{Semantic: pred})
	}
	for k, want := range map[int]float64{0: g.Segmentation.Want[0], 1: g.Segmentation.Want[2]} {
		if got := mean(s.Classes(), k); math.Abs(got-want) > 1e-9 {
			t.Errorf("segmentation: the mean of value %d is %v, want %v", k, got, want)
		}
	}
	for class, v := range s.Classes().Of {
		right, wrong := v.Values[1].Value*float64(v.Truth), int64(0)
		for _, n := range v.Mistaken {
			wrong += n
		}
		if v.Truth > 0 && math.Abs(right+float64(wrong)-float64(v.Truth)) > 1e-6 {
			t.Errorf("class %d: %v pixels right and %d wrong of %d", class, right, wrong, v.Truth)
		}
	}

	m := NewClassification()
	for _, image := range g.Classification.Images {
		truth := make([]float32, len(image.Probabilities))
		truth[image.Class] = 1
		m.Add(truth, image.Probabilities)
	}
	right := 0.0
	for _, v := range m.Classes().Of {
		if v.Truth > 0 {
			right += v.Values[0].Value * float64(v.Truth)
		}
	}
	if got := right / float64(len(g.Classification.Images)); math.Abs(got-g.Classification.Want[0]) > 1e-9 {
		t.Errorf("classification: %v of the images are right by class, want %v", got, g.Classification.Want[0])
	}
}

func TestClassesOfVOC(t *testing.T) {
	m := NewVOC(3)
	at := func(class int, x float64) data.Object {
		return data.Object{Class: class, Score: 1, Box: data.Box{X0: x, X1: x + 10, Y1: 10}}
	}
	add(t, m, &sample{Objects: []data.Object{at(0, 0), at(1, 50)}}, &sample{Objects: []data.Object{at(0, 1), at(2, 50)}})
	c := m.Classes().Of
	if c[0].Values[0].Value != 1 || c[1].Values[0].Value != 0 || !math.IsNaN(c[2].Values[0].Value) || c[1].Predicted != 0 || c[2].Predicted != 1 || c[2].Truth != 0 {
		t.Errorf("got %+v", c)
	}
}

func TestClassesPrint(t *testing.T) {
	m := NewClassification()
	one := func(class int) []float32 {
		p := make([]float32, 4)
		p[class] = 1
		return p
	}
	for _, pair := range [][2]int{{0, 0}, {0, 1}, {0, 1}, {1, 1}, {2, 0}} {
		m.Add(one(pair[0]), one(pair[1]))
	}
	m.Add(one(1), nil)
	var b strings.Builder
	if err := m.Classes().Print(&b, []string{"cat", "dog", "new\nline"}); err != nil {
		t.Fatal(err)
	}
	const want = `  images  predicted  accuracy  class
       3          2    0.3333  cat
       2          3    0.5000  dog
       1          0    0.0000  new\nline
       0          0         -  3
never predicted, 1 of 3 classes in the truth: new\nline
most often mistaken, in images:
       2  cat for dog
       1  dog for nothing
       1  new\nline for cat
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
