// Package network builds a trunk with the heads of tasks on it, from a specification that travels with
// its weights.
package network

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"must/data"
	"must/model"
	"must/predict"
	"must/task"
	"must/task/detection"
	"must/task/registry"
	"must/torch"
)

// A Spec says all that is needed to build a network and to feed it.
type Spec struct {
	Model     model.Config     `json:"model"`
	Detection detection.Config `json:"detection"`
	Tasks     []string         `json:"tasks"`
	Pretext   string           `json:"pretext,omitempty"` // what it was pretrained by in place of tasks, such as simclr
	Labels    data.Labels      `json:"labels"`            // what the outputs of the tasks mean
	Size      int              `json:"size"`              // side of the input in pixels
	Mean      [3]float64       `json:"mean"`              // of the input's channels, in 0…255
	Std       [3]float64       `json:"std"`
}

// ImageNetMean and ImageNetStd normalise images as the field does.
var (
	ImageNetMean = [3]float64{123.675, 116.28, 103.53}
	ImageNetStd  = [3]float64{58.395, 57.12, 57.375}
)

// A Network is a trunk and the heads of its tasks. A teacher has one head, the student several, a
// transfer model an old trunk and a new head.
type Network struct {
	Spec
	Set   *model.Set
	Trunk *model.Trunk
	Heads []task.Head

	mean, std *torch.Tensor
}

// New builds a network with fresh parameters from a seed. The caller frees it. Call it in torch.Do.
func New(s Spec, seed uint64) (*Network, error) {
	return fresh(s, seed, nil)
}

// NewPretext builds a network for the pretext task that s.Pretext names: the backbone without a neck,
// and what head declares, under "heads.<name>". The caller frees it. Call it in torch.Do.
func NewPretext(s Spec, seed uint64, head func(b model.Builder, n *Network)) (*Network, error) {
	return fresh(s, seed, func(b model.Builder, n *Network) { head(b.In("heads").In(s.Pretext), n) })
}

func fresh(s Spec, seed uint64, more func(b model.Builder, n *Network)) (*Network, error) {
	n, err := declare(s, more)
	if err != nil {
		return nil, err
	}
	n.Set.Build(seed)
	n.Normalise(s.Mean, s.Std)
	return n, nil
}

// Declare makes a network that has no memory yet.
func Declare(s Spec) (*Network, error) { return declare(s, nil) }

// declare makes a network that has no memory yet; more, if not nil, declares what it has beyond s.
func declare(s Spec, more func(b model.Builder, n *Network)) (*Network, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	set, b := model.NewSet()
	if s.Model.Norm == model.NormGroup {
		b = b.GroupNorms()
	}
	n := &Network{Spec: s, Set: set}
	pyramid := slices.ContainsFunc(s.Tasks, func(t string) bool { return registry.Get(t).Pyramid(s.Labels[t]) })
	var err error
	if n.Trunk, err = model.NewTrunk(b, s.Model, pyramid); err != nil {
		return nil, err
	}
	for _, name := range s.Tasks {
		n.Heads = append(n.Heads, registry.Get(name).Head(b.In("heads").In(name), task.HeadSpec{
			Task: name, Model: s.Model, Meaning: s.Labels[name], Pooled: n.Trunk.Backbone.Width(), Size: s.Size, Settings: s.settings(name),
		}))
	}
	if more != nil {
		more(b, n)
	}
	return n, nil
}

// Allocate gives a declared network its memory, to be filled next. Call it in torch.Do.
func (n *Network) Allocate() {
	n.Set.Allocate()
	n.Normalise(n.Mean, n.Std)
}

// Normalise makes the network subtract a mean from images and divide them by a deviation, both by
// channel in 0…255. Call it in torch.Do.
func (n *Network) Normalise(mean, std [3]float64) {
	channel := func(v [3]float64) *torch.Tensor {
		return torch.From([]float32{float32(v[0]), float32(v[1]), float32(v[2])}, 1, 3, 1, 1).Keep()
	}
	if n.mean != nil {
		n.mean.Free()
		n.std.Free()
	}
	n.Mean, n.Std = mean, std
	n.mean, n.std = channel(mean), channel(std)
}

// Double moves the network to float64, as [model.Set.Double] does.
func (n *Network) Double() {
	n.Set.Double()
	for _, c := range []**torch.Tensor{&n.mean, &n.std} {
		wide := (*c).As(torch.Double).Keep()
		(*c).Free()
		*c = wide
	}
}

// Check tells what is wrong with a specification.
func (s Spec) Check() error {
	if err := s.Model.Check(); err != nil {
		return err
	}
	if err := s.Detection.Check(); err != nil {
		return err
	}
	if s.Size < 32 || s.Size > 4096 {
		return fmt.Errorf("size is %d; it must be between 32 and 4096", s.Size)
	}
	if err := s.Model.Backbone.CheckSize(s.Size); err != nil {
		return err
	}
	for i := range 3 {
		if !(math.Abs(s.Mean[i]) <= 1e4) || !(s.Std[i] > 1e-4 && s.Std[i] <= 1e4) {
			return fmt.Errorf("mean is %v and std %v; they must be values of pixels in 0 to 255", s.Mean, s.Std)
		}
	}
	if s.Pretext != "" && len(s.Tasks) > 0 {
		return fmt.Errorf("a network has tasks %v and the pretext task %s; it can have one of both", s.Tasks, s.Pretext)
	}
	if s.Pretext == "" && len(s.Tasks) == 0 {
		return fmt.Errorf("a network needs at least one task of %v", data.Tasks())
	}
	for i, name := range s.Tasks {
		switch {
		case !registry.Has(name):
			return fmt.Errorf("no task %q; there are %v", name, data.Tasks())
		case slices.Contains(s.Tasks[:i], name):
			return fmt.Errorf("task %s is named twice", name)
		case !s.Labels.Has(name):
			return fmt.Errorf("no labels for task %s", name)
		}
	}
	for _, name := range s.Labels.Tasks() {
		if err := registry.Get(name).Check(s.Labels[name]); err != nil {
			return err
		}
	}
	return nil
}

