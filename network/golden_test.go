package network

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"must/data"
	"must/detect"
	"must/model"
	classificationlabel "must/task/classification"
	depthlabel "must/task/depth"
	detectionlabel "must/task/detection"
	normalslabel "must/task/normals"
	segmentationlabel "must/task/segmentation"
	"must/torch"
	"must/torch/goldentest"
)

// golden holds what PyTorch and torchvision compute; testdata/make_golden.py makes it.
type golden struct {
	Classification, Segmentation, Metric, Inverse, Normals head
	Aligned                                                float64 // the loss for inverse depth of two noises
	Detection                                              struct {
		Losses map[string]float64
		Grad   map[string][]float64
		Inputs [7][]float64 // gradients of C5 and of P2 to P7
		Found  []struct {
			Boxes, Scores []float32
			Labels, Areas []int
		}
	}
}

type head struct {
	Loss      float64
	Grad, Out []float64
	Inputs    [7][]float64
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	goldentest.Read(t, &g)
	return g
}

// The network, features and labels of make_golden.py.
const (
	goldenSize   = 128
	goldenImages = 4
)

func labels() data.Labels {
	return data.Labels{
		classificationlabel.Name: {Classes: []string{"a", "b", "c"}}, detectionlabel.Name: {Classes: []string{"x", "y"}, Masks: true},
		segmentationlabel.Name: {Classes: []string{"p", "q", "r", "s"}}, depthlabel.Name: {Units: data.Metric}, normalslabel.Name: {},
	}
}

func spec(size int, l data.Labels, tasks ...string) Spec {
	d := detectionlabel.DefaultConfig()
	d.PreNMS, d.PostNMS, d.MaxObjects = 200, 150, 50
	return Spec{
		Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16}, Detection: d,
		Tasks: tasks, Labels: l, Size: size, Mean: ImageNetMean, Std: ImageNetStd,
	}
}

// fill gives a set the values that make_golden.py computes from names and shapes.
func fill(t *testing.T, s *model.Set) {
	t.Helper()
	state := map[string][]float32{}
	for _, p := range s.All() {
		state[p.Name] = goldentest.Parameter(p.Name, p.Shape)
	}
	if missing, unused, err := s.Load(state); err != nil || missing != nil || unused != nil {
		t.Fatal(missing, unused, err)
	}
}

// exact is how far values in float64 may be from the stored ones: labels are float32.
const exact = 1e-5

// goldenFeatures returns C5 and P2 to P7 by the formula, and the memory that holds them with gradients.
func goldenFeatures(t *testing.T, d torch.DType, m model.Mode) (*model.Features, *torch.Flat) {
	shapes := [][]int64{{goldenImages, 64, 4, 4}}
	values := goldentest.Noise("C5", goldenImages*64*4*4)
	for level := 2; level <= 7; level++ {
		side := int64(goldenSize >> level)
		shapes = append(shapes, []int64{goldenImages, 8, side, side})
		values = append(values, goldentest.Noise(fmt.Sprint("P", level), int(goldenImages*8*side*side))...)
	}
	flat := torch.NewFlat(d, shapes, true)
	t.Cleanup(func() { torch.Do(flat.Free) })
	torch.Load(flat.Data, values)
	return &model.Features{C5: flat.Params[0], P: [6]*torch.Tensor(flat.Params[1:]), Size: goldenSize, Mode: m}, flat
}

// inputGradients compares the gradients of features.
func inputGradients(t *testing.T, what string, flat *torch.Flat, want [7][]float64, tolerance float64) {
	t.Helper()
	grad := torch.Values[float64](flat.Grad)
	for i, p := range flat.Params {
		got := goldentest.Some(grad[:p.Len()], 20)
		grad = grad[p.Len():]
		if len(want[i]) == 0 { // not read at all
			want[i] = make([]float64, len(got))
		}
		goldentest.Near(t, fmt.Sprintf("%s: gradient of input %d", what, i), got, want[i], tolerance)
	}
}

