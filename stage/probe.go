package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"must/atomicfile"
	"must/data"
	"must/probe"
	"must/recipe"
	"must/report"
	"must/task/classification"
	"must/torch"
)

// Probe measures features as they are, on a set with classes.
type Probe struct {
	Data       string                 `yaml:"data"`
	From       map[string]*Pretrained `yaml:"from"`                 // by name
	Neighbours []int                  `yaml:"neighbours,omitempty"` // that vote; absent: 20 and 200
}

// Check looks at the neighbours.
func (p *Probe) Check(e *Env) error {
	if len(p.From) == 0 {
		return fmt.Errorf("probe needs pretrained weights: from")
	}
	for _, n := range p.Neighbours {
		if n < 1 {
			return fmt.Errorf("neighbours: %d of them cannot vote", n)
		}
	}
	return e.checkPretrained(p.From, 1)
}

// Inputs are the set and what is probed.
func (p *Probe) Inputs(e *Env) (in Inputs, err error) {
	in.Add("neighbours", p.Neighbours)
	in.Add("seed", e.Seed)
	in.network(e, e.Model)
	in.ReadOwn(p.Data, "train", "test")
	return in, in.pretrained(e, p.From, 1)
}

// Cost is a prediction of every image by everything.
func (p *Probe) Cost(w *Work) (c Cost, err error) {
	images := 0
	var labels data.Labels
	for _, part := range []string{"train", "test"} {
		ds, err := w.OpenOwn(p.Data, part)
		if err != nil {
			return c, err
		}
		if labels = ds.Labels(); !labels.Has(classification.Name) {
			return c, fmt.Errorf("data set %s has no classes", p.Data)
		}
		images += ds.Len()
	}
	for _, name := range recipe.Names(p.From) {
		spec := w.Spec([]string{classification.Name}, labels)
		if spec.Model, err = p.From[name].architecture(w.Env); err != nil {
			return c, err
		}
		c.Runs = append(c.Runs, Run{Spec: spec, Config: w.Train, Predict: images, Times: 1, Reads: map[string]float64{p.Data: 1}})
	}
	c.Text = fmt.Sprintf("%s by %d backbones", count(images, "image"), len(p.From))
	return c, nil
}

// Run scores a linear classifier and the nearest neighbours on the features of each: NAME.json.
func (p *Probe) Run(ctx context.Context, w *Work) error {
	train, err := w.OpenOwn(p.Data, "train")
	if err != nil {
		return err
	}
	test, err := w.OpenOwn(p.Data, "test")
	if err != nil {
		return err
	}
	for _, name := range recipe.Names(p.From) {
		path := p.file(w, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		net, err := p.From[name].backbone(w.Env)
		if err != nil {
			return err
		}
		scores, err := probe.Run(ctx, net, train, test, probe.Options{Seed: w.Seed, K: p.Neighbours, Display: w.Display.Stage(w.Name).Stage(name)})
		torch.Do(net.Free)
		if err != nil {
			return fmt.Errorf("features of %s: %w", name, err)
		}
		if err := atomicfile.WriteJSON(path, scores); err != nil {
			return err
		}
		w.Display.Logf("%s: %s: %s", w.Name, name, values(scores))
	}
	return nil
}

func (p *Probe) file(w *Work, name string) string { return filepath.Join(w.Dir, name+".json") }

func values(s *probe.Scores) string {
	var parts []string
	for _, v := range s.Values {
		parts = append(parts, fmt.Sprintf("%s %.3f", v.Name, v.Value))
	}
	return strings.Join(parts, ", ")
}

// Report draws the probes that have ended.
func (p *Probe) Report(w *Work, page *report.Report) error {
	c := report.Chart{
		Title: "Frozen features on " + p.Data, Y: "top-1",
		Text: "A linear classifier and the vote of nearest neighbours on features as they are, on the test part.",
	}
	for _, name := range recipe.Names(p.From) {
		var scores probe.Scores
		if err := readJSON(p.file(w, name), &scores); errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		run := report.Run{Name: w.Name + ": " + name}
		for i, v := range scores.Values {
			if len(c.Series) <= i {
				c.Series = append(c.Series, report.Series{Name: v.Name})
			}
			c.Series[i].Points = append(c.Series[i].Points, report.Point{X: float64(len(c.Cases)), Y: v.Value})
			run.Values = append(run.Values, report.Fact{Name: v.Name, Value: fmt.Sprintf("%.4g", v.Value)})
		}
		c.Cases = append(c.Cases, name)
		page.Runs = append(page.Runs, run)
	}
	if c.Cases != nil {
		page.Figures = append(page.Figures, c)
	}
	return nil
}
