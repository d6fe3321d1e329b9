package onnx

import (
	"cmp"
	"fmt"
	stdimage "image"
	"math"
	"slices"

	"must/data"
	"must/detect"
	"must/onnx/ort"
	"must/task/detection"
)

// A candidate is an object that an output tells of.
type candidate struct {
	box   detect.Box // pixels of the input
	score float32
	class int       // of the model
	mask  []float32 // probabilities; nil: none
	maskW int       // its width
}

// candidates reads the outputs of each of n images; where it fails, at is the output that is wrong.
func (t *Teacher) candidates(out []ort.Tensor, f frame, n int) (found [][]candidate, at int, err error) {
	found = make([][]candidate, n)
	switch t.d.Layout {
	case yolo:
		return found, 0, t.yolo(out[0], f, found)
	case rows:
		return found, 0, t.rows(out[0], f, found)
	case detr:
		return t.detr(out, f, found)
	}
	return t.torchvision(out, f, found)
}

// keep adds a candidate, unless its score is too low or it is none.
func (t *Teacher) keep(found *[]candidate, c candidate) {
	if !(float64(c.score) >= *t.d.Score) || c.class < 0 || c.class >= len(t.d.Classes.List) {
		return
	}
	for _, v := range c.box {
		if !finite(v) {
			return
		}
	}
	*found = append(*found, c)
}

// box turns four numbers of an output into a box.
func (t *Teacher) box(a, b, c, d float32, f frame) detect.Box {
	switch t.d.Boxes {
	case "yxyx":
		a, b, c, d = b, a, d, c
	case "xywh":
		c, d = a+c, b+d
	case "cxcywh":
		a, b, c, d = a-c/2, b-d/2, a+c/2, b+d/2
	}
	if *t.d.Relative {
		w, h := float32(f.w), float32(f.h)
		a, b, c, d = a*w, b*h, c*w, d*h
	}
	return detect.Box{a, b, c, d}
}

// yolo reads [N, 4+C, A] or [N, A, 4+C], C scores in 0 to 1, perhaps with an objectness before them
// that multiplies them. The best class of each row counts.
func (t *Teacher) yolo(o ort.Tensor, f frame, found [][]candidate) error {
	classes := len(t.d.Classes.List) + t.d.Offset
	if len(o.Shape) != 3 || int(o.Shape[0]) < len(found) {
		return fmt.Errorf("want [%d, %d, boxes] or [%[1]d, boxes, %[2]d]", len(found), 4+classes)
	}
	columns, boxes := int(o.Shape[1]), int(o.Shape[2])
	column, row := boxes, 1 // strides
	fits := func(n int) bool { return n == 4+classes || n == 5+classes }
	if !fits(columns) {
		columns, boxes = boxes, columns
		column, row = 1, columns
	}
	if !fits(columns) {
		return fmt.Errorf("want %d values a box (4 and one for each of %d classes), or one more for objectness: check classes; outputs with masks or points have no declaration", 4+classes, classes)
	}
	first := columns - classes
	for i := range found {
		v := o.Values[i*columns*boxes:][:columns*boxes]
		for k := range boxes {
			at := func(c int) float32 { return v[c*column+k*row] }
			best := first
			for c := first; c < columns; c++ {
				if at(c) > at(best) {
					best = c
				}
			}
			c := candidate{score: at(best), class: best - first - t.d.Offset}
			if first == 5 {
				c.score *= at(4)
			}
			c.box = t.box(at(0), at(1), at(2), at(3), f)
			t.keep(&found[i], c)
		}
	}
	return nil
}

// rows reads [N, n, 6]: box, score, label.
func (t *Teacher) rows(o ort.Tensor, f frame, found [][]candidate) error {
	shape := o.Shape
	if len(shape) == 2 && len(found) == 1 {
		shape = append([]int64{1}, shape...)
	}
	if len(shape) != 3 || int(shape[0]) < len(found) || shape[2] != 6 {
		return fmt.Errorf("want [%d, boxes, 6]: box, score, label", len(found))
	}
	n := int(shape[1])
	for i := range found {
		for k := range n {
			v := o.Values[(i*n+k)*6:][:6]
			t.keep(&found[i], candidate{box: t.box(v[0], v[1], v[2], v[3], f), score: v[4], class: t.label(v[5])})
		}
	}
	return nil
}

// label turns a number of an output into a class; -1 where it is none.
func (t *Teacher) label(v float32) int {
	if !(v >= 0 && v < 1<<20) {
		return -1
	}
	return int(v) - t.d.Offset
}

