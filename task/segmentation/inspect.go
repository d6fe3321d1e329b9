package segmentation

import (
	"must/data"
	"must/data/account"
	"must/task"
)

// Counts are what is counted of a set's maps.
type Counts struct {
	Labelled        int
	Pixels, Ignored int64 // Pixels are all, ignored ones among them
	Classes         []account.Class
}

// Counts implements [task.Task].
func (kind) Counts(m data.Meaning) task.Counts { return &Counts{Classes: account.Classes(m.Classes)} }

// Add implements [task.Counts].
func (c *Counts) Add(l data.Label) {
	pixels := l.(*Label).Map.Pix
	var count [256]int64
	for _, v := range pixels {
		count[v]++
	}
	c.Labelled++
	c.Pixels += int64(len(pixels))
	for v, n := range count {
		switch {
		case n == 0:
		case v < len(c.Classes):
			c.Classes[v].Images++
			c.Classes[v].Pixels += n
		default:
			c.Ignored += n
		}
	}
}

// Write implements [task.Counts].
func (c *Counts) Write(w *account.Writer, images int) {
	w.Row("labelled", "%s", account.Share(c.Labelled, images, "images"))
	w.Row("ignored", "%s of the pixels", account.Percent(c.Ignored, c.Pixels))
	w.Table(c.Classes, []string{"pixels", "images"}, func(k account.Class) []string {
		return []string{account.Percent(k.Pixels, c.Pixels-c.Ignored), account.Thousands(k.Images)}
	}, func(c account.Class) int64 { return c.Pixels })
}
