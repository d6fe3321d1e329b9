package label

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"must/data"
	"must/metric"
	"must/predict"
	"must/task"
	"must/task/registry"
)

// A Quality says how good the labels are that teachers give a set, by its true labels.
type Quality struct {
	Images  int         `json:"images"`
	Decided int         `json:"decided,omitempty"` // of them, whose labels people changed or dropped
	Scores  task.Scores `json:"scores"`            // by task
}

// Assess compares the labels that [Run] would give a set with its true ones, for every task that both
// have (of o.Tasks, where it names some), and stores none. What people decided stands in place of what
// teachers say. What is told of a task is its own to say, see
// [task.Task].Quality.
//
// Teachers know the images that they were trained on: a part that they have not seen tells more.
func Assess(ctx context.Context, ds data.Dataset, teachers []Teacher, o Options) (*Quality, error) {
	have := ds.Labels()
	asked := o.Tasks
	o.Tasks = nil
	for _, t := range teachers {
		for _, name := range t.Tasks {
			if have.Has(name) && (asked == nil || slices.Contains(asked, name)) {
				o.Tasks = append(o.Tasks, name)
			}
		}
	}
	if o.Tasks == nil {
		return nil, fmt.Errorf("%s: the quality of labels cannot be told: the set has no true labels for any task of the teachers", o.Name)
	}
	o, err := o.complete(ds, teachers)
	if err != nil {
		return nil, err
	}
	_, uses, err := plan(ds, teachers, o, registry.Aligned()...) // in other units it is scored after alignment
	if err != nil {
		return nil, err
	}
	metrics := map[string]task.Metric{}
	for _, u := range uses {
		for _, name := range u.Tasks {
			metrics[name] = registry.Get(name).Quality(u.Net.Knows()[name], have[name], o.Thresholds[name])
		}
	}
	q := &Quality{Scores: task.Scores{}}
	p := predict.Options{Batch: o.Batch, Workers: o.Workers, Name: "quality of labels for " + o.Name, Display: o.Display, Pixels: -1,
		Skipped: func(err error) { o.Display.Logf("skipped: %v", err) }}
	err = predict.Run(ctx, uses, ds, p, func(_ int, truth, pred *data.Sample) error {
		q.Images++
		if o.Decided[truth.Key] != nil {
			q.Decided++
		}
		for name, m := range metrics {
			t, p := truth.Label(name), pred.Label(name)
			if d, ok := o.Decided[truth.Key][name]; ok {
				p = d
			}
			if t != nil && p != nil {
				if err := m.Add(t, p); err != nil {
					return fmt.Errorf("sample %s: %s: %w", truth.Key, name, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name, m := range metrics {
		q.Scores[name] = m.Values()
	}
	return q, nil
}

// Summarize writes the first few values in a line.
func Summarize(values []metric.Value) string {
	var words []string
	for _, v := range values[:min(4, len(values))] {
		words = append(words, fmt.Sprintf("%s %.3f", v.Name, v.Value))
	}
	return strings.Join(words, ", ")
}
