package detect

import (
	"fmt"
	"image"
	"math/rand/v2"
	"testing"

	"must/data"
)

// randomBoxes returns n boxes with sides of 10 to largest px around points of a side×side image.
func randomBoxes(n int, side, largest float32, rng *rand.Rand) []Box {
	boxes := make([]Box, n)
	for i := range boxes {
		x, y := rng.Float32()*side, rng.Float32()*side
		w, h := 5+rng.Float32()*(largest-10)/2, 5+rng.Float32()*(largest-10)/2
		boxes[i] = Box{x - w, y - h, x + w, y + h}.Clip(int(side), int(side))
	}
	return boxes
}

func BenchmarkNMS(b *testing.B) {
	for _, n := range []int{300, 1000, 5000} {
		for _, largest := range []float32{60, 300} {
			b.Run(fmt.Sprintf("%d/%vpx", n, largest), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 1))
				boxes := randomBoxes(n, 800, largest, rng)
				scores := make([]float32, n)
				for i := range scores {
					scores[i] = rng.Float32()
				}
				for b.Loop() {
					NMS(boxes, scores, nil, 0.7, n)
				}
			})
		}
	}
}

func BenchmarkRPNTargets(b *testing.B) {
	for _, side := range []int{64, 512, 1024} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			levels := Levels(side, side, 8, 16, 32, 64, 128)
			anchors := Anchors(levels, AnchorSizes(levels, 4), AnchorRatios)
			truth := &Truth{Boxes: randomBoxes(20, float32(side), float32(side)/3, rand.New(rand.NewPCG(1, 1)))}
			for b.Loop() {
				DefaultRPN().Targets(anchors, []*Truth{truth}, random(1))
			}
		})
	}
}

func BenchmarkMaskTarget(b *testing.B) {
	for _, side := range []int{20, 100, 400} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			m := &data.Mask{Rect: image.Rect(10, 10, 10+side, 10+side), Pix: make([]uint8, side*side)}
			for i := range m.Pix {
				m.Pix[i] = uint8(i % 2)
			}
			box := Box{5.5, 8.5, float32(side) + 7.5, float32(side) + 9.5}
			for b.Loop() {
				cropMask(m, box, 512, 512, 28)
			}
		})
	}
}

func BenchmarkPasteMask(b *testing.B) {
	probs := make([]float32, 28*28)
	for b.Loop() {
		PasteMask(probs, 28, Box{100, 100, 300, 300}, 512, 512)
	}
}
