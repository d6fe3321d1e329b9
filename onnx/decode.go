package onnx

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"must/data"
	"must/onnx/ort"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// A frame is the size of the input.
type frame struct{ w, h int }

// decode turns the outputs for a batch, in the plan's order, into predictions; rows of outputs beyond
// the predictions are padding.
func (t *Teacher) decode(out []ort.Tensor, f frame, preds []*data.Sample) error {
	wrong := func(i int, err error) error {
		return fmt.Errorf("outputs: %s gave %v: %w", t.plan.outputs[i], out[i].Shape, err)
	}
	if t.reader != nil {
		labels, err := t.reader.Read(out[0].Shape, out[0].Values, len(preds))
		if err != nil {
			return wrong(0, err)
		}
		for i, l := range labels {
			preds[i].Put(l)
		}
		return nil
	}
	switch t.d.Task {
	case classification.Name:
		if err := t.classes(out[0], preds); err != nil {
			return wrong(0, err)
		}
	case segmentation.Name:
		if err := t.segments(out[0], f, preds); err != nil {
			return wrong(0, err)
		}
	case depth.Name:
		if err := t.depth(out[0], preds); err != nil {
			return wrong(0, err)
		}
	case normals.Name:
		if err := t.normals(out[0], preds); err != nil {
			return wrong(0, err)
		}
	case detection.Name:
		found, at, err := t.candidates(out, f, len(preds))
		if err != nil {
			return wrong(at, err)
		}
		for i, p := range preds {
			t.objects(found[i], f, p)
		}
	}
	return nil
}

// squeeze leaves out dimensions of 1, but the first.
func squeeze(shape []int64) []int {
	var out []int
	for i, n := range shape {
		if i == 0 || n != 1 {
			out = append(out, int(n))
		}
	}
	return out
}

// classes reads [N, C], distributions over the classes after the offset.
func (t *Teacher) classes(o ort.Tensor, preds []*data.Sample) error {
	n := len(t.d.Classes.List) + t.d.Offset
	shape := squeeze(o.Shape)
	if t.plan.single && len(shape) == 1 {
		shape = []int{1, shape[0]}
	}
	if n == 1 && len(shape) == 1 {
		shape = append(shape, 1)
	}
	if len(shape) != 2 || shape[0] < len(preds) || shape[1] != n {
		return fmt.Errorf("want [%d, %d], a value for each of %d classes after %d others: check classes and labels_offset", len(preds), n, n-t.d.Offset, t.d.Offset)
	}
	for i, p := range preds {
		v := slices.Clone(o.Values[i*n:][:n])
		if t.d.Values != probabilities {
			softmax(v)
		}
		classification.Set(p, t.distribution(v[t.d.Offset:]))
	}
	return nil
}

// distribution brings probabilities of the model's classes to the space's and to a sum of 1. It is
// nil, unknown, where they are no numbers or where most of them is on classes that the space lacks.
func (t *Teacher) distribution(p []float32) []float32 {
	var total, sum float32
	for _, v := range p {
		if !finite(v) || v < 0 {
			return nil
		}
		total += v
	}
	to := p
	if m := t.mapping; m != nil {
		to = make([]float32, len(m.To))
		for i, v := range p {
			if m.At[i] >= 0 {
				to[m.At[i]] += v
			}
		}
	}
	for _, v := range to {
		sum += v
	}
	if !(sum > 0 && sum >= total/2) {
		return nil
	}
	for i := range to {
		to[i] /= sum
	}
	return to
}

func softmax(v []float32) {
	top := slices.Max(v)
	var sum float64
	for i, x := range v {
		e := math.Exp(float64(x - top))
		v[i] = float32(e)
		sum += e
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / sum)
	}
}

