package augment

import (
	"encoding/json"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	"must/data"
	"must/task/classification"
	depthlabel "must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

var nan = float32(math.NaN())

// scene returns a w×h sample of flat rectangles on a black wall: rectangle i has class i, colour
// (40·(i+1), 0, 0), depth i+1 and a normal of its own, so that every label can be read off the
// image.
func scene(w, h, n int, rng *rand.Rand) *data.Sample {
	s := &data.Sample{
		Key: "k", Known: data.Know(classification.New([]float32{1, 0}), detection.New([]data.Object{}), segmentation.New(data.NewGrid[uint8](w, h)), depthlabel.New(data.NewGrid[float32](w, h)), normals.New(data.NewGrid[[3]float32](w, h))),
		Image: image.NewRGBA(image.Rect(0, 0, w, h)),
	}
	paint := func(r image.Rectangle, class int, depth float32, normal [3]float32) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				copy(s.Image.Pix[s.Image.PixOffset(x, y):], []uint8{uint8(40 * class), 0, 0, 255})
				segmentation.Of(s).Set(x, y, uint8(class))
				depthlabel.Of(s).Set(x, y, depth)
				normals.Of(s).Set(x, y, normal)
			}
		}
	}
	paint(s.Image.Rect, 0, 10.5, [3]float32{0, 0, -1})
	for i := range n {
		// One column each, so that none hides another; large enough to survive shrinking.
		x0, x1 := w*i/n, w*(i+1)/n
		r := image.Rect(x0+rng.IntN((x1-x0+2)/3), rng.IntN(h/4), x1, h*3/4+rng.IntN(h/4))
		paint(r, i+1, float32(i)+1.25, [3]float32{.6, .8, 0})
		mask := &data.Mask{Rect: r, Pix: make([]uint8, r.Dx()*r.Dy())}
		for k := range mask.Pix {
			mask.Pix[k] = 1
		}
		detection.Set(s, append(detection.Of(s), data.Object{
			Box:   data.Box{X0: float64(r.Min.X), Y0: float64(r.Min.Y), X1: float64(r.Max.X), Y1: float64(r.Max.Y)},
			Class: i + 1, Score: 1, Mask: mask, Area: float64(len(mask.Pix)),
		}))
	}
	return s
}

// agree checks that all labels still say the same thing, and that the image does away from edges.
func agree(t *testing.T, s *data.Sample, flipped bool) {
	t.Helper()
	w, h := segmentation.Of(s).W, segmentation.Of(s).H
	counts := map[int]int{}
	for y := range h {
		for x := range w {
			class, depth, normal := segmentation.Of(s).At(x, y), depthlabel.Of(s).At(x, y), normals.Of(s).At(x, y)
			if class == data.Ignore {
				if depth == depth || normal != ([3]float32{}) {
					t.Fatalf("(%d, %d): padding has depth %v, normal %v", x, y, depth, normal)
				}
				continue
			}
			counts[int(class)]++
			want, wantNormal := float32(10.5), [3]float32{0, 0, -1}
			if class > 0 {
				want, wantNormal = float32(class)+.25, [3]float32{.6, .8, 0}
				if flipped {
					wantNormal[0] = -.6
				}
			}
			if depth != want || normal != wantNormal {
				t.Fatalf("(%d, %d): class %d has depth %v, normal %v", x, y, class, depth, normal)
			}
			inside := x > 1 && y > 1 && x < w-2 && y < h-2
			for _, d := range [][2]int{{-2, 0}, {2, 0}, {0, -2}, {0, 2}, {-2, -2}, {2, 2}, {2, -2}, {-2, 2}} {
				inside = inside && segmentation.Of(s).At(x+d[0], y+d[1]) == class
			}
			if got := s.Image.RGBAAt(x, y); inside && (got.R != 40*class || got.A != 255) {
				t.Fatalf("(%d, %d): class %d has colour %v", x, y, class, got)
			}
		}
	}
	for _, o := range detection.Of(s) {
		n := 0
		for y := range h {
			for x := range w {
				if o.Mask.At(x, y) {
					n++
				}
				if o.Mask.At(x, y) != (int(segmentation.Of(s).At(x, y)) == o.Class) {
					t.Fatalf("(%d, %d): mask of class %d is %v, semantic %d", x, y, o.Class, o.Mask.At(x, y), segmentation.Of(s).At(x, y))
				}
			}
		}
		if n != counts[o.Class] {
			t.Errorf("class %d: %d mask pixels, %d semantic", o.Class, n, counts[o.Class])
		}
		// A pixel belongs to the mask by its centre: bounds agree within half a pixel.
		r := o.Mask.Rect
		for _, d := range []float64{o.Box.X0 - float64(r.Min.X), o.Box.Y0 - float64(r.Min.Y), o.Box.X1 - float64(r.Max.X), o.Box.Y1 - float64(r.Max.Y)} {
			if math.Abs(d) > .5+1e-9 {
				t.Fatalf("class %d: box %v, mask bounds %v", o.Class, o.Box, r)
			}
		}
	}
}

