package detect

import "math/rand/v2"

// RPN holds the settings of the region proposal network that are not in its layers.
type RPN struct {
	Matcher Matcher
	Sampler Sampler
	NMS     float64 // IoU above which the worse of two proposals of a level goes
	Keep    int     // proposals per image after NMS
}

// DefaultRPN returns torchvision's settings; Keep is 2000 in training and 1000 in inference there.
func DefaultRPN() RPN { return RPN{RPNMatcher, RPNSampler, 0.7, 1000} }

// RPNTargets is what the RPN of a batch learns from. Losses as torchvision's: objectness is the
// mean binary cross entropy over Index; the box loss is the sum of smooth L1 (beta 1/9) over the
// positives divided by len(Index).
type RPNTargets struct {
	Index    []int64   // sampled anchors, image·len(anchors) + anchor; the positives come first
	Label    []float32 // of each, 1: object, 0: background
	Positive int       // the first so many of Index are positive
	Delta    []Delta   // of each positive, [Positive, 4]
}

// Targets matches and samples the anchors of every image that has a truth, each by randomness of its own, so
// that what is drawn does not depend on the rest of the batch. It needs labels only, so it can run before and
// beside the network.
func (r RPN) Targets(anchors []Box, truths []*Truth, rng func(image int) *rand.Rand) *RPNTargets {
	t := &RPNTargets{}
	var background []int64
	for image, truth := range truths {
		if truth == nil {
			continue
		}
		first := int64(image * len(anchors))
		match := r.Matcher.Match(anchors, truth)
		positive, negative := r.Sampler.Sample(match, rng(image))
		for _, a := range positive {
			t.Index = append(t.Index, first+int64(a))
			t.Delta = append(t.Delta, RPNCoder.Encode(truth.Boxes[match[a]], anchors[a]))
		}
		for _, a := range negative {
			background = append(background, first+int64(a))
		}
	}
	t.Positive = len(t.Index)
	t.Index = append(t.Index, background...)
	t.Label = make([]float32, len(t.Index))
	for i := range t.Positive {
		t.Label[i] = 1
	}
	return t
}

// MinProposal is the shortest side in px that a proposal may have.
const MinProposal = 1e-3

// Proposals turns the decoded boxes of one w×h image into its proposals, best first
// (torchvision filter_proposals). boxes and scores hold the best anchors of each level, level
// after level, levels[i] of level i; scores may be probabilities or logits.
func (r RPN) Proposals(boxes []Box, scores []float32, levels []int, w, h int) []Box {
	kept := make([]Box, 0, len(boxes))
	keptScores := make([]float32, 0, len(boxes))
	group := make([]int32, 0, len(boxes))
	i := 0
	for level, n := range levels {
		for range n {
			if b := boxes[i].Clip(w, h); b.Large(MinProposal) && scores[i] == scores[i] {
				kept, keptScores, group = append(kept, b), append(keptScores, scores[i]), append(group, int32(level))
			}
			i++
		}
	}
	order := NMS(kept, keptScores, group, r.NMS, r.Keep)
	proposals := make([]Box, len(order))
	for i, k := range order {
		proposals[i] = kept[k]
	}
	return proposals
}
