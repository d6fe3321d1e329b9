package network

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"must/data"
	"must/model"
	"must/predict"
	"must/task"
	classificationlabel "must/task/classification"
	depthlabel "must/task/depth"
	detectionlabel "must/task/detection"
	normalslabel "must/task/normals"
	"must/task/registry"
	segmentationlabel "must/task/segmentation"
	"must/torch"
	"must/torch/goldentest"
)

// The derivative of the loss along its gradient is the gradient's norm, through heads, neck and
// backbone. What is sampled from proposals jumps with the RPN's parameters, so the second stage of the
// detector is tested on its own parameters only.
func TestGradients(t *testing.T) {
	const size = 64
	inverse := labels()
	inverse = inverse.With(depthlabel.Name, data.Meaning{Units: data.Inverse})
	images := noiseImages(3, size)
	samples := viewsOf(images, size)
	second := func(name string) bool { return !strings.HasPrefix(name, "rpn") }
	for _, c := range []struct {
		name, task string
		labels     data.Labels
		part       func(part string) bool
		prefix     string
	}{
		{"classification", classificationlabel.Name, labels(), nil, ""},
		{"segmentation", segmentationlabel.Name, labels(), nil, ""},
		{"metric depth", depthlabel.Name, labels(), nil, ""},
		{"inverse depth", depthlabel.Name, inverse, nil, ""},
		{"normals", normalslabel.Name, labels(), nil, ""},
		{"proposals", detectionlabel.Name, labels(), func(name string) bool { return !second(name) }, ""},
		{"boxes", detectionlabel.Name, labels(), second, "heads.detection.box."},
		{"masks", detectionlabel.Name, labels(), second, "heads.detection.mask."},
	} {
		with(t, spec(size, c.labels, c.task), func(n *Network) {
			targets := n.Targets(samples, seeded())
			loss := func() (sum *torch.Tensor) {
				f := n.Features(images, 3, model.Mode{})
				for _, p := range n.Losses(f, targets, seeded())[0].Parts {
					if c.part != nil && !c.part(p.Name) {
						continue
					}
					if sum == nil {
						sum = p.Value
					} else {
						sum = sum.Add(p.Value)
					}
				}
				return sum
			}
			loss().Backward()
			grad := torch.Values[float32](n.Set.Flat.Grad)
			at, square := int64(0), map[string]float64{}
			for _, p := range n.Set.Params {
				part, _, _ := strings.Cut(p.Name, ".")
				for i := range grad[at:][:p.Len()] {
					g := &grad[at:][i]
					if !strings.HasPrefix(p.Name, c.prefix) {
						*g = 0
					}
					square[part] += float64(*g) * float64(*g)
				}
				at += p.Len()
			}
			norm := 0.
			for part, v := range square {
				if v == 0 && c.prefix == "" {
					t.Errorf("%s: no gradient reaches the %s", c.name, part)
				}
				norm += v
			}
			norm = math.Sqrt(norm)
			start := torch.Values[float32](n.Set.Flat.Data)
			along := func(step float64) (value float64) {
				moved := slices.Clone(start)
				for i, g := range grad {
					moved[i] += float32(step / norm * float64(g))
				}
				torch.Load(n.Set.Flat.Data, moved)
				torch.NoGrad(func() { value = loss().Item() })
				return value
			}
			const step = 2e-3
			if got := (along(step) - along(-step)) / (2 * step); !(math.Abs(got/norm-1) < 0.05) {
				t.Errorf("%s: the loss rises by %.4g along a gradient of norm %.4g", c.name, got, norm)
			}
		})
	}
}

// noiseImages returns n planar images of noise in blobs.
func noiseImages(n, size int) []uint8 {
	v := make([]uint8, n*3*size*size)
	for i, u := range goldentest.Noise("images", len(v)) {
		v[i] = uint8(128 + 60*u + 60*float32(math.Sin(float64(i)/50)))
	}
	return v
}

