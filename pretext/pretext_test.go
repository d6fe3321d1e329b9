package pretext

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"must/augment"
	"must/data"
	"must/loader"
	"must/model"
	"must/network"
	"must/torch"
	"must/train"
)

// toys is a set of images, each of a colour and a stripe of its own, without labels.
type toys struct {
	n    int
	read func() // hears of every sample that is read; may be nil
}

func (d toys) Len() int          { return d.n }
func (toys) Labels() data.Labels { return data.Labels{} }
func (toys) Key(i int) string    { return fmt.Sprint("toy", i) }

func (d toys) Sample(i int) (*data.Sample, error) {
	if d.read != nil {
		d.read()
	}
	s := &data.Sample{Key: d.Key(i), Image: image.NewRGBA(image.Rect(0, 0, 48, 48))}
	for y := range 48 {
		for x := range 48 {
			v := uint8(60 * i)
			if (x*(i%3)+y*(i%2+1))/8%2 == 0 {
				v = 255 - v
			}
			copy(s.Image.Pix[s.Image.PixOffset(x, y):], []uint8{v, uint8(90 * i), uint8(x*2 + y), 255})
		}
	}
	return s, nil
}

// pretask is a small form of each method.
var pretask = map[string]Config{
	SimCLR: {Method: SimCLR, Views: CIFAR, Out: 16},
	MoCo1:  {Method: MoCo1, Out: 16, Queue: 16, Momentum: 0.9},
	MoCo2:  {Method: MoCo2, Out: 16, Queue: 16, Momentum: 0.9},
	MAE:    {Method: MAE, DecoderDim: 16, DecoderHeads: 2, DecoderLayers: 1},
}

