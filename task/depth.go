package task

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"must/data"
	"must/metric"
	"must/model"
	depthlabel "must/task/depth"
	"must/torch"
)

// depth is a pixel head with one output.
//
// Metric depth: the output is its logarithm, trained by the mean absolute error of the logarithm
// (our choice; a relative error, so that near and far count alike).
//
// Inverse depth of unknown scale and shift: the output is trained by the scale-and-shift-invariant
// loss of MiDaS (Ranftl et al. 2020): per image the prediction is aligned to the label by least
// squares, then compared by the mean absolute error and by that of its gradients at four scales.
type depth struct {
	head  pixelHead
	units string
}

func newDepth(b model.Builder, s *Spec) Task {
	return &depth{newPixelHead(b, s.Model, 1), s.Labels[depthlabel.Name].Units}
}

func (*depth) Name() string { return depthlabel.Name }

func (d *depth) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &mapTargets{}
	for i, s := range samples {
		if depthlabel.Of(s) == nil {
			continue
		}
		center, spread := 0., 1.
		if d.units == data.Inverse {
			center, spread = robustScale(depthlabel.Of(s).Pix)
		}
		valid := 0.
		for _, v := range depthlabel.Of(s).Pix {
			x := (float64(v) - center) / spread
			if d.units == data.Metric {
				x = math.Log(float64(v))
			}
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.values, t.valid = append(t.values, 0), append(t.valid, 0)
				continue
			}
			t.values, t.valid = append(t.values, float32(x)), append(t.valid, 1)
			valid++
		}
		if valid == 0 {
			n := len(depthlabel.Of(s).Pix)
			t.values, t.valid = t.values[:len(t.values)-n], t.valid[:len(t.valid)-n]
			continue
		}
		t.labelled = append(t.labelled, int64(i))
		t.count += valid
	}
	if t.labelled == nil {
		return nil
	}
	return t
}

// robustScale returns the median of the valid values and their mean distance from it, which bring
// labels of any scale and shift to one range.
func robustScale(pix []float32) (median, spread float64) {
	var v []float64
	for _, p := range pix {
		if x := float64(p); !math.IsNaN(x) && !math.IsInf(x, 0) {
			v = append(v, x)
		}
	}
	if len(v) == 0 {
		return 0, 1
	}
	slices.Sort(v)
	median = v[len(v)/2]
	for _, x := range v {
		spread += math.Abs(x-median) / float64(len(v))
	}
	if spread < 1e-9 {
		spread = 1
	}
	return median, spread
}

func (d *depth) Loss(f *model.Features, targets any, _ *rand.Rand) []Loss {
	t := targets.(*mapTargets)
	want, valid := t.tensors(f.Size)
	got := d.head.forward(f, t.labelled).Squeeze(1)
	if d.units == data.Inverse {
		return invariantLoss(got, want, valid, func(level int64) float64 { return t.every(int(f.Size), int(level)) })
	}
	return []Loss{{"depth", got.Sub(want).Abs().Mul(valid).Sum().Scale(1 / t.count), t.count}}
}

// edges are the levels at which the gradients of inverse depth are compared, as distances of pixels.
var edges = []int64{1, 2, 4, 8}

func (d *depth) Parts() []string {
	names := []string{depthlabel.Name}
	if d.units == data.Inverse {
		for _, level := range edges {
			names = append(names, edgeName(level))
		}
	}
	return names
}

func edgeName(level int64) string { return fmt.Sprint("edges", level) }

// every counts the valid pixels of every n-th row and column.
func (t *mapTargets) every(size, n int) (count float64) {
	for at := 0; at < len(t.valid); at += size * size {
		for y := 0; y < size; y += n {
			for x := 0; x < size; x += n {
				count += float64(t.valid[at+y*size+x])
			}
		}
	}
	return count
}

// invariantLoss compares got with want, both [N, H, W], up to a scale and a shift of each image. count tells the
// valid pixels of every so many rows and columns.
func invariantLoss(got, want, valid *torch.Tensor, count func(level int64) float64) []Loss {
	sum := func(x *torch.Tensor) *torch.Tensor { return x.Sum(1, 2).Unsqueeze(1).Unsqueeze(2) }
	n := sum(valid)
	meanGot, meanWant := sum(got.Mul(valid)).Div(n), sum(want.Mul(valid)).Div(n)
	g, w := got.Sub(meanGot).Mul(valid), want.Sub(meanWant).Mul(valid)
	both, spread := sum(g.Mul(w)), sum(g.Mul(g)).AddScalar(1e-6)
	// Least squares of a prediction that is upside down has a negative scale, and training would leave it
	// so, near for far. The ratio of the spreads in its place turns it round.
	scale := torch.Where(both.Lt(torch.Scalar(0)), sum(w.Mul(w)).Div(spread).Sqrt(), both.Div(spread))
	residual := g.Mul(scale).Sub(w) // 0 where invalid
	losses := []Loss{{depthlabel.Name, residual.Abs().Sum().Div(valid.Sum()), count(1)}}
	for _, level := range edges {
		if got.Size(1) <= level || got.Size(2) <= level {
			break
		}
		var loss *torch.Tensor
		r, v := every(residual, level), every(valid, level)
		for dim := 1; dim <= 2; dim++ {
			n := r.Size(dim) - 1
			if n < 1 {
				continue
			}
			valid := v.Narrow(dim, 0, n).Mul(v.Narrow(dim, 1, n))
			step := r.Narrow(dim, 1, n).Sub(r.Narrow(dim, 0, n)).Abs().Mul(valid)
			x := step.Sum().Div(v.Sum().AddScalar(1e-6)).Scale(0.5) // 0.5 as in MiDaS
			if loss == nil {
				loss = x
			} else {
				loss = loss.Add(x)
			}
		}
		losses = append(losses, Loss{edgeName(level), loss, count(level)})
	}
	return losses
}

// every returns every n-th row and column of [N, H, W].
func every(x *torch.Tensor, n int64) *torch.Tensor { return x.Slice(1, n).Slice(2, n) }

func (d *depth) Predict(f *model.Features, preds []*data.Sample) {
	decoded(d.Decode(d.Outputs(f, ExportOptions{}), int(f.Size), preds))
}

// Pseudo keeps the prediction as it is.
func (*depth) Pseudo(*data.Sample, float64) {}

func (d *depth) Metric(l data.Labels) metric.Metric { return metric.ForDepth(d.units, l) }
