package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// An Outcome says what became of a claim.
type Outcome int

const (
	Note  Outcome = iota // no claim, but to be kept in mind
	Holds                // the numbers bear the claim out
	Fails                // they do not
)

func (o Outcome) String() string { return [...]string{"note", "holds", "fails"}[o] }

// A Finding is one sentence of the verdict.
type Finding struct {
	Outcome Outcome
	Text    string
}

// enough is the part of a teacher's own score that the student has to keep; the verdict's text
// names it.
const enough = 0.9

// Verdict says in plain words what the numbers show for MuST and what they do not: against
// training from scratch, against every other start by average rank, and against the teachers.
func (r Results) Verdict() []Finding {
	var findings []Finding
	say := func(holds bool, format string, args ...any) {
		f := Finding{Fails, fmt.Sprintf(format, args...)}
		if holds {
			f.Outcome = Holds
		}
		findings = append(findings, f)
	}

	// Against scratch, and against the best of the others.
	var beaten, lost, ahead, behind, close []string
	seeds := 0
	for _, t := range r.Transfer {
		own := t.Scores[MuST]
		if len(own) == 0 {
			continue
		}
		if len(t.Scores[Scratch]) > 0 {
			if t.compare(MuST, Scratch) > 0 {
				beaten = append(beaten, t.Set)
			} else {
				lost = append(lost, t.against(Scratch))
			}
		}
		baseline := ""
		for _, start := range (Results{Transfer: []Transfer{t}}).Starts() {
			if start != MuST && (baseline == "" || t.compare(start, baseline) > 0) {
				baseline = start
			}
		}
		if baseline == "" {
			continue
		}
		if t.compare(baseline, MuST) > 0 {
			behind = append(behind, fmt.Sprintf("%s (%s)", t.against(baseline), startName(baseline)))
		} else {
			ahead = append(ahead, t.Set)
		}
		seeds = max(seeds, min(len(own), len(t.Scores[baseline])))
		if t.Paired(MuST, baseline).Open() {
			close = append(close, t.Set)
		}
	}
	if n := len(beaten) + len(lost); n > 0 {
		text := fmt.Sprintf("The student beats training from scratch on %d of %d downstream sets", len(beaten), n)
		if len(lost) > 0 {
			text += "; not on " + list(lost)
		}
		say(len(lost) == 0, "%s.", text)
	}

	ranks := r.Ranks()
	if own, ok := ranks[MuST]; ok && len(ranks) > 1 {
		var better []string
		for _, start := range r.Starts() {
			if rank, ok := ranks[start]; ok && start != MuST && rank <= own {
				better = append(better, fmt.Sprintf("%s has %.2f", startName(start), rank))
			}
		}
		if len(better) == 0 {
			say(true, "Its average rank over the %s is %.2f, the best of %d starts.", sets(len(r.Transfer)), own, len(ranks))
		} else {
			say(false, "Its average rank over the %s is %.2f among %d starts, and %s.", sets(len(r.Transfer)), own, len(ranks), list(better))
		}
	}

	var sure, unsure []string
	for _, row := range r.paired() {
		text := fmt.Sprintf("%s (%s)", startName(row.start), row.all.percent())
		if row.all.Sure() {
			sure = append(sure, text)
		} else {
			unsure = append(unsure, text)
		}
	}
	switch {
	case len(unsure) > 0 && len(sure) == 0:
		say(false, "In the mean of the sets, seed by seed, it is not surely better than any other start: %s.", list(unsure))
	case len(unsure) > 0:
		say(false, "In the mean of the sets, seed by seed, it is better than %s; not surely than %s.", list(sure), list(unsure))
	case len(sure) > 0:
		say(true, "In the mean of the sets, seed by seed, it is better than every other start: %s.", list(sure))
	}

	var kept, short []string
	least := math.Inf(1)
	for _, t := range r.Teachers {
		k := t.Kept()
		if math.IsNaN(k) {
			continue
		}
		least = min(least, k)
		kept = append(kept, t.Task+" "+percent(k))
		if k < enough {
			short = append(short, t.Task)
		}
	}
	if len(kept) > 0 {
		text := fmt.Sprintf("It keeps at least %s of each teacher's own score (%s)", percent(least), strings.Join(kept, ", "))
		if len(short) > 0 {
			text += "; short of 90\u00a0%: " + list(short)
		}
		say(len(short) == 0, "%s.", text)
	}

	if n := len(ahead) + len(behind); n > 0 {
		if len(behind) == 0 {
			say(true, "No other start does better on any of the %s.", sets(n))
		} else {
			say(false, "Another start does better on %d of %s: %s.", len(behind), sets(n), strings.Join(behind, "; "))
		}
		switch {
		case seeds < 2:
			findings = append(findings, Finding{Note, "One run each: small differences may be chance."})
		case len(close) > 0:
			findings = append(findings, Finding{Note, fmt.Sprintf("The 95 %% interval of the paired differences to the best other start has both signs, so undecided: %s.", list(close))})
		}
	}
	return findings
}

// against shows MuST's mean beside that of another start: "rooms: 0.412 against 0.398 AP".
func (t Transfer) against(start string) string {
	own, _ := meanDeviation(t.Scores[MuST])
	other, _ := meanDeviation(t.Scores[start])
	digits := decimals(own, other)
	return fmt.Sprintf("%s: %s against %s %s", t.Set, format(own, digits), format(other, digits), t.Metric)
}

func sets(n int) string {
	if n == 1 {
		return "one set"
	}
	return fmt.Sprintf("%d sets", n)
}

// list joins with commas and a last "and".
func list(items []string) string {
	if n := len(items); n > 1 {
		return strings.Join(slices.Clone(items)[:n-1], ", ") + " and " + items[n-1]
	}
	return strings.Join(items, "")
}

// startName is what readers know a start as.
func startName(start string) string {
	names := map[string]string{
		Scratch: "from scratch", MuST: "MuST", "bit": "BiT style", "simclr": "SimCLR", "moco": "MoCo",
		"mae": "MAE", "multitask": "multi-task, true labels only",
	}
	if name, ok := names[start]; ok {
		return name
	}
	return start
}

func percent(part float64) string {
	if math.IsNaN(part) {
		return missing
	}
	return fmt.Sprintf("%.1f\u00a0%%", math.Floor(1000*part)/10) // 89.99 is not 90
}

// missing stands for a value that is not known.
const missing = "–"

// decimals returns how many of them show three significant digits of the largest value.
func decimals(values ...float64) int {
	largest := 0.0
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			largest = max(largest, math.Abs(v))
		}
	}
	if largest == 0 {
		return 3
	}
	return min(max(2-int(math.Floor(math.Log10(largest))), 0), 3)
}

// format shows a value with so many decimals, or in powers of ten where they say nothing.
func format(v float64, decimals int) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return missing
	case v != 0 && (math.Abs(v) < 1e-3 || math.Abs(v) >= 1e7):
		return fmt.Sprintf("%.2e", v)
	}
	return fmt.Sprintf("%.*f", decimals, v)
}
