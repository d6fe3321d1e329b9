package data

import (
	"fmt"
	"math"
)

// Moments are mean and variance of values, by channel, over so many of them.
type Moments struct {
	Count    float64   `json:"count"`
	Mean     []float64 `json:"mean"`
	Variance []float64 `json:"variance"`
}

// MomentsOf returns the moments of vectors that lie one after the other.
func MomentsOf(values []float32, channels int) *Moments {
	m := &Moments{Count: float64(len(values) / channels), Mean: make([]float64, channels), Variance: make([]float64, channels)}
	for i, v := range values {
		m.Mean[i%channels] += float64(v) / m.Count
	}
	for i, v := range values {
		d := float64(v) - m.Mean[i%channels]
		m.Variance[i%channels] += d * d / m.Count
	}
	return m
}

// Pool returns the moments of both together; nil stands for none (Chan, Golub & LeVeque 1979).
func (m *Moments) Pool(n *Moments) *Moments {
	switch {
	case n == nil || n.Count == 0 || m == n:
		return m
	case m == nil || m.Count == 0:
		return n
	}
	out := &Moments{Count: m.Count + n.Count, Mean: make([]float64, len(m.Mean)), Variance: make([]float64, len(m.Mean))}
	a, b := m.Count/out.Count, n.Count/out.Count
	for i := range out.Mean {
		d := n.Mean[i] - m.Mean[i]
		out.Mean[i] = m.Mean[i] + b*d
		out.Variance[i] = a*m.Variance[i] + b*n.Variance[i] + a*b*d*d
	}
	return out
}

// Deviation returns the standard deviation of a channel, 1 where all its values are alike.
func (m *Moments) Deviation(channel int) float64 {
	if s := math.Sqrt(m.Variance[channel]); s > 1e-6 {
		return s
	}
	return 1
}

func (m *Moments) check(channels int) error {
	if m == nil {
		return nil
	}
	if len(m.Mean) != channels || len(m.Variance) != channels {
		return fmt.Errorf("it has moments of %d channels, and labels of %d", len(m.Mean), channels)
	}
	for i := range m.Mean {
		if !(math.Abs(m.Mean[i]) < 1e30) || !(m.Variance[i] >= 0 && m.Variance[i] < 1e30) {
			return fmt.Errorf("channel %d has mean %v and variance %v", i, m.Mean[i], m.Variance[i])
		}
	}
	return nil
}