// job pretrains a tiny network for so many steps, in a new folder.
func job(t testing.TB, method string, steps int) train.Job {
	t.Helper()
	const size = 32
	c := pretask[method]
	s := spec(size)
	if method == MAE {
		s = transformer(size)
	}
	o := train.DefaultConfig()
	o.Steps, o.Batch, o.SaveEvery, o.Seed, o.Augment = steps, 8, 0, 5, augment.Config{Size: size}
	o = c.Train(o)
	j := train.Job{Name: method, Train: toys{n: 16}, Config: o, Dir: t.TempDir()}
	err := torch.DoErr(func() (err error) {
		j.Net, j.Pretext, err = New(s, c, 1, o.Batch)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { torch.Do(func() { j.Pretext.Free(); j.Net.Free() }) })
	return j
}

func run(t *testing.T, j train.Job) {
	t.Helper()
	if _, err := train.Run(t.Context(), j); err != nil {
		t.Fatal(err)
	}
}

func trained(t *testing.T, j train.Job) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(j.Dir, train.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// On a batch that comes again and again every method learns what it is asked for. MoCo cannot get under
// log 3, since the queue holds two earlier keys of every image.
func TestLearns(t *testing.T) {
	for method, lr := range map[string]float64{SimCLR: 0.5, MoCo1: 0.05, MoCo2: 0.1, MAE: 0.1} {
		j := job(t, method, 1)
		do(t, func() {
			b := &loader.Batch{N: 16, Size: 32, Images: pixels("image", 16, 32)}
			if method == MAE { // stripes: noise cannot be filled in
				b.N, b.Images = 8, b.Images[:len(b.Images)/2]
				for i := range b.Images {
					image, x, y := i/3072, i%32, i/32%32
					b.Images[i] = uint8((x*(image%3) + y*(image/3)) * 8)
				}
			} else { // the second view is the first and a quarter of noise
				first, second := b.Images[:len(b.Images)/2], b.Images[len(b.Images)/2:]
				for i, v := range first {
					second[i] = v/4*3 + second[i]/4
				}
			}
			set, rng := j.Net.Set, rand.New(rand.NewPCG(1, 1))
			momentum := torch.Zeros(torch.Float, set.Flat.Data.Len())
			var loss []float64
			for step := range 30 {
				torch.Scope(func() {
					set.Flat.Grad.Fill(0)
					l := j.Pretext.Losses(b, model.Mode{Train: true}, rng)
					l[0].Total.Backward()
					loss = append(loss, l[0].Total.Item())
					torch.StepSGD(set.Flat.Data, set.Flat.Grad, momentum, lr, 0.9, 0, false, step == 0)
				})
			}
			first, last := loss[2], loss[len(loss)-1] // by then nothing in the queue is random
			t.Logf("%s: the loss falls from %.3f to %.3f", method, first, last)
			if !(last < 0.75*first) {
				t.Errorf("%s: the loss goes from %v to %v", method, first, last)
			}
		})
	}
}

// Two runs of one seed, with other numbers of workers, end with the same bytes, and no tensor is left.
func TestDeterministic(t *testing.T) {
	for method := range pretask {
		a, b := job(t, method, 3), job(t, method, 3)
		a.Config.Workers, b.Config.Workers = 1, 3
		run(t, a)
		live := 0
		do(t, func() { live = torch.Live() })
		run(t, b)
		do(t, func() {
			if n := torch.Live(); n > live+1 { // MoCo's last keys
				t.Errorf("%s: %d tensors after a run, %d before it", method, n, live)
			}
		})
		if !bytes.Equal(trained(t, a), trained(t, b)) {
			t.Errorf("%s: two runs differ", method)
		}
	}
}

// A run that was stopped, twice, and goes on ends as one that was not: bit for bit.
func TestResume(t *testing.T) {
	for method := range pretask {
		whole := job(t, method, 7)
		run(t, whole)
		dir := t.TempDir()
		for stops := 0; ; stops++ {
			ctx, cancel := context.WithCancel(t.Context())
			j := job(t, method, 7)
			j.Dir = dir
			var reads atomic.Int64
			j.Train = toys{n: 16, read: func() {
				if reads.Add(1) == 25 && stops < 2 {
					cancel()
				}
			}}
			_, err := train.Run(ctx, j)
			cancel()
			if err == nil {
				if stops != 2 {
					t.Errorf("%s: stopped %d times", method, stops)
				}
				if !bytes.Equal(trained(t, j), trained(t, whole)) {
					t.Errorf("%s: a resumed run ends with other weights", method)
				}
				break
			}
			if !errors.Is(err, train.ErrStopped) {
				t.Fatal(err)
			}
		}
	}
}

// A state goes on only under the settings of the pretext task that it was made with.
func TestRefusesState(t *testing.T) {
	stopped := job(t, SimCLR, 7)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var reads atomic.Int64
	stopped.Train = toys{n: 16, read: func() {
		if reads.Add(1) == 25 {
			cancel()
		}
	}}
	if _, err := train.Run(ctx, stopped); !errors.Is(err, train.ErrStopped) {
		t.Fatal(err)
	}
	other := job(t, SimCLR, 7)
	other.Dir = stopped.Dir
	other.Pretext.(*simCLR).Temperature = 0.3
	if _, err := train.Run(t.Context(), other); err == nil || !strings.Contains(err.Error(), "other settings") {
		t.Error(err)
	}
	other.Config.Mixup = 0.2
	if _, err := train.Run(t.Context(), other); err == nil || !strings.Contains(err.Error(), "simclr: train.mixup is 0.2") {
		t.Error(err)
	}
}

const killFolder = "MUST_TEST_PRETEXT_DIR"

// A MoCo run whose process is killed outright, while it saves its state after every step, loses neither
// the queue nor the key encoder.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killFolder); dir != "" {
		j := job(t, MoCo2, 12)
		j.Dir, j.Config.SaveEvery = dir, 1e-9
		run(t, j)
		return
	}
	whole := job(t, MoCo2, 12)
	run(t, whole)
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), killFolder+"="+dir, "TMPDIR="+t.TempDir()) // it cannot tidy up
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if lines, _ := train.ReadLog(filepath.Join(dir, train.LogFile)); len(lines) >= 3 {
			break
		}
	}
	child.Process.Kill()
	if err := child.Wait(); err == nil {
		t.Fatal("the child was not killed in time: ", out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, train.ModelFile)); err == nil {
		t.Fatal("the child was done")
	}
	j := job(t, MoCo2, 12)
	j.Dir = dir
	var reads atomic.Int64
	j.Train = toys{n: 16, read: func() { reads.Add(1) }}
	run(t, j)
	if n := reads.Load(); n > 10*8+8 {
		t.Errorf("two steps of 12 at least were saved, but %d images were read", n)
	}
	if !bytes.Equal(trained(t, j), trained(t, whole)) {
		t.Errorf("a killed run ends with other weights; child:\n%s", out.String())
	}
}