// detr reads scores [N, n, C] and boxes [N, n, 4]. Logits are made probabilities by softmax where
// there are more of them than classes, the others standing for "none of them", else by sigmoid.
func (t *Teacher) detr(out []ort.Tensor, f frame, found [][]candidate) ([][]candidate, int, error) {
	classes := len(t.d.Classes.List)
	s, b := out[0].Shape, out[1].Shape
	if len(s) != 3 || int(s[0]) < len(found) || int(s[2]) < classes+t.d.Offset {
		return nil, 0, fmt.Errorf("want [%d, boxes, %d or more]: a score for each of %d classes after %d others: check classes and labels_offset", len(found), classes+t.d.Offset, classes, t.d.Offset)
	}
	n, columns := int(s[1]), int(s[2])
	if len(b) != 3 || int(b[0]) < len(found) || int(b[1]) != n || b[2] != 4 {
		return nil, 1, fmt.Errorf("want [%d, %d, 4], a box for each row of scores", len(found), n)
	}
	for i := range found {
		for k := range n {
			v := slices.Clone(out[0].Values[(i*n+k)*columns:][:columns])
			switch {
			case t.d.Values == probabilities:
			case columns > classes:
				softmax(v)
			default:
				for c := range v {
					v[c] = sigmoid(v[c])
				}
			}
			best := t.d.Offset
			for c := best; c < t.d.Offset+classes; c++ {
				if v[c] > v[best] {
					best = c
				}
			}
			q := out[1].Values[(i*n+k)*4:][:4]
			t.keep(&found[i], candidate{box: t.box(q[0], q[1], q[2], q[3], f), score: v[best], class: best - t.d.Offset})
		}
	}
	return found, 0, nil
}

// torchvision reads boxes [n, 4], labels [n], scores [n] and perhaps masks [n, 1, H, W] of one image,
// or all of them with a first dimension for the images.
func (t *Teacher) torchvision(out []ort.Tensor, f frame, found [][]candidate) ([][]candidate, int, error) {
	boxes := out[0].Shape
	if len(boxes) == 2 {
		boxes = append([]int64{1}, boxes...)
	}
	if len(boxes) != 3 || int(boxes[0]) < len(found) || boxes[2] != 4 {
		return nil, 0, fmt.Errorf("want [%d, boxes, 4]; a model that does one image at a time needs batch: 1", len(found))
	}
	n := int(boxes[1])
	for i, o := range out[1:3] {
		if len(o.Values) < len(found)*n {
			return nil, i + 1, fmt.Errorf("want one value for each of %d boxes", n)
		}
	}
	var side stdimage.Point // of the masks
	if len(out) > 3 {
		s := out[3].Shape
		if len(s) < 2 {
			return nil, 3, fmt.Errorf("want a mask for each of %d boxes", n)
		}
		side = stdimage.Pt(int(s[len(s)-1]), int(s[len(s)-2]))
		if len(out[3].Values) < len(found)*n*side.X*side.Y {
			return nil, 3, fmt.Errorf("want a mask for each of %d boxes", n)
		}
		if side != stdimage.Pt(f.w, f.h) && side.X != side.Y {
			return nil, 3, fmt.Errorf("want masks of the image's size, %d×%d, or square ones that fill their boxes", f.h, f.w)
		}
	}
	for i := range found {
		for k := range n {
			at := i*n + k
			v := out[0].Values[at*4:][:4]
			c := candidate{box: t.box(v[0], v[1], v[2], v[3], f), score: out[2].Values[at], class: t.label(out[1].Values[at])}
			if area := side.X * side.Y; area > 0 {
				c.mask, c.maskW = out[3].Values[at*area:][:area], side.X
			}
			t.keep(&found[i], c)
		}
	}
	return found, 0, nil
}

// objects makes the detections of an image: the best, those that overlap suppressed where the
// declaration says so, in the recipe's classes.
func (t *Teacher) objects(found []candidate, f frame, p *data.Sample) {
	detection.Set(p, []data.Object{})
	if t.mapping != nil {
		detection.SetUnknown(p, t.mapping.Unknown())
	}
	var boxes []detect.Box
	var scores []float32
	var classes []int32
	kept := found[:0]
	for _, c := range found {
		if c.box = c.box.Clip(f.w, f.h); !(c.box[2] > c.box[0] && c.box[3] > c.box[1]) {
			continue
		}
		kept = append(kept, c)
		boxes, scores, classes = append(boxes, c.box), append(scores, c.score), append(classes, int32(c.class))
	}
	var order []int32
	if *t.d.NMS > 0 && len(kept) > 0 {
		order = detect.NMS(boxes, scores, classes, *t.d.NMS, math.MaxInt)
	} else {
		for i := range kept {
			order = append(order, int32(i))
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(scores[b], scores[a]) })
	}
	for _, i := range order {
		c := kept[i]
		if t.mapping != nil {
			if c.class = t.mapping.At[c.class]; c.class < 0 {
				continue
			}
		}
		if len(detection.Of(p)) == t.d.Most {
			break
		}
		o := data.Object{Box: c.box.Data(), Class: c.class, Score: min(c.score, 1)}
		if c.mask != nil {
			o.Mask = c.shape(f)
		}
		detection.Set(p, append(detection.Of(p), o))
	}
}

// shape makes the mask of a candidate: of its pixels, or pasted into its box.
func (c *candidate) shape(f frame) *data.Mask {
	if len(c.mask) != f.w*f.h {
		return detect.PasteMask(c.mask, c.maskW, c.box, f.w, f.h)
	}
	rect := stdimage.Rect(int(c.box[0]), int(c.box[1]), int(math.Ceil(float64(c.box[2]))), int(math.Ceil(float64(c.box[3]))))
	m := &data.Mask{Rect: rect, Pix: make([]uint8, rect.Dx()*rect.Dy())}
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			if c.mask[y*f.w+x] >= 0.5 {
				m.Pix[(y-rect.Min.Y)*rect.Dx()+x-rect.Min.X] = 1
			}
		}
	}
	return m
}