func TestTrainMovesLabelsWithPixels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := Config{Size: 48, Flip: .5, ScaleMin: .5, ScaleMax: 2}
	for range 300 {
		s := scene(30+rng.IntN(60), 30+rng.IntN(60), 1+rng.IntN(3), rng)
		seed := rng.Uint64()
		flipped := rand.New(rand.NewPCG(seed, 0)).Float64() < .5
		got := c.Train(s, rand.New(rand.NewPCG(seed, 0)))
		if got.Image.Rect != image.Rect(0, 0, 48, 48) {
			t.Fatalf("image is %v", got.Image.Rect)
		}
		agree(t, got, flipped)
		for _, o := range detection.Of(got) {
			if o.Box != o.Box.Clip(48, 48) || o.Box.W() < 1 || o.Box.H() < 1 {
				t.Fatalf("box %v", o.Box)
			}
		}
	}
}

// A view knows how much larger than evaluation it shows the image, whatever the size of that.
func TestViewTellsItsScale(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for _, scale := range []float64{0.5, 1, 1.25, 2} {
		for _, size := range [][2]int{{40, 40}, {64, 30}, {17, 90}} {
			c := Config{Size: 32, Flip: .5, ScaleMin: scale, ScaleMax: scale}
			l, _ := c.Train(scene(size[0], size[1], 1, rng), rng).Label(depthlabel.Name).(depthlabel.Label)
			if math.Abs(l.Zoom-scale) > 1e-9 {
				t.Errorf("a view of %v at scale %v says %v", size, scale, l.Zoom)
			}
		}
	}
	got, _ := Config{Size: 32}.Eval(scene(64, 30, 1, rng))
	if l, _ := got.Label(depthlabel.Name).(depthlabel.Label); l.Zoom != 0 && l.Zoom != 1 {
		t.Errorf("evaluation says %v", l.Zoom)
	}
}

func TestFlipTwiceIsIdentity(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := scene(31, 17, 3, rng)
	detection.Of(s)[0].Mask.Pix[0] = 0
	detection.Of(s)[1].Mask = nil
	detection.Of(s)[2].Crowd = true
	depthlabel.Of(s).Pix[5], segmentation.Of(s).Pix[7], normals.Of(s).Pix[9] = 77, data.Ignore, [3]float32{}
	segmentation.SetConfidence(s, data.NewGrid[float32](31, 17))
	segmentation.Confidence(s).Pix[3] = .5
	for i := range s.Image.Pix {
		if i%4 != 3 {
			s.Image.Pix[i] = uint8(rng.Uint32())
		}
	}
	once := Flip(s)
	if reflect.DeepEqual(once, s) {
		t.Error("a flip changes nothing")
	}
	if got := once.Image.RGBAAt(0, 3); got != s.Image.RGBAAt(30, 3) {
		t.Errorf("first pixel is %v", got)
	}
	if twice := Flip(once); !reflect.DeepEqual(twice, s) {
		t.Errorf("two flips are not the identity")
	}
}