// settings are those of a task's head, nil for none. They are members of their own in files.
func (s Spec) settings(name string) any {
	if name == detection.Name {
		return s.Detection
	}
	return nil
}

// Free releases the network's memory.
func (n *Network) Free() {
	n.Set.Free()
	n.mean.Free()
	n.std.Free()
}

// Head returns the head of a task, nil if there is none.
func (n *Network) Head(name string) task.Head {
	for _, h := range n.Heads {
		if h.Name() == name {
			return h
		}
	}
	return nil
}

// Features normalises a batch of planar images, [count, 3, Size, Size] bytes, and runs the trunk.
func (n *Network) Features(images []uint8, count int, m model.Mode) *model.Features {
	return n.Trunk.Forward(n.Input(images, count, m), m)
}

// Input normalises a batch of planar images, [count, 3, Size, Size] bytes.
func (n *Network) Input(images []uint8, count int, m model.Mode) *torch.Tensor {
	x := torch.From(images, int64(count), 3, int64(n.Size), int64(n.Size)).As(torch.Float)
	// Convolutions are a third faster on channels-last memory, which every layer passes on.
	x = x.Sub(n.mean).Div(n.std).ChannelsLast()
	if m.BF16 {
		x = x.As(torch.BFloat16)
	}
	return x
}

// Targets collates the labels of augmented samples for every task, in the order of Heads.
func (n *Network) Targets(samples []*data.Sample, rng *rand.Rand) any {
	targets := make([]any, len(n.Heads))
	for i, h := range n.Heads {
		targets[i] = h.Targets(samples, rng)
	}
	return targets
}

// A TaskLoss is the loss of one task on a batch.
type TaskLoss struct {
	Task  string
	Parts []task.Loss
	Total *torch.Tensor
}

// Losses runs a batch through trunk and heads. A task that no image of the batch has a label for is
// left out.
func (n *Network) Losses(f *model.Features, targets any, rng *rand.Rand) []TaskLoss {
	var losses []TaskLoss
	for i, t := range targets.([]any) {
		if t == nil {
			continue
		}
		torch.Part("losses")
		l := TaskLoss{Task: n.Heads[i].Name(), Parts: n.Heads[i].Loss(f, t, rng)}
		for _, p := range l.Parts {
			if p.Value == nil {
				continue
			}
			if l.Total == nil {
				l.Total = p.Value
			} else {
				l.Total = l.Total.Add(p.Value)
			}
		}
		if l.Total != nil {
			losses = append(losses, l)
		}
	}
	return losses
}

// Predict returns what the tasks named see in a batch of images, in the frame of the input; no names
// mean all tasks.
func (n *Network) Predict(images []uint8, count int, tasks ...string) []*data.Sample {
	preds := make([]*data.Sample, count)
	for i := range preds {
		preds[i] = &data.Sample{}
	}
	torch.NoGrad(func() {
		torch.Scope(func() {
			f := n.Features(images, count, model.Mode{})
			for _, h := range n.Heads {
				if len(tasks) == 0 || slices.Contains(tasks, h.Name()) {
					h.Predict(f, preds)
				}
			}
		})
	})
	return preds
}

// features stands for a pretext task in the specification of a network that only gives features.
const features = "features"

// Backbone specifies the network of [NewBackbone].
func (s Spec) Backbone() Spec {
	s.Tasks, s.Pretext = nil, features
	return s
}

// NewBackbone builds a network with fresh parameters that has neither heads nor neck, whatever tasks s
// names: it gives [model.Features] and predicts nothing. The caller frees it. Call it in torch.Do.
func NewBackbone(s Spec, seed uint64) (*Network, error) {
	return NewPretext(s.Backbone(), seed, func(model.Builder, *Network) {})
}

// Knows are the labels of the network's tasks.
func (n *Network) Knows() data.Labels { return n.Labels.Only(n.Tasks...) }

// View is a letterbox of the network's size.
func (n *Network) View() predict.View {
	return predict.View{W: n.Size, H: n.Size, Fit: predict.Letterbox}
}

// See runs Predict in torch.Do, on the CPU for no more images at once than is fast.
func (n *Network) See(images predict.Images, tasks ...string) (preds []*data.Sample, err error) {
	info, err := torch.Describe()
	if err != nil {
		return nil, err
	}
	err = torch.Do(func() {
		if info.Device.CUDA {
			preds = n.Predict(images.Pix, images.N, tasks...)
			return
		}
		for _, part := range images.Parts() {
			preds = append(preds, n.Predict(part.Pix, part.N, tasks...)...)
		}
	})
	return preds, err
}

// Settings is the specification.
func (s *Spec) Settings() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a checked specification has only finite numbers
	}
	return b
}
