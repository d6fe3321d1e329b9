package run

import (
	"fmt"
	"math"
	"runtime"
	"strings"

	"github.com/dustin/go-humanize"
)

// Text is the plan for people.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s into %s:\n\nsets\n", p.Name, p.Out)
	for _, x := range p.Sets {
		x.text(&b)
	}
	if p.Mappings != nil {
		fmt.Fprintf(&b, "\nlabel spaces\n")
		for _, m := range p.Mappings {
			m.text(&b)
		}
	}
	fmt.Fprintf(&b, "\nstages\n")
	var total float64
	var peak int64
	there := 0.
	longest := 0. // of what is one process's work
	for _, x := range p.Stages {
		fmt.Fprintf(&b, "  %-24s %-9s %-12s %-40s", x.Name, x.Kind, x.does(), x.Work)
		if x.Seconds > 0 {
			fmt.Fprintf(&b, " %10s", duration(x.Seconds))
		}
		if x.Bytes > 0 {
			fmt.Fprintf(&b, "  %6.1f GB", float64(x.Bytes)/1e9)
		}
		fmt.Fprintln(&b)
		if x.Changes != nil {
			fmt.Fprintf(&b, "    %s\n", summary(x.Changes))
		}
		for _, note := range x.Notes {
			fmt.Fprintf(&b, "    %s\n", note)
		}
		if x.Fault != nil {
			fmt.Fprintf(&b, "    cannot run: %v\n", x.Fault)
		}
		total += x.Seconds
		there += x.There
		if x.Kind == "train" {
			longest = max(longest, x.Seconds)
		}
		peak = max(peak, x.Bytes)
	}
	switch {
	case p.Unmeasured != nil:
		fmt.Fprintf(&b, "\ntime and memory are not estimated: %v\n", p.Unmeasured)
	case total > 0:
		if p.Jobs > 1 {
			fmt.Fprintf(&b, "\nabout %s in all, %s with %d processes side by side where stages can be", duration(total), duration(max(longest, total/float64(p.Jobs))), p.Jobs)
		} else {
			fmt.Fprintf(&b, "\nabout %s", duration(total))
		}
		if peak > 0 {
			fmt.Fprintf(&b, " and %.1f GB of memory", float64(peak)/1e9)
		}
		fmt.Fprintf(&b, ", by a few steps of each network on noise here and now: %s\n", surroundings().Device)
		if cores := runtime.NumCPU(); p.Load > float64(cores)/2 {
			fmt.Fprintf(&b, "other programs kept the machine busy (load %.1f on %d cores); without them it is faster\n", p.Load, cores)
		}
	}
	if there > 0 {
		fmt.Fprintf(&b, "there, about %s: what was measured here, by the ratio of what a convolution reaches here and there\n", duration(there))
	}
	if n := p.Faults(); n > 0 {
		fmt.Fprintf(&b, "%d sets or stages cannot be used as things are; see above\n", n)
	}
	return b.String()
}

// does says what is done with a stage.
func (x StagePlan) does() string {
	if x.Spent > 0 && x.State != LeftOut {
		return fmt.Sprintf("%s (%v)", x.State, seconds(x.Spent))
	}
	return string(x.State)
}

func (x SetPlan) text(b *strings.Builder) {
	var parts, labels []string
	for _, p := range x.Parts {
		parts = append(parts, fmt.Sprintf("%s %s", p.Name, humanize.Comma(int64(p.Samples))))
	}
	for _, t := range x.Labels.Tasks() {
		if n := len(x.Labels[t].Classes); n > 0 {
			labels = append(labels, fmt.Sprintf("%s (%d)", t, n))
		} else if x.Labels.Has(t) {
			labels = append(labels, t)
		}
	}
	if x.Fault == nil {
		fmt.Fprintf(b, "  %-16s %-36s %s\n", x.Name, strings.Join(parts, ", "), strings.Join(labels, ", "))
		return
	}
	fmt.Fprintf(b, "  %-16s cannot be used: %v\n", x.Name, x.Fault)
	if x.Layout != "" {
		fmt.Fprintf(b, "  %-16s expected: %s\n", "", x.Layout)
	}
}

func (m SetMapping) text(b *strings.Builder) {
	same := 0
	var renamed, nothing, unknown []string
	for i, name := range m.From {
		switch at := m.At[i]; {
		case at < 0:
			nothing = append(nothing, name)
		case m.To[at] == name:
			same++
		default:
			renamed = append(renamed, name+" → "+m.To[at])
		}
	}
	for _, c := range m.Unknown() {
		unknown = append(unknown, m.To[c])
	}
	fmt.Fprintf(b, "  %s of %s: %d classes of %d keep their names\n", m.Task, m.Set, same, len(m.From))
	for _, l := range []struct {
		title string
		names []string
	}{{"renamed", renamed}, {"map to nothing and are unknown", nothing}, {"of the recipe's, unknown in it", unknown}} {
		if len(l.names) > 0 {
			wrap(b, fmt.Sprintf("%d %s:", len(l.names), l.title), l.names)
		}
	}
}

// wrap writes a list over as many lines as it takes, but not more than a screen needs.
func wrap(b *strings.Builder, title string, names []string) {
	const width, most = 100, 60
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" … and %d more", len(names)-most)
		names = names[:most]
	}
	line := "    " + title
	for i, n := range names {
		if i < len(names)-1 {
			n += ","
		}
		if len(line)+1+len(n) > width {
			fmt.Fprintln(b, line)
			line = "     "
		}
		line += " " + n
	}
	fmt.Fprintln(b, line+more)
}

// duration is a time as one would say it.
func duration(seconds float64) string {
	switch {
	case seconds < 1:
		return "1 s"
	case seconds < 100:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 100*60:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 72*3600:
		return fmt.Sprintf("%.0f h", seconds/3600)
	}
	return fmt.Sprintf("%s days", humanize.Comma(int64(math.Round(seconds/86400))))
}
