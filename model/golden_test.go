package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"must/torch"
)

// golden holds what torchvision computes; testdata/make_golden.py makes it.
type golden struct {
	Names  map[int]string
	ResNet map[int]struct {
		Eval, Train   [][]float32
		Grad, Running map[string][]float32
	}
	Pyramid [][]float32
	Fused   []float32
}

func readGolden(t *testing.T) (g golden) {
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// noise returns the values in [-1, 1) that make_golden.py knows by the same name.
func noise(name string, n int64) []float32 {
	v, seed := make([]float32, n), crc32.ChecksumIEEE([]byte(name))
	for i := range v {
		h := (uint32(i) + seed) * 2654435761
		h = (h ^ h>>16) * 0x45d9f3b
		h ^= h >> 16
		v[i] = float32(h>>8)/(1<<23) - 1
	}
	return v
}

// formula is the state of a set whose values follow from names and shapes.
func formula(s *Set) map[string][]float32 {
	state := map[string][]float32{}
	for _, p := range s.All() {
		v := noise(p.Name, p.Len())
		for i, u := range v {
			switch {
			case len(p.Shape) == 4:
				v[i] = u * float32(math.Sqrt(6/float64(p.Shape[0]*p.Shape[2]*p.Shape[3])))
			case strings.HasSuffix(p.Name, "weight") || strings.HasSuffix(p.Name, "running_var"):
				v[i] = 1 + 0.3*u
			default:
				v[i] = 0.1 * u
			}
		}
		state[p.Name] = v
	}
	return state
}

// some picks the values of a tensor that make_golden.py stores.
func some(x *torch.Tensor, n int64) []float32 {
	all := torch.Values[float32](x.As(torch.Float))
	var v []float32
	for i := 0; i < len(all); i += int(max(1, int64(len(all))/n)) {
		v = append(v, all[i])
	}
	return v
}

// near fails where values differ by more than a share of the largest.
func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	largest := 0.
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i]-w)) <= tolerance*largest) {
			t.Errorf("%s: value %d is %v, want %v (the largest is %.3g)", what, i, got[i], w, largest)
			return
		}
	}
}

func do(t *testing.T, f func()) {
	t.Helper()
	if err := torch.Do(f); err != nil {
		t.Fatal(err)
	}
}

// with builds what declare declares from formula values and frees it after f.
func with[M any](t *testing.T, declare func(b Builder) M, f func(s *Set, m M)) {
	t.Helper()
	s, b := NewSet()
	m := declare(b)
	do(t, func() {
		s.Build(1)
		defer s.Free()
		if missing, unused, err := s.Load(formula(s)); err != nil || missing != nil || unused != nil {
			t.Fatal(missing, unused, err)
		}
		f(s, m)
	})
}

func resnet(depth int, width float64) func(b Builder) *ResNet {
	return func(b Builder) *ResNet {
		return NewResNet(b.In("backbone"), Config{Depth: depth, Width: width})
	}
}

// Outputs in both modes, gradients and running statistics are torchvision's.
func TestResNetIsTorchvisions(t *testing.T) {
	for depth, g := range readGolden(t).ResNet {
		with(t, resnet(depth, 1), func(s *Set, r *ResNet) {
			x := torch.From(noise("input", 2*3*96*96), 2, 3, 96, 96)
			torch.NoGrad(func() {
				levels, _ := r.Forward(x.ChannelsLast(), Mode{})
				for i, c := range levels {
					near(t, fmt.Sprintf("ResNet-%d, C%d", depth, i+2), some(c, 40), g.Eval[i], 1e-4)
				}
			})
			c, _ := r.Forward(x, Mode{Train: true})
			for i := range c {
				near(t, fmt.Sprintf("ResNet-%d in training, C%d", depth, i+2), some(c[i], 40), g.Train[i], 1e-3)
			}
			c[3].Mul(torch.From(noise("weight of C5", c[3].Len()), c[3].Shape()...)).Sum().Backward()
			grad := torch.Values[float32](s.Flat.Grad)
			for _, p := range s.Params {
				if want, ok := g.Grad[strings.TrimPrefix(p.Name, "backbone.")]; ok {
					near(t, fmt.Sprintf("ResNet-%d, gradient of %s", depth, p.Name), some(torch.From(grad[p.at:][:p.Len()], p.Len()), 40), want, 5e-3)
				}
			}
			for _, p := range s.Buffers {
				if want, ok := g.Running[strings.TrimPrefix(p.Name, "backbone.")]; ok {
					near(t, fmt.Sprintf("ResNet-%d, %s", depth, p.Name), some(p.T, 40), want, 1e-3)
				}
			}
		})
	}
}

// All parameters and buffers have torchvision's names and shapes.
func TestNamesAreTorchvisions(t *testing.T) {
	for depth, want := range readGolden(t).Names {
		s, b := NewSet()
		resnet(depth, 1)(b)
		var lines []string
		for _, p := range s.All() {
			lines = append(lines, strings.TrimPrefix(p.Name, "backbone.")+" "+strings.ReplaceAll(fmt.Sprint(p.Shape), " ", ", ")+"\n")
		}
		slices.Sort(lines)
		if sum := sha256.Sum256([]byte(strings.Join(lines, ""))); hex.EncodeToString(sum[:]) != want {
			t.Errorf("ResNet-%d: other names or shapes:\n%s", depth, lines)
		}
	}
}

func TestPyramidIsTorchvisions(t *testing.T) {
	g := readGolden(t)
	channels := [4]int64{8, 16, 24, 32}
	with(t, func(b Builder) *fpn { return newFPN(b.In("neck"), channels, 12) }, func(_ *Set, n *fpn) {
		var c [4]*torch.Tensor
		for i, k := range channels {
			h, w := int64(96>>(i+2)), (80+int64(4)<<i-1)/(4<<i)
			c[i] = torch.From(noise(fmt.Sprint("C", i+2), 2*k*h*w), 2, k, h, w)
		}
		f := &Features{P: n.forward(c)}
		for i := range f.P {
			near(t, fmt.Sprint("P", i+2), some(f.Level(i+2), 40), g.Pyramid[i], 1e-5)
		}
		near(t, "fused P2", some(f.Fused(), 200), g.Fused, 1e-5)
	})
}