// goldenSamples returns four images: 1 has no label, 3 no valid pixel, but objects; 2 has no objects.
func goldenSamples() []*data.Sample {
	const n = goldenSize * goldenSize
	samples := make([]*data.Sample, goldenImages)
	for i := range samples {
		s := &data.Sample{Key: fmt.Sprint(i), Image: image.NewRGBA(image.Rect(0, 0, goldenSize, goldenSize))}
		samples[i] = s
		if i == 1 {
			continue
		}
		segmentationlabel.Set(s, data.NewGrid[uint8](goldenSize, goldenSize))
		depthlabel.Set(s, data.NewGrid[float32](goldenSize, goldenSize))
		normalslabel.Set(s, data.NewGrid[[3]float32](goldenSize, goldenSize))
		class, depth, hole, normal := goldentest.Noise(fmt.Sprint("semantic ", i), n), goldentest.Noise(fmt.Sprint("depth ", i), n), goldentest.Noise(fmt.Sprint("hole ", i), n), goldentest.Noise(fmt.Sprint("normals ", i), 3*n)
		for k := range n {
			segmentationlabel.Of(s).Pix[k] = uint8((class[k] + 1) / 2 * 5)
			if segmentationlabel.Of(s).Pix[k] == 4 || i == 3 {
				segmentationlabel.Of(s).Pix[k] = data.Ignore
			}
			depthlabel.Of(s).Pix[k] = float32(math.NaN())
			if hole[k] < 0.5 && i != 3 {
				depthlabel.Of(s).Pix[k] = 2 + depth[k]
				normalslabel.Of(s).Pix[k] = [3]float32{normal[k], normal[n+k], normal[2*n+k]}
			}
		}
		detectionlabel.Set(s, goldenObjects(i))
		if i == 3 {
			continue
		}
		classificationlabel.Set(s, goldentest.Noise(fmt.Sprint("class ", i), 3))
		sum := float32(0)
		for k, v := range classificationlabel.Of(s) {
			classificationlabel.Of(s)[k] = max(v, -v)
			sum += classificationlabel.Of(s)[k]
		}
		for k := range classificationlabel.Of(s) {
			classificationlabel.Of(s)[k] /= sum
		}
	}
	return samples
}

func goldenObjects(i int) []data.Object {
	objects := []data.Object{}
	for k := range [...]int{2, 0, 0, 3}[i] {
		u := goldentest.Noise(fmt.Sprint("boxes ", i), 4*(k+1))[4*k:]
		x, y := math.Floor(float64((u[0]+1)*35)), math.Floor(float64((u[1]+1)*35))
		w, h := math.Floor(float64((u[2]+1)*25))+8, math.Floor(float64((u[3]+1)*25))+8
		o := data.Object{Box: data.Box{X0: x, Y0: y, X1: x + w, Y1: y + h}, Class: (i + k) % 2, Score: 1}
		o.Mask = &data.Mask{Rect: image.Rect(int(x), int(y), int(x+w), int(y+h)), Pix: make([]uint8, int(w*h))}
		for j, v := range goldentest.Noise(fmt.Sprint("mask ", i, " ", k), int(w*h)) {
			if v < 0.5 {
				o.Mask.Pix[j] = 1
			}
		}
		objects = append(objects, o)
	}
	return objects
}

func do(t *testing.T, f func()) {
	t.Helper()
	if err := torch.Do(f); err != nil {
		t.Fatal(err)
	}
}

// with runs f on a network with values from the formula.
func with(t *testing.T, s Spec, f func(n *Network)) {
	t.Helper()
	do(t, func() {
		n, err := New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		fill(t, n.Set)
		f(n)
	})
}

// gradient returns that of one parameter.
func gradient(t *testing.T, s *model.Set, name string) []float64 {
	t.Helper()
	all := torch.Values[float64](s.Flat.Grad)
	for _, p := range s.Params {
		if p.Name == name {
			return all[:p.Len()]
		}
		all = all[p.Len():]
	}
	t.Fatal("no parameter ", name)
	return nil
}

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// total adds the losses of all tasks.
func total(losses []TaskLoss) *torch.Tensor {
	sum := losses[0].Total
	for _, l := range losses[1:] {
		sum = sum.Add(l.Total)
	}
	return sum
}

