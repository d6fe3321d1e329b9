// Package pretext holds the tasks that need no labels and by which the baselines of MuST pretrain a
// network: SimCLR and MoCo compare views of images, MAE fills in what it is not shown. Each is one file,
// runs through package train, and leaves behind a backbone that any other training starts from.
package pretext

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"must/augment"
	"must/loader"
	"must/model"
	"must/network"
	"must/task"
	"must/torch"
	"must/train"
)

// The methods.
const (
	SimCLR = "simclr"
	MoCo1  = "moco-v1"
	MoCo2  = "moco-v2"
	MAE    = "mae"
)

var methods = []string{SimCLR, MoCo1, MoCo2, MAE}

// The kinds of views.
const (
	ImageNet = "imagenet"
	CIFAR    = "cifar"
)

// A Config names a method and what differs from its published form: zero stands for the published
// value.
type Config struct {
	Method string `yaml:"method" json:"method"`                   // simclr, moco-v1, moco-v2 or mae
	Views  string `yaml:"views,omitempty" json:"views,omitempty"` // imagenet (also ""), or cifar for images of about 32 px

	// Of SimCLR and MoCo.
	Temperature float64 `yaml:"temperature,omitempty" json:"temperature,omitempty"` // 0: simclr 0.1, with views of cifar 0.5; moco-v1 0.07; moco-v2 0.2
	Out         int64   `yaml:"out,omitempty" json:"out,omitempty"`                 // width of what is compared; 0: 128
	Hidden      int64   `yaml:"hidden,omitempty" json:"hidden,omitempty"`           // width of the hidden layer before it, which moco-v1 has not; 0: that of the feature

	// Of MoCo.
	Queue    int     `yaml:"queue,omitempty" json:"queue,omitempty"`         // keys, a multiple of the batch; 0: 65536
	Momentum float64 `yaml:"momentum,omitempty" json:"momentum,omitempty"`   // of the key encoder; 0: 0.999
	BNGroups int     `yaml:"bn_groups,omitempty" json:"bn_groups,omitempty"` // parts of a batch that are normalised apart; 0: of 32 images each, at least two

	// Of MAE.
	Mask          float64 `yaml:"mask,omitempty" json:"mask,omitempty"`                     // share of the patches that are not shown; 0: 0.75
	DecoderDim    int64   `yaml:"decoder_dim,omitempty" json:"decoder_dim,omitempty"`       // width of the decoder's tokens; 0: 512
	DecoderHeads  int64   `yaml:"decoder_heads,omitempty" json:"decoder_heads,omitempty"`   // 0: 16
	DecoderLayers int     `yaml:"decoder_layers,omitempty" json:"decoder_layers,omitempty"` // 0: 8
}

// published returns c with the published values in the place of zeros.
func (c Config) published() Config {
	c.Views = cmp.Or(c.Views, ImageNet)
	temperature := map[string]float64{SimCLR: 0.1, MoCo1: 0.07, MoCo2: 0.2}[c.Method]
	if c.Method == SimCLR && c.Views == CIFAR {
		temperature = 0.5
	}
	c.Temperature = cmp.Or(c.Temperature, temperature)
	c.Out = cmp.Or(c.Out, 128)
	c.Queue = cmp.Or(c.Queue, 65536)
	c.Momentum = cmp.Or(c.Momentum, 0.999)
	c.Mask = cmp.Or(c.Mask, 0.75)
	c.DecoderDim = cmp.Or(c.DecoderDim, 512)
	c.DecoderHeads = cmp.Or(c.DecoderHeads, 16)
	c.DecoderLayers = cmp.Or(c.DecoderLayers, 8)
	return c
}

