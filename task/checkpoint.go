package task

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"must/torch"
	"must/weights"
)

// Training says how a network came to be; it travels with the weights. Batch and LR enter the
// student's loss weights (MuST §3.2).
type Training struct {
	Batch   int      `json:"batch"`
	LR      float64  `json:"lr"`
	Steps   int      `json:"steps"`
	Seed    uint64   `json:"seed"`
	Data    []string `json:"data,omitempty"`  // what it was trained on
	Start   string   `json:"start,omitempty"` // sha256 of the weights it started from
	Version string   `json:"version"`         // of the program
}

const (
	specKey     = "must.spec"
	trainingKey = "must.training"
	formatKey   = "must.format"
	format      = "1"
)

// A Checkpoint is a file of weights and all that is needed to use them; docs/weights.md has its
// fields.
type Checkpoint struct {
	Spec     Spec
	Training Training
	State    map[string][]float32
	SHA256   string // of the file

	foreign *foreign // of another program; State is nil then
}

// Save writes weights in the layout of the network. State may differ from the network's own: the
// moving average of its weights, say.
func (n *Network) Save(path string, state map[string][]float32, t Training) error {
	spec, err := json.Marshal(n.Spec)
	if err != nil {
		return err
	}
	training, err := json.Marshal(t)
	if err != nil {
		return err
	}
	var tensors []weights.Tensor
	for _, p := range n.Set.All() {
		tensors = append(tensors, weights.FromFloat32s(p.Name, p.Shape, state[p.Name]))
	}
	return weights.Write(path, map[string]string{formatKey: format, specKey: string(spec), trainingKey: string(training)}, tensors)
}

// ReadCheckpoint reads a file that Save wrote.
func ReadCheckpoint(path string) (*Checkpoint, error) {
	r, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c := &Checkpoint{State: map[string][]float32{}}
	switch f := r.Metadata[formatKey]; f {
	case format:
	case "":
		return nil, fmt.Errorf("%s: weights, but not a checkpoint of this program (no %s in its metadata); `must import` makes one of torchvision's and timm's", path, formatKey)
	default:
		return nil, fmt.Errorf("%s: checkpoint format %s; this program reads %s", path, f, format)
	}
	for key, to := range map[string]any{specKey: &c.Spec, trainingKey: &c.Training} {
		if err := json.Unmarshal([]byte(r.Metadata[key]), to); err != nil {
			return nil, fmt.Errorf("%s: metadata %s: %w", path, key, err)
		}
	}
	for _, name := range r.Names() {
		t, err := r.Read(name)
		if err != nil {
			return nil, err
		}
		if c.State[name], err = weights.Float32s(t); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if c.SHA256, err = weights.Hash(path); err != nil {
		return nil, err
	}
	return c, nil
}

// Load builds the network of a checkpoint. The caller frees it.
func Load(path string) (*Network, *Checkpoint, error) {
	c, err := ReadCheckpoint(path)
	if err != nil {
		return nil, nil, err
	}
	n, err := c.network()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, c, nil
}

func (c *Checkpoint) network() (*Network, error) {
	if c.Spec.Pretext != "" {
		return nil, fmt.Errorf("it was pretrained by %s and has no task yet; start another training from it", c.Spec.Pretext)
	}
	n, err := declare(c.Spec, nil)
	if err != nil {
		return nil, err
	}
	// Before memory is taken for what the file only claims to hold.
	missing, unused, err := n.Set.Compare(c.State)
	switch {
	case err != nil:
		return nil, err
	case len(missing) > 0:
		return nil, fmt.Errorf("%d of the network's tensors are missing, such as %s; save the checkpoint anew", len(missing), missing[0])
	case len(unused) > 0:
		return nil, fmt.Errorf("%d tensors are not the network's, such as %s; save the checkpoint anew", len(unused), unused[0])
	}
	return n, torch.DoErr(func() error {
		n.Set.Allocate()
		n.normalise()
		_, _, err := n.Set.Load(c.State)
		return err
	})
}

// Start copies what a checkpoint and the network have in common: the trunk, and with heads set also
// the heads that have the same outputs. The architectures of the trunks must agree. The network
// normalises images as the weights are used to from then on. Call it in torch.Do.
func (n *Network) Start(c *Checkpoint, heads bool) (*Started, error) {
	var s *Started
	var err error
	if c.foreign != nil {
		s, err = n.startForeign(c.foreign, heads)
	} else {
		s, err = n.start(c, heads)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(s.Fresh)
	n.Mean, n.Std = c.Spec.Mean, c.Spec.Std
	n.mean.Free()
	n.std.Free()
	n.normalise()
	return s, nil
}

func (n *Network) start(c *Checkpoint, heads bool) (s *Started, err error) {
	if err := n.Model.Same(c.Spec.Model); err != nil {
		return nil, err
	}
	s = &Started{From: "the checkpoint"}
	sizes := map[string]int64{}
	for _, p := range n.Set.All() {
		sizes[p.Name] = p.Len()
	}
	state := map[string][]float32{}
	for name, v := range c.State {
		switch {
		case !heads && strings.HasPrefix(name, "heads."):
			s.Unused = append(s.Unused, Unused{name, "a head"})
		case sizes[name] != int64(len(v)):
			s.Unused = append(s.Unused, Unused{name, "nothing here is of its name and size"})
		default:
			state[name] = v
			s.Taken = append(s.Taken, name)
		}
	}
	slices.Sort(s.Taken)
	slices.SortFunc(s.Unused, func(a, b Unused) int { return strings.Compare(a.Name, b.Name) })
	s.Fresh, _, err = n.Set.Load(state)
	return s, err
}