// What is wrong is told, with the key and the remedy.
func TestChecks(t *testing.T) {
	for want, c := range map[string]Config{
		"method is \"byol\"":      {Method: "byol"},
		"views is \"mnist\"":      {Method: SimCLR, Views: "mnist"},
		"temperature is -1":       {Method: SimCLR, Temperature: -1},
		"temperature is a":        {Method: MAE, Temperature: 1},
		"out is -3":               {Method: MoCo1, Out: -3},
		"hidden is a setting":     {Method: MoCo1, Hidden: 5},
		"hidden is -1":            {Method: MoCo2, Hidden: -1},
		"queue is a setting":      {Method: SimCLR, Queue: 5},
		"queue is -5":             {Method: MoCo2, Queue: -5},
		"momentum is 1":           {Method: MoCo2, Momentum: 1},
		"bn_groups is -1":         {Method: MoCo2, BNGroups: -1},
		"mask is 1":               {Method: MAE, Mask: 1},
		"decoder_dim is 6":        {Method: MAE, DecoderDim: 6},
		"decoder_heads is 5":      {Method: MAE, DecoderHeads: 5},
		"decoder_layers is -1":    {Method: MAE, DecoderLayers: -1},
		"mask is a setting of":    {Method: MoCo1, Mask: 0.5},
		"decoder_dim is a":        {Method: SimCLR, DecoderDim: 8},
		"momentum is a setting":   {Method: MAE, Momentum: 0.9},
		"decoder_heads is a sett": {Method: MoCo2, DecoderHeads: 8},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), "pretext."+want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, m := range methods {
		if err := (Config{Method: m}).Check(); err != nil {
			t.Error(err)
		}
	}
	for want, n := range map[string]struct {
		c     Config
		s     network.Spec
		batch int
	}{
		"multiple, such as 12":      {Config{Method: MoCo2, Queue: 16}, spec(32), 12},
		"multiple, such as 5":       {Config{Method: MoCo2, Queue: 4}, spec(32), 5},
		"does not divide into part": {Config{Method: MoCo2, Queue: 9}, spec(32), 3},
		"bn_groups is 3":            {Config{Method: MoCo2, Queue: 8, BNGroups: 3}, spec(32), 8},
		"use more":                  {Config{Method: SimCLR}, spec(32), 1},
		"backbone: vit":             {Config{Method: MAE}, spec(32), 8},
		"patches of 8 do not":       {Config{Method: MAE}, transformer(36), 8},
		"shows 0 of 16":             {Config{Method: MAE, Mask: 0.99}, transformer(32), 8},
		"shows 16 of 16":            {Config{Method: MAE, Mask: 1e-18}, transformer(32), 8},
		"method is":                 {Config{}, spec(32), 8},
		"size is 8":                 {Config{Method: SimCLR}, spec(8), 8},
	} {
		do(t, func() {
			live := torch.Live()
			if _, _, err := New(n.s, n.c, 1, n.batch); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			if l := torch.Live(); l != live {
				t.Errorf("%q: %d tensors are left", want, l-live)
			}
		})
	}
}

// The published settings, and how far short runs warm up.
func TestPublished(t *testing.T) {
	o := train.DefaultConfig()
	o.Batch, o.Epochs = 4096, 100
	for method, want := range map[string]string{
		SimCLR: "lars 4.8 1e-06 cosine [] 0.1 0", MoCo1: "sgd 0.48 0.0001 step [0.6 0.8] 0 0", MoCo2: "sgd 0.48 0.0001 cosine [] 0 0", MAE: "adamw 0.0024 0.05 cosine [] 0.1 0.95",
	} {
		c := Config{Method: method}.Train(o)
		if got := fmt.Sprintf("%s %.3g %v %s %v %v %v", c.Optimizer, c.LR, c.WeightDecay, c.Schedule, c.Milestones, c.Warmup, c.Beta2); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
		if err := c.Check(); err != nil || c.Clip != 0 {
			t.Errorf("%s: %v, clip %v", method, err, c.Clip)
		}
	}
	if c := (Config{Method: SimCLR, Views: CIFAR}).Train(o); c.LR != 16 || c.WeightDecay != 1e-4 {
		t.Errorf("%+v", c)
	}
	if c := (Config{Method: SimCLR, Views: CIFAR}).published(); c.Temperature != 0.5 {
		t.Errorf("%+v", c)
	}
	if v := (Config{Method: SimCLR, Views: CIFAR}).views(32); v.Blur != 0 || v.Colors != augment.SimCLRColors(0.5) || v.MinArea != 0.08 {
		t.Errorf("%+v", v)
	}
	o.Epochs = 1000
	if c := (Config{Method: SimCLR}).Train(o); c.Warmup != 0.01 {
		t.Errorf("10 of 1000 epochs are %v", c.Warmup)
	}
}

