package checkpoint

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/torch"
	"must/torch/goldentest"
	"must/weights"
)

func labels() data.Labels {
	return data.Labels{
		classification.Name: {Classes: []string{"a", "b", "c"}}, detection.Name: {Classes: []string{"x", "y"}, Masks: true},
		segmentation.Name: {Classes: []string{"p", "q", "r", "s"}}, depth.Name: {Units: data.Metric}, normals.Name: {},
	}
}

func spec(size int, l data.Labels, tasks ...string) network.Spec {
	return network.Spec{
		Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16}, Detection: detection.DefaultConfig(),
		Tasks: tasks, Labels: l, Size: size, Mean: network.ImageNetMean, Std: network.ImageNetStd,
	}
}

func do(t *testing.T, f func()) {
	t.Helper()
	if err := torch.Do(f); err != nil {
		t.Fatal(err)
	}
}

// with runs f on a network with values from goldentest's formula.
func with(t *testing.T, s network.Spec, f func(n *network.Network)) {
	t.Helper()
	do(t, func() {
		n, err := network.New(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Free()
		state := map[string][]float32{}
		for _, p := range n.Set.All() {
			state[p.Name] = goldentest.Parameter(p.Name, p.Shape)
		}
		if _, _, err := n.Set.Load(state); err != nil {
			t.Fatal(err)
		}
		f(n)
	})
}

func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.safetensors")
	s := spec(64, labels(), labels().Tasks()...)
	info := Training{Batch: 16, LR: 0.02, Steps: 100, Seed: 3, Data: []string{"crowds"}, Version: "test"}
	with(t, s, func(n *network.Network) {
		if err := Save(path, n, n.Set.State(), info); err != nil {
			t.Fatal(err)
		}
		net, c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		defer net.Free()
		if fmt.Sprint(c.Spec) != fmt.Sprint(s) || fmt.Sprint(c.Training) != fmt.Sprint(info) || len(c.SHA256) != 64 {
			t.Errorf("got %+v", c)
		}
		if !maps.EqualFunc(net.Set.State(), n.Set.State(), slices.Equal) {
			t.Error("other weights than were saved")
		}
		images := make([]uint8, 3*64*64)
		for i, v := range goldentest.Noise("images", len(images)) {
			images[i] = uint8((v + 1) * 128)
		}
		if a, b := n.Predict(images, 1)[0], net.Predict(images, 1)[0]; !slices.Equal(classification.Of(a), classification.Of(b)) || !slices.Equal(depth.Of(a).Pix, depth.Of(b).Pix) || len(detection.Of(a)) != len(detection.Of(b)) {
			t.Error("the loaded network predicts other things")
		}
	})

	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var tensors []weights.Tensor
	for _, name := range r.Names() {
		w, err := r.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, w)
	}
	meta := func(key, value string) map[string]string {
		m := maps.Clone(r.Metadata)
		m[key] = value
		return m
	}
	for name, c := range map[string]struct {
		write func(path string) error
		want  string
	}{
		"absent":            {func(string) error { return nil }, "no such file"},
		"truncated":         {func(p string) error { return os.WriteFile(p, whole[:len(whole)*2/3], 0o666) }, ""},
		"empty":             {func(p string) error { return os.WriteFile(p, nil, 0o666) }, ""},
		"a picture":         {func(p string) error { return os.WriteFile(p, []byte("\x89PNG\r\n\x1a\n and so on"), 0o666) }, ""},
		"other safetensors": {func(p string) error { return weights.Write(p, nil, tensors) }, "not a checkpoint"},
		"later format":      {func(p string) error { return weights.Write(p, meta(formatKey, "7"), tensors) }, "format 7"},
		"garbled spec":      {func(p string) error { return weights.Write(p, meta(specKey, "{"), tensors) }, specKey},
		"garbled training":  {func(p string) error { return weights.Write(p, meta(trainingKey, `{"batch": "x"}`), tensors) }, trainingKey},
		"no tasks":          {func(p string) error { return weights.Write(p, meta(specKey, "{}"), tensors) }, "backbone is missing"},
		"a task twice": {func(p string) error {
			return weights.Write(p, meta(specKey, strings.Replace(r.Metadata[specKey], `"tasks":[`, `"tasks":["depth",`, 1)), tensors)
		}, "twice"},
		"other task": {func(p string) error {
			return weights.Write(p, meta(specKey, strings.Replace(r.Metadata[specKey], `"tasks":[`, `"tasks":["chess",`, 1)), tensors)
		}, "chess"},
		"huge claims": {func(p string) error {
			return weights.Write(p, meta(specKey, strings.Replace(r.Metadata[specKey], `"fpn":8,"head":8`, `"fpn":8192,"head":8192`, 1)), tensors)
		}, "values where"},
		"missing tensors": {func(p string) error { return weights.Write(p, r.Metadata, tensors[:len(tensors)-2]) }, "2 of the network's tensors are missing"},
		"unknown tensors": {func(p string) error {
			return weights.Write(p, r.Metadata, append(tensors[:len(tensors):len(tensors)], weights.FromFloat32s("zzz", []int64{1}, []float32{1})))
		}, "zzz"},
		"integer tensors": {func(p string) error {
			other := slices.Clone(tensors)
			other[0] = weights.Tensor{Name: other[0].Name, DType: "I32", Shape: other[0].Shape, Data: other[0].Data}
			return weights.Write(p, r.Metadata, other)
		}, "I32"},
	} {
		p := filepath.Join(dir, name)
		if err := c.write(p); err != nil {
			t.Fatal(name, err)
		}
		net, _, err := Load(p)
		if err == nil {
			torch.Do(net.Free)
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), p) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want the file and %q", name, err, c.want)
		}
	}
}

