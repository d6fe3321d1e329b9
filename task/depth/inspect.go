package depth

import (
	"math"

	"must/data"
	"must/data/account"
	"must/task"
)

// Counts are what is counted of a set's maps: valid values in the unit of its labels, percentiles to 1 %.
type Counts struct {
	Labelled        int
	Unit            string
	Pixels, Invalid int64
	NeverValid      int // images without a valid pixel
	near, far       float32
	values          account.Histogram
}

// Counts implements [task.Task].
func (kind) Counts(m data.Meaning) task.Counts {
	return &Counts{Unit: m.Units, values: account.NewHistogram(), near: float32(math.Inf(1)), far: float32(math.Inf(-1))}
}

// Range is that of the valid values, 0 without any.
func (c *Counts) Range() account.Range {
	if c.Pixels == c.Invalid {
		return account.Range{}
	}
	return account.Range{Min: float64(c.near), Median: c.values.Quantile(0.5), Max: float64(c.far)}
}

// Add implements [task.Counts].
func (c *Counts) Add(l data.Label) {
	pixels, invalid := l.(Label).Pix, 0
	for _, v := range pixels {
		if v != v {
			invalid++
			continue
		}
		c.values.Add(v)
		c.near, c.far = min(c.near, v), max(c.far, v)
	}
	c.Labelled++
	c.Pixels += int64(len(pixels))
	c.Invalid += int64(invalid)
	if invalid == len(pixels) {
		c.NeverValid++
	}
}

// Write implements [task.Counts].
func (c *Counts) Write(w *account.Writer, images int) {
	w.Row("labelled", "%s", account.Share(c.Labelled, images, "images"))
	w.Row("invalid", "%s of the pixels; %s images have no valid one", account.Percent(c.Invalid, c.Pixels), account.Thousands(c.NeverValid))
	unit := "of inverse depth, whose scale is unknown"
	if c.Unit == data.Metric {
		unit = "m"
	}
	r := c.Range()
	w.Row("range", "%s to %s %s", account.Number(r.Min), account.Number(r.Max), unit)
	w.Row("1, 50, 99 %", "%s, %s, %s", account.Number(c.values.Quantile(0.01)), account.Number(r.Median), account.Number(c.values.Quantile(0.99)))
}
