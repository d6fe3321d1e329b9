package detection

import (
	"fmt"
	"math"

	"must/data"
	"must/detect"
	"must/model"
	"must/onnx/graph"
	"must/task"
	"must/torch"
)

// The detector's outputs. M is the most objects of an image; beyond count, rows are padding: boxes,
// scores and masks of 0, labels of -1.
const (
	outBoxes  = "boxes"  // [N, M, 4], x0, y0, x1, y1 in pixels of the input; raw: [N, K, classes, 4]
	outScores = "scores" // [N, M], falling; raw: [N, K, classes]
	outLabels = "labels" // [N, M], classes from 0
	outCount  = "count"  // [N], objects; raw: proposals
	outMasks  = "masks"  // [N, M, 28, 28], probabilities over the box

	outPossible = "possible" // of no graph, see [head.possible]
)

// candidates returns the anchors of each level that the RPN's suppression sees at most.
func (d *head) candidates(size int) (perLevel []int64) {
	for _, l := range pyramid(size) {
		perLevel = append(perLevel, int64(min(l.H*l.W*len(detect.AnchorRatios), d.config.PreNMS)))
	}
	return perLevel
}

// mostProposals are those of an image of a size, mostObjects its detections.
func (d *head) mostProposals(size int) int64 {
	all := int64(0)
	for _, n := range d.candidates(size) {
		all += n
	}
	return min(all, int64(d.config.PostNMS))
}

func (d *head) mostObjects(size int) int64 {
	return min(int64(d.config.MaxObjects), d.mostProposals(size)*int64(d.classes))
}

const (
	lowest = -3e38 // stands for no score
	low    = -1e38 // anything below is none
)

// A detector is the detector under construction in a graph.
type detector struct {
	*head
	g     *graph.Graph
	m     *model.Maps
	zeros func(shape graph.Value) graph.Value
}

// Graph gives the detections, or with Raw the boxes and probabilities of all proposals for all classes,
// which are left to be suppressed: all that reach 0.05 and are 0.01 px long, class by class, by an IoU
// above 0.5, the best M.
func (d *head) Graph(g *graph.Graph, m *model.Maps, o task.ExportOptions) {
	x := detector{d, g, m, func(shape graph.Value) graph.Value { return g.Op("ConstantOfShape", nil, shape) }}
	proposals, valid := x.propose()
	x.detect(proposals, valid, o.Raw)
}

// batch returns the shape [N, more…].
func (x detector) batch(more ...int64) graph.Value {
	return x.g.Concat(0, x.g.Sizes(graph.Value(task.InputName), 0, 1), x.g.Ints(more...))
}

// decode moves boxes by deltas, both [..., 4], as [detect.Coder] does, and clips them to the image.
func (x detector) decode(c detect.Coder, deltas, boxes graph.Value) graph.Value {
	g := x.g
	split := func(v graph.Value) []graph.Value {
		return g.Ops(4, "Split", graph.Attrs{"axis": -1}, v, g.Ints(1, 1, 1, 1))
	}
	op := func(name string, a, b graph.Value) graph.Value { return g.Op(name, nil, a, b) }
	half := g.Scalar(0.5)
	d, b := split(deltas), split(boxes)
	var least, most [2]graph.Value
	for i := range 2 {
		side := op("Sub", b[i+2], b[i])
		middle := op("Add", b[i], op("Mul", half, side))
		shift, grow := d[i], d[i+2]
		if c[i] != 1 {
			shift, grow = op("Div", shift, g.Scalar(c[i])), op("Div", grow, g.Scalar(c[i+2]))
		}
		middle = op("Add", op("Mul", shift, side), middle)
		h := op("Mul", half, op("Mul", g.Op("Exp", nil, op("Min", grow, g.Scalar(detect.MaxLogScale))), side))
		least[i], most[i] = op("Sub", middle, h), op("Add", middle, h)
	}
	all := g.Concat(-1, least[0], least[1], most[0], most[1])
	return g.Op("Clip", nil, all, g.Scalar(0), g.Scalar(float32(x.m.Size)))
}

