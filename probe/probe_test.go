package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/checkpoint"
	"must/data"
	"must/data/npy"
	"must/data/scenes"
	"must/metric"
	"must/model"
	"must/network"
	"must/task/classification"
	"must/task/detection"
	"must/task/segmentation"
	"must/torch"
	"must/torch/goldentest"
)

// golden holds what scikit-learn computes; testdata/make_golden.py makes it.
type golden struct {
	Classes, Dim int
	Train, Test  []float32
	TrainClass   []int64 `json:"train_class"`
	TestClass    []int64 `json:"test_class"`
	KNN          []struct {
		K     int
		Votes []float32
	}
	Linear []struct {
		L2       float64
		Weight   []float64
		Probs    []float32
		Accuracy float64
	}
}

func readGolden(t *testing.T) (g golden, train, test *Features) {
	t.Helper()
	goldentest.Read(t, &g)
	names := make([]string, g.Classes)
	for i := range names {
		names[i] = fmt.Sprint("class", i)
	}
	return g, &Features{Dim: g.Dim, Values: g.Train, Class: g.TrainClass, Classes: names}, &Features{Dim: g.Dim, Values: g.Test, Class: g.TestClass, Classes: names}
}

func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !(math.Abs(float64(got[i]-want[i])) <= tolerance) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestKNNEqualsScikitLearn(t *testing.T) {
	g, train, test := readGolden(t)
	var ks []int
	for _, c := range g.KNN {
		ks = append(ks, c.K)
	}
	votes, err := KNN(t.Context(), train, test, ks, Temperature, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range g.KNN {
		near(t, fmt.Sprint("votes of ", c.K), votes[i], c.Votes, 2e-5)
	}
}

func TestLinearEqualsScikitLearn(t *testing.T) {
	g, train, test := readGolden(t)
	s := newScaler(train)
	p, err := newProblem(train, s, identity(len(train.Class)))
	if err != nil {
		t.Fatal(err)
	}
	defer torch.Do(p.free)
	q, err := newProblem(test, s, identity(len(test.Class)))
	if err != nil {
		t.Fatal(err)
	}
	defer torch.Do(q.free)
	w := make([]float64, g.Classes*(g.Dim+1))
	for _, c := range g.Linear {
		if w, err = p.fit(t.Context(), w, c.L2, 1e-9, 10000); err != nil {
			t.Fatal(err)
		}
		for i, want := range c.Weight {
			if math.Abs(w[i]-want) > 1e-4*(1+math.Abs(want)) {
				t.Errorf("L2 %v: weight %d is %v, want %v", c.L2, i, w[i], want)
			}
		}
		probs, err := q.probs(w)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprint("probabilities under L2 ", c.L2), probs, c.Probs, 1e-4)
		if right, err := q.accuracy(w); err != nil || right != c.Accuracy {
			t.Errorf("L2 %v: accuracy %v (%v), want %v", c.L2, right, err, c.Accuracy)
		}
	}
}

func TestLossGradient(t *testing.T) {
	g, train, _ := readGolden(t)
	p, err := newProblem(train, newScaler(train), identity(len(train.Class)))
	if err != nil {
		t.Fatal(err)
	}
	defer torch.Do(p.free)
	p = p.part(10, 100)
	rng := rand.New(rand.NewPCG(1, 1))
	w := make([]float64, g.Classes*(g.Dim+1))
	for i := range w {
		w[i] = rng.NormFloat64()
	}
	_, gradient, err := p.loss(w, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	const h = 1e-5
	for i := range w {
		moved := slices.Clone(w)
		moved[i] += h
		up, _, _ := p.loss(moved, 0.1)
		moved[i] -= 2 * h
		down, _, _ := p.loss(moved, 0.1)
		if got := (up - down) / (2 * h); math.Abs(got-gradient[i]) > 1e-7 {
			t.Errorf("along weight %d the loss rises by %v; the gradient says %v", i, got, gradient[i])
		}
	}
}

// Neighbours of equal similarity take part in their order, classes of equal votes likewise, whatever
// the blocks.
func TestTies(t *testing.T) {
	n := learnRows + 10
	train := &Features{Dim: 2, Classes: []string{"a", "b", "c"}}
	for i := range n { // all in one direction
		train.Values = append(train.Values, float32(1+i%3), 0)
		train.Class = append(train.Class, int64(2-i%3))
	}
	test := &Features{Dim: 2, Values: []float32{5, 0, 0, 0}, Class: []int64{0, 0}, Classes: train.Classes}
	votes, err := KNN(t.Context(), train, test, []int{1, 3, 4, n}, Temperature, nil)
	if err != nil {
		t.Fatal(err)
	}
	third := float32(1. / 3)
	for i, want := range [][]float32{{0, 0, 1}, {third, third, third}, {0.25, 0.25, 0.5}, {third, third, third}} {
		near(t, "votes", votes[i], append(want, want...), 1e-3)
	}
	if top1 := test.score("knn", votes[1])[0]; top1.Value != 1 {
		t.Errorf("of equal votes the first class should win: %v", top1)
	}
}

func TestOrderOfTrainDoesNotMatter(t *testing.T) {
	_, train, test := readGolden(t)
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(train.Class))
	moved := &Features{Dim: train.Dim, Classes: train.Classes}
	for _, i := range order {
		moved.Values = append(moved.Values, train.Values[i*train.Dim:][:train.Dim]...)
		moved.Class = append(moved.Class, train.Class[i])
	}
	a, errA := KNN(t.Context(), train, test, []int{7}, Temperature, nil)
	b, errB := KNN(t.Context(), moved, test, []int{7}, Temperature, nil)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	near(t, "votes", b[0], a[0], 1e-5)
}

