package stage

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"

	"must/metric"
	"must/model"
	"must/pretext"
	"must/report"
	"must/task"
	"must/task/detection"
	"must/train"
)

// A repeat is the recipe of one training run.
type repeat struct {
	Data      []string         `yaml:"data"`
	Tasks     []string         `yaml:"tasks,omitempty"`
	Pretext   *pretext.Config  `yaml:"pretext,omitempty"`
	From      string           `yaml:"from,omitempty"`
	Size      int              `yaml:"size"`
	Model     model.Config     `yaml:"model"`
	Detection detection.Config `yaml:"detection"`
	Train     train.Config     `yaml:"train"`
}

func (r repeat) text() (string, error) {
	b, err := yaml.Marshal(r)
	return string(b), err
}

// facts lists scores as text, the ranking one of every task first.
func facts(s task.Scores) []report.Fact {
	var out []report.Fact
	for _, name := range s.Tasks() {
		for _, v := range s[name] {
			label := v.Name
			if len(s) > 1 {
				label = name + " " + label
			}
			out = append(out, report.Fact{Name: label, Value: fmt.Sprintf("%.4g", v.Value)})
		}
	}
	return out
}

// ranking returns the value by which networks are compared on a task.
func ranking(s task.Scores, name string) (metric.Value, error) {
	if len(s[name]) == 0 {
		return metric.Value{}, fmt.Errorf("no score for %s: no sample of the set has a label for it", name)
	}
	return s[name][0], nil
}

func readJSON(path string, to any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%s: %w; remove it and run the recipe again", path, err)
	}
	return nil
}