// Loss, gradient and prediction of every head but the detector's, on a batch in which some images have
// no label.
func TestHeadsArePyTorchs(t *testing.T) {
	g := readGolden(t)
	inverse := labels()
	inverse = inverse.With(depthlabel.Name, data.Meaning{Units: data.Inverse})
	depths := func(preds []*data.Sample) []float32 {
		return join(preds, func(p *data.Sample) []float32 { return depthlabel.Of(p).Pix })
	}
	for _, c := range []struct {
		name, grad string
		task       string
		labels     data.Labels
		want       head
		out        func(preds []*data.Sample) []float32
	}{
		{"classification", "weight", classificationlabel.Name, labels(), g.Classification, func(preds []*data.Sample) []float32 {
			return join(preds, func(p *data.Sample) []float32 { return classificationlabel.Of(p) })
		}},
		{"segmentation", "tower.0.conv.weight", segmentationlabel.Name, labels(), g.Segmentation, func(preds []*data.Sample) []float32 {
			return append(join(preds, func(p *data.Sample) []float32 { return segmentationlabel.Confidence(p).Pix }), join(preds, func(p *data.Sample) (v []float32) {
				for _, c := range segmentationlabel.Of(p).Pix {
					v = append(v, float32(c))
				}
				return v
			})...)
		}},
		{"metric depth", "tower.0.conv.weight", depthlabel.Name, labels(), g.Metric, depths},
		{"inverse depth", "tower.0.conv.weight", depthlabel.Name, inverse, g.Inverse, depths},
		{"normals", "tower.0.conv.weight", normalslabel.Name, labels(), g.Normals, func(preds []*data.Sample) []float32 {
			return join(preds, func(p *data.Sample) (v []float32) {
				for _, n := range normalslabel.Of(p).Pix {
					v = append(v, n[:]...)
				}
				return v
			})
		}},
	} {
		with(t, spec(goldenSize, c.labels, c.task), func(n *Network) {
			goldentest.Near(t, c.name+": prediction", goldentest.Some(c.out(predictions(t, n)), 40), c.want.Out, 1e-3)

			n.Double()
			f, flat := goldenFeatures(t, torch.Double, model.Mode{Train: true})
			losses := n.Losses(f, n.Targets(goldenSamples(), seeded()), seeded())
			if len(losses) != 1 {
				t.Fatalf("%s: %d losses", c.name, len(losses))
			}
			goldentest.Near(t, c.name+": loss", []float64{losses[0].Total.Item()}, []float64{c.want.Loss}, exact)
			losses[0].Total.Backward()
			goldentest.Near(t, c.name+": gradient", goldentest.Some(gradient(t, n.Set, "heads."+c.task+"."+c.grad), 40), c.want.Grad, exact)
			inputGradients(t, c.name, flat, c.want.Inputs, exact)
		})
	}
}

func join(preds []*data.Sample, values func(p *data.Sample) []float32) (all []float32) {
	for _, p := range preds {
		all = append(all, values(p)...)
	}
	return all
}

func predictions(t *testing.T, n *Network) []*data.Sample {
	f, _ := goldenFeatures(t, torch.Float, model.Mode{})
	preds := make([]*data.Sample, goldenImages)
	for i := range preds {
		preds[i] = &data.Sample{}
	}
	torch.NoGrad(func() {
		for _, h := range n.Heads {
			h.Predict(f, preds)
		}
	})
	return preds
}

// The parts of the loss, their gradients and what is found are torchvision's, given the same anchors
// and proposals; nothing is left to the sampler's chance.
func TestDetectorIsTorchvisions(t *testing.T) {
	g := readGolden(t).Detection
	s := spec(goldenSize, labels(), detectionlabel.Name)
	s.Detection.RoIs, s.Detection.Anchors, s.Detection.Canonical = 10000, 10000, 224
	s.Detection.TrainPreNMS, s.Detection.TrainPostNMS = s.Detection.PreNMS, s.Detection.PostNMS
	const tolerance = 1e-4 // features are read at boxes of float32
	with(t, s, func(n *Network) {
		for i, found := range predictions(t, n) {
			if i >= len(g.Found) {
				break
			}
			want := g.Found[i]
			if len(detectionlabel.Of(found)) != len(want.Scores) {
				t.Errorf("image %d: %d objects, want %d", i, len(detectionlabel.Of(found)), len(want.Scores))
				continue
			}
			for k, o := range detectionlabel.Of(found) {
				b := detect.BoxOf(o.Box)
				goldentest.Near(t, fmt.Sprintf("image %d, box %d", i, k), b[:], want.Boxes[4*k:][:4], 1e-3)
				area := 0
				for _, p := range o.Mask.Pix {
					area += int(p)
				}
				if o.Class != want.Labels[k]-1 || math.Abs(float64(o.Score-want.Scores[k])) > 1e-4 || math.Abs(float64(area-want.Areas[k])) > 2+0.01*float64(area) {
					t.Errorf("image %d, object %d: class %d, score %v, area %d; want %d, %v, %d", i, k, o.Class, o.Score, area, want.Labels[k]-1, want.Scores[k], want.Areas[k])
				}
			}
		}
		n.Double()
		f, flat := goldenFeatures(t, torch.Double, model.Mode{Train: true})
		losses := n.Losses(f, n.Targets(goldenSamples(), seeded()), seeded())
		if len(losses) != 1 || len(losses[0].Parts) != len(g.Losses) {
			t.Fatal(losses)
		}
		for _, p := range losses[0].Parts {
			goldentest.Near(t, p.Name, []float64{p.Value.Item()}, []float64{g.Losses[p.Name]}, tolerance)
		}
		losses[0].Total.Backward()
		for name, want := range g.Grad {
			goldentest.Near(t, "gradient of "+name, goldentest.Some(gradient(t, n.Set, name), 40), want, tolerance)
		}
		inputGradients(t, "detection", flat, g.Inputs, tolerance)
	})
}
