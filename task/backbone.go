package task

import (
	"fmt"

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
// checkpoint was trained for and by which program. The caller frees it.
func (c *Checkpoint) Backbone() (*Network, error) {
	s := c.Spec
	s.Tasks, s.Pretext = nil, features
	n, err := declare(s, nil)
	if err != nil {
		return nil, err
	}
	if !c.Foreign() { // before memory is taken for what the file only claims to hold
		if missing, _, err := n.Set.Compare(c.State); err != nil {
			return nil, err
		} else if len(missing) > 0 {
			return nil, lacking(missing)
		}
	}
	err = torch.DoErr(func() error {
		n.Set.Allocate()
		n.normalise()
		started, err := n.Start(c, false)
		if err == nil && len(started.Fresh) > 0 {
			err = lacking(started.Fresh)
		}
		if err != nil {
			n.Free()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

func lacking(names []string) error {
	return fmt.Errorf("%d of the backbone's tensors are missing, such as %s: take a file that has all of them", len(names), names[0])
}
