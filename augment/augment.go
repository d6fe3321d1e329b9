// Package augment moves an image and all its labels together: the flip, scale jitter, crop and
// photometric change of training, and the letterbox of evaluation with its way back.
//
// Teachers and students use the same transforms (MuST §3): a transform draws the same random
// numbers whatever labels a sample carries, so that one seed shows every model the same views.
package augment

import (
	"fmt"
	"math"
	"math/rand/v2"

	"must/data"
)

// Fill is the colour of padding: the ImageNet mean, which normalisation turns into about zero.
var Fill = [3]uint8{124, 116, 104}

// minVisible is the share of an object's box that must remain after a crop for the object to
// remain. Below it there is too little to recognise it by.
const minVisible = 0.1

// Config says how training views are made. Config{Size: n} changes nothing but the size.
type Config struct {
	Size        int     `yaml:"size"`        // side of the square output, px
	Flip        float64 `yaml:"flip"`        // probability of a horizontal flip
	ScaleMin    float64 `yaml:"scale_min"`   // scale jitter, drawn uniformly; 1 fits the longer side into Size. 0: 1
	ScaleMax    float64 `yaml:"scale_max"`   // 0: 1
	Photometric float64 `yaml:"photometric"` // strength of SimCLRColors; 0: none
}

// DefaultConfig returns mild jitter at 64 px. The flip is the field's; the scale range is the
// standard jitter .8–1.25 and the photometric strength is ours (method.md publishes neither).
// Large-scale jitter (Ghiasi et al. 2021) is ScaleMin .1, ScaleMax 2.
func DefaultConfig() Config {
	return Config{Size: 64, Flip: 0.5, ScaleMin: 0.8, ScaleMax: 1.25, Photometric: 0.25}
}

// Validate reports the first field that cannot be used.
func (c Config) Validate() error {
	lo, hi := c.scales()
	switch {
	case c.Size < 1 || c.Size > 1<<14:
		return fmt.Errorf("augment: size is %d, want 1 to %d pixels", c.Size, 1<<14)
	case !(c.Flip >= 0 && c.Flip <= 1):
		return fmt.Errorf("augment: flip is %v, want a probability", c.Flip)
	case !(lo > 0 && lo <= hi && hi <= 16):
		return fmt.Errorf("augment: scales are %v to %v, want 0 < scale_min ≤ scale_max ≤ 16", lo, hi)
	case !(c.Photometric >= 0 && c.Photometric <= 1):
		return fmt.Errorf("augment: photometric is %v, want 0 to 1", c.Photometric)
	}
	return nil
}

func (c Config) scales() (lo, hi float64) {
	lo, hi = c.ScaleMin, c.ScaleMax
	if lo == 0 {
		lo = 1
	}
	if hi == 0 {
		hi = 1
	}
	return lo, hi
}

// Train returns a random Size×Size view of s: scaled, placed at random (cropped where larger than
// Size, padded with Fill where smaller), flipped, its colours changed; its labels move with it, each as
// its task says. The image is resampled bilinearly, antialiased when it shrinks.
//
// It takes the same number of draws from rng for every sample and Config. s is not changed; the
// result may share labels with it.
func (c Config) Train(s *data.Sample, rng *rand.Rand) *data.Sample {
	flip := rng.Float64() < c.Flip
	uScale, uX, uY := rng.Float64(), rng.Float64(), rng.Float64()
	jitter := SimCLRColors(c.Photometric).draw(rng)

	lo, hi := c.scales()
	size := s.Image.Bounds().Size()
	w, h := fit(size.X, size.Y, float64(c.Size)*(lo+(hi-lo)*uScale))
	p := data.Placement{
		X:       data.Axis{N: size.X, Scaled: w, Offset: place(c.Size, w, uX), Canvas: c.Size, Flip: flip},
		Y:       data.Axis{N: size.Y, Scaled: h, Offset: place(c.Size, h, uY), Canvas: c.Size},
		Zoom:    float64(max(w, h)) / float64(c.Size),
		Visible: minVisible,
	}
	out := move(s, p)
	jitter.apply(out.Image, p.Content())
	return out
}

// Eval returns s letterboxed, without randomness: the longer side scaled to Size, the image in the
// top left corner, padding as in Train below or right of it. No object is dropped. The frame leads
// back to the original.
func (c Config) Eval(s *data.Sample) (*data.Sample, data.Frame) {
	size := s.Image.Bounds().Size()
	w, h := fit(size.X, size.Y, float64(c.Size))
	w, h = min(w, c.Size), min(h, c.Size)
	p := data.Placement{
		X: data.Axis{N: size.X, Scaled: w, Canvas: c.Size},
		Y: data.Axis{N: size.Y, Scaled: h, Canvas: c.Size},
	}
	return move(s, p), data.Frame{Size: c.Size, W: w, H: h, SourceW: size.X, SourceH: size.Y}
}

// Flip mirrors the image and all labels left to right.
func Flip(s *data.Sample) *data.Sample {
	size := s.Image.Bounds().Size()
	return move(s, data.Placement{
		X: data.Axis{N: size.X, Scaled: size.X, Canvas: size.X, Flip: true},
		Y: data.Axis{N: size.Y, Scaled: size.Y, Canvas: size.Y},
	})
}

// move returns the image and its labels moved onto the canvas.
func move(s *data.Sample, p data.Placement) *data.Sample {
	return &data.Sample{Key: s.Key, Image: resample(s.Image, p), Known: p.Move(s.Known)}
}

// fit returns the size of a w×h image whose longer side is scaled to long, at least 1 px each.
func fit(w, h int, long float64) (int, int) {
	k := long / float64(max(w, h))
	return max(1, int(math.Round(float64(w)*k))), max(1, int(math.Round(float64(h)*k)))
}

// place returns an offset on the canvas, uniform over those that waste neither canvas nor image.
func place(canvas, scaled int, u float64) int {
	slack := canvas - scaled
	if slack < 0 {
		return -int(u * float64(1-slack))
	}
	return int(u * float64(1+slack))
}
