package report

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The layout that readers of results.json rely on.
const golden = `{
  "teachers": {
    "segmentation": {
      "metric": "mIoU",
      "higher_is_better": true,
      "teacher": 0.5,
      "student": 0.625
    },
    "classification": {
      "metric": "top-1",
      "higher_is_better": true,
      "teacher": 0.75,
      "student": null
    }
  },
  "transfer": {
    "rooms": {
      "metric": "AbsRel",
      "higher_is_better": false,
      "scratch": [
        0.5,
        null
      ],
      "classification": [
        0.25
      ],
      "simclr": [
        0.3
      ],
      "must": [
        0.125
      ],
      "another": [
        1
      ]
    },
    "animals": {
      "metric": "AP",
      "higher_is_better": true,
      "must": [
        0.5
      ]
    }
  },
  "seconds": 812.5,
  "peak_rss_mb": 1630,
  "version": "0.1.0",
  "libtorch": "2.11.0"
}
`

func TestResultsFile(t *testing.T) {
	r := Results{
		Teachers: []Teacher{
			{"segmentation", "mIoU", true, 0.5, 0.625},
			{"classification", "top-1", true, 0.75, nan},
		},
		Transfer: []Transfer{
			{"rooms", "AbsRel", false, map[string][]float64{
				"another": {1}, MuST: {0.125}, "simclr": {0.3}, "classification": {0.25}, Scratch: {0.5, math.Inf(1)},
			}},
			{"animals", "AP", true, map[string][]float64{MuST: {0.5}, Scratch: {}}},
		},
		Seconds: 812.5, PeakRSSMB: 1630, Version: "0.1.0", Libtorch: "2.11.0",
	}
	path := filepath.Join(t.TempDir(), "results.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != golden {
		t.Errorf("results.json is\n%s", b)
	}
	again, err := ReadResults(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := json.MarshalIndent(again, "", "  "); string(b)+"\n" != golden {
		t.Errorf("read and written again it is\n%s", b)
	}
	if !math.IsNaN(again.Teachers[1].Student) || again.Teachers[0].Task != "segmentation" {
		t.Errorf("teachers read as %+v", again.Teachers)
	}
	if got, want := again.Starts(), []string{Scratch, "classification", "simclr", MuST, "another"}; !slices.Equal(got, want) {
		t.Errorf("starts are %v, want %v", got, want)
	}
}

func TestReadBrokenResults(t *testing.T) {
	for name, text := range map[string]string{
		"cut short":      golden[:200],
		"not an object":  `[]`,
		"a set too flat": `{"transfer": {"rooms": 3}}`,
		"set \"rooms\"":  `{"transfer": {"rooms": {"must": "good"}}}`,
		"teacher":        `{"teachers": {"depth": {"teacher": "good"}}}`,
	} {
		path := filepath.Join(t.TempDir(), "results.json")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadResults(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := ReadResults("missing/results.json"); err == nil {
		t.Error("a missing file gives no error")
	}
	// What is not there is unknown.
	var r Results
	if err := json.Unmarshal([]byte(`{"teachers": {"depth": {"teacher": 1}}}`), &r); err != nil || !math.IsNaN(r.Teachers[0].Student) {
		t.Errorf("%v, %+v", err, r)
	}
}

func FuzzResults(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"transfer":{"a":{"must":[1,2]},"a":{}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Results
		if json.Unmarshal(b, &r) != nil {
			return
		}
		r.Verdict()
		Hexagon(r)
		once, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again Results
		if err := json.Unmarshal(once, &again); err != nil {
			t.Fatal(err)
		}
		if twice, _ := json.Marshal(again); string(once) != string(twice) {
			t.Errorf("%s became %s", once, twice)
		}
	})
}

// set makes a downstream set of one seed per start.
func set(name string, higher bool, scores map[string]float64) Transfer {
	t := Transfer{name, "score", higher, map[string][]float64{}}
	for start, v := range scores {
		t.Scores[start] = []float64{v}
	}
	return t
}

func TestRanks(t *testing.T) {
	r := Results{Transfer: []Transfer{
		set("a", true, map[string]float64{Scratch: 1, "depth": 2, "simclr": 2, MuST: 3}),     // 4, 2.5, 2.5, 1
		set("b", false, map[string]float64{Scratch: 1, "depth": 1, "simclr": 1, MuST: 3}),    // 2, 2, 2, 4
		set("c", true, map[string]float64{Scratch: nan, "depth": nan, "simclr": 1, MuST: 0}), // 3.5, 3.5, 1, 2
	}}
	want := map[string]float64{Scratch: 9.5 / 3, "depth": 8.0 / 3, "simclr": 5.5 / 3, MuST: 7.0 / 3}
	if got := r.Ranks(); !maps.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
		t.Errorf("ranks %v, want %v", got, want)
	}

	// A start that was not run on all sets does not take part.
	r.Transfer[1].Scores["mae"] = []float64{0}
	if got := r.Ranks(); len(got) != 4 || math.Abs(got[MuST]-7.0/3) > 1e-12 {
		t.Errorf("ranks with a start on one set only: %v", got)
	}

	// Seeds are averaged before they are ranked.
	r = Results{Transfer: []Transfer{{"a", "AP", true, map[string][]float64{Scratch: {0, 10}, MuST: {6}}}}}
	if got, want := r.Ranks(), map[string]float64{MuST: 1, Scratch: 2}; !reflect.DeepEqual(got, want) {
		t.Errorf("ranks %v, want %v", got, want)
	}
	if got := (Results{}).Ranks(); len(got) != 0 {
		t.Errorf("ranks of nothing: %v", got)
	}
}

func TestKept(t *testing.T) {
	for _, c := range []struct {
		t    Teacher
		want float64
	}{
		{Teacher{"", "AP", true, 0.5, 0.25}, 0.5},
		{Teacher{"", "AbsRel", false, 0.25, 0.5}, 0.5},
		{Teacher{"", "AbsRel", false, 0.5, 0.25}, 2},
		{Teacher{"", "AP", true, 0, 0.5}, nan},
		{Teacher{"", "AP", true, nan, 0.5}, nan},
		{Teacher{"", "AbsRel", false, 0.5, 0}, nan},
	} {
		if got := c.t.Kept(); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%+v keeps %v, want %v", c.t, got, c.want)
		}
	}
}

