package run

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/checkpoint"
	"must/data"
	"must/label/shards"
	"must/predict"
	"must/task/depth"
	"must/task/detection"
	"must/task/segmentation"
	"must/torch"
	"must/train"
)

const twoSpaces = `
name: spaces
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8, box_fc: 16}
detection: {anchor_scale: 2, rois: 8, pre_nms: 20, post_nms: 10, max_objects: 5}
train: {batch: 4, steps: 1}
spaces:
  detection: [Ball, box, car, vessel]
  segmentation: {from: stuff}
data:
  crowds: {format: scenes, subset: crowds, size: 32, parts: {train: 6, val: 2, test: 2}}
  boxes:  {format: scenes, subset: boxes, size: 32, parts: {train: 6, val: 2, test: 2}, map: {detection: {mushroom: vessel, house: vessel}}}
  stuff:  {format: scenes, subset: stuff, size: 32, parts: {train: 6, val: 2}, tasks: [segmentation]}
  rooms:  {format: scenes, subset: rooms, size: 32, parts: {train: 6, val: 2}}
stages:
  - name: boxes-teacher
    train: {data: [crowds, boxes], tasks: [detection]}
  - name: maps-teacher
    train: {data: [stuff], tasks: [segmentation]}
  - name: labels
    label: {data: [crowds, boxes, stuff, rooms], teachers: [boxes-teacher, maps-teacher], thresholds: {detection: 0, segmentation: 0}}
  - name: student
    train: {data: [crowds, boxes, stuff, rooms], labels: labels, tasks: [detection, segmentation]}
  - name: transfer
    transfer: {from: {must: student}, sets: [{data: boxes, task: detection}]}
`

// A stage depends on the classes of the tasks that it learns, and on no others.
func TestFingerprintOfSpaces(t *testing.T) {
	was := load(t, t.TempDir(), twoSpaces)
	is := load(t, t.TempDir(), twoSpaces, "spaces.segmentation=[sky, floor]")
	for stage, same := range map[string]bool{"boxes-teacher": true, "maps-teacher": false, "labels": false, "student": false} {
		if (was.fingerprint(stage).sum == is.fingerprint(stage).sum) != same {
			t.Errorf("%s: the same: want %v", stage, same)
		}
	}
}

func TestSpaces(t *testing.T) {
	r := load(t, t.TempDir(), twoSpaces)
	runAll(t, r)

	boxes := must(r.Open("boxes", "train"))
	if l := boxes.Labels(); !slices.Equal(l[detection.Name].Classes, []string{"Ball", "box", "car", "vessel"}) || !slices.Equal(l[detection.Name].Unknown, []int{0, 1}) {
		t.Errorf("labels of boxes: %+v", l)
	}
	if l := must(r.Open("stuff", "train")).Labels(); l.Has(detection.Name) || l[segmentation.Name].Unknown != nil {
		t.Errorf("labels of stuff: %+v", l)
	}
	rooms := must(r.Open("rooms", "train"))
	for _, set := range []string{"crowds", "boxes", "stuff", "rooms"} {
		ds := must(r.Open(set, "train"))
		merged, err := shards.Merge(ds, filepath.Join(r.Folder("labels"), set))
		if err != nil {
			t.Fatal(err)
		}
		for i := range merged.Len() {
			before, after := must(ds.Sample(i)), must(merged.Sample(i))
			if !after.Has(detection.Name) || !after.Has(segmentation.Name) || detection.Unknown(after) != nil {
				t.Errorf("%s is not labelled in full: %+v", after.Key, after)
			}
			for k, o := range detection.Of(before) { // true objects stay, and no others of their classes come
				if detection.Of(after)[k].Box != o.Box {
					t.Errorf("%s: object %d is %+v, was %+v", after.Key, k, detection.Of(after)[k], o)
				}
			}
			for _, o := range detection.Of(after)[len(detection.Of(before)):] {
				if detection.Of(before) != nil && !slices.Contains(detection.Unknown(before), o.Class) {
					t.Errorf("%s: a pseudo object of class %d, which is known", after.Key, o.Class)
				}
			}
		}
	}
	// Walls and floors of rooms are known to it; what is not stays unknown until a teacher tells.
	ignored := func(ds data.Dataset) (n int) {
		for _, c := range segmentation.Of(must(ds.Sample(0))).Pix {
			if c == data.Ignore {
				n++
			}
		}
		return n
	}
	if own := must(r.OpenOwn("rooms", "train")); ignored(rooms) <= ignored(own) || slices.Equal(own.Labels()[segmentation.Name].Classes, rooms.Labels()[segmentation.Name].Classes) {
		t.Errorf("%d pixels of rooms are unknown after mapping, %d before", ignored(rooms), ignored(own))
	}
	// A transfer set keeps its own classes.
	if l := must(r.OpenOwn("boxes", "train")).Labels(); slices.Contains(l[detection.Name].Classes, "vessel") || l[detection.Name].Unknown != nil {
		t.Errorf("transfer would learn %+v", l)
	}
	// Another mapping, another result.
	changed := load(t, r.Out, twoSpaces, "data.boxes.map.detection.house=")
	if c := changed.Changed(); !slices.Equal(c, []string{"boxes-teacher", "labels", "student", "transfer"}) {
		t.Errorf("stages %v change with a mapping", c)
	}
}

