package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"must/draw"
	"must/web"
)

//go:embed chart.css
var chartCSS string

var theme = web.Theme + chartCSS

//go:embed hexagon.svg.tmpl
var hexagonSVG string

var hexagonTemplate = template.Must(template.New("hexagon").Parse(hexagonSVG))

// The radar in its own units. They are kept small, so that its text is legible on a phone.
const (
	radarWidth  = 500.0
	radarRadius = 138.0
	radarX      = radarWidth / 2
	radarY      = 204.0
	keyTop      = 414.0
	keyHeight   = 24.0
)

// Hexagon draws the transfer results as a radar chart, one axis per downstream set and one line per
// start, as an SVG file of its own. It is nil for fewer than three sets.
//
// Every axis has its own scale: the best start lies on the outer ring and the worst on the
// innermost, which is a quarter of the way out; where lower is better the axis is turned round. An
// axis spans at least 5 % of its best value, so that chance does not look like a lead.
func Hexagon(r Results) []byte {
	if svg := hexagon(r, true); svg != "" {
		return []byte(svg)
	}
	return nil
}

func hexagon(r Results, alone bool) template.HTML {
	n, starts := len(r.Transfer), r.Starts()
	if n < 3 || len(starts) == 0 {
		return ""
	}
	at := func(axis int, radius float64) (x, y float64) {
		sin, cos := math.Sincos(2*math.Pi*float64(axis)/float64(n) - math.Pi/2)
		return radarX + radius*cos, radarY + radius*sin
	}

	type line struct{ X, Y, Class, Text string }
	type axis struct {
		Spoke, Anchor, Title string
		Lines                []line
	}
	type dot struct{ X, Y, Title string }
	type series struct {
		ID, Look, Name, Path                                   string
		Own, Area                                              bool
		Dots                                                   []dot
		KeyX, KeyY, KeyW, KeyLine, KeyTextX, KeyTextY, KeyName string
	}
	var page struct {
		Alone  bool
		Theme  template.CSS
		W, H   int
		Label  string
		Rings  []string
		Axes   []axis
		Series []series
	}
	page.Alone, page.Theme = alone, template.CSS(theme)
	page.Label = fmt.Sprintf("Transfer to %d downstream sets from %d starts, as a radar chart", n, len(starts))

	for ring := 1; ring <= 4; ring++ {
		var points []string
		for i := range n {
			x, y := at(i, radarRadius*float64(ring)/4)
			points = append(points, px(x)+","+px(y))
		}
		page.Rings = append(page.Rings, strings.Join(points, " "))
	}

	for i, t := range r.Transfer {
		x, y := at(i, radarRadius)
		lx, ly := at(i, radarRadius+16)
		best := t.best()
		a := axis{
			Spoke:  fmt.Sprintf("M%s %sL%s %s", px(radarX), px(radarY), px(x), px(y)),
			Anchor: "middle",
			Title:  fmt.Sprintf("%s: best %s is %s", t.Set, t.Metric, t.value(best)),
		}
		if dx := x - radarX; math.Abs(dx) > radarRadius/4 {
			a.Anchor = map[bool]string{true: "start", false: "end"}[dx > 0]
		}
		text := append(wrap(t.Set, 16, 2), clip(t.Metric, 14-len(t.number(best)))+" "+t.number(best))
		const leading = 16.0
		// The block of text grows away from the chart: up at the top, down at the bottom.
		up := (1 - (y-radarY)/radarRadius) / 2
		ly += 12 - leading*float64(len(text))*up
		for j, s := range text {
			class := "strong"
			if j == len(text)-1 {
				class = "soft"
			}
			a.Lines = append(a.Lines, line{px(lx), px(ly + leading*float64(j)), class, s})
		}
		page.Axes = append(page.Axes, a)
	}

	columns := 3
	if slices.ContainsFunc(starts, func(s string) bool { return utf8.RuneCountInString(startName(s)) > 16 }) {
		columns = 2
	}
	keyWidth := (radarWidth - 32) / float64(columns)
	for k, start := range starts {
		s := series{ID: fmt.Sprint("s", k), Look: look(start, k), Name: startName(start), Own: start == MuST}
		var path strings.Builder
		gap, whole := true, true
		for i := range n + 1 {
			t := r.Transfer[i%n]
			radius := t.radius(start)
			if math.IsNaN(radius) {
				gap, whole = true, false
				continue
			}
			x, y := at(i, radarRadius*radius)
			if i < n {
				s.Dots = append(s.Dots, dot{px(x), px(y), fmt.Sprintf("%s · %s: %s", s.Name, t.Set, t.value(start))})
			}
			path.WriteString(map[bool]string{true: "M", false: "L"}[gap] + px(x) + " " + px(y))
			gap = false
		}
		if whole {
			path.WriteString("Z")
		}
		s.Path, s.Area = path.String(), whole && s.Own

		x, y := 16+keyWidth*float64(k%columns), keyTop+keyHeight*float64(k/columns)
		s.KeyX, s.KeyY, s.KeyW = px(x), px(y), px(keyWidth)
		s.KeyLine = fmt.Sprintf("M%s %sh22", px(x+4), px(y+keyHeight/2))
		s.KeyTextX, s.KeyTextY = px(x+33), px(y+keyHeight/2+4.5)
		page.Series = append(page.Series, s)
	}
	page.W = int(radarWidth)
	page.H = int(keyTop + keyHeight*math.Ceil(float64(len(starts))/float64(columns)) + 14)
	return render(hexagonTemplate, page)
}

