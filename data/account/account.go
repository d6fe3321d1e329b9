// Package account writes what is counted of a data set for people: numbers, shares, ranges, and tables of
// classes. Package inspect has the counting of what all sets have, tasks that of their labels.
package account

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
)

// A Writer writes an account in columns. Flush ends it.
type Writer struct{ t *tabwriter.Writer }

// New returns one that writes to w.
func New(w io.Writer) *Writer { return &Writer{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)} }

// Flush writes what is left.
func (w *Writer) Flush() error { return w.t.Flush() }

// Row writes what is known under a name.
func (w *Writer) Row(name, format string, args ...any) {
	fmt.Fprintf(w.t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
}

// Section begins what is known of a task.
func (w *Writer) Section(task string) { fmt.Fprintf(w.t, "\n%s\n", task) }

// Classes beyond tableRows are cut to the most and the least frequent ones.
const (
	tableRows = 30
	mostRows  = 20
	leastRows = 5
)

// A Class counts what there is of a class.
type Class struct {
	Name    string
	Images  int   // labelled with it, or in which it occurs
	Objects int   // without crowds
	Pixels  int64 // of maps
}

// Classes returns one of each name, without counts.
func Classes(names []string) []Class {
	out := make([]Class, len(names))
	for i, name := range names {
		out[i].Name = name
	}
	return out
}

// Table writes the classes, the most frequent first.
func (w *Writer) Table(classes []Class, columns []string, cells func(Class) []string, count func(Class) int64) {
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
	fmt.Fprintf(w.t, "%s\t%s\n", of, strings.Join(columns, "\t"))
	for i, c := range sorted {
		if len(sorted) > tableRows && i >= mostRows && i < len(sorted)-leastRows {
			if i == mostRows {
				fmt.Fprintf(w.t, "  … %d more\t\n", len(sorted)-mostRows-leastRows)
			}
			continue
		}
		fmt.Fprintf(w.t, "  %s\t%s\n", c.Name, strings.Join(cells(c), "\t"))
	}
}

// A Range describes a list of numbers. All are 0 for an empty list.
type Range struct{ Min, Median, Max float64 }

// RangeOf describes numbers, which it sorts.
func RangeOf(v []float64) Range {
	if len(v) == 0 {
		return Range{}
	}
	slices.Sort(v)
	return Range{v[0], v[len(v)/2], v[len(v)-1]}
}

// String is for the account.
func (r Range) String() string {
	if r.Min == r.Max {
		return Number(r.Min)
	}
	return fmt.Sprintf("%s to %s, median %s", Number(r.Min), Number(r.Max), Number(r.Median))
}

// Number writes three significant digits, whole numbers in full.
func Number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return Thousands(int(x))
	}
	if math.Abs(x) >= 100 {
		return Thousands(int(math.Round(x)))
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// Thousands writes a number with commas.
func Thousands[T int | int64](n T) string { return humanize.Comma(int64(n)) }

// Percent writes a part of a whole.
func Percent[T int | int64](part, whole T) string {
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

// Share writes a number of things, and of how many.
func Share(n, of int, things string) string {
	if n == of {
		return fmt.Sprintf("all %s %s", Thousands(n), things)
	}
	return fmt.Sprintf("%s of %s %s (%s)", Thousands(n), Thousands(of), things, Percent(n, of))
}
