package model

import (
	"math"
	"strconv"

	"must/torch"
)

// A Mode says how a forward pass runs.
type Mode struct {
	Train bool // batch statistics, and running ones follow
	BF16  bool // activations in bfloat16; parameters, statistics and losses stay float32

	// Across: the statistics of batch norms are those of all processes' images, by [torch.Tensor.Across]. It is
	// for the backbone, which every process runs; heads run only where there are labels for them.
	Across bool
}

// A Conv is a 2-D convolution, [N, in, H, W] → [N, out, H/stride, W/stride].
type Conv struct {
	w, b         *Param
	stride, pad  int64
	groups       int64
	standardised bool
	norm         *Norm            // that follows, which fusing folds in; nil: none
	fused        *torch.FusedConv // nil, but where [Set.Fuse] made it
}

// NewConv declares a k×k convolution with "same" padding at stride 1, initialised by init.
func NewConv(b Builder, in, out, k, stride int64, bias bool, init Init) *Conv {
	c := &Conv{w: b.Weight("weight", init, out, in, k, k), stride: stride, pad: k / 2, groups: 1}
	if bias {
		c.b = b.Bias("bias", Constant(0), out)
	}
	b.set.convs = append(b.set.convs, c)
	return c
}

// NewGroupedConv declares a convolution without bias whose outputs read a share of the inputs each: the
// first of so many groups the first share (ResNeXt).
func NewGroupedConv(b Builder, in, out, k, stride, groups int64) *Conv {
	fan := out / groups * k * k
	c := &Conv{w: b.Weight("weight", Kaiming(fan), out, in/groups, k, k), stride: stride, pad: k / 2, groups: groups}
	b.set.convs = append(b.set.convs, c)
	return c
}

// NewStandardConv declares a convolution without bias whose weights are standardised before use: those
// of each output channel to mean 0 and variance 1 (Qiao et al. 2019; BiT's epsilon).
func NewStandardConv(b Builder, in, out, k, stride int64) *Conv {
	c := NewConv(b, in, out, k, stride, false, Kaiming(out*k*k))
	c.standardised = true
	return c
}

// weight returns the weights to convolve x with.
func (c *Conv) weight(x *torch.Tensor) *torch.Tensor {
	if !c.standardised {
		return like(c.w, x)
	}
	s := c.w.Shape
	w := c.w.T.View(1, s[0], -1).BatchNorm(nil, nil, nil, nil, true, 0, 1e-10) // of one "image" with a channel per output
	return w.View(s...).As(x.DType())
}

// Forward convolves x. Weights follow the element type of x, so that a bfloat16 input runs the
// network in bfloat16 while parameters stay float32.
func (c *Conv) Forward(x *torch.Tensor) *torch.Tensor {
	if c.fused != nil {
		return c.fused.Forward(x, nil, false)
	}
	if x.DType() == torch.BFloat16 && c.stride > 1 && x.Size(2) == 1 && x.Size(3) == 1 {
		// oneDNN 3.13 leaves the weights' gradient partly unwritten here (P7 of small images, on CPUs).
		return c.Forward(x.As(torch.Float)).As(torch.BFloat16)
	}
	if c.w.Shape[2] == 1 && c.stride > 1 && x.Size(1) < 16 {
		// oneDNN 3.13 writes past the end of the input's gradient here (8 channels to 16, AVX-512, several
		// threads). A 1×1 convolution reads every stride-th pixel only: those are taken first.
		return x.Slice(2, c.stride).Slice(3, c.stride).Conv2D(c.weight(x), like(c.b, x), 1, 0, 1, 1)
	}
	return x.Conv2D(c.weight(x), like(c.b, x), c.stride, c.pad, 1, c.groups)
}

// Bias returns the bias parameter, nil if there is none.
func (c *Conv) Bias() *Param { return c.b }

func like(p *Param, x *torch.Tensor) *torch.Tensor {
	if p == nil {
		return nil
	}
	if d := x.DType(); d != torch.Float {
		return p.T.As(d)
	}
	return p.T
}

// A Norm is batch normalisation over [N, C, H, W], or where the model has none, group normalisation.
type Norm struct {
	w, b, mean, variance *Param
	group                *GroupNorm // in place of all these
}

// NewNorm declares a norm whose gain starts at the given value: a batch norm but below [Builder.GroupNorms].
func NewNorm(b Builder, c int64, gain float32) *Norm {
	if b.groups {
		return &Norm{group: newGroupNorm(b, c, gain)}
	}
	return &Norm{
		w: b.Bias("weight", Constant(gain), c), b: b.Bias("bias", Constant(0), c),
		mean: b.Buffer("running_mean", Constant(0), c), variance: b.Buffer("running_var", Constant(1), c),
	}
}

