package report

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestHexagon(t *testing.T) {
	r := sample().Results
	svg := Hexagon(r)
	wellFormed(t, svg)
	text := string(svg)
	for _, want := range []string{
		`<svg xmlns="http://www.w3.org/2000/svg"`,
		"prefers-color-scheme: dark",
		"<title>MoCo · normals: 14.6 ± 0.3 mean angle °</title>",
		`class="series s10 blue own"><path class="area"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the hexagon lacks %q", want)
		}
	}
	if strings.Contains(text, "<title>MoCo · detection") || strings.Contains(text, "NaN") {
		t.Error("a run that diverged has a point")
	}
	if n := strings.Count(text, `class="series`); n != 11 {
		t.Errorf("%d lines for 11 starts", n)
	}
	if Hexagon(Results{Transfer: r.Transfer[:2]}) != nil {
		t.Error("two axes make no radar chart")
	}
	if Hexagon(Results{Transfer: make([]Transfer, 6)}) != nil {
		t.Error("a radar chart without scores")
	}
}

func TestRadius(t *testing.T) {
	for _, c := range []struct {
		set  Transfer
		want map[string]float64
	}{
		{set("higher", true, map[string]float64{"a": 1, "b": 2, "c": 3}), map[string]float64{"a": 0.25, "b": 0.625, "c": 1}},
		{set("lower", false, map[string]float64{"a": 1, "b": 2, "c": 3}), map[string]float64{"a": 1, "b": 0.625, "c": 0.25}},
		{set("chance", true, map[string]float64{"a": 1, "b": 0.99}), map[string]float64{"a": 1, "b": 0.85}},
		{set("zero", true, map[string]float64{"a": 0, "b": 0}), map[string]float64{"a": 1, "b": 1}},
		{set("diverged", true, map[string]float64{"a": nan, "b": 1, "c": 0}), map[string]float64{"a": nan, "b": 1, "c": 0.25}},
	} {
		for start, want := range c.want {
			if got := c.set.radius(start); math.Abs(got-want) > 1e-12 || math.IsNaN(got) != math.IsNaN(want) {
				t.Errorf("%s: %s is at %v, want %v", c.set.Set, start, got, want)
			}
		}
	}
}

func TestReadCurve(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.jsonl")
	log := `{"step": 1, "total": 2.5, "loss": {"detection": 1, "depth": 3, "note": "text"}}
{"step": 2, "total": null, "loss": {"depth": 2}}
{"event": "saved"}
{"step": 3, "total": 1.5, "scores": {"AP 0.5": 0.25}}
{"step": 4, "tot`
	if err := os.WriteFile(path, []byte(log), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := ReadCurve(path, "student", "total", "loss.*", "scores.AP 0.5", "absent.*")
	if err != nil {
		t.Fatal(err)
	}
	want := []Series{
		{"total", []Point{{1, 2.5, 0}, {3, 1.5, 0}}},
		{"depth", []Point{{1, 3, 0}, {2, 2, 0}}},
		{"detection", []Point{{1, 1, 0}}},
		{"AP 0.5", []Point{{3, 0.25, 0}}},
	}
	if !reflect.DeepEqual(c.Series, want) {
		t.Errorf("series %+v", c.Series)
	}

	if err := os.WriteFile(path, []byte("{\"step\": 1}\nnonsense\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCurve(path, "student", "total"); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestMean(t *testing.T) {
	if got, want := Mean(3, 1, 2, 3), (Point{3, 2, 1}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Mean(3, 1); got.Y != 1 || !math.IsNaN(got.Deviation) {
		t.Errorf("one value gives %v", got)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		a    axis
		n    int
		want []float64
	}{
		{axis{lo: 0, hi: 1}, 5, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{axis{lo: 30, hi: 6000}, 6, []float64{0, 1000, 2000, 3000, 4000, 5000, 6000}[1:]},
		{axis{lo: 0.05, hi: 2, log: true}, 5, []float64{0.05, 0.1, 0.2, 0.5, 1, 2}},
		{axis{lo: 1, hi: 1e6, log: true}, 5, []float64{1, 100, 1e4, 1e6}},
		{axis{lo: 1e-9, hi: 1e9, log: true}, 5, []float64{1e-8, 1e-4, 1, 1e4, 1e8}},
	} {
		got := c.a.ticks(c.n)
		if len(got) != len(c.want) {
			t.Errorf("ticks of %v…%v: %v, want %v", c.a.lo, c.a.hi, got, c.want)
			continue
		}
		for i := range got {
			if math.Abs(got[i]/c.want[i]-1) > 1e-9 {
				t.Errorf("ticks of %v…%v: %v, want %v", c.a.lo, c.a.hi, got, c.want)
				break
			}
		}
	}
}

func TestChartsOfStrangeNumbers(t *testing.T) {
	for name, points := range map[string][]Point{
		"none":     nil,
		"one":      {{1, 1, 0}},
		"constant": {{1, 5, 0}, {2, 5, 0}},
		"gaps":     {{1, nan, nan}, {2, 3, nan}, {nan, 3, 0}, {3, math.Inf(-1), 0}},
		"huge":     {{0, 1e300, 0}, {1, -1e29, 1e29}, {2, 1e29, 0}},
		"tiny":     {{0, 1e-29, 0}, {1e-29, 2e-29, 5}},
		"zero":     {{0, 0, 0}, {1, 0, 0}},
	} {
		for _, c := range []Chart{{}, {LogX: true, LogY: true}, {Cases: []string{"a", "b"}}} {
			c.Series = []Series{{"must", points}, {"other", points}}
			svg := string(c.svg(false))
			if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
				t.Errorf("%s: %s", name, svg)
			}
			if svg != "" {
				wellFormed(t, []byte(svg))
			}
		}
	}
	line := make([]Point, 10_000)
	for i := range line {
		line[i] = Point{X: float64(i), Y: 1 + float64(i%2)}
	}
	if thinned := thin(line, mostPoints); len(thinned) != mostPoints || thinned[7].Y != 1.5 {
		t.Errorf("%d points, %v", len(thinned), thinned[7])
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string][]string{
		"rooms":                       {"rooms"},
		"fine-grained classes":        {"fine-grained", "classes"},
		"incomprehensibilities":       {"incomprehensib…"},
		"a set with a very long name": {"a set with a", "very long name"},
		"äöü-äöüäöüäöü-äöüäöüäöüäöüä": {"äöü-äöüäöüäöü-", "äöüäöüäöüäöüä"},
	} {
		if got := wrap(text, 15, 2); !reflect.DeepEqual(got, want) {
			t.Errorf("%q breaks into %q, want %q", text, got, want)
		}
	}
}
