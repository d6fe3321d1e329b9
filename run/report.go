package run

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"must/atomicfile"
	"must/recipe"
	"must/report"
)

// Files in a run's folder that people read.
const (
	ReportFile  = "report.html"
	ResultsFile = "results.json"
	HexagonFile = "hexagon.svg"
)

// figureFolder holds each figure as a picture of its own.
const figureFolder = "figures"

// Report writes report.html, results.json, the figures and, of three downstream sets or more,
// hexagon.svg from what the stages have left so far. What came of other inputs or settings is left out.
func (r *Runner) Report() (report.Results, error) {
	p := &report.Report{Title: r.Name, Subtitle: r.About}
	res := &p.Results
	var last environment
	for _, s := range r.Steps {
		d, ended := r.finished(s.Name)
		if !ended {
			var begun bool
			if d.Seconds, begun = r.spent(s.Name); !begun {
				continue
			}
		}
		res.Seconds += d.Seconds
		res.PeakRSSMB = max(res.PeakRSSMB, d.PeakMB)
		last = cmp.Or(d.environment, last)
		for _, b := range d.Broken {
			if !slices.Contains(res.Unreadable, report.Unreadable(b)) {
				res.Unreadable = append(res.Unreadable, report.Unreadable(b))
			}
		}
		w := r.work(s.Name)
		w.Seconds = d.Seconds
		if err := s.Report(w, p); err != nil {
			return *res, fmt.Errorf("report of stage %s: %w", s.Name, err)
		}
	}
	charts, err := r.Charts()
	if err != nil {
		return *res, err
	}
	p.Figures = append(p.Figures, charts...)
	for _, c := range charts {
		path := filepath.Join(r.Out, figureFolder, recipe.FigureFile(c.Title))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), atomicfile.WriteFile(path, c.SVG())); err != nil {
			return *res, err
		}
	}
	res.Version, res.Libtorch = last.Version, last.Libtorch
	p.Facts = []report.Fact{{Name: "recipe", Value: r.Name}, {Name: "seed", Value: strconv.FormatUint(r.Seed, 10)}}
	if last.JPEG != "" {
		p.Facts = append(p.Facts, report.Fact{Name: "JPEG", Value: last.JPEG})
	}
	if last.Machine != "" {
		p.Facts = append(p.Facts, report.Fact{Name: "machine", Value: last.Machine})
	}
	if last.Device != "" {
		p.Facts = append(p.Facts, report.Fact{Name: "device", Value: last.Device})
	}
	for _, u := range res.Unreadable {
		p.Facts = append(p.Facts, report.Fact{Name: "unreadable", Value: u.String()})
	}
	if err := res.Write(filepath.Join(r.Out, ResultsFile)); err != nil {
		return *res, err
	}
	if svg := report.Hexagon(*res); svg != nil {
		if err := atomicfile.WriteFile(filepath.Join(r.Out, HexagonFile), svg); err != nil {
			return *res, err
		}
	}
	return *res, p.Write(filepath.Join(r.Out, ReportFile))
}
