package detect

import "math"

// A Level is one feature map of the pyramid: H×W cells, Stride image pixels apart.
type Level struct{ H, W, Stride int }

// Levels returns the feature maps that a w×h image has at the given strides. Every halving rounds
// up, as 3×3 convolutions of stride 2 with padding 1 do.
func Levels(w, h int, strides ...int) []Level {
	levels := make([]Level, len(strides))
	for i, s := range strides {
		levels[i] = Level{(h + s - 1) / s, (w + s - 1) / s, s}
	}
	return levels
}

// AnchorSizes returns one anchor side per level: scale times its stride. The usual scale is 4
// (32 px at P3 … 512 px at P7).
func AnchorSizes(levels []Level, scale float32) []float32 {
	sizes := make([]float32, len(levels))
	for i, l := range levels {
		sizes[i] = scale * float32(l.Stride)
	}
	return sizes
}

// AnchorRatios are the usual aspect ratios, height over width.
var AnchorRatios = []float32{0.5, 1, 2}

// Anchors returns len(ratios) anchors for every cell of every level in the order of torchvision's
// AnchorGenerator: level by level, row by row, ratios innermost. That is also the order of head
// outputs [N, A, H, W] after a permutation to [N, H, W, A]. Anchors are centred on the corner of
// their cell and their sides are rounded to even numbers of pixels. It needs one size per level.
func Anchors(levels []Level, sizes, ratios []float32) []Box {
	n := 0
	for _, l := range levels {
		n += l.H * l.W * len(ratios)
	}
	anchors := make([]Box, 0, n)
	base := make([]Box, len(ratios))
	for i, l := range levels {
		for r, ratio := range ratios {
			tall := float32(math.Sqrt(float64(ratio)))
			w := float32(math.RoundToEven(float64(1 / tall * sizes[i] / 2)))
			h := float32(math.RoundToEven(float64(tall * sizes[i] / 2)))
			base[r] = Box{-w, -h, w, h}
		}
		for row := range l.H {
			for col := range l.W {
				x, y := float32(col*l.Stride), float32(row*l.Stride)
				for _, b := range base {
					anchors = append(anchors, Box{x + b[0], y + b[1], x + b[2], y + b[3]})
				}
			}
		}
	}
	return anchors
}
