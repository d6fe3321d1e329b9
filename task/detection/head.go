package detection

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"must/data"
	"must/detect"
	"must/model"
	"must/task"
	"must/torch"
)

// A Config holds what a recipe sets of the detector. Everything else is torchvision's.
type Config struct {
	AnchorScale  float64 `yaml:"anchor_scale" json:"anchor_scale"`     // anchor side over stride; 4 in the field, less for small images
	Anchors      int     `yaml:"anchors" json:"anchors"`               // per image that the first stage learns from; 0: an eighth of all there are, 16 at least and the field's 256 at most
	RoIs         int     `yaml:"rois" json:"rois"`                     // per image that the second stage learns from; 512 in the field
	Canonical    float64 `yaml:"canonical" json:"canonical"`           // side in pixels of the boxes that are read from P4; 0: the field's 224, or the side of a smaller input
	PreNMS       int     `yaml:"pre_nms" json:"pre_nms"`               // proposals per level before suppression
	PostNMS      int     `yaml:"post_nms" json:"post_nms"`             // proposals per image after it
	TrainPreNMS  int     `yaml:"train_pre_nms" json:"train_pre_nms"`   // as pre_nms while training; 0: twice as many, as torchvision has
	TrainPostNMS int     `yaml:"train_post_nms" json:"train_post_nms"` // as post_nms while training; 0: twice as many
	MaxObjects   int     `yaml:"max_objects" json:"max_objects"`       // detections per image
}

// fieldCanonical is the side in the field, where images have some 800 pixels.
const fieldCanonical = 224

// DefaultConfig returns torchvision's values, but for what follows the input's size.
func DefaultConfig() Config {
	return Config{AnchorScale: 4, RoIs: 512, PreNMS: 1000, PostNMS: 1000, MaxObjects: 100}
}

// Check tells what is wrong with a configuration.
func (c Config) Check() error {
	if !(c.AnchorScale > 0 && c.AnchorScale <= 64) {
		return fmt.Errorf("detection.anchor_scale is %v; it must be in (0, 64]", c.AnchorScale)
	}
	if !(c.Canonical == 0 || c.Canonical >= 1 && c.Canonical <= 1<<14) {
		return fmt.Errorf("detection.canonical is %v; it is a side in pixels, from 1 to %d, or 0 for the usual one", c.Canonical, 1<<14)
	}
	const most = 100000
	for _, v := range []struct {
		name        string
		value, none int // the least but for the default
	}{
		{"rois", c.RoIs, 1}, {"pre_nms", c.PreNMS, 1}, {"post_nms", c.PostNMS, 1}, {"max_objects", c.MaxObjects, 1},
		{"anchors", c.Anchors, 0}, {"train_pre_nms", c.TrainPreNMS, 0}, {"train_post_nms", c.TrainPostNMS, 0},
	} {
		if v.value < v.none || v.value > most {
			return fmt.Errorf("detection.%s is %d; it must be between %d and %d", v.name, v.value, v.none, most)
		}
	}
	return nil
}

// UnmarshalJSON reads the settings of a file of weights. Those that were written before boxes were read
// from levels by the input's size were trained with the field's.
func (c *Config) UnmarshalJSON(b []byte) error {
	type plain Config
	*c = Config{Canonical: fieldCanonical}
	return json.Unmarshal(b, (*plain)(c))
}

// levels says which level boxes of an input of a size are read from.
func (c Config) levels(size int) detect.LevelMap {
	m := detect.DefaultLevelMap()
	m.Canonical = float32(cmp.Or(c.Canonical, min(fieldCanonical, float64(size))))
	return m
}

// firstStage returns the settings of the first stage for so many anchors.
func (c Config) firstStage(anchors int) detect.RPN {
	r := detect.DefaultRPN()
	r.Sampler.PerImage = cmp.Or(c.Anchors, min(max(anchors/8, 16), r.Sampler.PerImage))
	return r
}

// proposals returns how many there are before suppression by level, and after it by image.
func (c Config) proposals(train bool) (before, after int) {
	if train {
		return cmp.Or(c.TrainPreNMS, 2*c.PreNMS), cmp.Or(c.TrainPostNMS, 2*c.PostNMS)
	}
	return c.PreNMS, c.PostNMS
}

