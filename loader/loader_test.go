package loader

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"must/augment"
	"must/data"
	"must/task/depth"
	"must/task/normals"
	"must/task/segmentation"
)

// A fake dataset paints sample i in colour i. bad samples are broken; reading fatal ends it all.
type fake struct {
	n     int
	bad   map[int]bool
	fatal map[int]bool
	mu    sync.Mutex
	reads map[int]int
}

func (f *fake) Len() int            { return f.n }
func (f *fake) Labels() data.Labels { return data.Labels{} }
func (f *fake) Key(i int) string    { return fmt.Sprint("sample", i) }
func (f *fake) Sample(i int) (*data.Sample, error) {
	f.mu.Lock()
	if f.reads == nil {
		f.reads = map[int]int{}
	}
	f.reads[i]++
	f.mu.Unlock()
	if f.bad[i] {
		return nil, fmt.Errorf("wrapped: %w", &data.SampleError{Key: f.Key(i), File: "f", Err: errors.New("cut short")})
	}
	if f.fatal[i] {
		return nil, errors.New("disk on fire")
	}
	if i%3 == 0 {
		runtime.Gosched() // finish out of order
	}
	img := image.NewRGBA(image.Rect(0, 0, 6, 4))
	for k := range img.Pix {
		img.Pix[k] = []uint8{uint8(i), uint8(i >> 8), 7, 255}[k%4]
	}
	return &data.Sample{Key: f.Key(i), Image: img}, nil
}