func TestTrainIsDeterministicAndBlindToLabels(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	s := scene(50, 40, 3, rng)
	bare := &data.Sample{Key: s.Key, Image: s.Image}
	c := DefaultConfig()
	r1, r2, r3 := rand.New(rand.NewPCG(7, 8)), rand.New(rand.NewPCG(7, 8)), rand.New(rand.NewPCG(7, 8))
	for range 20 {
		a, b, other := c.Train(s, r1), c.Train(s, r2), c.Train(bare, r3)
		if !reflect.DeepEqual(a.Image, b.Image) || !reflect.DeepEqual(detection.Of(a), detection.Of(b)) || !reflect.DeepEqual(segmentation.Of(a), segmentation.Of(b)) {
			t.Fatal("the same seed gives two views")
		}
		if !reflect.DeepEqual(a.Image, other.Image) {
			t.Fatal("the view depends on the labels")
		}
		if detection.Of(other) != nil || segmentation.Of(other) != nil || depthlabel.Of(other) != nil || normals.Of(other) != nil || classification.Of(other) != nil {
			t.Fatal("an unknown label became known")
		}
	}
	(Config{Size: 3}).Train(s, r3)
	c.Train(s, r1)
	if r1.Uint64() != r3.Uint64() {
		t.Error("the number of draws depends on the configuration")
	}
}

func TestTrainObjects(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 100, 100))
	s := &data.Sample{Image: img, Known: data.Know(detection.New([]data.Object{
		{Box: data.Box{X0: 48, Y0: 0, X1: 52, Y1: 100}, Class: 1, Area: 400},             // always visible in part
		{Box: data.Box{X0: -20, Y0: 49, X1: 120, Y1: 51}, Class: 2},                      // reaches out of the image
		{Box: data.Box{X0: 0, Y0: 0, X1: 100, Y1: 100}, Class: 3, Crowd: true},           // 1/16 visible
		{Box: data.Box{X0: 0, Y0: 0, X1: 100, Y1: 100}, Class: 4},                        // 1/16 visible
		{Box: data.Box{X0: 50, Y0: 50, X1: 50.1, Y1: 60}, Class: 5},                      // under a pixel
		{Box: data.Box{X0: 30, Y0: 30, X1: 30, Y1: 60}, Class: 6, Crowd: true},           // no area
		{Box: data.Box{X0: 40, Y0: 40, X1: 60, Y1: 60}, Class: 7, Mask: &data.Mask{}},    // nothing of its mask
		{Box: data.Box{X0: 200, Y0: 200, X1: 300, Y1: 300}, Class: 8, Crowd: true},       // elsewhere
		{Box: data.Box{X0: 45, Y0: 45, X1: 55, Y1: 55}, Class: 9, Area: 50, Crowd: true}, // may be cut
	}))}
	c := Config{Size: 100, ScaleMin: 4, ScaleMax: 4}
	rng := rand.New(rand.NewPCG(1, 1))
	seen := map[int]int{}
	for range 100 {
		for _, o := range detection.Of(c.Train(s, rng)) {
			seen[o.Class]++
			if o.Class == 1 && math.Abs(o.Area-o.Box.Area()) > 1e-9 {
				t.Fatalf("area %v of box %v", o.Area, o.Box)
			}
		}
	}
	if seen[1] == 0 || seen[2] == 0 || seen[3] != 100 || seen[9] == 0 {
		t.Errorf("dropped too many: %v", seen)
	}
	for _, class := range []int{4, 5, 6, 7, 8} {
		if seen[class] != 0 {
			t.Errorf("class %d stays %d times", class, seen[class])
		}
	}
	if got := c.Train(&data.Sample{Image: img, Known: data.Know(detection.New([]data.Object{}))}, rng); detection.Of(got) == nil {
		t.Error("no objects became unknown objects")
	}
}

