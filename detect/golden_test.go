package detect

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"must/data"
	"must/torch/goldentest"
)

// golden holds what torchvision computes; testdata/make_golden.py makes it.
type golden struct {
	Anchors []struct {
		Scale float32
		Boxes []float32
	}
	Coder []struct {
		Weights                                 Coder
		Box, Reference, Encoded, Delta, Decoded []float32
	}
	Match struct {
		Objects, Anchors, IoU []float32
		RPN, RoI, Between     []int32
	}
	Sampler [][6]float64
	NMS     map[string]json.RawMessage

	Proposals struct {
		Boxes, Scores, Kept []float32
		Levels              []int
	}
	RoI struct {
		Proposals, Objects [][]float32
		Classes            [][]int64
		Box, Delta         []float32
		Class              []int64
		Image, Object      []int
	}
	Detections struct {
		RoIs, Probs, Deltas, Boxes, Scores []float32
		Labels                             []int
	}
	Levels struct {
		Boxes  []float32
		Levels []int
	}
	Mask struct {
		Pix            []int
		Boxes, Targets []float32
		Size           int
	}
	Paste    struct{ Probs, Boxes, Images []float32 }
	RoIAlign struct {
		Boxes          []float32
		Images, Levels []int
		Outputs        [][]float32
		Grads          [][][]float32
	}
}

// loadGolden reads it once.
func loadGolden(t testing.TB) *golden {
	t.Helper()
	once.Do(func() { goldentest.ReadFile(t, "golden.json.gz", &loaded) })
	return &loaded
}

var (
	once   sync.Once
	loaded golden
)

// near fails unless got and want agree to tolerance, relative to the larger of 1 and |want|.
func near(t *testing.T, what string, got, want []float32, tolerance float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, v := range want {
		if d := got[i] - v; !(max(d, -d) <= tolerance*max(1, v, -v)) {
			t.Fatalf("%s: value %d of %d is %v, want %v", what, i, len(want), got[i], v)
		}
	}
}

func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestAnchors(t *testing.T) {
	levels := Levels(96, 64, 8, 16, 32, 64, 128)
	for _, g := range loadGolden(t).Anchors {
		near(t, fmt.Sprint("scale ", g.Scale), Flat(Anchors(levels, AnchorSizes(levels, g.Scale), AnchorRatios)), g.Boxes, 0)
	}
}

func TestCoder(t *testing.T) {
	for _, g := range loadGolden(t).Coder {
		var encoded []Delta
		var decoded []Box
		for i, box := range Boxes(g.Box) {
			reference := Boxes(g.Reference)[i]
			encoded = append(encoded, g.Weights.Encode(box, reference))
			decoded = append(decoded, g.Weights.Decode(Delta(g.Delta[4*i:]), reference))
			near(t, "round trip", Flat([]Box{g.Weights.Decode(encoded[i], reference)}), Flat([]Box{box}), 1e-5)
		}
		near(t, "encode", Flat(encoded), g.Encoded, 1e-6)
		near(t, "decode", Flat(decoded), g.Decoded, 1e-6)
	}
}

func TestMatch(t *testing.T) {
	g := loadGolden(t).Match
	truth := &Truth{Boxes: Boxes(g.Objects)}
	anchors := Boxes(g.Anchors)
	for i, a := range anchors {
		if got := IoU(truth.Boxes[4], a); got != g.IoU[i] {
			t.Fatalf("IoU with anchor %d is %v, want %v", i, got, g.IoU[i])
		}
	}
	same(t, "RPN", RPNMatcher.Match(anchors, truth), g.RPN)
	same(t, "RoI", RoIMatcher.Match(anchors, truth), g.RoI)
	same(t, "between", Matcher{High: 0.5, Low: 0.4}.Match(anchors, truth), g.Between)
}

func TestMatchWithoutObjects(t *testing.T) {
	boxes := []Box{{0, 0, 10, 10}, {20, 0, 30, 10}, {40, 0, 50, 10}}
	same(t, "nothing", RPNMatcher.Match(boxes, &Truth{}), []int32{Background, Background, Background})
	same(t, "far away", RPNMatcher.Match(boxes, &Truth{Boxes: []Box{{100, 100, 110, 110}}}), []int32{Background, Background, Background})
	crowd := &Truth{Boxes: []Box{{0, 0, 10, 10}}, Crowd: []Box{{0, 0, 25, 100}, {46, 0, 100, 100}}}
	same(t, "crowd", RPNMatcher.Match(boxes, crowd), []int32{0, Unsure, Background})
}