// Forward normalises x; in training the running statistics follow by 0.1.
func (n *Norm) Forward(x *torch.Tensor, m Mode) *torch.Tensor {
	if n.group != nil {
		return n.group.normalise(x)
	}
	if m.Train && m.Across {
		return n.across(x)
	}
	// One value per channel has no variance; the running statistics stand in for it.
	s := x.Shape()
	train := m.Train && s[0]*s[2]*s[3] > 1
	return x.BatchNorm(n.w.T, n.b.T, n.mean.T, n.variance.T, train, 0.1, normEpsilon)
}

const normEpsilon = 1e-5

// across is Forward in training with the images of all processes.
func (n *Norm) across(x *torch.Tensor) *torch.Tensor {
	s, c := x.Shape(), x.Size(1)
	wide := x.As(torch.Float)
	channel := func(v *torch.Tensor) *torch.Tensor { return v.View(1, c, 1, 1) }
	sums := torch.Cat(0, wide.Sum(0, 2, 3), torch.Full(torch.Float, float64(s[0]*s[2]*s[3]), 1)).Across()
	count := sums.Narrow(0, c, 1)
	mean := sums.Narrow(0, 0, c).Div(count)
	distance := wide.Sub(channel(mean))
	variance := distance.Mul(distance).Sum(0, 2, 3).Across().Div(count)
	torch.NoGrad(func() {
		n.mean.T.Lerp(mean, torch.Scalar(0.1))
		n.variance.T.Lerp(variance.Mul(count).Div(count.AddScalar(-1).Clamp(1, math.MaxFloat32)), torch.Scalar(0.1))
	})
	gain := n.w.T.Div(variance.AddScalar(normEpsilon).Sqrt())
	return distance.Mul(channel(gain)).Add(channel(n.b.T)).As(x.DType())
}

// A GroupNorm is group normalisation over [N, C, H, W] (Wu & He 2018) and ReLU.
type GroupNorm struct {
	w, b   *Param
	groups int64
}

// NewGroupNorm declares the norm of c channels in 32 groups. Narrow layers have the most groups that
// divide their channels and hold two of them or more, since one channel of one pixel has no variance.
func NewGroupNorm(b Builder, c int64) *GroupNorm { return newGroupNorm(b, c, 1) }

func newGroupNorm(b Builder, c int64, gain float32) *GroupNorm {
	n := &GroupNorm{w: b.Bias("weight", Constant(gain), c), b: b.Bias("bias", Constant(0), c), groups: min(32, max(1, c/2))}
	for c%n.groups != 0 {
		n.groups--
	}
	return n
}

// Forward normalises x and applies the ReLU.
func (n *GroupNorm) Forward(x *torch.Tensor) *torch.Tensor { return n.normalise(x).ReluInPlace() }

func (n *GroupNorm) normalise(x *torch.Tensor) *torch.Tensor {
	return x.GroupNorm(n.groups, like(n.w, x), like(n.b, x), 1e-5)
}

// A LayerNorm is layer normalisation (Ba et al. 2016).
type LayerNorm struct {
	w, b    *Param
	epsilon float64
}

// NewLayerNorm declares the norm of c channels, of epsilon 1e-6.
func NewLayerNorm(b Builder, c int64) *LayerNorm { return newLayerNorm(b, c, 1e-6) }

func newLayerNorm(b Builder, c int64, epsilon float64) *LayerNorm {
	return &LayerNorm{b.Bias("weight", Constant(1), c), b.Bias("bias", Constant(0), c), epsilon}
}

// Forward normalises the last dimension of x, [N, L, C] or of any other shape.
func (n *LayerNorm) Forward(x *torch.Tensor) *torch.Tensor {
	return x.LayerNorm(like(n.w, x), like(n.b, x), n.epsilon)
}

// Map normalises the channels of every pixel of x, [N, C, H, W].
func (n *LayerNorm) Map(x *torch.Tensor) *torch.Tensor {
	return n.Forward(x.Permute(0, 2, 3, 1)).Permute(0, 3, 1, 2)
}

// A ConvNorm is convolution, norm and ReLU.
type ConvNorm struct {
	conv *Conv
	norm *Norm
}

// NewConvNorm declares a k×k convolution without bias and its norm under "conv" and "norm".
func NewConvNorm(b Builder, in, out, k, stride int64) *ConvNorm {
	c := &ConvNorm{NewConv(b.In("conv"), in, out, k, stride, false, Kaiming(out*k*k)), NewNorm(b.In("norm"), out, 1)}
	c.conv.norm = c.norm
	return c
}

// Forward applies the three in turn. Without gradients only the result stays in memory.
func (c *ConvNorm) Forward(x *torch.Tensor, m Mode) *torch.Tensor {
	if c.conv.fused != nil {
		return c.conv.fused.Forward(x, nil, true)
	}
	return torch.Scoped(func() *torch.Tensor { return c.norm.Forward(c.conv.Forward(x), m).ReluInPlace() })
}