// viewsOf returns samples of images with every label, different in each.
func viewsOf(planar []uint8, size int) []*data.Sample {
	plane := size * size
	samples := make([]*data.Sample, len(planar)/(3*plane))
	for i := range samples {
		s := &data.Sample{
			Key: fmt.Sprint(i), Image: image.NewRGBA(image.Rect(0, 0, size, size)),
			Known: data.Know(classificationlabel.New([]float32{0, 0, 0}), segmentationlabel.New(data.NewGrid[uint8](size, size)), depthlabel.New(data.NewGrid[float32](size, size)), normalslabel.New(data.NewGrid[[3]float32](size, size))),
		}
		classificationlabel.Of(s)[i%3] = 1
		for k := range plane {
			for c := range 3 {
				s.Image.Pix[4*k+c] = planar[(3*i+c)*plane+k]
			}
			s.Image.Pix[4*k+3] = 255
			x, y := float64(k%size), float64(k/size)
			segmentationlabel.Of(s).Pix[k] = uint8((k%size/16 + i) % 4)
			depthlabel.Of(s).Pix[k] = float32(3 + math.Sin(x/9+float64(i)) + y/40)
			l := float32(math.Hypot(1, x/40))
			normalslabel.Of(s).Pix[k] = [3]float32{float32(x/40) / l, 0, -1 / l}
		}
		x := 8 + 5*i
		box := image.Rect(x, 10, x+28, 44)
		detectionlabel.Set(s, []data.Object{{Box: data.Box{X0: float64(x), Y0: 10, X1: float64(x + 28), Y1: 44}, Class: i % 2, Score: 1,
			Mask: &data.Mask{Rect: box, Pix: slices.Repeat([]uint8{1, 1, 0, 1}, box.Dx()*box.Dy()/4)}}})
		samples[i] = s
	}
	return samples
}

// An image without a label changes neither loss nor gradient of the others.
func TestUnlabelledImagesTakeNoPart(t *testing.T) {
	const size = 64
	images := noiseImages(2, size)
	samples := viewsOf(images, size)
	samples[1] = &data.Sample{Key: "1", Image: samples[1].Image}
	with(t, spec(size, labels(), labels().Tasks()...), func(n *Network) {
		run := func(images []uint8, samples []*data.Sample) (map[string]float64, []float32) {
			n.Set.Flat.Grad.Fill(0)
			targets := n.Targets(samples, seeded())
			losses := n.Losses(n.Features(images, len(samples), model.Mode{}), targets, seeded())
			if len(losses) != len(labels().Tasks()) {
				t.Fatal(losses)
			}
			values := map[string]float64{}
			for _, l := range losses {
				values[l.Task] = l.Total.Item()
			}
			total(losses).Backward()
			return values, torch.Values[float32](n.Set.Flat.Grad)
		}
		alone, gradAlone := run(images[:len(images)/2], samples[:1])
		both, gradBoth := run(images, samples)
		for name, want := range alone {
			if math.Abs(both[name]-want) > 1e-4*want {
				t.Errorf("%s: loss %v beside an unlabelled image, %v alone", name, both[name], want)
			}
		}
		goldentest.Near(t, "gradient", gradBoth, gradAlone, 1e-3)
	})
}

func TestNoLabelNoLoss(t *testing.T) {
	const size = 64
	images := noiseImages(2, size)
	samples := viewsOf(images, size)
	for i, s := range samples {
		samples[i] = &data.Sample{Key: s.Key, Image: s.Image}
	}
	with(t, spec(size, labels(), labels().Tasks()...), func(n *Network) {
		targets := n.Targets(samples, seeded())
		for i, target := range targets.([]any) {
			if target != nil {
				t.Errorf("%s has targets in a batch without a label: %v", n.Heads[i].Name(), target)
			}
		}
		if losses := n.Losses(n.Features(images, 2, model.Mode{}), targets, seeded()); len(losses) > 0 {
			t.Errorf("losses without a label: %v", losses)
		}
	})
}

