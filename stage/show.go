package stage

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"must/data/scenes"
	"must/draw"
	"must/report"
)

// Show draws contact sheets of sets with their labels: SET.jpg.
type Show struct {
	Data   []string `yaml:"data"`
	Images int      `yaml:"images,omitempty"` // per set; 0: 12
}

// Check has nothing to say.
func (s *Show) Check(e *Env) error { return nil }

// Inputs are the sets.
func (s *Show) Inputs(e *Env) (in Inputs, err error) {
	in.Add("images", s.images())
	for _, set := range s.Data {
		in.ReadOwn(set, "train")
	}
	return in, nil
}

func (s *Show) images() int {
	if s.Images == 0 {
		return 12
	}
	return s.Images
}

// Cost is next to nothing.
func (s *Show) Cost(w *Work) (Cost, error) {
	for _, set := range s.Data {
		if !w.Usable(set) {
			return Cost{}, ErrSet
		}
	}
	return Cost{Text: count(len(s.Data), "set")}, nil
}

// Run draws a sheet of each set.
func (s *Show) Run(ctx context.Context, w *Work) error {
	for _, name := range s.Data {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		ds, err := w.OpenOwn(name, "train")
		if err != nil {
			return err
		}
		sheet, err := draw.ContactSheet(ds, s.images(), draw.Options{})
		if err != nil {
			return err
		}
		if err := draw.WriteJPEG(filepath.Join(w.Dir, name+".jpg"), sheet); err != nil {
			return err
		}
	}
	w.Display.Logf("%s: pictures of the sets are in %s", w.Name, w.Dir)
	return nil
}

// Report shows the sheets that are there.
func (s *Show) Report(w *Work, p *report.Report) error {
	for _, name := range s.Data {
		b, err := os.ReadFile(filepath.Join(w.Dir, name+".jpg"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		p.Sheets = append(p.Sheets, report.Sheet{Title: name, Text: w.about(name), File: b})
	}
	return nil
}

// about says in a line what a set is, if that is known.
func (e *Env) about(set string) string {
	s := e.Data[set]
	if s.About == "" && s.Format == "scenes" {
		for _, world := range scenes.Sets() {
			if world.Name == s.Set {
				return world.About
			}
		}
	}
	return s.About
}
