package features

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"

	"must/data"
	"must/data/npy"
	"must/draw"
	"must/model"
	"must/task"
)

// Task is the task, for the registry.
var Task task.Task = kind{}

type kind struct{ task.Plain }

func (kind) Name() string { return Name }

func (kind) Unit() string { return "feature maps" }

func (kind) Some() data.Meaning { return data.Meaning{Channels: 1, Grid: 1} }

func (kind) Check(m data.Meaning) error {
	if m.Grid < 1 || m.Grid > MaxGrid || m.Channels < 1 || m.Channels > MaxChannels {
		return fmt.Errorf("features have %d channels on a grid of %d×%[2]d; there must be 1 to %[3]d on 1×1 to %d×%[4]d", m.Channels, m.Grid, MaxChannels, MaxGrid)
	}
	return nil
}

func (kind) Pyramid(m data.Meaning) bool { return m.Grid > smallGrid }

func (kind) Head(b model.Builder, s task.HeadSpec) task.Head { return newHead(b, s) }

func (kind) Metric(_, of data.Meaning) task.Metric { return newScore(of) }

func (k kind) Quality(knows, of data.Meaning, _ float64) task.Metric { return k.Metric(knows, of) }

// Noise has no name of a teacher: its task is told by who asks.
func (kind) Noise(name string, m data.Meaning, _ int, rng *rand.Rand) data.Label {
	l := New(name, m.Grid, m.Channels, make([]float32, m.Grid*m.Grid*m.Channels))
	for i := range l.Values {
		l.Values[i] = float32(rng.NormFloat64())
	}
	return l
}

func (kind) DType() string { return npy.Float16 }

func (kind) Ext() string { return ".npy" }

func (kind) Store(buf *bytes.Buffer, l data.Label, m data.Meaning, dtype string, size image.Point) error {
	if err := l.Check(m, size); err != nil {
		return err
	}
	return task.StoreNPY(buf, dtype, []int{m.Grid, m.Grid, m.Channels}, l.(*Label).Values, false)
}

func (kind) Load(name string, b []byte, m data.Meaning, _ string, _ image.Point) (data.Label, error) {
	v, err := task.LoadNPY(b, []int{m.Grid, m.Grid, m.Channels}, false)
	if err != nil {
		return nil, err
	}
	return New(name, m.Grid, m.Channels, v), nil
}

// Moments implements [task.Measured].
func (kind) Moments(l data.Label) *data.Moments {
	f := l.(*Label)
	return data.MomentsOf(f.Values, f.Channels)
}

func (kind) Outputs() []string { return nil } // each is called as its task

func (kind) Decode(name string, out task.Outputs, m data.Meaning, _ int, preds []*data.Sample) error {
	return decode(name, out, m, preds)
}

func init() {
	draw.Register(Name, draw.Style{
		Title: Name,
		Draw:  func(c *draw.Canvas, l data.Label, _ data.Meaning, _ draw.Options) { drawGrid(c, l.(*Label)) },
		Summary: func(m data.Meaning) string {
			return fmt.Sprintf("features of %d channels on %d×%[2]d", m.Channels, m.Grid)
		},
	})
}

// drawGrid shows the first three channels as red, green and blue, each over its range in the image.
func drawGrid(c *draw.Canvas, l *Label) {
	var low, high [3]float32
	n := min(3, l.Channels)
	for ch := range n {
		low[ch], high[ch] = l.Values[ch], l.Values[ch]
		for i := ch; i < len(l.Values); i += l.Channels {
			low[ch], high[ch] = min(low[ch], l.Values[i]), max(high[ch], l.Values[i])
		}
	}
	w, h := c.Rect.Dx(), c.Rect.Dy()
	for y := range h {
		for x := range w {
			cell := l.Cell(x*l.Grid/w, y*l.Grid/h)
			if cell[0] != cell[0] {
				c.SetRGBA(x, y, draw.Void)
				continue
			}
			var rgb [3]uint8
			for ch := range n {
				if span := high[ch] - low[ch]; span > 0 {
					rgb[ch] = uint8(255 * (cell[ch] - low[ch]) / span)
				}
			}
			c.SetRGBA(x, y, color.RGBA{R: rgb[0], G: rgb[1], B: rgb[2], A: 255})
		}
	}
}
