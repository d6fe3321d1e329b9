package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"must/strict"
)

// A Config is the architecture that all models of a recipe share, so that gains come from data and
// not from capacity (MuST §3.1). The defaults are the widths of the field. In files the settings of the
// backbone stand beside the others: {backbone: resnet50, width: 1, fpn: 256, …}.
type Config struct {
	Backbone BackboneConfig `yaml:"-" json:"-"`

	Norm string `yaml:"norm,omitempty" json:"norm,omitempty"` // of resnet, pyramid and heads: batch (also ""), or group, which is the same whatever the batch and however it is cut up

	FPN   int64 `yaml:"fpn" json:"fpn"`   // channels of the pyramid
	Head  int64 `yaml:"head" json:"head"` // channels of the heads' convolutions
	BoxFC int64 `yaml:"box_fc" json:"box_fc"`
}

// A BackboneConfig is the settings of one kind of backbone: a comparable struct, whose fields are its
// keys in files.
type BackboneConfig interface {
	fmt.Stringer // for people, such as "ResNet-50 of width 1"

	// Name is that of the backbone in recipes, such as resnet50. Without a number at its end it is the
	// kind's.
	Name() string

	// Check tells what is wrong with the settings.
	Check() error

	// CheckSize tells whether images of a side in pixels suit the backbone.
	CheckSize(size int) error

	// plain returns the settings with their defaults written out, to be compared.
	plain() BackboneConfig

	// build declares the backbone.
	build(b Builder) Backbone
}

// backbones are those that a [Config] may name.
var backbones = slices.Concat(resnets, bits, []BackboneConfig{
	ViTConfig{},
})

// Backbones lists their names.
func Backbones() (names []string) {
	for _, c := range backbones {
		names = append(names, c.Name())
	}
	return names
}

// kind is the name of a backbone without the number of its layers.
func kind(name string) string { return strings.TrimRight(name, "0123456789") }

// The norms that models have a choice of.
const (
	NormBatch = "batch"
	NormGroup = "group"
)

// DefaultConfig is ResNet-50 with the published widths.
func DefaultConfig() Config {
	return Config{Backbone: ResNetConfig{Layers: 50, Width: 1}, FPN: 256, Head: 256, BoxFC: 1024}
}

// Check tells what is wrong with a configuration.
func (c Config) Check() error {
	if err := c.checkBackbone(); err != nil {
		return err
	}
	if c.Norm != "" && c.Norm != NormBatch && c.Norm != NormGroup {
		return fmt.Errorf("model.norm is %q; it must be %s or %s", c.Norm, NormBatch, NormGroup)
	}
	return inRange(1, 8192, field{"fpn", c.FPN}, field{"head", c.Head}, field{"box_fc", c.BoxFC})
}

func (c Config) checkBackbone() error {
	if c.Backbone == nil {
		return fmt.Errorf("model.backbone is missing; it must be one of %s", strings.Join(Backbones(), ", "))
	}
	return c.Backbone.Check()
}

type field struct {
	name  string
	value int64
}

func inRange(least, most int64, fields ...field) error {
	for _, f := range fields {
		if f.value < least || f.value > most {
			return fmt.Errorf("model.%s is %d; it must be between %d and %d", f.name, f.value, least, most)
		}
	}
	return nil
}

// Same returns an error that names both where the trunks of two configurations differ, and weights
// of the one do not fit the other. Widths of heads do not count.
func (c Config) Same(o Config) error {
	if c.trunk() != o.trunk() {
		return fmt.Errorf("the checkpoint has a %v; this model a %v", o, c)
	}
	return nil
}

// trunk returns c without what only heads read, and of defaults that are written out or not one form.
func (c Config) trunk() Config {
	c.Head, c.BoxFC = 0, 0
	if c.Norm == NormBatch {
		c.Norm = ""
	}
	if c.Backbone != nil {
		c.Backbone = c.Backbone.plain()
	}
	return c
}

// On returns c with the backbone of another configuration.
func (c Config) On(o Config) Config {
	o.FPN, o.Head, o.BoxFC = c.FPN, c.Head, c.BoxFC
	return o
}

// String names the trunk, such as "ResNet-50 of width 1 with 256 pyramid channels".
func (c Config) String() string {
	if c.Backbone == nil {
		return "model without a backbone"
	}
	s := c.Backbone.String()
	if c.Norm == NormGroup {
		s += ", group norms"
	}
	if strings.Contains(s, ", ") {
		s += ","
	}
	return fmt.Sprintf("%s with %d pyramid channels", s, c.FPN)
}

// others are the keys of a configuration that are not the backbone's.
type others Config

