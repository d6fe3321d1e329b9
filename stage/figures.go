package stage

import (
	"fmt"
	"math"
	"strconv"

	"must/recipe"
	"must/report"
	"must/strict"
)

// checkFigure tells what a figure speaks of that there is not.
func (e *Env) checkFigure(f *recipe.Figure) error {
	t, ok := find[*Transfer](e, f.Stage)
	if !ok {
		return fmt.Errorf("%q is no transfer stage%s", f.Stage, strict.Suggest(f.Stage, e.names()))
	}
	for _, p := range append([]recipe.FigurePoint{{From: f.Against}}, f.Points...) {
		if t.From[p.From] == nil {
			return fmt.Errorf("stage %s has no pretrained weights %q%s", f.Stage, p.From, strict.Suggest(p.From, recipe.Names(t.From)))
		}
	}
	return nil
}

// Charts draws the figures of whose trials some have ended.
func (e *Env) Charts() (charts []report.Chart, err error) {
	for _, f := range e.Figures {
		c, drawn, err := e.chart(f)
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
func (e *Env) chart(f *recipe.Figure) (report.Chart, bool, error) {
	t, _ := find[*Transfer](e, f.Stage)
	w := &Work{Env: e, Name: f.Stage, Dir: e.Folder(f.Stage)}
	c := report.Chart{Title: f.Title, Text: f.Text, X: f.X, LogX: f.LogX, Y: "% of " + f.Against}
	if f.X == "" {
		c.X = ""
		for _, p := range f.Points {
			c.Cases = append(c.Cases, p.At)
		}
	}
	means := make([][]float64, len(f.Points)) // by point, of every seed over the sets
	sets := make([]int, len(f.Points))
	for _, set := range t.Sets {
		base, err := t.trials(w, set, f.Against)
		if err != nil {
			return c, false, err
		}
		series := report.Series{Name: set.Data}
		for i, p := range f.Points {
			trials, err := t.trials(w, set, p.From)
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
			for k, trial := range trials {
				relative[k] = 100 * gain(trial, mean(base))
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
		if sets[i] == 0 || sets[i] < len(t.Sets) { // means over different sets do not compare
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
