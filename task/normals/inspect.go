package normals

import (
	"must/data"
	"must/data/account"
	"must/task"
)

// Counts are what is counted of a set's maps.
type Counts struct {
	Labelled        int
	Pixels, Invalid int64
	Away            int64 // point away from the camera (z > 0): a few at the edges of the image can
}

// Counts implements [task.Task].
func (kind) Counts(data.Meaning) task.Counts { return &Counts{} }

// Add implements [task.Counts].
func (c *Counts) Add(l data.Label) {
	pixels := l.(Label).Pix
	c.Labelled++
	c.Pixels += int64(len(pixels))
	for _, v := range pixels {
		if v == [3]float32{} {
			c.Invalid++
		} else if v[2] > 0 {
			c.Away++
		}
	}
}

// Write implements [task.Counts].
func (c *Counts) Write(w *account.Writer, images int) {
	w.Row("labelled", "%s", account.Share(c.Labelled, images, "images"))
	w.Row("invalid", "%s of the pixels", account.Percent(c.Invalid, c.Pixels))
	w.Row("z > 0", "%s of the valid ones; many would mean that an axis is the wrong way round", account.Percent(c.Away, c.Pixels-c.Invalid))
}
