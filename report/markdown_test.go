package report

import (
	"math"
	"testing"
)

func TestMarkdown(t *testing.T) {
	r := Results{
		Teachers: []Teacher{{Task: "depth", Metric: "abs_rel", Teacher: 0.2, Student: 0.1}},
		Transfer: []Transfer{
			{Set: "rooms", Metric: "mIoU", HigherIsBetter: true, Scores: map[string][]float64{Scratch: {0.25, 0.75}, MuST: {0.75, 0.75}}},
			{Set: "depth", Metric: "abs_rel", Scores: map[string][]float64{Scratch: {0.5, 0.5}, MuST: {math.NaN()}}},
		},
	}
	want := `| task | teacher | student | kept |
|---|---|---|---|
| depth (abs_rel ↓) | 0.200 | 0.100 | 200.0 % |

| start | rooms (mIoU ↑) | depth (abs_rel ↓) | rank |
|---|---|---|---|
| from scratch | 0.500 ± 0.354 | **0.500** ± 0.000 | **1.50** |
| MuST | **0.750** ± 0.000 | – | **1.50** |

MuST is better by, seed by seed, with 95 % intervals:

| than | rooms (mIoU) | depth (abs_rel) | mean of the sets |
|---|---|---|---|
| from scratch | +0.250 [−2.927, 3.427] | – | – |
`
	if got := r.Markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := (Results{}).Markdown(); got != "" {
		t.Errorf("no results are %q", got)
	}
}

func TestChartMarkdown(t *testing.T) {
	c := Chart{X: "images", Series: []Series{
		{Name: "rooms", Points: []Point{{0, 100, 0}, {400, 112.25, 1.5}}},
		{Name: "things", Points: []Point{{400, math.NaN(), 0}}},
	}}
	want := "| images | rooms | things |\n|---|---|---|\n| 0 | 100 | – |\n| 400 | 112 ± 2 | – |\n"
	if got := c.Markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c = Chart{Cases: []string{"true", "both"}, Series: []Series{{Name: "rooms", Points: []Point{{0, 100, 0}, {1, 120, 0}}}}}
	if got, want := c.Markdown(), "|  | rooms |\n|---|---|\n| true | 100 |\n| both | 120 |\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
