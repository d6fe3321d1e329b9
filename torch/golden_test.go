package torch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"slices"
	"testing"

	"must/torch/goldentest"
)

// operators under test, by the name of their case in golden.json.
var operatorTests = map[string]func(x []*Tensor) []*Tensor{
	"Add":        func(x []*Tensor) []*Tensor { return one(x[0].Add(x[1])) },
	"Sub":        func(x []*Tensor) []*Tensor { return one(x[0].Sub(x[1])) },
	"AddScalar":  func(x []*Tensor) []*Tensor { return one(x[0].AddScalar(-0.75)) },
	"Mul":        func(x []*Tensor) []*Tensor { return one(x[0].Mul(x[1])) },
	"Scale":      func(x []*Tensor) []*Tensor { return one(x[0].Scale(-2.5)) },
	"MulInPlace": func(x []*Tensor) []*Tensor { return one(x[0].Clone().MulInPlace(x[1])) },
	"AddInPlace": func(x []*Tensor) []*Tensor { return one(x[0].Clone().AddInPlace(x[1])) },
	"Lerp": func(x []*Tensor) []*Tensor {
		y := x[0].Detach().Clone()
		y.Lerp(x[1].Detach(), Number(0.25))
		return one(y)
	},
	"Div":            func(x []*Tensor) []*Tensor { return one(x[0].Div(x[1])) },
	"Exp":            func(x []*Tensor) []*Tensor { return one(x[0].Exp()) },
	"Log":            func(x []*Tensor) []*Tensor { return one(x[0].Log()) },
	"Sqrt":           func(x []*Tensor) []*Tensor { return one(x[0].Sqrt()) },
	"Abs":            func(x []*Tensor) []*Tensor { return one(x[0].Abs()) },
	"Neg":            func(x []*Tensor) []*Tensor { return one(x[0].Neg()) },
	"Sigmoid":        func(x []*Tensor) []*Tensor { return one(x[0].Sigmoid()) },
	"Softplus":       func(x []*Tensor) []*Tensor { return one(x[0].Scale(40).Softplus()) },
	"Softplus/zero":  func(x []*Tensor) []*Tensor { return one(x[0].Sub(x[0].Detach()).Softplus()) },
	"Relu":           func(x []*Tensor) []*Tensor { return one(x[0].Relu()) },
	"ReluInPlace":    func(x []*Tensor) []*Tensor { return one(x[0].Clone().ReluInPlace()) },
	"Gelu":           func(x []*Tensor) []*Tensor { return one(x[0].Gelu()) },
	"Clamp":          func(x []*Tensor) []*Tensor { return one(x[0].Clamp(-0.5, 0.25)) },
	"Max":            func(x []*Tensor) []*Tensor { return one(x[0].Max(x[1])) },
	"Min":            func(x []*Tensor) []*Tensor { return one(x[0].Min(x[1])) },
	"Gt":             func(x []*Tensor) []*Tensor { return one(x[0].Gt(x[1])) },
	"Lt":             func(x []*Tensor) []*Tensor { return one(x[0].Lt(x[1])) },
	"Eq":             func(x []*Tensor) []*Tensor { return one(x[0].Eq(x[1])) },
	"And":            func(x []*Tensor) []*Tensor { return one(x[0].And(x[1])) },
	"Not":            func(x []*Tensor) []*Tensor { return one(x[0].Not()) },
	"IsFinite":       func(x []*Tensor) []*Tensor { return one(Scalar(1).Div(x[0].Sub(x[0].View(6).Select(0, 2))).IsFinite()) },
	"Where":          func(x []*Tensor) []*Tensor { return one(Where(x[0].Gt(Scalar(0)), x[1], x[2])) },
	"Detach":         func(x []*Tensor) []*Tensor { return one(x[0].Detach()) },
	"As":             func(x []*Tensor) []*Tensor { return one(x[0].Scale(3).As(Float).As(Double)) },
	"Wide":           func(x []*Tensor) []*Tensor { return one(x[0].Wide()) },
	"Clone":          func(x []*Tensor) []*Tensor { return one(x[0].Clone()) },
	"View":           func(x []*Tensor) []*Tensor { return one(x[0].View(4, -1)) },
	"Permute":        func(x []*Tensor) []*Tensor { return one(x[0].Permute(2, 0, 1)) },
	"Transpose":      func(x []*Tensor) []*Tensor { return one(x[0].Transpose(0, -1)) },
	"Narrow":         func(x []*Tensor) []*Tensor { return one(x[0].Narrow(-1, 1, 2)) },
	"Slice":          func(x []*Tensor) []*Tensor { return one(x[0].Slice(1, 2)) },
	"Select":         func(x []*Tensor) []*Tensor { return one(x[0].Select(1, -1)) },
	"Unsqueeze":      func(x []*Tensor) []*Tensor { return one(x[0].Unsqueeze(-2)) },
	"Squeeze":        func(x []*Tensor) []*Tensor { return one(x[0].Squeeze(1)) },
	"Expand":         func(x []*Tensor) []*Tensor { return one(x[0].Expand(2, 3, -1)) },
	"Flatten":        func(x []*Tensor) []*Tensor { return one(x[0].Flatten(1, -1)) },
	"Contiguous":     func(x []*Tensor) []*Tensor { return one(x[0].Transpose(0, 1).Contiguous()) },
	"ChannelsLast":   func(x []*Tensor) []*Tensor { return one(x[0].ChannelsLast()) },
	"Cat":            func(x []*Tensor) []*Tensor { return one(Cat(-1, x...)) },
	"Stack":          func(x []*Tensor) []*Tensor { return one(Stack(1, x...)) },
	"IndexSelect":    func(x []*Tensor) []*Tensor { return one(x[0].IndexSelect(1, x[1])) },
	"Gather":         func(x []*Tensor) []*Tensor { return one(x[0].Gather(1, x[1])) },
	"TopK":           func(x []*Tensor) []*Tensor { return two(x[0].TopK(2, 1)) },
	"Sort":           func(x []*Tensor) []*Tensor { return two(x[0].Sort(1, true)) },
	"Sort/ascending": func(x []*Tensor) []*Tensor { return two(x[0].Sort(0, false)) },
	"Sum":            func(x []*Tensor) []*Tensor { return one(x[0].Sum()) },
	"Sum/dims":       func(x []*Tensor) []*Tensor { return one(x[0].Sum(0, -1)) },
	"Mean":           func(x []*Tensor) []*Tensor { return one(x[0].Mean()) },
	"Mean/dims":      func(x []*Tensor) []*Tensor { return one(x[0].Mean(1, 2)) },
	"MeanKeep":       func(x []*Tensor) []*Tensor { return one(x[0].MeanKeep(-1)) },
	"MaxDim":         func(x []*Tensor) []*Tensor { return two(x[0].MaxDim(1)) },
	"Norm":           func(x []*Tensor) []*Tensor { return one(x[0].Norm()) },
	"Norm/zero":      func(x []*Tensor) []*Tensor { return one(x[0].Sub(x[0].Detach()).Norm()) },
	"All": func(x []*Tensor) []*Tensor {
		return one(From([]uint8{truth(x[0].Eq(x[0]).All()), truth(x[0].Gt(x[1]).All())}, 2))
	},
	"Softmax":          func(x []*Tensor) []*Tensor { return one(x[0].Softmax(-2)) },
	"LogSoftmax":       func(x []*Tensor) []*Tensor { return one(x[0].LogSoftmax(1)) },
	"LogSumExp":        func(x []*Tensor) []*Tensor { return one(x[0].LogSumExp(-2)) },
	"MatMul":           func(x []*Tensor) []*Tensor { return one(x[0].MatMul(x[1])) },
	"Linear":           func(x []*Tensor) []*Tensor { return one(x[0].Linear(x[1], x[2])) },
	"Linear/nobias":    func(x []*Tensor) []*Tensor { return one(x[0].Linear(x[1], nil)) },
	"Conv2D":           func(x []*Tensor) []*Tensor { return one(x[0].Conv2D(x[1], x[2], 2, 1, 1, 1)) },
	"Conv2D/groups":    func(x []*Tensor) []*Tensor { return one(x[0].Conv2D(x[1], nil, 1, 2, 2, 2)) },
	"Conv2D/pointwise": func(x []*Tensor) []*Tensor { return one(x[0].Conv2D(x[1], x[2], 1, 0, 1, 1)) },
	"ConvTranspose2D":  func(x []*Tensor) []*Tensor { return one(x[0].ConvTranspose2D(x[1], x[2], 2, 0)) },
	"BatchNorm": func(x []*Tensor) []*Tensor {
		return one(x[0].BatchNorm(x[1], x[2], x[3].Detach().Clone(), x[4].Detach().Clone(), true, 0.1, 1e-5))
	},
	"BatchNorm/eval": func(x []*Tensor) []*Tensor {
		return one(x[0].BatchNorm(x[1], x[2], x[3].Detach(), x[4].Detach(), false, 0.1, 1e-5))
	},
	"BatchNorm/running": func(x []*Tensor) []*Tensor {
		m, v := x[1].Detach().Clone(), x[2].Detach().Clone()
		x[0].BatchNorm(nil, nil, m, v, true, 0.1, 1e-5)
		return one(Stack(0, m, v))
	},
	"GroupNorm":         func(x []*Tensor) []*Tensor { return one(x[0].GroupNorm(2, x[1], x[2], 1e-5)) },
	"LayerNorm":         func(x []*Tensor) []*Tensor { return one(x[0].LayerNorm(x[1], x[2], 1e-5)) },
	"MaxPool2D":         func(x []*Tensor) []*Tensor { return one(x[0].MaxPool2D(3, 2, 1)) },
	"AvgPool2D":         func(x []*Tensor) []*Tensor { return one(x[0].AvgPool2D(2)) },
	"Bilinear":          func(x []*Tensor) []*Tensor { return one(x[0].Bilinear(5, 3)) },
	"Bicubic":           func(x []*Tensor) []*Tensor { return one(x[0].Bicubic(5, 3)) },
	"Nearest":           func(x []*Tensor) []*Tensor { return one(x[0].Nearest(6, 4)) },
	"Pad":               func(x []*Tensor) []*Tensor { return one(x[0].Pad(2)) },
	"GridSample":        func(x []*Tensor) []*Tensor { return one(x[0].GridSample(x[1].Scale(1.5))) },
	"Attention":         func(x []*Tensor) []*Tensor { return one(Attention(x[0], x[1], x[2])) },
	"EmbeddingBag":      func(x []*Tensor) []*Tensor { return one(x[0].EmbeddingBag(x[1], x[2], x[3])) },
	"CrossEntropy":      func(x []*Tensor) []*Tensor { return one(x[0].CrossEntropy(x[1], Mean, 255)) },
	"CrossEntropy/sum":  func(x []*Tensor) []*Tensor { return one(x[0].CrossEntropy(x[1], Sum, -100)) },
	"CrossEntropy/none": func(x []*Tensor) []*Tensor { return one(x[0].CrossEntropy(x[1], None, -100)) },
	"CrossEntropy/soft": func(x []*Tensor) []*Tensor { return one(x[0].CrossEntropy(x[1].Softmax(1), Mean, -100)) },
	"SmoothL1":          func(x []*Tensor) []*Tensor { return one(x[0].SmoothL1(x[1], Sum, 0.25)) },
	"L1":                func(x []*Tensor) []*Tensor { return one(x[0].L1(x[1], Mean)) },
	"BCEWithLogits":     func(x []*Tensor) []*Tensor { return one(x[0].BCEWithLogits(x[1].Sigmoid(), None)) },
	"CosineSimilarity":  func(x []*Tensor) []*Tensor { return one(CosineSimilarity(x[0], x[1], -1)) },
}

