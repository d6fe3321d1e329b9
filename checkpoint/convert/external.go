// Package convert fills networks with weights that other programs wrote: by torchvision's and timm's
// names. It reads names and shapes, tells the architecture, and makes every parameter of what the file
// has for it. docs/weights.md lists the layouts.
package convert

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/model"
	"must/torch"
	"must/weights"
)

// External is a file of weights that another program wrote, and how its names become ours.
type External struct {
	Path      string
	Model     model.Config // what can be told of it; a ViT's heads are guessed
	Size      int          // side of the input in pixels that it is likely used to
	Mean, Std [3]float64   // of the input's channels, in 0…255, likewise

	layout layout
	prefix string             // before every name of the layout
	shapes map[string][]int64 // of all tensors of the file, by full name
}

// Recognise tells layout and architecture of a file that is open for reading.
func Recognise(path string, r *weights.Reader) (*External, error) {
	f := &External{Path: path, Size: 224, shapes: map[string][]int64{}}
	for _, name := range r.Names() {
		t, _ := r.Lookup(name)
		f.shapes[name] = t.Shape
	}
	if err := f.recognise(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Mean, f.Std = f.layout.mean, f.layout.std
	if f.Model.Backbone == model.BackboneViT {
		f.Size = int(f.Model.Patch * f.Model.Grid)
	}
	return f, nil
}

// recognise finds the layout, the prefix and the architecture.
func (f *External) recognise() error {
	for _, l := range layouts {
		var prefixes []string
		for name := range f.shapes {
			if p, ok := strings.CutSuffix(name, l.mark); ok && (p == "" || strings.HasSuffix(p, ".")) {
				prefixes = append(prefixes, p)
			}
		}
		if len(prefixes) == 0 {
			continue
		}
		// Of two copies the one that is meant to be used: teacher, not student; encoder_q, not encoder_k.
		f.prefix = slices.MinFunc(prefixes, func(a, b string) int {
			return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(b, a))
		})
		f.layout = l
		c, ok := l.config(f)
		if !ok || c.Check() != nil {
			return fmt.Errorf("a %s by its names, but of an architecture that is not among this program's: %v (docs/weights.md lists them)", l.name, c)
		}
		f.Model = c
		return nil
	}
	names := slices.Sorted(maps.Keys(f.shapes))
	return fmt.Errorf("weights of no known layout (torchvision's and timm's ResNets and ViTs, timm's BiT, torchvision's Mask R-CNN); its %d tensors are %s, …",
		len(names), strings.Join(names[:min(4, len(names))], ", "))
}

// shape returns that of a tensor of the layout, nil where there is none.
func (f *External) shape(name string) []int64 { return f.shapes[f.prefix+name] }

// architecture finds the depth and width whose convolutions the file has, and no others. Part is the
// common beginning of the blocks' names.
func (f *External) architecture(backbone, prefix, stem, part string) (c model.Config, ok bool) {
	shape := f.shape(prefix + stem)
	if len(shape) != 4 {
		return c, false
	}
	c = model.DefaultConfig()
	c.Backbone, c.Width = backbone, float64(shape[0])/64
	if shape[2] == 3 {
		c.Stem = model.StemSmall
	}
	convolution := func(name string) bool {
		return strings.HasPrefix(name, part) && strings.Contains(name, ".conv") && strings.HasSuffix(name, ".weight")
	}
	theirs := map[string]bool{}
	for name := range f.shapes {
		if name, ok := strings.CutPrefix(name, f.prefix+prefix); ok && convolution(name) {
			theirs[name] = true
		}
	}
	for _, c.Depth = range []int{18, 34, 50, 101, 152} {
		set, b := model.NewSet()
		if _, err := model.NewTrunk(b, c, false); err != nil {
			return c, false
		}
		ours := map[string]bool{}
		for _, p := range set.All() {
			if name := strings.TrimPrefix(p.Name, "backbone."); convolution(name) {
				ours[name] = true
			}
		}
		if maps.Equal(ours, theirs) {
			return c, true
		}
	}
	return c, false
}

// plan chooses what parameters are made of, heads only if asked for, and files in r what is taken and
// what is not.
func (f *External) plan(params []*model.Param, heads bool, r *Report) map[*model.Param]*source {
	sources := map[*model.Param]*source{}
	used, misfits := map[string]bool{}, map[string]string{}
	for _, p := range params {
		var from *source
		if heads || !strings.HasPrefix(p.Name, "heads.") {
			from = f.choose(p, misfits)
		}
		if from == nil {
			r.Fresh = append(r.Fresh, p.Name)
			continue
		}
		sources[p] = from
		r.Taken = append(r.Taken, p.Name)
		for _, name := range from.from {
			used[name] = true
		}
	}
	for full := range f.shapes {
		name, known := strings.CutPrefix(full, f.prefix)
		if known && used[name] || strings.HasSuffix(name, "num_batches_tracked") {
			continue
		}
		reason := cmp.Or(misfits[name], f.layout.reason(name), "nothing here corresponds to it")
		r.Unused = append(r.Unused, Unused{full, reason})
	}
	slices.SortFunc(r.Unused, func(a, b Unused) int { return strings.Compare(a.Name, b.Name) })
	return sources
}