// A Tower is a stack of 3×3 ConvNorms of one width.
type Tower []*ConvNorm

// NewTower declares n ConvNorms under "0", "1", ….
func NewTower(b Builder, n int, in, width int64) Tower {
	var t Tower
	for i := range n {
		t = append(t, NewConvNorm(b.In(strconv.Itoa(i)), in, width, 3, 1))
		in = width
	}
	return t
}

// Forward applies all in turn.
func (t Tower) Forward(x *torch.Tensor, m Mode) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		for _, c := range t {
			x = c.Forward(x, m)
		}
		return x
	})
}

// BatchNorm reports whether what one image comes to depends on the others of the batch.
func (t Tower) BatchNorm() bool { return len(t) > 0 && t[0].norm.group == nil }

// A Linear layer maps [N, in] to [N, out], or [N, L, in] to [N, L, out].
type Linear struct{ w, b *Param }

// NewLinear declares a fully connected layer with bias.
func NewLinear(b Builder, in, out int64, init Init) *Linear {
	return &Linear{b.Weight("weight", init, out, in), b.Bias("bias", Constant(0), out)}
}

// Forward applies the layer.
func (l *Linear) Forward(x *torch.Tensor) *torch.Tensor { return x.Linear(like(l.w, x), like(l.b, x)) }

// A Deconv is a 2×2 transposed convolution of stride 2, which doubles height and width.
type Deconv struct{ w, b *Param }

// NewDeconv declares the layer.
func NewDeconv(b Builder, in, out int64) *Deconv {
	return &Deconv{b.Weight("weight", Kaiming(out*4), in, out, 2, 2), b.Bias("bias", Constant(0), out)}
}

// Forward applies the layer.
func (d *Deconv) Forward(x *torch.Tensor) *torch.Tensor {
	return x.ConvTranspose2D(like(d.w, x), like(d.b, x), 2, 0)
}

// A Block is a pre-norm transformer block (Dosovitskiy et al. 2021): attention of all tokens to all,
// then a perceptron, four times as wide if plain, each behind a layer norm and added to its input.
type Block struct {
	norm1, norm2       *LayerNorm
	qkv, proj          *Linear    // queries, keys and values in one, the heads side by side in each
	queryNorm, keyNorm *LayerNorm // nil: none
	fc1, fc2           *Linear
	heads, perHead     int64
}

// NewBlock declares a block of tokens of width dim, which the heads divide, under timm's names.
func NewBlock(b Builder, dim, heads int64) *Block { return newBlock(b, dim, heads, ViTVariant{}) }

func newBlock(b Builder, dim, heads int64, v ViTVariant) *Block {
	attn, mlp, hidden := b.In("attn"), b.In("mlp"), v.mlp(dim)
	k := &Block{
		norm1: newLayerNorm(b.In("norm1"), dim, v.epsilon()),
		qkv:   NewLinear(attn.In("qkv"), dim, 3*dim, Glorot(dim, dim)), // three layers side by side
		proj:  NewLinear(attn.In("proj"), dim, dim, Glorot(dim, dim)),
		norm2: newLayerNorm(b.In("norm2"), dim, v.epsilon()),
		fc1:   NewLinear(mlp.In("fc1"), dim, hidden, Glorot(dim, hidden)),
		fc2:   NewLinear(mlp.In("fc2"), hidden, dim, Glorot(hidden, dim)),
		heads: heads, perHead: dim / heads,
	}
	if v.QKNorm {
		k.queryNorm = newLayerNorm(attn.In("q_norm"), k.perHead, v.epsilon())
		k.keyNorm = newLayerNorm(attn.In("k_norm"), k.perHead, v.epsilon())
	}
	return k
}

// Forward maps tokens [N, L, dim] to tokens of the same shape.
func (k *Block) Forward(x *torch.Tensor) *torch.Tensor {
	return torch.Scoped(func() *torch.Tensor {
		n, l := x.Size(0), x.Size(1)
		qkv := k.qkv.Forward(k.norm1.Forward(x)).View(n, l, 3, k.heads, k.perHead).Permute(2, 0, 3, 1, 4)
		query, key := qkv.Select(0, 0), qkv.Select(0, 1)
		if k.queryNorm != nil {
			query, key = k.queryNorm.Forward(query), k.keyNorm.Forward(key)
		}
		seen := torch.Attention(query, key, qkv.Select(0, 2)).Transpose(1, 2).View(n, l, -1)
		x := x.Add(k.proj.Forward(seen))
		return x.Add(k.fc2.Forward(k.fc1.Forward(k.norm2.Forward(x)).Gelu()))
	})
}
