package review

import (
	"bytes"
	"cmp"
	"container/list"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"
	"sync"

	"must/data"
	"must/draw"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// This file is all that the review knows of what labels look like: how sure they are, how two differ, and
// how they are drawn.

// scored are the tasks whose labels say how sure they are, or what classes they show.
var scored = []string{classification.Name, detection.Name, segmentation.Name}

// describe fills in what a label of one task says of itself: the largest probability; the mean score of
// the objects, 1 where there are none; the share of the pixels that have a class.
func (s *scanner) describe(st *stat, own *data.Sample, task string) {
	at := slices.Index(s.tasks, task)
	see := func(class int) {
		if id := uint16(s.first[task] + class); !slices.Contains(st.Classes, id) {
			st.Classes = append(st.Classes, id)
		}
	}
	switch task {
	case classification.Name:
		p := classification.Of(own)
		best := argmax(p)
		st.Sure[at] = p[best]
		see(best)
	case detection.Name:
		objects := detection.Of(own)
		st.Objects, st.Sure[at] = int32(len(objects)), 1
		sum := float32(0)
		for _, o := range objects {
			sum += o.Score
			see(o.Class)
		}
		if n := len(objects); n > 0 {
			st.Sure[at] = sum / float32(n)
		}
	case segmentation.Name:
		var seen [256]int
		pix := segmentation.Of(own).Pix
		for _, c := range pix {
			seen[c]++
		}
		for c, n := range seen[:data.Ignore] {
			if n > 0 {
				see(c)
			}
		}
		st.Sure[at] = 1 - float32(seen[data.Ignore])/float32(max(1, len(pix)))
	}
}

// differ says how much two labels of a task differ, 0 (not at all) to 1: half the sum of the differences
// of probabilities; 1 - F1 of boxes of the same class that overlap by half; the share of pixels, among those
// that have a class in both, whose classes differ; the mean relative difference of depth, of inverse depth
// after scaling by the medians; the mean angle over 180°. It is -1 where nothing can be compared.
func differ(a, b *data.Sample, task, unit string) float32 {
	switch task {
	case classification.Name:
		p, q, sum := classification.Of(a), classification.Of(b), 0.0
		for k := range p {
			sum += math.Abs(float64(p[k] - q[k]))
		}
		return float32(min(1, sum/2))
	case detection.Name:
		return boxesDiffer(detection.Of(a), detection.Of(b))
	case segmentation.Name:
		n, other, pix := 0, 0, segmentation.Of(b).Pix
		for k, c := range segmentation.Of(a).Pix {
			if d := pix[k]; c != data.Ignore && d != data.Ignore {
				n++
				if c != d {
					other++
				}
			}
		}
		return share(float64(other), n)
	case depth.Name:
		own, other, scale := depth.Of(a).Pix, depth.Of(b).Pix, 1.0
		if unit == data.Inverse {
			scale = median(other) / cmp.Or(median(own), 1)
		}
		n, sum := 0, 0.0
		for k, v := range own {
			x, y := float64(v)*scale, float64(other[k])
			if big := max(math.Abs(x), math.Abs(y)); big > 0 { // not NaN
				n++
				sum += min(1, math.Abs(x-y)/big)
			}
		}
		return share(sum, n)
	case normals.Name:
		n, sum, other := 0, 0.0, normals.Of(b).Pix
		for k, v := range normals.Of(a).Pix {
			w := other[k]
			if v == ([3]float32{}) || w == ([3]float32{}) {
				continue
			}
			n++
			sum += math.Acos(max(-1, min(1, float64(v[0]*w[0]+v[1]*w[1]+v[2]*w[2])))) / math.Pi
		}
		return share(sum, n)
	}
	return -1
}

func share(sum float64, n int) float32 {
	if n == 0 {
		return -1
	}
	return float32(sum / float64(n))
}

func median(v []float32) float64 {
	valid := slices.DeleteFunc(slices.Clone(v), func(x float32) bool { return x != x })
	if len(valid) == 0 {
		return 0
	}
	slices.Sort(valid)
	return float64(valid[len(valid)/2])
}

func boxesDiffer(a, b []data.Object) float32 {
	if len(a)+len(b) == 0 {
		return 0
	}
	taken := make([]bool, len(b))
	pairs := 0
	for _, o := range a {
		best, at := 0.5, -1
		for k, p := range b {
			if taken[k] || p.Class != o.Class {
				continue
			}
			w := min(o.Box.X1, p.Box.X1) - max(o.Box.X0, p.Box.X0)
			h := min(o.Box.Y1, p.Box.Y1) - max(o.Box.Y0, p.Box.Y0)
			if w <= 0 || h <= 0 {
				continue
			}
			if iou := w * h / (o.Box.Area() + p.Box.Area() - w*h); iou >= best {
				best, at = iou, k
			}
		}
		if at >= 0 {
			taken[at] = true
			pairs++
		}
	}
	return 1 - float32(2*pairs)/float32(len(a)+len(b))
}

// picture draws an image with its labels of one task as decided, or the image alone.
func (s *Server) picture(i int, task string, side int) ([]byte, error) {
	img, err := s.image(i)
	if err != nil {
		return nil, err
	}
	sample := &data.Sample{}
	if task != "" {
		if sample, err = s.review.Sample(i, task); err != nil {
			return nil, err
		}
	}
	sample.Image = img.Image
	var b bytes.Buffer
	err = jpeg.Encode(&b, draw.Overlay(sample, s.labels, task, draw.Options{Side: side}), &jpeg.Options{Quality: 85})
	return b.Bytes(), err
}

// image reads an image, which has to be of the size that was labelled.
func (s *Server) image(i int) (*data.Sample, error) {
	at := i
	if s.at != nil {
		at = int(s.at[i])
	}
	if at < 0 {
		return nil, fmt.Errorf("%s is not among the images given", s.review.Keys[i])
	}
	img, err := s.images.Sample(at)
	if err != nil {
		return nil, err
	}
	if size := s.review.Size(i); img.Image.Rect.Size() != size {
		return nil, fmt.Errorf("%s is %v, what was labelled was %v: another image?", s.review.Keys[i], img.Image.Rect.Size(), size)
	}
	return img, nil
}

// masks draws the shapes of all objects, transparent elsewhere, at most side pixels large.
func (s *Server) masks(i, side int) ([]byte, error) {
	sample, err := s.review.Sample(i, detection.Name)
	if err != nil {
		return nil, err
	}
	size := s.review.Size(i)
	k := min(1, float64(side)/float64(max(size.X, size.Y)))
	out := image.NewNRGBA(image.Rect(0, 0, max(1, int(k*float64(size.X))), max(1, int(k*float64(size.Y)))))
	for _, o := range slices.Backward(detection.Of(sample)) {
		if o.Mask == nil {
			continue
		}
		c := draw.Color(o.Class)
		for y := range out.Rect.Dy() {
			for x := range out.Rect.Dx() {
				if o.Mask.At(x*size.X/out.Rect.Dx(), y*size.Y/out.Rect.Dy()) {
					out.SetNRGBA(x, y, color.NRGBA{c.R, c.G, c.B, 120})
				}
			}
		}
	}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, out)
	return b.Bytes(), err
}

// colours of classes, as pictures draw them.
func colours(l data.Labels, task string) (out []string) {
	for k := range l[task].Classes {
		c := draw.Color(k)
		if task == segmentation.Name {
			c = draw.SegmentColor(k, l[segmentation.Name].Classes)
		}
		out = append(out, fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B))
	}
	return out
}

// A cache keeps the pictures last asked for, up to a number of bytes.
type cache struct {
	mu    sync.Mutex
	limit int
	bytes int
	order *list.List // of *kept, the latest first
	at    map[string]*list.Element
}

type kept struct {
	key     string
	content []byte
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), at: map[string]*list.Element{}}
}

func (c *cache) get(key string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.at[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*kept).content
}

func (c *cache) put(key string, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[key] != nil {
		return
	}
	c.at[key] = c.order.PushFront(&kept{key, content})
	c.bytes += len(content)
	for c.bytes > c.limit && c.order.Len() > 1 {
		last := c.order.Remove(c.order.Back()).(*kept)
		delete(c.at, last.key)
		c.bytes -= len(last.content)
	}
}
