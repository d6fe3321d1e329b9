package report

import (
	"fmt"
	"math"
	"strings"
)

// A Difference is how much better one start is than another, seed by seed: what a seed has in common for all
// starts, such as the order of images and their views, is not in it. It is positive where the first is
// better, also where less of the score is.
type Difference struct {
	Mean      float64
	Low, High float64 // 95 % interval by Student's t over seeds; NaN with one
	Seeds     int
}

// Sure reports whether the first start is better for all of the interval.
func (d Difference) Sure() bool { return d.Low > 0 }

// Open reports whether the interval has both signs in it.
func (d Difference) Open() bool { return d.Low <= 0 && d.High >= 0 }

// difference is that of values.
func difference(values []float64) Difference {
	mean, deviation := meanDeviation(values)
	n := len(values)
	half := quantile(n-1) * deviation / math.Sqrt(float64(n))
	return Difference{mean, mean - half, mean + half, n}
}

// quantile is that of Student's t distribution at 97.5 %, to three digits from eleven degrees of freedom on.
func quantile(df int) float64 {
	table := []float64{12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281}
	switch {
	case df < 1:
		return math.NaN()
	case df <= len(table):
		return table[df-1]
	}
	n := float64(df)
	return 1.95996 + 2.3722/n + 2.8225/(n*n)
}

// Paired compares two starts on the set, seed by seed; of seeds that one has and the other lacks nothing is
// told.
func (t Transfer) Paired(a, b string) Difference {
	var values []float64
	for i := range min(len(t.Scores[a]), len(t.Scores[b])) {
		d := t.Scores[a][i] - t.Scores[b][i]
		if !t.HigherIsBetter {
			d = -d
		}
		values = append(values, d)
	}
	return difference(values)
}

// Gain compares two starts over all sets: seed by seed the geometric mean over the sets of how many times
// better the first is, as a share beyond 1. Its interval takes seeds as blocks, since all sets of a seed may
// share what was learned before them. A score of 0 or less compares with none, and leaves it unknown.
func (r Results) Gain(a, b string) Difference {
	seeds := math.MaxInt
	for _, t := range r.Transfer {
		seeds = min(seeds, len(t.Scores[a]), len(t.Scores[b]))
	}
	if len(r.Transfer) == 0 || seeds == 0 {
		return difference(nil)
	}
	values := make([]float64, seeds)
	for _, t := range r.Transfer {
		for i := range values {
			ratio := math.Log(t.Scores[a][i] / t.Scores[b][i])
			if !t.HigherIsBetter {
				ratio = -ratio
			}
			if math.IsInf(ratio, 0) {
				ratio = math.NaN()
			}
			values[i] += ratio / float64(len(r.Transfer))
		}
	}
	d := difference(values)
	d.Mean, d.Low, d.High = math.Expm1(d.Mean), math.Expm1(d.Low), math.Expm1(d.High)
	return d
}

// text shows a difference and its interval: "+0.031 [0.012, 0.050]".
func (d Difference) text(digits int, factor float64, unit string) string {
	if math.IsNaN(d.Mean) {
		return missing
	}
	round := func(v float64) float64 { // to no zero with a sign
		k := math.Pow10(digits)
		return math.Round(v*factor*k)/k + 0
	}
	s := fmt.Sprintf("%+.*f", digits, round(d.Mean))
	if !math.IsNaN(d.Low) {
		s += fmt.Sprintf(" [%.*f, %.*f]", digits, round(d.Low), digits, round(d.High))
	}
	return strings.ReplaceAll(s, "-", "\u2212") + unit
}

// percent shows a gain.
func (d Difference) percent() string { return d.text(1, 100, "\u00a0%") }

// A pairedRow is what MuST is better by than another start.
type pairedRow struct {
	start string
	sets  []Difference // of the results
	all   Difference
}

// paired compares MuST with every other start; nil where that cannot be done seed by seed.
func (r Results) paired() (rows []pairedRow) {
	several := false
	for _, start := range r.Starts() {
		if start == MuST {
			continue
		}
		row := pairedRow{start: start, all: r.Gain(MuST, start)}
		for _, t := range r.Transfer {
			d := t.Paired(MuST, start)
			several = several || d.Seeds > 1
			row.sets = append(row.sets, d)
		}
		rows = append(rows, row)
	}
	if !several {
		return nil
	}
	return rows
}

// pairedMarkdown is the table of them, "" for none.
func (r Results) pairedMarkdown() string {
	rows := r.paired()
	if rows == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("MuST is better by, seed by seed, with 95\u00a0% intervals:\n\n| than |")
	for _, t := range r.Transfer {
		fmt.Fprintf(&b, " %s (%s) |", t.Set, t.Metric)
	}
	fmt.Fprintf(&b, " mean of the sets |\n|%s\n", strings.Repeat("---|", len(r.Transfer)+2))
	bold := func(d Difference, text string) string {
		if d.Sure() {
			return "**" + text + "**"
		}
		return text
	}
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", startName(row.start))
		for i, d := range row.sets {
			fmt.Fprintf(&b, " %s |", bold(d, d.text(r.Transfer[i].decimals(), 1, "")))
		}
		fmt.Fprintf(&b, " %s |\n", bold(row.all, row.all.percent()))
	}
	return b.String()
}