func TestScoreIsDeterministicAndFreesAll(t *testing.T) {
	_, train, test := readGolden(t)
	var before, after int
	torch.Do(func() { before = torch.Live() })
	a, errA := Score(t.Context(), train, test, Options{Seed: 3})
	torch.Do(func() { after = torch.Live() })
	b, errB := Score(t.Context(), train, test, Options{Seed: 3})
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
		t.Errorf("twice the same gives %v and %v", x, y)
	}
	if after > before+4 { // constants are made once
		t.Errorf("%d tensors are left", after-before)
	}
	names := []string{}
	for _, v := range a.Values {
		names = append(names, v.Name)
		if !(v.Value > 2./7 && v.Value <= 1) || !v.HigherIsBetter {
			t.Errorf("%v, which is chance", v)
		}
	}
	if want := []string{"linear.top1", "linear.top5", "knn20.top1", "knn200.top1"}; !slices.Equal(names, want) {
		t.Errorf("values are %v, want %v", names, want)
	}
	if a.Train != len(train.Class) || a.Test != len(test.Class) || !slices.Contains(penalties, a.L2) {
		t.Errorf("%+v", a)
	}
}

// A penalty is chosen: on features that are noise a strong one.
func TestPenaltyIsChosen(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	noise := func(n, dim int) *Features {
		f := &Features{Dim: dim, Classes: []string{"a", "b", "c"}}
		for range n {
			class := rng.IntN(3)
			if rng.Float64() < 0.6 {
				class = 0 // likelier, which only the biases can know
			}
			f.Class = append(f.Class, int64(class))
			for range dim {
				f.Values = append(f.Values, float32(rng.NormFloat64()))
			}
		}
		return f
	}
	train, test := noise(300, 100), noise(300, 100)
	r, err := Linear(t.Context(), train, test, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if top1 := test.score("", r.Probs)[0].Value; r.L2 < 0.1 || top1 < 0.6 {
		t.Errorf("on noise the penalty is %v and top1 %v", r.L2, top1)
	}
}

func TestStops(t *testing.T) {
	_, train, test := readGolden(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Linear(ctx, train, test, 1, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := KNN(ctx, train, test, []int{1}, Temperature, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	_, train, test := readGolden(t)
	other, narrow := *test, *test
	other.Classes = append([]string{"zebra"}, test.Classes[1:]...)
	narrow.Dim = 3
	for _, c := range []struct {
		test *Features
		k    int
		tau  float64
		want string
	}{
		{&other, 1, 1, "zebra"}, {&narrow, 1, 1, "one network"}, {&Features{Dim: test.Dim, Classes: test.Classes}, 1, 1, "0 to score on"},
		{test, 0, 1, "neighbours"}, {test, 1, 0, "temperature"}, {test, 1, math.NaN(), "temperature"},
	} {
		if _, err := KNN(t.Context(), train, c.test, []int{c.k}, c.tau, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the error does not say %q: %v", c.want, err)
		}
	}
}

func spec(l data.Labels, tasks ...string) network.Spec {
	return network.Spec{
		Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16}, Detection: detection.DefaultConfig(),
		Tasks: tasks, Labels: l, Size: 32, Mean: network.ImageNetMean, Std: network.ImageNetStd,
	}
}

func open(t *testing.T, split string, count int) data.Dataset {
	t.Helper()
	ds, err := scenes.Open(data.Source{Set: "objects", Split: split, Count: count, Size: 40})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// build makes a network that lives as long as the test.
func build(t *testing.T, f func() (*network.Network, error)) (net *network.Network) {
	t.Helper()
	if err := torch.DoErr(func() (err error) { net, err = f(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { torch.Do(net.Free) })
	return net
}

// holes is a set of which sample 1 is broken and sample 2 has no class.
type holes struct{ data.Dataset }

func (h holes) Sample(i int) (*data.Sample, error) {
	if i == 1 {
		return nil, &data.SampleError{Key: h.Key(i), Err: errors.New("broken")}
	}
	s, err := h.Dataset.Sample(i)
	if err == nil && i == 2 {
		classification.Set(s, nil)
	}
	return s, err
}

func TestExtract(t *testing.T) {
	ds := open(t, "train", 9)
	s := spec(ds.Labels(), classification.Name, segmentation.Name)
	s.Labels = s.Labels.With(segmentation.Name, data.Meaning{Classes: []string{"x", "y"}})
	net := build(t, func() (*network.Network, error) { return network.New(s, 1) })
	whole, err := Extract(t.Context(), net, ds, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Class) != 9 || whole.Dim != 64 || len(whole.Values) != 9*64 || whole.Skipped != 0 || !slices.Equal(whole.Classes, ds.Labels()[classification.Name].Classes) {
		t.Fatalf("%d images, %d channels, %d values, %d skipped, classes %v", len(whole.Class), whole.Dim, len(whole.Values), whole.Skipped, whole.Classes)
	}
	for i, class := range whole.Class {
		if s, err := ds.Sample(i); err != nil || classification.Of(s)[class] != 1 {
			t.Errorf("image %d is not of class %d (%v)", i, class, err)
		}
	}
	path := filepath.Join(t.TempDir(), "part")
	if err := whole.Write(path); err != nil {
		t.Fatal(err)
	}
	values, err := npy.ReadFile(path + ".npy")
	if err != nil {
		t.Fatal(err)
	}
	near(t, "features in a file", values.Values, whole.Values, 0)
	classes, err := npy.ReadFile(path + "-classes.npy")
	if err != nil || !slices.Equal(values.Shape, []int{9, 64}) || !slices.Equal(classes.Shape, []int{9}) || classes.Values[7] != float32(whole.Class[7]) {
		t.Errorf("written are features of %v and classes of %v (%v)", values.Shape, classes, err)
	}

	single, err := Extract(t.Context(), net, ds, "", Options{Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "features one by one", single.Values, whole.Values, 1e-5)

	some, err := Extract(t.Context(), net, holes{ds}, "", Options{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "features around holes", some.Values, slices.Concat(whole.Values[:64], whole.Values[3*64:]), 1e-5)
	if some.Skipped != 2 || len(some.Class) != 7 {
		t.Errorf("%d skipped, %d read", some.Skipped, len(some.Class))
	}

	// The backbone of its checkpoint gives the same, without heads and neck.
	path = filepath.Join(t.TempDir(), "net.safetensors")
	torch.Do(func() { err = checkpoint.Save(path, net, net.Set.State(), checkpoint.Training{}) })
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	bare := build(t, c.Backbone)
	again, err := Extract(t.Context(), bare, ds, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "features of the backbone", again.Values, whole.Values, 0)
	for _, p := range bare.Set.All() {
		if !strings.HasPrefix(p.Name, "backbone.") {
			t.Errorf("the backbone has %s", p.Name)
		}
	}
	delete(c.State, "backbone.layer1.0.conv1.weight")
	if _, err := c.Backbone(); err == nil || !strings.Contains(err.Error(), "backbone.layer1.0.conv1.weight") {
		t.Errorf("a backbone lacks a tensor: %v", err)
	}

	stuff, err := scenes.Open(data.Source{Set: "stuff", Split: "train", Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(t.Context(), net, stuff, "learn", Options{}); err == nil || !strings.Contains(err.Error(), "no classes") {
		t.Error(err)
	}
	torch.Do(func() { net.Set.Flat.Data.Fill(math.NaN()) })
	if _, err := Extract(t.Context(), net, ds, "learn", Options{}); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Error(err)
	}
}

// The nearest to an image that was learned from is the image itself.
func TestRun(t *testing.T) {
	ds := open(t, "train", 30)
	net := build(t, func() (*network.Network, error) { return network.NewBackbone(spec(data.Labels{}), 1) })
	s, err := Run(t.Context(), net, ds, ds, Options{K: []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Values, func(v metric.Value) bool { return v.Name == "knn1.top1" })
	if s.Train != 30 || s.Test != 30 || i < 0 || s.Values[i].Value != 1 {
		t.Errorf("%+v", s)
	}
}

// The size of CIFAR-10 under a ResNet-18 of width .5.
func BenchmarkCIFAR(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(n int) *Features {
		f := &Features{Dim: 256, Classes: make([]string, 10)}
		for range n {
			class := rng.IntN(10)
			f.Class = append(f.Class, int64(class))
			for i := range f.Dim {
				x := float32(rng.NormFloat64())
				if i == class {
					x++
				}
				f.Values = append(f.Values, x)
			}
		}
		return f
	}
	train, test := random(50000), random(10000)
	b.Run("knn", func(b *testing.B) {
		for b.Loop() {
			if _, err := KNN(b.Context(), train, test, []int{20, 200}, Temperature, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("linear", func(b *testing.B) {
		for b.Loop() {
			if _, err := Linear(b.Context(), train, test, 1, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