// fill reads the values of those parameters that have a source, one at a time.
func (f *External) fill(params []*model.Param, sources map[*model.Param]*source) error {
	r, err := weights.Open(f.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, p := range params {
		from := sources[p]
		if from == nil {
			continue
		}
		var in []array
		for _, name := range from.from {
			t, err := r.Read(f.prefix + name)
			if err != nil {
				return err
			}
			if !slices.Equal(t.Shape, f.shape(name)) {
				return fmt.Errorf("%s: %s was changed meanwhile", f.Path, t.Name)
			}
			v, err := weights.Float32s(t)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			in = append(in, array{t.Shape, v})
		}
		v := in[0].values
		if from.make != nil {
			v = from.make(in, p.Shape)
		}
		torch.Load(p.T, v)
	}
	return nil
}

// choose returns the first source of a parameter that the file has in a shape that fits; others are
// noted by their first tensor.
func (f *External) choose(p *model.Param, misfits map[string]string) *source {
	for _, s := range f.layout.sources(p.Name) {
		var shapes [][]int64
		for _, name := range s.from {
			if shape, ok := f.shapes[f.prefix+name]; ok {
				shapes = append(shapes, shape)
			}
		}
		if len(shapes) < len(s.from) || s.needs != "" && f.shape(s.needs) == nil {
			continue
		}
		if s.fits == nil && slices.Equal(trimOnes(shapes[0], len(p.Shape)), p.Shape) || s.fits != nil && s.fits(shapes, p.Shape) {
			return &s
		}
		misfits[s.from[0]] = fmt.Sprintf("its shape is %v, that of %s %v", shapes[0], p.Name, p.Shape)
	}
	return nil
}

// trimOnes takes trailing ones off a shape that has more dimensions: a 1×1 convolution is a linear layer.
func trimOnes(shape []int64, dims int) []int64 {
	for len(shape) > dims && shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	return shape
}

// Fill reads what the file has for the parameters of a network of architecture want, heads only if
// asked for. Call it in torch.Do.
func (f *External) Fill(want model.Config, params []*model.Param, heads bool) (*Report, error) {
	have := f.Model
	have.FPN, have.Grid = want.FPN, want.Grid // the pyramid is listed, positions are resampled
	if have.Backbone == model.BackboneViT {
		have.Heads = want.Heads
	}
	if err := want.Same(have); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	r := &Report{From: fmt.Sprintf("%s (%s)", filepath.Base(f.Path), f.layout.name)}
	sources := f.plan(params, heads, r)
	backbone, taken := 0, 0
	for _, p := range params {
		if strings.HasPrefix(p.Name, "backbone.") {
			backbone++
			if sources[p] != nil {
				taken++
			}
		}
	}
	if 2*taken < backbone {
		return nil, fmt.Errorf("%s: a %s by its names, but of the backbone's %d tensors only %d fit: %s", f.Path, f.layout.name, backbone, taken, r.unused())
	}
	return r, f.fill(params, sources)
}

// A Report tells what a network took over from weights, all by name.
type Report struct {
	From   string   // the file and its layout; of a checkpoint of this program, its trunk
	Taken  []string // parameters and buffers of the network
	Fresh  []string // those that keep their fresh values
	Unused []Unused // tensors of the file
}

// Unused is a tensor that was not taken over.
type Unused struct{ Name, Reason string }

// String tells it in a few lines, with examples of what there is much of.
func (r *Report) String() string {
	text := fmt.Sprintf("from %s: %d tensors taken over", r.From, len(r.Taken))
	if len(r.Fresh) > 0 {
		var names []string
		for _, name := range r.Fresh {
			parts := strings.Split(name, ".")
			depth := 2 // neck.p6, heads.detection.box
			if parts[0] == "heads" {
				depth = 3
			}
			names = append(names, strings.Join(parts[:min(depth, len(parts)-1)], "."))
		}
		text += fmt.Sprintf("\n  %d start afresh: %s", len(r.Fresh), strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", "))
	}
	if len(r.Unused) > 0 {
		text += fmt.Sprintf("\n  %d of the file unused: %s", len(r.Unused), r.unused())
	}
	return text
}

// unused groups what was not taken over by its reason.
func (r *Report) unused() string {
	groups := map[string][]string{}
	for _, u := range r.Unused {
		groups[u.Reason] = append(groups[u.Reason], u.Name)
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(groups)) {
		names := groups[reason]
		if len(names) > 2 {
			names = append(slices.Clip(names[:1]), fmt.Sprintf("%d more", len(names)-1))
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.Join(names, ", "), reason))
	}
	if len(parts) > 4 {
		parts = append(parts[:3], fmt.Sprintf("and %d other reasons", len(parts)-3))
	}
	return strings.Join(parts, "; ")
}

// Classes tells how many classes the classifier or the detector of the file knows, 0 if there is none,
// and which of the two tasks it is.
func (f *External) Classes() (task string, n int) {
	shape := f.shape(f.layout.classifier)
	if len(shape) < 2 {
		return "", 0
	}
	if strings.HasPrefix(f.layout.classifier, "roi_heads.") {
		return data.Detection, int(shape[0]) - 1 // without the background
	}
	return data.Classification, int(shape[0])
}

// Masks tells whether the detector draws masks.
func (f *External) Masks() bool {
	return f.shape("roi_heads.mask_predictor.mask_fcn_logits.weight") != nil
}
