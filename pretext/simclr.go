package pretext

import (
	"fmt"
	"math/rand/v2"

	"must/loader"
	"must/model"
	"must/network"
	"must/torch"
)

// simCLR learns to tell which two views are of one image (Chen et al. 2020).
type simCLR struct {
	Config
	net  *network.Network
	head *projection
	self *torch.Tensor // [2N, 2N], which takes a view's similarity to itself out of the loss
}

func newSimCLR(s network.Spec, c Config, seed uint64, batch int) (*network.Network, Task, error) {
	if batch < 2 {
		return nil, nil, fmt.Errorf("simclr: a batch of %d image has nothing to compare; use more, the more the better", batch)
	}
	m := &simCLR{Config: c}
	net, err := network.NewPretext(s, seed, func(b model.Builder, n *network.Network) {
		width := n.Trunk.Backbone.Width()
		hidden := c.Hidden
		if hidden == 0 {
			hidden = width
		}
		m.head = newProjection(b, width, hidden, c.Out)
	})
	if err != nil {
		return nil, nil, err
	}
	m.net = net
	m.self = selfMask(2 * int64(batch)).Keep()
	return net, m, nil
}

func (m *simCLR) Loader(o *loader.Options) { m.load(o, 2) }

func (m *simCLR) Losses(b *loader.Batch, mode model.Mode, _ *rand.Rand) []network.TaskLoss {
	f := m.net.Features(b.Images, b.N, mode).Pooled().Wide()
	return losses(m.Method, ntXent(m.head.forward(f, mode.Train), m.self, m.Temperature))
}

func (m *simCLR) State() map[string]*torch.Tensor { return nil }

func (m *simCLR) Free() { m.self.Free() }

// selfMask returns a matrix of zeros whose diagonal is so far below them that no exponential is left.
func selfMask(n int64) *torch.Tensor {
	m := torch.Zeros(torch.Float, n, n)
	m.View(n*n).Slice(0, n+1).Fill(-1e9)
	return m
}

// ntXent is the normalised temperature-scaled cross entropy (§2.1): of z [2N, D], whose rows i and i+N
// are views of one image, every row has to find its partner among all 2N−1 others by the cosine; the
// mean over all rows. self is selfMask(2N).
func ntXent(z, self *torch.Tensor, temperature float64) *torch.Tensor {
	n := int(z.Size(0)) / 2
	partner := make([]int64, 2*n)
	for i := range partner {
		partner[i] = int64((i + n) % (2 * n))
	}
	z = normalise(z)
	similarity := z.Scale(1 / temperature).MatMul(z.Transpose(0, 1)).Add(self)
	return similarity.CrossEntropy(torch.From(partner, int64(2*n)), torch.Mean, -100)
}

// A projection is SimCLR's head in its published program: two linear layers without bias, each followed
// by a batch norm, the last of which only scales, and a ReLU between them. The paper's text (§2.1) has
// no norms; the program that made its numbers has.
type projection struct {
	hidden, out  *model.Param
	norm1, norm2 norm
}

// newProjection declares the head under "0" to "4", as a torch.nn.Sequential of it would be named.
func newProjection(b model.Builder, in, hidden, out int64) *projection {
	return &projection{
		hidden: b.In("0").Weight("weight", model.Normal(0.01), hidden, in),
		norm1:  newNorm(b.In("1"), hidden, true),
		out:    b.In("3").Weight("weight", model.Normal(0.01), out, hidden),
		norm2:  newNorm(b.In("4"), out, false),
	}
}

// forward maps features [N, in] to [N, out].
func (p *projection) forward(x *torch.Tensor, training bool) *torch.Tensor {
	x = p.norm1.forward(x.Linear(p.hidden.T, nil), training).ReluInPlace()
	return p.norm2.forward(x.Linear(p.out.T, nil), training)
}

// A norm is batch normalisation of [N, C], with or without an offset.
type norm struct{ w, b, mean, variance *model.Param }

func newNorm(b model.Builder, c int64, offset bool) norm {
	n := norm{
		w:    b.Bias("weight", model.Constant(1), c),
		mean: b.Buffer("running_mean", model.Constant(0), c), variance: b.Buffer("running_var", model.Constant(1), c),
	}
	if offset {
		n.b = b.Bias("bias", model.Constant(0), c)
	}
	return n
}

func (n norm) forward(x *torch.Tensor, training bool) *torch.Tensor {
	var offset *torch.Tensor
	if n.b != nil {
		offset = n.b.T
	}
	return x.BatchNorm(n.w.T, offset, n.mean.T, n.variance.T, training, 0.1, 1e-5)
}
