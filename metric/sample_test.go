package metric

import (
	"testing"

	"must/data"
)

// A sample has what some metric scores.
type sample struct {
	Class    []float32
	Objects  []data.Object
	Semantic *data.Grid[uint8]
	Depth    *data.Grid[float32]
	Normals  *data.Grid[[3]float32]
}

// A counter is any metric.
type counter interface{ Values() []Value }

// add counts what of two samples a metric scores.
func add(t testing.TB, m counter, truth, pred *sample) {
	t.Helper()
	var err error
	switch m := m.(type) {
	case *Classification:
		m.Add(truth.Class, pred.Class)
	case *Detection:
		m.Add(truth.Objects, pred.Objects)
	case *VOC:
		m.Add(truth.Objects, pred.Objects)
	case *BoxQuality:
		m.Add(truth.Objects, pred.Objects)
	case *Segmentation:
		err = m.Add(truth.Semantic, pred.Semantic)
	case *Depth:
		err = m.Add(truth.Depth, pred.Depth)
	case *Normals:
		err = m.Add(truth.Normals, pred.Normals)
	}
	if err != nil {
		t.Fatal(err)
	}
}
