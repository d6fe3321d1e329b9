package metric

import (
	"image"
	"math"
	"slices"

	"must/data"
)

// EigenCrop is the part of NYU Depth v2's 640×480 images that Eigen et al. (2014) evaluate on.
var EigenCrop = image.Rect(41, 45, 601, 471)

// An Alignment fits a prediction of unknown scale to the truth, image by image, before it is scored.
type Alignment int

const (
	NoAlignment Alignment = iota
	MedianScale           // multiply so that the medians agree
	ScaleShift            // scale and shift of least squared error, as in MiDaS
)

// DepthOptions say which pixels count and how predictions are read. The zero value is metric depth,
// scored as it is, on all valid pixels deeper than a millimetre.
type DepthOptions struct {
	// Only truth strictly between Min and Max counts and predictions are clamped to that range;
	// 0: 1e-3 and no limit. NYU Depth v2: 1e-3 and 10.
	Min, Max float64
	// Only pixels inside count; empty: all. NYU Depth v2: EigenCrop. CropOf is the size of the images
	// that Crop is for; in others it is scaled. Zero: it is never scaled.
	Crop   image.Rectangle
	CropOf image.Point
	// Units of truth and prediction: data.Metric (or "") or data.Inverse. Inverse depth is aligned as
	// it is, then inverted.
	Truth, Prediction string
	Align             Alignment
}

// Depth measures depth maps per image, then takes the mean over images, as the evaluation code of
// BTS (Lee et al. 2019) and the DIODE development kit do.
type Depth struct {
	opt    DepthOptions
	images int
	sums   [len(depthNames)]float64
}

var depthNames = [...]string{
	"delta1", "delta2", "delta3", "abs_rel", "sq_rel", "rmse", "rmse_log", "silog", "log10", "mae",
}

// NewDepth returns an empty metric.
func NewDepth(opt DepthOptions) *Depth {
	if opt.Min == 0 {
		opt.Min = 1e-3
	}
	if opt.Max == 0 {
		opt.Max = math.Inf(1)
	}
	return &Depth{opt: opt}
}

// Add counts one image; a nil truth says nothing. An image without a valid pixel does not count. A prediction that is not a
// number counts as Min, an infinite one as Max where there is one.
func (m *Depth) Add(truth, pred *data.Grid[float32]) error {
	if truth == nil {
		return nil
	}
	if err := sameSize(truth, pred); err != nil {
		return err
	}
	t, p := m.pixels(truth, pred)
	if len(t) == 0 {
		return nil
	}
	if m.opt.Align != NoAlignment {
		m.align(t, p)
	}
	m.images++
	for i, v := range depthErrors(m.depth(t, m.opt.Truth), m.depth(p, m.opt.Prediction)) {
		m.sums[i] += v
	}
	return nil
}

// Values returns delta1..3, the share of pixels within a factor of 1.25, 1.25², 1.25³;
// abs_rel, sq_rel, rmse, rmse_log, silog (×100, as published), log10 and mae.
func (m *Depth) Values() []Value {
	if m.images == 0 {
		return nil
	}
	values := make([]Value, len(depthNames))
	for i, name := range depthNames {
		values[i] = Value{name, m.sums[i] / float64(m.images), i < 3}
	}
	return values
}

// pixels returns truth and prediction of the pixels that count, each in its own units.
func (m *Depth) pixels(g, q *data.Grid[float32]) (t, p []float64) {
	area := image.Rect(0, 0, g.W, g.H)
	if crop := m.opt.Crop; !crop.Empty() {
		if of := m.opt.CropOf; of != (image.Point{}) {
			crop = image.Rect(crop.Min.X*g.W/of.X, crop.Min.Y*g.H/of.Y, crop.Max.X*g.W/of.X, crop.Max.Y*g.H/of.Y)
		}
		area = area.Intersect(crop)
	}
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			tv := float64(g.At(x, y))
			depth := tv
			if m.opt.Truth == data.Inverse {
				depth = 1 / tv
			}
			if !(depth > m.opt.Min && depth < m.opt.Max) {
				continue
			}
			pv := math.NaN()
			if q != nil {
				pv = float64(q.At(x, y))
			}
			t, p = append(t, tv), append(p, pv)
		}
	}
	return t, p
}

// align fits p to t in the prediction's units.
func (m *Depth) align(t, p []float64) {
	var at, ap []float64
	for i, v := range p {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		tv := t[i]
		if (m.opt.Truth == data.Inverse) != (m.opt.Prediction == data.Inverse) {
			tv = 1 / tv
		}
		at, ap = append(at, tv), append(ap, v)
	}
	if len(at) == 0 {
		return
	}
	scale, shift := 1.0, 0.0
	if m.opt.Align == MedianScale {
		scale = median(at) / median(ap)
	} else {
		scale, shift = scaleShift(at, ap)
	}
	for i := range p {
		p[i] = float64(scale*p[i]) + shift
	}
}

// scaleShift returns the scale and shift for which scale·p + shift is nearest to t. A constant p has no
// scale: it is shifted only.
func scaleShift(t, p []float64) (scale, shift float64) {
	n := float64(len(t))
	var mt, mp float64
	for i := range t {
		mt += t[i] / n
		mp += p[i] / n
	}
	var cov, variance float64
	for i := range t {
		cov += (p[i] - mp) * (t[i] - mt)
		variance += (p[i] - mp) * (p[i] - mp)
	}
	scale = ratio(cov, variance)
	return scale, mt - scale*mp
}

// median returns the middle value, or the mean of the two in the middle, and sorts v.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// depth turns v, in the given units, into depth within the valid range.
func (m *Depth) depth(v []float64, units string) []float64 {
	for i, d := range v {
		if units == data.Inverse {
			// Inverse depth of 0 and less is infinitely far.
			d = 1 / max(d, 0)
		}
		d = min(max(d, m.opt.Min), m.opt.Max)
		if math.IsNaN(d) || math.IsInf(d, 0) {
			d = m.opt.Min
		}
		v[i] = d
	}
	return v
}

// depthErrors returns the metrics of one image, in the order of depthNames.
func depthErrors(t, p []float64) (e [len(depthNames)]float64) {
	n := float64(len(t))
	var logSum, logSquares float64
	for i, d := range t {
		r := max(d/p[i], p[i]/d)
		for k, limit := range [...]float64{1.25, 1.25 * 1.25, 1.25 * 1.25 * 1.25} {
			if r < limit {
				e[k]++
			}
		}
		diff := p[i] - d
		l := math.Log(p[i]) - math.Log(d)
		e[3] += math.Abs(diff) / d
		e[4] += diff * diff / d
		e[5] += diff * diff
		logSum += l
		logSquares += l * l
		e[8] += math.Abs(l) / math.Ln10
		e[9] += math.Abs(diff)
	}
	for i := range e {
		e[i] /= n
	}
	mean, square := logSum/n, logSquares/n
	e[5] = math.Sqrt(e[5])
	e[6] = math.Sqrt(square)
	e[7] = math.Sqrt(max(square-mean*mean, 0)) * 100
	return e
}