// Check tells what is wrong with a configuration.
func (c Config) Check() error {
	if !slices.Contains(methods, c.Method) {
		return fmt.Errorf("pretext.method is %q; it must be one of %v", c.Method, methods)
	}
	contrastive := c.Method != MAE
	moco := c.Method == MoCo1 || c.Method == MoCo2
	for _, f := range []struct {
		name string
		set  bool
		used bool
		of   string
	}{
		{"temperature", c.Temperature != 0, contrastive, "simclr and moco"},
		{"out", c.Out != 0, contrastive, "simclr and moco"},
		{"hidden", c.Hidden != 0, contrastive && c.Method != MoCo1, "simclr and moco-v2"},
		{"queue", c.Queue != 0, moco, "moco"},
		{"momentum", c.Momentum != 0, moco, "moco"},
		{"bn_groups", c.BNGroups != 0, moco, "moco"},
		{"mask", c.Mask != 0, !contrastive, MAE},
		{"decoder_dim", c.DecoderDim != 0, !contrastive, MAE},
		{"decoder_heads", c.DecoderHeads != 0, !contrastive, MAE},
		{"decoder_layers", c.DecoderLayers != 0, !contrastive, MAE},
	} {
		if f.set && !f.used {
			return fmt.Errorf("pretext.%s is a setting of %s; %s has none: leave it out", f.name, f.of, c.Method)
		}
	}
	c = c.published()
	switch {
	case c.Views != ImageNet && c.Views != CIFAR:
		return fmt.Errorf("pretext.views is %q; use %s or %s", c.Views, ImageNet, CIFAR)
	case contrastive && !(c.Temperature >= 1e-3 && c.Temperature <= 100):
		return fmt.Errorf("pretext.temperature is %v; it must be between 0.001 and 100", c.Temperature)
	case c.Out < 1 || c.Out > 1<<13:
		return fmt.Errorf("pretext.out is %d; it must be between 1 and 8192", c.Out)
	case c.Hidden < 0 || c.Hidden > 1<<15:
		return fmt.Errorf("pretext.hidden is %d; it must be between 1 and 32768", c.Hidden)
	case c.Queue < 1 || c.Queue > 1<<24:
		return fmt.Errorf("pretext.queue is %d; it must be between 1 and %d keys", c.Queue, 1<<24)
	case !(c.Momentum > 0 && c.Momentum < 1):
		return fmt.Errorf("pretext.momentum is %v; it must be in (0, 1)", c.Momentum)
	case c.BNGroups < 0:
		return fmt.Errorf("pretext.bn_groups is %d; it must not be negative", c.BNGroups)
	case !(c.Mask > 0 && c.Mask < 1):
		return fmt.Errorf("pretext.mask is %v; it is a share of the patches, in (0, 1)", c.Mask)
	case c.DecoderDim < 4 || c.DecoderDim > 4096 || c.DecoderDim%4 != 0:
		return fmt.Errorf("pretext.decoder_dim is %d; it must be a multiple of 4, up to 4096", c.DecoderDim)
	case c.DecoderHeads < 1 || c.DecoderDim%c.DecoderHeads != 0:
		return fmt.Errorf("pretext.decoder_heads is %d; it must divide decoder_dim, which is %d", c.DecoderHeads, c.DecoderDim)
	case c.DecoderLayers < 1 || c.DecoderLayers > 64:
		return fmt.Errorf("pretext.decoder_layers is %d; it must be between 1 and 64", c.DecoderLayers)
	}
	return nil
}

// New builds a fresh network of a specification's backbone for a pretext task, and the task on it; the
// specification's tasks are left out. A batch holds so many images. The caller frees both. Call it in
// torch.Do.
func New(s network.Spec, c Config, seed uint64, batch int) (*network.Network, Task, error) {
	if err := c.Check(); err != nil {
		return nil, nil, err
	}
	c = c.published()
	s.Tasks, s.Pretext = nil, c.Method
	switch c.Method {
	case SimCLR:
		return newSimCLR(s, c, seed, batch)
	case MAE:
		return newMAE(s, c, seed)
	}
	return newMoCo(s, c, seed, batch)
}