// A batch holds two different views of each image, MAE's one.
func TestLoader(t *testing.T) {
	for method, views := range map[string]int{SimCLR: 2, MoCo1: 2, MoCo2: 2, MAE: 1} {
		j := job(t, method, 1)
		o := loader.Options{Batch: 4, Augment: augment.Config{Size: 32}, Train: true}
		j.Pretext.Loader(&o)
		l, err := loader.New(toys{n: 4}, o)
		if err != nil {
			t.Fatal(err)
		}
		for b, err := range l.Steps(t.Context(), 0, 1) {
			if err != nil || b.N != 4*views {
				t.Fatalf("%s: %d images, %v", method, b.N, err)
			}
			for i := range 4 {
				if views == 2 && (b.Index[i] != b.Index[4+i] || bytes.Equal(b.Images[i*3072:][:3072], b.Images[(4+i)*3072:][:3072])) {
					t.Errorf("%s: image %d and its partner: samples %d and %d, or the same view", method, i, b.Index[i], b.Index[4+i])
				}
			}
		}
	}
}

// The encoders of MoCo start as copies also where the network was given other weights after it was
// made, and keys have a gradient of their own nowhere.
func TestKeyEncoderStartsAsCopy(t *testing.T) {
	j := job(t, MoCo1, 1)
	m := j.Pretext.(*moco)
	do(t, func() {
		j.Net.Set.Flat.Data.Fill(0.25)
		m.step(pixels("a", 8, 32), pixels("b", 8, 32), 8, model.Mode{Train: true}, rand.Perm(8)).Backward()
		for _, v := range values(m.key.Set.Flat.Data) {
			if v != 0.25 {
				t.Fatalf("a weight of the key encoder is %v", v)
			}
		}
		for _, v := range values(m.key.Set.Flat.Grad) {
			if v != 0 {
				t.Fatalf("a gradient of the key encoder is %v", v)
			}
		}
	})
}

// Every method runs on every backbone that it can, and in bfloat16 gives about the same loss.
func TestBackbones(t *testing.T) {
	bit := spec(32)
	bit.Model.Backbone = model.BiTConfig{Layers: 18, Width: 0.125}
	for _, s := range []network.Spec{spec(32), bit, transformer(32)} {
		for method, c := range pretask {
			if _, vit := s.Model.Backbone.(model.ViTConfig); method == MAE && !vit {
				continue
			}
			do(t, func() {
				var loss [2]float64
				for i, bf16 := range []bool{false, true} {
					net, p, err := New(s, c, 1, 8)
					if err != nil {
						t.Fatal(err)
					}
					b := &loader.Batch{N: 16, Size: 32, Images: pixels("image", 16, 32)}
					if method == MAE {
						b.N, b.Images = 8, b.Images[:len(b.Images)/2]
					}
					for range 2 {
						l := p.Losses(b, model.Mode{Train: true, BF16: bf16}, rand.New(rand.NewPCG(1, 1)))[0].Total
						l.Backward()
						loss[i] = l.Item()
					}
					p.State()
					p.Free()
					net.Free()
				}
				if !(math.Abs(loss[1]-loss[0]) < 0.3*loss[0]) {
					t.Errorf("%s on a %v: loss %v, in bfloat16 %v", method, s.Model.Backbone, loss[0], loss[1])
				}
			})
		}
	}
}

