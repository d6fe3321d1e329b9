package detect

import (
	"math"
	"math/rand/v2"
	"sort"

	"must/data"
)

// RoIs holds the settings of the second stage that are not in its layers.
type RoIs struct {
	Matcher Matcher
	Sampler Sampler
	Score   float32 // detections need a greater probability
	NMS     float64 // IoU above which the worse of two detections of a class goes
	Keep    int     // detections per image
}

// DefaultRoIs returns torchvision's settings.
func DefaultRoIs() RoIs { return RoIs{RoIMatcher, RoISampler, 0.05, 0.5, 100} }

// RoITargets is the part of a batch's proposals that the second stage learns from: the positives
// of all images come first, then the negatives of all images, each by image. Losses as
// torchvision's: cross entropy over Class, mean; the sum of smooth L1 (beta 1/9) over the
// positives, at the four outputs of their class, divided by len(Box); mask loss over the positives.
type RoITargets struct {
	Box      []Box   // [R, 4]
	Image    []int   // of each RoI, its image in the batch
	Class    []int64 // of each RoI, 1 … classes; 0: background
	Positive int     // the first so many are positive
	Delta    []Delta // of each positive, in the terms of RoICoder, [Positive, 4]
	Object   []int   // of each positive, its index in its sample's objects
}

// Targets adds the true boxes to the proposals of every image that has a truth, matches and
// samples them (torchvision select_training_samples), each image by randomness of its own. Images without
// truth get no RoI.
func (r RoIs) Targets(proposals [][]Box, truths []*Truth, rng func(image int) *rand.Rand) *RoITargets {
	type drawn struct {
		boxes              []Box
		match              []int32
		positive, negative []int32
	}
	all := make([]drawn, len(truths))
	Each(len(truths), func(image int) {
		truth := truths[image]
		if truth == nil {
			return
		}
		d := &all[image]
		d.boxes = append(append([]Box(nil), proposals[image]...), truth.Boxes...)
		d.match = r.Matcher.Match(d.boxes, truth)
		d.positive, d.negative = r.Sampler.Sample(d.match, rng(image))
	})
	t := &RoITargets{}
	var background RoITargets
	for image, d := range all {
		truth := truths[image]
		for _, i := range d.positive {
			object := d.match[i]
			t.Box = append(t.Box, d.boxes[i])
			t.Image = append(t.Image, image)
			t.Class = append(t.Class, truth.Class[object])
			t.Delta = append(t.Delta, RoICoder.Encode(truth.Boxes[object], d.boxes[i]))
			t.Object = append(t.Object, truth.Object[object])
		}
		for _, i := range d.negative {
			background.Box = append(background.Box, d.boxes[i])
			background.Image = append(background.Image, image)
		}
	}
	t.Positive = len(t.Box)
	t.Box = append(t.Box, background.Box...)
	t.Image = append(t.Image, background.Image...)
	t.Class = append(t.Class, make([]int64, len(background.Box))...)
	return t
}

// MinDetection is the shortest side in px that a detection may have.
const MinDetection = 1e-2

// Detections turns the outputs for the RoIs of one w×h image into objects, best first
// (torchvision postprocess_detections). classes counts the foreground ones;
// probs is [R, classes+1] with the background first, deltas [R, classes+1, 4].
func (r RoIs) Detections(rois []Box, probs, deltas []float32, classes, w, h int) []data.Object {
	var boxes []Box
	var scores []float32
	var class []int32
	all := quads[Delta](deltas)
	for i, roi := range rois {
		for c := 1; c <= classes; c++ {
			p := probs[i*(classes+1)+c]
			if !(p > r.Score) {
				continue
			}
			b := RoICoder.Decode(all[i*(classes+1)+c], roi).Clip(w, h)
			if b.Large(MinDetection) {
				boxes, scores, class = append(boxes, b), append(scores, p), append(class, int32(c-1))
			}
		}
	}
	objects := []data.Object{}
	for _, i := range NMS(boxes, scores, class, r.NMS, r.Keep) {
		objects = append(objects, data.Object{Box: boxes[i].Data(), Class: int(class[i]), Score: scores[i]})
	}
	return objects
}

// A LevelMap chooses the pyramid level that a RoI is read from by its size
// (Lin et al. 2017, "Feature Pyramid Networks", eq. 1; torchvision LevelMapper).
type LevelMap struct {
	Min, Max  int     // first and last level; level k has stride 2^k
	Canonical float32 // a square RoI of this side in px …
	Level     int     // … belongs to this level
}

// DefaultLevelMap returns torchvision's rule for P3–P7.
func DefaultLevelMap() LevelMap { return LevelMap{3, 7, 224, 4} }

// Areas returns, for every level after Min, the least area in px² of the boxes that belong to it or to
// one after it: what Index decides, without a logarithm.
func (m LevelMap) Areas() []float32 {
	areas := make([]float32, m.Max-m.Min)
	for i := range areas {
		// The bits of positive floats are in their order.
		bits := sort.Search(math.MaxInt32, func(bits int) bool {
			v := math.Float32frombits(uint32(bits))
			return v != v || m.Index(Box{0, 0, 1, v}) > i
		})
		areas[i] = math.Float32frombits(uint32(bits))
	}
	return areas
}

// Index returns the level of b, counted from 0 for Min.
func (m LevelMap) Index(b Box) int {
	side := float32(math.Sqrt(float64(b.Area())))
	k := float32(m.Level) + float32(math.Log2(float64(side/m.Canonical))) + 1e-6
	switch {
	case k >= float32(m.Max):
		return m.Max - m.Min
	case k >= float32(m.Min):
		return int(math.Floor(float64(k))) - m.Min
	}
	return 0 // NaN too
}
