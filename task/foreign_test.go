package task

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/model"
	classificationlabel "must/task/classification"
	depthlabel "must/task/depth"
	detectionlabel "must/task/detection"
	"must/torch"
	"must/torch/goldentest"
	"must/weights"
)

// foreignGolden is what other programs' networks compute; testdata/make_foreign.py makes it.
type foreignGolden struct {
	Shapes    map[string][]int64
	Outputs   map[string][]float32
	Mean, Std [3]float64
	Depth     int
	Grid      int64
}

func readForeign(t *testing.T) (g map[string]foreignGolden) {
	b, err := os.ReadFile("testdata/foreign.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// write makes the file of a golden network, its names behind a prefix.
func (g foreignGolden) write(t *testing.T, prefix string) string {
	t.Helper()
	var tensors []weights.Tensor
	for name, shape := range g.Shapes {
		if strings.HasSuffix(name, "num_batches_tracked") {
			tensors = append(tensors, weights.Tensor{Name: prefix + name, DType: "I64", Data: make([]byte, 8)})
			continue
		}
		v := goldentest.Parameter(name, shape)
		tensors = append(tensors, weights.FromFloat32s(prefix+name, shape, v))
	}
	path := filepath.Join(t.TempDir(), "foreign.safetensors")
	if err := weights.Write(path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeNames makes a file of its names and shapes only, of bytes, which are read by nobody.
func (g foreignGolden) writeNames(t *testing.T) string {
	t.Helper()
	var tensors []weights.Tensor
	for name, shape := range g.Shapes {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		tensors = append(tensors, weights.Tensor{Name: name, DType: "U8", Shape: shape, Data: make([]byte, n)})
	}
	path := filepath.Join(t.TempDir(), "foreign.safetensors")
	if err := weights.Write(path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

const foreignSize, foreignImages = 64, 2

// foreignPixels are the images of make_foreign.py.
func foreignPixels() []uint8 {
	pixels := make([]uint8, foreignImages*3*foreignSize*foreignSize)
	for i, v := range goldentest.Noise("images", len(pixels)) {
		pixels[i] = uint8((v + 1) * 128)
	}
	return pixels
}

// started builds a network for a file, starts it with its heads and hands it to f.
func started(t *testing.T, path string, change func(s *Spec), f func(n *Network, s *Started)) {
	t.Helper()
	c, err := ReadStart(path)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Spec
	s.Size = foreignSize
	change(&s)
	s.Mean, s.Std = ImageNetMean, ImageNetStd // as a recipe has it
	do(t, func() {
		n, err := New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		s, err := n.Start(c, true)
		if err != nil {
			t.Fatal(err)
		}
		torch.NoGrad(func() { f(n, s) })
	})
}

func classes(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("class ", i))
	}
	return names
}

// Logits of classifiers are those of the programs that the weights are from.
func TestForeignClassifiers(t *testing.T) {
	for name, g := range readForeign(t) {
		if strings.HasPrefix(name, "mask") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := g.write(t, "module.")
			c, err := ReadStart(path)
			if err != nil {
				t.Fatal(err)
			}
			if task, n := c.Classes(); task != classificationlabel.Name || n != 10 {
				t.Errorf("%d classes for %s", n, task)
			}
			if c.Spec.Model.Depth != g.Depth {
				t.Errorf("depth %d, want %d", c.Spec.Model.Depth, g.Depth)
			}
			change := func(s *Spec) {
				s.Tasks, s.Labels = []string{classificationlabel.Name}, data.Labels{classificationlabel.Name: {Classes: classes(10)}}
				if s.Model.Backbone == model.BackboneViT {
					s.Model.Heads, s.Model.Grid = 4, g.Grid
				}
			}
			started(t, path, change, func(n *Network, s *Started) {
				if len(s.Fresh) > 0 || len(s.Unused) > 0 || len(s.Taken) != len(n.Set.All()) {
					t.Error(s)
				}
				if n.Mean != g.Mean || n.Std != g.Std {
					t.Errorf("mean %v, std %v; want %v, %v", n.Mean, n.Std, g.Mean, g.Std)
				}
				f := n.Features(foreignPixels(), foreignImages, model.Mode{})
				goldentest.Near(t, "logits", goldentest.Some(torch.Values[float32](n.Head(classificationlabel.Name).(*classification).logits(f.Pooled())), 40), g.Outputs["logits"], 1e-4)
				if want := g.Outputs["positions"]; want != nil {
					goldentest.Near(t, "positions", goldentest.Some(n.Set.State()["backbone.pos_embed"], 40), want, 1e-5)
				}
			})
		})
	}
}

// The parts of torchvision's Mask R-CNN that this one has compute the same.
func TestForeignMaskRCNN(t *testing.T) {
	all := readForeign(t)
	for _, name := range []string{"mask r-cnn", "mask r-cnn v2"} {
		t.Run(name, func(t *testing.T) {
			g := all[name]
			path := g.write(t, "")
			change := func(s *Spec) {
				if s.Model.FPN != 16 || s.Model.Depth != g.Depth {
					t.Errorf("recognised as %v", s.Model)
				}
				s.Model.Head, s.Model.BoxFC = 16, 32
				s.Tasks, s.Labels = []string{detectionlabel.Name}, data.Labels{detectionlabel.Name: {Classes: classes(4), Masks: true}}
			}
			started(t, path, change, func(n *Network, s *Started) {
				fresh, unused := []string{"neck.p6.bias", "neck.p6.weight", "neck.p7.bias", "neck.p7.weight"}, []string{}
				if name == "mask r-cnn" {
					for _, p := range n.Set.All() {
						if strings.HasPrefix(p.Name, "heads.detection.box.") {
							fresh = append(fresh, p.Name)
						}
					}
					unused = []string{"box_head.fc6.bias", "box_head.fc6.weight", "box_head.fc7.bias", "box_head.fc7.weight",
						"box_predictor.bbox_pred.bias", "box_predictor.bbox_pred.weight", "box_predictor.cls_score.bias", "box_predictor.cls_score.weight"}
				}
				slices.Sort(fresh)
				if !slices.Equal(s.Fresh, fresh) {
					t.Errorf("fresh are %v, want %v", s.Fresh, fresh)
				}
				for i, u := range s.Unused {
					if i >= len(unused) || u.Name != "roi_heads."+unused[i] || strings.HasPrefix(u.Reason, "nothing") {
						t.Errorf("unused: %v", u)
					}
				}
				if len(s.Unused) != len(unused) {
					t.Errorf("%d unused, want %d", len(s.Unused), len(unused))
				}

				f := n.Features(foreignPixels(), foreignImages, model.Mode{})
				out := map[string]*torch.Tensor{}
				for l := 2; l <= 5; l++ {
					out[fmt.Sprint("P", l)] = f.Level(l)
				}
				d := n.Head(detectionlabel.Name).(*detection)
				objectness, deltas := d.proposalNet(f)
				out["objectness"], out["deltas"] = objectness[0], deltas[0]
				x := d.maskTower.Forward(torch.From(goldentest.Noise("regions for masks", 2*16*14*14), 2, 16, 14, 14), model.Mode{})
				out["masks"] = d.maskOut.Forward(d.deconv.Forward(x).ReluInPlace())
				if g.Outputs["classes"] != nil {
					x := d.boxTower.Forward(torch.From(goldentest.Noise("regions for boxes", 2*16*7*7), 2, 16, 7, 7), model.Mode{}).Flatten(1, 3)
					x = d.boxFC.Forward(x).ReluInPlace()
					out["classes"], out["boxes"] = d.class.Forward(x), d.box.Forward(x)
				}
				for k, want := range g.Outputs {
					goldentest.Near(t, k, goldentest.Some(torch.Values[float32](out[k]), 40), want, 1e-4)
				}
			})
		})
	}
}

// Without heads the trunk alone is taken over, whatever the tasks.
func TestForeignTrunk(t *testing.T) {
	g := readForeign(t)["resnet18"]
	c, err := ReadStart(g.write(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	do(t, func() {
		s := spec(64, labels(), classificationlabel.Name, depthlabel.Name)
		s.Model.Width = c.Spec.Model.Width
		n, err := New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		before := n.Set.State()
		started, err := n.Start(c, false)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range n.Set.State() {
			theirs, backbone := strings.CutPrefix(name, "backbone.")
			if kept := slices.Equal(v, before[name]); kept == backbone && !strings.HasSuffix(theirs, "running_mean") {
				t.Errorf("%s: kept its fresh values: %v", name, kept)
			}
		}
		if text := started.String(); !strings.Contains(text, "foreign.safetensors (torchvision or timm ResNet): 100 tensors taken over") ||
			!strings.Contains(text, "heads.classification, heads.depth.linear, heads.depth.tower, neck.lateral2") || !strings.Contains(text, "2 of the file unused: fc.bias, fc.weight (the classifier)") {
			t.Error(text)
		}
		other := spec(64, labels(), depthlabel.Name) // of another width
		m, err := New(other, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		if _, err := m.Start(c, false); err == nil || !strings.Contains(err.Error(), "foreign.safetensors: the checkpoint has a ResNet-18 of width 0.25 with 8") {
			t.Error(err)
		}
	})
}

func TestForeignRefuses(t *testing.T) {
	all := readForeign(t)
	with := func(name string, change func(shapes map[string][]int64)) foreignGolden {
		g := all[name]
		g.Shapes = map[string][]int64{}
		for k, v := range all[name].Shapes {
			g.Shapes[k] = v
		}
		change(g.Shapes)
		return g
	}
	for name, c := range map[string]struct {
		g    foreignGolden
		want string
	}{
		"nothing known": {foreignGolden{Shapes: map[string][]int64{"features.0.weight": {1}}}, "no known layout"},
		"other depth": {with("resnet18", func(s map[string][]int64) {
			s["layer1.2.conv1.weight"], s["layer1.2.conv2.weight"] = []int64{1}, []int64{1}
		}), "not among this program's"},
		"deep stem":   {with("resnet18", func(s map[string][]int64) { delete(s, "conv1.weight") }), "not among this program's"},
		"no square":   {with("vit", func(s map[string][]int64) { s["encoder.pos_embedding"] = []int64{1, 64, 32} }), "not among this program's"},
		"batch norms": {with("timm bit", func(s map[string][]int64) { s["norm.running_mean"] = []int64{1024} }), "not among this program's"},
		"resnext, wide": {with("resnet18", func(s map[string][]int64) {
			for name := range s {
				if strings.HasPrefix(name, "layer") {
					s[name] = []int64{1}
				}
			}
		}), "tensors only 5 fit: layer"},
	} {
		start, err := ReadStart(c.g.writeNames(t))
		if err == nil {
			do(t, func() {
				s := spec(64, labels(), classificationlabel.Name)
				s.Model.Width = start.Spec.Model.Width
				n, e := New(s, 1)
				if e != nil {
					t.Fatal(e)
				}
				defer n.Free()
				_, err = n.Start(start, false)
			})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "foreign.safetensors") {
			t.Errorf("%s: error %v does not name the file and %q", name, err, c.want)
		}
	}
}