func TestEvalAndRestore(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, size := range [][2]int{{64, 64}, {64, 48}, {30, 64}, {90, 41}, {20, 20}, {21, 33}} {
		w, h := size[0], size[1]
		s := scene(w, h, 2, rng)
		got, f := Config{Size: 64}.Eval(s)
		agree(t, got, false)
		if max(f.W, f.H) != 64 || f.SourceW != w || f.SourceH != h || len(detection.Of(got)) != 2 {
			t.Errorf("%v: frame %+v, %d objects", size, f, len(detection.Of(got)))
		}
		if p := got.Image.RGBAAt(63, 63); (f.W < 64 || f.H < 64) && p.R != Fill[0] {
			t.Errorf("%v: padding is %v", size, p)
		}
		segmentation.SetConfidence(got, data.NewGrid[float32](64, 64))
		back := f.Restore(got, w, h)
		for i, o := range detection.Of(back) {
			want := detection.Of(s)[i].Box
			for _, d := range []float64{o.Box.X0 - want.X0, o.Box.Y0 - want.Y0, o.Box.X1 - want.X1, o.Box.Y1 - want.Y1} {
				if math.Abs(d) > 1e-9 {
					t.Fatalf("%v: box %v came back as %v", size, want, o.Box)
				}
			}
		}
		wrong := 0
		for i, class := range segmentation.Of(back).Pix {
			if class != segmentation.Of(s).Pix[i] {
				wrong++
			}
			if class == data.Ignore || depthlabel.Of(back).Pix[i] != depthlabel.Of(back).Pix[i] {
				t.Fatalf("%v: padding came back", size)
			}
			n := normals.Of(back).Pix[i]
			if l := n[0]*n[0] + n[1]*n[1] + n[2]*n[2]; math.Abs(float64(l)-1) > 1e-5 {
				t.Fatalf("%v: normal %v", size, n)
			}
		}
		if max(w, h) <= 64 && wrong > 0 || wrong > w*h/20 {
			t.Errorf("%v: %d pixels changed class", size, wrong)
		}
		if max(w, h) == 64 && !reflect.DeepEqual(depthlabel.Of(back), depthlabel.Of(s)) {
			t.Errorf("%v: depth changed", size)
		}
	}
}

func TestRestoreCoarseMap(t *testing.T) {
	// A map of a quarter of the frame: 16×16 for 64, of which 16×8 show the image.
	f := data.Frame{Size: 64, W: 64, H: 32, SourceW: 128, SourceH: 64}
	pred := &data.Sample{Known: data.Know(segmentation.New(data.NewGrid[uint8](16, 16)), depthlabel.New(data.NewGrid[float32](16, 16)), normals.New(data.NewGrid[[3]float32](16, 16)))}
	for y := range 16 {
		for x := range 16 {
			segmentation.Of(pred).Set(x, y, uint8(y*16+x))
			depthlabel.Of(pred).Set(x, y, float32(x))
			if y >= 8 {
				depthlabel.Of(pred).Set(x, y, 1000)
			}
		}
	}
	depthlabel.Of(pred).Set(3, 3, nan)
	out := f.Restore(pred, 128, 64)
	if got := segmentation.Of(out).At(127, 63); got != 7*16+15 {
		t.Errorf("last pixel is of map pixel %d", got)
	}
	if got := depthlabel.Of(out).At(68, 63); got != 8.0625 { // 68.5/8 - .5
		t.Errorf("depth %v", got)
	}
	if got := depthlabel.Of(out).At(27, 27); got == got {
		t.Errorf("an invalid depth became %v", got)
	}
	if got := depthlabel.Of(out).At(20, 28); got < 1 || got > 3 {
		t.Errorf("depth beside an invalid one is %v", got)
	}
	if got := normals.Of(out).At(5, 5); got != ([3]float32{}) {
		t.Errorf("an invalid normal became %v", got)
	}
}

func TestResampleEqualsPillow(t *testing.T) {
	text, err := os.ReadFile("testdata/resize.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		From, To [2]int
		RGB      []int
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		w, h := c.From[0], c.From[1]
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				for ch := range 3 {
					img.Pix[img.PixOffset(x, y)+ch] = uint8(x*37 + y*91 + ch*53 + x*y*11)
				}
				img.Pix[img.PixOffset(x, y)+3] = 255
			}
		}
		whole := resample(img, data.Placement{
			X: data.Axis{N: w, Scaled: c.To[0], Canvas: c.To[0]},
			Y: data.Axis{N: h, Scaled: c.To[1], Canvas: c.To[1]},
		})
		for i, want := range c.RGB {
			// Newer Pillows sometimes start with the columns, which rounds differently by one.
			if got := int(whole.Pix[i/3*4+i%3]); got < want-1 || got > want+1 {
				t.Fatalf("%v to %v: value %d is %d, Pillow's %d", c.From, c.To, i, got, want)
			}
		}
		// A crop of the resized image is the same pixels.
		part := resample(img, data.Placement{
			X: data.Axis{N: w, Scaled: c.To[0], Offset: -1, Canvas: 5, Flip: true},
			Y: data.Axis{N: h, Scaled: c.To[1], Offset: 1, Canvas: 5},
		})
		for y := range 5 {
			for x := range 5 {
				wx, wy := 4-x+1, y-1
				if wx >= c.To[0] || wy < 0 || wy >= c.To[1] {
					continue
				}
				if got, want := part.RGBAAt(x, y), whole.RGBAAt(wx, wy); got != want {
					t.Fatalf("%v to %v: cropped pixel (%d, %d) is %v, want %v", c.From, c.To, x, y, got, want)
				}
			}
		}
	}
}

