package shards

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"must/data"
	"must/data/npy"
	"must/task/classification"
	depthlabel "must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// images is a dataset of n unlabelled images of a few pixels whose keys have slashes and dots.
type images struct {
	n      int
	labels data.Labels
	fill   func(i int, s *data.Sample) // true labels
}

func (d images) Len() int            { return d.n }
func (d images) Labels() data.Labels { return d.labels }
func (d images) Key(i int) string    { return fmt.Sprintf("dir.%d/im%%g.%d", i%3, i) }
func (d images) Sample(i int) (*data.Sample, error) {
	if i%10 == 7 {
		return nil, &data.SampleError{Key: d.Key(i), File: "im.jpg", Err: io.ErrUnexpectedEOF}
	}
	s := &data.Sample{Key: d.Key(i), Image: image.NewRGBA(image.Rect(0, 0, 5+i%4, 4+i%3))}
	if d.fill != nil {
		d.fill(i, s)
	}
	return s, nil
}

func provenance() Provenance {
	return Provenance{Program: "must test", Dataset: Dataset{Name: "images"}, Tasks: map[string]Task{
		classification.Name: {Teacher: "c.safetensors", SHA256: "c0", DType: npy.Float32, Classes: []string{"a", "b", "c"}},
		detection.Name:      {Teacher: "d.safetensors", SHA256: "d0", Threshold: 0.5, Classes: []string{"<x>", "é"}, Masks: true},
		segmentation.Name:   {Teacher: "s.safetensors", SHA256: "50", Threshold: 0.5, Classes: []string{"k", "l", "m"}},
		depthlabel.Name:     {Teacher: "z.safetensors", SHA256: "20", DType: npy.Float16, Units: data.Inverse},
		normals.Name:        {Teacher: "n.safetensors", SHA256: "a0", DType: npy.Float16},
	}}
}

// predict labels a sample the same way every time. Its values survive float16.
func predict(i int, s *data.Sample) *data.Sample {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	w, h := s.Image.Rect.Dx(), s.Image.Rect.Dy()
	p := &data.Sample{Key: s.Key, Image: s.Image, Known: data.Know(classification.New([]float32{r.Float32(), r.Float32(), r.Float32()}), detection.New([]data.Object{}))}
	for range i % 3 {
		m := &data.Mask{Rect: image.Rect(1, 1, 4, 3), Pix: []uint8{1, 0, 1, 0, 1, 1}}
		detection.Set(p, append(detection.Of(p), data.Object{
			Box: data.Box{X0: 1, Y0: 1, X1: 4, Y1: 2.5}, Class: r.IntN(2), Score: r.Float32(), Mask: m}))
	}
	segmentation.Set(p, data.NewGrid[uint8](w, h))
	depthlabel.Set(p, data.NewGrid[float32](w, h))
	normals.Set(p, data.NewGrid[[3]float32](w, h))
	for j := range depthlabel.Of(p).Pix {
		segmentation.Of(p).Pix[j] = []uint8{0, 1, 2, data.Ignore}[r.IntN(4)]
		depthlabel.Of(p).Pix[j] = float32(r.IntN(100)) / 4
		if r.IntN(5) == 0 {
			depthlabel.Of(p).Pix[j] = float32(math.NaN())
		} else {
			normals.Of(p).Pix[j] = [3]float32{0, 0, -1}
		}
	}
	return p
}

// fill labels all that is left to label.
func fill(t testing.TB, dir string, d data.Dataset, p Provenance, o Options) {
	t.Helper()
	if err := work(dir, d, p, o); err != nil {
		t.Fatal(err)
	}
}

func work(dir string, d data.Dataset, p Provenance, o Options) error {
	w, err := NewWriter(dir, d, p, o)
	if err != nil {
		return err
	}
	for {
		s, ok, err := w.Claim(context.Background())
		if err != nil {
			return err
		}
		if !ok {
			return w.Finish()
		}
		if err := label(s, d); err != nil {
			return err
		}
	}
}

func label(s *Shard, d data.Dataset) error {
	defer s.Close()
	for i := s.From; i < s.To; i++ {
		sample, err := d.Sample(i)
		if err != nil {
			err = s.Skip(d.Key(i), err)
		} else {
			err = s.Add(predict(i, sample))
		}
		if err != nil {
			return err
		}
	}
	return s.Commit()
}