// What a checkpoint and a network have in common is copied; the rest is named and keeps fresh values.
func TestFill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	with(t, spec(64, labels(), segmentation.Name, depth.Name), func(n *network.Network) {
		if err := Save(path, n, n.Set.State(), Training{}); err != nil {
			t.Fatal(err)
		}
	})
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	other := labels()
	other = other.With(segmentation.Name, data.Meaning{Classes: append(other[segmentation.Name].Classes, "new")})
	for _, heads := range []bool{false, true} {
		do(t, func() {
			n, err := network.New(spec(96, other, segmentation.Name, depth.Name, normals.Name), 5)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Free()
			before := n.Set.State()
			report, err := c.Fill(n, Parts{Heads: heads})
			if err != nil {
				t.Fatal(err)
			}
			fresh := report.Fresh
			for name, v := range n.Set.State() {
				copied := !strings.HasPrefix(name, "heads.") || heads && !strings.HasPrefix(name, "heads.normals.") && !strings.HasPrefix(name, "heads.segmentation.linear.")
				if copied == slices.Contains(fresh, name) {
					t.Errorf("heads %v: is %s fresh? %v", heads, name, !copied)
				}
				want := before[name]
				if copied {
					want = c.State[name]
				}
				if !slices.Equal(v, want) {
					t.Errorf("heads %v: %s has other values", heads, name)
				}
			}
		})
	}
	for _, change := range []func(m *model.Config){
		func(m *model.Config) { m.Backbone = model.ResNetConfig{Layers: 34, Width: 0.125} },
		func(m *model.Config) { m.Backbone = model.ResNetConfig{Layers: 18, Width: 0.25} }, func(m *model.Config) { m.FPN = 16 },
	} {
		do(t, func() {
			s := spec(64, labels(), depth.Name)
			change(&s.Model)
			n, err := network.New(s, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Free()
			before := n.Set.State()
			if _, err := c.Fill(n, Parts{}); err == nil || !strings.Contains(err.Error(), "ResNet-18 of width 0.125 with 8") {
				t.Errorf("%+v: %v", s.Model, err)
			}
			if !maps.EqualFunc(n.Set.State(), before, slices.Equal) {
				t.Error("a refused checkpoint left traces")
			}
		})
	}
}