// large reports of boxes [..., 4] whether both sides are at least so long, [...].
func (x detector) large(boxes graph.Value, side float32) graph.Value {
	g := x.g
	last := func(from, to int64) graph.Value { return g.Slice(boxes, -1, from, to) }
	sides := g.Op("Sub", nil, last(2, 4), last(0, 2))
	shorter := g.Op("ReduceMin", graph.Attrs{"axes": []int64{-1}, "keepdims": 0}, sides)
	return g.Op("GreaterOrEqual", nil, shorter, g.Scalar(side))
}

// rows takes of v, [N, n, 4], the rows at, [N, k].
func (x detector) rows(v, at graph.Value) graph.Value {
	g := x.g
	return g.Op("GatherElements", graph.Attrs{"axis": 1}, v, g.Op("Expand", nil, g.Unsqueeze(at, 2), g.Ints(1, 1, 4)))
}

// scatter puts rows [R, …] into zeros of a shape, at indices [R, n].
func (x detector) scatter(shape, at, rows graph.Value) graph.Value {
	return x.g.Op("ScatterND", nil, x.zeros(shape), at, rows)
}

// suppress marks with 1 what of boxes [B, n, 4] with scores [B, c, n] survives, in zeros [B, n].
func (x detector) suppress(boxes, scores graph.Value, most int64, iou, least float32, shape graph.Value) graph.Value {
	g := x.g
	kept := g.Op("NonMaxSuppression", nil, boxes, scores, g.Ints(most), g.Floats([]float32{iou}, 1), g.Floats([]float32{least}, 1))
	at := g.Op("Gather", graph.Attrs{"axis": 1}, kept, g.Ints(0, 2))
	return x.scatter(shape, at, g.Op("Expand", nil, g.Scalar(1), g.Sizes(kept, 0, 1)))
}

// propose gives the proposals of every image, [N, K, 4], best first, and which of them there are, [N, K].
func (x detector) propose() (proposals, valid graph.Value) {
	g, size := x.g, int(x.m.Size)
	anchors := x.anchors(size)
	ratios := int64(len(detect.AnchorRatios))
	perLevel := x.candidates(size)
	var boxes, scores []graph.Value
	for i, k := range perLevel {
		f := x.m.Level(3 + i)
		for _, c := range x.rpn {
			f = c.Graph(g, f).Relu(g)
		}
		n := f.H * f.W * ratios
		score := g.Float(g.Reshape(g.Permute(x.objects.Graph(g, f).V, 0, 2, 3, 1), 0, n))
		delta := g.Reshape(x.anchorBox.Graph(g, f).V, 0, ratios, 4, f.H, f.W)
		delta = g.Float(g.Reshape(g.Permute(delta, 0, 3, 4, 1, 2), 0, n, 4))
		own := g.Floats(detect.Flat(anchors[:n]), n, 4)
		anchors = anchors[n:]
		reference := own
		if n > k {
			top := g.Ops(2, "TopK", graph.Attrs{"axis": 1}, score, g.Ints(k))
			score, delta = top[0], x.rows(delta, top[1])
			reference = g.Op("Gather", graph.Attrs{"axis": 0}, own, top[1])
		}
		boxes, scores = append(boxes, x.decode(detect.RPNCoder, delta, reference)), append(scores, score)
	}
	box, score := g.Concat(1, boxes...), g.Concat(1, scores...)

	// Levels are suppressed apart, as if they were classes.
	all := int64(0)
	for _, k := range perLevel {
		all += k
	}
	of := make([]float32, len(perLevel)*int(all))
	for level, at := 0, 0; level < len(perLevel); level++ {
		for range perLevel[level] {
			of[level*int(all)+at] = 1
			at++
		}
	}
	score = g.Op("Where", nil, x.large(box, detect.MinProposal), score, g.Scalar(lowest))
	levels := g.Op("Where", nil, g.Cast(g.Floats(of, 1, int64(len(perLevel)), all), graph.Bool), g.Unsqueeze(score, 1), g.Scalar(lowest))
	k := x.mostProposals(size)
	kept := x.suppress(box, levels, k, float32(detect.DefaultRPN().NMS), low, x.batch(all))
	score = g.Op("Where", nil, g.Cast(kept, graph.Bool), score, g.Scalar(lowest))
	top := g.Ops(2, "TopK", graph.Attrs{"axis": 1}, score, g.Ints(k))
	return x.rows(box, top[1]), g.Op("Greater", nil, top[0], g.Scalar(low))
}

