// Package checkpoint reads and writes trained networks with all that is needed to use them, and fills
// networks with pretrained weights: those of this program, and by package convert those of others.
package checkpoint

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"must/checkpoint/convert"
	"must/data"
	"must/network"
	"must/task/classification"
	"must/task/detection"
	"must/torch"
	"must/weights"
)

// Training says how a network came to be; it travels with the weights. Batch, LR and Optimizer enter the
// student's loss weights (MuST §3.2).
type Training struct {
	Batch     int     `json:"batch"`
	LR        float64 `json:"lr"`
	Optimizer string  `json:"optimizer,omitempty"` // "": not known

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
	Spec     network.Spec
	Training Training
	State    map[string][]float32
	SHA256   string // of the file

	external *convert.External // of another program; State is nil then
}

// Save writes weights in the layout of a network. State may differ from the network's own: the
// moving average of its weights, say.
func Save(path string, n *network.Network, state map[string][]float32, t Training) error {
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

// Read reads a file that Save wrote.
func Read(path string) (*Checkpoint, error) {
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

// ReadPretrained reads weights to start from: a checkpoint of this program, or what torchvision or timm
// wrote, as safetensors or by torch.save. Of weights from outside the architecture and the
// normalisation of images are told; [Checkpoint.Fill] reads their values. docs/weights.md lists the
// layouts.
func ReadPretrained(path string) (*Checkpoint, error) {
	r, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Metadata[formatKey] != "" {
		return Read(path)
	}
	e, err := convert.Recognise(path, r)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{external: e}
	c.Spec = network.Spec{Model: e.Model, Detection: detection.DefaultConfig(), Size: e.Size, Mean: e.Mean, Std: e.Std}
	if c.SHA256, err = weights.Hash(path); err != nil {
		return nil, err
	}
	return c, nil
}

// External tells whether another program wrote the weights.
func (c *Checkpoint) External() bool { return c.external != nil }

// Load builds the network of a checkpoint. The caller frees it.
func Load(path string) (*network.Network, *Checkpoint, error) {
	c, err := Read(path)
	if err != nil {
		return nil, nil, err
	}
	n, err := c.network()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, c, nil
}

func (c *Checkpoint) network() (*network.Network, error) {
	if c.Spec.Pretext != "" {
		return nil, fmt.Errorf("it was pretrained by %s and has no task yet; start another training from it", c.Spec.Pretext)
	}
	n, err := network.Declare(c.Spec)
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
		n.Allocate()
		_, _, err := n.Set.Load(c.State)
		return err
	})
}

// Backbone builds the network of [network.NewBackbone] with the weights of a checkpoint, whatever the
// checkpoint was trained for and by which program. The caller frees it.
func (c *Checkpoint) Backbone() (*network.Network, error) {
	n, err := network.Declare(c.Spec.Backbone())
	if err != nil {
		return nil, err
	}
	if !c.External() { // before memory is taken for what the file only claims to hold
		if missing, _, err := n.Set.Compare(c.State); err != nil {
			return nil, err
		} else if len(missing) > 0 {
			return nil, lacking(missing)
		}
	}
	err = torch.DoErr(func() error {
		n.Allocate()
		report, err := c.Fill(n, Parts{})
		if err == nil && len(report.Fresh) > 0 {
			err = lacking(report.Fresh)
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

// Parts says what of a checkpoint goes into a network.
type Parts struct {
	Heads   bool // not the trunk alone, but also the heads that have the same outputs
	Partial bool // also from a file of others that lacks a part of the backbone, or has more of it
}

// Fill copies what a checkpoint and a network have in common. The architectures of the trunks must
// agree. The network normalises images as the weights are used to from then on. Call it in torch.Do.
func (c *Checkpoint) Fill(n *network.Network, parts Parts) (report *convert.Report, err error) {
	if c.external != nil {
		report, err = c.external.Fill(n.Model, n.Set.All(), parts.Heads, parts.Partial)
	} else {
		report, err = c.fill(n, parts.Heads)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(report.Fresh)
	n.Normalise(c.Spec.Mean, c.Spec.Std)
	return report, nil
}

func (c *Checkpoint) fill(n *network.Network, heads bool) (r *convert.Report, err error) {
	if err := n.Model.Same(c.Spec.Model); err != nil {
		return nil, err
	}
	r = &convert.Report{From: "the checkpoint"}
	sizes := map[string]int64{}
	for _, p := range n.Set.All() {
		sizes[p.Name] = p.Len()
	}
	state := map[string][]float32{}
	for name, v := range c.State {
		switch {
		case !heads && strings.HasPrefix(name, "heads."):
			r.Unused = append(r.Unused, convert.Unused{Name: name, Reason: "a head"})
		case sizes[name] != int64(len(v)):
			r.Unused = append(r.Unused, convert.Unused{Name: name, Reason: "nothing here is of its name and size"})
		default:
			state[name] = v
			r.Taken = append(r.Taken, name)
		}
	}
	slices.Sort(r.Taken)
	slices.SortFunc(r.Unused, func(a, b convert.Unused) int { return strings.Compare(a.Name, b.Name) })
	r.Fresh, _, err = n.Set.Load(state)
	return r, err
}

// Import builds the network of external weights with their head, which knows classes by these names in
// this order: a classifier, or a detector with masks (without the background). Change, if not nil, may
// set what of the specification the file does not tell. The caller frees the network.
func (c *Checkpoint) Import(classes []string, change func(s *network.Spec)) (n *network.Network, report *convert.Report, err error) {
	if c.external == nil {
		return nil, nil, fmt.Errorf("it is a checkpoint of this program already")
	}
	name, count := c.external.Classes()
	switch {
	case count < 1:
		return nil, nil, fmt.Errorf("%s has no classifier or detector to import; its trunk can be trained from as it is", c.external.Path)
	case len(classes) != count:
		return nil, nil, fmt.Errorf("%s knows %d classes, the list has %d", c.external.Path, count, len(classes))
	}
	s := c.Spec
	if s.Tasks = []string{name}; name == classification.Name {
		s.Labels = s.Labels.With(classification.Name, data.Meaning{Classes: classes})
	} else {
		s.Labels = s.Labels.With(name, data.Meaning{Classes: classes, Masks: c.external.Masks()})
	}
	if change != nil {
		change(&s)
	}
	as := *c // the weights, used to the normalisation that change may have set
	as.Spec = s
	err = torch.DoErr(func() error {
		if n, err = network.New(s, 1); err != nil {
			return err
		}
		if report, err = as.Fill(n, Parts{Heads: true}); err != nil {
			n.Free()
		}
		return err
	})
	return n, report, err
}
