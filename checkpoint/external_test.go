package checkpoint

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/checkpoint/convert"
	"must/data"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/torch"
	"must/torch/goldentest"
	"must/weights"
)

// externalGolden is what other programs' networks compute; testdata/make_external.py makes it.
type externalGolden struct {
	Shapes    map[string][]int64
	Outputs   map[string][]float32
	Mean, Std [3]float64
	Depth     int
	Grid      int64
}

func readExternal(t *testing.T) (g map[string]externalGolden) {
	t.Helper()
	goldentest.ReadFile(t, "external.json", &g)
	return g
}

// write makes the file of a golden network, its names behind a prefix.
func (g externalGolden) write(t *testing.T, prefix string) string {
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
	path := filepath.Join(t.TempDir(), "external.safetensors")
	if err := weights.Write(path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeNames makes a file of its names and shapes only, of bytes, which are read by nobody.
func (g externalGolden) writeNames(t *testing.T) string {
	t.Helper()
	var tensors []weights.Tensor
	for name, shape := range g.Shapes {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		tensors = append(tensors, weights.Tensor{Name: name, DType: "U8", Shape: shape, Data: make([]byte, n)})
	}
	path := filepath.Join(t.TempDir(), "external.safetensors")
	if err := weights.Write(path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

const externalSize, externalImages = 64, 2

// externalPixels are the images of make_external.py.
func externalPixels() []uint8 {
	pixels := make([]uint8, externalImages*3*externalSize*externalSize)
	for i, v := range goldentest.Noise("images", len(pixels)) {
		pixels[i] = uint8((v + 1) * 128)
	}
	return pixels
}

// started builds a network for a file, starts it with its heads and hands it to f.
func started(t *testing.T, path string, change func(s *network.Spec), f func(n *network.Network, s *convert.Report)) {
	t.Helper()
	c, err := ReadPretrained(path)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Spec
	s.Size = externalSize
	change(&s)
	s.Mean, s.Std = network.ImageNetMean, network.ImageNetStd // as a recipe has it
	do(t, func() {
		n, err := network.New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		s, err := c.Fill(n, Parts{Heads: true})
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

func softmax(logits []float32) []float32 {
	sum := 0.
	for _, v := range logits {
		sum += math.Exp(float64(v))
	}
	p := make([]float32, len(logits))
	for i, v := range logits {
		p[i] = float32(math.Exp(float64(v)) / sum)
	}
	return p
}

// Probabilities of classifiers are those of the programs that the weights are from.
func TestExternalClassifiers(t *testing.T) {
	for name, g := range readExternal(t) {
		if strings.HasPrefix(name, "mask") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := g.write(t, "module.")
			c, err := ReadPretrained(path)
			if err != nil {
				t.Fatal(err)
			}
			if name, n := c.external.Classes(); name != classification.Name || n != 10 {
				t.Errorf("%d classes for %s", n, name)
			}
			if layers(c.Spec.Model) != g.Depth {
				t.Errorf("%v, want %d layers", c.Spec.Model, g.Depth)
			}
			change := func(s *network.Spec) {
				s.Tasks, s.Labels = []string{classification.Name}, data.Labels{classification.Name: {Classes: classes(10)}}
				if vit, ok := s.Model.Backbone.(model.ViTConfig); ok {
					vit.Heads, vit.Grid = 4, g.Grid
					s.Model.Backbone = vit
				}
			}
			started(t, path, change, func(n *network.Network, s *convert.Report) {
				if len(s.Fresh) > 0 || len(s.Unused) > 0 || len(s.Taken) != len(n.Set.All()) {
					t.Error(s)
				}
				if n.Mean != g.Mean || n.Std != g.Std {
					t.Errorf("mean %v, std %v; want %v, %v", n.Mean, n.Std, g.Mean, g.Std)
				}
				var got, want []float32
				for i, p := range n.Predict(externalPixels(), externalImages) {
					got = append(got, classification.Of(p)...)
					want = append(want, softmax(g.Outputs["logits"][10*i:][:10])...)
				}
				goldentest.Near(t, "probabilities", got, want, 1e-3)
				if want := g.Outputs["positions"]; want != nil {
					goldentest.Near(t, "positions", goldentest.Some(n.Set.State()["backbone.pos_embed"], 40), want, 1e-5)
				}
			})
		})
	}
}

// layers returns those that are part of a residual network's name, else 0.
func layers(c model.Config) int {
	switch b := c.Backbone.(type) {
	case model.ResNetConfig:
		return b.Layers
	case model.BiTConfig:
		return b.Layers
	}
	return 0
}

// The parts of torchvision's Mask R-CNN that this one has compute the same.
func TestExternalMaskRCNN(t *testing.T) {
	all := readExternal(t)
	for _, name := range []string{"mask r-cnn", "mask r-cnn v2"} {
		t.Run(name, func(t *testing.T) {
			g := all[name]
			path := g.write(t, "")
			change := func(s *network.Spec) {
				if s.Model.FPN != 16 || layers(s.Model) != g.Depth {
					t.Errorf("recognised as %v", s.Model)
				}
				s.Model.Head, s.Model.BoxFC = 16, 32
				s.Tasks, s.Labels = []string{detection.Name}, data.Labels{detection.Name: {Classes: classes(4), Masks: true}}
			}
			started(t, path, change, func(n *network.Network, s *convert.Report) {
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

				f := n.Features(externalPixels(), externalImages, model.Mode{})
				out := map[string]*torch.Tensor{}
				for l := 2; l <= 5; l++ {
					out[fmt.Sprint("P", l)] = f.Level(l)
				}
				detectorOutputs(t, n, f.Level(3), g.Outputs["classes"] != nil, out)
				for k, want := range g.Outputs {
					goldentest.Near(t, k, goldentest.Some(torch.Values[float32](out[k]), 40), want, 1e-4)
				}
			})
		})
	}
}

// detectorOutputs runs the detector's layers, which the network keeps to itself, by their names.
func detectorOutputs(t *testing.T, n *network.Network, p3 *torch.Tensor, box bool, out map[string]*torch.Tensor) {
	set, b := model.NewSet()
	b = b.In("heads.detection")
	conv := func(name string, out, k int64) *model.Conv {
		return model.NewConv(b.In(name), 16, out, k, 1, true, model.Constant(0))
	}
	rpn := []*model.Conv{conv("rpn.conv0", 16, 3), conv("rpn.conv1", 16, 3)}
	objectness, deltas := conv("rpn.objectness", 3, 1), conv("rpn.delta", 12, 1)
	maskTower, deconv, masks := model.NewTower(b.In("mask.tower"), 4, 16, 16), model.NewDeconv(b.In("mask.deconv"), 16, 16), conv("mask.linear", 4, 1)
	boxTower, fc := model.NewTower(b.In("box.tower"), 4, 16, 16), model.NewLinear(b.In("box.fc"), 16*49, 32, model.Constant(0))
	classes, boxes := model.NewLinear(b.In("box.class"), 32, 5, model.Constant(0)), model.NewLinear(b.In("box.delta"), 32, 20, model.Constant(0))
	set.Build(1)
	defer set.Free()
	if missing, _, err := set.Load(n.Set.State()); err != nil || missing != nil {
		t.Fatal(missing, err)
	}
	x := p3
	for _, c := range rpn {
		x = c.Forward(x).ReluInPlace()
	}
	// Anchors are numbered as [N, H, W, A].
	out["objectness"] = objectness.Forward(x).Permute(0, 2, 3, 1)
	count, h, w := x.Size(0), x.Size(2), x.Size(3)
	out["deltas"] = deltas.Forward(x).View(count, 3, 4, h, w).Permute(0, 3, 4, 1, 2)
	x = maskTower.Forward(torch.From(goldentest.Noise("regions for masks", 2*16*14*14), 2, 16, 14, 14), model.Mode{})
	out["masks"] = masks.Forward(deconv.Forward(x).ReluInPlace())
	if box {
		x := boxTower.Forward(torch.From(goldentest.Noise("regions for boxes", 2*16*7*7), 2, 16, 7, 7), model.Mode{}).Flatten(1, 3)
		x = fc.Forward(x).ReluInPlace()
		out["classes"], out["boxes"] = classes.Forward(x), boxes.Forward(x)
	}
}

// Without heads the trunk alone is taken over, whatever the tasks.
func TestExternalTrunk(t *testing.T) {
	g := readExternal(t)["resnet18"]
	c, err := ReadPretrained(g.write(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	do(t, func() {
		s := spec(64, labels(), classification.Name, depth.Name)
		s.Model.Backbone = c.Spec.Model.Backbone
		n, err := network.New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		before := n.Set.State()
		started, err := c.Fill(n, Parts{})
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range n.Set.State() {
			theirs, backbone := strings.CutPrefix(name, "backbone.")
			if kept := slices.Equal(v, before[name]); kept == backbone && !strings.HasSuffix(theirs, "running_mean") {
				t.Errorf("%s: kept its fresh values: %v", name, kept)
			}
		}
		if text := started.String(); !strings.Contains(text, "external.safetensors (torchvision or timm ResNet): 100 tensors taken over") ||
			!strings.Contains(text, "heads.classification, heads.depth.linear, heads.depth.tower, neck.lateral2") || !strings.Contains(text, "2 of the file unused: fc.bias, fc.weight (the classifier)") {
			t.Error(text)
		}
		other := spec(64, labels(), depth.Name) // of another width
		m, err := network.New(other, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		if _, err := c.Fill(m, Parts{}); err == nil || !strings.Contains(err.Error(), "external.safetensors: the checkpoint has a ResNet-18 of width 0.25 with 8") {
			t.Error(err)
		}
	})
}

func TestExternalRefuses(t *testing.T) {
	all := readExternal(t)
	with := func(name string, change func(shapes map[string][]int64)) externalGolden {
		g := all[name]
		g.Shapes = map[string][]int64{}
		for k, v := range all[name].Shapes {
			g.Shapes[k] = v
		}
		change(g.Shapes)
		return g
	}
	for name, c := range map[string]struct {
		g    externalGolden
		want string
	}{
		"nothing known": {externalGolden{Shapes: map[string][]int64{"features.0.weight": {1}}}, "no known layout"},
		"other depth": {with("resnet18", func(s map[string][]int64) {
			s["layer1.2.conv1.weight"], s["layer1.2.conv2.weight"] = []int64{1}, []int64{1}
		}), "not among this program's"},
		"deep stem":   {with("resnet18", func(s map[string][]int64) { delete(s, "conv1.weight") }), "not among this program's"},
		"no square":   {with("vit", func(s map[string][]int64) { s["encoder.pos_embedding"] = []int64{1, 63, 32} }), "its 63 positions are no square"},
		"patch of 14": {with("vit", func(s map[string][]int64) { s["conv_proj.weight"] = []int64{32, 3, 14, 14} }), "model.patch is 14"},
		"batch norms": {with("timm bit", func(s map[string][]int64) { s["norm.running_mean"] = []int64{1024} }), "not among this program's"},
		"resnext, wide": {with("resnet18", func(s map[string][]int64) {
			for name := range s {
				if strings.HasPrefix(name, "layer") {
					s[name] = []int64{1}
				}
			}
		}), "tensors only 5 fit: layer"},
		"group norms": {with("resnet18", func(s map[string][]int64) {
			maps.DeleteFunc(s, func(name string, _ []int64) bool { return strings.Contains(name, "running_") })
		}), "40 tensors of the backbone are not in it: backbone.bn1.running_mean, 39 more; it seems to have norms without running statistics"},
		"attention": {with("resnet18", func(s map[string][]int64) { s["layer1.0.se.channel.fc1.weight"] = []int64{1} }), "1 of its tensors have no use here: layer1.0.se.channel.fc1.weight (nothing here corresponds to it); it seems to have CBAM's"},
		"registers": {with("timm vit", func(s map[string][]int64) { s["reg_token"] = []int64{1, 4, 32} }), "it seems to have register tokens (reg_token)"},
		"no class":  {with("timm vit", func(s map[string][]int64) { delete(s, "cls_token") }), "without a class token"},
	} {
		start, err := ReadPretrained(c.g.writeNames(t))
		if err == nil {
			do(t, func() {
				s := spec(64, labels(), classification.Name)
				s.Model = start.Spec.Model
				n, e := network.New(s, 1)
				if e != nil {
					t.Fatal(e)
				}
				defer n.Free()
				_, err = start.Fill(n, Parts{})
			})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "external.safetensors") {
			t.Errorf("%s: error %v does not name the file and %q", name, err, c.want)
		}
	}
}

// A file with more than the backbone is taken only where that is asked for; the rest is listed.
func TestExternalPartial(t *testing.T) {
	g := readExternal(t)["resnet18"]
	g.Shapes["layer1.0.se.channel.fc1.weight"] = []int64{4}
	c, err := ReadPretrained(g.write(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	do(t, func() {
		s := spec(64, labels(), classification.Name)
		s.Model.Backbone = c.Spec.Model.Backbone
		n, err := network.New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		if _, err := c.Fill(n, Parts{}); err == nil {
			t.Error("taken without being asked for")
		}
		report, err := c.Fill(n, Parts{Partial: true})
		if err != nil {
			t.Fatal(err)
		}
		if text := report.String(); !strings.Contains(text, "layer1.0.se.channel.fc1.weight") {
			t.Error(text)
		}
	})
	if _, err := c.Backbone(); err == nil {
		t.Error("a backbone of it")
	}
}

// timm's card beside the weights says how images are normalised, and what no tensor does.
func TestExternalCard(t *testing.T) {
	path := readExternal(t)["resnet18"].write(t, "")
	card := filepath.Join(filepath.Dir(path), "config.json")
	for text, want := range map[string]string{
		`{"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.5]}}`: "",
		`{"architecture": "resnetblur18"}`: "blurred pooling",
	} {
		if err := os.WriteFile(card, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := ReadPretrained(path)
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), card)):
			t.Errorf("%s: %v", text, err)
		case want == "" && (err != nil || c.Spec.Std != [3]float64{63.75, 127.5, 127.5}):
			t.Errorf("%s: %v", text, err)
		}
	}
}
