package label

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"must/data"
	"must/metric"
	"must/task"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
)

// A Quality says how good the labels are that teachers give a set, by its true labels.
type Quality struct {
	Images int         `json:"images"`
	Scores task.Scores `json:"scores"` // by task
}

// Assess compares the labels that [Run] would give a set with its true ones, for every task that both
// have (of o.Tasks, where it names some), and stores none:
//
//   - classification: top1, top5, and the calibration error (ece) of the probabilities;
//   - detection: f1, precision and recall of the boxes that reach the threshold, at an IoU of 0.5, and
//     the calibration error of their scores;
//   - segmentation: accuracy of the pixels that are kept; coverage, their share; and the calibration
//     error of all pixels;
//   - depth and normals: what their metrics tell.
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
	_, uses, err := plan(ds, teachers, o, depth.Name) // in other units it is scored after alignment
	if err != nil {
		return nil, err
	}
	var scorers []*scorer
	for _, u := range uses {
		for _, name := range u.Tasks {
			scorers = append(scorers, newScorer(u.Net, name, o.Thresholds[name], have))
		}
	}
	q := &Quality{Scores: task.Scores{}}
	p := task.PredictOptions{Batch: o.Batch, Workers: o.Workers, Name: "quality of labels for " + o.Name, Display: o.Display, Pixels: -1,
		Skipped: func(err error) { o.Display.Logf("skipped: %v", err) }}
	err = task.Predict(ctx, uses, ds, p, func(_ int, truth, pred *data.Sample) error {
		q.Images++
		for _, s := range scorers {
			s.add(truth, pred)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range scorers {
		q.Scores[s.rules.Name()] = s.values()
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

// A scorer measures the labels of one task.
type scorer struct {
	rules       task.Rules
	threshold   float64
	metric      metric.Metric
	calibration metric.Calibration // of the probabilities of pixels, before the threshold
}

func newScorer(net task.Predictor, name string, threshold float64, have data.Labels) *scorer {
	s := &scorer{rules: task.RulesOf(name, net.Knows()), threshold: threshold}
	if s.metric = s.rules.Metric(have); name == detection.Name {
		s.metric = metric.NewBoxQuality(threshold, 0.5)
	}
	return s
}

func (s *scorer) add(truth, pred *data.Sample) {
	if name := s.rules.Name(); !truth.Has(name) || !pred.Has(name) {
		return
	}
	if s.rules.Name() == segmentation.Name {
		for i, c := range segmentation.Of(truth).Pix {
			if c != data.Ignore {
				s.calibration.Add(float64(segmentation.Confidence(pred).Pix[i]), segmentation.Of(pred).Pix[i] == c)
			}
		}
	}
	s.rules.Pseudo(pred, s.threshold)
	s.metric.Add(truth, pred)
}

func (s *scorer) values() []metric.Value {
	m, ok := s.metric.(*metric.Segmentation)
	if !ok || m.Values() == nil {
		return s.metric.Values()
	}
	coverage, accuracy := m.Kept()
	return []metric.Value{
		{Name: "accuracy", Value: accuracy, HigherIsBetter: true},
		{Name: "coverage", Value: coverage, HigherIsBetter: true},
		{Name: "ece", Value: s.calibration.ECE()},
	}
}