// planes reads maps of c channels: [N, c, h, w] or [N, h, w, c], for one channel also [N, h, w], all
// without N where the model has none.
func (t *Teacher) planes(o ort.Tensor, c, n int) (first [][]float32, h, w int, err error) {
	shape := o.Shape
	if t.plan.single && len(shape) < 4 {
		shape = append([]int64{1}, shape...)
	}
	last := false
	switch {
	case len(shape) == 3 && c == 1:
		h, w = int(shape[1]), int(shape[2])
	case len(shape) == 4 && int(shape[1]) == c:
		h, w = int(shape[2]), int(shape[3])
	case len(shape) == 4 && int(shape[3]) == c:
		h, w, last = int(shape[1]), int(shape[2]), true
	default:
		return nil, 0, 0, fmt.Errorf("want [%d, %d, height, width], or the channels last", n, c)
	}
	if int(shape[0]) < n || h < 1 || w < 1 {
		return nil, 0, 0, fmt.Errorf("want a map of every one of %d images", n)
	}
	size := c * h * w
	for i := range n {
		v := o.Values[i*size:][:size]
		if last && c > 1 {
			planar := make([]float32, size)
			for k := range h * w {
				for j := range c {
					planar[j*h*w+k] = v[k*c+j]
				}
			}
			v = planar
		}
		first = append(first, v)
	}
	return first, h, w, nil
}

// depth reads [N, 1, h, w] or [N, h, w]. What is no depth is invalid.
func (t *Teacher) depth(o ort.Tensor, preds []*data.Sample) error {
	maps, h, w, err := t.planes(o, 1, len(preds))
	if err != nil {
		return err
	}
	nan := float32(math.NaN())
	for i, p := range preds {
		depth.Set(p, data.NewGrid[float32](w, h))
		for k, v := range maps[i] {
			v *= float32(t.d.Scale)
			if !finite(v) || t.d.Units == data.Metric && v <= 0 {
				v = nan
			}
			depth.Of(p).Pix[k] = v
		}
	}
	return nil
}

// normals reads [N, 3, h, w] or [N, h, w, 3].
func (t *Teacher) normals(o ort.Tensor, preds []*data.Sample) error {
	maps, h, w, err := t.planes(o, 3, len(preds))
	if err != nil {
		return err
	}
	for i, p := range preds {
		normals.Set(p, data.NewGrid[[3]float32](w, h))
		for k := range normals.Of(p).Pix {
			var v [3]float64
			for c := range v {
				if v[c] = float64(maps[i][c*h*w+k]); t.d.Values == colours {
					v[c] = 2*v[c] - 1
				}
				v[c] *= t.d.Signs[c]
			}
			l := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
			if l > 1e-6 && !math.IsInf(l, 0) {
				normals.Of(p).Pix[k] = [3]float32{float32(v[0] / l), float32(v[1] / l), float32(v[2] / l)}
			}
		}
	}
	return nil
}

// segments reads scores of classes [N, C, h, w], of the second of two classes [N, 1, h, w], or class
// indices [N, h, w].
func (t *Teacher) segments(o ort.Tensor, f frame, preds []*data.Sample) error {
	values, n := t.d.Values, len(t.d.Classes.List)
	if values == "" {
		if values = logits; t.plan.integer {
			values = classIndices
		}
	}
	to := make([]uint8, n+t.d.Offset) // of a channel, the class in the recipe's terms
	for c := range to {
		to[c] = data.Ignore
		if at := c - t.d.Offset; at >= 0 {
			if t.mapping != nil {
				at = t.mapping.At[at]
			}
			if at >= 0 {
				to[c] = uint8(at)
			}
		}
	}
	if values == classIndices {
		maps, h, w, err := t.planes(o, 1, len(preds))
		if err != nil {
			return fmt.Errorf("%w; values is %s", err, values)
		}
		for i, p := range preds {
			segmentation.Set(p, data.NewGrid[uint8](w, h))
			segmentation.SetConfidence(p, data.NewGrid[float32](w, h))
			for k, v := range maps[i] {
				segmentation.Of(p).Pix[k] = data.Ignore
				if v >= 0 && v < float32(len(to)) {
					segmentation.Of(p).Pix[k] = to[int(v)]
				}
				if segmentation.Of(p).Pix[k] != data.Ignore {
					segmentation.Confidence(p).Pix[k] = 1
				}
			}
		}
		return nil
	}
	channels := len(to)
	maps, h, w, err := t.planes(o, channels, len(preds))
	binary := false
	if err != nil && channels == 2 {
		maps, h, w, err = t.planes(o, 1, len(preds))
		binary = err == nil
	}
	if err != nil {
		return fmt.Errorf("%w, with a channel for each of %d classes after %d others: check classes, labels_offset and values", err, n, t.d.Offset)
	}
	for i, p := range preds {
		scores, c := maps[i], channels
		if binary {
			c = 1
		}
		ph, pw := h, w
		if h < f.h || w < f.w { // as the field does, scores are resized and not classes
			scores, ph, pw = resize(scores, c, h, w, f.h, f.w), f.h, f.w
		}
		if binary {
			scores = twoClasses(scores, values)
		}
		segmentation.Set(p, data.NewGrid[uint8](pw, ph))
		segmentation.SetConfidence(p, data.NewGrid[float32](pw, ph))
		classify(scores, channels, values == logits && !binary, to, p)
	}
	return nil
}