// best returns the start with the best mean, "" if there are no scores.
func (t Transfer) best() string {
	best := ""
	for _, start := range (Results{Transfer: []Transfer{t}}).Starts() {
		if best == "" || t.compare(start, best) > 0 {
			best = start
		}
	}
	return best
}

// radius returns how far out the start lies on the axis of the set, NaN if it has no score.
func (t Transfer) radius(start string) float64 {
	best, _ := meanDeviation(t.Scores[t.best()])
	span := 0.05 * math.Abs(best)
	for _, scores := range t.Scores {
		if mean, _ := meanDeviation(scores); !math.IsNaN(mean) {
			span = max(span, math.Abs(best-mean))
		}
	}
	mean, _ := meanDeviation(t.Scores[start])
	if span == 0 && !math.IsNaN(mean) {
		return 1
	}
	return 1 - 0.75*math.Abs(best-mean)/span
}

// decimals are those that all scores of the set are shown with.
func (t Transfer) decimals() int {
	var all []float64
	for _, scores := range t.Scores {
		all = append(all, scores...)
	}
	return decimals(all...)
}

// number shows the mean of a start: "0.512".
func (t Transfer) number(start string) string {
	mean, _ := meanDeviation(t.Scores[start])
	return format(mean, t.decimals())
}

// value shows the score of a start with all that is known: "0.512 ± 0.010 mIoU".
func (t Transfer) value(start string) string {
	text := t.number(start)
	if _, deviation := meanDeviation(t.Scores[start]); !math.IsNaN(deviation) {
		text += fmt.Sprintf(" ± %.*f", t.decimals(), deviation)
	}
	return text + " " + t.Metric
}

// look returns the classes in chart.css that draw a series. Known starts and tasks look the same in
// every chart; others take what is left by their place.
func look(name string, place int) string {
	looks := map[string]string{
		MuST: "blue own", "student": "blue own", Scratch: "grey dashed",
		"simclr": "magenta", "moco": "magenta dashed", "mae": "red", "bit": "orange dashed", "multitask": "blue dashed",
		"scratch-bit": "grey", "scratch-vit": "ink dashed",
		"loss": "ink", "total": "ink", "mean of the sets": "ink",
	}
	if l := cmp.Or(looks[name], draw.Series(name)); l != "" {
		return l
	}
	rest := []string{"blue", "orange", "aqua", "violet", "magenta", "yellow", "red", "green"}
	l := rest[place%len(rest)]
	if place >= len(rest) {
		l += " dashed"
	}
	return l
}

// px gives a length in an SVG: a tenth of a unit is enough.
func px(v float64) string { return fmt.Sprintf("%.1f", v) }

// clip cuts text to n characters.
func clip(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}

// wrap breaks text at spaces, hyphens and underscores into at most so many lines of n characters.
func wrap(text string, n, lines int) []string {
	var out []string
	text = strings.ToValidUTF8(text, "\uFFFD")
	for len(out) < lines-1 && utf8.RuneCountInString(text) > n {
		cut := strings.LastIndexAny(string([]rune(text)[:n]), " -_")
		if cut <= 0 {
			break
		}
		out = append(out, strings.TrimSpace(text[:cut+1]))
		text = text[cut+1:]
	}
	return append(out, clip(text, n))
}

func render(t *template.Template, data any) template.HTML {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		panic(fmt.Errorf("report: %w", err)) // the templates are our own and b cannot fail
	}
	return template.HTML(b.String())
}