func TestVerdictOfAWinner(t *testing.T) {
	r := Results{
		Teachers: []Teacher{{"classification", "top-1", true, 0.8, 0.76}, {"depth", "AbsRel", false, 0.1, 0.1}},
		Transfer: []Transfer{
			{"animals", "AP", true, map[string][]float64{Scratch: {0.2, 0.22}, "depth": {0.3, 0.32}, MuST: {0.5, 0.52}}},
			{"rooms", "AbsRel", false, map[string][]float64{Scratch: {0.2, 0.22}, "depth": {0.12, 0.1}, MuST: {0.1, 0.11}}},
		},
	}
	want := []Finding{
		{Holds, "The student beats training from scratch on 2 of 2 downstream sets."},
		{Holds, "Its average rank over the 2 sets is 1.00, the best of 3 starts."},
		{Fails, "In the mean of the sets, seed by seed, it is better than from scratch (+120.5 [84.5, 163.5] %); not surely than depth (+31.1 [−49.9, 243.2] %)."},
		{Holds, "It keeps at least 95.0\u00a0% of each teacher's own score (classification 95.0\u00a0%, depth 100.0\u00a0%)."},
		{Holds, "No other start does better on any of the 2 sets."},
		{Note, "The 95 % interval of the paired differences to the best other start has both signs, so undecided: rooms."},
	}
	if got := r.Verdict(); !reflect.DeepEqual(got, want) {
		t.Errorf("verdict %+v", got)
	}
}

func TestVerdictOfALoser(t *testing.T) {
	r := Results{
		Teachers: []Teacher{{"classification", "top-1", true, 0.8, 0.4}, {"depth", "AbsRel", false, 0.1, 0.2}, {"detection", "AP", true, 0.4, 0.35996}},
		Transfer: []Transfer{
			set("animals", true, map[string]float64{Scratch: 0.5, "simclr": 0.6, MuST: 0.4}),
			set("rooms", false, map[string]float64{Scratch: 0.2, "simclr": 0.1, MuST: nan}),
			set("tools", true, map[string]float64{Scratch: 0.2, "simclr": 0.1, MuST: 0.3}),
		},
	}
	want := []Finding{
		{Fails, "The student beats training from scratch on 1 of 3 downstream sets; not on animals: 0.400 against 0.500 score and rooms: – against 0.200 score."},
		{Fails, "Its average rank over the 3 sets is 2.33 among 3 starts, and from scratch has 2.00 and SimCLR has 1.67."},
		{Fails, "It keeps at least 50.0\u00a0% of each teacher's own score (classification 50.0\u00a0%, depth 50.0\u00a0%, detection 89.9\u00a0%); short of 90\u00a0%: classification, depth and detection."},
		{Fails, "Another start does better on 2 of 3 sets: animals: 0.400 against 0.600 score (SimCLR); rooms: – against 0.100 score (SimCLR)."},
		{Note, "One run each: small differences may be chance."},
	}
	if got := r.Verdict(); !reflect.DeepEqual(got, want) {
		for _, f := range got {
			t.Errorf("%v %s", f.Outcome, f.Text)
		}
	}
	if got := (Results{}).Verdict(); got != nil {
		t.Errorf("verdict on nothing: %+v", got)
	}
}
