package detection

import (
	"math"

	"must/data"
	"must/data/account"
	"must/task"
)

// Counts are what is counted of a set's objects.
type Counts struct {
	Labelled, Empty        int               // images with known objects, and those of them with none
	Partial                int               // images whose label does not tell of all classes
	Objects, Crowds, Masks int               // Objects are without crowds (COCO's crowds, VOC's difficult)
	Small, Medium, Large   int               // boxes by COCO's limits of 32² and 96² pixels
	PerImage               []float64         // objects
	side                   account.Histogram // √area of a box in pixels, to 1 %
	Classes                []account.Class
}

// Counts implements [task.Task].
func (kind) Counts(m data.Meaning) task.Counts {
	return &Counts{Classes: account.Classes(m.Classes), side: account.NewHistogram()}
}

// Side is the range of √area of the boxes, in pixels.
func (c *Counts) Side() account.Range {
	return account.Range{Min: c.side.Quantile(0), Median: c.side.Quantile(0.5), Max: c.side.Quantile(1)}
}

// Add implements [task.Counts].
func (c *Counts) Add(l data.Label) {
	label := l.(*Label)
	c.Labelled++
	n := 0
	seen := map[int]bool{}
	for _, o := range label.Objects {
		if !seen[o.Class] {
			seen[o.Class] = true
			c.Classes[o.Class].Images++
		}
		if o.Mask != nil {
			c.Masks++
		}
		if o.Crowd {
			c.Crowds++
			continue
		}
		n++
		c.Classes[o.Class].Objects++
		area := o.Box.Area()
		switch {
		case area < 32*32:
			c.Small++
		case area < 96*96:
			c.Medium++
		default:
			c.Large++
		}
		c.side.Add(float32(math.Sqrt(area)))
	}
	c.Objects += n
	c.PerImage = append(c.PerImage, float64(n))
	switch {
	case label.Unknown != nil:
		c.Partial++
	case len(label.Objects) == 0:
		c.Empty++
	}
}

// Write implements [task.Counts].
func (c *Counts) Write(w *account.Writer, images int) {
	w.Row("labelled", "%s, %s of them without objects", account.Share(c.Labelled, images, "images"), account.Thousands(c.Empty))
	if c.Partial > 0 {
		w.Row("", "%s whose label does not tell of all classes", account.Share(c.Partial, c.Labelled, "images"))
	}
	w.Row("objects", "%s, and %s crowds or difficult ones; %s masks", account.Thousands(c.Objects), account.Thousands(c.Crowds), account.Thousands(c.Masks))
	w.Row("per image", "%s", account.RangeOf(c.PerImage))
	w.Row("√area", "%s px", c.Side())
	w.Row("sizes", "small %s, medium %s, large %s (limits 32², 96²)", account.Percent(c.Small, c.Objects), account.Percent(c.Medium, c.Objects), account.Percent(c.Large, c.Objects))
	w.Table(c.Classes, []string{"objects", "images"}, func(c account.Class) []string {
		return []string{account.Thousands(c.Objects), account.Thousands(c.Images)}
	}, func(c account.Class) int64 { return int64(c.Objects) })
}
