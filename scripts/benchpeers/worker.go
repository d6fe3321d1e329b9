package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"must/augment"
	"must/data"
	"must/data/images"
	"must/label"
	"must/loader"
	"must/machine"
	"must/model"
	"must/network"
	"must/task"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
	"must/torch"
	"must/train"
)

// objects are those of an image, as in student_step.py.
const objects = 8

// spec is the network of student_step.py.
func (j job) spec(tasks ...string) network.Spec {
	s := network.Spec{
		Model: model.DefaultConfig(), Detection: detection.DefaultConfig(), Tasks: tasks, Size: 512,
		Mean: network.ImageNetMean, Std: network.ImageNetStd,
	}
	classes, things, regions := 1000, 90, 133
	if j.Small {
		s.Model = model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 1}, FPN: 64, Head: 64, BoxFC: 256}
		s.Size, s.Detection.AnchorScale, s.Detection.Canonical = 64, 1, 56
		classes, things, regions = 20, 20, 20
	}
	if j.Size > 0 {
		s.Size = j.Size
	}
	s.Detection.Anchors = 256 // torchvision's, where the default follows the image's size
	names := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint("class ", i))
		}
		return all
	}
	s.Labels = data.Labels{
		classification.Name: {Classes: names(classes)}, detection.Name: {Classes: names(things), Masks: true},
		segmentation.Name: {Classes: names(regions)}, depth.Name: {Units: data.Metric},
	}.Only(tasks...)
	return s
}

// work takes a turn for every line of standard input.
func work(j job) error {
	if err := torch.Open(torch.Options{Device: j.Device, Threads: j.Threads}); err != nil {
		return err
	}
	begin := student
	if j.Kind == "label" {
		begin = teachers
	}
	device := torch.DeviceMemory()
	take, params, err := begin(j)
	if err != nil {
		return err
	}
	say := json.NewEncoder(os.Stdout)
	if err := say.Encode(turn{Ready: true}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		t, err := take(lines.Text() == "profile")
		if err != nil {
			return err
		}
		if err := say.Encode(t); err != nil {
			return err
		}
	}
	i, err := torch.Describe()
	if err != nil {
		return err
	}
	end := turn{PeakMB: float64(machine.Peak()) / (1 << 20), Params: float64(params) / 1e6, Version: i.ABI}
	if i.Device.CUDA {
		end.DeviceMB = float64(torch.DeviceMemory()-device) / (1 << 20)
	}
	return say.Encode(end)
}

// student takes steps of the student, on a few batches that are made beforehand.
func student(j job) (take func(profile bool) (turn, error), params int64, err error) {
	spec := j.spec(classification.Name, detection.Name, segmentation.Name, depth.Name)
	c := train.DefaultConfig()
	c.Batch, c.LR, c.WeightDecay, c.Schedule, c.Warmup, c.Clip, c.BF16 = j.Batch, 1e-3, 4e-5, "constant", 0, 0, j.BF16
	rng := rand.New(rand.NewPCG(1, 1))
	var batches []*loader.Batch
	for range 4 {
		batches = append(batches, batch(spec, j.Batch, rng))
	}
	var net *network.Network
	var s *train.Stepper
	err = torch.DoErr(func() error {
		if net, err = network.New(spec, 1); err != nil {
			return err
		}
		params = net.Set.Flat.Data.Len()
		s, err = train.NewStepper(net, nil, c)
		return err
	})
	steps := 0
	return func(profile bool) (t turn, err error) {
		b := batches[steps%len(batches)]
		steps++
		err = torch.DoErr(func() error {
			torch.Synchronize()
			cpu, began := seconds(), time.Now()
			step := func() {
				torch.Part("RPN targets")
				b.Extra = net.Targets(b.Samples, rng) // beside the network when it trains; counted here, as the peer does it in the step
				torch.Part("losses")
				var r train.Record
				if r, err = s.Step(b); err == nil {
					t.Losses = r.Loss
				}
			}
			if profile {
				t.Parts = torch.Profiled(step)
			} else {
				step()
				torch.Synchronize()
			}
			t.Seconds, t.CPU = time.Since(began).Seconds(), seconds()-cpu
			return err
		})
		n := s.Counts()
		t.BoxRoIs, t.Masks = n["detection.box_class"]/float64(j.Batch), n["detection.mask"]/float64(j.Batch)
		return t, err
	}, params, err
}

