package task

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/model"
	classificationlabel "must/task/classification"
	detectionlabel "must/task/detection"
	"must/torch"
	"must/weights"
)

// A foreign is a file of weights that another program wrote, and how its names become ours.
type foreign struct {
	path   string
	layout layout
	prefix string             // before every name of the layout
	shapes map[string][]int64 // of all tensors of the file, by full name
	model  model.Config       // what can be told of it; a ViT's heads are guessed
}

// ReadStart reads weights to start from: a checkpoint of this program, or what torchvision or timm
// wrote, as safetensors or by torch.save. Of foreign weights the architecture and the normalisation
// of images are told; [Network.Start] reads their values. docs/weights.md lists the layouts.
func ReadStart(path string) (*Checkpoint, error) {
	r, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Metadata[formatKey] != "" {
		return ReadCheckpoint(path)
	}
	f := &foreign{path: path, shapes: map[string][]int64{}}
	for _, name := range r.Names() {
		t, _ := r.Lookup(name)
		f.shapes[name] = t.Shape
	}
	if err := f.recognise(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := &Checkpoint{foreign: f}
	c.Spec = Spec{Model: f.model, Detection: DefaultDetection(), Size: 224, Mean: f.layout.mean, Std: f.layout.std}
	if f.model.Backbone == model.BackboneViT {
		c.Spec.Size = int(f.model.Patch * f.model.Grid)
	}
	if c.SHA256, err = weights.Hash(path); err != nil {
		return nil, err
	}
	return c, nil
}

// recognise finds the layout, the prefix and the architecture.
func (f *foreign) recognise() error {
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
		f.model = c
		return nil
	}
	names := slices.Sorted(maps.Keys(f.shapes))
	return fmt.Errorf("weights of no known layout (torchvision's and timm's ResNets and ViTs, timm's BiT, torchvision's Mask R-CNN); its %d tensors are %s, …",
		len(names), strings.Join(names[:min(4, len(names))], ", "))
}

// shape returns that of a tensor of the layout, nil where there is none.
func (f *foreign) shape(name string) []int64 { return f.shapes[f.prefix+name] }

