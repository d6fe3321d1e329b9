package run

import (
	"fmt"
	"slices"
	"strings"

	"must/recipe"
	"must/task/classification"
	"must/task/detection"
)

// A Fit says what a network is trained on, which settings that are left out follow.
type Fit struct {
	GPU  bool
	BF16 bool   // which is faster there
	Out  string // a run there keeps the settings that it began with
}

// fit chooses what settings do not: on a CPU the widths of the field, and its 512 RoIs an image, are for images of its
// size. It says what it has chosen.
func (f Fit) fit(r *recipe.Recipe, tasks []string, pretrained bool, settings []string) []string {
	given := func(key string) bool {
		return slices.ContainsFunc(settings, func(s string) bool {
			k, _, _ := strings.Cut(s, "=")
			return k == key || strings.HasPrefix(key, k+".")
		})
	}
	before, _ := Open(f.Out) // nothing, where there is none
	var said []string
	set := func(key, what string, to *int64, value, was int64) {
		if given(key) || value == *to {
			return
		}
		if before != nil {
			value = was
		}
		*to = value
		said = append(said, fmt.Sprintf("%d %s (%s)", value, what, key))
	}
	if f.BF16 && !given("train.bf16") && (before == nil || before.Train.BF16) {
		r.Train.BF16 = true
		said = append(said, "bfloat16, which is faster here (train.bf16)")
	}
	side := int64(r.Size)
	rois, width := min(512, max(16, side/2/16*16)), int64(256)
	switch {
	case f.GPU:
		rois = min(512, max(64, side/16*16))
	case side <= 160:
		width = 64
	case side <= 320:
		width = 128
	}
	old := r
	if before != nil {
		old = before.Recipe
		before.Close()
	}
	if !pretrained && !slices.Equal(tasks, []string{classification.Name}) {
		set("model.fpn", "channels of the pyramid", &r.Model.FPN, width, old.Model.FPN)
		set("model.head", "of the heads", &r.Model.Head, width, old.Model.Head)
		if slices.Contains(tasks, detection.Name) {
			set("model.box_fc", "units of the box head", &r.Model.BoxFC, 4*width, old.Model.BoxFC)
		}
	}
	if !slices.Contains(tasks, detection.Name) || pretrained {
		return said
	}
	proposals := min(1000, max(100, 4*rois))
	d, was := &r.Detection, old.Detection
	for _, x := range []struct {
		key, what  string
		to         *int
		value, was int
	}{
		{"detection.rois", "RoIs an image", &d.RoIs, int(rois), was.RoIs},
		{"detection.pre_nms", "proposals a level", &d.PreNMS, int(proposals), was.PreNMS},
		{"detection.post_nms", "of an image", &d.PostNMS, int(proposals), was.PostNMS},
	} {
		value := int64(*x.to)
		set(x.key, x.what, &value, int64(x.value), int64(x.was))
		*x.to = int(value)
	}
	if !given("detection.anchor_scale") && side <= 160 {
		if d.AnchorScale = 2; before != nil {
			d.AnchorScale = was.AnchorScale
		}
		said = append(said, fmt.Sprintf("anchors of %v times the stride (detection.anchor_scale)", d.AnchorScale))
	}
	return said
}