// twoClasses makes the probabilities of two classes of the scores of the second.
func twoClasses(scores []float32, values string) []float32 {
	out := make([]float32, 2*len(scores))
	for k, v := range scores {
		if values == logits {
			v = sigmoid(v)
		}
		out[k], out[len(scores)+k] = 1-v, v
	}
	return out
}

// classify chooses the best of [channels, h, w] at each pixel. Its confidence is the share of all
// channels that mean the same class.
func classify(scores []float32, channels int, exponentiate bool, to []uint8, p *data.Sample) {
	n := len(segmentation.Of(p).Pix)
	parallel(n, func(from, until int) {
		v := make([]float32, channels)
		for k := from; k < until; k++ {
			best := 0
			for c := range v {
				if v[c] = scores[c*n+k]; v[c] > v[best] {
					best = c
				}
			}
			var same, all float64
			for c, x := range v {
				e := float64(x)
				if exponentiate {
					e = math.Exp(float64(x - v[best]))
				}
				if all += e; to[c] == to[best] {
					same += e
				}
			}
			segmentation.Of(p).Pix[k] = data.Ignore
			if share := float32(same / all); share >= 0 && to[best] != data.Ignore { // not for NaN
				segmentation.Of(p).Pix[k], segmentation.Confidence(p).Pix[k] = to[best], min(share, 1)
			}
		}
	})
}

// parallel runs f over parts of [0, n).
func parallel(n int, f func(from, until int)) {
	parts := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { f(i*n/parts, (i+1)*n/parts) })
	}
	wg.Wait()
}

func sigmoid(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }

// resize resizes [c, h, w] bilinearly as torch's interpolate does with align_corners false.
func resize(v []float32, c, h, w, toH, toW int) []float32 {
	type tap struct {
		lo, hi int
		t      float32
	}
	taps := func(n, to int) []tap {
		out := make([]tap, to)
		for i := range out {
			at := max(0, (float64(i)+0.5)*float64(n)/float64(to)-0.5)
			lo := min(int(at), n-1)
			out[i] = tap{lo, min(lo+1, n-1), float32(at - float64(lo))}
		}
		return out
	}
	xs, ys := taps(w, toW), taps(h, toH)
	out := make([]float32, c*toH*toW)
	parallel(c*toH, func(from, until int) {
		for row := from; row < until; row++ {
			y := ys[row%toH]
			plane := v[row/toH*h*w:][:h*w]
			a, b := plane[y.lo*w:][:w], plane[y.hi*w:][:w]
			to := out[row*toW:][:toW]
			for x, t := range xs {
				upper := a[t.lo]*(1-t.t) + a[t.hi]*t.t
				lower := b[t.lo]*(1-t.t) + b[t.hi]*t.t
				to[x] = upper*(1-y.t) + lower*y.t
			}
		}
	})
	return out
}
