package detection

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"must/detect"
	"must/task"
)

// Whatever rounding does to scores and corners, all that is sure is found, and nothing else than what is
// possible.
func TestPossible(t *testing.T) {
	s := slack{score: 0.02, px: 0.05}
	const iou, most = 0.5, 12
	rng := rand.New(rand.NewPCG(1, 2))
	sure, able, ties := 0, 0, 0
	for range 300 {
		all := make([]candidate, 40)
		for i := range all {
			x, y := 60*rng.Float32(), 60*rng.Float32()
			all[i] = candidate{box: detect.Box{x, y, x + 10 + 20*rng.Float32(), y + 10 + 20*rng.Float32()}, score: rng.Float32(), label: i, chance: surely}
		}
		boxes, scores := make([]detect.Box, len(all)), make([]float32, len(all))
		for i, c := range all {
			move := func(by float64) float32 { return float32(by * (2*rng.Float64() - 1) / 2) } // half on either side of two
			boxes[i], scores[i] = c.box, c.score+move(s.score)
			for k := range boxes[i] {
				boxes[i][k] += move(s.px)
			}
		}
		got := detect.NMS(boxes, scores, nil, iou, most)
		sortCandidates(all)
		possible := best(suppress(all, iou, s), most, s)
		for _, c := range possible {
			able++
			there := slices.Contains(got, int32(c.label))
			if c.chance == surely {
				sure++
				if !there {
					t.Fatalf("%v is sure and not found", c)
				}
			} else if !there {
				ties++
			}
		}
		for _, i := range got {
			if !slices.ContainsFunc(possible, func(c candidate) bool { return c.label == int(i) }) {
				t.Fatalf("%d is found and not possible", i)
			}
		}
	}
	if sure < able/2 || ties == 0 {
		t.Errorf("of %d possible ones %d are sure, %d were not found: that shows little", able, sure, ties)
	}
}

// Ties, and nothing else, excuse what one side alone finds.
func TestCompare(t *testing.T) {
	d := &head{classes: 2, size: 100}
	type row [7]float32 // x0, y0, x1, y1, score, class, chance
	outputs := func(found []row, possible ...row) task.Outputs {
		out := task.Outputs{
			outBoxes: {Shape: []int64{1, 3, 4}}, outScores: {Shape: []int64{1, 3}}, outLabels: {Shape: []int64{1, 3}},
			outCount: {Shape: []int64{1}, Values: []float32{float32(len(found))}},
		}
		for len(found) < 3 {
			found = append(found, row{5: -1})
		}
		add := func(name string, v ...float32) {
			a := out[name]
			a.Values = append(a.Values, v...)
			out[name] = a
		}
		for _, r := range found {
			add(outBoxes, r[:4]...)
			add(outScores, r[4])
			add(outLabels, r[5])
		}
		if possible != nil {
			out[outPossible] = task.Array{Shape: []int64{1, int64(len(possible)), 7}}
			for _, r := range possible {
				add(outPossible, r[:]...)
			}
		}
		return out
	}
	a, b, c := row{0, 0, 10, 10, 0.9, 0, 2}, row{50, 50, 70, 90, 0.5, 1, 2}, row{20, 20, 40, 40, 0.3, 0, 1}
	moved, other := b, b
	moved[0] += 0.001
	other[5] = 0
	for _, test := range []struct {
		name       string
		found, got []row
		fault      string
		same, tied int
	}{
		{"alike", []row{a, b}, []row{a, moved}, "", 2, 0},
		{"a tie on the other side", []row{a, b}, []row{a, b, c}, "", 2, 1},
		{"a tie on this side", []row{a, b, c}, []row{a, b}, "", 2, 1},
		{"one is missing", []row{a, b}, []row{a}, "it lacks class 1", 1, 1},
		{"one is of another class", []row{a, b}, []row{a, other}, "it has class 0 at [50.00 50.00 70.00 90.00]", 1, 2},
		{"twice", []row{a, b}, []row{a, a, b}, "too many", 2, 1},
		{"the order", []row{a, b}, []row{b, a}, "changed places", 2, 0},
	} {
		all := d.Compare(outputs(test.found, a, b, c), outputs(test.got), 1e-4)
		if fault := all[0].Fault + all[1].Fault; !strings.Contains(fault, test.fault) || (fault == "") != (test.fault == "") {
			t.Errorf("%s: %q", test.name, fault)
		}
		if all[0].Same != test.same || all[0].Tied != test.tied {
			t.Errorf("%s: %d alike, %d by a tie", test.name, all[0].Same, all[0].Tied)
		}
	}
}

// A region as large as a level's boundary is read from either level.
func TestEither(t *testing.T) {
	edge := detect.Box{0, 0, 224, 224}
	if some := either(edge, 1e-4); len(some) != 2 || some[0].Area() >= edge.Area() || some[1].Area() <= edge.Area() {
		t.Errorf("%v", some)
	}
	if some := either(detect.Box{0, 0, 200, 224}, 1e-4); len(some) != 1 {
		t.Errorf("%v", some)
	}
}