func TestNewTruth(t *testing.T) {
	if NewTruth(nil, 10, 10) != nil {
		t.Error("unknown objects give a truth")
	}
	if got := NewTruth([]data.Object{}, 10, 10); got == nil || len(got.Boxes) != 0 {
		t.Errorf("no objects give %v", got)
	}
	got := NewTruth([]data.Object{
		{Box: data.Box{X0: 3, Y0: 3, X1: 3, Y1: 9}},
		{Box: data.Box{X0: -5, Y0: 2, X1: 5, Y1: 20}, Class: 4},
		{Box: data.Box{X0: 20, Y0: 2, X1: 25, Y1: 5}},
		{Box: data.Box{X0: 1, Y0: 1, X1: 9, Y1: 9}, Crowd: true},
	}, 10, 10)
	same(t, "boxes", got.Boxes, []Box{{0, 2, 5, 10}})
	same(t, "classes", got.Class, []int64{5})
	same(t, "objects", got.Object, []int{1})
	same(t, "crowds", got.Crowd, []Box{{1, 1, 9, 9}})
}

// random is the randomness of every image of a batch.
func random(seed uint64) func(image int) *rand.Rand {
	return func(image int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(image))) }
}

func TestSampler(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, g := range loadGolden(t).Sampler {
		match := make([]int32, 0, 2000)
		for range int(g[2]) {
			match = append(match, 3)
		}
		for range int(g[3]) {
			match = append(match, Background)
		}
		match = append(match, Unsure, Unsure)
		positive, negative := Sampler{int(g[0]), g[1]}.Sample(match, rng)
		if len(positive) != int(g[4]) || len(negative) != int(g[5]) {
			t.Errorf("%v: %d positives and %d negatives", g, len(positive), len(negative))
		}
		for _, i := range positive {
			if match[i] != 3 {
				t.Errorf("positive %d is %d", i, match[i])
			}
		}
		for _, i := range negative {
			if match[i] != Background {
				t.Errorf("negative %d is %d", i, match[i])
			}
		}
		if both := append(positive, negative...); !slices.IsSorted(positive) || len(slices.Compact(slices.Sorted(slices.Values(both)))) != len(both) {
			t.Errorf("%v: indices repeat or are unordered", g)
		}
	}
}

func TestNMS(t *testing.T) {
	g := loadGolden(t).NMS
	read := func(key string, to any) {
		if err := json.Unmarshal(g[key], to); err != nil {
			t.Fatal(key, err)
		}
	}
	var flat, scores []float32
	var groups []int32
	read("boxes", &flat)
	read("scores", &scores)
	read("groups", &groups)
	boxes := Boxes(flat)
	for _, iou := range []string{"0.7", "0.5", "0.1", "0.0"} {
		var threshold float64
		fmt.Sscan(iou, &threshold)
		var keep, batched []int32
		read("keep "+iou, &keep)
		read("batched "+iou, &batched)
		same(t, "nms "+iou, NMS(boxes, scores, nil, threshold, len(boxes)), keep)
		same(t, "batched nms "+iou, NMS(boxes, scores, groups, threshold, len(boxes)), batched)
		same(t, "first 7", NMS(boxes, scores, groups, threshold, 7), batched[:7])
	}
}

// The grid must find every pair that a comparison of all with all finds.
func TestNMSComparesEnough(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		n, iou := 1+rng.IntN(120), rng.Float64()
		boxes := make([]Box, n)
		scores := make([]float32, n)
		groups := make([]int32, n)
		for i := range boxes {
			x, y := rng.Float32()*40, rng.Float32()*rng.Float32()*400
			w, h := rng.Float32()*30, rng.Float32()*rng.Float32()*90
			boxes[i] = Box{x, y, x + w, y + h}
			scores[i] = float32(rng.IntN(20)-10) / 10
			groups[i] = int32(rng.IntN(3))
		}
		var want []int32
	candidates:
		for _, i := range byScore(scores) {
			for _, k := range want {
				if groups[k] == groups[i] && float64(IoU(boxes[k], boxes[i])) > iou {
					continue candidates
				}
			}
			want = append(want, i)
		}
		same(t, fmt.Sprintf("%d boxes, IoU %v", n, iou), NMS(boxes, scores, groups, iou, n), want)
	}
	negativeZero := float32(math.Copysign(0, -1))
	same(t, "order", byScore([]float32{-2, negativeZero, 1, 0, -1, float32(math.Inf(-1)), 3}), []int32{6, 2, 1, 3, 4, 0, 5})
}