// batch draws images of noise with targets of the usual form: elliptic objects on a ground of large patches, as
// make_batch of student_step.py does.
func batch(s network.Spec, n int, rng *rand.Rand) *loader.Batch {
	size := s.Size
	b := &loader.Batch{N: n, Size: size, Images: make([]uint8, 3*n*size*size)}
	for i := range b.Images {
		b.Images[i] = uint8(rng.Uint32())
	}
	regions, things := len(s.Labels[segmentation.Name].Classes), len(s.Labels[detection.Name].Classes)
	for i := range n {
		probs := make([]float32, len(s.Labels[classification.Name].Classes))
		var sum float32
		for c := range probs {
			probs[c] = float32(math.Exp(3 * rng.NormFloat64()))
			sum += probs[c]
		}
		for c := range probs {
			probs[c] /= sum
		}
		var patches [16]uint8
		for p := range patches {
			patches[p] = uint8(rng.IntN(regions))
		}
		seg, far := data.NewGrid[uint8](size, size), data.NewGrid[float32](size, size)
		for y := range size {
			for x := range size {
				seg.Set(x, y, patches[4*y/size*4+4*x/size])
				far.Set(x, y, 2+8*float32(y)/float32(size))
			}
		}
		found := []data.Object{}
		for o := range objects {
			w, h := 16+rng.IntN(size/2-15), 16+rng.IntN(size/2-15)
			x0, y0 := rng.IntN(size-w), rng.IntN(size-h)
			class := rng.IntN(things)
			mask := &data.Mask{Rect: image.Rect(x0, y0, x0+w, y0+h), Pix: make([]uint8, w*h)}
			for y := range h {
				for x := range w {
					dx, dy := (float64(x)+0.5)/float64(w)-0.5, (float64(y)+0.5)/float64(h)-0.5
					switch r := 2 * math.Hypot(dx, dy); {
					case r <= 1:
						mask.Pix[y*w+x] = 1
						seg.Set(x0+x, y0+y, uint8(class%regions))
						far.Set(x0+x, y0+y, 1+0.5*float32(o))
					case r < 1.1:
						seg.Set(x0+x, y0+y, data.Ignore)
						far.Set(x0+x, y0+y, float32(math.NaN()))
					}
				}
			}
			found = append(found, data.Object{
				Class: class, Score: 1, Mask: mask,
				Box: data.Box{X0: float64(x0), Y0: float64(y0), X1: float64(x0 + w), Y1: float64(y0 + h)},
			})
		}
		b.Samples = append(b.Samples, &data.Sample{
			Key: fmt.Sprint(i), Image: &image.RGBA{Rect: image.Rect(0, 0, size, size)},
			Known: data.Know(classification.New(probs), detection.New(found), segmentation.New(seg), depth.New(far)),
		})
	}
	return b
}

// teachers label a folder, each of the four tasks by a network of its own.
func teachers(j job) (take func(profile bool) (turn, error), params int64, err error) {
	ds, err := images.Open(data.Source{Format: "images", Path: j.Images})
	if err != nil {
		return nil, 0, err
	}
	var all []label.Teacher
	for i, name := range []string{classification.Name, detection.Name, segmentation.Name, depth.Name} {
		spec := j.spec(name)
		if name == detection.Name {
			spec.Labels = spec.Labels.With(name, data.Meaning{Classes: spec.Labels[name].Classes}) // label.py makes no masks
		}
		err := torch.DoErr(func() error {
			net, err := network.New(spec, uint64(i))
			if err != nil {
				return err
			}
			params += net.Set.Flat.Data.Len()
			all = append(all, label.Teacher{Net: net, Path: name, Hash: name, Tasks: []string{name}})
			if name != detection.Name {
				return nil
			}
			s, err := ds.Sample(0)
			if err != nil {
				return err
			}
			return calibrate(net, s)
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return func(bool) (t turn, err error) {
		dir, err := os.MkdirTemp("", "must-bench-labels-")
		if err != nil {
			return t, err
		}
		defer os.RemoveAll(dir)
		cpu, began := seconds(), time.Now()
		sum, err := label.Run(context.Background(), ds, all, filepath.Join(dir, "labels"), label.Options{Batch: j.Batch, Program: "benchpeers"})
		if err != nil {
			return t, err
		}
		t.Seconds, t.CPU, t.Images = time.Since(began).Seconds(), seconds()-cpu, sum.Images
		t.Boxes = float64(sum.Labels[detection.Name]) / float64(sum.Images)
		return t, nil
	}, params, nil
}

// calibrate gives a detector of random weights the output of a trained one, as calibrate of label.py does, so that there
// are objects to decode and to suppress: logits of deviation 3 for each class, and one proposal in twenty above 0.5.
func calibrate(net *network.Network, s *data.Sample) error {
	view, _ := augment.Config{Size: net.Size}.Eval(&data.Sample{Image: s.Image})
	images := make([]uint8, 3*net.Size*net.Size)
	loader.Planar(images, view.Image.Pix)
	classes := len(net.Labels[detection.Name].Classes)
	var logits [][]float64 // of each proposal, the background's being 0
	torch.NoGrad(func() {
		torch.Scope(func() {
			out := net.Heads[0].Outputs(net.Features(images, 1, model.Mode{}), task.ExportOptions{Raw: true})
			for row := range slices.Chunk(out["scores"].Row(0)[:int(out["count"].Row(0)[0])*classes], classes) {
				ground, z := 1., make([]float64, classes)
				for _, p := range row {
					ground -= float64(p)
				}
				for c, p := range row {
					z[c] = math.Log(float64(p) / ground)
				}
				logits = append(logits, z)
			}
		})
	})
	const weight, bias = "heads.detection.box.class.weight", "heads.detection.box.class.bias"
	state := net.Set.State()
	w, b := state[weight], state[bias]
	width, n := len(w)/(classes+1), float64(len(logits))
	for c := range classes {
		var sum, squares float64
		for _, z := range logits {
			sum, squares = sum+z[c], squares+z[c]*z[c]
		}
		mean := sum / n
		k := 3 / math.Sqrt(max(squares/n-mean*mean, 1e-12))
		for i := range width {
			w[(c+1)*width+i] = float32(k) * (w[(c+1)*width+i] - w[i])
		}
		b[c+1] = float32(k) * (b[c+1] - b[0] - float32(mean))
		for _, z := range logits {
			z[c] = k * (z[c] - mean)
		}
	}
	clear(w[:width])
	var margins []float64 // the background's logit below which the best class has more than half
	for _, z := range logits {
		best, others := slices.Max(z), -1.
		for _, v := range z {
			others += math.Exp(v - best)
		}
		margins = append(margins, best+math.Log(max(1-others, 1e-6)))
	}
	slices.Sort(margins)
	b[0] = float32(margins[len(margins)*19/20])
	_, _, err := net.Set.Load(map[string][]float32{weight: w, bias: b})
	return err
}

// seconds are those of all processors that this process has used.
func seconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
