package inspect

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// Classes beyond tableRows are cut to the most and the least frequent ones.
const (
	tableRows = 30
	mostRows  = 20
	leastRows = 5
)

// write writes the account.
func (s *Summary) write(w io.Writer, l data.Labels) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }

	looked := ""
	if s.Looked < s.Samples {
		looked = fmt.Sprintf(", %s of them looked at, spread over the set", thousands(s.Looked))
	}
	row("images", "%s%s", thousands(s.Samples), looked)
	row("broken", "%s", thousands(s.Broken))
	for _, err := range s.FirstWrong {
		row("", "%s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if s.Broken > len(s.FirstWrong) {
		row("", "and %s more", thousands(s.Broken-len(s.FirstWrong)))
	}
	if s.Duplicates > 0 {
		row("keys twice", "%s: %s", thousands(s.Duplicates), strings.Join(s.FirstTwice, ", "))
	}
	for i, note := range s.Notes {
		row([]string{"files", ""}[min(i, 1)], "%s", note)
	}
	if s.Looked > s.Broken {
		row("width", "%s px", s.Width)
		row("height", "%s px", s.Height)
	}
	tasks := l.Tasks()
	if len(tasks) == 0 {
		tasks = []string{"none"}
	}
	row("labels", "%s", strings.Join(tasks, ", "))
	good := s.Looked - s.Broken

	if c := s.Classification; c != nil {
		section(t, classification.Name)
		row("labelled", "%s", share(c.Labelled, good, "images"))
		if c.Soft > 0 {
			row("soft", "%s", share(c.Soft, c.Labelled, "labels"))
		}
		table(t, c.Classes, []string{"images"}, func(c Class) []string { return []string{thousands(c.Images)} }, func(c Class) int64 { return int64(c.Images) })
	}
	if d := s.Detection; d != nil {
		section(t, detection.Name)
		row("labelled", "%s, %s of them without objects", share(d.Labelled, good, "images"), thousands(d.Empty))
		if d.Partial > 0 {
			row("", "%s whose label does not tell of all classes", share(d.Partial, d.Labelled, "images"))
		}
		row("objects", "%s, and %s crowds or difficult ones; %s masks", thousands(d.Objects), thousands(d.Crowds), thousands(d.Masks))
		row("per image", "%s", d.PerImage)
		row("√area", "%s px", d.Side)
		row("sizes", "small %s, medium %s, large %s (limits 32², 96²)", percent(d.Small, d.Objects), percent(d.Medium, d.Objects), percent(d.Large, d.Objects))
		table(t, d.Classes, []string{"objects", "images"}, func(c Class) []string { return []string{thousands(c.Objects), thousands(c.Images)} }, func(c Class) int64 { return int64(c.Objects) })
	}
	if c := s.Segmentation; c != nil {
		section(t, segmentation.Name)
		row("labelled", "%s", share(c.Labelled, good, "images"))
		row("ignored", "%s of the pixels", percent(c.Ignored, c.Pixels))
		table(t, c.Classes, []string{"pixels", "images"}, func(k Class) []string {
			return []string{percent(k.Pixels, c.Pixels-c.Ignored), thousands(k.Images)}
		}, func(c Class) int64 { return c.Pixels })
	}
	if d := s.Depth; d != nil {
		section(t, depth.Name)
		row("labelled", "%s", share(d.Labelled, good, "images"))
		row("invalid", "%s of the pixels; %s images have no valid one", percent(d.Invalid, d.Pixels), thousands(d.NeverValid))
		unit := "of inverse depth, whose scale is unknown"
		if d.Unit == data.Metric {
			unit = "m"
		}
		row("range", "%s to %s %s", number(d.Min), number(d.Max), unit)
		row("1, 50, 99 %", "%s, %s, %s", number(d.P1), number(d.Median), number(d.P99))
	}
	if n := s.Normals; n != nil {
		section(t, normals.Name)
		row("labelled", "%s", share(n.Labelled, good, "images"))
		row("invalid", "%s of the pixels", percent(n.Invalid, n.Pixels))
		row("z > 0", "%s of the valid ones; many would mean that an axis is the wrong way round", percent(n.Away, n.Pixels-n.Invalid))
	}
	return t.Flush()
}

func section(w io.Writer, task string) { fmt.Fprintf(w, "\n%s\n", task) }

// table writes the classes, the most frequent first.
func table(w io.Writer, classes []Class, columns []string, cells func(Class) []string, count func(Class) int64) {
	sorted := slices.Clone(classes)
	slices.SortStableFunc(sorted, func(a, b Class) int { return cmp.Compare(count(b), count(a)) })
	absent := 0
	for _, c := range sorted {
		if count(c) == 0 {
			absent++
		}
	}
	of := fmt.Sprintf("%d classes", len(classes))
	if absent > 0 {
		of += fmt.Sprintf(", %d absent", absent)
	}
	fmt.Fprintf(w, "%s\t%s\n", of, strings.Join(columns, "\t"))
	for i, c := range sorted {
		if len(sorted) > tableRows && i >= mostRows && i < len(sorted)-leastRows {
			if i == mostRows {
				fmt.Fprintf(w, "  … %d more\t\n", len(sorted)-mostRows-leastRows)
			}
			continue
		}
		fmt.Fprintf(w, "  %s\t%s\n", c.Name, strings.Join(cells(c), "\t"))
	}
}

// String is for the account.
func (r Range) String() string {
	if r.Min == r.Max {
		return number(r.Min)
	}
	return fmt.Sprintf("%s to %s, median %s", number(r.Min), number(r.Max), number(r.Median))
}

// number writes three significant digits, whole numbers in full.
func number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return thousands(int(x))
	}
	if math.Abs(x) >= 100 {
		return thousands(int(math.Round(x)))
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// thousands writes a number with commas.
func thousands[T int | int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// percent writes a part of a whole.
func percent[T int | int64](part, whole T) string {
	if whole == 0 {
		return "0 %"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case part == 0 || part == whole:
		return fmt.Sprintf("%.0f %%", p)
	case p < 0.01:
		return "< 0.01 %"
	case p > 99.9:
		return "> 99.9 %"
	case p < 1:
		return fmt.Sprintf("%.2f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

// share writes a number of things, and of how many.
func share(n, of int, things string) string {
	if n == of {
		return fmt.Sprintf("all %s %s", thousands(n), things)
	}
	return fmt.Sprintf("%s of %s %s (%s)", thousands(n), thousands(of), things, percent(n, of))
}