// "There are no objects" is a label, from which objectness and classes learn; objects without masks
// give no mask loss.
func TestEmptyIsNotUnknown(t *testing.T) {
	const size = 64
	images := noiseImages(1, size)
	parts := func(n *Network, objects []data.Object) (names []string) {
		s := viewsOf(images, size)
		detectionlabel.Set(s[0], objects)
		for _, l := range n.Losses(n.Features(images, 1, model.Mode{Train: true}), n.Targets(s, seeded()), seeded()) {
			for _, p := range l.Parts {
				if p.Value == nil {
					continue
				}
				if v := p.Value.Item(); !(v >= 0) || math.IsInf(v, 0) {
					t.Errorf("%s is %v", p.Name, v)
				}
				names = append(names, p.Name)
			}
		}
		return names
	}
	with(t, spec(size, labels(), detectionlabel.Name), func(n *Network) {
		boxOnly := detectionlabel.Of(viewsOf(images, size)[0])
		boxOnly[0].Mask = nil
		degenerate := []data.Object{{Box: data.Box{X0: 5, Y0: 5, X1: 5, Y1: 20}, Score: 1}, {Box: data.Box{X0: 80, Y0: 80, X1: 90, Y1: 90}, Score: 1}}
		for _, c := range []struct {
			what    string
			objects []data.Object
			want    []string
		}{
			{"unknown", nil, nil},
			{"none", []data.Object{}, []string{"rpn_objectness", "box_class"}},
			{"boxes of no area and outside", degenerate, []string{"rpn_objectness", "box_class"}},
			{"without masks", boxOnly, []string{"rpn_objectness", "rpn_box", "box_class", "box"}},
			{"with masks", detectionlabel.Of(viewsOf(images, size)[0]), []string{"rpn_objectness", "rpn_box", "box_class", "box", "mask"}},
		} {
			if got := parts(n, c.objects); !slices.Equal(got, c.want) {
				t.Errorf("objects %s: parts %v, want %v", c.what, got, c.want)
			}
		}
	})
}

// invariantSum is all of the loss of inverse depth.
func invariantSum(got, want, valid *torch.Tensor) *torch.Tensor {
	sum := torch.Number(0)
	for _, l := range depthlabel.InvariantLoss(got, want, valid, func(int64) float64 { return 1 }) {
		sum = sum.Add(l.Value)
	}
	return sum
}

