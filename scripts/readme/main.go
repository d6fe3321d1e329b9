// Command readme writes the figures of README.md, and the demo's hexagon (of the first), from the results of runs
// in docs/demo, so that no figure is typed:
//
//	bin/must demo && cp out/demo/results.json docs/demo/MACHINE.json && go run ./scripts/readme
//
// MACHINE says where it ran. With several files the tables show the range over them.
package main

import (
	"bytes"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"must/atomicfile"
	"must/report"
	"must/scripts/generated"
)

func main() {
	log.SetFlags(0)
	if err := write("."); err != nil {
		log.Fatal(err)
	}
}

const hexagon = "docs/demo-hexagon.svg"

// write brings README.md and the hexagon of a checkout up to date.
func write(root string) error {
	files, runs, err := read(root)
	if err != nil {
		return err
	}
	path := filepath.Join(root, "README.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := fill(old, files, runs)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(runs) > 0 {
		if err := atomicfile.WriteFile(filepath.Join(root, hexagon), report.Hexagon(runs[0])); err != nil {
			return err
		}
	}
	return atomicfile.WriteFile(path, text)
}

// read reads the results in docs/demo, by name.
func read(root string) (files []string, runs []report.Results, err error) {
	if files, err = filepath.Glob(filepath.Join(root, "docs/demo/*.json")); err != nil {
		return nil, nil, err
	}
	slices.Sort(files)
	for _, f := range files {
		r, err := report.ReadResults(f)
		if err != nil {
			return nil, nil, err
		}
		runs = append(runs, r)
	}
	return files, runs, nil
}

const begin, end = "<!-- figures: go run ./scripts/readme -->\n", "<!-- end of figures -->\n"

// fill replaces what stands between the two marks by the figures of runs, read from files.
func fill(readme []byte, files []string, runs []report.Results) ([]byte, error) {
	if len(runs) == 0 {
		return generated.Between(readme, begin, end, []byte("No run is on record yet.\n"))
	}
	var machines []string
	for i, f := range files {
		machines = append(machines, fmt.Sprintf("%s (at most %.1f GB a process)", strings.TrimSuffix(filepath.Base(f), ".json"), runs[i].PeakRSSMB/1000))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Measured with libtorch %s on: %s. %s\n\n", runs[0].Libtorch, strings.Join(machines, "; "), ranges(len(runs)))
	teachers(&b, runs)
	transfer(&b, runs)
	b.WriteString("\nWhat the program says of it:\n\n")
	for _, f := range runs[0].Verdict() {
		fmt.Fprintf(&b, "- %s: %s\n", f.Outcome, f.Text)
	}
	return generated.Between(readme, begin, end, b.Bytes())
}

func ranges(runs int) string {
	if runs == 1 {
		return "Another processor changes the last digits of every sum and thus all figures a little."
	}
	return "Ranges are over these machines."
}

func teachers(b *bytes.Buffer, runs []report.Results) {
	b.WriteString("| task, on the teacher's test set | teacher | student | the student keeps |\n|---|---|---|---|\n")
	for i, t := range runs[0].Teachers {
		var own, student, kept []float64
		for _, r := range runs {
			own, student, kept = append(own, r.Teachers[i].Teacher), append(student, r.Teachers[i].Student), append(kept, 100*r.Teachers[i].Kept())
		}
		fmt.Fprintf(b, "| %s (%s) | %s | %s | %s %% |\n", t.Task, t.Metric, span(own, 3), span(student, 3), span(kept, 1))
	}
}

func transfer(b *bytes.Buffer, runs []report.Results) {
	b.WriteString("\n| fine-tuned from |")
	for _, t := range runs[0].Transfer {
		direction := ""
		if !t.HigherIsBetter {
			direction = ", lower is better"
		}
		fmt.Fprintf(b, " %s (%s%s) |", t.Set, t.Metric, direction)
	}
	fmt.Fprintf(b, " mean rank |\n|%s\n", strings.Repeat("---|", len(runs[0].Transfer)+2))
	for _, start := range runs[0].Starts() {
		fmt.Fprintf(b, "| %s |", start)
		for i := range runs[0].Transfer {
			var means []float64
			for _, r := range runs {
				means = append(means, mean(r.Transfer[i].Scores[start]))
			}
			digits := 3
			if math.Abs(means[0]) >= 10 {
				digits = 1
			}
			fmt.Fprintf(b, " %s |", span(means, digits))
		}
		var ranks []float64
		for _, r := range runs {
			ranks = append(ranks, r.Ranks()[start])
		}
		fmt.Fprintf(b, " %s |\n", span(ranks, 2))
	}
}

func mean(values []float64) float64 {
	sum := 0.
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// span shows the range of values: "0.50", or "0.48–0.52".
func span(values []float64, digits int) string {
	low, high := fmt.Sprintf("%.*f", digits, slices.Min(values)), fmt.Sprintf("%.*f", digits, slices.Max(values))
	if low == high {
		return low
	}
	return low + "–" + high
}
