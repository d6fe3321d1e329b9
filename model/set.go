// Package model holds the network that teachers, student and transfer models share: parameters by
// name, layers, the backbones (ResNet, BiT's ResNet-v2, ViT) and the feature pyramids. Heads belong to
// package task.
package model

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"must/torch"
)

// A Param is a tensor with a name: a trained parameter or a buffer such as a running mean.
type Param struct {
	Name  string
	Shape []int64
	T     *torch.Tensor // set by [Set.Build]

	init  Init
	decay bool
	at    int64 // offset in the flat buffer
}

// Len returns the number of values.
func (p *Param) Len() int64 {
	n := int64(1)
	for _, s := range p.Shape {
		n *= s
	}
	return n
}

// An Init fills fresh parameter values. A parameter's generator depends on the seed and its name only,
// so that a layer starts alike whatever else the model holds.
type Init func(v []float32, rng *rand.Rand)

// Constant fills with one value.
func Constant(c float32) Init {
	return func(v []float32, _ *rand.Rand) {
		for i := range v {
			v[i] = c
		}
	}
}

// Normal draws from a normal distribution of mean 0.
func Normal(std float64) Init {
	return func(v []float32, rng *rand.Rand) {
		for i := range v {
			v[i] = float32(rng.NormFloat64() * std)
		}
	}
}

// Kaiming is He's initialisation for layers followed by a ReLU: std = √(2 / fan).
func Kaiming(fan int64) Init { return Normal(math.Sqrt(2 / float64(fan))) }

// Glorot is the initialisation of layers that no ReLU follows: std = √(2 / (in + out)).
func Glorot(in, out int64) Init { return Normal(math.Sqrt(2 / float64(in+out))) }

// A Set holds the parameters and buffers of a model in flat memory. Parameters that weight decay
// applies to (weights; not norms and biases) come first, so that a step is two fused operators.
type Set struct {
	Params  []*Param
	Buffers []*Param

	Flat    *torch.Flat // of Params
	Stats   *torch.Flat // of Buffers
	Decayed int64       // number of leading values in Flat that decay

	names map[string]bool
	convs []*Conv
}

// A Builder declares parameters under a common prefix.
type Builder struct {
	set    *Set
	prefix string
	groups bool // group norms in place of batch norms
}

// NewSet returns an empty set and the builder of its top level.
func NewSet() (*Set, Builder) {
	s := &Set{names: map[string]bool{}}
	return s, Builder{set: s}
}

// In returns a builder for a part of the model.
func (b Builder) In(name string) Builder {
	b.prefix += name + "."
	return b
}

// GroupNorms returns a builder that declares group norms where others declare batch norms.
func (b Builder) GroupNorms() Builder {
	b.groups = true
	return b
}

func (b Builder) declare(name string, init Init, decay bool, shape []int64) *Param {
	p := &Param{Name: b.prefix + name, Shape: shape, init: init, decay: decay}
	if b.set.names[p.Name] {
		panic("model: parameter " + p.Name + " declared twice")
	}
	b.set.names[p.Name] = true
	return p
}

// Weight declares a parameter that decays.
func (b Builder) Weight(name string, init Init, shape ...int64) *Param {
	p := b.declare(name, init, true, shape)
	b.set.Params = append(b.set.Params, p)
	return p
}

// Bias declares a parameter that does not decay: a bias, or the gain of a norm.
func (b Builder) Bias(name string, init Init, shape ...int64) *Param {
	p := b.declare(name, init, false, shape)
	b.set.Params = append(b.set.Params, p)
	return p
}

// Buffer declares a tensor that is saved but not trained.
func (b Builder) Buffer(name string, init Init, shape ...int64) *Param {
	p := b.declare(name, init, false, shape)
	b.set.Buffers = append(b.set.Buffers, p)
	return p
}

// Build allocates and initialises all that was declared. Call it once, within torch.Do.
func (s *Set) Build(seed uint64) {
	s.Allocate()
	for f, ps := range map[*torch.Flat][]*Param{s.Flat: s.Params, s.Stats: s.Buffers} {
		v := make([]float32, f.Data.Len())
		for _, p := range ps {
			h := fnv.New64a()
			h.Write([]byte(p.Name))
			p.init(v[p.at:p.at+p.Len()], rand.New(rand.NewPCG(seed, h.Sum64())))
		}
		torch.Load(f.Data, v)
	}
}

// Allocate is Build without the initial values, for a set that is loaded next.
func (s *Set) Allocate() { s.allocate(torch.Float) }

// Double moves the set to float64, for comparisons of gradients. In float32 rounding decides on which side
// of a ReLU a value near zero falls, and every processor, thread count and libtorch rounds in its own way.
func (s *Set) Double() {
	state := s.State()
	s.Free()
	s.allocate(torch.Double)
	if _, _, err := s.Load(state); err != nil {
		panic(err) // the state is its own
	}
}

