package metric

import (
	"cmp"
	"image"
	"slices"

	"must/data"
)

// Detection measures boxes, and masks where asked, by COCO's average precision and recall as
// pycocotools computes them. Areas are the annotated ones where the data set gives them, else those
// of the mask or the box; a crowd counts neither for nor against.
type Detection struct {
	boxes, masks *cocoCounter // masks is nil if not asked for
}

// NewDetection returns an empty metric over classes 0..classes-1; objects of other classes do not
// count.
func NewDetection(classes int, masks bool) *Detection {
	m := &Detection{boxes: newCOCOCounter(classes)}
	if masks {
		m.masks = newCOCOCounter(classes)
	}
	return m
}

// Add counts one image; a nil truth says nothing. For masks an image counts only if all its true objects, crowds aside, have
// one; a crowd without a mask is left out.
func (m *Detection) Add(truth, pred []data.Object) {
	if truth == nil {
		return
	}
	m.boxes.add(truth, pred, boxIoU, func(o *data.Object) float64 { return o.Box.Area() })
	if m.masks == nil {
		return
	}
	var masked []data.Object
	for _, o := range truth {
		if o.Mask == nil && !o.Crowd {
			return
		}
		if o.Mask != nil {
			masked = append(masked, o)
		}
	}
	m.masks.add(masked, pred, maskIoU, maskArea)
}

// Values returns AP (IoU .50:.95), AP50, AP75, APs, APm, APl by object size, AR1, AR10,
// AR100 by detections per image, ARs, ARm, ARl; then the same for masks, named mask_AP and so on. A
// value is -1 where there are no true objects, as in pycocotools.
func (m *Detection) Values() []Value {
	values := m.boxes.values("")
	if m.masks != nil {
		values = append(values, m.masks.values("mask_")...)
	}
	return values
}

// Classes returns AP, AP50 and AP75 of every class, and the same for masks; objects and predictions are those that
// count for boxes.
func (m *Detection) Classes() Classes {
	c := Classes{Unit: "objects", Of: m.boxes.byClass("")}
	if m.masks != nil {
		for i, v := range m.masks.byClass("mask_") {
			c.Of[i].Values = append(c.Of[i].Values, v.Values...)
		}
	}
	return c
}

// A cocoCounter runs COCO's protocol over objects.
type cocoCounter struct {
	scored  []cocoScore // of the classes so far; nil: to be computed
	images  int
	classes []cocoTally
	matcher cocoMatcher
}

func newCOCOCounter(classes int) *cocoCounter {
	return &cocoCounter{classes: make([]cocoTally, classes)}
}

func (c *cocoCounter) add(truth, pred []data.Object, iou func(det, truth *data.Object) float64, area func(*data.Object) float64) {
	c.images++
	c.scored = nil
	truth, pred = byClass(truth), byClass(pred)
	for class := range c.classes {
		var ts, ps []data.Object
		ts, truth = cutClass(truth, class)
		ps, pred = cutClass(pred, class)
		ps = ps[:min(len(ps), cocoMaxDets)]
		if len(ts)+len(ps) == 0 {
			continue
		}
		objects := make([]cocoTruth, len(ts))
		for i := range ts {
			objects[i] = cocoTruth{area: ts[i].Area, crowd: ts[i].Crowd}
			if ts[i].Area == 0 {
				objects[i].area = area(&ts[i])
			}
		}
		dets := make([]cocoDetection, len(ps))
		ious := make([]float64, 0, len(ps)*len(ts))
		for i := range ps {
			dets[i] = cocoDetection{float64(ps[i].Score), area(&ps[i])}
			for j := range ts {
				ious = append(ious, iou(&ps[i], &ts[j]))
			}
		}
		c.matcher.match(&c.classes[class], objects, dets, ious)
	}
}

func (c *cocoCounter) scores() []cocoScore {
	if c.scored == nil {
		c.scored = make([]cocoScore, len(c.classes))
		for i := range c.scored {
			c.scored[i] = c.classes[i].score()
		}
	}
	return c.scored
}

func (c *cocoCounter) byClass(prefix string) []ClassValue {
	all := make([]ClassValue, len(c.classes))
	for i, s := range c.scores() {
		all[i] = c.classes[i].class(s)
		for k := range all[i].Values {
			all[i].Values[k].Name = prefix + all[i].Values[k].Name
		}
	}
	return all
}

func (c *cocoCounter) values(prefix string) []Value {
	if c.images == 0 {
		return nil
	}
	var values []Value
	for i, v := range summarize(c.scores()) {
		values = append(values, Value{prefix + cocoNames[i], v, true})
	}
	return values
}

// byClass returns a copy of the objects sorted by class, within one from high to low score.
func byClass(objects []data.Object) []data.Object {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b data.Object) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), byScore(float64(a.Score), float64(b.Score)))
	})
	return objects
}

// cutClass splits objects sorted by class into those of the class and those of later ones.
func cutClass(objects []data.Object, class int) (these, rest []data.Object) {
	lo, _ := slices.BinarySearchFunc(objects, class, func(o data.Object, c int) int { return cmp.Compare(o.Class, c) })
	hi := lo
	for hi < len(objects) && objects[hi].Class == class {
		hi++
	}
	return objects[lo:hi], objects[hi:]
}

// boxIoU returns the intersection over union of two boxes; over the area of the detection alone if
// the truth is a crowd. It is 0 where a coordinate is NaN.
func boxIoU(det, truth *data.Object) float64 {
	d, t := det.Box, truth.Box
	w := min(d.X1, t.X1) - max(d.X0, t.X0)
	h := min(d.Y1, t.Y1) - max(d.Y0, t.Y0)
	if !(w > 0 && h > 0) {
		return 0
	}
	both := w * h
	if truth.Crowd {
		return both / d.Area()
	}
	return both / (d.Area() + t.Area() - both)
}

// maskIoU is boxIoU for masks; a detection without a mask covers nothing.
func maskIoU(det, truth *data.Object) float64 {
	if det.Mask == nil {
		return 0
	}
	r := det.Mask.Rect.Intersect(truth.Mask.Rect)
	both := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		a, b := maskRow(det.Mask, r, y), maskRow(truth.Mask, r, y)
		for x := range a {
			if a[x] != 0 && b[x] != 0 {
				both++
			}
		}
	}
	if both == 0 {
		return 0
	}
	union := maskArea(det)
	if !truth.Crowd {
		union += maskArea(truth) - float64(both)
	}
	return float64(both) / union
}

// maskRow returns the pixels of row y inside r.
func maskRow(m *data.Mask, r image.Rectangle, y int) []uint8 {
	start := (y-m.Rect.Min.Y)*m.Rect.Dx() + r.Min.X - m.Rect.Min.X
	return m.Pix[start : start+r.Dx()]
}

func maskArea(o *data.Object) float64 {
	n := 0
	if o.Mask != nil {
		for _, v := range o.Mask.Pix {
			if v != 0 {
				n++
			}
		}
	}
	return float64(n)
}