func one(t *Tensor) []*Tensor    { return []*Tensor{t} }
func two(a, b *Tensor) []*Tensor { return []*Tensor{a, b} }

func truth(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

type golden struct {
	Cases []struct {
		Op string
		In []struct {
			Shape    []int64
			Positive bool
			Ints     []int64
		}
		Out, Grad [][]float64
		Shape     [][]int64
	}
	Optimizers []struct {
		Name  string
		Steps [][]float64
	}
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	goldentest.Read(t, &g)
	return g
}

// formula is the source of all inputs; make_golden.py knows it too.
func formula(n int64, seed int, positive bool) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Sin(1.7*float64(i) + 0.3 + float64(seed))
		if positive {
			v[i] = math.Abs(v[i]) + 0.5
		}
	}
	return v
}

// Every operator gives PyTorch's values and gradients, whatever the layout of its input, and takes
// bfloat16.
func TestOperators(t *testing.T) {
	g := readGolden(t)
	seen := map[string]bool{}
	for _, c := range g.Cases {
		f := operatorTests[c.Op]
		seen[c.Op] = true
		if f == nil {
			t.Errorf("golden.json has %s, which is not tested", c.Op)
			continue
		}
		for _, v := range []struct {
			name         string
			dtype        DType
			channelsLast bool
			tolerance    float64
		}{
			{"float64", Double, false, 1e-7},
			{"float32", Float, false, 2e-5},
			{"bfloat16", BFloat16, false, 0.04},
			{"channelsLast", Double, true, 1e-7},
		} {
			if v.channelsLast && len(c.In[0].Shape) != 4 {
				continue
			}
			t.Run(c.Op+"/"+v.name, func(t *testing.T) {
				err := Do(func() {
					var in, leaves []*Tensor
					for i, d := range c.In {
						if d.Ints != nil {
							in, leaves = append(in, From(d.Ints, d.Shape...)), append(leaves, nil)
							continue
						}
						leaf := From(formula(count(d.Shape), i, d.Positive), d.Shape...).As(v.dtype).RequireGrad(true)
						x := leaf
						if v.channelsLast && len(d.Shape) == 4 {
							x = x.ChannelsLast()
						}
						in, leaves = append(in, x), append(leaves, leaf)
					}
					var grads []*Tensor
					for _, x := range leaves {
						var z *Tensor
						if x != nil {
							z = Zeros(v.dtype, x.Shape()...)
							x.SetGrad(z)
						}
						grads = append(grads, z)
					}
					out := f(in)
					for i, o := range out {
						if s := o.Shape(); !slices.Equal(s, c.Shape[i]) {
							t.Fatalf("shape %v, want %v", s, c.Shape[i])
						}
						if i > 0 && v.dtype == BFloat16 {
							continue // indices, where rounding may have made ties
						}
						near(t, fmt.Sprint("output ", i), o, c.Out[i], v.tolerance)
					}
					if len(c.Grad) == 0 {
						return
					}
					weight := From(formula(out[0].Len(), 7, false), c.Shape[0]...).As(v.dtype)
					out[0].Mul(weight).Sum().Backward()
					for i, g := range c.Grad {
						if g != nil {
							near(t, fmt.Sprint("gradient ", i), grads[i], g, v.tolerance)
						}
					}
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	for name := range operatorTests {
		if !seen[name] {
			t.Errorf("golden.json lacks %s: run testdata/make_golden.py", name)
		}
	}
}

// near compares within a tolerance relative to the largest value, or 1.
func near(t *testing.T, what string, got *Tensor, want []float64, tolerance float64) {
	t.Helper()
	scale := 1.0
	for _, w := range want {
		if !math.IsInf(w, 0) {
			scale = max(scale, math.Abs(w))
		}
	}
	for i, v := range Values[float64](got.As(Double)) {
		if !(math.Abs(v-want[i]) <= tolerance*scale) {
			t.Errorf("%s: element %d is %g, want %g", what, i, v, want[i])
			return
		}
	}
}

// No operator goes untested.
func TestOperatorsAreTested(t *testing.T) {
	for _, file := range []string{"ops.go", "embeddingbag.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Name.IsExported() && operatorTests[d.Name.Name] == nil {
				t.Errorf("%s: operator %s has no case in operatorTests", file, d.Name.Name)
			}
		}
	}
}

// The operators that are variants of others, by name, such as Add/broadcast.
func init() {
	for variant, of := range map[string]string{"Add/broadcast": "Add", "Add/ints": "Add", "Sub/ints": "Sub", "MatMul/batch": "MatMul"} {
		operatorTests[variant] = operatorTests[of]
	}
}

// The fused optimizers take the steps of torch.optim.
func TestOptimizers(t *testing.T) {
	for _, o := range readGolden(t).Optimizers {
		t.Run(o.Name, func(t *testing.T) {
			err := Do(func() {
				start := func(seed int) *Tensor { return From(formula(5, seed, false), 5).As(Float) }
				p, m, s, n := start(0), Zeros(Float, 5), Zeros(Float, 5), Zeros(Float)
				for i, want := range o.Steps {
					// There is no sine among the operators.
					v := Values[float32](p)
					for i := range v {
						v[i] = float32(math.Sin(float64(v[i])))
					}
					g := From(v, 5).Add(start(i + 1))
					switch o.Name {
					case "sgd":
						StepSGD(p, g, nil, 0.1, 0, 0, false, i == 0)
					case "momentum":
						StepSGD(p, g, m, 0.1, 0.9, 0, false, i == 0)
					case "nesterov":
						StepSGD(p, g, m, 0.1, 0.9, 0.01, true, i == 0)
					case "adamw":
						StepAdamW(p, g, m, s, n, 0.1, 0.9, 0.99, 0.05, 1e-6)
					}
					near(t, fmt.Sprint("step ", i), p, want, 1e-6)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