func (s *Set) allocate(d torch.DType) {
	var decayed, plain []*Param
	s.Decayed = 0
	for _, p := range s.Params {
		if p.decay {
			decayed = append(decayed, p)
			s.Decayed += p.Len()
		} else {
			plain = append(plain, p)
		}
	}
	s.Params = append(decayed, plain...)
	s.Flat = allocate(d, s.Params, true)
	s.Stats = allocate(d, s.Buffers, false)
}

func allocate(d torch.DType, ps []*Param, grad bool) *torch.Flat {
	shapes, at := make([][]int64, len(ps)), int64(0)
	for i, p := range ps {
		shapes[i] = p.Shape
		p.at = at
		at += p.Len()
	}
	f := torch.NewFlat(d, shapes, grad)
	for i, p := range ps {
		p.T = f.Params[i]
	}
	return f
}

// Fuse prepares the layers for predictions, which is all that they do from then on: batch norms are
// folded into the convolutions before them, weights are standardised and laid out once, and ReLUs and
// sums are computed with the convolution before them. The set holds what is left, without gradients.
// Call it in torch.Do.
func (s *Set) Fuse() {
	fused := map[*Param]bool{}
	torch.NoGrad(func() {
		for _, c := range s.convs {
			if c.norm != nil && c.norm.group != nil {
				continue // it depends on the image
			}
			torch.Scope(func() {
				w, b := c.weight(c.w.T), like(c.b, c.w.T)
				if n := c.norm; n != nil {
					folded, bias := n.fold(values(c.w))
					w, b = torch.From(folded, c.w.Shape...), torch.From(bias, c.w.Shape[0])
					fused[n.w], fused[n.b], fused[n.mean], fused[n.variance] = true, true, true, true
				}
				c.fused = torch.NewFusedConv(w, b, c.stride, c.pad, c.groups)
				fused[c.w], fused[c.b] = true, true
			})
		}
		s.drop(fused)
	})
}

// drop takes parameters and buffers out of the set.
func (s *Set) drop(gone map[*Param]bool) {
	for _, part := range []struct {
		flat   **torch.Flat
		params *[]*Param
	}{{&s.Flat, &s.Params}, {&s.Stats, &s.Buffers}} {
		*part.params = slices.DeleteFunc(*part.params, func(p *Param) bool { return gone[p] })
		before := map[*Param]*torch.Tensor{}
		for _, p := range *part.params {
			before[p] = p.T
		}
		flat := allocate((*part.flat).Data.DType(), *part.params, false)
		for p, t := range before {
			p.T.Copy(t)
		}
		(*part.flat).Free()
		*part.flat = flat
	}
}

// Free releases all tensors of the set.
func (s *Set) Free() {
	for _, c := range s.convs {
		if c.fused != nil {
			c.fused.Free()
		}
	}
	s.Flat.Free()
	s.Stats.Free()
}

// All returns parameters and buffers.
func (s *Set) All() []*Param { return slices.Concat(s.Params, s.Buffers) }

// State returns all values by name, copied.
func (s *Set) State() map[string][]float32 {
	state := map[string][]float32{}
	params, stats := torch.Values[float32](s.Flat.Data.As(torch.Float)), torch.Values[float32](s.Stats.Data.As(torch.Float))
	for _, p := range s.Params {
		state[p.Name] = params[p.at : p.at+p.Len()]
	}
	for _, p := range s.Buffers {
		state[p.Name] = stats[p.at : p.at+p.Len()]
	}
	return state
}

// Compare returns the names of the set that state is missing and those of state that the set has no
// use for; a value of the wrong length is an error. It needs no memory of the set's.
func (s *Set) Compare(state map[string][]float32) (missing, unused []string, err error) {
	for _, p := range s.All() {
		v, ok := state[p.Name]
		if !ok {
			missing = append(missing, p.Name)
		} else if int64(len(v)) != p.Len() {
			return nil, nil, fmt.Errorf("parameter %s has %d values where the model of shape %v needs %d", p.Name, len(v), p.Shape, p.Len())
		}
	}
	for name := range state {
		if !s.names[name] {
			unused = append(unused, name)
		}
	}
	slices.Sort(unused)
	return missing, unused, nil
}

// Load copies values by name into the set, after [Set.Compare]. What is missing stays as it is; after
// an error all does.
func (s *Set) Load(state map[string][]float32) (missing, unused []string, err error) {
	if missing, unused, err = s.Compare(state); err != nil {
		return nil, nil, err
	}
	for f, ps := range map[*torch.Flat][]*Param{s.Flat: s.Params, s.Stats: s.Buffers} {
		flat := torch.Values[float32](f.Data.As(torch.Float))
		for _, p := range ps {
			copy(flat[p.at:], state[p.Name])
		}
		torch.Load(f.Data, flat)
	}
	return missing, unused, nil
}