// present lists the indices of what there is of [N, k], [R, 2]. The first of every image is among them,
// so that no layer has to do with nothing.
func (x detector) present(valid graph.Value, k int64) graph.Value {
	first := make([]float32, k)
	first[0] = 1
	g := x.g
	return g.Permute(g.Op("NonZero", nil, g.Op("Or", nil, valid, g.Cast(g.Floats(first, 1, k), graph.Bool))), 1, 0)
}

// roiAlign reads the boxes at indices of [N, k, 4] from the levels that their sizes ask for:
// [R, fpn, side, side]. It returns the indices in the order of the result.
func (x detector) roiAlign(boxes, at graph.Value, side int64) (features model.Map, order graph.Value) {
	g := x.g
	box := g.Op("GatherND", nil, boxes, at)
	image := g.Reshape(g.Slice(at, 1, 0, 1), -1)
	sides := g.Op("Sub", nil, g.Slice(box, 1, 2, 4), g.Slice(box, 1, 0, 2))
	area := g.Op("ReduceProd", graph.Attrs{"axes": []int64{1}, "keepdims": 0}, sides)
	levels := x.config.levels(int(x.m.Size))
	var from []graph.Value // of each level but the first: the boxes for it or for a coarser one
	for _, least := range levels.Areas() {
		from = append(from, g.Op("GreaterOrEqual", nil, area, g.Scalar(least)))
	}
	var maps, orders []graph.Value
	for i := range len(from) + 1 {
		var here graph.Value
		switch i {
		case 0:
			here = g.Op("Not", nil, from[0])
		case len(from):
			here = from[i-1]
		default:
			here = g.Op("And", nil, from[i-1], g.Op("Not", nil, from[i]))
		}
		own := g.Reshape(g.Op("NonZero", nil, here), -1)
		pick := func(v graph.Value) graph.Value { return g.Op("Gather", graph.Attrs{"axis": 0}, v, own) }
		features = x.m.Level(levels.Min + i)
		maps = append(maps, g.Op("RoiAlign", graph.Attrs{
			"output_height": int(side), "output_width": int(side), "sampling_ratio": 2, "mode": "avg",
			"spatial_scale": math.Ldexp(1, -levels.Min-i), "coordinate_transformation_mode": "output_half_pixel",
		}, g.Float(features.V), pick(box), pick(image)))
		orders = append(orders, pick(at))
	}
	return model.Map{V: g.Working(g.Concat(0, maps...)), C: features.C, H: side, W: side}, g.Concat(0, orders...)
}

// detect gives the outputs for proposals.
func (x detector) detect(proposals, valid graph.Value, raw bool) {
	g, size := x.g, int(x.m.Size)
	k, c := x.mostProposals(size), int64(x.classes)
	f, at := x.roiAlign(proposals, x.present(valid, k), boxSide)
	v := g.Op("Flatten", graph.Attrs{"axis": 1}, x.boxTower.Graph(g, f).V)
	v = g.Op("Relu", nil, x.boxFC.Graph(g, v))
	probs := g.Slice(g.Op("Softmax", graph.Attrs{"axis": 1}, g.Float(x.class.Graph(g, v))), 1, 1, c+1)
	deltas := g.Slice(g.Reshape(g.Float(x.box.Graph(g, v)), -1, c+1, 4), 1, 1, c+1)
	box := x.decode(detect.RoICoder, deltas, g.Unsqueeze(g.Op("GatherND", nil, proposals, at), 1))
	probs = g.Op("Where", nil, x.large(box, detect.MinDetection), probs, g.Scalar(0))
	boxes := x.scatter(x.batch(k, c, 4), at, box)
	scores := g.Op("Where", nil, g.Unsqueeze(valid, 2), x.scatter(x.batch(k, c), at, probs), g.Scalar(0))
	count := func(v graph.Value) {
		g.Output(g.Op("ReduceSum", graph.Attrs{"keepdims": 0}, g.Cast(v, graph.Int64), g.Ints(1)), outCount, graph.Int64, graph.Batch)
	}
	if raw {
		g.Output(boxes, outBoxes, graph.Float, graph.Batch, k, c, 4)
		g.Output(scores, outScores, graph.Float, graph.Batch, k, c)
		count(valid)
		return
	}

	// Every class of an image is an image of its own, since each has its own boxes.
	rois := detect.DefaultRoIs()
	most := x.mostObjects(size)
	perClass := g.Reshape(g.Permute(scores, 0, 2, 1), -1, 1, k)
	kept := x.suppress(g.Reshape(g.Permute(boxes, 0, 2, 1, 3), -1, k, 4), perClass, most, float32(rois.NMS), rois.Score,
		g.Concat(0, g.Sizes(perClass, 0, 1), g.Ints(k)))
	kept = g.Reshape(g.Permute(g.Reshape(kept, -1, c, k), 0, 2, 1), -1, k*c)
	top := g.Ops(2, "TopK", graph.Attrs{"axis": 1}, g.Op("Where", nil, g.Cast(kept, graph.Bool), g.Reshape(scores, -1, k*c), g.Scalar(0)), g.Ints(most))
	found := g.Op("Greater", nil, top[0], g.Scalar(0))
	label := g.Op("Where", nil, found, g.Op("Mod", nil, top[1], g.Int(c)), g.Int(-1))
	object := g.Op("Where", nil, g.Unsqueeze(found, 2), x.rows(g.Reshape(boxes, -1, k*c, 4), top[1]), g.Scalar(0))
	g.Output(object, outBoxes, graph.Float, graph.Batch, most, 4)
	g.Output(top[0], outScores, graph.Float, graph.Batch, most)
	g.Output(label, outLabels, graph.Int64, graph.Batch, most)
	count(found)
	if x.masks {
		x.shapes(object, label, found, most)
	}
}

