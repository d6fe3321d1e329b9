package pretext

import (
	"fmt"
	"math"
	"math/rand/v2"

	"must/loader"
	"must/model"
	"must/network"
	"must/torch"
)

// moco learns to tell the key of an image's other view from a queue of earlier images' keys (He et al.
// 2020; Chen et al. 2020b). The keys come from a second encoder, which follows the trained one.
type moco struct {
	Config
	net, key         *network.Network
	netHead, keyHead mlp
	groups           int
	queue            *torch.Tensor // [Queue, Out], rows of length 1
	cursor           *torch.Tensor // what a resumed run needs to know: the queue's position, and 1 once the key encoder is a copy
	position         int           // where the next keys enter; -1: the cursor knows
	pending          *torch.Tensor // the last step's keys, [N, Out], which enter the queue before anything else happens
}

func newMoCo(s network.Spec, c Config, seed uint64, batch int) (*network.Network, Task, error) {
	if c.Queue%batch != 0 {
		return nil, nil, fmt.Errorf("pretext.queue is %d, which batches of %d do not fill without rest; use a multiple, such as %d",
			c.Queue, batch, max(1, c.Queue/batch)*batch)
	}
	m := &moco{Config: c, position: -1}
	build := func(head *mlp) (*network.Network, error) {
		return network.NewPretext(s, seed, func(b model.Builder, n *network.Network) {
			*head = newMLP(b, n.Trunk.Backbone.Width(), c)
		})
	}
	var err error
	if m.net, err = build(&m.netHead); err != nil {
		return nil, nil, err
	}
	if m.key, err = build(&m.keyHead); err != nil {
		m.net.Free()
		return nil, nil, err
	}
	if m.groups, err = m.split(batch); err != nil {
		m.net.Free()
		m.key.Free()
		return nil, nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0x6d6f636f))
	keys := make([]float32, int64(c.Queue)*c.Out)
	for i := range keys {
		keys[i] = float32(rng.NormFloat64())
	}
	m.queue = normalise(torch.From(keys, int64(c.Queue), c.Out)).Keep()
	m.cursor = torch.Zeros(torch.Float, 2).Keep()
	return m.net, m, nil
}

// split returns the number of parts that a batch is normalised in. Backbones without batch norm need
// but one.
func (m *moco) split(batch int) (int, error) {
	switch g := m.BNGroups; {
	case len(m.net.Set.Buffers) == 0:
		return 1, nil
	case g > 0 && batch%g != 0:
		return 0, fmt.Errorf("pretext.bn_groups is %d, into which a batch of %d does not divide", g, batch)
	case g > 0:
		return g, nil
	}
	for g := max(2, batch/32); g <= batch/2; g++ {
		if batch%g == 0 {
			return g, nil
		}
	}
	return 0, fmt.Errorf("a batch of %d does not divide into parts for shuffled batch norm; use an even batch of at least 4, or pretext.bn_groups: 1", batch)
}

func (m *moco) Loader(o *loader.Options) { m.load(o, 2) }

func (m *moco) Losses(b *loader.Batch, mode model.Mode, rng *rand.Rand) []network.TaskLoss {
	n := b.N / 2
	return losses(m.Method, m.step(b.Images[:len(b.Images)/2], b.Images[len(b.Images)/2:], n, mode, rng.Perm(n)))
}

