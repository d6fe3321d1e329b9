package metric

import (
	"math"
	"strings"
	"testing"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
)

func TestProtocols(t *testing.T) {
	l := data.Labels{detection.Name: {Classes: []string{"a"}}, segmentation.Name: {Classes: []string{"a", "b", "c"}}, depth.Name: {Units: data.Metric}}
	for _, p := range Protocols {
		if err := CheckProtocol(p, l); err != nil {
			t.Error(err)
		}
		if err := CheckProtocol(p, data.Labels{classification.Name: {Classes: []string{"a"}}}); err == nil || !strings.Contains(err.Error(), "no labels") {
			t.Errorf("%s for classes: %v", p, err)
		}
	}
	if err := CheckProtocol("ade", l); err == nil || !strings.Contains(err.Error(), "ade20k") {
		t.Errorf("ade: %v", err)
	}

	first := func(m Metric, s *data.Sample, pred *data.Sample) Value {
		m.Add(s, pred)
		return m.Values()[0]
	}
	// ADE20K counts a class that is found nowhere as 0.
	maps := &data.Sample{Known: data.Know(segmentation.New(&data.Grid[uint8]{W: 2, H: 1, Pix: []uint8{0, 1}}))}
	for protocol, want := range map[string]float64{"": 1, "ade20k": 2. / 3} {
		m := l[segmentation.Name]
		m.Protocol = protocol
		l = l.With(segmentation.Name, m)
		if v := first(ForSegmentation(3, l), maps, maps); v.Name != "mIoU" || math.Abs(v.Value-want) > 1e-12 {
			t.Errorf("%q: %v, want mIoU %v", protocol, v, want)
		}
	}
	objects := &data.Sample{Known: data.Know(detection.New([]data.Object{{Box: data.Box{X1: 4, Y1: 4}, Score: 1}}))}
	for protocol, want := range map[string]string{"": "AP", "voc": "VOC10_AP", "voc07": "VOC07_AP"} {
		m := l[detection.Name]
		m.Protocol = protocol
		l = l.With(detection.Name, m)
		if v := first(ForDetection(1, false, l), objects, objects); v.Name != want || math.Abs(v.Value-1) > 1e-12 {
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
		m := l[depth.Name]
		m.Protocol = protocol
		l = l.With(depth.Name, m)
		if v := first(ForDepth(data.Metric, l), &data.Sample{Known: data.Know(depth.New(truth))}, &data.Sample{Known: data.Know(depth.New(pred))}); (v.Value == 1) != perfect {
			t.Errorf("%q: %v", protocol, v)
		}
	}
	// Relative depth is aligned: twice the inverse and 1 more is perfect.
	for i := range truth.Pix {
		truth.Pix[i] = 1 + float32(i%7)
		pred.Pix[i] = 2/truth.Pix[i] + 1
	}
	if v := first(ForDepth(data.Inverse, l), &data.Sample{Known: data.Know(depth.New(truth))}, &data.Sample{Known: data.Know(depth.New(pred))}); v.Value != 1 {
		t.Errorf("relative depth: %v", v)
	}
}
