package stage

import (
	"math"
	"must/atomicfile"
	"must/metric"
	"must/recipe"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// folders is an engine whose stages lie in folders of their names.
type folders string

func (f folders) Folder(stage string) string { return filepath.Join(string(f), stage) }
func (folders) Earlier(string) []string      { return nil }
func (folders) Ended(string) bool            { return false }
func (folders) Fingerprint(Inputs) string    { return "" }

// While one set has fewer seeds than another, the mean is over those that all have.
func TestUnevenSeeds(t *testing.T) {
	r, err := recipe.Parse([]byte(`
name: baselines
data: {rooms: {format: scenes, subset: rooms}, fine: {format: scenes, subset: fine}}
stages:
  - name: transfer
    transfer: {from: {scratch: "", net: net.pth}, seeds: [1, 2], sets: [{data: rooms, task: segmentation}, {data: fine, task: classification}]}
figures:
  - {title: By name, stage: transfer, against: scratch, points: [{at: one, from: net}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(r)
	if err != nil {
		t.Fatal(err)
	}
	e.Engine = folders(t.TempDir())
	w := &Work{Env: e, Name: "transfer", Dir: e.Folder("transfer")}
	sets := e.Steps[0].Stage.(*Transfer).Sets
	for i, scores := range [][]float64{{2, 6}, {2}} {
		for start, values := range map[string][]float64{"scratch": {1, 1}, "net": scores} {
			for k, v := range values {
				dir := w.trialDir(sets[i], start, uint64(k+1))
				if err := os.MkdirAll(dir, 0o777); err != nil {
					t.Fatal(err)
				}
				if err := atomicfile.WriteJSON(filepath.Join(dir, trialFile), Trial{Metric: metric.Value{Value: v, HigherIsBetter: true}}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	c, _, err := e.chart(e.Figures[0])
	if err != nil {
		t.Fatal(err)
	}
	if all := c.Series[len(c.Series)-1]; all.Name != average || len(all.Points) != 1 || math.Abs(all.Points[0].Y-200) > 1e-9 {
		t.Errorf("%+v, want a mean of 200 %%", all)
	}
}

func TestSweepOrder(t *testing.T) {
	up, down := &Trial{Metric: metric.Value{Value: 0.5, HigherIsBetter: true}}, &Trial{Metric: metric.Value{Value: 0.5}}
	more := func(t Trial) *Trial { t.Metric.Value = 0.6; return &t }
	diverged := &Trial{Diverged: true}
	if !more(*up).better(up) || up.better(more(*up)) || !down.better(more(*down)) || up.better(up) {
		t.Error("the better score does not win")
	}
	if diverged.better(up) || !up.better(diverged) || diverged.better(diverged) || !math.IsNaN(diverged.value()) {
		t.Error("a run that diverged is not the worst")
	}
	if p := (*Sweep)(nil).points(); !slices.Equal(p, []Point{{1, 1}}) {
		t.Errorf("without a sweep: %v", p)
	}
}
