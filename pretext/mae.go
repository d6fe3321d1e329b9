package pretext

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"must/loader"
	"must/model"
	"must/network"
	"must/torch"
)

// mae learns to fill in the pixels of patches that it is not shown (He et al. 2022): the encoder sees
// the few visible patches only, a light decoder makes the pixels of the others from them.
type mae struct {
	Config
	net     *network.Network
	encoder *model.ViT
	patch   int64
	shown   int64 // patches that the encoder sees
	total   int64 // patches of an image

	embed     *model.Linear
	token     *model.Param // stands for a patch that is not shown, [1, DecoderDim]
	positions *model.Param // [1, total, DecoderDim]; the class token has none
	blocks    []*model.Block
	norm      *model.LayerNorm
	pixels    *model.Linear
}

func newMAE(s network.Spec, c Config, seed uint64) (*network.Network, Task, error) {
	vit, ok := s.Model.Backbone.(model.ViTConfig)
	if !ok {
		return nil, nil, errors.New("mae pretrains a vit, since only a transformer can leave patches out; set model.backbone: vit")
	}
	if err := s.Model.Check(); err != nil {
		return nil, nil, err
	}
	p, size := vit.Patch, int64(s.Size)
	if size%p != 0 {
		return nil, nil, fmt.Errorf("mae: patches of %d do not divide an image of %d pixels", p, size)
	}
	side := size / p
	m := &mae{Config: c, patch: p, total: side * side}
	m.shown = int64(float64(m.total) * (1 - c.Mask))
	if m.shown < 1 || m.shown == m.total {
		return nil, nil, fmt.Errorf("pretext.mask is %v, which shows %d of %d patches; some must be shown and some not", c.Mask, m.shown, m.total)
	}
	if vit.Dim%4 != 0 {
		return nil, nil, fmt.Errorf("model.dim is %d; mae needs a multiple of 4, for its position embeddings", vit.Dim)
	}
	var err error
	m.net, err = network.NewPretext(s, seed, func(b model.Builder, n *network.Network) {
		m.encoder = n.Trunk.Backbone.(*model.ViT)
		dim := c.DecoderDim
		m.embed = model.NewLinear(b.In("decoder_embed"), vit.Dim, dim, model.Glorot(vit.Dim, dim))
		m.token = b.Bias("mask_token", model.Normal(0.02), 1, dim)
		m.positions = b.Buffer("decoder_pos_embed", func(v []float32, _ *rand.Rand) { waves(v, side, dim) }, 1, m.total, dim)
		for i := range c.DecoderLayers {
			m.blocks = append(m.blocks, model.NewBlock(b.In(fmt.Sprint("decoder_blocks.", i)), dim, c.DecoderHeads))
		}
		m.norm = model.NewLayerNorm(b.In("decoder_norm"), dim)
		m.pixels = model.NewLinear(b.In("decoder_pred"), dim, 3*p*p, model.Glorot(dim, 3*p*p))
	})
	if err != nil {
		return nil, nil, err
	}
	// The encoder's positions start as the published ones, which are fixed; here they may learn.
	grid := vit.Grid
	at := make([]float32, (1+grid*grid)*vit.Dim)
	waves(at[vit.Dim:], grid, vit.Dim)
	if _, _, err := m.net.Set.Load(map[string][]float32{"backbone.pos_embed": at}); err != nil {
		m.net.Free()
		return nil, nil, err
	}
	return m.net, m, nil
}

func (m *mae) Loader(o *loader.Options) { m.load(o, 1) }

func (m *mae) Losses(b *loader.Batch, mode model.Mode, rng *rand.Rand) []network.TaskLoss {
	return losses(m.Method, m.loss(b.Images, int64(b.N), mode, m.order(b.N, rng)))
}

// order draws for each of n images a permutation of its patches, of which the first are shown.
func (m *mae) order(n int, rng *rand.Rand) []int64 {
	order := make([]int64, 0, int64(n)*m.total)
	for range n {
		for _, i := range rng.Perm(int(m.total)) {
			order = append(order, int64(i))
		}
	}
	return order
}

