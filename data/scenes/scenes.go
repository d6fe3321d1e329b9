// Package scenes is the embedded world: images rendered from a seed, with exact labels for every
// task, so that the whole method can be run and tested with no data at hand.
//
// The source sets mirror the published set-up in small: each carries the labels of its counterpart
// only. The downstream sets are not aligned with them: other shapes, textures, cameras and label
// spaces. All are views of one world of ray-cast solids, so that what is learned from one set can
// help on another. The same source gives the same pixels and labels on every machine; an image
// depends on seed, set, split and index alone.
package scenes

import (
	"fmt"
	"slices"
	"strings"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// A set is a kind of scene and the labels that it comes with.
type set struct {
	name    string
	about   string
	compose func(r rng, index int) *stage
	train   int // size of the train split; val and test have at most `held`

	classes  []string // classification: image i is of class i mod their number
	detect   []kind   // detection classes
	masks    bool
	segment  []kind // segmentation classes
	other    uint8  // segmentation label of every other kind
	depth    bool
	normals  bool
	tidy     bool // take away things that are mostly hidden
	shown    bool // classification: what the image shows most of, whatever it was made for
	detects  [kinds]int
	segments [kinds]uint8
}

var sets = []*set{
	{name: "objects", about: "one solid, its class (source; ImageNet's part)",
		compose: composeObject, train: 4000, classes: names(classShapes)},
	{name: "crowds", about: "several solids, boxes without masks (source; Objects365's part)",
		compose: composeCrowd, train: 4000, detect: crowdShapes, tidy: true},
	{name: "stuff", about: "solids and their surroundings: semantic map, boxes and masks (source; COCO's part)",
		compose: composeStuff, train: 4000, detect: crowdShapes, masks: true, segment: stuffKinds, other: data.Ignore, tidy: true},
	{name: "ranges", about: "metric depth (source; the depth sets' part)",
		compose: composeRange, train: 4000, depth: true},
	{name: "unlabelled", about: "scenes of all source sets, no label (source)",
		compose: composeAny, train: 20000},
	{name: "wild", about: "scenes of every kind there is, those of the downstream sets among them, no label (source; photos of the world)",
		compose: composeWild, train: 20000},
	{name: "fine", about: "fine-grained classes: shape and material (downstream; CIFAR-100's part)",
		compose: composeFine, train: 400, classes: fineClasses()},
	{name: "boxes", about: "boxes of everyday things (downstream; Pascal detection's part)",
		compose: composeBoxed, train: 400, detect: boxedThings, tidy: true},
	{name: "things", about: "segmentation of everyday things against background (downstream; Pascal segmentation's part)",
		compose: composeCut, train: 400, segment: append([]kind{background}, cutThings...), tidy: true},
	{name: "rooms", about: "segmentation of furnished rooms (downstream; ADE20K's part)",
		compose: composeRoom, train: 400, segment: roomKinds, other: data.Ignore},
	{name: "street-depth", about: "metric depth of streets (downstream; NYU v2's part, outdoors)",
		compose: composeStreet, train: 400, depth: true},
	{name: "heap-normals", about: "surface normals of heaps of things (downstream; DIODE's part, close by)",
		compose: composeHeap, train: 400, normals: true},
	{name: "room-depth", about: "metric depth of cluttered rooms (downstream; NYU v2's part)",
		compose: composeClutter, train: 400, depth: true},
	{name: "room-normals", about: "surface normals of cluttered rooms (downstream; DIODE's part)",
		compose: composeClutter, train: 400, normals: true},
}

// Oracle after the name of a set asks for all that is true of its images, in the terms of the source sets: for
// finding out where an experiment loses, not for experiments.
const Oracle = "/oracle"

// oracle is a set with the labels of all source sets.
func oracle(s *set) *set {
	all := *s
	all.shown, all.classes = true, names(classShapes)
	all.detect, all.masks = crowdShapes, false
	all.segment, all.other = stuffKinds, data.Ignore
	all.depth, all.normals = true, true
	all.index()
	return &all
}

// held is the size of the val and test splits.
const held = 500

func init() {
	for _, s := range sets {
		s.index()
	}
}

// index fills in which label each kind has.
func (s *set) index() {
	for k := range kinds {
		s.detects[k] = slices.Index(s.detect, k)
		s.segments[k] = s.other
		if i := slices.Index(s.segment, k); i >= 0 {
			s.segments[k] = uint8(i)
		}
	}
}

func fineClasses() []string {
	var out []string
	for _, shape := range fineShapes {
		for _, m := range fineMaterials {
			out = append(out, m.name+" "+kindNames[shape])
		}
	}
	return out
}

// A Set names a set and says in a line what it is.
type Set struct{ Name, About string }

// Sets lists the sets, source sets first.
func Sets() []Set {
	var out []Set
	for _, s := range sets {
		out = append(out, Set{s.name, s.about})
	}
	return out
}

// Splits lists the parts of every set. They are rendered from different seeds.
var Splits = []string{"train", "val", "test"}

// The sides in pixels that can be rendered.
const (
	DefaultSize = 64
	MinSize     = 16
	MaxSize     = 1024
)

// Open returns the set src.Set of the world: src.Count images of src.Size × src.Size pixels
// (0: DefaultSize) from src.Seed. A Count of 0 gives the set's usual number of images; a larger one
// is met too, the world does not end. A name that ends on Oracle gives the same images with all that is true
// of them. Image i is the same whatever the count. Nothing is kept in
// memory: see Cached. It is an error if set or split are unknown or count or size out of range.
func Open(src data.Source) (data.Dataset, error) {
	name, all := strings.CutSuffix(src.Set, Oracle)
	i := slices.IndexFunc(sets, func(s *set) bool { return s.name == name })
	if i < 0 {
		var valid []string
		for _, s := range sets {
			valid = append(valid, s.name)
		}
		return nil, fmt.Errorf("scenes: no set %q; use one of %s", src.Set, strings.Join(valid, ", "))
	}
	if !slices.Contains(Splits, src.Split) {
		return nil, data.NoPart(fmt.Errorf("scenes: set %s has no split %q; use one of %s", src.Set, src.Split, strings.Join(Splits, ", ")))
	}
	of := sets[i]
	if all {
		of = oracle(of)
	}
	d := &dataset{set: of, split: src.Split, seed: src.Seed, count: src.Count, size: src.Size}
	switch {
	case src.Count < 0:
		return nil, fmt.Errorf("scenes: set %s: count %d is negative; leave it out for all images", src.Set, src.Count)
	case src.Count == 0 && src.Split == "train":
		d.count = d.set.train
	case src.Count == 0:
		d.count = held
	}
	if src.Size == 0 {
		d.size = DefaultSize
	} else if src.Size < MinSize || src.Size > MaxSize {
		return nil, fmt.Errorf("scenes: set %s: size %d is not between %d and %d", src.Set, src.Size, MinSize, MaxSize)
	}
	return d, nil
}

type dataset struct {
	*set
	split string
	seed  uint64
	count int
	size  int
}

func (d *dataset) Len() int { return d.count }

func (d *dataset) Labels() data.Labels {
	l := data.Labels{}
	if d.classes != nil {
		l[classification.Name] = data.Meaning{Classes: d.classes}
	}
	if d.detect != nil {
		l[detection.Name] = data.Meaning{Classes: names(d.detect), Masks: d.masks}
	}
	if d.segment != nil {
		l[segmentation.Name] = data.Meaning{Classes: names(d.segment)}
	}
	if d.depth {
		l[depth.Name] = data.Meaning{Units: data.Metric}
	}
	if d.normals {
		l[normals.Name] = data.Meaning{}
	}
	return l
}

func (d *dataset) Key(i int) string { return fmt.Sprintf("%s/%s/%06d", d.name, d.split, i) }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	if i < 0 || i >= d.count {
		return nil, fmt.Errorf("scenes: %s/%s has %d images, none with index %d", d.name, d.split, d.count, i)
	}
	r := newRNG(d.seed, d.name, d.split, i)
	st := d.compose(r, i)
	for i := range st.bodies {
		st.bodies[i].frame(&st.cam)
	}
	s := &data.Sample{Key: d.Key(i)}
	if d.classes != nil && !d.shown {
		classification.Set(s, make([]float32, len(d.classes)))
		classification.Of(s)[i%len(d.classes)] = 1
	}
	if d.detect != nil || d.segment != nil || d.depth || d.normals {
		sv := st.survey(d.size, func(k kind) bool { return d.tidy && k >= ball && k < table })
		st.label(s, d.set, d.size, sv)
		if d.shown {
			classification.Set(s, st.shares(sv))
		}
	}
	s.Image = st.photograph(d.size, uint32(r.pcg.Uint64()))
	return s, nil
}
