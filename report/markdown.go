package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Markdown is the tables of the results, for pages that show Markdown: the best of a set is bold, ± is
// the standard deviation over seeds. Where there are several, differences are told seed by seed, bold where
// their whole interval is on MuST's side.
func (r Results) Markdown() string {
	var b strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	rule := func(n int) { fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", n)) }
	if len(r.Teachers) > 0 {
		line("task", "teacher", "student", "kept")
		rule(4)
		for _, t := range r.Teachers {
			digits := decimals(t.Teacher, t.Student)
			line(fmt.Sprintf("%s (%s %s)", t.Task, t.Metric, arrow(t.HigherIsBetter)), format(t.Teacher, digits), format(t.Student, digits), percent(t.Kept()))
		}
		b.WriteByte('\n')
	}
	if len(r.Transfer) == 0 {
		return b.String()
	}
	head := []string{"start"}
	for _, t := range r.Transfer {
		head = append(head, fmt.Sprintf("%s (%s %s)", t.Set, t.Metric, arrow(t.HigherIsBetter)))
	}
	line(append(head, "rank")...)
	rule(len(head) + 1)
	ranks := r.Ranks()
	first := math.Inf(1)
	for _, rank := range ranks {
		first = min(first, rank)
	}
	bold := func(text string, best bool) string {
		if best {
			return "**" + text + "**"
		}
		return text
	}
	for _, start := range r.Starts() {
		cells := []string{startName(start)}
		for _, t := range r.Transfer {
			mean, deviation := meanDeviation(t.Scores[start])
			text := bold(t.number(start), !math.IsNaN(mean) && t.compare(start, t.best()) == 0)
			if !math.IsNaN(deviation) {
				text += fmt.Sprintf(" ± %.*f", t.decimals(), deviation)
			}
			cells = append(cells, text)
		}
		rank := missing
		if v, ok := ranks[start]; ok {
			rank = bold(fmt.Sprintf("%.2f", v), v == first)
		}
		line(append(cells, rank)...)
	}
	if paired := r.pairedMarkdown(); paired != "" {
		b.WriteString("\n" + paired)
	}
	return b.String()
}

// Markdown is the chart as a table: a row for each place on the axis, a column for each series.
func (c Chart) Markdown() string {
	var b strings.Builder
	head := []string{c.X}
	var places []float64
	for _, s := range c.Series {
		head = append(head, s.Name)
		for _, p := range s.Points {
			if !slices.Contains(places, p.X) {
				places = append(places, p.X)
			}
		}
	}
	slices.Sort(places)
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, x := range places {
		at := tickText(x)
		if c.Cases != nil {
			at = c.at(x)
		}
		cells := []string{at}
		for _, s := range c.Series {
			text := missing
			for _, p := range s.Points {
				if p.X == x && !math.IsNaN(p.Y) {
					digits := decimals(p.Y)
					if text = format(p.Y, digits); p.Deviation > 0 {
						text += fmt.Sprintf(" ± %.*f", digits, p.Deviation)
					}
				}
			}
			cells = append(cells, text)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}
