package onnx

import (
	"fmt"
	"slices"
	"strings"

	"must/onnx/ort"
	"must/predict"
)

// What an input is given.
const (
	image  = "image"
	canvas = "size" // height and width of the image
	ones   = "ones"
)

// A plan says how a model is fed and read, as its declaration and its inputs and outputs tell.
type plan struct {
	feeds   []string // of each input, what it is given
	at      int      // of the image among them
	last    bool     // channels are the image's last dimension
	single  bool     // it has no dimension for several images
	batch   int      // images at once; 0: any number
	view    predict.View
	outputs []string // names
	roles   []string // what they are
	integer bool     // the first output is of integers
}

// newPlan fits a complete declaration to a model. Errors begin with the key that is wrong.
func newPlan(d *Declaration, inputs, outputs []ort.Port) (*plan, error) {
	p := &plan{}
	if err := p.input(d, inputs); err != nil {
		return nil, err
	}
	return p, p.output(d, outputs)
}

func (p *plan) input(d *Declaration, inputs []ort.Port) error {
	if len(inputs) == 0 {
		return fmt.Errorf("inputs: the model has none")
	}
	for name := range d.Inputs {
		if !slices.ContainsFunc(inputs, func(i ort.Port) bool { return i.Name == name }) {
			return fmt.Errorf("inputs: the model has none called %q", name)
		}
	}
	p.at = -1
	for i, port := range inputs {
		what := d.Inputs[port.Name]
		if what == "" && len(inputs) == 1 {
			what = image
		}
		switch {
		case what == "":
			return fmt.Errorf("inputs: say what %v is given: {%s: image}, size or ones", port, port.Name)
		case what == image && p.at >= 0:
			return fmt.Errorf("inputs: two of them are given the image")
		case what == image:
			p.at = i
		}
		p.feeds = append(p.feeds, what)
	}
	if p.at < 0 {
		return fmt.Errorf("inputs: none of them is given the image")
	}

	port := inputs[p.at]
	shape := port.Shape
	p.single = len(shape) == 3
	if len(shape) != 3 && len(shape) != 4 {
		return fmt.Errorf("inputs: %v takes no image: its dimensions are not [N, 3, H, W] or the like", port)
	}
	p.batch = 1
	if !p.single {
		p.batch, shape = int(max(shape[0], 0)), shape[1:]
	}
	if d.Batch != 0 {
		if p.batch != 0 && p.batch != d.Batch {
			return fmt.Errorf("batch is %d, and %v takes %d images", d.Batch, port, p.batch)
		}
		p.batch = d.Batch
	}
	h, w := shape[1], shape[2]
	switch {
	case shape[0] == 3 || shape[0] < 0 && shape[2] != 3:
	case shape[2] == 3:
		p.last, h, w = true, shape[0], shape[1]
	default:
		return fmt.Errorf("inputs: %v takes no colour image: neither its first nor its last dimension after N is 3", port)
	}
	if port.Type == ort.Uint8 && (d.Mean != nil || d.Std != nil || d.Range == 1) {
		return fmt.Errorf("mean, std and range are not for %v, which takes bytes", port)
	}

	size := d.Size
	if size.IsZero() {
		if h < 0 || w < 0 {
			return fmt.Errorf("size is missing: %v leaves it open; give a side, or [height, width]", port)
		}
		size = Size{int(h), int(w)}
	}
	if h >= 0 && int(h) != size.H || w >= 0 && int(w) != size.W {
		return fmt.Errorf("size is %d×%d (height × width), and %v takes another", size.H, size.W, port)
	}
	p.view = predict.View{W: size.W, H: size.H, Fit: d.Fit}
	if d.Fit == predict.Keep {
		if h >= 0 || w >= 0 {
			return fmt.Errorf("fit is keep, and %v takes images of one size: use stretch or letterbox", port)
		}
		if size.H != size.W {
			return fmt.Errorf("size is %d×%d; with fit keep it is the longer side, one number", size.H, size.W)
		}
		p.view.Multiple = d.Every
	}
	return nil
}

func (p *plan) output(d *Declaration, outputs []ort.Port) error {
	needed, optional := d.roles()
	used := map[string]bool{}
	take := func(role string, i int) {
		p.roles, p.outputs = append(p.roles, role), append(p.outputs, outputs[i].Name)
		used[outputs[i].Name] = true
		if len(p.outputs) == 1 {
			t := outputs[i].Type
			p.integer = t == ort.Int64 || t == ort.Int32 || t == ort.Uint8 || t == ort.Int8
		}
	}
	named := func(match func(name string) bool) int {
		at := -1
		for i, o := range outputs {
			if !used[o.Name] && match(o.Name) {
				if at >= 0 {
					return -1
				}
				at = i
			}
		}
		return at
	}
	for _, role := range append(slices.Clone(needed), optional) {
		if role == "" {
			continue
		}
		i := -1
		if name, ok := d.Outputs[role]; ok {
			if i = slices.IndexFunc(outputs, func(o ort.Port) bool { return o.Name == name }); i < 0 {
				return fmt.Errorf("outputs.%s: the model has no output %q", role, name)
			}
		} else if i = named(func(name string) bool { return name == role }); i < 0 {
			words := map[string][]string{"scores": {"score", "logit", "class", "conf"}, "boxes": {"box"}, "labels": {"label"}, "masks": {"mask"}}[role]
			i = named(func(name string) bool {
				return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(name), w) })
			})
		}
		if i < 0 && len(needed) == 1 && len(outputs) > 0 {
			i = 0 // the first is what the model is for, others help its training
		}
		if i < 0 && role == optional {
			continue
		}
		if i < 0 {
			return fmt.Errorf("outputs.%s: say which output it is: {%s: NAME}", role, role)
		}
		take(role, i)
	}
	return nil
}

// describe lists what a model takes and gives, for errors.
func describe(inputs, outputs []ort.Port) string {
	list := func(ports []ort.Port) string {
		words := make([]string, len(ports))
		for i, p := range ports {
			words[i] = p.String()
		}
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("the model takes %s\nand gives %s", list(inputs), list(outputs))
}