// step returns the loss of n images under the first view as queries and the second as keys. The key
// encoder follows before it runs; it sees the images in another order, so that its batch norms, whose
// statistics are those of a part of the batch, do not tell which key belongs to which query ("shuffling
// BN", He et al. §3.3). Keys enter the queue only after the queries were compared with it.
func (m *moco) step(queries, keys []uint8, n int, mode model.Mode, order []int) *torch.Tensor {
	if m.position < 0 {
		at := torch.Values[float32](m.cursor)
		m.position = int(at[0])
		if at[1] == 0 {
			m.key.Set.Flat.Data.Copy(m.net.Set.Flat.Data)
			if len(m.key.Set.Buffers) > 0 {
				m.key.Set.Stats.Data.Copy(m.net.Set.Stats.Data)
			}
		}
	}
	m.enqueue()
	q := m.encode(m.net, m.netHead, queries, n, mode)
	var k *torch.Tensor
	torch.NoGrad(func() {
		m.key.Set.Flat.Data.Lerp(m.net.Set.Flat.Data, torch.Number(1-m.Momentum))
		k = torch.Scoped(func() *torch.Tensor {
			size := len(keys) / n
			shuffled, back := make([]uint8, len(keys)), make([]int64, n)
			for to, from := range order {
				copy(shuffled[to*size:][:size], keys[from*size:])
				back[from] = int64(to)
			}
			return m.encode(m.key, m.keyHead, shuffled, n, mode).IndexSelect(0, torch.From(back, int64(n)))
		})
	})
	m.pending = k.Keep()
	return infoNCE(q, k, m.queue, m.Temperature)
}

// encode maps n images to rows of length 1, [n, Out]; each part of the batch is normalised by itself.
func (m *moco) encode(net *network.Network, head mlp, images []uint8, n int, mode model.Mode) *torch.Tensor {
	var parts []*torch.Tensor
	per := n / m.groups
	size := len(images) / n * per
	for g := range m.groups {
		parts = append(parts, torch.Scoped(func() *torch.Tensor {
			return net.Features(images[g*size:][:size], per, mode).Pooled().Wide()
		}))
	}
	return normalise(head.forward(torch.Cat(0, parts...)))
}

// enqueue puts the last step's keys in the place of the oldest.
func (m *moco) enqueue() {
	if m.pending == nil {
		return
	}
	n := m.pending.Size(0)
	m.queue.Narrow(0, int64(m.position), n).Copy(m.pending)
	m.pending.Free()
	m.pending = nil
	m.position = (m.position + int(n)) % m.Queue
	torch.Load(m.cursor, []float32{float32(m.position), 1})
}

func (m *moco) State() map[string]*torch.Tensor {
	m.enqueue()
	state := map[string]*torch.Tensor{"key.parameters": m.key.Set.Flat.Data, "queue": m.queue, "cursor": m.cursor}
	if len(m.key.Set.Buffers) > 0 {
		state["key.statistics"] = m.key.Set.Stats.Data
	}
	return state
}

func (m *moco) Free() {
	m.key.Free()
	m.queue.Free()
	m.cursor.Free()
	m.pending.Free()
}

// infoNCE is the cross entropy of finding, for every query of q [N, D], its own key of k [N, D] among
// itself and all keys of queue [K, D], by the cosine (§3.1); the mean over the queries. All rows have
// length 1; the gradient reaches q only.
func infoNCE(q, k, queue *torch.Tensor, temperature float64) *torch.Tensor {
	q = q.Scale(1 / temperature)
	own := q.Mul(k).Sum(1)
	// log Σ of the others' exponentials against its own: the cross entropy without a copy of the largest
	// tensor of the step.
	return q.MatMul(queue.Transpose(0, 1)).LogSumExp(1).Sub(own).Softplus().Mean()
}

// An mlp is MoCo's head: a linear layer, in v2 behind a hidden one with ReLU, with PyTorch's
// initialisation.
type mlp []linear

// A linear is a fully connected layer.
type linear struct{ w, b *model.Param }

func newMLP(b model.Builder, in int64, c Config) mlp {
	layer := func(name string, in, out int64) linear {
		init, b := uniform(1/math.Sqrt(float64(in))), b.In(name)
		return linear{b.Weight("weight", init, out, in), b.Bias("bias", init, out)}
	}
	if c.Method == MoCo1 {
		return mlp{layer("0", in, c.Out)}
	}
	hidden := c.Hidden
	if hidden == 0 {
		hidden = in
	}
	return mlp{layer("0", in, hidden), layer("2", hidden, c.Out)}
}

// forward maps features [N, in] to [N, Out].
func (l mlp) forward(x *torch.Tensor) *torch.Tensor {
	for i, layer := range l {
		if i > 0 {
			x = x.ReluInPlace()
		}
		x = x.Linear(layer.w.T, layer.b.T)
	}
	return x
}
