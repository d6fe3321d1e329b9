package detect

import (
	"math/rand/v2"
	"slices"

	"must/data"
)

// Truth is what an image's labels say to a detector. A nil *Truth means that nothing is known of
// the image's objects: it then takes part in no loss.
type Truth struct {
	Boxes  []Box
	Class  []int64 // of each box, 1 … classes; 0 is the background
	Object []int   // of each box, its index in the sample's objects
	Crowd  []Box   // regions in which finding something is neither right nor wrong
	// Partial says that there may be objects of classes that the labels do not tell of. Then nothing
	// is background: of such an image only the positives are learned from.
	Partial bool
}

// NewTruth reads the objects of a w×h image; nil objects give nil. Boxes are clipped to the image;
// those of which less than 1/100 px is left on a side, and those with NaN, are left out.
func NewTruth(objects []data.Object, w, h int) *Truth {
	if objects == nil {
		return nil
	}
	t := &Truth{}
	for i, o := range objects {
		b := BoxOf(o.Box).Clip(w, h)
		switch {
		case !b.Large(minObject):
		case o.Crowd:
			t.Crowd = append(t.Crowd, b)
		default:
			t.Boxes = append(t.Boxes, b)
			t.Class = append(t.Class, int64(o.Class)+1)
			t.Object = append(t.Object, i)
		}
	}
	return t
}

// What a Matcher says of a box that belongs to no object.
const (
	Background = -1 // below the low threshold
	Unsure     = -2 // between the thresholds, in a crowd, or of a partial truth: neither positive nor negative
)

// A Matcher assigns boxes to objects by IoU (torchvision Matcher): from High on they belong
// together, below Low the box is background. Both are positive.
type Matcher struct {
	High, Low float32
	// Rescue gives every object the boxes that overlap it most, ties included, however little
	// that is; such a box is assigned to its own best object, which may be another one.
	Rescue bool
}

// The matchers of the two stages.
var (
	RPNMatcher = Matcher{High: 0.7, Low: 0.3, Rescue: true}
	RoIMatcher = Matcher{High: 0.5, Low: 0.5}
)

// minObject is the shortest side in px of an object worth learning.
const minObject = 0.01

// crowdOverlap is the part of a background box that, inside a crowd, makes it Unsure.
const crowdOverlap = 0.5

// Match returns for each box the index of its object in t.Boxes, Background or Unsure. The first
// of equally good objects wins.
//
// Two things differ from torchvision: crowds (it trains on them as objects, or drops them), and
// an object that overlaps no box at all rescues none (there it would make all of them positive).
func (m Matcher) Match(boxes []Box, t *Truth) []int32 {
	best := make([]int32, len(boxes))
	quality := make([]float32, len(boxes))
	areas := make([]float32, len(boxes))
	for i, b := range boxes {
		areas[i] = b.Area()
	}
	var rescued, ties []int32
	for g := range t.Boxes {
		object := &t.Boxes[g]
		area := object.Area()
		var most float32
		ties = ties[:0]
		for i := range boxes {
			inter := intersection(object, &boxes[i])
			if inter == 0 {
				continue
			}
			iou := inter / (area + areas[i] - inter)
			if iou > quality[i] {
				quality[i], best[i] = iou, int32(g)
			}
			if iou > most {
				most, ties = iou, ties[:0]
			}
			if iou == most {
				ties = append(ties, int32(i))
			}
		}
		if m.Rescue {
			rescued = append(rescued, ties...)
		}
	}

	match := make([]int32, len(boxes))
	for i, q := range quality {
		switch {
		case q >= m.High:
			match[i] = best[i]
		case q >= m.Low || t.Partial:
			match[i] = Unsure
		default:
			match[i] = Background
		}
	}
	for _, i := range rescued {
		match[i] = best[i]
	}
	for c := range t.Crowd {
		area := t.Crowd[c].Area()
		for i := range boxes {
			if match[i] != Background {
				continue
			}
			// Inside of it, or as near to it as would be unsure of an object.
			if inter := intersection(&t.Crowd[c], &boxes[i]); inter >= crowdOverlap*areas[i] && inter > 0 || inter >= m.Low*(area+areas[i]-inter) && inter > 0 {
				match[i] = Unsure
			}
		}
	}
	return match
}

// A Sampler picks the boxes of an image that a loss is computed on (torchvision
// BalancedPositiveNegativeSampler): at most PerImage, at most that fraction of them positive,
// filled up with negatives.
type Sampler struct {
	PerImage int
	Positive float64
}

// The samplers of the two stages.
var (
	RPNSampler = Sampler{PerImage: 256, Positive: 0.5}
	RoISampler = Sampler{PerImage: 512, Positive: 0.25}
)

// Sample draws from the result of [Matcher.Match] and returns ascending indices.
func (s Sampler) Sample(match []int32, rng *rand.Rand) (positive, negative []int32) {
	for i, m := range match {
		switch {
		case m >= 0:
			positive = append(positive, int32(i))
		case m == Background:
			negative = append(negative, int32(i))
		}
	}
	positive = choose(positive, int(float64(s.PerImage)*s.Positive), rng)
	return positive, choose(negative, s.PerImage-len(positive), rng)
}

// choose keeps n of the indices, all equally likely, in ascending order.
func choose(from []int32, n int, rng *rand.Rand) []int32 {
	if len(from) <= n {
		return from
	}
	for i := range n {
		j := i + rng.IntN(len(from)-i)
		from[i], from[j] = from[j], from[i]
	}
	slices.Sort(from[:n])
	return from[:n]
}
