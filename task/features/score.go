package features

import (
	"fmt"
	"math"

	"must/data"
	"must/metric"
)

// A score is the mean cosine between predicted and true vectors, standardised by channel with the moments of
// the true set where it has some; and the explained variance, 1 − Σ(t−p)² / Σ(t−mean)² with sums over all
// channels, each about its own mean, as scikit-learn's r2_score has it with variance-weighted averages.
type score struct {
	moments  *data.Moments
	cells    float64
	cosine   float64
	sum, sq  []float64 // of the truth, by channel
	residual []float64 // squared
	shift    []float64 // the first vector, so that sums of squares lose no digits
}

func newScore(of data.Meaning) *score { return &score{moments: of.Moments} }

// Add implements [task.Metric]. A prediction that is missing counts as the origin.
func (s *score) Add(truth, pred data.Label) error {
	t := truth.(*Label)
	p, _ := pred.(*Label)
	if p != nil && (p.Grid != t.Grid || p.Channels != t.Channels) {
		return fmt.Errorf("the prediction has %d channels on a grid of %d×%[2]d, the truth %[3]d on %d×%[4]d", p.Channels, p.Grid, t.Channels, t.Grid)
	}
	if s.sum == nil {
		s.sum, s.sq, s.residual, s.shift = make([]float64, t.Channels), make([]float64, t.Channels), make([]float64, t.Channels), make([]float64, t.Channels)
	}
	for k := range t.Grid * t.Grid {
		v := t.Values[k*t.Channels:][:t.Channels]
		if v[0] != v[0] {
			continue
		}
		if s.cells == 0 {
			for c, x := range v {
				s.shift[c] = float64(x)
			}
		}
		s.cells++
		var tt, pp, tp float64
		for c, x := range v {
			a, b := float64(x), 0.
			if p != nil {
				if b = float64(p.Values[k*t.Channels+c]); math.IsNaN(b) || math.IsInf(b, 0) {
					b = 0
				}
			}
			d := a - s.shift[c]
			s.sum[c] += d
			s.sq[c] += d * d
			s.residual[c] += (a - b) * (a - b)
			if m := s.moments; m != nil {
				a, b = (a-m.Mean[c])/m.Deviation(c), (b-m.Mean[c])/m.Deviation(c)
			}
			tt, pp, tp = tt+a*a, pp+b*b, tp+a*b
		}
		if tt > 0 && pp > 0 {
			s.cosine += tp / math.Sqrt(tt*pp)
		}
	}
	return nil
}

// Values implements [task.Metric].
func (s *score) Values() []metric.Value {
	if s.cells == 0 {
		return nil
	}
	var residual, total, explained float64
	for c := range s.sum {
		residual += s.residual[c]
		total += s.sq[c] - s.sum[c]*s.sum[c]/s.cells
	}
	if total > 0 {
		explained = 1 - residual/total
	}
	return []metric.Value{
		{Name: "cosine", Value: s.cosine / s.cells, HigherIsBetter: true},
		{Name: "explained_variance", Value: explained, HigherIsBetter: true},
	}
}