func TestColors(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	img := image.NewRGBA(image.Rect(0, 0, 20, 20))
	for i := range img.Pix {
		img.Pix[i] = uint8(60 + rng.IntN(120))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	same := func(a, b *image.RGBA, tolerance int) bool {
		for i := range a.Pix {
			if d := int(a.Pix[i]) - int(b.Pix[i]); d < -tolerance || d > tolerance {
				return false
			}
		}
		return true
	}
	clone := func() *image.RGBA {
		c := *img
		c.Pix = append([]uint8(nil), img.Pix...)
		return &c
	}
	whole := clone()
	jitter{1, 1, 1, 1}.apply(whole, whole.Rect) // a whole turn of hue
	if !same(whole, img, 1) {
		t.Error("a whole turn of hue changes colours")
	}
	grey := clone()
	jitter{1, 1, 0, .1}.apply(grey, grey.Rect)
	for i := 0; i < len(grey.Pix); i += 4 {
		if d := int(grey.Pix[i]) - int(grey.Pix[i+2]); d < -1 || d > 1 {
			t.Fatalf("without saturation a pixel is %v", grey.Pix[i:i+4])
		}
	}
	contrast := clone()
	jitter{1, .5, 1, 0}.apply(contrast, contrast.Rect)
	if d := meanLuma(contrast, img.Rect) - meanLuma(img, img.Rect); math.Abs(d) > 1 {
		t.Errorf("contrast moves the mean by %v", d)
	}
	bright := clone()
	jitter{1.25, 1, 1, 0}.apply(bright, bright.Rect)
	if got, want := meanLuma(bright, img.Rect), 1.25*meanLuma(img, img.Rect); math.Abs(got-want) > 1 {
		t.Errorf("mean is %v, want %v", got, want)
	}
}

func TestExtremeShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, size := range [][2]int{{1, 1}, {1, 3000}, {3000, 1}, {2, 2}} {
		s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, size[0], size[1])), Known: data.Know(depthlabel.New(data.NewGrid[float32](size[0], size[1])))}
		for range 5 {
			DefaultConfig().Train(s, rng)
		}
		got, f := DefaultConfig().Eval(s)
		if back := f.Restore(got, size[0], size[1]); len(depthlabel.Of(back).Pix) != size[0]*size[1] {
			t.Errorf("%v: %d depths", size, len(depthlabel.Of(back).Pix))
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []Config{{}, {Size: 8, Flip: 2}, {Size: 8, ScaleMin: 2}, {Size: 8, ScaleMin: -1}, {Size: 8, Photometric: math.NaN()}, {Size: 1 << 20}} {
		if c.Validate() == nil {
			t.Errorf("%+v passes", c)
		}
	}
	for _, c := range []Config{DefaultConfig(), {Size: 8}, {Size: 8, ScaleMin: .1, ScaleMax: 2}} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func benchmarkTrain(b *testing.B, size int) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := scene(size, size, 3, rng)
	c := DefaultConfig()
	c.Size = size
	b.ReportAllocs()
	for b.Loop() {
		c.Train(s, rng)
	}
}

func BenchmarkTrain64(b *testing.B)  { benchmarkTrain(b, 64) }
func BenchmarkTrain512(b *testing.B) { benchmarkTrain(b, 512) }
func BenchmarkEvalLarge(b *testing.B) {
	s := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 2000, 1500))}
	for b.Loop() {
		(Config{Size: 512}).Eval(s)
	}
}
