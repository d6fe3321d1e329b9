package recipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"must/atomicfile"
	"must/checkpoint"
	"must/probe"
	"must/progress"
	"must/report"
	"must/task"
	"must/torch"
)

// A ProbeStage measures the features of starts as they are, on a set with classes.
type ProbeStage struct {
	Data       string            `yaml:"data"`
	From       map[string]*Start `yaml:"from"`                 // by name
	Neighbours []int             `yaml:"neighbours,omitempty"` // that vote; absent: 20 and 200
}

// probe scores a linear classifier and the nearest neighbours on every start's features: <start>.json.
func (r *Runner) probe(ctx context.Context, s *Stage, display *progress.Display) error {
	train, err := r.openOwn(s.Probe.Data, "train")
	if err != nil {
		return err
	}
	test, err := r.openOwn(s.Probe.Data, "test")
	if err != nil {
		return err
	}
	for _, name := range keys(s.Probe.From) {
		path := r.probeFile(s, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		net, err := r.backbone(s.Probe.From[name])
		if err != nil {
			return err
		}
		scores, err := probe.Run(ctx, net, train, test, probe.Options{Seed: r.Seed, K: s.Probe.Neighbours, Display: display.Stage(name)})
		torch.Do(net.Free)
		if err != nil {
			return fmt.Errorf("features of %s: %w", name, err)
		}
		if err := atomicfile.WriteJSON(path, scores); err != nil {
			return err
		}
		r.Display.Logf("%s: %s: %s", s.Name, name, values(scores))
	}
	return nil
}

func (r *Runner) probeFile(s *Stage, start string) string {
	return filepath.Join(r.dir(s.Name), start+".json")
}

// backbone builds the network of a start, without heads.
func (r *Runner) backbone(s *Start) (net *task.Network, err error) {
	if s.From != "" {
		c, err := checkpoint.ReadPretrained(r.checkpoint(s.From))
		if err != nil {
			return nil, err
		}
		return c.Backbone()
	}
	spec := r.spec(nil, task.Spec{}.Labels)
	if spec.Model, err = r.model(s.Model); err != nil {
		return nil, err
	}
	err = torch.DoErr(func() error {
		net, err = task.NewBackbone(spec, r.Seed)
		return err
	})
	return net, err
}

func values(s *probe.Scores) string {
	var parts []string
	for _, v := range s.Values {
		parts = append(parts, fmt.Sprintf("%s %.3f", v.Name, v.Value))
	}
	return strings.Join(parts, ", ")
}

// reportProbe draws the probes that have ended.
func (r *Runner) reportProbe(p *report.Report, s *Stage) error {
	c := report.Chart{
		Title: "Frozen features on " + s.Probe.Data, Y: "top-1",
		Text: "A linear classifier and the vote of nearest neighbours on features as they are, on the test part.",
	}
	for _, name := range keys(s.Probe.From) {
		var scores probe.Scores
		if err := readJSON(r.probeFile(s, name), &scores); errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		run := report.Run{Name: s.Name + ": " + name}
		for i, v := range scores.Values {
			if len(c.Series) <= i {
				c.Series = append(c.Series, report.Series{Name: v.Name})
			}
			c.Series[i].Points = append(c.Series[i].Points, report.Point{X: float64(len(c.Cases)), Y: v.Value})
			run.Values = append(run.Values, report.Fact{Name: v.Name, Value: fmt.Sprintf("%.4g", v.Value)})
		}
		c.Cases = append(c.Cases, name)
		p.Runs = append(p.Runs, run)
	}
	if c.Cases != nil {
		p.Figures = append(p.Figures, c)
	}
	return nil
}