// loss is the mean squared error of the pixels of n images that are not shown, each patch's pixels at
// mean 0 and variance 1.
func (m *mae) loss(images []uint8, n int64, mode model.Mode, order []int64) *torch.Tensor {
	x := m.net.Input(images, int(n), model.Mode{})
	hidden := make([]int64, 0, n*(m.total-m.shown))
	for i := range n {
		for _, patch := range order[i*m.total+m.shown : (i+1)*m.total] {
			hidden = append(hidden, i*m.total+patch)
		}
	}
	at := torch.From(hidden, int64(len(hidden)))
	target := torch.Scoped(func() *torch.Tensor {
		target, _, _ := m.target(x, at)
		return target
	})
	if mode.BF16 {
		x = x.As(torch.BFloat16)
	}
	d := m.predict(x, n, order, at).Sub(target)
	return d.Mul(d).Mean()
}

// target returns the pixels of those patches at among all of the images x, each patch's at mean 0 and
// variance 1, [len(at), 3·patch²], and the mean and the deviation that they had, [len(at), 1].
func (m *mae) target(x, at *torch.Tensor) (target, mean, deviation *torch.Tensor) {
	t := m.patches(x).View(x.Size(0)*m.total, -1).IndexSelect(0, at)
	pixels := float64(t.Size(1))
	mean = t.MeanKeep(1)
	t = t.Sub(mean)
	deviation = t.Mul(t).MeanKeep(1).Scale(pixels / (pixels - 1)).AddScalar(1e-6).Sqrt()
	return t.Div(deviation), mean, deviation
}

// predict returns the normalised pixels [len(at), 3·patch²] of those patches at among all n·total.
func (m *mae) predict(x *torch.Tensor, n int64, order []int64, at *torch.Tensor) *torch.Tensor {
	visible := make([]int64, 0, n*m.shown)
	back := make([]int64, n*m.total) // where the decoder finds each patch: shown ones come first, then the token
	for i := range n {
		for k, patch := range order[i*m.total:][:m.total] {
			if int64(k) < m.shown {
				visible = append(visible, i*m.total+patch)
				back[i*m.total+patch] = i*m.shown + int64(k)
			} else {
				back[i*m.total+patch] = n * m.shown
			}
		}
	}
	tokens := m.encoder.Embed(x).View(n*m.total, -1).IndexSelect(0, torch.From(visible, n*m.shown))
	tokens = m.embed.Forward(m.encoder.Encode(tokens.View(n, m.shown, -1)))
	class := tokens.Narrow(1, 0, 1)
	shown := tokens.Narrow(1, 1, m.shown).View(n*m.shown, -1)
	tokens = torch.Cat(0, shown, m.token.T.As(shown.DType())).IndexSelect(0, torch.From(back, n*m.total)).View(n, m.total, -1)
	tokens = torch.Cat(1, class, tokens.Add(m.positions.T.As(tokens.DType())))
	for _, k := range m.blocks {
		tokens = k.Forward(tokens)
	}
	// Only the patches that are not shown are looked at.
	tokens = tokens.Narrow(1, 1, m.total).View(n*m.total, -1).IndexSelect(0, at)
	return m.pixels.Forward(m.norm.Forward(tokens)).Wide()
}

// patches cuts images [N, 3, S, S] into rows of pixels, [N, total, patch·patch·3], colours innermost.
func (m *mae) patches(x *torch.Tensor) *torch.Tensor {
	n, side := x.Size(0), int64(math.Sqrt(float64(m.total)))
	return x.View(n, 3, side, m.patch, side, m.patch).Permute(0, 2, 4, 3, 5, 1).View(n, m.total, -1)
}

func (m *mae) State() map[string]*torch.Tensor { return nil }

func (m *mae) Free() {}

// waves fills v with the sine-cosine embeddings of the positions of a side×side grid, [side², dim]: the
// first half of the dimensions tells the column, the second the row; each of sines and then cosines of
// wavelengths from 2π to 10000·2π.
func waves(v []float32, side, dim int64) {
	quarter := dim / 4
	for i := range side * side {
		row := v[i*dim:][:dim]
		for half, at := range [2]int64{i % side, i / side} {
			for k := range quarter {
				sin, cos := math.Sincos(float64(at) / math.Pow(10000, float64(k)/float64(quarter)))
				row[int64(half)*2*quarter+k], row[int64(half)*2*quarter+quarter+k] = float32(sin), float32(cos)
			}
		}
	}
}
