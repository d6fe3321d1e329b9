package detect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"must/torch"
)

// wave returns n values of a formula that testdata/make_golden.py knows.
func wave(n int64, f func(float64) float64, step, phase float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(f(float64(i)*step + phase))
	}
	return v
}

func TestRoIAlign(t *testing.T) {
	g := loadGolden(t).RoIAlign
	boxes := Boxes(g.Boxes)
	chosen := LevelMap{3, 7, 24, 4}
	for i, b := range boxes {
		if k := chosen.Index(b); k != g.Levels[i] {
			t.Fatalf("box %d is read from level %d, want %d", i, k, g.Levels[i])
		}
	}
	err := torch.Do(func() {
		for i, size := range []int{7, 2} {
			var features []*torch.Tensor
			var flats []*torch.Flat
			var last [5]*torch.Tensor
			for k, l := range Levels(96, 64, 8, 16, 32, 64, 128) {
				f := torch.NewFlat(torch.Float, [][]int64{{2, 3, int64(l.H), int64(l.W)}}, true)
				defer f.Free()
				torch.Load(f.Data, wave(f.Data.Len(), math.Sin, 0.37, float64(k)))
				features, flats = append(features, f.Params[0]), append(flats, f)
			}
			out := NewPyramid(features, chosen).RoIAlign(boxes, g.Images, size)
			near(t, fmt.Sprint("output of size ", size), torch.Values[float32](out), g.Outputs[i], 1e-5)
			for k, f := range features {
				last[k] = f.ChannelsLast()
			}
			if out := NewPyramid(last[:], chosen).RoIAlign(boxes, g.Images, size); out.Strides()[1] != 1 {
				t.Errorf("channels-last features give strides %v", out.Strides())
			} else {
				near(t, "channels last", torch.Values[float32](out), g.Outputs[i], 1e-5)
			}
			weights := torch.From(wave(out.Len(), math.Cos, 0.11, 0), out.Shape()...)
			out.Mul(weights).Sum().Backward()
			for k, f := range flats {
				near(t, fmt.Sprint("gradient of level ", k), torch.Values[float32](f.Grad), g.Grads[i][k], 1e-5)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Types and sizes at the edge: no RoI at all, and a feature map of one cell in bfloat16.
func TestRoIAlignOfLittle(t *testing.T) {
	err := torch.Do(func() {
		one := torch.Full(torch.BFloat16, 3, 1, 2, 1, 1)
		p := NewPyramid([]*torch.Tensor{one}, LevelMap{5, 5, 224, 4})
		if s := fmt.Sprint(p.RoIAlign(nil, nil, 7)); s != "bfloat16[0, 2, 7, 7]" {
			t.Errorf("no RoIs give %v", s)
		}
		out := p.RoIAlign([]Box{{0, 0, 20, 30}, {200, 200, 300, 300}}, []int{0, 0}, 1)
		if s := out.String(); s != "bfloat16[2, 2, 1, 1]" {
			t.Errorf("got %v", s)
		}
		near(t, "one cell", torch.Values[float32](out.As(torch.Float)), []float32{3, 3, 0, 0}, 0)
		live := torch.Live()
		torch.Scope(func() { p.RoIAlign([]Box{{0, 0, 20, 30}}, []int{0}, 7) })
		if torch.Live() != live {
			t.Errorf("%d tensors left over", torch.Live()-live)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRoIAlign(b *testing.B) {
	for _, s := range []struct {
		name             string
		images, rois     int
		channels         int64
		side, size       int
		shortest, spread float32
	}{
		{"64px/16x32/7", 16, 32, 64, 64, 7, 6, 34},
		{"64px/16x8/14", 16, 8, 64, 64, 14, 6, 34},
		{"512px/2x512/7", 2, 512, 256, 512, 7, 20, 200},
		{"512px/2x128/14", 2, 128, 256, 512, 14, 20, 200},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		var boxes []Box
		var images []int
		for i := range s.images * s.rois {
			x, y := rng.Float32()*float32(s.side), rng.Float32()*float32(s.side)
			w, h := (s.shortest+s.spread*rng.Float32())/2, (s.shortest+s.spread*rng.Float32())/2
			boxes = append(boxes, Box{x - w, y - h, x + w, y + h}.Clip(s.side, s.side))
			images = append(images, i/s.rois)
		}
		cells := int64(s.side / 8)
		only := LevelMap{3, 3, 224, 4}
		run := func(name string, step func(features *torch.Tensor)) {
			b.Run(s.name+"/"+name, func(b *testing.B) {
				err := torch.Do(func() {
					f := torch.NewFlat(torch.Float, [][]int64{{int64(s.images), s.channels, cells, cells}}, true)
					defer f.Free()
					for b.Loop() {
						torch.Scope(func() { step(f.Params[0]) })
					}
				})
				if err != nil {
					b.Fatal(err)
				}
			})
		}
		run("samples", func(f *torch.Tensor) {
			(&Pyramid{choose: only, images: s.images, levels: []featureMap{{0, int(cells), int(cells)}}}).samples(boxes, images, s.size)
		})
		run("forward", func(f *torch.Tensor) {
			torch.NoGrad(func() { NewPyramid([]*torch.Tensor{f}, only).RoIAlign(boxes, images, s.size) })
		})
		run("backward", func(f *torch.Tensor) {
			NewPyramid([]*torch.Tensor{f}, only).RoIAlign(boxes, images, s.size).Sum().Backward()
		})
	}
}