// shapes gives the masks of objects.
func (x detector) shapes(objects, label, found graph.Value, most int64) {
	g, side := x.g, int64(2*maskSide)
	f, at := x.roiAlign(objects, x.present(found, most), maskSide)
	f = x.maskOut.Graph(g, x.deconv.Graph(g, x.maskTower.Graph(g, f)).Relu(g))
	own := g.Op("Max", nil, g.Unsqueeze(g.Op("GatherND", nil, label, at), 1), g.Int(0))
	mask := g.Op("Sigmoid", nil, g.Float(g.Op("GatherND", graph.Attrs{"batch_dims": 1}, f.V, own)))
	masks := x.scatter(x.batch(most, side, side), at, mask)
	masks = g.Op("Where", nil, g.Unsqueeze(g.Unsqueeze(found, 2), 3), masks, g.Scalar(0))
	g.Output(masks, outMasks, graph.Float, graph.Batch, most, side, side)
}

// Outputs computes what Graph's outputs hold.
func (d *head) Outputs(f *model.Features, o task.ExportOptions) task.Outputs {
	size, c := int(f.Size), d.classes+1
	objectness, deltas := d.proposalNet(f)
	proposals := d.propose(f, objectness, deltas)
	var boxes []detect.Box
	var images []int
	for i, p := range proposals {
		boxes = append(boxes, p...)
		for range p {
			images = append(images, i)
		}
	}
	var probs, delta []float32
	features := d.roiFeatures(f)
	if len(boxes) > 0 {
		class, boxDeltas := d.boxHead(features, f.Mode, boxes, images)
		probs, delta = torch.Values[float32](class.Softmax(1)), torch.Values[float32](boxDeltas)
	}
	if o.Raw {
		out := d.rawOutputs(proposals, probs, delta, size)
		if o.Ties > 0 {
			out[outPossible] = d.possible(f, features, objectness, deltas, o)
		}
		return out
	}
	rois := detect.DefaultRoIs()
	rois.Keep = d.config.MaxObjects
	n, most := int64(len(proposals)), d.mostObjects(size)
	out := task.Outputs{}
	if o.Ties > 0 {
		out[outPossible] = d.possible(f, features, objectness, deltas, o)
	}
	table := func(name string, shape ...int64) []float32 {
		a := task.Array{Shape: append([]int64{n}, shape...)}
		values := int64(1)
		for _, s := range a.Shape {
			values *= s
		}
		a.Values = make([]float32, values)
		out[name] = a
		return a.Values
	}
	box, score, label, count := table(outBoxes, most, 4), table(outScores, most), table(outLabels, most), table(outCount)
	for i := range label {
		label[i] = -1
	}
	at := 0
	var found []int // rows of the tables
	for i, p := range proposals {
		objects := rois.Detections(p, probs[at*c:][:len(p)*c], delta[at*c*4:][:len(p)*c*4], d.classes, size, size)
		at += len(p)
		count[i] = float32(len(objects))
		for j, o := range objects {
			row := i*int(most) + j
			b := detect.BoxOf(o.Box)
			copy(box[4*row:], b[:])
			score[row], label[row] = o.Score, float32(o.Class)
			found = append(found, row)
		}
	}
	if d.masks {
		side := int64(2 * maskSide)
		masks := table(outMasks, most, side, side)
		d.maskOutputs(features, f, out, found, masks)
	}
	return out
}