// The loss for inverse depth does not change with scale and shift, neither of the prediction nor of the
// label, and stays finite for a flat prediction.
func TestInvariantLoss(t *testing.T) {
	const n, side = 2, 20
	do(t, func() {
		tensor := func(name string) *torch.Tensor { return torch.From(goldentest.Noise(name, n*side*side), n, side, side) }
		got, want := tensor("got"), tensor("want")
		valid := tensor("valid").Gt(torch.Number(-0.5)).As(torch.Float)
		base := invariantSum(got, want, valid).Item()
		if v, reference := invariantSum(want.Add(got.Scale(0.5)), want, valid).Item(), readGolden(t).Aligned; math.Abs(v-reference) > 1e-5*reference {
			t.Errorf("loss %v, published code %v", v, reference)
		}
		for _, c := range [][2]float64{{3, 0}, {1, 7}, {0.2, -4}} {
			if v := invariantSum(got.Scale(c[0]).AddScalar(c[1]), want, valid).Item(); math.Abs(v-base) > 1e-3*base {
				t.Errorf("prediction · %v + %v: loss %v, want %v", c[0], c[1], v, base)
			}
		}
		if v := invariantSum(want.Scale(5).AddScalar(-2), want, valid).Item(); v > 1e-3 {
			t.Errorf("loss %v for the label itself, scaled", v)
		}
		if v := invariantSum(want.Scale(-5), want, valid).Item(); v < 1.8*base {
			t.Errorf("loss %v for the label upside down, where noise has %v", v, base)
		}
		// What the prediction is where there is no label plays no part.
		spoilt := got.Add(tensor("other").Mul(valid.Neg().AddScalar(1)))
		if v := invariantSum(spoilt, want, valid).Item(); math.Abs(v-base) > 1e-5*base {
			t.Errorf("invalid pixels change the loss from %v to %v", base, v)
		}
		flat := torch.NewFlat(torch.Float, [][]int64{{n, side, side}}, true)
		defer flat.Free()
		loss := invariantSum(flat.Params[0], want, valid)
		loss.Backward()
		if !loss.IsFinite().All() || !flat.Grad.IsFinite().All() {
			t.Error("a flat prediction has no finite loss or gradient")
		}
		// Training turns a prediction round that is upside down.
		torch.Load(flat.Data, torch.Values[float32](want.Scale(-1).Add(got.Scale(0.2))))
		for range 300 {
			flat.Grad.Fill(0)
			torch.Scope(func() { invariantSum(flat.Params[0], want, valid).Backward() })
			torch.NoGrad(func() {
				torch.Scope(func() { flat.Data.Copy(flat.Data.Sub(flat.Grad.Div(flat.Grad.Norm().AddScalar(1e-12)))) })
			})
		}
		if v := invariantSum(flat.Params[0], want, valid).Item(); v > 0.8*base {
			t.Errorf("loss %v after descent from upside down, where noise has %v", v, base)
		}
	})
	d := depthHead(data.Inverse)
	s := viewsOf(noiseImages(1, 32), 32)[0]
	first := d.Targets([]*data.Sample{s}, nil).(*task.MapTargets).Values
	for i := range depthlabel.Of(s).Pix {
		depthlabel.Of(s).Pix[i] = 40*depthlabel.Of(s).Pix[i] - 300
	}
	goldentest.Near(t, "targets of a label of other scale and shift", d.Targets([]*data.Sample{s}, nil).(*task.MapTargets).Values, first, 1e-3)
}

func depthHead(units string) task.Head {
	_, b := model.NewSet()
	return registry.Get(depthlabel.Name).Head(b, task.HeadSpec{Task: depthlabel.Name, Model: spec(32, labels(), depthlabel.Name).Model, Meaning: data.Meaning{Units: units}})
}

// Depths that are not positive have no logarithm and count as invalid.
func TestMetricDepthOfNothing(t *testing.T) {
	d := depthHead(data.Metric)
	s := &data.Sample{Known: data.Know(depthlabel.New(&data.Grid[float32]{W: 2, H: 2, Pix: []float32{0, -1, 1, float32(math.Inf(1))}}))}
	targets := d.Targets([]*data.Sample{s}, nil).(*task.MapTargets)
	if !slices.Equal(targets.Valid, []float32{0, 0, 1, 0}) || targets.Count != 1 || !slices.Equal(targets.Values, make([]float32, 4)) {
		t.Errorf("got %+v", targets)
	}
}

