package metric

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Classes are a metric's numbers class by class.
type Classes struct {
	Unit string // what is counted
	Of   []ClassValue
}

// A ClassValue is what a metric found of one class.
type ClassValue struct {
	Values           []Value // NaN where a class plays no part in the mean; the same names for every class
	Truth, Predicted int64   // how often the class is in the truth, and in predictions
	// Mistaken counts what is of this class in the truth by the class that was predicted for it, -1 for none: a row
	// of the confusion matrix without its diagonal. It is nil in a metric that has no such matrix.
	Mistaken map[int]int64
}

// confusions is how many of the largest confusions Print writes.
const confusions = 10

// Print writes a line per class, names[c] being that of class c, then which classes of the truth were never
// predicted, and what was most often mistaken for what.
func (c Classes) Print(w io.Writer, names []string) error {
	name := func(class int) string {
		switch {
		case class < 0:
			return "nothing"
		case class >= len(names):
			return strconv.Itoa(class)
		}
		return strings.Trim(strconv.Quote(names[class]), `"`) // on one line, whatever it holds
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\tpredicted\t", c.Unit)
	for _, v := range c.first().Values {
		fmt.Fprintf(t, "%s\t", v.Name)
	}
	fmt.Fprintln(t, "  class")
	type mistake struct {
		truth, predicted int
		count            int64
	}
	var never []string
	var mistakes []mistake
	present := 0
	for i, v := range c.Of {
		fmt.Fprintf(t, "%d\t%d\t", v.Truth, v.Predicted)
		for _, v := range v.Values {
			if math.IsNaN(v.Value) {
				fmt.Fprint(t, "-\t")
			} else {
				fmt.Fprintf(t, "%.4f\t", v.Value)
			}
		}
		fmt.Fprintf(t, "  %s\n", name(i))
		if v.Truth > 0 {
			present++
			if v.Predicted == 0 {
				never = append(never, name(i))
			}
		}
		for _, p := range slices.Sorted(maps.Keys(v.Mistaken)) {
			mistakes = append(mistakes, mistake{i, p, v.Mistaken[p]})
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	if len(never) > 0 {
		fmt.Fprintf(&b, "never predicted, %d of %d classes in the truth: %s\n", len(never), present, strings.Join(never, ", "))
	}
	slices.SortStableFunc(mistakes, func(a, b mistake) int { return cmp.Compare(b.count, a.count) })
	for i, m := range mistakes[:min(len(mistakes), confusions)] {
		if i == 0 {
			fmt.Fprintf(&b, "most often mistaken, in %s:\n", c.Unit)
		}
		fmt.Fprintf(&b, "%8d  %s for %s\n", m.count, name(m.truth), name(m.predicted))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Classes) first() ClassValue {
	if len(c.Of) == 0 {
		return ClassValue{}
	}
	return c.Of[0]
}
