package depth

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"must/data"
	"must/model"
	"must/task"
	"must/torch"
)

// A head is a pixel head with one output.
//
// Metric depth: the output is its logarithm, trained by the mean absolute error of the logarithm
// (our choice; a relative error, so that near and far count alike). Where scale jitter enlarges the image
// the depth to be learned is divided by as much; see [Label].
//
// Inverse depth of unknown scale and shift: the output is trained by the scale-and-shift-invariant
// loss of MiDaS (Ranftl et al. 2020): per image the prediction is aligned to the label by least
// squares, then compared by the mean absolute error and by that of its gradients at four scales.
type head struct {
	pixels task.PixelHead
	units  string
}

func (d *head) Targets(samples []*data.Sample, _ *rand.Rand) any {
	t := &task.MapTargets{}
	for i, s := range samples {
		l, known := s.Label(Name).(Label)
		if !known {
			continue
		}
		center, spread := 0., 1.
		if d.units == data.Inverse {
			center, spread = robustScale(l.Pix)
		}
		nearer := math.Log(cmp.Or(l.Zoom, 1))
		valid := 0.
		for _, v := range l.Pix {
			x := (float64(v) - center) / spread
			if d.units == data.Metric {
				x = math.Log(float64(v)) - nearer
			}
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Values, t.Valid = append(t.Values, 0), append(t.Valid, 0)
				continue
			}
			t.Values, t.Valid = append(t.Values, float32(x)), append(t.Valid, 1)
			valid++
		}
		if valid == 0 {
			n := len(l.Pix)
			t.Values, t.Valid = t.Values[:len(t.Values)-n], t.Valid[:len(t.Valid)-n]
			continue
		}
		t.Labelled = append(t.Labelled, int64(i))
		t.Count += valid
	}
	if t.Labelled == nil {
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

func (d *head) Loss(f *model.Features, targets any, _ *rand.Rand) []task.Loss {
	t := targets.(*task.MapTargets)
	want, valid := t.Tensors(f.Size)
	got := d.pixels.Forward(f, t.Labelled).Squeeze(1)
	if d.units == data.Inverse {
		return InvariantLoss(got, want, valid, func(level int64) float64 { return validOf(t, int(f.Size), int(level)) })
	}
	return []task.Loss{{Name: "depth", Value: got.Sub(want).Abs().Mul(valid).Sum().Scale(1 / t.Count), Count: t.Count}}
}

// edges are the levels at which the gradients of inverse depth are compared, as distances of pixels.
var edges = []int64{1, 2, 4, 8}

func (d *head) Parts() []string {
	names := []string{Name}
	if d.units == data.Inverse {
		for _, level := range edges {
			names = append(names, edgeName(level))
		}
	}
	return names
}

func edgeName(level int64) string { return fmt.Sprint("edges", level) }

// validOf counts the valid pixels of every n-th row and column.
func validOf(t *task.MapTargets, size, n int) (count float64) {
	for at := 0; at < len(t.Valid); at += size * size {
		for y := 0; y < size; y += n {
			for x := 0; x < size; x += n {
				count += float64(t.Valid[at+y*size+x])
			}
		}
	}
	return count
}

// InvariantLoss compares got with want, both [N, H, W], up to a scale and a shift of each image. count tells the
// valid pixels of every so many rows and columns.
func InvariantLoss(got, want, valid *torch.Tensor, count func(level int64) float64) []task.Loss {
	sum := func(x *torch.Tensor) *torch.Tensor { return x.Sum(1, 2).Unsqueeze(1).Unsqueeze(2) }
	n := sum(valid)
	meanGot, meanWant := sum(got.Mul(valid)).Div(n), sum(want.Mul(valid)).Div(n)
	g, w := got.Sub(meanGot).Mul(valid), want.Sub(meanWant).Mul(valid)
	both, spread := sum(g.Mul(w)), sum(g.Mul(g)).AddScalar(1e-6)
	// Least squares of a prediction that is upside down has a negative scale, and training would leave it
	// so, near for far. The ratio of the spreads in its place turns it round.
	scale := torch.Where(both.Lt(torch.Scalar(0)), sum(w.Mul(w)).Div(spread).Sqrt(), both.Div(spread))
	residual := g.Mul(scale).Sub(w) // 0 where invalid
	losses := []task.Loss{{Name: Name, Value: residual.Abs().Sum().Div(valid.Sum()), Count: count(1)}}
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
		losses = append(losses, task.Loss{Name: edgeName(level), Value: loss, Count: count(level)})
	}
	return losses
}

// every returns every n-th row and column of [N, H, W].
func every(x *torch.Tensor, n int64) *torch.Tensor { return x.Slice(1, n).Slice(2, n) }

func (d *head) Predict(f *model.Features, preds []*data.Sample) {
	task.Must(d.Decode(d.Outputs(f, task.ExportOptions{}), int(f.Size), preds))
}

// Name implements [task.Head].
func (*head) Name() string { return Name }
