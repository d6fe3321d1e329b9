package train

import (
	"math"
	"strings"
	"testing"

	"must/model"
	"must/task/classification"
	"must/torch"
	"must/torch/goldentest"
)

// wave is the formula that make_lars.py takes its values from.
func wave(n int64, seed int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(1.7*float64(i)+0.3+float64(seed)) * scale)
	}
	return v
}

// Steps of LARS are those of its formulas: weights are adapted and decay, biases and norms do neither,
// and a norm of zero adapts nothing.
func TestLARS(t *testing.T) {
	var g struct {
		Params []struct {
			Name        string
			Shape       []int64
			Adapted     bool
			Scale, Grad float64
		}
		Rates []float64
		Runs  []struct {
			Decay float64
			Steps []map[string][]float64
		}
	}
	goldentest.ReadFile(t, "lars.json", &g)
	for _, run := range g.Runs {
		err := torch.Do(func() {
			set, b := model.NewSet()
			state := map[string][]float32{}
			for i, p := range g.Params {
				var declared *model.Param
				if p.Adapted {
					declared = b.Weight(p.Name, model.Constant(0), p.Shape...)
				} else {
					declared = b.Bias(p.Name, model.Constant(0), p.Shape...)
				}
				state[p.Name] = wave(declared.Len(), i, p.Scale)
			}
			set.Build(1)
			defer set.Free()
			if _, _, err := set.Load(state); err != nil {
				t.Fatal(err)
			}
			velocity := zerosLike(set.Flat.Data)
			defer velocity.Free()
			for k, lr := range g.Rates {
				grads := make([]float32, 0, set.Flat.Grad.Len())
				for i, p := range g.Params { // declared in the order of the set
					grads = append(grads, wave(set.Params[i].Len(), 10*(k+1)+i, p.Grad)...)
				}
				torch.Load(set.Flat.Grad, grads)
				stepLARS(set, velocity, lr, 0.9, run.Decay)
				got := set.State()
				for name, want := range run.Steps[k] {
					largest := 0.
					for _, w := range want {
						largest = max(largest, math.Abs(w))
					}
					for i, w := range want {
						if v := float64(got[name][i]); !(math.Abs(v-w) <= 1e-6*largest) {
							t.Errorf("decay %v, step %d: %s[%d] is %v, want %v", run.Decay, k, name, i, v, w)
							break
						}
					}
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// LARS trains through the trainer too, and tells its name where another is asked for.
func TestOptimizerLARS(t *testing.T) {
	c := config(60)
	c.Optimizer, c.LR, c.WeightDecay, c.Clip = "lars", 1, 1e-6, 0
	j := job(t, c, toys{}.Labels(), classification.Name)
	run(t, j)
	lines := readLog(t, j)
	if first, last := lines[0].Total, lines[len(lines)-1].Total; !(last < 0.7*first) {
		t.Errorf("the loss goes from %v to %v", first, last)
	}
	c.Optimizer = "lamb"
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "lars") {
		t.Error(err)
	}
}

// The cost of a step at the size of ResNet-50, forward and backward aside.
func BenchmarkLARS(b *testing.B) {
	for _, optimizer := range []string{"sgd", "lars"} {
		b.Run(optimizer, func(b *testing.B) {
			err := torch.Do(func() {
				set, builder := model.NewSet()
				model.NewResNet(builder, model.ResNetConfig{Layers: 50, Width: 1})
				set.Build(1)
				defer set.Free()
				set.Flat.Grad.Fill(1)
				velocity := zerosLike(set.Flat.Data)
				defer velocity.Free()
				for b.Loop() {
					if optimizer == "lars" {
						stepLARS(set, velocity, 1e-6, 0.9, 1e-6)
					} else {
						torch.StepSGD(set.Flat.Data, set.Flat.Grad, velocity, 1e-6, 0.9, 1e-6, false, false)
					}
				}
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
