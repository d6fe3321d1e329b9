package model

import (
	"math"

	"must/onnx/graph"
	"must/torch"
)

// What follows writes the layers, in inference, as operators of an ONNX graph: each graph method is the
// counterpart of a Forward. Batch norms are folded into the convolutions before them, and what depends
// on parameters alone (standardised weights, resampled positions) is computed here. Call in torch.Do,
// within a scope.

// A Map is a feature map in a graph, [N, C, H, W].
type Map struct {
	V       graph.Value
	C, H, W int64
}

// Maps are what heads read in a graph; see [Features].
type Maps struct {
	C5     Map
	P      [6]Map // P2 to P7, without a neck empty
	Size   int64  // side of the input
	fused  Map
	pooled graph.Value
}

func values(p *Param) []float32 { return torch.Values[float32](p.T) }

// Graph convolves x.
func (c *Conv) Graph(g *graph.Graph, x Map) Map {
	w := torch.Values[float32](c.weight(c.w.T))
	var b []float32
	if c.b != nil {
		b = values(c.b)
	}
	return c.graph(g, x, w, b)
}

func (c *Conv) graph(g *graph.Graph, x Map, w, b []float32) Map {
	s := c.w.Shape
	in := []graph.Value{x.V, g.Weight(c.w.Name, w, s...)}
	if b != nil {
		in = append(in, g.Weight(c.name("bias"), b, s[0]))
	}
	size := func(n, k int64) int64 { return (n+2*c.pad-k)/c.stride + 1 }
	return Map{
		g.Op("Conv", graph.Attrs{"kernel_shape": s[2:], "strides": []int64{c.stride, c.stride}, "pads": []int64{c.pad, c.pad, c.pad, c.pad}, "group": int(c.groups)}, in...),
		s[0], size(x.H, s[2]), size(x.W, s[3]),
	}
}

// name is that of another parameter beside the weights.
func (c *Conv) name(of string) string { return c.w.Name[:len(c.w.Name)-len("weight")] + of }

// normed convolves x, whose norm follows; a batch norm becomes part of the weights.
func (c *Conv) normed(g *graph.Graph, x Map, n *Norm) Map {
	if n.group != nil {
		return n.group.normed(g, c.graph(g, x, values(c.w), nil))
	}
	w, b := n.fold(values(c.w))
	return c.graph(g, x, w, b)
}

// fold makes weights and bias of a convolution without bias and this norm behind it.
func (n *Norm) fold(w []float32) (folded, bias []float32) {
	gain, shift, mean, variance := values(n.w), values(n.b), values(n.mean), values(n.variance)
	folded, bias = make([]float32, len(w)), make([]float32, len(gain))
	each := len(w) / len(gain)
	for o := range gain {
		k := float64(gain[o]) / math.Sqrt(float64(variance[o])+normEpsilon)
		for i := o * each; i < (o+1)*each; i++ {
			folded[i] = float32(k * float64(w[i]))
		}
		bias[o] = float32(float64(shift[o]) - k*float64(mean[o]))
	}
	return folded, bias
}

// op applies an operator that keeps the shape.
func (x Map) op(g *graph.Graph, op string, more ...graph.Value) Map {
	x.V = g.Op(op, nil, append([]graph.Value{x.V}, more...)...)
	return x
}

// Relu applies a ReLU.
func (x Map) Relu(g *graph.Graph) Map { return x.op(g, "Relu") }

func (x Map) maxPool(g *graph.Graph, k, stride, pad int64) Map {
	x.V = g.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{k, k}, "strides": []int64{stride, stride}, "pads": []int64{pad, pad, pad, pad}}, x.V)
	x.H, x.W = (x.H+2*pad-k)/stride+1, (x.W+2*pad-k)/stride+1
	return x
}

// Bilinear resizes x as [torch.Tensor.Bilinear] does.
func (x Map) Bilinear(g *graph.Graph, h, w int64) Map {
	return x.resize(g, h, w, graph.Attrs{"mode": "linear", "coordinate_transformation_mode": "half_pixel"})
}