// maskOutputs fills in the masks of the rows found.
func (d *head) maskOutputs(features *detect.Pyramid, f *model.Features, out task.Outputs, found []int, masks []float32) {
	if len(found) == 0 {
		return
	}
	most := int(out[outBoxes].Shape[1])
	var boxes []detect.Box
	var images []int
	var own []int64
	for k, row := range found {
		boxes = append(boxes, detect.Box(out[outBoxes].Values[4*row:][:4]))
		images = append(images, row/most)
		own = append(own, int64(k*d.classes)+int64(out[outLabels].Values[row]))
	}
	n, side := int64(len(boxes)), int64(2*maskSide)
	logits := d.maskHead(features, f.Mode, boxes, images).View(n*int64(d.classes), side, side).IndexSelect(0, torch.From(own, n))
	probs := torch.Values[float32](logits.Sigmoid())
	area := int(side * side)
	for k, row := range found {
		copy(masks[row*area:], probs[k*area:][:area])
	}
}

func (d *head) rawOutputs(proposals [][]detect.Box, probs, delta []float32, size int) task.Outputs {
	n, k, c := len(proposals), int(d.mostProposals(size)), d.classes
	boxes, scores, count := make([]float32, n*k*c*4), make([]float32, n*k*c), make([]float32, n)
	deltas := detect.Boxes(delta)
	at := 0
	for i, p := range proposals {
		count[i] = float32(len(p))
		for j, roi := range p {
			for class := range c {
				from, to := at*(c+1)+class+1, (i*k+j)*c+class
				b := detect.RoICoder.Decode(detect.Delta(deltas[from]), roi).Clip(size, size)
				copy(boxes[4*to:], b[:])
				if b.Large(detect.MinDetection) {
					scores[to] = probs[from]
				}
			}
			at++
		}
	}
	shape := func(more ...int) (s []int64) {
		for _, v := range append([]int{n}, more...) {
			s = append(s, int64(v))
		}
		return s
	}
	return task.Outputs{outBoxes: {Shape: shape(k, c, 4), Values: boxes}, outScores: {Shape: shape(k, c), Values: scores}, outCount: {Shape: shape(), Values: count}}
}

// Decode makes objects of the outputs, and masks of the size of the image.
func (d *head) Decode(out task.Outputs, size int, preds []*data.Sample) error {
	n, side := len(preds), 2*maskSide
	scores, err := out.Take(outScores, n, -1)
	if err != nil {
		return err
	}
	most := int(scores.Shape[1])
	var boxes, labels, count, masks task.Array
	for _, o := range []struct {
		to    *task.Array
		name  string
		shape []int
	}{{&boxes, outBoxes, []int{most, 4}}, {&labels, outLabels, []int{most}}, {&count, outCount, nil}, {&masks, outMasks, []int{most, side, side}}} {
		if o.to == &masks && !d.masks {
			continue
		}
		if *o.to, err = out.Take(o.name, n, o.shape...); err != nil {
			return err
		}
	}
	for i, p := range preds {
		Set(p, []data.Object{})
		for j := range min(int(count.Values[i]), most) {
			b := detect.Box(boxes.Row(i)[4*j:][:4])
			o := data.Object{Box: b.Data(), Class: int(labels.Row(i)[j]), Score: scores.Row(i)[j]}
			if o.Class < 0 || o.Class >= d.classes {
				return fmt.Errorf("output %s says class %d, and there are %d", outLabels, o.Class, d.classes)
			}
			if d.masks {
				probs := masks.Row(i)[j*side*side:][:side*side]
				o.Mask = detect.PasteMask(probs, side, b, size, size)
				o.Mask.Probs = probs
			}
			Set(p, append(Of(p), o))
		}
	}
	return nil
}
