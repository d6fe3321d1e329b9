package metric

import (
	"math"

	"must/data"
)

// Normals measures the angle between true and predicted surface normals over the pixels of all
// images pooled, as the evaluation code of DSINE (Bae & Davison 2024) does.
//
// That program keeps every angle to find their median. Here the median comes from a histogram of a
// million bins, 8 MB for any number of images, and is within 1e-4 degrees of it; all else is exact.
type Normals struct {
	pixels       int64
	sum, squares float64
	within       [len(normalLimits)]int64
	histogram    []int64 // of angles, 0..180 degrees
}

const normalBins = 1 << 20

var normalLimits = [...]struct {
	name    string
	degrees float64
}{
	{"within_5", 5}, {"within_7.5", 7.5}, {"within_11.25", 11.25}, {"within_22.5", 22.5}, {"within_30", 30},
}

// NewNormals returns an empty metric.
func NewNormals() *Normals { return &Normals{histogram: make([]int64, normalBins)} }

// Add counts one image; a nil truth says nothing, a nil prediction is 180° off. A pixel whose true normal is zero does not count. Predictions need not be
// of unit length; a zero one is 90° off, as in the reference program, and NaN 180°.
func (m *Normals) Add(truth, pred *data.Grid[[3]float32]) error {
	if truth == nil {
		return nil
	}
	if err := sameSize(truth, pred); err != nil {
		return err
	}
	for i, t := range truth.Pix {
		if t == ([3]float32{}) || t != t {
			continue
		}
		angle := 180.0
		if pred != nil {
			angle = angleBetween(t, pred.Pix[i])
		}
		m.pixels++
		m.sum += angle
		m.squares += angle * angle
		for k, l := range normalLimits {
			if angle < l.degrees {
				m.within[k]++
			}
		}
		m.histogram[min(int(angle/180*normalBins), normalBins-1)]++
	}
	return nil
}

// Values returns mean_angle, median_angle and rmse_angle in degrees, and the share of
// pixels within 5, 7.5, 11.25, 22.5 and 30 degrees.
func (m *Normals) Values() []Value {
	if m.pixels == 0 {
		return nil
	}
	n := float64(m.pixels)
	values := []Value{
		{"mean_angle", m.sum / n, false},
		{"median_angle", m.median(), false},
		{"rmse_angle", math.Sqrt(m.squares / n), false},
	}
	for k, l := range normalLimits {
		values = append(values, Value{l.name, float64(m.within[k]) / n, true})
	}
	return values
}

// median returns the mean of the two middle angles, each taken as the centre of its bin.
func (m *Normals) median() float64 {
	return (m.ranked((m.pixels-1)/2) + m.ranked(m.pixels/2)) / 2
}

// ranked returns the angle that has n smaller ones.
func (m *Normals) ranked(n int64) float64 {
	bin := 0
	for n >= m.histogram[bin] {
		n -= m.histogram[bin]
		bin++
	}
	return (float64(bin) + 0.5) * 180 / normalBins
}

// angleBetween returns the angle in degrees.
func angleBetween(a, b [3]float32) float64 {
	var dot, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot += x * y
		aa += x * x
		bb += y * y
	}
	// The floor under the lengths is that of PyTorch's cosine_similarity.
	cos := dot / (max(math.Sqrt(aa), 1e-8) * max(math.Sqrt(bb), 1e-8))
	if math.IsNaN(cos) {
		return 180
	}
	return math.Acos(min(max(cos, -1), 1)) * 180 / math.Pi
}
