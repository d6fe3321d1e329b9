// Package convert fills networks with weights that other programs wrote: by torchvision's and timm's
// names. It reads names and shapes, tells the architecture, and makes every parameter of what the file
// has for it. docs/weights.md lists the layouts.
package convert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"must/model"
	"must/task/classification"
	"must/task/detection"
	"must/torch"
	"must/weights"
)

// External is a file of weights that another program wrote, and how its names become ours.
type External struct {
	Path      string
	Model     model.Config // what can be told of it; a ViT's heads are guessed
	Size      int          // side of the input in pixels that it is likely used to
	Mean, Std [3]float64   // of the input's channels, in 0…255, likewise

	layout  layout
	part    string             // of what the file holds, such as "model_ema"
	skipped []string           // Python objects beside the weights, by name
	prefix  string             // before every name of the layout
	shapes  map[string][]int64 // of all tensors of the file, by full name
}

// Recognise tells layout and architecture of a file that is open for reading.
func Recognise(path string, r *weights.Reader) (*External, error) {
	f := &External{Path: path, Size: 224, part: r.Metadata[weights.ContainerKey], skipped: r.Skipped, shapes: map[string][]int64{}}
	for _, name := range r.Names() {
		t, _ := r.Lookup(name)
		f.shapes[name] = t.Shape
	}
	if err := f.recognise(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Mean, f.Std = f.layout.mean, f.layout.std
	if vit, ok := f.Model.Backbone.(model.ViTConfig); ok {
		f.Size = int(vit.Patch * vit.Grid)
	}
	if err := f.readCard(); err != nil {
		return nil, err
	}
	return f, nil
}

// unseen are parts that a network has no tensors for, by what timm's names of such networks contain.
var unseen = map[string]string{"blur": "blurred pooling", "quickgelu": "a quicker GELU", "quick_gelu": "a quicker GELU"}

// readCard reads what timm writes beside weights that it publishes, config.json: how images are
// normalised, and the name of the network. Where there is none, the file's own name may tell.
func (f *External) readCard() error {
	var card struct {
		Architecture string `json:"architecture"`
		Pretrained   struct {
			Mean, Std []float64
		} `json:"pretrained_cfg"`
	}
	path := filepath.Join(filepath.Dir(f.Path), "config.json")
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &card) == nil && card.Architecture != "" {
		mean, std := card.Pretrained.Mean, card.Pretrained.Std
		if len(mean) == 3 && len(std) == 3 {
			for i := range 3 {
				f.Mean[i], f.Std[i] = 255*mean[i], 255*std[i]
			}
		}
	} else {
		path, card.Architecture = f.Path, filepath.Base(f.Path)
	}
	for mark, what := range unseen {
		if strings.Contains(strings.ToLower(card.Architecture), mark) {
			return fmt.Errorf("%s: %q is a network with %s by its name, which no tensor tells and this program has not; export it to ONNX (docs/onnx.md)", path, card.Architecture, what)
		}
	}
	return nil
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
		c, err := l.config(f)
		if err == nil {
			err = c.Check()
		}
		if err != nil {
			return fmt.Errorf("a %s by its names, but of an architecture that is not among this program's: %w%s; docs/weights.md lists those that are", l.name, err, f.seems())
		}
		f.Model = c
		return nil
	}
	names := slices.Sorted(maps.Keys(f.shapes))
	return fmt.Errorf("weights of no known layout (torchvision's and timm's ResNets and ViTs, timm's BiT, torchvision's Mask R-CNN); its %d tensors are %s, …%s",
		len(names), strings.Join(names[:min(4, len(names))], ", "), f.seems())
}

// shape returns that of a tensor of the layout, nil where there is none.
func (f *External) shape(name string) []int64 { return f.shapes[f.prefix+name] }