const (
	boxSide  = 7  // of RoI features for boxes
	maskSide = 14 // of RoI features for masks; the mask itself is twice as large
	boxBeta  = 1. / 9
)

// A head is Mask R-CNN on P3–P7 (He et al. 2017, as MuST has it): an RPN with two hidden
// convolutions, a box head of four convolutions and a fully connected layer and, where labels have
// masks, a mask head of four convolutions and a deconvolution.
type head struct {
	classes int
	masks   bool
	config  Config
	size    float64 // of the input

	rpn       [2]*model.Conv
	objects   *model.Conv // [N, A, H, W]
	anchorBox *model.Conv // [N, 4A, H, W]

	boxTower model.Tower
	boxFC    *model.Linear
	class    *model.Linear // [R, classes+1], background first
	box      *model.Linear // [R, 4·(classes+1)]

	maskTower model.Tower
	deconv    *model.Deconv
	maskOut   *model.Conv // [R, classes, 28, 28]
}

// pyramid lists the levels that an input of a size has: P3 to P7.
func pyramid(size int) []detect.Level { return detect.Levels(size, size, 8, 16, 32, 64, 128) }

func (d *head) anchors(size int) []detect.Box {
	levels := pyramid(size)
	return detect.Anchors(levels, detect.AnchorSizes(levels, float32(d.config.AnchorScale)), detect.AnchorRatios)
}

type detectionTargets struct {
	truths  []*detect.Truth // nil: unknown
	objects [][]data.Object
	seeds   []uint64 // of what is drawn for each image
	rpn     *detect.RPNTargets
}

// What is drawn for an image: anchors that the first stage learns from, and proposals for the second.
const (
	drawAnchors = iota
	drawRoIs
)

// random returns the randomness of each image.
func (t *detectionTargets) random(purpose uint64) func(image int) *rand.Rand {
	return func(image int) *rand.Rand { return rand.New(rand.NewPCG(t.seeds[image], purpose)) }
}

func (d *head) Targets(samples []*data.Sample, rng *rand.Rand) any {
	t := &detectionTargets{}
	known := false
	size := 0
	seed := rng.Uint64()
	for _, s := range samples {
		size = s.Image.Rect.Dx()
		truth := detect.NewTruth(Of(s), size, size)
		if truth != nil {
			truth.Partial = Unknown(s) != nil
		}
		t.truths = append(t.truths, truth)
		t.objects = append(t.objects, Of(s))
		key := fnv.New64a()
		key.Write([]byte(s.Key))
		t.seeds = append(t.seeds, seed^key.Sum64())
		known = known || Of(s) != nil
	}
	if !known {
		return nil
	}
	anchors := d.anchors(size)
	t.rpn = d.config.firstStage(len(anchors)).Targets(anchors, t.truths, t.random(drawAnchors))
	return t
}

// proposalNet runs the RPN: per level objectness [N, n] and deltas [N, n, 4] in the order of anchors.
func (d *head) proposalNet(f *model.Features) (objectness, deltas []*torch.Tensor) {
	torch.Part("RPN")
	defer torch.Part("losses")
	ratios := int64(len(detect.AnchorRatios))
	for l := 3; l <= 7; l++ {
		x := f.Level(l)
		for _, c := range d.rpn {
			x = c.Forward(x).ReluInPlace()
		}
		n, h, w := x.Size(0), x.Size(2), x.Size(3)
		objectness = append(objectness, d.objects.Forward(x).Wide().Permute(0, 2, 3, 1).View(n, h*w*ratios))
		deltas = append(deltas, d.anchorBox.Forward(x).Wide().View(n, ratios, 4, h, w).Permute(0, 3, 4, 1, 2).View(n, h*w*ratios, 4))
	}
	return objectness, deltas
}

