package task

import (
	"fmt"
	"strings"

	"must/model"
	"must/torch"
)

// features stands for a pretext task in the specification of a network that only gives features.
const features = "features"

// NewBackbone builds a network with fresh parameters that has neither heads nor neck, whatever tasks s
// names: it gives [model.Features] and predicts nothing. The caller frees it. Call it in torch.Do.
func NewBackbone(s Spec, seed uint64) (*Network, error) {
	s.Tasks, s.Pretext = nil, features
	return NewPretext(s, seed, func(model.Builder, *Network) {})
}

// Backbone builds the network of [NewBackbone] with the weights of a checkpoint, whatever the
// checkpoint was trained for: tasks or a pretext task. The caller frees it.
func (c *Checkpoint) Backbone() (*Network, error) {
	if c.Foreign() {
		var n *Network
		err := torch.DoErr(func() (err error) {
			if n, err = NewBackbone(c.Spec, 1); err != nil {
				return err
			}
			if _, err = n.Start(c, false); err != nil {
				n.Free()
			}
			return err
		})
		return n, err
	}
	s := c.Spec
	s.Tasks, s.Pretext = nil, features
	n, err := declare(s, nil)
	if err != nil {
		return nil, err
	}
	state := map[string][]float32{}
	for name, v := range c.State {
		if strings.HasPrefix(name, "backbone.") {
			state[name] = v
		}
	}
	switch missing, unused, err := n.Set.Compare(state); {
	case err != nil:
		return nil, err
	case len(missing) > 0:
		return nil, fmt.Errorf("%d of the backbone's tensors are missing, such as %s; save the checkpoint anew", len(missing), missing[0])
	case len(unused) > 0:
		return nil, fmt.Errorf("%d tensors are not the backbone's, such as %s; save the checkpoint anew", len(unused), unused[0])
	}
	return n, torch.DoErr(func() error {
		n.Set.Allocate()
		n.normalise()
		_, _, err := n.Set.Load(state)
		return err
	})
}
