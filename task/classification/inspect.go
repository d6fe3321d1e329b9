package classification

import (
	"must/data"
	"must/data/account"
	"must/task"
)

// Counts are what is counted of a set's classes. An image counts for its most probable class.
type Counts struct {
	Labelled int
	Soft     int // labels that are not one-hot, as pseudo labels are
	Classes  []account.Class
}

// Counts implements [task.Task].
func (kind) Counts(m data.Meaning) task.Counts { return &Counts{Classes: account.Classes(m.Classes)} }

// Add implements [task.Counts].
func (c *Counts) Add(l data.Label) {
	p := l.(Label)
	best := 0
	for i, v := range p {
		if v > p[best] {
			best = i
		}
	}
	c.Labelled++
	c.Classes[best].Images++
	if p[best] != 1 {
		c.Soft++
	}
}

// Write implements [task.Counts].
func (c *Counts) Write(w *account.Writer, images int) {
	w.Row("labelled", "%s", account.Share(c.Labelled, images, "images"))
	if c.Soft > 0 {
		w.Row("soft", "%s", account.Share(c.Soft, c.Labelled, "labels"))
	}
	w.Table(c.Classes, []string{"images"}, func(c account.Class) []string { return []string{account.Thousands(c.Images)} }, func(c account.Class) int64 { return int64(c.Images) })
}