func TestNMSOfOddBoxes(t *testing.T) {
	if got := NMS(nil, nil, nil, 0.5, 10); len(got) != 0 {
		t.Errorf("nothing gives %v", got)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	boxes := []Box{{1, 1, 1, 1}, {1, 1, 1, 1}, {0, 0, inf, inf}, {nan, 0, 1, 1}, {0, 0, 2, 2}, {0, 0, 2, 2}}
	same(t, "odd boxes", NMS(boxes, make([]float32, 6), nil, 0.5, 10), []int32{0, 1, 2, 3, 4})
}

func TestProposals(t *testing.T) {
	g := loadGolden(t).Proposals
	r := DefaultRPN()
	r.Keep = 70
	near(t, "proposals", Flat(r.Proposals(Boxes(g.Boxes), g.Scores, g.Levels, 96, 64)), g.Kept, 0)
}

func TestRPNTargets(t *testing.T) {
	levels := Levels(96, 64, 8, 16, 32)
	anchors := Anchors(levels, AnchorSizes(levels, 2), AnchorRatios)
	truths := []*Truth{{}, nil, {Boxes: []Box{{8, 8, 24, 24}, {40, 10, 90, 60}}}}
	r := DefaultRPN()
	r.Sampler = Sampler{32, 0.5}
	targets := func(seed uint64) *RPNTargets { return r.Targets(anchors, truths, random(seed)) }
	got := targets(1)
	if len(got.Index) != 64 || len(got.Delta) != got.Positive || got.Positive == 0 {
		t.Fatalf("%d anchors sampled, %d positive, %d deltas", len(got.Index), got.Positive, len(got.Delta))
	}
	match := RPNMatcher.Match(anchors, truths[2])
	for i, index := range got.Index {
		image, anchor := int(index)/len(anchors), int(index)%len(anchors)
		switch {
		case i < got.Positive:
			if image != 2 || got.Label[i] != 1 || match[anchor] < 0 {
				t.Errorf("positive %d: image %d label %v match %d", i, image, got.Label[i], match[anchor])
			}
			back := RPNCoder.Decode(got.Delta[i], anchors[anchor])
			near(t, "target", back[:], truths[2].Boxes[match[anchor]][:], 1e-5)
		case image == 1 || got.Label[i] != 0 || image == 2 && match[anchor] != Background:
			t.Errorf("negative %d: image %d label %v", i, image, got.Label[i])
		}
	}
	same(t, "the same seed", targets(1).Index, got.Index)
	if slices.Equal(targets(2).Index, got.Index) {
		t.Error("another seed gives the same sample")
	}
}

func TestRoITargets(t *testing.T) {
	g := loadGolden(t).RoI
	var proposals [][]Box
	var truths []*Truth
	for i := range g.Proposals {
		truth := &Truth{Boxes: Boxes(g.Objects[i]), Class: g.Classes[i]}
		for k := range truth.Boxes {
			truth.Object = append(truth.Object, k)
		}
		truths = append(truths, truth)
		proposals = append(proposals, Boxes(g.Proposals[i]))
	}
	r := DefaultRoIs()
	r.Sampler = Sampler{10000, 0.5}
	got := r.Targets(append(proposals, proposals[0]), append(truths, nil), random(1))
	near(t, "boxes", Flat(got.Box), g.Box, 0)
	same(t, "images", got.Image, g.Image)
	same(t, "classes", got.Class, g.Class)
	same(t, "objects", got.Object, g.Object)
	near(t, "deltas", Flat(got.Delta), g.Delta, 1e-6)
}

func TestDetections(t *testing.T) {
	g := loadGolden(t).Detections
	r := DefaultRoIs()
	r.Keep = 20
	got := r.Detections(Boxes(g.RoIs), g.Probs, g.Deltas, 3, 96, 64)
	var boxes, scores []float32
	var labels []int
	for _, o := range got {
		b := BoxOf(o.Box)
		boxes = append(boxes, b[:]...)
		scores = append(scores, o.Score)
		labels = append(labels, o.Class+1)
	}
	near(t, "boxes", boxes, g.Boxes, 1e-6)
	near(t, "scores", scores, g.Scores, 0)
	same(t, "labels", labels, g.Labels)
	if none := r.Detections(nil, nil, nil, 3, 96, 64); none == nil || len(none) != 0 {
		t.Errorf("no RoIs give %v", none)
	}
}

func TestLevelMap(t *testing.T) {
	g := loadGolden(t).Levels
	var got []int
	for _, b := range Boxes(g.Boxes) {
		got = append(got, DefaultLevelMap().Index(b))
	}
	same(t, "levels", got, g.Levels)
	if k := DefaultLevelMap().Index(Box{5, 5, 5, 5}); k != 0 {
		t.Errorf("a point is of level %d", k)
	}
}

func TestMaskTargets(t *testing.T) {
	g := loadGolden(t).Mask
	full := data.NewGrid[uint8](96, 64)
	bounds := image.Rectangle{}
	for i, v := range g.Pix {
		if full.Pix[i] = uint8(v); v != 0 {
			bounds = bounds.Union(image.Rect(i%96, i/96, i%96+1, i/96+1))
		}
	}
	tight := &data.Mask{Rect: bounds}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		tight.Pix = append(tight.Pix, full.Pix[y*96:][bounds.Min.X:bounds.Max.X]...)
	}
	for _, mask := range []*data.Mask{tight, {Rect: image.Rect(0, 0, 96, 64), Pix: full.Pix}} {
		boxes := Boxes(g.Boxes)
		targets := &RoITargets{Box: boxes, Image: make([]int, 6), Object: []int{1, 1, 1, 1, 1, 1}, Positive: 6}
		rows, got := targets.MaskTargets([][]data.Object{{{}, {Mask: mask}}}, 96, 64, g.Size)
		same(t, "rows", rows, []int64{0, 1, 2, 3, 4, 5})
		near(t, "targets", got, g.Targets, 1e-5)
		targets.Object[3] = 0
		rows, _ = targets.MaskTargets([][]data.Object{{{}, {Mask: mask}}}, 96, 64, g.Size)
		same(t, "rows without masks", rows, []int64{0, 1, 2, 4, 5})
	}
}