// A step of each method as a recipe for small images would take it: ResNet-18 of half its width, or a
// ViT of about its cost, 64 images of 64 px; images per second.
func BenchmarkStep(b *testing.B) {
	for _, method := range methods {
		b.Run(method, func(b *testing.B) {
			const n, size = 64, 64
			c := Config{Method: method}
			s := spec(size)
			s.Model.Backbone = model.ResNetConfig{Layers: 18, Width: 0.5}
			if method == MAE {
				s = transformer(size)
				s.Model.Backbone = model.ViTConfig{Patch: 8, Grid: size / 8, Dim: 192, Heads: 3, Layers: 6}
				c.DecoderDim, c.DecoderHeads, c.DecoderLayers = 96, 3, 2
			}
			err := torch.Do(func() {
				net, p, err := New(s, c, 1, n)
				if err != nil {
					b.Fatal(err)
				}
				defer net.Free()
				defer p.Free()
				var o loader.Options
				p.Loader(&o)
				batch := &loader.Batch{N: n * len(o.Views), Size: size}
				batch.Images = pixels("x", batch.N, size)
				rng := rand.New(rand.NewPCG(1, 1))
				for b.Loop() {
					torch.Scope(func() {
						net.Set.Flat.Grad.Fill(0)
						p.Losses(batch, model.Mode{Train: true}, rng)[0].Total.Backward()
					})
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "images/s")
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// What is shown stays as it is; a patch about which the decoder says nothing has its mean everywhere.
func TestPicturesOfMAE(t *testing.T) {
	const size, patch = 32, 8
	do(t, func() {
		net, p, err := New(transformer(size), pretask[MAE], 1, 8)
		if err != nil {
			t.Fatal(err)
		}
		defer net.Free()
		defer p.Free()
		nothing := map[string][]float32{
			"heads.mae.decoder_pred.weight": make([]float32, 3*patch*patch*16), "heads.mae.decoder_pred.bias": make([]float32, 3*patch*patch),
		}
		if _, unused, err := net.Set.Load(nothing); err != nil || unused != nil {
			t.Fatal(err, unused)
		}
		s := picture(size)
		tiles := p.Pictures(s, rand.New(rand.NewPCG(1, 1)))
		seen, filled := tiles[1].Image.(*image.RGBA), tiles[2].Image.(*image.RGBA)
		hidden := 0
		for at := range (size / patch) * (size / patch) {
			corner := image.Pt(at%(size/patch)*patch, at/(size/patch)*patch)
			area := image.Rectangle{corner, corner.Add(image.Pt(patch, patch))}
			shown, grey := true, true
			var mean float64
			for y := area.Min.Y; y < area.Max.Y; y++ {
				for x := area.Min.X; x < area.Max.X; x++ {
					was, is := s.Image.RGBAAt(x, y), seen.RGBAAt(x, y)
					shown = shown && was == is && was == filled.RGBAAt(x, y)
					grey = grey && is == color.RGBA{128, 128, 128, 255}
					for c, v := range []uint8{was.R, was.G, was.B} {
						mean += (float64(v) - net.Mean[c]) / net.Std[c] / (3 * patch * patch)
					}
				}
			}
			if shown == grey {
				t.Errorf("patch %d: shown %v, hidden %v", at, shown, grey)
			}
			if shown {
				continue
			}
			hidden++
			got := filled.RGBAAt(corner.X+3, corner.Y+5)
			for c, v := range []uint8{got.R, got.G, got.B} {
				if want := mean*net.Std[c] + net.Mean[c]; math.Abs(float64(v)-want) > 0.51 {
					t.Errorf("patch %d, colour %d: %d, want %.1f", at, c, v, want)
				}
			}
		}
		if m := p.(*mae); int64(hidden) != m.total-m.shown {
			t.Errorf("%d patches are hidden of %d, and %d shown", hidden, m.total, m.shown)
		}
	})
}

func TestPicturesOfViews(t *testing.T) {
	do(t, func() {
		net, p, err := New(spec(32), pretask[SimCLR], 1, 8)
		if err != nil {
			t.Fatal(err)
		}
		defer net.Free()
		defer p.Free()
		s := picture(48)
		tiles := p.Pictures(s, rand.New(rand.NewPCG(1, 1)))
		a, b := tiles[1].Image.(*image.RGBA), tiles[2].Image.(*image.RGBA)
		if len(tiles) != 3 || tiles[0].Image != image.Image(s.Image) || a.Rect.Dx() != 32 || bytes.Equal(a.Pix, b.Pix) {
			t.Errorf("%d tiles, of %v and %v", len(tiles), a.Rect, b.Rect)
		}
	})
}

// picture returns a sample of noise.
func picture(size int) *data.Sample {
	rng := rand.New(rand.NewPCG(7, 7))
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for i := range img.Pix {
		img.Pix[i] = uint8(rng.IntN(256))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return &data.Sample{Key: "noise", Image: img}
}