// propose turns RPN outputs into the proposals of each image.
func (d *head) propose(f *model.Features, objectness, deltas []*torch.Tensor) [][]detect.Box {
	torch.Part("proposals")
	defer torch.Part("losses")
	size := int(f.Size)
	anchors := d.anchors(size)
	before, after := d.config.proposals(f.Mode.Train)
	n := int(objectness[0].Size(0))
	type level struct {
		scores []float32
		deltas []detect.Box
		index  []int64 // into the level's anchors; nil: all
		first  int     // of the level in anchors
		k      int
	}
	var levels []level
	first := 0
	torch.NoGrad(func() {
		torch.Scope(func() {
			for l, o := range objectness {
				all := o.Size(1)
				lv := level{first: first, k: int(min(all, int64(before)))}
				dl := deltas[l]
				if all > int64(lv.k) {
					top, index := o.TopK(int64(lv.k), 1)
					o, dl = top, dl.Gather(1, index.Unsqueeze(2).Expand(int64(n), int64(lv.k), 4))
					lv.index = torch.Values[int64](index)
				}
				lv.scores, lv.deltas = torch.Values[float32](o.As(torch.Float)), detect.Boxes(torch.Values[float32](dl.As(torch.Float)))
				levels = append(levels, lv)
				first += int(all)
			}
		})
	})
	rpn := detect.DefaultRPN()
	rpn.Keep = after
	proposals := make([][]detect.Box, n)
	most := 0
	for _, lv := range levels {
		most += lv.k
	}
	detect.Each(n, func(i int) {
		boxes, scores := make([]detect.Box, 0, most), make([]float32, 0, most)
		var counts []int
		for _, lv := range levels {
			for j := range lv.k {
				at := i*lv.k + j
				a := lv.first + j
				if lv.index != nil {
					a = lv.first + int(lv.index[at])
				}
				boxes = append(boxes, detect.RPNCoder.Decode(detect.Delta(lv.deltas[at]), anchors[a]))
			}
			scores = append(scores, lv.scores[i*lv.k:][:lv.k]...)
			counts = append(counts, lv.k)
		}
		proposals[i] = rpn.Proposals(boxes, scores, counts, size, size)
	})
	return proposals
}

// roiFeatures prepares P3–P7 for reading RoIs, once for all heads.
func (d *head) roiFeatures(f *model.Features) *detect.Pyramid {
	torch.Part("RoIAlign")
	return detect.NewPyramid(f.P[1:], d.config.levels(int(f.Size)))
}

// boxHead returns class logits [R, classes+1] and deltas [R, 4·(classes+1)].
func (d *head) boxHead(p *detect.Pyramid, m model.Mode, boxes []detect.Box, images []int) (class, deltas *torch.Tensor) {
	torch.Part("RoIAlign")
	x := p.RoIAlign(boxes, images, boxSide)
	torch.Part("box head")
	defer torch.Part("losses")
	x = d.boxTower.Forward(x, m).Flatten(1, 3)
	x = d.boxFC.Forward(x).ReluInPlace()
	return d.class.Forward(x).Wide(), d.box.Forward(x).Wide()
}

// maskHead returns mask logits [R, classes, 28, 28].
func (d *head) maskHead(p *detect.Pyramid, m model.Mode, boxes []detect.Box, images []int) *torch.Tensor {
	torch.Part("RoIAlign")
	x := p.RoIAlign(boxes, images, maskSide)
	torch.Part("mask head")
	defer torch.Part("losses")
	x = d.maskTower.Forward(x, m)
	return d.maskOut.Forward(d.deconv.Forward(x).ReluInPlace()).Wide()
}

func (d *head) Parts() []string {
	names := []string{"rpn_objectness", "rpn_box", "box_class", "box"}
	if d.masks {
		names = append(names, "mask")
	}
	return names
}