func newLoader(t *testing.T, ds data.Dataset, o Options) *Loader {
	t.Helper()
	o.Augment.Size = 8
	l, err := New(ds, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// digest is all of a batch that must be reproducible.
type digest struct {
	Index []int
	Keys  []string
	Pix   string
	Extra any
}

func digests(t *testing.T, l *Loader, from, to int) []digest {
	t.Helper()
	var out []digest
	for b, err := range l.Steps(t.Context(), from, to) {
		if err != nil {
			t.Fatal(err)
		}
		d := digest{Index: b.Index, Pix: string(b.Images), Extra: b.Extra}
		for _, s := range b.Samples {
			d.Keys = append(d.Keys, s.Key)
		}
		out = append(out, d)
		b.Release()
	}
	return out
}

func TestStepsAreAFunctionOfSeedAndStep(t *testing.T) {
	options := func(workers int) Options {
		return Options{
			Batch: 4, Train: true, Shuffle: true, Seed: 5, Workers: workers, Augment: augment.DefaultConfig(),
			Collate: func(s []*data.Sample, rng *rand.Rand) any { return []any{len(s), s[0].Key, rng.Uint64()} },
		}
	}
	ds := func() *fake { return &fake{n: 10, bad: map[int]bool{2: true, 3: true, 7: true}} }
	want := digests(t, newLoader(t, ds(), options(1)), 0, 12)
	if len(want) != 12 {
		t.Fatalf("%d batches", len(want))
	}
	if got := digests(t, newLoader(t, ds(), options(8)), 0, 12); !reflect.DeepEqual(got, want) {
		t.Error("eight workers give other batches than one")
	}
	if got := digests(t, newLoader(t, ds(), options(3)), 7, 12); !reflect.DeepEqual(got, want[7:]) {
		t.Error("resuming at step 7 gives other batches")
	}
	other := options(1)
	other.Seed = 6
	if got := digests(t, newLoader(t, ds(), other), 0, 12); reflect.DeepEqual(got, want) {
		t.Error("the seed has no effect")
	}
}

// Parts of batches, by whomever they are made, are together what whole batches are.
func TestPartsMakeUpTheBatch(t *testing.T) {
	ds := func() *fake { return &fake{n: 10, bad: map[int]bool{2: true, 3: true, 7: true}} }
	for _, alpha := range []float64{0, 0.4} {
		o := Options{Batch: 7, Train: true, Shuffle: true, Seed: 5, Workers: 2, Mixup: alpha, Augment: augment.DefaultConfig()}
		want := digests(t, newLoader(t, ds(), o), 2, 6)
		got := make([]digest, len(want))
		o.Parts = 4
		for _, mine := range [][2]int{{0, 1}, {1, 3}, {3, 4}} {
			o.Mine = mine
			parts := digests(t, newLoader(t, ds(), o), 2, 6)
			n := mine[1] - mine[0]
			if len(parts) != n*len(want) {
				t.Fatalf("%d parts of %d batches, want %d", len(parts), len(want), n*len(want))
			}
			for i, p := range parts {
				d := &got[i/n]
				d.Index, d.Keys, d.Pix = append(d.Index, p.Index...), append(d.Keys, p.Keys...), d.Pix+p.Pix
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("mixup %v: parts give\n%v, the whole\n%v", alpha, got[0].Index, want[0].Index)
		}
	}
}

func TestStepsVisitEachSampleOncePerEpoch(t *testing.T) {
	l := newLoader(t, &fake{n: 12}, Options{Batch: 5, Train: true, Shuffle: true, Seed: 1})
	var order []int
	for _, d := range digests(t, l, 0, 12) {
		order = append(order, d.Index...)
	}
	for epoch := range 5 {
		part := order[epoch*12 : (epoch+1)*12]
		seen := map[int]bool{}
		for _, i := range part {
			seen[i] = true
		}
		if len(seen) != 12 {
			t.Errorf("epoch %d is %v", epoch, part)
		}
		if epoch > 0 && reflect.DeepEqual(part, order[:12]) {
			t.Errorf("epoch %d has the order of epoch 0", epoch)
		}
	}
}

func TestBrokenSamplesAreReplacedAndReportedOnce(t *testing.T) {
	ds := &fake{n: 6, bad: map[int]bool{1: true, 2: true}}
	reported := 0
	l := newLoader(t, ds, Options{Batch: 3, Train: true, Workers: 4, Skipped: func(error) { reported++ }})
	var got [][]int
	for _, d := range digests(t, l, 0, 4) {
		got = append(got, d.Index)
	}
	if want := [][]int{{0, 3, 3}, {3, 4, 5}, {0, 3, 3}, {3, 4, 5}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s := l.Skipped()
	if s.Count != 2 || len(s.First) != 2 || reported != 2 || !strings.Contains(s.First[0].Error(), "cut short") {
		t.Errorf("skipped %+v, reported %d", s, reported)
	}
}

func TestNothingReadable(t *testing.T) {
	for n := range 3 {
		ds := &fake{n: n + 1, bad: map[int]bool{0: true, 1: true, 2: true}}
		l := newLoader(t, ds, Options{Batch: 2, Train: true})
		for name, batches := range map[string]func(func(*Batch, error) bool){"steps": l.Steps(t.Context(), 0, 9), "pass": l.Pass(t.Context(), 0, n+1)} {
			count := 0
			for b, err := range batches {
				count++
				if b != nil || err == nil || !strings.Contains(err.Error(), "cut short") {
					t.Errorf("%s over %d: %v, %v", name, n+1, b, err)
				}
			}
			if count != 1 {
				t.Errorf("%s over %d: %d yields", name, n+1, count)
			}
		}
	}
}

func TestFatalErrorEndsTheStreamInItsPlace(t *testing.T) {
	l := newLoader(t, &fake{n: 20, fatal: map[int]bool{9: true}}, Options{Batch: 2, Train: true, Workers: 4})
	good := 0
	for _, err := range l.Steps(t.Context(), 0, 10) {
		if err != nil {
			if !strings.Contains(err.Error(), "sample9: disk on fire") {
				t.Error(err)
			}
			break
		}
		good++
	}
	if good != 4 {
		t.Errorf("%d batches before the error, want 4", good)
	}
}

func TestPass(t *testing.T) {
	for _, workers := range []int{1, 8} {
		ds := &fake{n: 300, bad: map[int]bool{3: true, 8: true, 9: true, 10: true, 11: true, 297: true}}
		l := newLoader(t, ds, Options{Batch: 4, Workers: workers, Shuffle: true, Originals: true})
		var index []int
		for b, err := range l.Pass(t.Context(), 0, 300) {
			if err != nil {
				t.Fatal(err)
			}
			if b.N == 0 || b.N != len(b.Index) || b.N != len(b.Samples) || b.N != len(b.Frames) || b.N != len(b.Originals) || len(b.Images) != b.N*3*8*8 {
				t.Fatalf("batch of %d: %d indices, %d samples, %d frames, %d image values", b.N, len(b.Index), len(b.Samples), len(b.Frames), len(b.Images))
			}
			for i, at := range b.Index {
				image := b.Images[i*3*64:][:3*64]
				if image[0] != uint8(at) || image[64] != uint8(at>>8) || image[128] != 7 || b.Samples[i].Key != l.ds.Key(at) || b.Originals[i].Image.Rect.Dx() != 6 {
					t.Fatalf("slot %d of index %d holds %v of %s", i, at, image[:1], b.Samples[i].Key)
				}
				if image[63] != augment.Fill[0] {
					t.Fatalf("padding is %d", image[63])
				}
			}
			index = append(index, b.Index...)
			b.Release()
		}
		if len(index) != 294 || l.Skipped().Count != 6 {
			t.Fatalf("%d samples, %d skipped", len(index), l.Skipped().Count)
		}
		for i := 1; i < len(index); i++ {
			if index[i] <= index[i-1] {
				t.Fatalf("out of order: %v", index)
			}
		}
	}
	l := newLoader(t, &fake{n: 300}, Options{Batch: 128})
	var sizes []int
	for b := range l.Pass(t.Context(), 10, 300) {
		sizes = append(sizes, b.N)
	}
	if want := []int{128, 128, 34}; !reflect.DeepEqual(sizes, want) {
		t.Errorf("batches of %v, want %v", sizes, want)
	}
}

func TestNoGoroutineOutlivesItsStream(t *testing.T) {
	before := runtime.NumGoroutine()
	l := newLoader(t, &fake{n: 50}, Options{Batch: 3, Train: true, Workers: 8})
	for range l.Steps(t.Context(), 0, 1000) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for b, err := range l.Steps(ctx, 0, 1000000) {
		if err == nil && b.Index[0] > 20 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("a cancelled stream ends with %v", last)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestNewRefuses(t *testing.T) {
	ok := augment.Config{Size: 8}
	for name, make := range map[string]func() (*Loader, error){
		"no batch":      func() (*Loader, error) { return New(&fake{n: 1}, Options{Augment: ok}) },
		"no size":       func() (*Loader, error) { return New(&fake{n: 1}, Options{Batch: 1}) },
		"empty dataset": func() (*Loader, error) { return New(&fake{}, Options{Batch: 1, Augment: ok}) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func BenchmarkSteps(b *testing.B) {
	o := Options{Batch: 32, Train: true, Shuffle: true, Augment: augment.DefaultConfig()}
	l, err := New(&fake{n: 1000}, o)
	if err != nil {
		b.Fatal(err)
	}
	for batch, err := range l.Steps(b.Context(), 0, b.N) {
		if err != nil {
			b.Fatal(err)
		}
		batch.Release()
	}
}

// A labelled set of 640×480 samples that are made beforehand, so that what is measured is the loader.
type ready struct{ sample data.Sample }

func (ready) Len() int            { return 64 }
func (ready) Labels() data.Labels { return data.Labels{} }
func (ready) Key(i int) string    { return fmt.Sprint(i) }
func (r ready) Sample(i int) (*data.Sample, error) {
	s := r.sample
	s.Key = r.Key(i)
	return &s, nil
}

// BenchmarkPass is the loader's part of scoring depth and semantic maps; labels are not resampled.
func BenchmarkPass(b *testing.B) {
	ds := ready{data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 640, 480)), Known: data.Know(segmentation.New(data.NewGrid[uint8](640, 480)), depth.New(data.NewGrid[float32](640, 480)), normals.New(data.NewGrid[[3]float32](640, 480)))}}
	l, err := New(ds, Options{Batch: 16, Augment: augment.Config{Size: 224}, Originals: true})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for batch, err := range l.Pass(b.Context(), 0, ds.Len()) {
			if err != nil || depth.Of(batch.Samples[0]) != nil {
				b.Fatal(err, "or a resampled label")
			}
			batch.Release()
		}
	}
}
