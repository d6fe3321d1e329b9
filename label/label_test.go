package label

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"must/data"
	"must/data/scenes"
	"must/label/shards"
	"must/model"
	"must/network"
	"must/predict"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/torch"
)

func open(t *testing.T, name string, count int) data.Dataset {
	t.Helper()
	ds, err := scenes.Open(data.Source{Set: name, Split: "train", Count: count, Size: 48})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// teacher returns an untrained network of the tasks; with seeds that differ they see different things.
func teacher(t *testing.T, size int, seed uint64, l data.Labels, tasks ...string) Teacher {
	t.Helper()
	d := detection.DefaultConfig()
	d.PreNMS, d.PostNMS, d.MaxObjects = 50, 20, 5
	var net *network.Network
	err := torch.DoErr(func() (err error) {
		net, err = network.New(network.Spec{
			Model: model.Config{Backbone: model.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16}, Detection: d,
			Tasks: tasks, Labels: l, Size: size, Mean: network.ImageNetMean, Std: network.ImageNetStd,
		}, seed)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { torch.Do(net.Free) })
	return Teacher{Net: net, Path: strings.Join(tasks, "-"), Hash: strings.Repeat(fmt.Sprintf("%02x", seed), 32), Tasks: tasks}
}

func teachers(t *testing.T) []Teacher {
	crowds := open(t, "crowds", 1).Labels()
	return []Teacher{
		teacher(t, 64, 1, data.Labels{classification.Name: {Classes: []string{"a", "b", "c"}}}, classification.Name),
		teacher(t, 64, 2, data.Labels{detection.Name: {Classes: crowds[detection.Name].Classes}}, detection.Name),
		teacher(t, 48, 3, data.Labels{segmentation.Name: {Classes: []string{"p", "q"}}}, segmentation.Name),
		teacher(t, 64, 4, data.Labels{depth.Name: {Units: data.Inverse}}, depth.Name),
	}
}

// records returns all labels of a finished set by key.
func records(t *testing.T, dir string) map[string]shards.Record {
	t.Helper()
	s, err := shards.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]shards.Record{}
	for r, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		all[r.Key] = r
	}
	return all
}