// Loss is the sum of torchvision's: objectness and boxes of the RPN, classes and boxes of the second
// stage, and masks of the positives whose objects have one.
func (d *head) Loss(f *model.Features, targets any, _ *rand.Rand) []task.Loss {
	t := targets.(*detectionTargets)
	objectness, deltas := d.proposalNet(f)
	var losses []task.Loss
	if n := int64(len(t.rpn.Index)); n > 0 {
		index := torch.From(t.rpn.Index, n)
		o := torch.Cat(1, objectness...).Flatten(0, 1).IndexSelect(0, index)
		losses = append(losses, task.Loss{Name: "rpn_objectness", Value: o.BCEWithLogits(torch.From(t.rpn.Label, n), torch.Mean), Count: float64(n)})
		var box *torch.Tensor
		if p := int64(t.rpn.Positive); p > 0 {
			got := torch.Cat(1, deltas...).Flatten(0, 1).IndexSelect(0, index.Narrow(0, 0, p))
			want := torch.From(detect.Flat(t.rpn.Delta), p, 4)
			box = got.SmoothL1(want, torch.Sum, boxBeta).Scale(1 / float64(n))
		}
		losses = append(losses, task.Loss{Name: "rpn_box", Value: box, Count: float64(n)})
	}

	rois := detect.DefaultRoIs()
	rois.Sampler.PerImage = d.config.RoIs
	r := rois.Targets(d.propose(f, objectness, deltas), t.truths, t.random(drawRoIs))
	n, p := int64(len(r.Box)), int64(r.Positive)
	if n == 0 {
		return losses
	}
	features := d.roiFeatures(f)
	class, delta := d.boxHead(features, f.Mode, r.Box, r.Image)
	losses = append(losses, task.Loss{Name: "box_class", Value: class.CrossEntropy(torch.From(r.Class, n), torch.Mean, -100), Count: float64(n)})
	if p == 0 {
		return append(losses, task.Loss{Name: "box", Value: nil, Count: float64(n)})
	}
	// Of every positive the four outputs of its class.
	own := make([]int64, p)
	for i := range own {
		own[i] = int64(i)*int64(d.classes+1) + r.Class[i]
	}
	got := delta.Narrow(0, 0, p).View(p*int64(d.classes+1), 4).IndexSelect(0, torch.From(own, p))
	want := torch.From(detect.Flat(r.Delta), p, 4)
	losses = append(losses, task.Loss{Name: "box", Value: got.SmoothL1(want, torch.Sum, boxBeta).Scale(1 / float64(n)), Count: float64(n)})

	if d.masks {
		size := int(f.Size)
		masked, truth := r.MaskTargets(t.objects, size, size, 2*maskSide)
		if n := len(masked) / 8 * 8; n > 0 && d.maskTower.BatchNorm() {
			// Kernels are compiled per shape; a multiple of 8 keeps the shapes few.
			masked, truth = evenly(masked, truth, n)
		}
		if n := len(masked); n > 0 {
			losses = append(losses, task.Loss{Name: "mask", Value: d.maskLoss(features, f.Mode, r, masked, truth), Count: float64(n)})
		}
	}
	return losses
}

// evenly keeps n of the positives with masks, from all images alike, and their targets.
func evenly(rows []int64, truth []float32, n int) ([]int64, []float32) {
	all, area := len(rows), 4*maskSide*maskSide
	for i := range n {
		at := i * all / n
		rows[i] = rows[at]
		copy(truth[i*area:][:area], truth[at*area:])
	}
	return rows[:n], truth[:n*area]
}

func (d *head) maskLoss(features *detect.Pyramid, m model.Mode, r *detect.RoITargets, rows []int64, truth []float32) *torch.Tensor {
	var boxes []detect.Box
	var images []int
	var own []int64
	for i, row := range rows {
		boxes, images = append(boxes, r.Box[row]), append(images, r.Image[row])
		own = append(own, int64(i*d.classes)+r.Class[row]-1)
	}
	// As above; but where no norm sees what fills up, and it is not compared, nothing has to be left out.
	for i := 0; len(boxes)%8 > 0 && !d.maskTower.BatchNorm(); i++ {
		boxes, images = append(boxes, boxes[i]), append(images, images[i])
	}
	n, side := int64(len(rows)), int64(2*maskSide)
	got := d.maskHead(features, m, boxes, images).View(int64(len(boxes)*d.classes), side, side).IndexSelect(0, torch.From(own, n))
	return got.BCEWithLogits(torch.From(truth, n, side, side), torch.Mean)
}

func (d *head) Predict(f *model.Features, preds []*data.Sample) {
	task.Must(d.Decode(d.Outputs(f, task.ExportOptions{}), int(f.Size), preds))
}

// Name implements [task.Head].
func (*head) Name() string { return Name }
