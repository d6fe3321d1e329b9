package report

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

//go:embed chart.svg.tmpl
var chartSVG string

var chartTemplate = template.Must(template.New("chart").Parse(chartSVG))

// A Chart draws numbers against a number (training curves, scaling) or against named cases.
type Chart struct {
	Title      string
	Text       string   // what there is to see, in a sentence; may be empty
	X, Y       string   // what the axes are, with their unit
	LogX, LogY bool     // logarithmic; values ≤ 0 are left out
	Cases      []string // names of x = 0, 1, 2, …; nil: x is a number and points are joined
	Series     []Series
}

// A Series is one line of a chart. Starts and tasks have the same colour in every chart.
type Series struct {
	Name   string
	Points []Point // in order of X
}

// A Point with an error bar of ±Deviation, where that is known and not 0. A NaN leaves a gap.
type Point struct{ X, Y, Deviation float64 }

// Mean returns the point of several runs: their mean ± sample standard deviation.
func Mean(x float64, values ...float64) Point {
	mean, deviation := meanDeviation(values)
	return Point{x, mean, deviation}
}

// ReadCurve makes a chart of a log of JSON lines, one object a step. X is the field "step", every
// key is a series: "total" is a field, "loss.depth" the field depth of the object loss, and
// "loss.*" stands for all its fields. A line without a key gives it no point, and a last line that
// was cut short is left out.
func ReadCurve(path, title string, keys ...string) (Chart, error) {
	c := Chart{Title: title, X: "step"}
	f, err := os.Open(path)
	if err != nil {
		return c, fmt.Errorf("read log: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, fmt.Errorf("read log %s: %w", path, err)
		}
		var entry map[string]any
		if err := json.Unmarshal(text, &entry); err != nil {
			return c, fmt.Errorf("read log %s: line %d: %w", path, line, err)
		}
		step, ok := entry["step"].(float64)
		if !ok {
			continue
		}
		for _, key := range keys {
			fields, name := entry, key
			if object, rest, inner := strings.Cut(key, "."); inner {
				fields, _ = entry[object].(map[string]any)
				name = rest
			}
			names := []string{name}
			if name == "*" {
				names = slices.Sorted(maps.Keys(fields))
			}
			for _, name := range names {
				if y, ok := fields[name].(float64); ok {
					c.add(name, Point{X: step, Y: y})
				}
			}
		}
	}
}

// add appends a point to the series of that name.
func (c *Chart) add(name string, p Point) {
	i := slices.IndexFunc(c.Series, func(s Series) bool { return s.Name == name })
	if i < 0 {
		i = len(c.Series)
		c.Series = append(c.Series, Series{Name: name})
	}
	c.Series[i].Points = append(c.Series[i].Points, p)
}

// The chart in its own units, kept small so that its text is legible on a phone.
const (
	chartWidth  = 480.0
	plotHeight  = 190.0
	plotLeft    = 50.0
	plotRight   = 12.0
	mostPoints  = 200 // of one line; longer ones show means of neighbours
	mostDots    = 24  // a line of more points is drawn without dots
	letterWidth = 7.2 // a generous guess, to lay out the key
)

// SVG draws the chart as a file of its own; it is nil if there is nothing to draw.
func (c Chart) SVG() []byte {
	if svg := c.svg(true); svg != "" {
		return []byte(svg)
	}
	return nil
}

