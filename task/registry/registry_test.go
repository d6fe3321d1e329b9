package registry

import (
	"math"
	"strings"
	"testing"

	"must/data"
	"must/metric"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
)

// Tasks are listed here in the order in which they are shown.
func TestOrder(t *testing.T) {
	var names []string
	for _, k := range tasks {
		names = append(names, k.Name())
	}
	if got := strings.Join(names, " "); got != strings.Join(data.Tasks(), " ") {
		t.Errorf("registered %s, shown %v", got, data.Tasks())
	}
}

func TestProtocols(t *testing.T) {
	classes := func(names ...string) data.Meaning { return data.Meaning{Classes: names} }
	l := data.Labels{detection.Name: classes("a"), segmentation.Name: classes("a", "b", "c"), depth.Name: {Units: data.Metric}}
	for _, p := range Protocols() {
		if err := CheckProtocol(p, l); err != nil {
			t.Error(err)
		}
		if err := CheckProtocol(p, data.Labels{classification.Name: classes("a")}); err == nil || !strings.Contains(err.Error(), "no labels") {
			t.Errorf("%s for classes: %v", p, err)
		}
	}
	if err := CheckProtocol("ade", l); err == nil || !strings.Contains(err.Error(), "ade20k") {
		t.Errorf("ade: %v", err)
	}

	first := func(task string, knows data.Meaning, protocol string, truth, pred data.Label) metric.Value {
		t.Helper()
		of := l[task]
		of.Protocol = protocol
		m := Get(task).Metric(knows, of)
		if err := m.Add(truth, pred); err != nil {
			t.Fatal(err)
		}
		return m.Values()[0]
	}
	// ADE20K counts a class that is found nowhere as 0.
	maps := segmentation.New(&data.Grid[uint8]{W: 2, H: 1, Pix: []uint8{0, 1}})
	for protocol, want := range map[string]float64{"": 1, "ade20k": 2. / 3} {
		if v := first(segmentation.Name, l[segmentation.Name], protocol, maps, maps); v.Name != "mIoU" || math.Abs(v.Value-want) > 1e-12 {
			t.Errorf("%q: %v, want mIoU %v", protocol, v, want)
		}
	}
	objects := detection.New([]data.Object{{Box: data.Box{X1: 4, Y1: 4}, Score: 1}})
	for protocol, want := range map[string]string{"": "AP", "voc": "VOC10_AP", "voc07": "VOC07_AP"} {
		if v := first(detection.Name, l[detection.Name], protocol, objects, objects); v.Name != want || math.Abs(v.Value-1) > 1e-12 {
			t.Errorf("%q: %v, want %s of 1", protocol, v, want)
		}
	}
	// The corners are outside of the Eigen crop, at any size; so is truth beyond 10 m of the range.
	truth, pred := data.NewGrid[float32](64, 48), data.NewGrid[float32](64, 48)
	for i := range truth.Pix {
		truth.Pix[i], pred.Pix[i] = 2, 2
	}
	pred.Pix[0], pred.Pix[64*48-1] = 9, 9
	truth.Set(30, 20, 11)
	for protocol, perfect := range map[string]bool{"": false, "nyu": true} {
		if v := first(depth.Name, l[depth.Name], protocol, depth.New(truth), depth.New(pred)); (v.Value == 1) != perfect {
			t.Errorf("%q: %v", protocol, v)
		}
	}
	// Relative depth is aligned: twice the inverse and 1 more is perfect.
	for i := range truth.Pix {
		truth.Pix[i] = 1 + float32(i%7)
		pred.Pix[i] = 2/truth.Pix[i] + 1
	}
	if v := first(depth.Name, data.Meaning{Units: data.Inverse}, "nyu", depth.New(truth), depth.New(pred)); v.Value != 1 {
		t.Errorf("relative depth: %v", v)
	}
}
