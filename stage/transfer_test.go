package stage

import (
	"math"
	"must/atomicfile"
	"must/metric"
	"must/recipe"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Of several pretrained weights each seed has its own; one serves all.
func TestPretrainedOfEachSeed(t *testing.T) {
	text := func(from string) []byte {
		return []byte(`
name: seeds
data: {rooms: {format: scenes, subset: rooms}}
stages:
  - name: transfer
    transfer: {from: {scratch: "", one: one.pth, each: ` + from + `}, seeds: [4, 5], sets: [{data: rooms, task: segmentation}]}
`)
	}
	r, err := recipe.Parse(text("{from: [a.pth, b.pth], with: {lr: 0.1}}"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(r)
	if err != nil {
		t.Fatal(err)
	}
	s := e.Steps[0].Stage.(*Transfer)
	for i, want := range []string{"a.pth", "b.pth"} {
		if got := s.source("each", s.Seeds[i]); got != want {
			t.Errorf("seed %d begins from %q, want %q", s.Seeds[i], got, want)
		}
		if s.source("one", s.Seeds[i]) != "one.pth" || s.source("scratch", s.Seeds[i]) != "" {
			t.Errorf("seed %d begins from %q and %q", s.Seeds[i], s.source("one", s.Seeds[i]), s.source("scratch", s.Seeds[i]))
		}
	}
	in, err := s.Inputs(e)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, f := range in.From {
		names = append(names, f.Name)
	}
	if !slices.Contains(names, "a.pth") || !slices.Contains(names, "b.pth") {
		t.Errorf("it goes on from %q", names)
	}
	if r, err = recipe.Parse(text("[a.pth, b.pth, c.pth]")); err == nil {
		_, err = New(r)
	}
	if err != nil {
		t.Errorf("more than there are seeds: %v", err)
	}
	three := []byte(strings.Replace(string(text("[a.pth, b.pth]")), "[4, 5]", "[4, 5, 6]", 1))
	if r, err = recipe.Parse(three); err == nil {
		_, err = New(r)
	}
	if err == nil || !strings.Contains(err.Error(), "2 pretrained weights for 3 seeds") {
		t.Errorf("fewer than there are seeds: %v", err)
	}
}