// layers finds the number of layers with whose convolutions of has those that the file has, and no
// others. Stem is the weight of the last convolution before the blocks, part the common beginning of the
// blocks' names; of is told the width.
func (f *External) layers(prefix, stem, part string, of func(layers int, width float64) model.BackboneConfig) (model.BackboneConfig, error) {
	shape := f.shape(prefix + stem)
	if len(shape) != 4 {
		return nil, fmt.Errorf("it has no %s of 4 dimensions", prefix+stem)
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
	for _, layers := range []int{18, 34, 50, 101, 152} {
		c := of(layers, float64(shape[0])/64)
		set, b := model.NewSet()
		if _, err := model.NewTrunk(b, model.Config{Backbone: c}, false); err != nil {
			return nil, err
		}
		ours := map[string]bool{}
		for _, p := range set.All() {
			if name := strings.TrimPrefix(p.Name, "backbone."); convolution(name) {
				ours[name] = true
			}
		}
		if maps.Equal(ours, theirs) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("its %d convolutions are those of no number of layers among 18, 34, 50, 101 and 152", len(theirs))
}

// groups reads off the first bottleneck's 3×3 convolution how its channels are grouped, 0 for what is
// plain; plain is the number of channels that it then has.
func groups(shape []int64, plain int64) (groups, width int64) {
	if len(shape) != 4 || shape[1] < 1 || plain < 1 {
		return 0, 0
	}
	if groups = shape[0] / shape[1]; groups <= 1 {
		groups = 0
	}
	if width = 64 * shape[0] / (plain * max(1, groups)); width == 64 {
		width = 0
	}
	return groups, width
}

// shard matches the names of files that weights are split over.
var shard = regexp.MustCompile(`-\d{5}-of-\d{5}\.`)

// seems says what is known of networks whose tensors have such names, behind a semicolon; "" if nothing.
func (f *External) seems() string {
	var found []string
	for _, r := range relatives {
		for name := range f.shapes {
			if strings.Contains(name, r.mark) {
				found = append(found, fmt.Sprintf("%s (%s)", r.what, name))
				break
			}
		}
	}
	if mark, ok := strings.CutSuffix(f.layout.mark, "conv1.weight"); ok && f.shape(mark+"bn1.weight") != nil && f.shape(mark+"bn1.running_mean") == nil {
		found = append(found, "norms without running statistics, such as group norms")
	}
	if shard.MatchString(f.Path) {
		found = append(found, "but a part of the weights: name the index of its files (.index.json) in its place")
	}
	if found == nil {
		return ""
	}
	return "; it seems to have " + strings.Join(found, ", ")
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
		name, inside := strings.CutPrefix(full, f.prefix)
		if inside && used[name] || strings.HasSuffix(name, "num_batches_tracked") {
			continue
		}
		u := Unused{Name: full, Reason: misfits[name]}
		switch known := f.layout.reason(name); {
		case known != "":
			u.Reason = cmp.Or(u.Reason, known)
		case !inside:
			u.Reason = "not under " + f.prefix
		case u.Reason == "":
			u.Reason, u.backbone = "nothing here corresponds to it", true
		default:
			u.backbone = true
		}
		r.Unused = append(r.Unused, u)
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
// asked for. It refuses a file that lacks a part of the backbone or has more of it, unless partial is
// set: then what fits is taken, the half at least. Call it in torch.Do.
func (f *External) Fill(want model.Config, params []*model.Param, heads, partial bool) (*Report, error) {
	have := f.Model
	have.FPN = want.FPN // the pyramid is listed
	vit, ok := have.Backbone.(model.ViTConfig)
	if other, both := want.Backbone.(model.ViTConfig); ok && both {
		vit.Grid = other.Grid // positions are resampled
		if !vit.Variant.QKNorm {
			vit.Heads = other.Heads
		}
		have.Backbone = vit
	}
	if err := want.Same(have); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	r := &Report{From: fmt.Sprintf("%s (%s)", filepath.Base(f.Path), f.layout.name), Skipped: f.skipped}
	if f.part != "" {
		r.From = fmt.Sprintf("%s in %s", f.part, r.From)
	}
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
		return nil, fmt.Errorf("%s: a %s by its names, but of the backbone's %d tensors only %d fit: %s%s", f.Path, f.layout.name, backbone, taken, r.unused(), f.seems())
	}
	if err := r.Complete(); err != nil && !partial {
		return nil, fmt.Errorf("%s: a %s by its names, but %w%s. A training may start from what fits: --partial, or partial: true in a recipe", f.Path, f.layout.name, err, f.seems())
	}
	return r, f.fill(params, sources)
}

// A Report tells what a network took over from weights, all by name.
type Report struct {
	From   string   // the file and its layout; of a checkpoint of this program, its trunk
	Taken  []string // parameters and buffers of the network
	Fresh  []string // those that keep their fresh values
	Unused []Unused // tensors of the file

	Skipped []string // Python objects beside the weights, which were not made, by the names of their classes
}

// Unused is a tensor that was not taken over.
type Unused struct {
	Name, Reason string

	backbone bool // as far as can be told
}

// Complete returns an error that lists what of the backbone has no weights in the file, and what of it
// the file has in excess: a network of other parts, whose features would be others here.
func (r *Report) Complete() error {
	var fresh []string
	for _, name := range r.Fresh {
		if strings.HasPrefix(name, "backbone.") {
			fresh = append(fresh, name)
		}
	}
	var parts []string
	if len(fresh) > 0 {
		slices.Sort(fresh)
		parts = append(parts, fmt.Sprintf("%d tensors of the backbone are not in it: %s", len(fresh), some(fresh)))
	}
	var excess Report
	for _, u := range r.Unused {
		if u.backbone {
			excess.Unused = append(excess.Unused, u)
		}
	}
	if n := len(excess.Unused); n > 0 {
		parts = append(parts, fmt.Sprintf("%d of its tensors have no use here: %s", n, excess.unused()))
	}
	if parts == nil {
		return nil
	}
	return errors.New(strings.Join(parts, "; "))
}

// some lists a few names and how many others there are.
func some(names []string) string {
	if len(names) > 2 {
		names = []string{names[0], fmt.Sprintf("%d more", len(names)-1)}
	}
	return strings.Join(names, ", ")
}

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
	if len(r.Skipped) > 0 {
		text += fmt.Sprintf("\n  left out: Python objects of %s", some(r.Skipped))
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
		parts = append(parts, fmt.Sprintf("%s (%s)", some(groups[reason]), reason))
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
		return detection.Name, int(shape[0]) - 1 // without the background
	}
	return classification.Name, int(shape[0])
}

// Masks tells whether the detector draws masks.
func (f *External) Masks() bool {
	return f.shape("roi_heads.mask_predictor.mask_fcn_logits.weight") != nil
}