// The published rules: objects from a score of 0.5 on, pixels below a confidence of 0.5 ignored, class
// distributions and maps as they are.
func TestPseudo(t *testing.T) {
	pred := func() *data.Sample {
		return &data.Sample{
			Known: data.Know(classificationlabel.New([]float32{0.2, 0.7, 0.1}), detectionlabel.New([]data.Object{{Score: 0.9, Class: 1}, {Score: 0.5}, {Score: 0.4999}}), segmentationlabel.NewPrediction(&data.Grid[uint8]{W: 3, H: 1, Pix: []uint8{0, 1, 2}}, &data.Grid[float32]{W: 3, H: 1, Pix: []float32{0.49, 0.5, 0.9}}), depthlabel.New(&data.Grid[float32]{W: 1, H: 1, Pix: []float32{2}}), normalslabel.New(&data.Grid[[3]float32]{W: 1, H: 1, Pix: [][3]float32{{0, 0, -1}}})),
		}
	}
	p := pred()
	for _, l := range p.Known {
		p.Put(registry.Get(l.Task()).Pseudo(l, 0.5))
	}
	if !slices.Equal(classificationlabel.Of(p), classificationlabel.Of(pred())) || depthlabel.Of(p).Pix[0] != 2 || normalslabel.Of(p).Pix[0] != [3]float32{0, 0, -1} {
		t.Errorf("soft and continuous labels changed: %+v", p)
	}
	if len(detectionlabel.Of(p)) != 2 || detectionlabel.Of(p)[0].Class != 1 || detectionlabel.Of(p)[1].Score != 0.5 {
		t.Errorf("objects %+v", detectionlabel.Of(p))
	}
	if !slices.Equal(segmentationlabel.Of(p).Pix, []uint8{data.Ignore, 1, 2}) || segmentationlabel.Confidence(p) != nil {
		t.Errorf("semantic %v, confidence %v", segmentationlabel.Of(p), segmentationlabel.Confidence(p))
	}
	p = &data.Sample{Known: data.Know(detectionlabel.New([]data.Object{{Score: 0.1}}))}
	if p.Put(registry.Get(detectionlabel.Name).Pseudo(p.Label(detectionlabel.Name), 0.5)); detectionlabel.Of(p) == nil || len(detectionlabel.Of(p)) > 0 {
		t.Errorf("an image in which nothing was found has objects %#v, want none, which is not unknown", detectionlabel.Of(p))
	}
}

// set is a small dataset of images that are not square; sample 2 is broken.
type set struct {
	labels data.Labels
	w, h   int
	reads  *atomic.Int64
}

func (s set) Len() int            { return 7 }
func (s set) Labels() data.Labels { return s.labels }
func (s set) Key(i int) string    { return fmt.Sprint("image", i) }

func (s set) Sample(i int) (*data.Sample, error) {
	if s.reads != nil {
		s.reads.Add(1)
	}
	if i == 2 {
		return nil, &data.SampleError{Key: s.Key(i), Err: errors.New("broken")}
	}
	sample := &data.Sample{Key: s.Key(i), Image: image.NewRGBA(image.Rect(0, 0, s.w, s.h)), Known: data.Know(classificationlabel.New([]float32{0, 1, 0}), depthlabel.New(data.NewGrid[float32](s.w, s.h)))}
	rng := rand.New(rand.NewPCG(1, uint64(i)))
	for k := range sample.Image.Pix {
		sample.Image.Pix[k] = uint8(rng.Uint32())
	}
	for k := range depthlabel.Of(sample).Pix {
		depthlabel.Of(sample).Pix[k] = 2
	}
	return sample, nil
}