// MarshalYAML writes what UnmarshalYAML reads.
func (c Config) MarshalYAML() (any, error) {
	if c.Backbone == nil {
		return others(c), nil
	}
	return strict.Join(struct {
		Backbone string `yaml:"backbone"`
	}{c.Backbone.Name()}, c.Backbone, others(c))
}

// UnmarshalYAML changes what is named. Of a backbone of another kind, settings that have the same key in
// both stay.
func (c *Config) UnmarshalYAML(n ast.Node) error {
	var named struct {
		Backbone string `yaml:"backbone"`
		Depth    any    `yaml:"depth"`
	}
	n, err := strict.Part(n, &named)
	if err != nil {
		return err
	}
	if named.Depth != nil {
		return fmt.Errorf(`model.depth is part of the backbone's name now: write backbone: resnet%v, or bit%[1]v`, named.Depth)
	}
	was := c.Backbone
	if named.Backbone != "" {
		at := slices.IndexFunc(backbones, func(b BackboneConfig) bool { return b.Name() == named.Backbone })
		if at < 0 {
			return fmt.Errorf("model.backbone is %q; it must be one of %s", named.Backbone, strings.Join(Backbones(), ", "))
		}
		c.Backbone = backbones[at]
	} else if was == nil {
		return fmt.Errorf("model.backbone is missing; it must be one of %s", strings.Join(Backbones(), ", "))
	}
	if n, err = strict.Part(n, (*others)(c)); err != nil {
		return err
	}
	settings := reflect.New(reflect.TypeOf(c.Backbone)) // of the kind, to be filled
	settings.Elem().Set(reflect.ValueOf(c.Backbone))
	if was != nil {
		text, err := yaml.Marshal(was)
		if err == nil {
			err = yaml.Unmarshal(text, settings.Interface())
		}
		if err != nil {
			return err
		}
	}
	if !slices.Contains(strict.Keys(settings.Type().Elem()), "width") { // of the recipe's other networks, perhaps
		if n, err = strict.Part(n, &struct {
			Width any `yaml:"width"`
		}{}); err != nil {
			return err
		}
	}
	for _, b := range backbones {
		for _, key := range strict.Unknown(n, settings.Interface()) {
			if kind(b.Name()) != kind(c.Backbone.Name()) && slices.Contains(strict.Keys(reflect.TypeOf(b)), key) {
				return fmt.Errorf("model.%s is of %s; the backbone is %s: leave it out", key, kind(b.Name()), c.Backbone.Name())
			}
		}
	}
	keys := slices.Concat([]string{"backbone"}, strict.Keys(reflect.TypeFor[others]()), strict.Keys(settings.Type()))
	if err := strict.DecodeAmong(n, settings.Interface(), keys); err != nil {
		return err
	}
	c.Backbone = settings.Elem().Interface().(BackboneConfig)
	return nil
}

// FileKeys lists the keys of all configurations.
func (Config) FileKeys() []string {
	keys := append([]string{"backbone"}, strict.Keys(reflect.TypeFor[others]())...)
	for _, b := range backbones {
		keys = append(keys, strict.Keys(reflect.TypeOf(b))...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// MarshalJSON writes what UnmarshalJSON reads: in checkpoints a backbone is named by its kind, "" for a
// resnet, and its layers are its depth.
func (c Config) MarshalJSON() ([]byte, error) {
	var parts [][]byte
	for _, v := range []any{struct {
		Backbone string `json:"backbone,omitempty"`
	}{c.storedKind()}, c.Backbone, others(c)} {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if len(b) > len("{}") && b[0] == '{' { // null is no backbone
			parts = append(parts, b[1:len(b)-1])
		}
	}
	return slices.Concat([]byte("{"), bytes.Join(parts, []byte(",")), []byte("}")), nil
}

func (c Config) storedKind() string {
	if c.Backbone == nil || kind(c.Backbone.Name()) == kind(resnets[0].Name()) {
		return ""
	}
	return kind(c.Backbone.Name())
}

// UnmarshalJSON reads the configuration of a checkpoint.
func (c *Config) UnmarshalJSON(text []byte) error {
	var named struct {
		Backbone string `json:"backbone"`
	}
	if err := json.Unmarshal(text, &named); err != nil {
		return err
	}
	for _, b := range backbones {
		if kind(b.Name()) != named.Backbone && (named.Backbone != "" || kind(b.Name()) != kind(resnets[0].Name())) {
			continue
		}
		settings := reflect.New(reflect.TypeOf(b))
		if err := json.Unmarshal(text, settings.Interface()); err != nil {
			return err
		}
		c.Backbone = settings.Elem().Interface().(BackboneConfig)
		return json.Unmarshal(text, (*others)(c))
	}
	return fmt.Errorf("its backbone is %q; this program has %s", named.Backbone, strings.Join(Backbones(), ", "))
}
