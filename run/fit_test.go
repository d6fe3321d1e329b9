package run

import (
	"slices"
	"strings"
	"testing"

	"must/data"
)

// Settings that are left out follow image size and device; those that are given stay, and so do those that a run began
// with.
func TestFit(t *testing.T) {
	set := data.Source{Format: "scenes", Set: "crowds", Size: 64}
	make := func(f Fit, settings ...string) (rois int, width, fc int64, said string) {
		r, chosen, err := Training("net", set, []string{"detection"}, "", false, settings, f)
		if err != nil {
			t.Fatal(err)
		}
		return r.Detection.RoIs, r.Model.Head, r.Model.BoxFC, strings.Join(chosen, ", ")
	}
	if rois, width, fc, said := make(Fit{}, "size=128"); rois != 64 || width != 64 || fc != 256 || !strings.Contains(said, "64 RoIs an image (detection.rois)") {
		t.Errorf("128 px: %d RoIs, %d channels, %d units; %s", rois, width, fc, said)
	}
	if rois, width, _, said := make(Fit{}, "size=1024"); rois != 512 || width != 256 || said != "" {
		t.Errorf("1024 px: %d RoIs, %d channels; %s", rois, width, said)
	}
	if rois, width, _, _ := make(Fit{GPU: true}, "size=128"); rois != 128 || width != 256 {
		t.Errorf("on a GPU: %d RoIs, %d channels", rois, width)
	}
	if rois, width, _, said := make(Fit{}, "size=128", "detection.rois=300", "model={head: 32}"); rois != 300 || width != 32 || strings.Contains(said, "rois") {
		t.Errorf("given: %d RoIs, %d channels; %s", rois, width, said)
	}
	r, chosen, err := Training("net", set, []string{"classification"}, "", false, nil, Fit{BF16: true})
	if err != nil || !r.Train.BF16 || !slices.Equal(chosen, []string{"bfloat16, which is faster here (train.bf16)"}) {
		t.Errorf("bf16: %v, %q (%v)", r.Train.BF16, chosen, err)
	}
}

func TestParseOn(t *testing.T) {
	o, err := ParseOn("gpus=256,flops=4e13,mem=80e9,net=5e10,disk=2e5")
	if err != nil || *o != (On{256, 4e13, 80e9, 5e10, 2e5}) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"gpus=256", "flops=0", "flops=4e13,gpu=2", "flops=x", ""} {
		if o, err := ParseOn(bad); err == nil {
			t.Errorf("%q passed: %+v", bad, o)
		}
	}
}