// Predictions are in the frame of the image, in order, of the tasks asked for; every image is read
// once, for networks of any size; broken ones are left out.
func TestPredict(t *testing.T) {
	var big, small *Network
	do(t, func() {
		var err error
		if big, err = New(spec(64, labels(), classificationlabel.Name, detectionlabel.Name, segmentationlabel.Name), 1); err != nil {
			t.Fatal(err)
		}
		if small, err = New(spec(48, labels(), classificationlabel.Name, depthlabel.Name, normalslabel.Name), 1); err != nil {
			t.Fatal(err)
		}
	})
	defer torch.Do(func() { big.Free(); small.Free() })
	ds := set{labels: data.Labels{}, w: 50, h: 30, reads: new(atomic.Int64)}
	var order []int
	var skipped []error
	var live int
	uses := []predict.Use{{Net: big}, {Net: small, Tasks: []string{depthlabel.Name, normalslabel.Name}}}
	err := predict.Run(t.Context(), uses, ds, predict.Options{Batch: 2, Skipped: func(err error) { skipped = append(skipped, err) }}, func(i int, s, p *data.Sample) error {
		order = append(order, i)
		if s.Key != ds.Key(i) || p.Key != s.Key {
			t.Errorf("sample %d: keys %s and %s", i, s.Key, p.Key)
		}
		sum := classificationlabel.Of(p)[0] + classificationlabel.Of(p)[1] + classificationlabel.Of(p)[2]
		if len(classificationlabel.Of(p)) != 3 || math.Abs(float64(sum)-1) > 1e-5 {
			t.Errorf("classes %v", classificationlabel.Of(p))
		}
		if len(detectionlabel.Of(p)) == 0 || len(detectionlabel.Of(p)) > 50 {
			t.Errorf("%d objects", len(detectionlabel.Of(p)))
		}
		for k, o := range detectionlabel.Of(p) {
			if o.Box != o.Box.Clip(50, 30) || o.Box.Area() == 0 || o.Class < 0 || o.Class > 1 || o.Mask == nil || !o.Mask.Rect.In(image.Rect(0, 0, 50, 30)) {
				t.Errorf("object %+v", o)
			}
			if !(o.Score > 0.05 && o.Score <= 1) || k > 0 && o.Score > detectionlabel.Of(p)[k-1].Score {
				t.Errorf("object %d has score %v", k, o.Score)
			}
		}
		const n = 50 * 30
		if segmentationlabel.Of(p).W != 50 || segmentationlabel.Of(p).H != 30 || len(segmentationlabel.Of(p).Pix) != n || len(segmentationlabel.Confidence(p).Pix) != n || len(depthlabel.Of(p).Pix) != n || len(normalslabel.Of(p).Pix) != n {
			t.Errorf("maps of other sizes than the image: %+v", p)
		}
		for k := range n {
			if c := segmentationlabel.Confidence(p).Pix[k]; segmentationlabel.Of(p).Pix[k] > 3 || !(c >= 0.25 && c <= 1) {
				t.Fatalf("pixel %d: class %d, confidence %v", k, segmentationlabel.Of(p).Pix[k], c)
			}
			v := normalslabel.Of(p).Pix[k]
			if l := v[0]*v[0] + v[1]*v[1] + v[2]*v[2]; !(depthlabel.Of(p).Pix[k] > 0) || math.Abs(float64(l)-1) > 1e-4 {
				t.Fatalf("pixel %d: depth %v, normal %v", k, depthlabel.Of(p).Pix[k], v)
			}
		}
		now := torch.Live()
		if live == 0 {
			live = now
		} else if now != live {
			t.Errorf("%d tensors, %d after the first image", now, live)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []int{0, 1, 3, 4, 5, 6}) || ds.reads.Load() != 7 || len(skipped) != 1 {
		t.Errorf("order %v, %d reads, skipped %v", order, ds.reads.Load(), skipped)
	}

	// A part of the set, and an end in the middle.
	order = nil
	stop := errors.New("enough")
	err = predict.Run(t.Context(), uses, ds, predict.Options{Batch: 2, From: 3, To: 6}, func(i int, _, p *data.Sample) error {
		if order = append(order, i); i == 4 {
			return stop
		}
		return nil
	})
	if err != stop || !slices.Equal(order, []int{3, 4}) {
		t.Errorf("order %v, %v", order, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := predict.Run(ctx, uses, ds, predict.Options{}, func(int, *data.Sample, *data.Sample) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	// One network alone sees the same as beside another of another size.
	var alone *data.Sample
	err = predict.Run(t.Context(), uses[1:], ds, predict.Options{To: 1}, func(_ int, _, p *data.Sample) error {
		alone = p
		return nil
	})
	if err != nil || classificationlabel.Of(alone) != nil || detectionlabel.Of(alone) != nil || segmentationlabel.Of(alone) != nil {
		t.Fatalf("%v; tasks that were not asked for: %+v", err, alone)
	}
	err = predict.Run(t.Context(), uses, ds, predict.Options{To: 1}, func(_ int, _, p *data.Sample) error {
		goldentest.Near(t, "depth beside another network", depthlabel.Of(p).Pix, depthlabel.Of(alone).Pix, 1e-5)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEvaluate(t *testing.T) {
	with(t, spec(48, labels(), classificationlabel.Name, depthlabel.Name, normalslabel.Name), func(n *Network) {
		l := data.Labels{classificationlabel.Name: {Classes: labels()[classificationlabel.Name].Classes}, depthlabel.Name: {Units: data.Metric}, segmentationlabel.Name: {Classes: []string{"only the set's"}}}
		scores, err := predict.Evaluate(t.Context(), n, set{labels: l, w: 50, h: 30}, predict.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if tasks := slices.Sorted(maps.Keys(scores)); !slices.Equal(tasks, []string{classificationlabel.Name, depthlabel.Name}) {
			t.Errorf("scores of %v", tasks)
		}
		if flat := scores.ByName(); len(flat) == 0 || !strings.Contains(fmt.Sprint(slices.Sorted(maps.Keys(flat))), "classification.") {
			t.Errorf("scores %v", flat)
		}
		// Depth of another kind is aligned, not refused.
		if scores, err := predict.Evaluate(t.Context(), n, set{labels: data.Labels{depthlabel.Name: {Units: data.Inverse}}, w: 50, h: 30}, predict.Options{}); err != nil || len(scores[depthlabel.Name]) == 0 {
			t.Errorf("inverse depth: %v, %v", scores, err)
		}
		for want, l := range map[string]data.Labels{
			"nothing to score":    {segmentationlabel.Name: {Classes: []string{"a"}}},
			`class 1 is "b"`:      {classificationlabel.Name: {Classes: []string{"a", "z", "c"}}},
			"one has 3 classes":   {classificationlabel.Name: {Classes: []string{"a", "b", "c", "d"}}},
			"not the set's: clas": {classificationlabel.Name: {Classes: []string{"a", "b"}}},
		} {
			if _, err := predict.Evaluate(t.Context(), n, set{labels: l, w: 50, h: 30}, predict.Options{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("labels %+v: %v, want %q", l, err, want)
			}
		}
	})
}

func TestSpecCheck(t *testing.T) {
	many := labels()
	many = many.With(segmentationlabel.Name, data.Meaning{Classes: make([]string, 256)})
	yards := labels()
	yards = yards.With(depthlabel.Name, data.Meaning{Units: "yards"})
	for want, change := range map[string]func(s *Spec){
		"has 17 layers":      func(s *Spec) { s.Model.Backbone = model.ResNetConfig{Layers: 17, Width: 1} },
		"size is 31":         func(s *Spec) { s.Size = 31 },
		"std":                func(s *Spec) { s.Std[1] = 0 },
		"mean":               func(s *Spec) { s.Mean[2] = math.NaN() },
		"at least one task":  func(s *Spec) { s.Tasks = nil },
		`no task "chess"`:    func(s *Spec) { s.Tasks = []string{"chess"} },
		"named twice":        func(s *Spec) { s.Tasks = []string{depthlabel.Name, depthlabel.Name} },
		"no labels for task": func(s *Spec) { s.Labels = data.Labels{} },
		"256 classes":        func(s *Spec) { s.Labels = many },
		"yards":              func(s *Spec) { s.Labels = yards },
		"anchor_scale":       func(s *Spec) { s.Detection.AnchorScale = math.NaN() },
		"detection.rois":     func(s *Spec) { s.Detection.RoIs = 0 },
	} {
		s := spec(64, labels(), labels().Tasks()...)
		change(&s)
		if _, err := New(s, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := spec(64, labels(), labels().Tasks()...).Check(); err != nil {
		t.Error(err)
	}
}
