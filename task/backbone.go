package task

import "must/model"

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