func (x Map) nearest(g *graph.Graph, h, w int64) Map {
	return x.resize(g, h, w, graph.Attrs{"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})
}

func (x Map) resize(g *graph.Graph, h, w int64, how graph.Attrs) Map {
	switch {
	case h == x.H && w == x.W:
		return x
	case h%x.H == 0 && w%x.W == 0:
		x.V = g.Op("Resize", how, x.V, "", g.Floats([]float32{1, 1, float32(h / x.H), float32(w / x.W)}, 4))
	default: // a factor would have to be exact for the size to come out
		x.V = g.Op("Resize", how, x.V, "", "", g.Concat(0, g.Sizes(x.V, 0, 2), g.Ints(h, w)))
	}
	x.H, x.W = h, w
	return x
}

// graph normalises x and applies the ReLU.
func (n *GroupNorm) graph(g *graph.Graph, x Map) Map { return n.normed(g, x).Relu(g) }

// normed normalises x. ONNX has group norms from opset 18 on only.
func (n *GroupNorm) normed(g *graph.Graph, x Map) Map {
	ones := make([]float32, n.groups)
	for i := range ones {
		ones[i] = 1
	}
	y := g.Reshape(x.V, 0, n.groups, -1)
	y = g.Op("InstanceNormalization", graph.Attrs{"epsilon": 1e-5}, y, g.Weight(n.w.Name+".groups", ones, n.groups), g.Weight(n.b.Name+".groups", make([]float32, n.groups), n.groups))
	y = g.Reshape(y, 0, x.C, x.H, x.W)
	y = g.Op("Mul", nil, y, g.Weight(n.w.Name, values(n.w), x.C, 1, 1))
	x.V = g.Op("Add", nil, y, g.Weight(n.b.Name, values(n.b), x.C, 1, 1))
	return x
}

func (n *LayerNorm) graph(g *graph.Graph, x graph.Value) graph.Value {
	c := n.w.Len()
	return g.Op("LayerNormalization", graph.Attrs{"axis": -1, "epsilon": n.epsilon}, x, g.Weight(n.w.Name, values(n.w), c), g.Weight(n.b.Name, values(n.b), c))
}

func (n *LayerNorm) mapGraph(g *graph.Graph, x Map) Map {
	x.V = g.Permute(n.graph(g, g.Permute(x.V, 0, 2, 3, 1)), 0, 3, 1, 2)
	return x
}

// Graph applies all in turn.
func (t Tower) Graph(g *graph.Graph, x Map) Map {
	for _, c := range t {
		x = c.conv.normed(g, x, c.norm).Relu(g)
	}
	return x
}

// Graph maps [N, in] to [N, out], or [N, L, in] to [N, L, out].
func (l *Linear) Graph(g *graph.Graph, x graph.Value) graph.Value {
	out, in := l.w.Shape[0], l.w.Shape[1]
	w, t := values(l.w), make([]float32, in*out)
	for o := range out {
		for i := range in {
			t[i*out+o] = w[o*in+i]
		}
	}
	return g.Op("Add", nil, g.Op("MatMul", nil, x, g.Weight(l.w.Name, t, in, out)), g.Weight(l.b.Name, values(l.b), out))
}

// Graph doubles height and width.
func (d *Deconv) Graph(g *graph.Graph, x Map) Map {
	s := d.w.Shape
	x.V = g.Op("ConvTranspose", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, x.V, g.Weight(d.w.Name, values(d.w), s...), g.Weight(d.b.Name, values(d.b), s[1]))
	x.C, x.H, x.W = s[1], 2*x.H, 2*x.W
	return x
}

func gelu(g *graph.Graph, x graph.Value) graph.Value {
	number := func(v float64) graph.Value { return g.Working(g.Scalar(float32(v))) }
	erf := g.Op("Erf", nil, g.Op("Div", nil, x, number(math.Sqrt2)))
	return g.Op("Mul", nil, g.Op("Mul", nil, x, g.Op("Add", nil, erf, number(1))), number(0.5))
}

// graph maps l tokens.
func (k *Block) graph(g *graph.Graph, x graph.Value, l int64) graph.Value {
	qkv := g.Permute(g.Reshape(k.qkv.Graph(g, k.norm1.graph(g, x)), 0, l, 3, k.heads, k.perHead), 2, 0, 3, 1, 4)
	part := func(i int64) graph.Value { return g.Op("Gather", graph.Attrs{"axis": 0}, qkv, g.Int(i)) }
	// Both factors are scaled before they meet, as libtorch does.
	scale := g.Working(g.Scalar(float32(math.Pow(float64(k.perHead), -0.25))))
	q, keys := part(0), part(1)
	if k.queryNorm != nil {
		q, keys = k.queryNorm.graph(g, q), k.keyNorm.graph(g, keys)
	}
	q, keys = g.Op("Mul", nil, q, scale), g.Op("Mul", nil, g.Permute(keys, 0, 1, 3, 2), scale)
	seen := g.Op("MatMul", nil, g.Op("Softmax", graph.Attrs{"axis": -1}, g.Op("MatMul", nil, q, keys)), part(2))
	x = g.Op("Add", nil, x, k.proj.Graph(g, g.Reshape(g.Permute(seen, 0, 2, 1, 3), 0, l, k.heads*k.perHead)))
	return g.Op("Add", nil, x, k.fc2.Graph(g, gelu(g, k.fc1.Graph(g, k.norm2.graph(g, x)))))
}

// graph is the counterpart of [Backbone].Forward.
func (r *ResNet) graph(g *graph.Graph, x Map) (c [4]Map, pooled graph.Value) {
	for i, c := range r.stem {
		x = c.normed(g, x, r.norms[i]).Relu(g)
	}
	if !r.small {
		x = x.maxPool(g, 3, 2, 1)
	}
	for s, blocks := range r.stages {
		for _, k := range blocks {
			y, short := x, x
			for i, c := range k.convs {
				if y = c.normed(g, y, k.norms[i]); i < len(k.convs)-1 {
					y = y.Relu(g)
				}
			}
			if k.squeeze != nil {
				y = k.squeeze.graph(g, y)
			}
			if a := k.average; a > 1 {
				short.V = g.Op("AveragePool", graph.Attrs{"kernel_shape": []int64{a, a}, "strides": []int64{a, a}}, x.V)
				short.H, short.W = x.H/a, x.W/a
			}
			if k.down != nil {
				short = k.down.normed(g, short, k.dnorm)
			}
			x = y.op(g, "Add", short.V).Relu(g)
		}
		c[s] = x
	}
	return c, ""
}

func (s *squeeze) graph(g *graph.Graph, x Map) Map {
	mean := Map{g.Op("GlobalAveragePool", nil, x.V), x.C, 1, 1}
	return x.op(g, "Mul", s.fc2.Graph(g, s.fc1.Graph(g, mean).Relu(g)).op(g, "Sigmoid").V)
}

func (r *BiT) graph(g *graph.Graph, x Map) (c [4]Map, pooled graph.Value) {
	x = r.stem.Graph(g, x)
	if !r.small {
		x = x.op(g, "Pad", g.Ints(0, 0, 1, 1, 0, 0, 1, 1))
		x.H, x.W = x.H+2, x.W+2
		x = x.maxPool(g, 3, 2, 0)
	}
	for s, blocks := range r.stages {
		for i, k := range blocks {
			first := k.norms[0].graph(g, x)
			if i == 0 && s > 0 {
				c[s-1] = first
			}
			y := k.convs[0].Graph(g, first)
			for i, conv := range k.convs[1:] {
				y = conv.Graph(g, k.norms[i+1].graph(g, y))
			}
			short := x
			if k.down != nil {
				short = k.down.Graph(g, first)
			}
			x = y.op(g, "Add", short.V)
		}
	}
	c[3] = r.norm.graph(g, x)
	return c, ""
}

func (v *ViT) graph(g *graph.Graph, x Map) (c [4]Map, pooled graph.Value) {
	patches := v.proj.Graph(g, x)
	h, w := patches.H, patches.W
	l := h * w
	tokens := g.Permute(g.Reshape(patches.V, 0, v.dim, l), 0, 2, 1)
	tokens = g.Op("Add", nil, tokens, g.Weight(v.positions.Name, torch.Values[float32](v.positionsAt(h, w)), 1, l, v.dim))
	first := torch.Values[float32](v.class.T.Add(v.positions.T.Narrow(1, 0, 1)))
	class := g.Op("Expand", nil, g.Weight(v.class.Name, first, 1, 1, v.dim), g.Concat(0, g.Sizes(x.V, 0, 1), g.Ints(1, v.dim)))
	tokens = g.Concat(1, class, tokens)
	if v.first != nil {
		tokens = v.first.graph(g, tokens)
	}
	for _, k := range v.blocks {
		tokens = k.graph(g, tokens, l+1)
	}
	raw := tokens
	tokens = v.norm.graph(g, raw)
	c[3] = Map{g.Reshape(g.Permute(g.Slice(tokens, 1, 1, l+1), 0, 2, 1), 0, v.dim, h, w), v.dim, h, w}
	if v.mean {
		return c, v.norm.graph(g, g.Op("ReduceMean", graph.Attrs{"axes": []int64{1}, "keepdims": 0}, g.Slice(raw, 1, 1, l+1)))
	}
	return c, g.Op("Gather", graph.Attrs{"axis": 1}, tokens, g.Int(0))
}

func (n *fpn) graph(g *graph.Graph, c [4]Map) (p [6]Map) {
	var top Map
	for i := 3; i >= 0; i-- {
		x := n.lateral[i].Graph(g, c[i])
		if top.V != "" {
			x = x.op(g, "Add", top.nearest(g, x.H, x.W).V)
		}
		top = x
		p[i] = n.output[i].Graph(g, x)
	}
	p[4], p[5] = n.coarse.graph(g, p[3])
	return p
}

func (c coarse) graph(g *graph.Graph, p5 Map) (p6, p7 Map) {
	p6 = c.p6.Graph(g, p5)
	return p6, c.p7.Graph(g, p6.Relu(g))
}

func (n *simplePyramid) graph(g *graph.Graph, c [4]Map) (p [6]Map) {
	for i, s := range n.levels {
		p[i] = s.graph(g, c[3])
	}
	p[4], p[5] = n.coarse.graph(g, p[3])
	return p
}

func (s *scale) graph(g *graph.Graph, x Map) Map {
	for i, up := range s.up {
		if i > 0 {
			x = s.between[i-1].mapGraph(g, x)
			x.V = gelu(g, x.V)
		}
		x = up.Graph(g, x)
	}
	if s.pool > 1 {
		x = x.maxPool(g, s.pool, s.pool, 0)
	}
	for i, c := range s.conv {
		x = s.norm[i].mapGraph(g, c.Graph(g, x))
	}
	return x
}

// Graph runs the trunk on normalised images of a side.
func (t *Trunk) Graph(g *graph.Graph, x graph.Value, size int64) *Maps {
	c, pooled := t.Backbone.graph(g, Map{x, 3, size, size})
	m := &Maps{C5: c[3], Size: size, pooled: pooled}
	if t.neck != nil {
		m.P = t.neck.graph(g, c)
	}
	return m
}

// Level returns a level of the pyramid, 2 to 7.
func (m *Maps) Level(l int) Map { return m.P[l-2] }

// Pooled returns the feature of the whole image, [N, C].
func (m *Maps) Pooled(g *graph.Graph) graph.Value {
	if m.pooled == "" {
		m.pooled = g.Op("Flatten", graph.Attrs{"axis": 1}, g.Op("GlobalAveragePool", nil, m.C5.V))
	}
	return m.pooled
}

// Fused returns the sum of all levels rescaled to P2.
func (m *Maps) Fused(g *graph.Graph) Map {
	if m.fused.V == "" {
		m.fused = m.P[0]
		for _, p := range m.P[1:] {
			m.fused = m.fused.op(g, "Add", p.Bilinear(g, m.fused.H, m.fused.W).V)
		}
	}
	return m.fused
}
