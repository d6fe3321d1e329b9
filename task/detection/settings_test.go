package detection

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"must/detect"
)

// A small image has fewer anchors than the field samples: there it is an eighth of them, so that background
// does not drown the objects.
func TestDefaultsFollowTheImage(t *testing.T) {
	c := DefaultConfig()
	for _, v := range []struct {
		size, anchors, sampled int
		canonical              float32
	}{{32, 69, 16, 32}, {64, 258, 32, 64}, {96, 582, 72, 96}, {224, 0, 256, 224}, {800, 0, 256, 224}} {
		d := &head{config: c}
		n := len(d.anchors(v.size))
		if v.anchors > 0 && n != v.anchors {
			t.Errorf("size %d: %d anchors, want %d", v.size, n, v.anchors)
		}
		if got := c.firstStage(n).Sampler.PerImage; got != v.sampled {
			t.Errorf("size %d: %d of %d anchors are sampled, want %d", v.size, got, n, v.sampled)
		}
		if got := c.levels(v.size).Canonical; got != v.canonical {
			t.Errorf("size %d: canonical side %v, want %v", v.size, got, v.canonical)
		}
	}
	c.Anchors, c.Canonical = 100, 50
	if got := c.firstStage(258).Sampler.PerImage; got != 100 {
		t.Errorf("%d anchors are sampled, want what is set", got)
	}
	if got := c.levels(64).Canonical; got != 50 {
		t.Errorf("canonical side %v, want what is set", got)
	}
	// A box as large as the image is read from P4 then, one of half of it from P3.
	levels := DefaultConfig().levels(64)
	if a, b := levels.Index(detect.Box{0, 0, 64, 64}), levels.Index(detect.Box{0, 0, 32, 32}); a != 1 || b != 0 {
		t.Errorf("boxes are read from levels %d and %d", a, b)
	}
}

// Training has twice the proposals, as torchvision's 2000 and 1000, unless it is set.
func TestTrainingHasMoreProposals(t *testing.T) {
	c := DefaultConfig()
	if before, after := c.proposals(true); before != 2000 || after != 2000 {
		t.Errorf("%d and %d in training", before, after)
	}
	if before, after := c.proposals(false); before != 1000 || after != 1000 {
		t.Errorf("%d and %d", before, after)
	}
	c.TrainPreNMS, c.TrainPostNMS = 30, 40
	if before, after := c.proposals(true); before != 30 || after != 40 {
		t.Errorf("%d and %d of 30 and 40", before, after)
	}
}

// Weights from before the side followed the input's were trained with the field's.
func TestOldSettings(t *testing.T) {
	var old, now Config
	if err := json.Unmarshal([]byte(`{"anchor_scale":2,"rois":16,"pre_nms":100,"post_nms":50,"max_objects":20}`), &old); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(DefaultConfig())
	if err == nil {
		err = json.Unmarshal(b, &now)
	}
	if err != nil {
		t.Fatal(err)
	}
	if old.levels(64).Canonical != 224 || now != DefaultConfig() {
		t.Errorf("%+v, %+v", old, now)
	}
	for _, bad := range []Config{{AnchorScale: 4, RoIs: 1, PreNMS: 1, PostNMS: 1, MaxObjects: 1, Anchors: -1}, {AnchorScale: 4, RoIs: 1, PreNMS: 1, PostNMS: 1, MaxObjects: 1, Canonical: 0.5}, {AnchorScale: 4}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// What does not fill up eight is left out of all images alike, not of the last.
func TestMasksAreChosenEvenly(t *testing.T) {
	const area = 4 * maskSide * maskSide
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		all := 8 + rng.IntN(60)
		rows, truth := make([]int64, all), make([]float32, all*area)
		for i := range rows {
			rows[i] = int64(i)
			truth[i*area], truth[(i+1)*area-1] = float32(i), float32(i)
		}
		n := all / 8 * 8
		got, values := evenly(rows, truth, n)
		if len(got) != n || len(values) != n*area || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != n {
			t.Fatalf("%d of %d: %v", n, all, got)
		}
		for i, row := range got {
			if values[i*area] != float32(row) || values[(i+1)*area-1] != float32(row) {
				t.Fatalf("row %d has the target of row %v", row, values[i*area])
			}
		}
		// Of the later half as many are kept as of the first, up to one.
		first, _ := slices.BinarySearch(got, int64(all/2))
		if d := 2*first - n; d < -2 || d > 2 {
			t.Errorf("%d of %d: %d of the first half", n, all, first)
		}
	}
}
