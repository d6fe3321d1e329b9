package stage

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"must/checkpoint"
	"must/model"
	"must/network"
	"must/recipe"
	"must/strict"
	"must/torch"
)

// Sources are train stages or files of weights: one for all seeds, or one for each, which were pretrained by
// seeds of their own. In a recipe one may stand by itself.
type Sources []string

// UnmarshalYAML reads a name or a list of names.
func (s *Sources) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.SequenceNode); ok {
		return strict.Decode(n, (*[]string)(s))
	}
	*s = make(Sources, 1)
	return strict.Decode(n, &(*s)[0])
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s Sources) MarshalYAML() (any, error) {
	if len(s) == 1 {
		return s[0], nil
	}
	return []string(s), nil
}

// at returns that of a seed by its place; "" is from scratch.
func (s Sources) at(seed int) string {
	switch len(s) {
	case 0:
		return ""
	case 1:
		return s[0]
	}
	return s[seed]
}

// A Pretrained is what training begins from. In a recipe it may be the name alone.
type Pretrained struct {
	From    Sources         `yaml:"from"`              // whose backbone it brings along; "": from scratch
	Partial bool            `yaml:"partial,omitempty"` // the file may lack a part of the backbone, or have more of it
	Model   *recipe.Changes `yaml:"model,omitempty"`   // to the recipe's architecture, from scratch
	With    *recipe.Changes `yaml:"with,omitempty"`    // to the train settings, for what its backbone needs
}

// UnmarshalYAML reads a name or a mapping.
func (p *Pretrained) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.MappingNode); !ok {
		return strict.Decode(n, &p.From)
	}
	type plain Pretrained
	return strict.Decode(n, (*plain)(p))
}

// MarshalYAML writes what UnmarshalYAML reads.
func (p *Pretrained) MarshalYAML() (any, error) {
	if p.Model == nil && p.With == nil && !p.Partial {
		return p.From.MarshalYAML()
	}
	type plain Pretrained
	return (*plain)(p), nil
}

// checkPretrained tells what is wrong with some, by name, for so many seeds.
func (e *Env) checkPretrained(from map[string]*Pretrained, seeds int) error {
	for _, name := range recipe.Names(from) {
		p := from[name]
		if p == nil {
			p = &Pretrained{}
			from[name] = p
		}
		if !recipe.Plain(name) || name == imagePicture || name == truthPicture {
			return fmt.Errorf("from: %q: its name is that of a folder too; choose another plain word", name)
		}
		if p.From.at(0) != "" && p.Model != nil {
			return fmt.Errorf("from: %q: model is for training from scratch; %s brings its own", name, p.From.at(0))
		}
		if n := len(p.From); n > 1 && n < seeds {
			return fmt.Errorf("from: %q: %d pretrained weights for %d seeds; name one for all seeds, or one for each", name, n, seeds)
		}
		if _, err := e.Architecture(p.Model); err != nil {
			return fmt.Errorf("from: %q: %w", name, err)
		}
	}
	return nil
}

// pretrained adds some, by name, with the settings of their own.
func (in *Inputs) pretrained(e *Env, from map[string]*Pretrained, seeds int) error {
	for _, name := range recipe.Names(from) {
		p := from[name]
		in.Add("from."+name, p.From)
		for i := range max(1, min(len(p.From), seeds)) {
			in.From = append(in.From, Source{Name: p.From.at(i)})
		}
		if p.Partial {
			in.Add("from."+name+".partial", true)
		}
		m, err := e.Architecture(p.Model)
		if err != nil {
			return err
		}
		if p.Model != nil {
			in.Add("from."+name+".model", m)
		}
		c, err := e.Settings(p.With)
		if err != nil {
			return err
		}
		if p.With != nil {
			in.Add("from."+name+".with", relevant(c))
		}
	}
	return nil
}

// architecture returns the one that pretrained weights bring.
func (p *Pretrained) architecture(e *Env) (model.Config, error) {
	if t, ok := find[*Train](e, p.From.at(0)); ok {
		return e.Architecture(t.Model)
	}
	if p.From.at(0) == "" {
		return e.Architecture(p.Model)
	}
	c, err := checkpoint.ReadPretrained(p.From.at(0))
	if err != nil {
		return model.Config{}, err
	}
	return e.Model.On(c.Spec.Model), nil
}

// backbone builds the network, without heads.
func (p *Pretrained) backbone(e *Env) (net *network.Network, err error) {
	if p.From.at(0) != "" {
		c, err := checkpoint.ReadPretrained(e.checkpoint(p.From.at(0)))
		if err != nil {
			return nil, err
		}
		return c.Backbone()
	}
	spec := e.Spec(nil, network.Spec{}.Labels)
	if spec.Model, err = e.Architecture(p.Model); err != nil {
		return nil, err
	}
	err = torch.DoErr(func() error {
		net, err = network.NewBackbone(spec, e.Seed)
		return err
	})
	return net, err
}
