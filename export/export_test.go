package export

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/checkpoint"
	"must/data"
	"must/model"
	"must/network"
	"must/onnx/graph"
	"must/onnx/ort"
	"must/task"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/torch"
	"must/torch/goldentest"
)

func TestMain(m *testing.M) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func needsRuntime(t *testing.T) {
	t.Helper()
	if _, err := ort.Open(); err != nil {
		t.Skip(err)
	}
}

var backbones = map[string]model.Config{
	"resnet18": {Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16},
	"resnet50": {Backbone: model.ResNetConfig{Layers: 50, Width: 0.125}, FPN: 16, Head: 8, BoxFC: 16},
	"groups":   {Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, Norm: model.NormGroup, FPN: 8, Head: 8, BoxFC: 16},
	"resnext":  {Backbone: model.ResNetConfig{Layers: 50, Width: 0.125, Stem: model.StemDeep, Variant: model.ResNetVariant{Groups: 4, GroupWidth: 4, Squeeze: 16, AverageShortcut: true}}, FPN: 8, Head: 8, BoxFC: 16},
	"bit":      {Backbone: model.BiTConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16},
	"clip": {Backbone: model.ViTConfig{Patch: 8, Grid: 7, Dim: 24, Heads: 3, Layers: 2,
		Variant: model.ViTVariant{MLP: 40, PreNorm: true, QKNorm: true, MeanToken: true}}, FPN: 8, Head: 8, BoxFC: 16},
	"vit": {Backbone: model.ViTConfig{Patch: 16, Grid: 5, Dim: 24, Heads: 3, Layers: 2}, FPN: 8, Head: 8, BoxFC: 16},
}

func labels() data.Labels {
	return data.Labels{
		classification.Name: {Classes: []string{"a", "b", "c"}}, detection.Name: {Classes: []string{"x", "y"}, Masks: true},
		segmentation.Name: {Classes: []string{"p", "q", "r", "s"}}, depth.Name: {Units: data.Metric}, normals.Name: {},
	}
}

func spec(c model.Config, size int, l data.Labels, tasks ...string) network.Spec {
	d := detection.DefaultConfig()
	d.AnchorScale, d.PreNMS, d.PostNMS, d.MaxObjects = 2, 100, 60, 20
	return network.Spec{Model: c, Detection: d, Tasks: tasks, Labels: l, Size: size, Mean: network.ImageNetMean, Std: network.ImageNetStd}
}

