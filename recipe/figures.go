package recipe

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"unicode"

	"must/report"
)

// A Figure compares starts of a transfer stage: how much better than one of them the others are, on
// every set and on their geometric mean, which no single set governs.
type Figure struct {
	Title   string        `yaml:"title"`
	Text    string        `yaml:"text,omitempty"` // what there is to see
	Stage   string        `yaml:"stage"`          // transfer
	Against string        `yaml:"against"`        // the start that is 100 %
	X       string        `yaml:"x,omitempty"`    // what the axis is; absent: the points are cases
	LogX    bool          `yaml:"log_x,omitempty"`
	Points  []FigurePoint `yaml:"points"`
}

// A FigurePoint is a start, and where it stands on the axis: a number or a name.
type FigurePoint struct {
	At    string `yaml:"at"`
	Start string `yaml:"start"`
}

func (f *Figure) check(before map[string]*Stage) error {
	s := before[f.Stage]
	if s == nil || s.Transfer == nil {
		return fmt.Errorf("%q is no transfer stage%s", f.Stage, suggest(f.Stage, keys(before)))
	}
	if figureFile(f.Title) == ".svg" {
		return errors.New("it needs a title, which names its picture")
	}
	if len(f.Points) == 0 {
		return errors.New("it has no points")
	}
	for _, p := range append([]FigurePoint{{"0", f.Against}}, f.Points...) {
		if s.Transfer.From[p.Start] == nil {
			return fmt.Errorf("stage %s has no start %q%s", f.Stage, p.Start, suggest(p.Start, keys(s.Transfer.From)))
		}
		if _, err := strconv.ParseFloat(p.At, 64); err != nil && f.X != "" {
			return fmt.Errorf("point %q is no number on the axis %s", p.At, f.X)
		}
	}
	return nil
}

// figureFolder holds each figure as a picture of its own.
const figureFolder = "figures"

// figureFile names a figure's picture after its title.
func figureFile(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "-") + ".svg"
}

// Charts draws the figures of whose trials some have ended.
func (r *Runner) Charts() (charts []report.Chart, err error) {
	for _, f := range r.Figures {
		if s := r.stage(f.Stage); r.leftKey(s) != r.key(s) {
			continue
		}
		c, drawn, err := r.chart(f)
		if err != nil {
			return nil, fmt.Errorf("figure %s: %w", f.Title, err)
		}
		if drawn {
			charts = append(charts, c)
		}
	}
	return charts, nil
}

// average names the series over all sets.
const average = "mean of the sets"

// chart draws the figure from the trials that have ended; false without any.
func (r *Runner) chart(f *Figure) (report.Chart, bool, error) {
	s := r.stage(f.Stage)
	c := report.Chart{Title: f.Title, Text: f.Text, X: f.X, LogX: f.LogX, Y: "% of " + f.Against}
	if f.X == "" {
		c.X = ""
		for _, p := range f.Points {
			c.Cases = append(c.Cases, p.At)
		}
	}
	means := make([][]float64, len(f.Points)) // by point, of every seed over the sets
	sets := make([]int, len(f.Points))
	for _, set := range s.Transfer.Sets {
		base, err := r.values(s, set, f.Against)
		if err != nil {
			return c, false, err
		}
		series := report.Series{Name: set.Data}
		for i, p := range f.Points {
			trials, err := r.values(s, set, p.Start)
			if err != nil {
				return c, false, err
			}
			if len(base) == 0 || len(trials) == 0 {
				continue
			}
			x := float64(i)
			if f.X != "" {
				x, _ = strconv.ParseFloat(p.At, 64)
			}
			relative := make([]float64, len(trials))
			for k, t := range trials {
				relative[k] = 100 * gain(t, mean(base))
			}
			series.Points = append(series.Points, report.Mean(x, relative...))
			if means[i] == nil {
				means[i] = make([]float64, len(relative))
			}
			sets[i]++
			means[i] = means[i][:min(len(means[i]), len(relative))] // of seeds that every set has
			for k := range means[i] {
				means[i][k] += math.Log(relative[k])
			}
		}
		if len(series.Points) > 0 {
			c.Series = append(c.Series, series)
		}
	}
	all := report.Series{Name: average}
	for i, m := range means {
		if sets[i] == 0 || sets[i] < len(s.Transfer.Sets) { // means over different sets do not compare
			continue
		}
		for k := range m {
			m[k] = math.Exp(m[k] / float64(sets[i]))
		}
		x := float64(i)
		if f.X != "" {
			x, _ = strconv.ParseFloat(f.Points[i].At, 64)
		}
		all.Points = append(all.Points, report.Mean(x, m...))
	}
	if len(all.Points) > 0 {
		c.Series = append(c.Series, all)
	}
	return c, len(c.Series) > 0, nil
}

// values returns the trials of a start on a set that have ended.
func (r *Runner) values(s *Stage, set *TransferSet, start string) (trials []*Trial, err error) {
	for _, seed := range s.Transfer.Seeds {
		t, err := ReadTrial(r.trialDir(s, set, start, seed))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		trials = append(trials, t)
	}
	return trials, nil
}

func mean(trials []*Trial) float64 {
	var sum float64
	for _, t := range trials {
		sum += t.value()
	}
	return sum / float64(len(trials))
}

// gain is how often better a trial is than a base score; errors count the other way round.
func gain(t *Trial, base float64) float64 {
	if t.Metric.HigherIsBetter {
		return t.value() / base
	}
	return base / t.value()
}