func TestPasteMask(t *testing.T) {
	g := loadGolden(t).Paste
	const w, h, size = 48, 40, 7
	for i, b := range Boxes(g.Boxes) {
		probs, want := g.Probs[i*size*size:][:size*size], g.Images[i*w*h:][:w*h]
		rect, values := pasteProbs(probs, size, b, w, h)
		got := make([]float32, w*h)
		for y := rect.Min.Y; y < rect.Max.Y; y++ {
			copy(got[y*w+rect.Min.X:], values[(y-rect.Min.Y)*rect.Dx():][:rect.Dx()])
		}
		near(t, fmt.Sprint("image ", i), got, want, 1e-5)
		mask := PasteMask(probs, size, b, w, h)
		for k, v := range want {
			if (v > 0.5) != mask.At(k%w, k/w) && (v < 0.4999 || v > 0.5001) {
				t.Errorf("image %d: pixel %d with %v is %v", i, k, v, mask.At(k%w, k/w))
			}
		}
	}
	if m := PasteMask(make([]float32, 49), 7, Box{100, 100, 120, 130}, w, h); len(m.Pix) != 0 {
		t.Errorf("a box outside the image gives a mask in %v", m.Rect)
	}
}

// Of a partial truth nothing is background: only the positives are learned from.
func TestPartialTruth(t *testing.T) {
	truth := &Truth{Boxes: []Box{{0, 0, 10, 10}}, Class: []int64{1}, Object: []int{0}}
	boxes := []Box{{0, 0, 10, 9}, {0, 0, 10, 4.5}, {20, 20, 30, 30}}
	for partial, want := range map[bool][]int32{false: {0, Background, Background}, true: {0, Unsure, Unsure}} {
		truth.Partial = partial
		if got := RoIMatcher.Match(boxes, truth); !slices.Equal(got, want) {
			t.Errorf("partial %v: %v, want %v", partial, got, want)
		}
	}
}

// Where an object may be nothing is background: neither what lies in its box nor what overlaps it so much that
// it would be unsure of an object.
func TestOpenObjectsAreNoBackground(t *testing.T) {
	truth := &Truth{Crowd: []Box{{10, 10, 30, 30}}}
	boxes := []Box{{10, 10, 30, 30}, {14, 14, 20, 20}, {6, 6, 38, 38}, {0, 0, 64, 64}, {40, 40, 60, 60}, {30, 10, 50, 30}}
	// The third has an IoU of 0.39: unsure of an object to the first stage, background to the second.
	for _, m := range []struct {
		Matcher
		want []int32
	}{{RPNMatcher, []int32{Unsure, Unsure, Unsure, Background, Background, Background}}, {RoIMatcher, []int32{Unsure, Unsure, Background, Background, Background, Background}}} {
		if got := m.Match(boxes, truth); !slices.Equal(got, m.want) {
			t.Errorf("%+v: %v, want %v", m.Matcher, got, m.want)
		}
	}
}