// Train sets the optimizer of c as published: for SimCLR LARS at 0.3·B/256, with views of cifar at B/256
// and more weight decay, warmed up over 10 epochs; for MoCo SGD at 0.03·B/256, whose rate falls in steps
// in v1; for MAE AdamW at 1.5e-4·B/256, warmed up over 40 epochs; all for the batch B of t, and never a
// warm-up of more than a tenth. Epochs, batch, seed and the rest of t stay. SimCLR's other rule,
// 0.075·√B, is better for small batches and few epochs (§B.1).
func (c Config) Train(t train.Config) train.Config {
	scale := float64(t.Batch) / 256
	t.Momentum, t.Schedule, t.Warmup, t.Clip = 0.9, "cosine", 0, 0
	t.Milestones, t.Mixup, t.Rule = nil, 0, "" // the latter two are for classes
	switch c.Method {
	case SimCLR:
		t.Optimizer, t.LR, t.WeightDecay, t.Warmup = "lars", 0.3*scale, 1e-6, warmup(10, t.Epochs)
		if c.Views == CIFAR {
			t.LR, t.WeightDecay = scale, 1e-4
		}
	case MoCo1, MoCo2:
		t.Optimizer, t.LR, t.WeightDecay = "sgd", 0.03*scale, 1e-4
		if c.Method == MoCo1 {
			t.Schedule, t.Milestones = "step", []float64{0.6, 0.8} // 120 and 160 of 200 epochs
		}
	case MAE:
		t.Optimizer, t.LR, t.WeightDecay, t.Beta2, t.Warmup = "adamw", 1.5e-4*scale, 0.05, 0.95, warmup(40, t.Epochs)
	}
	return t
}

// warmup is the share of epochs that so many are, a tenth at most: short runs have not so many to spend.
func warmup(of, epochs float64) float64 {
	if epochs <= 0 {
		return 0.1
	}
	return math.Min(0.1, of/epochs)
}

// Settings is the configuration itself, with the published values in the place of zeros.
func (c Config) Settings() any { return c.published() }

// views returns how the views of a method are made, at a size.
func (c Config) views(size int) augment.Contrast {
	v := augment.Contrast{Size: size, MinArea: 0.2, Flip: 0.5}
	switch c.Method {
	case SimCLR:
		v.MinArea, v.Jitter, v.Colors, v.Grey, v.Blur = 0.08, 0.8, augment.SimCLRColors(1), 0.2, 0.5
	case MoCo1:
		v.Jitter, v.Colors, v.Grey = 1, augment.Colors{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.4}, 0.2
	case MoCo2:
		v.Jitter, v.Colors, v.Grey, v.Blur = 0.8, augment.SimCLRColors(0.5), 0.2, 0.5
	}
	if c.Views == CIFAR && c.Method != MAE { // too small to blur, and half the strength (SimCLR §B.9)
		v.Blur = 0
		if c.Method == SimCLR {
			v.Colors = augment.SimCLRColors(0.5)
		}
	}
	return v
}

// load sets a loader's options to n views of every sample.
func (c Config) load(o *loader.Options, n int) {
	v := c.views(o.Augment.Size)
	for range n {
		o.Views = append(o.Views, v.View)
	}
}

// normalise returns the rows of x [N, D] at length 1; a row of zeros stays.
func normalise(x *torch.Tensor) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		return x.Div(x.Mul(x).Sum(1).Clamp(1e-12, math.MaxFloat32).Sqrt().Unsqueeze(1))
	})
}

// losses is the loss of the only task there is.
func losses(method string, x *torch.Tensor) []network.TaskLoss {
	return []network.TaskLoss{{Task: method, Parts: []task.Loss{{Name: method, Value: x, Count: 1}}, Total: x}}
}

// uniform draws from ±bound: PyTorch's initialisation of linear layers, with a bound of 1/√in.
func uniform(bound float64) model.Init {
	return func(v []float32, rng *rand.Rand) {
		for i := range v {
			v[i] = float32(bound * (2*rng.Float64() - 1))
		}
	}
}
