package train

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/torch"
)

// Learned weights come to 1 / (2·loss), whatever the loss is, and a fixed weight scales it.
func TestVariancesFindTheirPlace(t *testing.T) {
	if err := torch.Do(func() {
		v := newVariances([]string{"a", "b"})
		defer v.free()
		for range 3000 {
			v.follow(map[string]float64{"a": 4, "b": 0.1})
		}
		if a, b := v.factor("a"), v.factor("b"); math.Abs(a-1./8) > 0.005 || math.Abs(b-5) > 0.2 {
			t.Errorf("weights %v and %v, want 1/8 and 5", a, b)
		}
		before := v.factor("b")
		v.follow(map[string]float64{"a": 1})
		if v.factor("b") != before {
			t.Error("a task without labels in the batch moves its weight")
		}
		v.store()
		v.values = nil
		if v.restore(); v.factor("b") != before {
			t.Error("the state has other weights")
		}
	}); err != nil {
		t.Fatal(err)
	}
	var none *variances
	if none.follow(nil); none.factor("a") != 1 {
		t.Error("fixed weights move")
	}
}

// In a run they are in the log and in the loss, and a run that is cut off goes on with them.
func TestLearnedWeights(t *testing.T) {
	c := config(6)
	c.LearnWeights, c.LogGrads = true, 2
	c.Weights = map[string]float64{depth.Name: 2}
	tasks := []string{classification.Name, detection.Name, depth.Name}
	whole := job(t, c, set(8).Labels(), tasks...)
	if _, err := Run(context.Background(), whole); err != nil {
		t.Fatal(err)
	}
	log, err := ReadLog(filepath.Join(whole.Dir, LogFile))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range log[:6] {
		var want float64
		for _, name := range tasks {
			want += r.Weights[name] * r.Loss[name]
		}
		if math.Abs(r.Total-want) > 1e-4*want || len(r.Weights) != 3 {
			t.Errorf("step %d: total %v, want %v; weights %v", r.Step, r.Total, want, r.Weights)
		}
		if i > 0 && r.Weights[detection.Name] == log[i-1].Weights[detection.Name] {
			t.Errorf("step %d: the weight does not move", r.Step)
		}
		if logged := len(r.Gradients) == 3; logged != (i%2 == 0) {
			t.Errorf("step %d has gradients of %v", r.Step, r.Gradients)
		}
		for name, n := range r.Gradients {
			if !(n > 0) || math.IsInf(n, 0) {
				t.Errorf("step %d: the gradient of %s is %v", r.Step, name, n)
			}
		}
	}
	if w := log[0].Weights; w[depth.Name] != 2 || w[detection.Name] != 1 {
		t.Errorf("it does not begin with its fixed weight: %v", log[0].Weights)
	}

	// Records of gradients change nothing, nor does a stop on the way.
	c.LogGrads = 0
	cut := job(t, c, set(8).Labels(), tasks...)
	ctx, stop := context.WithCancel(context.Background())
	steps := 0
	toys := set(8)
	toys.read = func() {
		if steps++; steps == 14 {
			stop()
		}
	}
	cut.Train = toys
	if _, err := Run(ctx, cut); err == nil {
		t.Fatal("it did not stop")
	}
	cut.Train = set(8)
	if _, err := Run(context.Background(), cut); err != nil {
		t.Fatal(err)
	}
	torch.Do(func() {
		a, b := torch.Values[float32](whole.Net.Set.Flat.Data), torch.Values[float32](cut.Net.Set.Flat.Data)
		if !slices.Equal(a, b) {
			t.Error("other weights after a stop, or without records of gradients")
		}
	})
}
