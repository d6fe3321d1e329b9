package report

import (
	"math"
	"strings"
	"testing"
)

// What a seed does to all starts alike is not a difference: 3 ± 0.1 apart though each spreads by 10.
func TestPairedDifferences(t *testing.T) {
	s := Transfer{Set: "normals", Metric: "mean_angle", Scores: map[string][]float64{
		MuST: {20, 30, 40}, Scratch: {23, 33.1, 42.9}, "simclr": {20.5, 29.5, 40},
	}}
	d := s.Paired(MuST, Scratch)
	// Mean 3, deviation 0.1: t of two degrees of freedom is 4.303.
	if half := 4.3027 * 0.1 / math.Sqrt(3); math.Abs(d.Mean-3) > 1e-9 || math.Abs(d.Low-(3-half)) > 1e-6 || math.Abs(d.High-(3+half)) > 1e-6 || !d.Sure() || d.Open() || d.Seeds != 3 {
		t.Errorf("%+v", d)
	}
	if d := s.Paired(MuST, "simclr"); d.Sure() || !d.Open() {
		t.Errorf("half a degree more and less: %+v", d)
	}
	if d := s.Paired(Scratch, MuST); d.Mean > 0 || d.Sure() || d.Open() {
		t.Errorf("the other way round: %+v", d)
	}
	one := Transfer{HigherIsBetter: true, Scores: map[string][]float64{MuST: {2}, Scratch: {1}}}
	if d := one.Paired(MuST, Scratch); d.Mean != 1 || d.Sure() || d.Open() || !math.IsNaN(d.Low) {
		t.Errorf("one seed: %+v", d)
	}
	if (Results{Transfer: []Transfer{one}}).paired() != nil {
		t.Error("one seed has no table")
	}
}

func TestGainTakesSeedsAsBlocks(t *testing.T) {
	r := Results{Transfer: []Transfer{
		{Set: "a", HigherIsBetter: true, Scores: map[string][]float64{MuST: {0.4, 0.2}, Scratch: {0.1, 0.05}}}, // 4 times
		{Set: "b", Scores: map[string][]float64{MuST: {1, 2}, Scratch: {1, 2}}},                                // alike
	}}
	// √4 = 2 for both seeds.
	if d := r.Gain(MuST, Scratch); math.Abs(d.Mean-1) > 1e-9 || math.Abs(d.Low-1) > 1e-9 || !d.Sure() || d.Seeds != 2 {
		t.Errorf("%+v", d)
	}
	if d := r.Gain(Scratch, MuST); math.Abs(d.Mean+0.5) > 1e-9 {
		t.Errorf("the other way round: %+v", d)
	}
	r.Transfer[1].Scores[Scratch] = []float64{2, 2} // of one seed twice as good: 2·√2 and 2
	d := r.Gain(MuST, Scratch)
	logs := []float64{math.Log(2 * math.Sqrt2), math.Log(2)}
	mean, half := (logs[0]+logs[1])/2, 12.7062*(logs[0]-logs[1])/2
	if math.Abs(d.Mean-math.Expm1(mean)) > 1e-9 || math.Abs(d.Low-math.Expm1(mean-half)) > 1e-9 {
		t.Errorf("%+v", d)
	}
	r.Transfer[0].Scores[Scratch][1] = 0
	if d := r.Gain(MuST, Scratch); !math.IsNaN(d.Mean) || d.Sure() {
		t.Errorf("a score of 0: %+v", d)
	}
	if d := (Results{}).Gain(MuST, Scratch); !math.IsNaN(d.Mean) {
		t.Errorf("no sets: %+v", d)
	}
}

// Values of tables of the distribution.
func TestQuantile(t *testing.T) {
	for df, want := range map[int]float64{1: 12.706, 2: 4.303, 10: 2.228, 11: 2.201, 15: 2.131, 30: 2.042, 120: 1.980} {
		if got := quantile(df); math.Abs(got-want) > 0.003 {
			t.Errorf("%d degrees of freedom: %v, want %v", df, got, want)
		}
	}
}

func TestPairedInWords(t *testing.T) {
	r := Results{Transfer: []Transfer{
		{Set: "rooms", Metric: "mIoU", HigherIsBetter: true, Scores: map[string][]float64{MuST: {0.5, 0.6, 0.7}, Scratch: {0.25, 0.3, 0.35}, "simclr": {0.45, 0.65, 0.7}}},
	}}
	table := r.Markdown()
	for _, want := range []string{
		"| than | rooms (mIoU) | mean of the sets |\n",
		"| from scratch | **+0.300 [0.176, 0.424]** | **+100.0 [100.0, 100.0]\u00a0%** |\n",
		"| SimCLR | +0.000 [\u22120.124, 0.124] | ",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	found := false
	for _, f := range r.Verdict() {
		found = found || f.Outcome == Fails && strings.HasPrefix(f.Text, "In the mean of the sets, seed by seed, it is better than from scratch (+100.0 [100.0, 100.0]\u00a0%); not surely than SimCLR")
	}
	if !found {
		t.Errorf("%+v", r.Verdict())
	}
}