func (c Chart) svg(alone bool) template.HTML {
	type tick struct{ Line, X, Y, Text string }
	type dot struct{ X, Y, Bar, Title string }
	type series struct {
		Look, Path string
		Dots       []dot
	}
	type key struct{ Look, Line, X, Y, Name, Last string }
	var page struct {
		W, H           int
		Label          string
		XTicks, YTicks []tick
		XTitle, YTitle *tick
		Series         []series
		Keys           []key

		Alone bool
		Theme template.CSS
	}
	page.Alone, page.Theme = alone, template.CSS(theme)

	x, y := axis{log: c.LogX}, axis{log: c.LogY}
	lines := make([]Series, len(c.Series))
	for i, s := range c.Series {
		lines[i].Name = s.Name
		for _, p := range thin(s.Points, mostPoints) {
			if !x.shows(p.X) || !y.shows(p.Y) {
				p.Y = math.NaN()
			} else {
				x.include(p.X)
				y.include(p.Y)
				if p.Deviation > 0 {
					y.include(p.Y - p.Deviation)
					y.include(p.Y + p.Deviation)
				}
			}
			lines[i].Points = append(lines[i].Points, p)
		}
	}
	if !y.any {
		return ""
	}
	if c.Cases != nil {
		x = axis{lo: -0.5, hi: float64(len(c.Cases)) - 0.5, any: true}
	}

	// The key comes first, over as many rows as it needs; the plot lies below.
	kx, ky := plotLeft, 16.0
	for i, s := range lines {
		last := ""
		for _, p := range s.Points {
			if c.Cases == nil && !math.IsNaN(p.Y) {
				last = format(p.Y, decimals(p.Y))
			}
		}
		name := clip(startName(s.Name), 40)
		w := 30 + letterWidth*float64(utf8.RuneCountInString(name)+1+utf8.RuneCountInString(last)) + 10
		if kx > plotLeft && kx+w > chartWidth {
			kx, ky = plotLeft, ky+20
		}
		page.Keys = append(page.Keys, key{look(s.Name, i), fmt.Sprintf("M%s %sh20", px(kx), px(ky-4)), px(kx + 27), px(ky), name, last})
		kx += w
	}
	top := ky + 16
	if c.Y != "" {
		page.YTitle = &tick{X: px(4), Y: px(top + 8), Text: clip(c.Y, 40)}
		top += 20
	}
	bottom := top + plotHeight
	x.from, x.to = plotLeft, chartWidth-plotRight
	y.from, y.to = bottom, top
	y.widen()
	if x.lo == x.hi {
		x.widen()
	}

	for _, v := range y.ticks(5) {
		at := y.place(v)
		page.YTicks = append(page.YTicks, tick{fmt.Sprintf("M%s %sH%s", px(x.from), px(at), px(x.to)), px(x.from - 7), px(at + 4.5), tickText(v)})
	}
	if c.Cases == nil {
		for _, v := range x.marks(lines) {
			page.XTicks = append(page.XTicks, tick{X: px(x.place(v)), Y: px(bottom + 18), Text: tickText(v)})
		}
	}
	room := int((x.to - x.from) / float64(max(len(c.Cases), 1)) / letterWidth)
	deepest := 1
	for i, name := range c.Cases {
		text := wrap(name, max(room, 4), 3)
		deepest = max(deepest, len(text))
		for j, s := range text {
			page.XTicks = append(page.XTicks, tick{X: px(x.place(float64(i))), Y: px(bottom + 18 + 15*float64(j)), Text: s})
		}
	}
	height := bottom + 18 + 15*float64(deepest-1) + 8
	if c.X != "" {
		page.XTitle = &tick{X: px(x.to), Y: px(height + 8), Text: clip(c.X, 60)}
		height += 16
	}

	for i, s := range lines {
		out := series{Look: look(s.Name, i)}
		var path strings.Builder
		gap := true
		// Cases stand beside each other rather than on top of each other.
		shift := 0.0
		if c.Cases != nil && len(lines) > 1 {
			shift = 0.5 * (float64(i)/float64(len(lines)-1) - 0.5)
		}
		for _, p := range s.Points {
			if math.IsNaN(p.Y) {
				gap = true
				continue
			}
			cx, cy := x.place(p.X+shift), y.place(p.Y)
			path.WriteString(map[bool]string{true: "M", false: "L"}[gap] + px(cx) + " " + px(cy))
			gap = false
			if len(s.Points) > mostDots {
				continue
			}
			d := dot{X: px(cx), Y: px(cy), Title: startName(s.Name) + " · " + c.at(p.X) + ": " + format(p.Y, decimals(p.Y))}
			if p.Deviation > 0 {
				low, high := y.place(p.Y-p.Deviation), y.place(p.Y+p.Deviation)
				d.Bar = fmt.Sprintf("M%s %sh8m-4 0V%sm-4 0h8", px(cx-4), px(low), px(high))
				d.Title += fmt.Sprintf(" ± %.*f", decimals(p.Y), p.Deviation)
			}
			out.Dots = append(out.Dots, d)
		}
		if c.Cases == nil {
			out.Path = path.String()
		}
		page.Series = append(page.Series, out)
	}
	page.W, page.H = int(chartWidth), int(math.Ceil(height))
	page.Label = c.Title
	return render(chartTemplate, page)
}

func (c Chart) at(x float64) string {
	if i := int(x); c.Cases != nil && i >= 0 && i < len(c.Cases) {
		return c.Cases[i]
	}
	return strings.TrimSpace(c.X + " " + tickText(x))
}

