package serve

import (
	"fmt"
	"image"
	"slices"

	"must/data"
	"must/draw"
	"must/label"
	"must/loader"
	"must/predict"
	"must/predictions"
	"must/task/detection"
	"must/task/registry"
	"must/task/segmentation"
	"must/teacher"
	"must/torch"
)

// This file is all that the server knows of prediction: how a model is opened, how an image is brought to
// its view, seen, led back and described.

// A network is an opened model.
type network struct {
	label.Teacher
	knows data.Labels
	view  predict.View
}

// open opens a checkpoint, or the model that a .teacher.yaml declares.
func (s *Server) open(path string) (*network, error) {
	t, err := teacher.Open(path, data.Labels{}, teacher.Engine{Name: s.o.Engine, Log: s.o.Log})
	if err != nil {
		return nil, err
	}
	return &network{Teacher: t, knows: t.Net.Knows(), view: t.Net.View()}, nil
}

func (n *network) free() { torch.Do(n.Net.Free) }

// An item is an image brought to a network's view.
type item struct {
	pix    []uint8 // [3, h, w]
	w, h   int
	frame  data.Frame
	source image.Point
}

// bring makes an item of an image.
func (n *network) bring(img *image.RGBA) item {
	view, frame := n.view.Bring(img)
	size := view.Rect.Size()
	it := item{make([]uint8, 3*size.X*size.Y), size.X, size.Y, frame, img.Rect.Size()}
	loader.Planar(it.pix, view.Pix)
	return it
}

// see predicts the tasks for items of one size, in the frame of the view.
func (n *network) see(items []item, tasks []string) ([]*data.Sample, error) {
	w, h := items[0].w, items[0].h
	images := predict.Images{N: len(items), W: w, H: h, Pix: make([]uint8, 0, len(items)*3*w*h)}
	for _, it := range items {
		images.Pix = append(images.Pix, it.pix...)
	}
	return n.Net.See(images, tasks...)
}

// finish leads a prediction back to its image and applies the rules: only the tasks asked for, and only
// objects that reach the threshold.
func (n *network) finish(it item, seen *data.Sample, tasks []string, threshold float64) *data.Sample {
	pred := &data.Sample{}
	predict.Merge(pred, it.frame.Restore(seen, it.source.X, it.source.Y))
	if pred.Has(detection.Name) {
		pred.Put(registry.Get(detection.Name).Pseudo(pred.Label(detection.Name), threshold))
	}
	for _, t := range n.tasks() { // another request of the same batch may have asked for more
		if !slices.Contains(tasks, t) {
			pred.Forget(t)
		}
	}
	return pred
}

// tasks lists what the network knows, in the order in which tasks are always shown.
func (n *network) tasks() []string { return n.knows.Tasks() }

// A Prediction is the JSON that must predict writes too.
type Prediction = predictions.Prediction

func describe(pred *data.Sample, size image.Point, l data.Labels) *Prediction {
	if pred.Image == nil { // gives the frame only; its pixels are not looked at
		pred = withFrame(pred, size)
	}
	return predictions.Describe(pred, l)
}

func withFrame(pred *data.Sample, size image.Point) *data.Sample {
	s := *pred
	s.Image = &image.RGBA{Rect: image.Rectangle{Max: size}}
	return &s
}

// panel draws every task beside the image.
func panel(pred *data.Sample, l data.Labels, side int) image.Image {
	return draw.Panel(pred, l, draw.Options{Side: side})
}

// colours of classes, as pictures draw them.
func colours(l data.Labels) map[string][]string {
	out := map[string][]string{}
	for _, task := range l.Tasks() {
		for k := range l[task].Classes {
			c := draw.Color(k)
			if task == segmentation.Name {
				c = draw.SegmentColor(k, l[task].Classes)
			}
			out[task] = append(out[task], fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B))
		}
	}
	return out
}
