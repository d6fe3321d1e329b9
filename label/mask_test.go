package label

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"must/data"
	"must/task/depth"
	"must/task/segmentation"
)

// No depth is taught where the class map, the true one or a teacher's, has a class of which the depth's
// teacher knew nothing.
func TestMaskedDepth(t *testing.T) {
	ds := open(t, "stuff", 6)
	classes := ds.Labels()[segmentation.Name].Classes
	l := data.Labels{depth.Name: {Units: data.Metric}}
	deep := teacher(t, 48, 5, l, depth.Name)
	seen := teacher(t, 48, 6, data.Labels{segmentation.Name: {Classes: classes}}, segmentation.Name)
	dir := t.TempDir()
	run := func(ds data.Dataset, name string, m Mask, teachers ...Teacher) (map[string]*data.Grid[float32], map[string]*data.Grid[uint8], error) {
		_, err := Run(context.Background(), ds, teachers, dir+"/"+name, Options{Name: name, Mask: m, Thresholds: map[string]float64{segmentation.Name: 0}})
		if err != nil {
			return nil, nil, err
		}
		depths, maps := map[string]*data.Grid[float32]{}, map[string]*data.Grid[uint8]{}
		for key, r := range records(t, dir+"/"+name) {
			depths[key], maps[key] = depth.Of(r.Sample), segmentation.Of(r.Sample)
		}
		return depths, maps, nil
	}
	hidden := Mask{depth.Name: {"sky", "wall"}}
	check := func(depths map[string]*data.Grid[float32], of func(key string) *data.Grid[uint8]) {
		t.Helper()
		out, in := 0, 0
		for key, d := range depths {
			for i, v := range d.Pix {
				class := of(key).Pix[i]
				masked := class != data.Ignore && (classes[class] == "sky" || classes[class] == "wall")
				if masked != math.IsNaN(float64(v)) {
					t.Fatalf("%s, pixel %d of class %d: depth %v", key, i, class, v)
				}
				if masked {
					out++
				} else {
					in++
				}
			}
		}
		if out == 0 || in == 0 {
			t.Errorf("%d pixels are masked, %d not", out, in)
		}
	}

	truth := map[string]*data.Grid[uint8]{}
	for i := range ds.Len() {
		s, err := ds.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		truth[s.Key] = segmentation.Of(s)
	}
	depths, _, err := run(ds, "true", hidden, deep)
	if err != nil {
		t.Fatal(err)
	}
	check(depths, func(key string) *data.Grid[uint8] { return truth[key] })

	// The untrained teacher sees some class: that one is left out.
	bare := data.Only(ds)
	_, maps, err := run(bare, "seen", nil, deep, seen)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[uint8]int{}
	for _, m := range maps {
		for _, c := range m.Pix {
			counts[c]++
		}
	}
	common := uint8(0)
	for c := range counts {
		if counts[c] > counts[common] {
			common = c
		}
	}
	hidden = Mask{depth.Name: {classes[common]}}
	depths, maps, err = run(bare, "pseudo", hidden, deep, seen)
	if err != nil {
		t.Fatal(err)
	}
	for key, d := range depths {
		for i, v := range d.Pix {
			if (maps[key].Pix[i] == common) != math.IsNaN(float64(v)) {
				t.Fatalf("%s, pixel %d of class %d: depth %v", key, i, maps[key].Pix[i], v)
			}
		}
	}

	for want, m := range map[string]Mask{
		"no class \"moon\"":    {depth.Name: {"moon"}},
		"no task \"deepness\"": {"deepness": {"sky"}},
		"no values for pixels": {"detection": {"sky"}},
	} {
		if _, _, err := run(ds, fmt.Sprint("bad", len(want)), m, deep); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", m, err, want)
		}
	}
	if _, _, err := run(bare, "none", hidden, deep); err == nil || !strings.Contains(err.Error(), "neither labels nor a teacher") {
		t.Errorf("without class maps: %v", err)
	}
	// Labels that were made by another mask are others.
	if _, _, err := run(ds, "true", nil, deep); err == nil {
		t.Error("a folder is gone on with by another mask")
	}
}