// Every image gets what the teachers see in it, by the rules, for the tasks that the set lacks; its
// true labels are not labelled again, and stay in the merged set.
func TestLabelsWhatIsMissing(t *testing.T) {
	ds := open(t, "crowds", 10)
	all := teachers(t)
	dir := t.TempDir()
	o := Options{Name: "crowds", Batch: 4, ShardSize: 6, Thresholds: map[string]float64{segmentation.Name: 0.51}}
	sum, err := Run(t.Context(), ds, all, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	got := records(t, dir)
	uses := []predict.Use{{Net: all[0].Net}, {Net: all[2].Net}, {Net: all[3].Net}}
	pixels, ignored, at := 0, 0, 0
	check := func(i int, s, want *data.Sample) error {
		r := got[ds.Key(i)]
		if r.Sample == nil || detection.Of(r.Sample) != nil || r.W != s.Image.Rect.Dx() || r.H != s.Image.Rect.Dy() {
			t.Fatalf("sample %d: %+v", i, r)
		}
		for k, p := range classification.Of(want) {
			if math.Abs(float64(classification.Of(r.Sample)[k]-p)) > 1e-5 {
				t.Errorf("sample %d: classes %v, want %v", i, classification.Of(r.Sample), classification.Of(want))
			}
		}
		for k, c := range segmentation.Of(want).Pix {
			if segmentation.Confidence(want).Pix[k] < 0.51 {
				c, ignored = data.Ignore, ignored+1
			} else {
				pixels++
			}
			if segmentation.Of(r.Sample).Pix[k] != c && math.Abs(float64(segmentation.Confidence(want).Pix[k]-0.51)) > 1e-5 {
				t.Fatalf("sample %d: pixel %d has class %d, want %d", i, k, segmentation.Of(r.Sample).Pix[k], c)
			}
		}
		for k, d := range depth.Of(want).Pix {
			if math.Abs(float64(depth.Of(r.Sample).Pix[k]-d)) > 1e-3*math.Abs(float64(d))+1e-4 { // stored in 16 bits
				t.Fatalf("sample %d: depth %v, want %v", i, depth.Of(r.Sample).Pix[k], d)
			}
		}
		at++
		return nil
	}
	// In the batches of the shards, 0–5 and 6–9.
	for _, part := range [][2]int{{0, 6}, {6, 10}} {
		if err := predict.Run(t.Context(), uses, ds, predict.Options{Batch: 4, From: part[0], To: part[1]}, check); err != nil {
			t.Fatal(err)
		}
	}
	if pixels == 0 || ignored == 0 {
		t.Errorf("%d pixels above the threshold, %d below: it is not tested", pixels, ignored)
	}
	want := Summary{Images: 10, Labels: map[string]int{classification.Name: 10, segmentation.Name: pixels, depth.Name: 10}}
	want.All = shards.Totals{Images: 10, Tasks: map[string]shards.Count{
		classification.Name: {Images: 10, Labels: 10}, segmentation.Name: {Images: 10, Labels: pixels}, depth.Name: {Images: 10, Labels: 10},
	}}
	if len(sum.Health) != 3 {
		t.Errorf("health of %d tasks, want 3", len(sum.Health))
	}
	sum.Health = nil
	for name, c := range sum.All.Tasks { // each class that an image shows counts once for it
		total := 0
		for _, n := range c.Shown {
			total += n
		}
		if name != depth.Name && (total < 10 || total > 20) || name == depth.Name && c.Shown != nil {
			t.Errorf("%s: classes shown by %v of 10 images", name, c.Shown)
		}
		c.Shown = nil
		sum.All.Tasks[name] = c
	}
	if at != 10 || len(got) != 10 || fmt.Sprint(*sum) != fmt.Sprint(want) {
		t.Errorf("%d labelled, summary %+v, want %+v", len(got), *sum, want)
	}

	s, err := shards.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	tasks := s.Index().Tasks
	if names := slices.Sorted(maps.Keys(tasks)); !slices.Equal(names, []string{classification.Name, depth.Name, segmentation.Name}) {
		t.Errorf("labels of %v", names)
	}
	if x := tasks[segmentation.Name]; x.Threshold != 0.51 || x.SHA256 != all[2].Hash || len(x.Classes) != 2 || tasks[depth.Name].Units != data.Inverse {
		t.Errorf("provenance %+v", tasks)
	}
	merged, err := shards.Merge(ds, dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m, err := merged.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		truth, err := ds.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(detection.Of(m)) != fmt.Sprint(detection.Of(truth)) || classification.Of(m) == nil || segmentation.Of(m) == nil || depth.Of(m) == nil {
			t.Errorf("merged sample %+v", m)
		}
	}
}

// Boxes from the threshold on; an image without any has none, which is known.
func TestDetections(t *testing.T) {
	ds := open(t, "objects", 4)
	_, detector := ds, teachers(t)[1:2]
	for threshold, want := range map[float64]bool{0.02: true, 1: false} {
		dir := t.TempDir()
		sum, err := Run(t.Context(), ds, detector, dir, Options{Thresholds: map[string]float64{detection.Name: threshold}})
		if err != nil {
			t.Fatal(err)
		}
		if (sum.Labels[detection.Name] > 0) != want {
			t.Errorf("threshold %v: %d objects", threshold, sum.Labels[detection.Name])
		}
		for key, r := range records(t, dir) {
			if detection.Of(r.Sample) == nil || (len(detection.Of(r.Sample)) > 0) != want {
				t.Errorf("threshold %v: %s has %#v", threshold, key, detection.Of(r.Sample))
			}
			for _, o := range detection.Of(r.Sample) {
				if float64(o.Score) < threshold || o.Box != o.Box.Clip(r.W, r.H) || o.Box.Area() <= 0 {
					t.Errorf("object %+v", o)
				}
			}
		}
	}
}

// partial is a set in which every other image has a class, and in which some files are broken.
type partial struct {
	data.Dataset
	broken func(i int) bool
	read   func(i int)
}

func (p partial) Labels() data.Labels {
	return data.Labels{classification.Name: {Classes: []string{"a", "b", "c"}}}
}

func (p partial) Sample(i int) (*data.Sample, error) {
	if p.read != nil {
		p.read(i)
	}
	if p.broken != nil && p.broken(i) {
		return nil, &data.SampleError{Key: p.Key(i), File: p.Key(i) + ".jpg", Err: errors.New("cut off")}
	}
	s, err := p.Dataset.Sample(i)
	if err != nil {
		return nil, err
	}
	if s = (&data.Sample{Key: s.Key, Image: s.Image}); i%2 == 0 {
		classification.Set(s, []float32{0, 0, 1})
	}
	return s, nil
}

// telling tells which of its images carry labels.
type telling struct{ partial }

func (telling) Carries(i int, task string) bool { return task == classification.Name && i%2 == 0 }

// A set that says of itself that some images lack a label is labelled without that its tasks are named.
func TestPartlyLabelledIsMissing(t *testing.T) {
	all := teachers(t)
	ds := telling{partial{Dataset: open(t, "unlabelled", 4)}}
	if got := Missing(ds, all[:2]); !slices.Equal(got, []string{classification.Name, detection.Name}) {
		t.Errorf("missing are %v", got)
	}
	if got := Missing(data.Spread(ds, 2), all[:1]); got != nil {
		t.Errorf("missing of labelled images are %v", got)
	}
}

// Of a set that is labelled in part, a task that is named is labelled where it is missing.
func TestPartlyLabelled(t *testing.T) {
	ds, dir := partial{Dataset: open(t, "unlabelled", 6)}, t.TempDir()
	all := teachers(t)
	sum, err := Run(t.Context(), ds, all[:1], dir, Options{Tasks: []string{classification.Name}})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Labels[classification.Name] != 3 || sum.Images != 6 {
		t.Errorf("summary %+v", sum)
	}
	merged, err := shards.Merge(ds, dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		s, err := merged.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		if truth := slices.Equal(classification.Of(s), []float32{0, 0, 1}); len(classification.Of(s)) != 3 || truth != (i%2 == 0) {
			t.Errorf("sample %d: classes %v", i, classification.Of(s))
		}
	}
}

// Broken images are skipped and counted, where they fill a whole shard too.
func TestBroken(t *testing.T) {
	ds := partial{Dataset: open(t, "unlabelled", 12), broken: func(i int) bool { return i == 1 || i >= 4 && i < 8 || i == 11 }}
	dir := t.TempDir()
	sum, err := Run(t.Context(), ds, teachers(t)[3:], dir, Options{ShardSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	s, err := shards.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := records(t, dir); sum.Images != 6 || sum.Skipped != 6 || s.Index().Skipped != 6 || len(got) != 6 {
		t.Errorf("summary %+v, index %+v, %d labelled", sum, s.Index(), len(got))
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	why := ""
	for _, b := range files(t, dir) {
		why += string(b)
	}
	if key := ds.Key(5); !strings.Contains(why, key+".jpg: cut off") {
		t.Errorf("nothing tells why %s was skipped", key)
	}
}

// files returns what a folder holds, but for locks.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".lock") {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		all[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Labelling that was cut off goes on, and ends with the bytes of one that was not; what is finished is
// not done again, and nothing is left to do the third time.
func TestResumes(t *testing.T) {
	all := teachers(t)
	o := Options{Name: "unlabelled", Batch: 2, ShardSize: 4}
	whole, dir := t.TempDir(), t.TempDir()
	base := open(t, "unlabelled", 14)
	if _, err := Run(t.Context(), base, all, whole, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, reading{base, func(i int) {
		if i == 9 {
			cancel()
		}
	}}, all, dir, o)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := shards.Open(dir); err == nil {
		t.Error("half a set passes for a whole one")
	}
	var least atomic.Int64
	least.Store(math.MaxInt64)
	sum, err := Run(t.Context(), reading{base, func(i int) { least.Store(min(least.Load(), int64(i))) }}, all, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if least.Load() != 8 || sum.Images != 6 {
		t.Errorf("went on from image %d and labelled %d", least.Load(), sum.Images)
	}
	got, want := files(t, dir), files(t, whole)
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("files %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for name, b := range want {
		if !slices.Equal(got[name], b) {
			t.Errorf("%s has other bytes", name)
		}
	}
	sum, err = Run(t.Context(), reading{base, func(int) { t.Error("an image is read again") }}, all, dir, o)
	if err != nil || sum.Images != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	o.Thresholds = map[string]float64{segmentation.Name: 0.9}
	if _, err := Run(t.Context(), base, all, dir, o); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("other thresholds into the same folder: %v", err)
	}
}

type reading struct {
	data.Dataset
	read func(i int)
}

func (r reading) Sample(i int) (*data.Sample, error) {
	r.read(i)
	return r.Dataset.Sample(i)
}

// Memory does not grow with the set.
func TestMemoryIsFlat(t *testing.T) {
	all := teachers(t)
	var early, late uint64
	var tensorsEarly, tensorsLate int
	ds := reading{open(t, "unlabelled", 80), nil}
	ds.read = func(i int) {
		if i != 20 && i != 75 {
			return
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if i == 20 {
			early = m.HeapAlloc
		} else {
			late = m.HeapAlloc
		}
	}
	live := func() (n int) {
		torch.Do(func() { n = torch.Live() })
		return n
	}
	tensorsEarly = live()
	if _, err := Run(t.Context(), ds, all[3:], t.TempDir(), Options{Batch: 4, ShardSize: 10, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	if tensorsLate = live(); tensorsLate > tensorsEarly+10 {
		t.Errorf("%d tensors, %d before", tensorsLate, tensorsEarly)
	}
	// 55 images and their depths are 1.5 MB.
	if late > early+500_000 {
		t.Errorf("%d bytes in use at the end, %d at the beginning", late, early)
	}
}

func TestRefuses(t *testing.T) {
	all := teachers(t)
	crowds := open(t, "crowds", 2)
	other := teacher(t, 64, 9, data.Labels{classification.Name: {Classes: []string{"x", "y"}}}, classification.Name)
	liar := all[0]
	liar.Tasks = []string{normals.Name}
	for want, c := range map[string]struct {
		ds       data.Dataset
		teachers []Teacher
		o        Options
	}{
		"nothing to label":          {crowds, all[1:2], Options{}},
		"threshold for depth":       {crowds, all, Options{Thresholds: map[string]float64{depth.Name: 0.5}}},
		"segmentation is NaN":       {crowds, all, Options{Thresholds: map[string]float64{segmentation.Name: math.NaN()}}},
		"detection is 1.5":          {crowds, all, Options{Thresholds: map[string]float64{detection.Name: 1.5}}},
		"no teacher for normals":    {crowds, all, Options{Tasks: []string{normals.Name}}},
		"does not know normals":     {crowds, []Teacher{liar}, Options{}},
		"two teachers":              {crowds, []Teacher{all[0], other}, Options{}},
		"teacher classification ar": {partial{Dataset: crowds}, []Teacher{other}, Options{Tasks: []string{classification.Name}}},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		if _, err := Run(t.Context(), c.ds, c.teachers, dir, c.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a folder is left behind", want)
		}
	}
}

// A preview shows what would be stored, beside the true labels.
func TestPreview(t *testing.T) {
	img, err := Preview(t.Context(), open(t, "crowds", 5), teachers(t), 3, Options{Name: "crowds"})
	if err != nil {
		t.Fatal(err)
	}
	if s := img.Rect.Size(); s.X < 100 || s.Y < 48 {
		t.Errorf("a sheet of %v", s)
	}
}