// thin shows a long line by at most n means of neighbouring points; a point without a value is
// left out of its mean.
func thin(points []Point, n int) []Point {
	if len(points) <= n {
		return points
	}
	out := make([]Point, 0, n)
	for i := range n {
		var sum Point
		count := 0.0
		part := points[i*len(points)/n : (i+1)*len(points)/n]
		for _, p := range part {
			if !math.IsNaN(p.Y) && !math.IsInf(p.Y, 0) {
				sum.X, sum.Y = sum.X+p.X, sum.Y+p.Y
				count++
			}
		}
		if count == 0 {
			out = append(out, Point{part[0].X, math.NaN(), 0})
		} else {
			out = append(out, Point{sum.X / count, sum.Y / count, 0})
		}
	}
	return out
}

// An axis maps values in [lo, hi] to lengths from…to.
type axis struct {
	log      bool
	any      bool // lo and hi are set
	lo, hi   float64
	from, to float64
}

func (a *axis) shows(v float64) bool {
	return math.Abs(v) < 1e30 && (!a.log || v > 1e-30)
}

func (a *axis) include(v float64) {
	switch {
	case !a.shows(v):
	case !a.any:
		a.lo, a.hi, a.any = v, v, true
	default:
		a.lo, a.hi = min(a.lo, v), max(a.hi, v)
	}
}

// widen leaves some room at both ends.
func (a *axis) widen() {
	lo, hi := a.scale(a.lo), a.scale(a.hi)
	pad := 0.06 * (hi - lo)
	if pad == 0 {
		pad = max(0.1*math.Abs(hi), 0.05)
	}
	nonNegative := a.lo >= 0 && !a.log
	lo, hi = lo-pad, hi+pad
	if a.log {
		lo, hi = math.Pow(10, lo), math.Pow(10, hi)
	}
	if nonNegative {
		lo = max(lo, 0)
	}
	a.lo, a.hi = lo, hi
}

func (a *axis) scale(v float64) float64 {
	if a.log {
		return math.Log10(v)
	}
	return v
}

func (a *axis) place(v float64) float64 {
	if a.log && v <= 0 {
		v = a.lo
	}
	lo, hi := a.scale(a.lo), a.scale(a.hi)
	part := (a.scale(v) - lo) / (hi - lo)
	return a.from + min(max(part, 0), 1)*(a.to-a.from)
}

// ticks returns about n round values in [lo, hi].
func (a *axis) ticks(n int) []float64 {
	if a.log && a.hi/a.lo > 8 {
		for _, factors := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
			var out []float64
			for e := math.Floor(math.Log10(a.lo)); e <= math.Log10(a.hi); e++ {
				for _, f := range factors {
					if v := f * math.Pow(10, e); v >= a.lo && v <= a.hi {
						out = append(out, v)
					}
				}
			}
			if len(out) <= n+1 {
				return out
			}
			if len(factors) == 1 {
				every := (len(out) + n - 1) / n
				return slices.DeleteFunc(out, func(v float64) bool { return int(math.Round(math.Log10(v)))%every != 0 })
			}
		}
	}
	rough := (a.hi - a.lo) / float64(n)
	step := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, f := range []float64{1, 2, 5, 10} {
		if f*step >= rough {
			step *= f
			break
		}
	}
	var out []float64
	for i := math.Ceil(a.lo / step); i*step <= a.hi && len(out) < 4*n; i++ {
		out = append(out, i*step)
	}
	return out
}

// marks returns the values that the lines have points at, if they are few and apart from each
// other, such as the sizes of a scaling curve; otherwise round values.
func (a *axis) marks(lines []Series) []float64 {
	var values []float64
	for _, s := range lines {
		for _, p := range s.Points {
			if i, found := slices.BinarySearch(values, p.X); !found && !math.IsNaN(p.Y) {
				values = slices.Insert(values, i, p.X)
			}
			if len(values) > 8 {
				return a.ticks(6)
			}
		}
	}
	for i := 1; i < len(values); i++ {
		if a.place(values[i])-a.place(values[i-1]) < 44 {
			return a.ticks(6)
		}
	}
	return values
}

// tickText writes a round number shortly: 0.25, 300, 12k, 1.5M.
func tickText(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1e6 && abs < 1e9:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case abs >= 1e4 && abs < 1e6:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	case abs < 1e-12:
		return "0"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