// contents maps every file of a folder to its bytes.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		m[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sameContents(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is left over", name)
		}
	}
	for name, b := range want {
		if got[name] != b {
			t.Errorf("%s differs (%d bytes, want %d)", name, len(got[name]), len(b))
		}
	}
}

// diff compares the labels of samples, NaN equal to itself.
func diff(got, want *data.Sample) string {
	return cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.IgnoreFields(data.Sample{}, "Image"), cmpopts.IgnoreUnexported(segmentation.Label{}))
}

func TestRoundTrip(t *testing.T) {
	dir, d := t.TempDir(), images{n: 25}
	fill(t, dir, d, provenance(), Options{ShardSize: 10})

	merged, err := Merge(d, dir)
	if err != nil {
		t.Fatal(err)
	}
	if l := merged.Labels(); !reflect.DeepEqual(l, provenance().Labels()) || merged.Len() != d.n || merged.Key(3) != d.Key(3) {
		t.Errorf("labels %+v of %d samples", l, merged.Len())
	}
	for i := range d.n {
		s, err := merged.Sample(i)
		if i%10 == 7 {
			if err == nil {
				t.Errorf("broken sample %d was read", i)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(s, predict(i, s)); d != "" {
			t.Errorf("sample %d:\n%s", i, d)
		}
	}

	set, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if x := set.Index(); x.Skipped != 2 || len(x.Shards) != 3 || x.Shards[2].Files[depthlabel.Name].Samples != 5 {
		t.Errorf("index %+v", x)
	}
	n := 0
	for r, err := range set.All() {
		if err != nil {
			t.Fatal(err)
		}
		i := indexOf(d, r.Key)
		s, _ := d.Sample(i)
		if r.W != s.Image.Rect.Dx() || r.H != s.Image.Rect.Dy() {
			t.Errorf("record %s is %d×%d", r.Key, r.W, r.H)
		}
		if d := diff(r.Sample, predict(i, s)); d != "" {
			t.Errorf("record %s:\n%s", r.Key, d)
		}
		n++
	}
	if n != 23 {
		t.Errorf("%d records", n)
	}
}

func indexOf(d data.Dataset, key string) int {
	for i := range d.Len() {
		if d.Key(i) == key {
			return i
		}
	}
	return -1
}

// True labels stay; only what is nil is filled in; samples are found by key in other datasets.
func TestMergeKeepsTruth(t *testing.T) {
	dir, d := t.TempDir(), images{n: 25}
	fill(t, dir, d, provenance(), Options{ShardSize: 10})
	base := images{n: 40, labels: data.Labels{classification.Name: {Classes: []string{"a", "b", "c"}}, detection.Name: {Classes: []string{"<x>", "é"}}},
		fill: func(i int, s *data.Sample) {
			if i%2 == 0 {
				classification.Set(s, []float32{0, 1, 0})
				detection.Set(s, []data.Object{})
			}
		}}
	merged, err := Merge(base, dir)
	if err != nil {
		t.Fatal(err)
	}
	if !merged.Labels()[detection.Name].Masks || merged.Labels()[depthlabel.Name].Units != data.Inverse {
		t.Errorf("labels %+v", merged.Labels())
	}
	for _, i := range []int{4, 5, 30, 31} {
		s, err := merged.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		want := predict(i, s)
		if i > d.n {
			want = &data.Sample{Key: s.Key}
		}
		base.fill(i, want)
		if d := diff(s, want); d != "" {
			t.Errorf("sample %d:\n%s", i, d)
		}
	}

	base.labels = base.labels.With(classification.Name, data.Meaning{Classes: []string{"a", "c", "b"}})
	if _, err := Merge(base, dir); err == nil || !strings.Contains(err.Error(), `class 1 is "c"`) {
		t.Errorf("other classes: %v", err)
	}
	base.labels = data.Labels{depthlabel.Name: {Units: data.Metric}}
	if _, err := Merge(base, dir); err == nil || !strings.Contains(err.Error(), "inverse") {
		t.Errorf("other units: %v", err)
	}
	if _, err := Merge(others{d}, dir); err == nil || !strings.Contains(err.Error(), "other images") {
		t.Errorf("other images: %v", err)
	}
}

type others struct{ images }

func (o others) Key(i int) string { return fmt.Sprint("other", i) }

// A task that a sample has true labels for gets no entry, which is not the same as an empty one.
func TestPartialLabels(t *testing.T) {
	dir, d := t.TempDir(), images{n: 3}
	p := provenance()
	w, err := NewWriter(dir, d, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, ok, err := w.Claim(t.Context())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for i := range d.n {
		sample, _ := d.Sample(i)
		full := predict(i, sample)
		if i == 1 {
			detection.Set(full, nil)
			depthlabel.Set(full, nil)
		}
		if err := s.Add(full); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	merged, err := Merge(d, dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		s, err := merged.Sample(i)
		if err != nil || s.Has(detection.Name) != want || s.Has(depthlabel.Name) != want || !s.Has(normals.Name) {
			t.Errorf("sample %d: %v %+v", i, err, s)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	d := images{n: 3}
	w, err := NewWriter(t.TempDir(), d, provenance(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := w.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*data.Sample){
		"2 probabilities":        func(s *data.Sample) { classification.Set(s, classification.Of(s)[:2]) },
		"value 1 is NaN":         func(s *data.Sample) { classification.Of(s)[1] = float32(math.NaN()) },
		"class 9 of 2":           func(s *data.Sample) { detection.Set(s, []data.Object{{Class: 9}}) },
		"inverted":               func(s *data.Sample) { detection.Set(s, []data.Object{{Box: data.Box{X0: 1}}}) },
		"not finite":             func(s *data.Sample) { detection.Set(s, []data.Object{{Score: float32(math.Inf(1))}}) },
		"class 3 of 3":           func(s *data.Sample) { segmentation.Of(s).Pix[2] = 3 },
		"it is 2×2, the image":   func(s *data.Sample) { segmentation.Set(s, data.NewGrid[uint8](2, 2)) },
		"does not fit in float1": func(s *data.Sample) { depthlabel.Of(s).Pix[0] = 1e6 },
		"came where":             func(s *data.Sample) { s.Key = d.Key(2) },
		"no image":               func(s *data.Sample) { s.Image = nil },
	} {
		sample, _ := d.Sample(0)
		p := predict(0, sample)
		spoil(p)
		if err := s.Add(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := s.Commit(); err == nil || !strings.Contains(err.Error(), "0 samples of 3") {
		t.Errorf("commit of an unfinished shard: %v", err)
	}
	if err := w.Finish(); err == nil {
		t.Error("finished without shards")
	}
}

func TestOtherProvenanceIsRefused(t *testing.T) {
	dir, d := t.TempDir(), images{n: 5}
	fill(t, dir, d, provenance(), Options{ShardSize: 2})
	before := contents(t, dir)
	change := func(f func(t *Task)) Provenance {
		p := provenance()
		task := p.Tasks[depthlabel.Name]
		f(&task)
		p.Tasks[depthlabel.Name] = task
		return p
	}
	fewer := provenance()
	delete(fewer.Tasks, normals.Name)
	for want, p := range map[string]Provenance{
		"depth: the teacher was z.safetensors (sha256 20…), now z2.safetensors (sha256 99…)": change(func(t *Task) { t.Teacher, t.SHA256 = "z2.safetensors", "99" }),
		"depth: the threshold was 0, now 0.3":                                                change(func(t *Task) { t.Threshold = 0.3 }),
		"depth: the dtype was float16, now float32":                                          change(func(t *Task) { t.DType = npy.Float32 }),
		"depth: the units were inverse, now metric":                                          change(func(t *Task) { t.Units = data.Metric }),
		"depth: other settings":                                                              change(func(t *Task) { t.Settings = "x" }),
		"normals is labelled in it, now it would not be":                                     fewer,
	} {
		_, err := NewWriter(dir, d, p, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "another folder") {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	for want, d := range map[string]data.Dataset{"had 5 samples": images{n: 6}, "other samples": others{d}} {
		if _, err := NewWriter(dir, d, provenance(), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	sameContents(t, contents(t, dir), before)

	// A moved teacher and a newer program are no other making; the set keeps its shard size.
	same := change(func(t *Task) { t.Teacher = "moved.safetensors" })
	same.Program = "must newer"
	w, err := NewWriter(dir, d, same, Options{ShardSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Remaining(); n != 0 || err != nil {
		t.Errorf("%d samples remain, %v", n, err)
	}

	// Nor can the index be swapped under finished shards.
	os.Remove(filepath.Join(dir, indexName))
	w, err = NewWriter(dir, d, change(func(t *Task) { t.SHA256 = "99" }), Options{ShardSize: 2})
	if err == nil {
		_, _, err = w.Claim(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "other teachers") {
		t.Errorf("shards without their index: %v", err)
	}
}

func TestSetThatIsNotFinished(t *testing.T) {
	dir, d := t.TempDir(), images{n: 5}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "must label") {
		t.Errorf("no set: %v", err)
	}
	if _, err := NewWriter(dir, d, provenance(), Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(d, dir); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("begun set: %v", err)
	}
}

// Damage of every kind is found, named, and mended by labelling again.
func TestDamage(t *testing.T) {
	d := images{n: 25}
	whole := t.TempDir()
	fill(t, whole, d, provenance(), Options{ShardSize: 10})
	want := contents(t, whole)
	depth := filepath.Join(depthlabel.Name, "shard-000001.tar")

	for name, damage := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 3000) },
		"missing": os.Remove,
	} {
		dir := t.TempDir()
		os.CopyFS(dir, os.DirFS(whole))
		path := filepath.Join(dir, depth)
		if err := damage(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Merge(d, dir); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "must label") {
			t.Errorf("%s: %v", name, err)
		}
		w, err := NewWriter(dir, d, provenance(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := w.Remaining(); n != 10 || err != nil {
			t.Errorf("%s: %d samples remain, %v", name, n, err)
		}
		fill(t, dir, d, provenance(), Options{})
		sameContents(t, contents(t, dir), want)
	}

	// Bytes that changed in place: the length is right.
	path := filepath.Join(whole, depth)
	b := []byte(want[depth])
	merged, err := Merge(d, whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"header": 20, "size": 130, "npy": 512} {
		broken := slices.Clone(b)
		broken[at] ^= 0xff
		os.WriteFile(path, broken, 0o666)
		_, err := merged.Sample(10)
		se, ok := errors.AsType[*data.SampleError](err)
		if !ok || se.File != path || !strings.Contains(err.Error(), "im%25g%2E10.npy") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := merged.Sample(11); err != nil {
			t.Errorf("%s: the next sample: %v", name, err)
		}
		set, _ := Open(whole)
		if err := set.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: verify: %v", name, err)
		}
	}
	os.Truncate(path, 700)
	if _, err := merged.Sample(10); err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "delete "+path) {
		t.Errorf("cut while open: %v", err)
	}
}

// Labels of another frame than the image's are broken samples.
func TestFrameMismatch(t *testing.T) {
	dir, d := t.TempDir(), images{n: 3}
	fill(t, dir, d, provenance(), Options{})
	merged, err := Merge(resized{d}, dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = merged.Sample(1)
	if se, ok := errors.AsType[*data.SampleError](err); !ok || !strings.Contains(se.Error(), "6×5") {
		t.Error(err)
	}
}

type resized struct{ images }

func (r resized) Sample(i int) (*data.Sample, error) {
	return &data.Sample{Key: r.Key(i), Image: image.NewRGBA(image.Rect(0, 0, 9, 9))}, nil
}

func TestSeveralWriters(t *testing.T) {
	d := images{n: 60}
	want := t.TempDir()
	fill(t, want, d, provenance(), Options{ShardSize: 4})
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := work(dir, d, provenance(), Options{ShardSize: 4}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sameContents(t, contents(t, dir), contents(t, want))
}

// A shard that someone else holds is waited for, until the context ends.
func TestClaimWaits(t *testing.T) {
	dir, d := t.TempDir(), images{n: 5}
	w, err := NewWriter(dir, d, provenance(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := w.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Claim(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("second claim: %v", err)
	}
	s.Close()
	if s, ok, err := w.Claim(ctx); err != nil || !ok || s.To != 5 {
		t.Errorf("claim of what was given up: %v %v", ok, err)
	}
}

func TestKeysThatClimbOut(t *testing.T) {
	for _, key := range []string{"../x", "/x", "a/../../x", "", ".", "a//b", "\xff"} {
		if validKey(key) {
			t.Errorf("key %q passes", key)
		}
		m := fmt.Sprintf(`{"from":0,"to":1,"keys":[%q],"sizes":[[1,1]]}`, key)
		if _, err := parseManifest([]byte(m)); err == nil && key != "\xff" { // JSON replaces what is no UTF-8
			t.Errorf("a manifest with key %q passes", key)
		}
	}
	w, err := NewWriter(t.TempDir(), climber{images{n: 1}}, provenance(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := w.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sample := &data.Sample{Key: "../../etc/x", Image: image.NewRGBA(image.Rect(0, 0, 1, 1))}
	if err := s.Add(sample); err == nil || !strings.Contains(err.Error(), "relative path") {
		t.Error(err)
	}
}

type climber struct{ images }

func (climber) Key(int) string { return "../../etc/x" }

// WebDataset's key is the path up to the first dot of its last element.
func TestMemberNames(t *testing.T) {
	for key, want := range map[string]string{
		"a":             "a.npy",
		"a.b/c":         "a.b/c.npy",
		"a.b/c.d.e":     "a.b/c%2Ed%2Ee.npy",
		"100%/x%2E":     "100%25/x%252E.npy",
		"é ü/\n":        "é ü/%0A.npy",
		".hidden":       "%2Ehidden.npy",
		"a%2Eb/..c":     "a%252Eb/%2E%2Ec.npy",
		"x\\y:z/\x7fok": "x\\y:z/%7Fok.npy",
	} {
		if got := memberName(key, depthlabel.Name); got != want {
			t.Errorf("%q is stored as %q, want %q", key, got, want)
		}
	}
}

// What is held for a sample must not grow with the labels' size, and writing must hold nothing.
func TestMemoryIsFlat(t *testing.T) {
	held := func(n int) (writing, merged float64) {
		d := blank(n)
		p := Provenance{Tasks: map[string]Task{depthlabel.Name: {DType: npy.Float16, Units: data.Metric}}}
		dir := t.TempDir()
		label := &data.Sample{Image: image.NewRGBA(image.Rect(0, 0, 16, 16)), Known: data.Know(depthlabel.New(data.NewGrid[float32](16, 16)))}
		w, err := NewWriter(dir, d, p, Options{ShardSize: 500})
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		for {
			s, ok, err := w.Claim(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for i := s.From; i < s.To; i++ {
				label.Key = d.Key(i)
				if err := s.Add(label); err != nil {
					t.Fatal(err)
				}
			}
			if s.To == n {
				writing = heap() - before
			}
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		before = heap()
		m, err := Merge(d, dir)
		if err != nil {
			t.Fatal(err)
		}
		merged = heap() - before
		runtime.KeepAlive(m)
		return writing, merged
	}
	w1, m1 := held(1000)
	w20, m20 := held(20000)
	t.Logf("heap while writing: %.0f bytes for 1,000 samples, %.0f for 20,000; merged: %.0f, %.0f", w1, w20, m1, m20)
	if w20 > w1+100e3 {
		t.Errorf("writing 20,000 samples holds %.0f bytes more than 1,000", w20-w1)
	}
	if per := (m20 - m1) / 19000; per > 20 {
		t.Errorf("a merged dataset holds %.1f bytes per sample", per)
	}
}

type blank int

func (b blank) Len() int                         { return int(b) }
func (blank) Labels() data.Labels                { return data.Labels{} }
func (blank) Key(i int) string                   { return fmt.Sprintf("%08d", i) }
func (blank) Sample(i int) (*data.Sample, error) { panic("not read") }

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func FuzzEntry(f *testing.F) {
	d := images{n: 3}
	size := image.Pt(6, 5)
	p := provenance()
	s, _ := d.Sample(1)
	for i, task := range provenance().tasks() {
		var b bytes.Buffer
		if err := encode(&b, task, p.Tasks[task], predict(1, s), size); err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b.Bytes())
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		task := p.tasks()[int(i)%len(p.tasks())]
		s := &data.Sample{}
		if err := decode(b, task, p.Tasks[task], s, size); err != nil {
			return
		}
		var again bytes.Buffer
		if err := encode(&again, task, p.Tasks[task], s, size); err != nil && !strings.Contains(err.Error(), "float16") {
			t.Errorf("%s: what was read cannot be written: %v", task, err)
		}
	})
}

func FuzzMember(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "a.npy", Size: 3, Mode: 0o644})
	w.Write([]byte("abc"))
	w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseMember(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), "a.npy")
		if err == nil && len(got) > len(b) {
			t.Errorf("%d bytes from %d", len(got), len(b))
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"name":"shard-000000","from":0,"to":2,"keys":["a","b"],"sizes":[[1,2],[0,0]],"errors":{"b":"x"},"offsets":{"depth":[0,-1]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		for _, key := range m.Keys {
			if !filepath.IsLocal(key) {
				t.Errorf("key %q", key)
			}
		}
	})
}

// A set whose own classes are some of the label space's gets the others from the shards, in the
// images that have no label at all everything.
func TestMergeAddsUnknownClasses(t *testing.T) {
	dir := t.TempDir()
	own := images{n: 4, labels: data.Labels{detection.Name: {Classes: []string{"é"}}, segmentation.Name: {Classes: []string{"m", "other"}}}, fill: func(i int, s *data.Sample) {
		if i == 3 {
			return // not annotated
		}
		detection.Set(s, []data.Object{{Box: data.Box{X1: 2, Y1: 2}, Score: 1}})
		segmentation.Set(s, data.NewGrid[uint8](s.Image.Rect.Dx(), s.Image.Rect.Dy()))
		for j := range segmentation.Of(s).Pix {
			segmentation.Of(s).Pix[j] = uint8(j % 2)
		}
	}}
	var mappings []data.Mapping
	for task, to := range map[string][]string{detection.Name: provenance().Tasks[detection.Name].Classes, segmentation.Name: provenance().Tasks[segmentation.Name].Classes} {
		m, err := data.MapClasses(task, own.labels[detection.Name].Classes, to, nil)
		if task == segmentation.Name {
			m, err = data.MapClasses(task, own.labels[segmentation.Name].Classes, to, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		mappings = append(mappings, m)
	}
	d := data.Remap(own, mappings...)

	w, err := NewWriter(dir, d, provenance(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := w.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Len() {
		sample, _ := d.Sample(i)
		p := predict(i, sample)
		detection.Set(p, []data.Object{{Class: 0, Score: 0.5, Box: data.Box{X1: 1, Y1: 1}}, {Class: 1, Score: 0.75, Box: data.Box{X1: 1, Y1: 1}}})
		data.Lack(sample, d.Labels(), p)
		if err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}

	merged, err := Merge(d, dir)
	if err != nil {
		t.Fatal(err)
	}
	if u := merged.Labels()[detection.Name].Unknown; u != nil {
		t.Errorf("still unknown: %v", u)
	}
	for i := range d.Len() {
		s, err := merged.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		if detection.Unknown(s) != nil || len(detection.Of(s)) != 2 {
			t.Errorf("sample %d: %+v", i, detection.Of(s))
		}
		if i == 3 {
			continue
		}
		if detection.Of(s)[0].Class != 1 || detection.Of(s)[0].Score != 1 || detection.Of(s)[1].Class != 0 {
			t.Errorf("sample %d: %+v", i, detection.Of(s))
		}
		for j, c := range segmentation.Of(s).Pix {
			if want := segmentation.Of(predict(i, s)).Pix[j]; j%2 == 0 && c != 2 || j%2 == 1 && want < 2 && c != want || j%2 == 1 && want >= 2 && c != data.Ignore {
				t.Errorf("sample %d: pixel %d is %d, predicted %d", i, j, c, want)
			}
		}
	}

	// Read by itself, such a label says what it does not tell of.
	set, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range set.All() {
		if err != nil || (r.Key == own.Key(3)) != (detection.Unknown(r.Sample) == nil) {
			t.Errorf("%v: label of %s: %v", err, r.Key, detection.Unknown(r.Sample))
		}
	}
}