// architecture finds the depth and width whose convolutions the file has, and no others. Part is the
// common beginning of the blocks' names.
func (f *foreign) architecture(backbone, prefix, stem, part string) (c model.Config, ok bool) {
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

// plan chooses what parameters are made of, heads only if asked for, and files in s what is taken and
// what is not.
func (f *foreign) plan(params []*model.Param, heads bool, s *Started) map[*model.Param]*source {
	sources := map[*model.Param]*source{}
	used, misfits := map[string]bool{}, map[string]string{}
	for _, p := range params {
		var from *source
		if heads || !strings.HasPrefix(p.Name, "heads.") {
			from = f.choose(p, misfits)
		}
		if from == nil {
			s.Fresh = append(s.Fresh, p.Name)
			continue
		}
		sources[p] = from
		s.Taken = append(s.Taken, p.Name)
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
		s.Unused = append(s.Unused, Unused{full, reason})
	}
	slices.SortFunc(s.Unused, func(a, b Unused) int { return strings.Compare(a.Name, b.Name) })
	return sources
}

// fill reads the values of those parameters that have a source, one at a time.
func (f *foreign) fill(params []*model.Param, sources map[*model.Param]*source) error {
	r, err := weights.Open(f.path)
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
				return fmt.Errorf("%s: %s was changed meanwhile", f.path, t.Name)
			}
			v, err := weights.Float32s(t)
			if err != nil {
				return fmt.Errorf("%s: %w", f.path, err)
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
func (f *foreign) choose(p *model.Param, misfits map[string]string) *source {
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

// startForeign takes a foreign file's weights over.
func (n *Network) startForeign(f *foreign, heads bool) (*Started, error) {
	want, have := n.Model, f.model
	have.FPN, have.Grid = want.FPN, want.Grid // the pyramid is listed, positions are resampled
	if have.Backbone == model.BackboneViT {
		have.Heads = want.Heads
	}
	if err := want.Same(have); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	s := &Started{From: fmt.Sprintf("%s (%s)", filepath.Base(f.path), f.layout.name)}
	params := n.Set.All()
	sources := f.plan(params, heads, s)
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
		return nil, fmt.Errorf("%s: a %s by its names, but of the backbone's %d tensors only %d fit: %s", f.path, f.layout.name, backbone, taken, s.unused())
	}
	return s, f.fill(params, sources)
}

// Started tells what a network took over from weights, all by name.
type Started struct {
	From   string   // the file and its layout; of a checkpoint of this program, its trunk
	Taken  []string // parameters and buffers of the network
	Fresh  []string // those that keep their fresh values
	Unused []Unused // tensors of the file
}

// Unused is a tensor that was not taken over.
type Unused struct{ Name, Reason string }

// String tells it in a few lines, with examples of what there is much of.
func (s *Started) String() string {
	text := fmt.Sprintf("from %s: %d tensors taken over", s.From, len(s.Taken))
	if len(s.Fresh) > 0 {
		var names []string
		for _, name := range s.Fresh {
			parts := strings.Split(name, ".")
			depth := 2 // neck.p6, heads.detection.box
			if parts[0] == "heads" {
				depth = 3
			}
			names = append(names, strings.Join(parts[:min(depth, len(parts)-1)], "."))
		}
		text += fmt.Sprintf("\n  %d start afresh: %s", len(s.Fresh), strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", "))
	}
	if len(s.Unused) > 0 {
		text += fmt.Sprintf("\n  %d of the file unused: %s", len(s.Unused), s.unused())
	}
	return text
}

// unused groups what was not taken over by its reason.
func (s *Started) unused() string {
	groups := map[string][]string{}
	for _, u := range s.Unused {
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

// Foreign tells whether another program wrote the weights.
func (c *Checkpoint) Foreign() bool { return c.foreign != nil }

// Classes tells how many classes the classifier or the detector of foreign weights knows, 0 if there
// is none, and which of the two tasks it is.
func (c *Checkpoint) Classes() (task string, n int) {
	if c.foreign == nil {
		return "", 0
	}
	shape := c.foreign.shape(c.foreign.layout.classifier)
	if len(shape) < 2 {
		return "", 0
	}
	if strings.HasPrefix(c.foreign.layout.classifier, "roi_heads.") {
		return detectionlabel.Name, int(shape[0]) - 1 // without the background
	}
	return classificationlabel.Name, int(shape[0])
}

// Import builds the network of foreign weights with their head, which knows classes by these names in
// this order: a classifier, or a detector with masks (without the background). Change, if not nil, may
// set what of the specification the file does not tell. The caller frees the network.
func (c *Checkpoint) Import(classes []string, change func(s *Spec)) (n *Network, started *Started, err error) {
	task, count := c.Classes()
	switch {
	case c.foreign == nil:
		return nil, nil, fmt.Errorf("it is a checkpoint of this program already")
	case count < 1:
		return nil, nil, fmt.Errorf("%s has no classifier or detector to import; its trunk can be trained from as it is", c.foreign.path)
	case len(classes) != count:
		return nil, nil, fmt.Errorf("%s knows %d classes, the list has %d", c.foreign.path, count, len(classes))
	}
	s := c.Spec
	if s.Tasks = []string{task}; task == classificationlabel.Name {
		s.Labels = s.Labels.With(classificationlabel.Name, data.Meaning{Classes: classes})
	} else {
		masks := c.foreign.shape("roi_heads.mask_predictor.mask_fcn_logits.weight") != nil
		s.Labels = s.Labels.With(task, data.Meaning{Classes: classes, Masks: masks})
	}
	if change != nil {
		change(&s)
	}
	as := *c // the weights, used to the normalisation that change may have set
	as.Spec = s
	err = torch.DoErr(func() error {
		if n, err = New(s, 1); err != nil {
			return err
		}
		if started, err = n.Start(&as, true); err != nil {
			n.Free()
		}
		return err
	})
	return n, started, err
}