// with runs f on a fresh network whose norms and biases are a formula of their names, and whose last
// layers say something.
func with(t *testing.T, s network.Spec, f func(n *network.Network)) {
	t.Helper()
	var n *network.Network
	err := torch.DoErr(func() (err error) {
		if n, err = network.New(s, 1); err != nil {
			return err
		}
		state := n.Set.State()
		gain := float32(20)
		if r, ok := s.Model.Backbone.(model.ResNetConfig); ok && r.Layers == 50 { // whose features are larger
			gain = 3
		}
		for _, p := range n.Set.All() {
			switch {
			case len(p.Shape) == 1:
				state[p.Name] = goldentest.Parameter(p.Name, p.Shape)
			case strings.HasPrefix(p.Name, "heads.") && slices.Max(state[p.Name]) < 0.1:
				for i := range state[p.Name] {
					state[p.Name][i] *= gain
				}
			}
		}
		_, _, err = n.Set.Load(state)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer torch.Do(n.Free)
	f(n)
}

func exported(t *testing.T, n *network.Network, o Options) *Proof {
	t.Helper()
	o.Program = "must test"
	path := filepath.Join(t.TempDir(), "model.onnx")
	p, err := ONNX(context.Background(), n, path, o)
	if p != nil {
		t.Logf("\n%v", p)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryBackboneAndTask(t *testing.T) {
	needsRuntime(t)
	for name, c := range backbones {
		t.Run(name, func(t *testing.T) {
			with(t, spec(c, 64, labels(), labels().Tasks()...), func(n *network.Network) {
				p := exported(t, n, Options{Features: n.FeatureNames()})
				rows := p.Rows[1]
				if p.Images < 16 || len(rows) != 7+len(n.FeatureNames()) {
					t.Errorf("%d images, %d outputs", p.Images, len(rows))
				}
				if objects := rows[1].Same; objects < 10 {
					t.Errorf("%d objects prove little", objects)
				}
			})
		})
	}
}

// Features of a vector, of maps that are pooled from C5, read between its cells, and pooled from the fused P2;
// with moments and without.
func TestFeatures(t *testing.T) {
	needsRuntime(t)
	moments := &data.Moments{Count: 9, Mean: []float64{0.5, -1, 3}, Variance: []float64{4, 0.25, 1}}
	all := data.Labels{
		"features.vector": {Channels: 3, Grid: 1, Moments: moments}, "features.small": {Channels: 3, Grid: 2, Moments: moments},
		"features.between": {Channels: 3, Grid: 5}, "features.fine": {Channels: 3, Grid: 8, Moments: moments},
	}
	for _, name := range []string{"resnet18", "vit"} {
		with(t, spec(backbones[name], 64, all, all.Tasks()...), func(n *network.Network) {
			if p := exported(t, n, Options{}); len(p.Rows[1]) != 4 {
				t.Errorf("%s: %d outputs, want 4", name, len(p.Rows[1]))
			}
		})
	}
}

func TestOptions(t *testing.T) {
	needsRuntime(t)
	inverse := labels()
	inverse = inverse.With(depth.Name, data.Meaning{Units: data.Inverse}).
		With(detection.Name, data.Meaning{Classes: inverse[detection.Name].Classes})
	with(t, spec(backbones["resnet18"], 96, inverse, inverse.Tasks()...), func(n *network.Network) {
		for name, o := range map[string]Options{
			"bytes":          {Bytes: true, Argmax: true},
			"raw":            {Raw: true, Tasks: []string{detection.Name}},
			"half":           {Half: true, Tasks: []string{classification.Name, segmentation.Name, depth.Name, normals.Name}},
			"half objects":   {Half: true, Tasks: []string{detection.Name}},
			"classification": {Tasks: []string{classification.Name}, Features: []string{"pooled"}},
		} {
			t.Run(name, func(t *testing.T) { exported(t, n, o) })
		}
		for want, o := range map[string]Options{
			"task pose: the network has": {Tasks: []string{"pose"}},
			"feature p9":                 {Features: []string{"p9"}},
			"argmax is of segmentation":  {Argmax: true, Tasks: []string{depth.Name}},
			"raw is of detection":        {Raw: true, Tasks: []string{depth.Name}},
		} {
			if _, err := ONNX(context.Background(), n, filepath.Join(t.TempDir(), "m.onnx"), o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	})
}

// A model that computes something else is not written, and what was there before stays.
func TestNothingUnprovenIsWritten(t *testing.T) {
	needsRuntime(t)
	p := &Proof{Tolerance: tolerance, Batches: []int{1}, Rows: map[int][]task.Difference{1: {{Output: "depth", Largest: 2e-4}}}}
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "depth, batch 1: it differs by 0.0002") {
		t.Error(err)
	}
	with(t, spec(backbones["resnet18"], 64, labels(), depth.Name), func(n *network.Network) {
		dir := t.TempDir()
		path := filepath.Join(dir, "model.onnx")
		if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := torch.Do(func() { n.Set.Flat.Data.Fill(float64(1e30)) }); err != nil {
			t.Fatal(err)
		}
		if _, err := ONNX(context.Background(), n, path, Options{Program: "must test"}); err == nil || !strings.Contains(err.Error(), "is not written") {
			t.Error(err)
		}
		if b, _ := os.ReadFile(path); string(b) != "before" {
			t.Errorf("%q is there", b)
		}
		files, _ := os.ReadDir(dir)
		if len(files) != 1 {
			t.Error(slices.Collect(func(yield func(string) bool) {
				for _, f := range files {
					yield(f.Name())
				}
			}))
		}
	})
}

// What Open reads predicts as the network does, of several images as of one.
func TestModelPredicts(t *testing.T) {
	needsRuntime(t)
	for name, o := range map[string]Options{"all": {}, "argmax": {Argmax: true, Bytes: true}, "part": {Tasks: []string{detection.Name, segmentation.Name}}} {
		t.Run(name, func(t *testing.T) {
			with(t, spec(backbones["resnet18"], 64, labels(), labels().Tasks()...), func(n *network.Network) {
				path := filepath.Join(t.TempDir(), "model.onnx")
				o.Program, o.Origin.SHA256 = "must test", "abc"
				if _, err := ONNX(context.Background(), n, path, o); err != nil {
					t.Fatal(err)
				}
				m, err := Open(path, 1)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				tasks := o.Tasks
				if tasks == nil {
					tasks = labels().Tasks()
				}
				if !slices.Equal(m.Tasks(), tasks) || m.Origin.SHA256 != "abc" || m.View() != n.View() {
					t.Errorf("%v of %s, %v", m.Tasks(), m.Origin.SHA256, m.View())
				}
				images, err := proofImages(nil, 64, leastImages)
				if err != nil {
					t.Fatal(err)
				}
				pix := bring(n.View(), images[:5])
				want, err := n.See(pix, tasks...)
				if err != nil {
					t.Fatal(err)
				}
				got, err := m.See(pix)
				if err != nil {
					t.Fatal(err)
				}
				for i, w := range want {
					near(t, "probability", classification.Of(got[i]), classification.Of(w), 1e-5)
					near(t, "confidence", segmentation.Confidence(got[i]).Pix, segmentation.Confidence(w).Pix, 1e-4)
					other := 0
					for k, c := range segmentation.Of(w).Pix {
						if segmentation.Of(got[i]).Pix[k] != c {
							other++
						}
					}
					if other > 4 {
						t.Errorf("image %d: %d pixels are of another class", i, other)
					}
					if len(detection.Of(got[i])) != len(detection.Of(w)) {
						t.Errorf("image %d: %d objects, want %d", i, len(detection.Of(got[i])), len(detection.Of(w)))
					}
					if (depth.Of(got[i]) == nil) != !slices.Contains(tasks, depth.Name) {
						t.Error("depth that was not asked for, or none")
					}
				}
			})
		})
	}
}

func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if got == nil {
		return
	}
	for i, w := range want {
		if d := float64(got[i] - w); !(d <= tolerance && d >= -tolerance) {
			t.Errorf("%s %d is %v, want %v", what, i, got[i], w)
			return
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	needsRuntime(t)
	dir := t.TempDir()
	write := func(name string, texts map[string]string, side int64) string {
		g := graph.New()
		x := g.Input(task.InputName, graph.Float, graph.Batch, 3, side, side)
		g.Output(g.Op("ReduceMean", graph.Attrs{"axes": []int64{2, 3}, "keepdims": 0}, x), classification.Name, graph.Float, graph.Batch, 3)
		path := filepath.Join(dir, name)
		if err := g.Write(path, "test", "1", texts); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := spec(backbones["resnet18"], 64, labels(), classification.Name)
	said := func(s network.Spec) map[string]string {
		return map[string]string{metadataKey: fmt.Sprintf(`{"format": 1, "spec": %s}`, s.Settings())}
	}
	more := s
	more.Labels = more.Labels.With(classification.Name, data.Meaning{Classes: []string{"a", "b", "c", "d"}})
	for want, path := range map[string]string{
		"no export of this program":            write("other.onnx", nil, 64),
		"export of format 2":                   write("newer.onnx", map[string]string{metadataKey: `{"format": 2}`}, 64),
		"its input is not images":              write("size.onnx", said(s), 96),
		"output classification has shape":      write("classes.onnx", said(more), 64),
		"such file or directory":               filepath.Join(dir, "missing.onnx"),
		"metadata must.export: unexpected":     write("broken.onnx", map[string]string{metadataKey: `{"format": 1`}, 64),
		"metadata must.export: model.backbone": write("nothing.onnx", map[string]string{metadataKey: `{"format": 1}`}, 64),
	} {
		if m, err := Open(path, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
			if m != nil {
				m.Free()
			}
		}
	}
	m, err := Open(write("good.onnx", said(s), 64), 1)
	if err != nil {
		t.Fatal(err)
	}
	m.Free()
}

// What torchvision's names are given to is read back as torchvision's weights are.
func TestTorch(t *testing.T) {
	vit := backbones["vit"]
	for want, s := range map[string]network.Spec{
		"torchvision.models.VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=96, num_classes=3)": spec(vit, 64, labels(), classification.Name, depth.Name),
		"torchvision.models.resnet18(num_classes=3)":                  spec(model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 1}, FPN: 8, Head: 8, BoxFC: 8}, 64, labels(), classification.Name),
		"torchvision.models.resnet18() with fc = torch.nn.Identity()": spec(model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 1}, FPN: 8, Head: 8, BoxFC: 8}, 64, labels(), normals.Name),
	} {
		with(t, s, func(n *network.Network) {
			path := filepath.Join(t.TempDir(), "trunk.pth")
			build, err := Torch(n, path)
			if err != nil || build != want {
				t.Fatalf("%s, %v, want %s", build, err, want)
			}
			c, err := checkpoint.ReadPretrained(path)
			if err != nil {
				t.Fatal(err)
			}
			torch.Do(func() {
				back, err := network.New(s, 2)
				if err != nil {
					t.Fatal(err)
				}
				defer back.Free()
				if vit, ok := c.Spec.Model.Backbone.(model.ViTConfig); ok {
					vit.Heads = 3
					c.Spec.Model.Backbone = vit
				}
				if _, err := c.Fill(back, checkpoint.Parts{Heads: true}); err != nil {
					t.Fatal(err)
				}
				given, got := n.Set.State(), back.Set.State()
				for _, p := range n.Set.All() {
					ours := strings.HasPrefix(p.Name, "backbone.") || strings.HasPrefix(p.Name, "heads.classification.")
					if ours && p.Name != "backbone.pos_embed" && !slices.Equal(got[p.Name], given[p.Name]) {
						t.Errorf("%s is another", p.Name)
					}
				}
			})
		})
	}
	with(t, spec(backbones["bit"], 64, labels(), depth.Name), func(n *network.Network) {
		if _, err := Torch(n, filepath.Join(t.TempDir(), "b.pth")); err == nil || !strings.Contains(err.Error(), "torchvision has no BiT ResNet-v2-18") {
			t.Error(err)
		}
	})
}

// Weights that a file does not hold lie beside it, and are gone when it holds them.
func TestWeightsBeside(t *testing.T) {
	needsRuntime(t)
	with(t, spec(backbones["vit"], 64, labels(), classification.Name), func(n *network.Network) {
		path := filepath.Join(t.TempDir(), "model.onnx")
		for _, inline := range []int{1, 0} {
			if _, err := ONNX(context.Background(), n, path, Options{Program: "must test", inline: inline}); err != nil {
				t.Fatal(err)
			}
			m, err := Open(path, 1)
			if err != nil {
				t.Fatal(err)
			}
			m.Free()
			beside, err := os.Stat(path + ".data")
			if inline == 0 && !os.IsNotExist(err) || inline != 0 && (err != nil || beside.Size() < 10000) {
				t.Errorf("at most %d bytes inside: %v, %v", inline, beside, err)
			}
		}
	})
}
