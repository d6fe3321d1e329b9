package train

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"must/augment"
	"must/data"
	"must/loader"
	"must/machine"
	"must/network"
	"must/task/registry"
	"must/torch"
)

// A Cost is what a network takes on this machine and device.
type Cost struct {
	Step    float64 // seconds of a training step, per image
	Predict float64 // seconds of a prediction, per image
	Fixed   int64   // bytes of parameters, gradients and the optimizer's state
	Image   int64   // bytes of activations in training, per image; 0 where it cannot be told
}

// probeTime is how long a probe may go on measuring after the first step.
const probeTime = time.Second

// Probe measures a network, which build makes in torch.Do, by a few steps on so many images of noise
// that have every label. Nothing is kept of it. Each shape's first step is slow, as kernels are compiled,
// and does not count where another one fits in the time.
func Probe(c Config, images int, build func() (*network.Network, Pretext, error)) (Cost, error) {
	var cost Cost
	var tasks []string
	c.LR, c.Weights = 1e-9, nil // it is to measure, not to learn
	rng := rand.New(rand.NewPCG(c.Seed, 1))
	err := torch.DoErr(func() error {
		debug.FreeOSMemory()
		torch.Trim()
		before, tells := machine.ResetPeak()
		device.once.Do(func() { device.before = torch.DeviceMemory() })
		net, pretext, err := build()
		if err != nil {
			return err
		}
		defer net.Free()
		tasks = net.Tasks
		views := 1
		if pretext != nil {
			defer pretext.Free()
			o := loader.Options{Batch: images, Augment: augment.Config{Size: net.Size}}
			pretext.Loader(&o)
			views = max(1, len(o.Views))
		}
		batch := Noise(net.Spec, images*views, rng)
		s, err := NewStepper(net, pretext, c)
		if err != nil {
			return err
		}
		defer s.Free()
		cost.Fixed = s.bytes()

		cost.Step, err = fastest(func() error {
			batch.Extra = net.Targets(batch.Samples, rng)
			_, err := s.Step(batch)
			return err
		})
		if err != nil {
			return err
		}
		cost.Step /= float64(images)
		after := machine.Peak()
		if cuda() {
			// libtorch keeps what an earlier probe has taken: what is counted is the most of all so far.
			before, after, tells = device.before, torch.DeviceMemory(), torch.DeviceTotal() > 0
		}
		if tells {
			cost.Image = max(0, after-before-cost.Fixed) / int64(images)
		}
		cost.Predict, err = fastest(func() error {
			return torch.Do(func() { net.Predict(batch.Images, batch.N) })
		})
		cost.Predict /= float64(batch.N)
		return err
	})
	if err != nil {
		return cost, fmt.Errorf("probe of a network for %v: %w", tasks, err)
	}
	return cost, nil
}

// A Stepper takes steps of a run of which nothing is kept, for measurements.
type Stepper struct{ t *trainer }

// NewStepper prepares a network and what it learns in place of its tasks, nil for these. Call it, and what it returns,
// in torch.Do.
func NewStepper(net *network.Network, pretext Pretext, c Config) (*Stepper, error) {
	dir, err := os.MkdirTemp("", "must-steps-")
	if err != nil {
		return nil, err
	}
	t := &trainer{Job: Job{Net: net, Pretext: pretext, Config: c, Dir: dir, Train: none{}}, total: math.MaxInt32, started: time.Now(), stopping: func() bool { return false }}
	s := &Stepper{t}
	if err = t.begin(); err == nil {
		t.log, err = openLog(filepath.Join(dir, LogFile), 0)
	}
	if err != nil {
		s.Free()
		return nil, err
	}
	return s, nil
}

// Step takes a step on a batch whose Extra are the network's targets, and returns the step's line of the log.
func (s *Stepper) Step(b *loader.Batch) (r Record, err error) {
	torch.Scope(func() { err = s.t.train([]*loader.Batch{b}) })
	return s.t.log.last, err
}

// Counts tells over how many images, pixels, anchors or RoIs each part of the losses was a mean in the last step, by
// task and part: "detection.mask".
func (s *Stepper) Counts() map[string]float64 {
	counts := map[string]float64{}
	for i, p := range s.t.parts() {
		counts[p.task+"."+p.name] = s.t.counted[i]
	}
	return counts
}

// bytes are those of parameters, gradients and the optimizer's memory.
func (s *Stepper) bytes() (n int64) {
	for _, x := range s.t.buffers() {
		n += 4 * x.Len()
	}
	return n + 4*s.t.Net.Set.Flat.Grad.Len()
}

// Free releases what it needed besides the network.
func (s *Stepper) Free() {
	s.t.free()
	if s.t.log != nil {
		s.t.log.f.Close()
	}
	os.RemoveAll(s.t.Dir)
}

// device is what of a GPU's memory was taken before the first probe.
var device struct {
	once   sync.Once
	before int64
}

func cuda() bool {
	i, err := torch.Describe()
	return err == nil && i.Device.CUDA
}

// fastest returns the least seconds that f takes, in as many calls after the first as fit in the time.
func fastest(f func() error) (float64, error) {
	best := math.Inf(1)
	began := time.Now()
	for range 10 {
		from := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		best = min(best, time.Since(from).Seconds())
		if time.Since(began) > probeTime {
			break
		}
	}
	return best, nil
}

// Noise is a batch of noise with a label for every task of a network.
func Noise(s network.Spec, n int, rng *rand.Rand) *loader.Batch {
	image := 3 * s.Size * s.Size
	b := &loader.Batch{N: n, Size: s.Size, Images: make([]uint8, n*image)}
	for i := range n {
		sample := noise(s, rng)
		b.Samples = append(b.Samples, sample)
		loader.Planar(b.Images[i*image:][:image], sample.Image.Pix)
	}
	return b
}

// noise is an image of noise with a label for every task of a network.
func noise(s network.Spec, rng *rand.Rand) *data.Sample {
	n := s.Size
	out := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, n, n))}
	for i := range out.Image.Pix {
		out.Image.Pix[i] = uint8(rng.Uint32())
	}
	for _, t := range s.Tasks {
		out.Put(registry.Get(t).Noise(t, s.Labels[t], n, rng))
	}
	return (augment.Config{Size: n}).Train(out, rng)
}

// none is a set without samples.
type none struct{}

func (none) Len() int                         { return 0 }
func (none) Labels() data.Labels              { return data.Labels{} }
func (none) Key(int) string                   { return "" }
func (none) Sample(int) (*data.Sample, error) { return nil, os.ErrNotExist }