// A depth teacher learns from sets of metric and of unknown units together, as MiDaS does, and is scored
// on metric truth.
func TestDepthSpace(t *testing.T) {
	const text = `
name: depth
size: 32
model: {backbone: resnet18, width: 0.125, fpn: 8, head: 8}
train: {batch: 4, steps: 1}
spaces: {depth: inverse}
data:
  ranges: {format: scenes, subset: ranges, size: 32, parts: {train: 6, val: 2, test: 2}}
  pairs: {format: nyu, path: PAIRS, units: inverse}
  rooms: {format: scenes, subset: room-depth, size: 32, parts: {train: 6, test: 2}, metric: nyu}
stages:
  - name: teacher
    train: {data: [ranges, pairs], tasks: [depth]}
  - name: transfer
    transfer: {from: {teacher: teacher}, sets: [{data: rooms, task: depth}]}
`
	pairs := t.TempDir()
	var photo, disparity bytes.Buffer
	png.Encode(&photo, image.NewRGBA(image.Rect(0, 0, 32, 32)))
	g := image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range g.Pix {
		g.Pix[i] = uint8(1 + i%200)
	}
	png.Encode(&disparity, g)
	for i := range 40 { // so many that every split by hash has some
		must(0, os.WriteFile(filepath.Join(pairs, fmt.Sprintf("%d.png", i)), photo.Bytes(), 0o666))
		must(0, os.WriteFile(filepath.Join(pairs, fmt.Sprintf("%d_depth.png", i)), disparity.Bytes(), 0o666))
	}
	r := load(t, t.TempDir(), strings.Replace(text, "PAIRS", pairs, 1))
	runAll(t, r)
	own, inverse := must(must(r.OpenOwn("ranges", "train")).Sample(0)), must(must(r.Open("ranges", "train")).Sample(0))
	for i, d := range depth.Of(own).Pix {
		if v := depth.Of(inverse).Pix[i]; v != 1/d && d == d {
			t.Fatalf("depth %v became %v", d, v)
		}
	}
	// The relative teacher on metric truth, in the Eigen crop.
	net, _, err := checkpoint.Load(filepath.Join(r.Folder("teacher"), train.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	defer torch.Do(net.Free)
	rooms := must(r.OpenOwn("rooms", "test"))
	scores, err := predict.Evaluate(t.Context(), net, rooms, predict.Options{})
	if err != nil || rooms.Labels()[depth.Name].Protocol != "nyu" || len(scores[depth.Name]) == 0 {
		t.Errorf("%v, %v", scores, err)
	}
	_, err = read(strings.Replace(text, "depth: inverse", "depth: metric", 1))
	if err == nil || !strings.Contains(err.Error(), "inverse only") {
		t.Errorf("the space metric: %v", err)
	}
}

func TestMistakesInSpaces(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"spaces:", "space:", `"spaces"`},
		{"  detection: [Ball", "  detektion: [Ball", `"detection"`},
		{"{from: stuff}", "{from: stuf}", `"stuff"`},
		{"[Ball, box, car, vessel]", "[Ball, Ball, vessel]", "there twice"},
		{"[Ball, box, car, vessel]", "[]", "spaces.detection is empty"},
		{"map: {detection", "map: {classification", "declare the task's classes under spaces"},
		{"tasks: [segmentation]}\n  rooms", "tasks: [segmentations]}\n  rooms", `"segmentation"`},
	} {
		text := strings.Replace(twoSpaces, c.old, c.new, 1)
		_, err := read(text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error does not say %s: %v", c.new, c.want, err)
		}
	}
	// What only the sets can tell.
	for _, c := range []struct{ setting, want string }{
		{"data.boxes.map.detection.mushrom=vessel", `no class "mushrom"`},
		{"data.boxes.map.detection.mushroom=vessels", "data.boxes.map.detection"},
		{"spaces.detection=[x, y]", "none of its classes"},
		{"spaces.segmentation.from=crowds", "no labels"},
		{"spaces={}", "declare the task's classes under spaces"},
	} {
		settings := []string{c.setting}
		if c.setting == "spaces={}" {
			settings = append(settings, "data.boxes.map={}")
		}
		err := load(t, t.TempDir(), twoSpaces, settings...).Run(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error does not say %s: %v", c.setting, c.want, err)
		}
	}
}
