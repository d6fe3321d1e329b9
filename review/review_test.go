package review

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	_ "image/jpeg"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/npy"
	"must/data/scenes"
	"must/label/export"
	"must/label/shards"
	"must/task/classification"
	depthlabel "must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/web"
)

// bare is a set without its labels.
type bare struct{ data.Dataset }

func (b bare) Labels() data.Labels { return data.Labels{} }

func (b bare) Sample(i int) (*data.Sample, error) {
	s, err := b.Dataset.Sample(i)
	if err != nil {
		return nil, err
	}
	return &data.Sample{Key: s.Key, Image: s.Image}, nil
}

// pseudoLabels writes labels that a teacher might have made: true ones with scores, some of another class,
// some missed, pixels near borders unsure. Other seeds err otherwise.
func pseudoLabels(t testing.TB, n, size int, seed uint64) (dir string, images data.Dataset) {
	t.Helper()
	ds, err := scenes.Open(data.Source{Set: "stuff", Split: "train", Count: n, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	images = scenes.Cached(bare{ds}, 64<<20)
	dir = filepath.Join(t.TempDir(), "labels")
	l := ds.Labels()
	classes := []string{"indoors", "outdoors", "seaside"}
	w, err := shards.NewWriter(dir, images, shards.Provenance{Program: "test", Dataset: shards.Dataset{Name: "stuff"}, Tasks: map[string]shards.Task{
		classification.Name: {Teacher: "places.safetensors", SHA256: "a", DType: npy.Float32, Classes: classes},
		detection.Name:      {Teacher: "boxes.safetensors", SHA256: "b", Threshold: .5, Classes: l[detection.Name].Classes, Masks: true},
		segmentation.Name:   {Teacher: "areas.safetensors", SHA256: "c", Threshold: .5, Classes: l[segmentation.Name].Classes},
	}}, shards.Options{ShardSize: 8})
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, ok, err := w.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		for i := s.From; i < s.To; i++ {
			truth, err := ds.Sample(i)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Add(guess(truth, len(l[detection.Name].Classes), rand.New(rand.NewPCG(seed, uint64(i))))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return dir, images
}

func guess(s *data.Sample, classes int, r *rand.Rand) *data.Sample {
	p := &data.Sample{Key: s.Key, Image: s.Image, Known: data.Know(classification.New(make([]float32, 3)), detection.New([]data.Object{}), segmentation.New(segmentation.Of(s)))}
	best := r.IntN(3)
	classification.Of(p)[best] = .4 + .6*r.Float32()
	for k := range classification.Of(p) {
		if k != best {
			classification.Of(p)[k] = (1 - classification.Of(p)[best]) / 2
		}
	}
	for _, o := range detection.Of(s) {
		o.Score = .5 + .5*r.Float32()
		switch {
		case r.IntN(7) == 0:
			continue
		case o.Score < .6:
			o.Class = r.IntN(classes)
		}
		d := 4 * (r.Float64() - .5)
		o.Box.X0, o.Box.Y1 = max(0, o.Box.X0+d), max(o.Box.Y0+2, o.Box.Y1-d)
		o.Box = o.Box.Clip(s.Image.Rect.Dx(), s.Image.Rect.Dy())
		detection.Set(p, append(detection.Of(p), o))
	}
	g := segmentation.Of(p)
	near := 1 + r.IntN(3)
	unsure := data.NewGrid[uint8](g.W, g.H)
	for y := range g.H {
		for x := range g.W {
			c := g.At(x, y)
			for _, d := range [][2]int{{near, 0}, {-near, 0}, {0, near}, {0, -near}} {
				if a, b := x+d[0], y+d[1]; a >= 0 && b >= 0 && a < g.W && b < g.H && g.At(a, b) != c {
					c = data.Ignore
					break
				}
			}
			unsure.Set(x, y, c)
		}
	}
	segmentation.Set(p, unsure)
	return p
}

func openServer(t *testing.T, dir string, images data.Dataset, against string) (*Server, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Open(ctx, dir, images, against)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	h := httptest.NewServer(web.Guard(s, nil))
	t.Cleanup(func() {
		h.Close()
		cancel()
		<-s.scan.ready
		s.Close()
	})
	return s, h.URL
}

func get[T any](t *testing.T, url string) (v T) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(b, &v); err != nil || r.StatusCode != 200 {
		t.Fatalf("%s: %d %.300s", url, r.StatusCode, b)
	}
	return v
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(b)
}

type ordered struct{ IDs []int }

// Orders and filters say what they say.
func TestOrders(t *testing.T) {
	dir, images := pseudoLabels(t, 20, 48, 1)
	other, _ := pseudoLabels(t, 20, 48, 2)
	s, url := openServer(t, dir, images, other)
	<-s.scan.ready
	all := map[int]sampleInfo{}
	for i := range 20 {
		all[i] = get[struct{ Sample sampleInfo }](t, fmt.Sprintf("%s/api/sample/%d", url, i)).Sample
	}
	shows := map[string]int{} // images by class
	of := func(i int) (classes []string) {
		for _, o := range all[i].Objects {
			if !slices.Contains(classes, o.Class) {
				classes = append(classes, o.Class)
			}
		}
		return classes
	}
	for i := range 20 {
		for _, c := range of(i) {
			shows[c]++
		}
	}
	for by, value := range map[string]func(i int) float64{
		"set":    func(i int) float64 { return float64(i) },
		"least":  func(i int) float64 { return float64(all[i].Sure) },
		"differ": func(i int) float64 { return -float64(all[i].Differ) },
		"most":   func(i int) float64 { return -float64(all[i].itemInfo.Objects) },
		"fewest": func(i int) float64 { return float64(all[i].itemInfo.Objects) },
	} {
		ids := get[ordered](t, url+"/api/order?sort="+by).IDs
		if len(ids) != 20 || !slices.IsSortedFunc(ids, func(a, b int) int {
			switch x, y := value(a), value(b); {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}) {
			t.Errorf("by %s: %v", by, ids)
		}
	}
	for k, c := range s.classes {
		if c.Task != detection.Name {
			continue
		}
		ids := get[ordered](t, fmt.Sprintf("%s/api/order?class=%d", url, k)).IDs
		if len(ids) != shows[c.Name] {
			t.Errorf("%d images show %s, not %d", len(ids), c.Name, shows[c.Name])
		}
		for _, i := range ids {
			if !slices.Contains(of(i), c.Name) {
				t.Errorf("image %d shows no %s", i, c.Name)
			}
		}
	}
	for _, i := range get[ordered](t, url+"/api/order?task=classification&min=0.5&max=0.8").IDs {
		if p := all[i].Sures[classification.Name]; p < .5 || p > .8 {
			t.Errorf("image %d has a class of probability %v", i, p)
		}
	}
	if r, err := http.Get(url + "/api/order?task=depth"); err != nil || r.StatusCode != 400 {
		t.Errorf("a task that the set has not: %v %v", r, err)
	}
	post(t, url+"/api/decide", `{"image": 3, "do": "drop"}`)
	post(t, url+"/api/decide", `{"image": 4, "do": "drop-task", "task": "segmentation"}`)
	for state, want := range map[string]int{"open": 19, "dropped": 1, "kept": 0, "decided": 2} {
		if ids := get[ordered](t, url+"/api/order?state="+state).IDs; len(ids) != want {
			t.Errorf("%s: %v", state, ids)
		}
	}

	// The next time nothing is computed: what is kept beside the shards says all.
	before := s.scan.stats
	again := newScanner(s.review.Table, s.scan.against)
	broken := make(chan struct{})
	again.run(broken)
	for i := range before {
		if fmt.Sprint(again.stats[i]) != fmt.Sprint(before[i]) {
			t.Errorf("image %d: %v, kept %v", i, before[i], again.stats[i])
		}
	}
}

func TestDifferences(t *testing.T) {
	box := func(x float64, class int) data.Object {
		return data.Object{Box: data.Box{X0: x, X1: x + 10, Y1: 10}, Class: class}
	}
	grid := func(v ...uint8) *data.Grid[uint8] { return &data.Grid[uint8]{W: len(v), H: 1, Pix: v} }
	depth := func(v ...float32) *data.Grid[float32] { return &data.Grid[float32]{W: len(v), H: 1, Pix: v} }
	for _, c := range []struct {
		name, task, unit string
		a, b             *data.Sample
		want             float32
	}{
		{"same class", classification.Name, "", &data.Sample{Known: data.Know(classification.New([]float32{.7, .3}))}, &data.Sample{Known: data.Know(classification.New([]float32{.7, .3}))}, 0},
		{"other class", classification.Name, "", &data.Sample{Known: data.Know(classification.New([]float32{1, 0}))}, &data.Sample{Known: data.Know(classification.New([]float32{0, 1}))}, 1},
		{"no objects", detection.Name, "", &data.Sample{Known: data.Know(detection.New([]data.Object{}))}, &data.Sample{Known: data.Know(detection.New([]data.Object{}))}, 0},
		{"one of two", detection.Name, "", &data.Sample{Known: data.Know(detection.New([]data.Object{box(0, 0), box(50, 0)}))}, &data.Sample{Known: data.Know(detection.New([]data.Object{box(1, 0)}))}, 1 - 2.0/3},
		{"class of the object", detection.Name, "", &data.Sample{Known: data.Know(detection.New([]data.Object{box(0, 0)}))}, &data.Sample{Known: data.Know(detection.New([]data.Object{box(0, 1)}))}, 1},
		{"half the pixels", segmentation.Name, "", &data.Sample{Known: data.Know(segmentation.New(grid(1, 1, data.Ignore)))}, &data.Sample{Known: data.Know(segmentation.New(grid(1, 2, 3)))}, .5},
		{"twice as deep", depthlabel.Name, data.Metric, &data.Sample{Known: data.Know(depthlabel.New(depth(1, 2)))}, &data.Sample{Known: data.Know(depthlabel.New(depth(2, 4)))}, .5},
		{"scale alone", depthlabel.Name, data.Inverse, &data.Sample{Known: data.Know(depthlabel.New(depth(1, 2)))}, &data.Sample{Known: data.Know(depthlabel.New(depth(2, 4)))}, 0},
		{"turned by 90°", normals.Name, "", &data.Sample{Known: data.Know(normals.New(&data.Grid[[3]float32]{W: 1, H: 1, Pix: [][3]float32{{0, 0, -1}}}))}, &data.Sample{Known: data.Know(normals.New(&data.Grid[[3]float32]{W: 1, H: 1, Pix: [][3]float32{{1, 0, 0}}}))}, .5},
	} {
		if got := differ(c.a, c.b, c.task, c.unit); got < c.want-1e-5 || got > c.want+1e-5 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// What is decided over HTTP is in the file, and refused where it means nothing.
func TestDecideAndUndo(t *testing.T) {
	dir, images := pseudoLabels(t, 6, 48, 1)
	s, url := openServer(t, dir, images, "")
	<-s.scan.ready
	for body, want := range map[string]string{
		`{"image": 99, "do": "keep"}`: "no image", `{"image": 1, "do": "burn"}`: "no decision", `{`: "EOF",
		`{"image": 1, "do": "drop-task", "task": "depth"}`:                               "no label of task",
		`{"image": 1, "do": "delete", "task": "detection", "object": 77}`:                "object 77",
		`{"image": 1, "do": "delete", "task": "detection"}`:                              "names no object",
		`{"image": 1, "do": "rename", "task": "classification", "class": "underground"}`: "no class",
	} {
		if status, text := post(t, url+"/api/decide", body); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if b, _ := os.ReadFile(shards.DecisionsPath(dir)); len(b) != 0 {
		t.Errorf("refused decisions were written: %s", b)
	}
	if status, text := post(t, url+"/api/decide", `{"image": 1, "do": "drop"}`); status != 200 || !strings.Contains(text, `"dropped":1`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := post(t, url+"/api/undo", ``); status != 200 || !strings.Contains(text, `"dropped":0`) {
		t.Errorf("undo: %d %s", status, text)
	}
	if b, _ := os.ReadFile(shards.DecisionsPath(dir)); bytes.Count(b, []byte("\n")) != 2 {
		t.Errorf("the file: %s", b)
	}
	for _, path := range []string{"/image/0?task=detection", "/image/0?task=segmentation&side=512", "/image/0", "/api/masks/0"} {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := image.Decode(r.Body); err != nil || r.StatusCode != 200 {
			t.Errorf("%s: %d %v", path, r.StatusCode, err)
		}
		r.Body.Close()
	}
}

// Labels that go to a tool and come back unchanged are kept, masks and scores included; a changed image is
// replaced, and nothing else.
func TestThereAndBack(t *testing.T) {
	for _, tool := range Tools {
		t.Run(tool, func(t *testing.T) {
			dir, _ := pseudoLabels(t, 10, 48, 1)
			set, err := shards.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			before := records(t, set)
			file := filepath.Join(t.TempDir(), "out")
			source := export.FromSet(set)
			switch tool {
			case "coco":
				err = export.COCO(source, file)
			case "cvat":
				err = export.CVAT(source, file)
			case "labelstudio":
				if err = export.LabelStudio(source, file, "v1", export.LocalFiles("photos/")); err == nil {
					file = studioAccepts(t, filepath.Join(file, "tasks.json"))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			r, err := shards.OpenReview(dir)
			if err != nil {
				t.Fatal(err)
			}
			n, err := Import(r, tool, file)
			if err != nil || n.Kept != 10 || n.Replaced != 0 || len(n.Unknown) > 0 {
				t.Fatalf("unchanged: %+v %v", n, err)
			}

			// Somebody calls the first object of an image something else there.
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			k := slices.IndexFunc(r.Keys, func(key string) bool { return len(detection.Of(before[key])) > 1 })
			key := r.Keys[k]
			was := set.Labels()[detection.Name].Classes[detection.Of(before[key])[0].Class]
			to := set.Labels()[detection.Name].Classes[(detection.Of(before[key])[0].Class+1)%len(set.Labels()[detection.Name].Classes)]
			if err := os.WriteFile(file, change(t, tool, text, key, was, to), 0o666); err != nil {
				t.Fatal(err)
			}
			n, err = Import(r, tool, file)
			if err != nil || n.Replaced != 1 || n.Decided != 9 {
				t.Fatalf("one changed: %+v %v", n, err)
			}
			r.Close()
			if set, err = shards.Open(dir); err != nil {
				t.Fatal(err)
			}
			for name, s := range records(t, set) {
				for j, o := range detection.Of(s) {
					old := detection.Of(before[name])[j]
					if want := old.Class; (name != key || j != 0) && o.Class != want || name == key && j == 0 && set.Labels()[detection.Name].Classes[o.Class] != to {
						t.Errorf("%s: object %d is a %s, was a %s", name, j, set.Labels()[detection.Name].Classes[o.Class], set.Labels()[detection.Name].Classes[old.Class])
					}
					if name == key && j == 0 && tool == "labelstudio" {
						continue // its new box is a person's and has no mask
					}
					if o.Mask == nil || !slices.Equal(o.Mask.Pix, old.Mask.Pix) || o.Score < old.Score-1e-3 {
						t.Errorf("%s: object %d lost its mask or score", name, j)
					}
				}
				if len(detection.Of(s)) != len(detection.Of(before[name])) || !s.Has(segmentation.Name) {
					t.Errorf("%s has %d objects, had %d", name, len(detection.Of(s)), len(detection.Of(before[name])))
				}
			}
		})
	}
	if _, err := Import(&shards.Review{Table: &shards.Table{}}, "paint", os.Args[0]); err == nil {
		t.Error("an unknown tool is taken")
	}
}

func records(t *testing.T, set *shards.Set) map[string]*data.Sample {
	t.Helper()
	out := map[string]*data.Sample{}
	for r, err := range set.All() {
		if err != nil {
			t.Fatal(err)
		}
		out[r.Key] = r.Sample
	}
	return out
}

// studioAccepts makes of tasks with predictions what Label Studio exports when a person accepts them all.
func studioAccepts(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tasks []map[string]any
	if err := json.Unmarshal(b, &tasks); err != nil {
		t.Fatal(err)
	}
	for k, task := range tasks {
		task["id"] = k + 1
		p := task["predictions"].([]any)[0].(map[string]any)
		task["annotations"] = []any{map[string]any{"result": p["result"], "was_cancelled": false}, map[string]any{"result": []any{}, "was_cancelled": true}}
		delete(task, "predictions")
	}
	if b, err = json.Marshal(tasks); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "project.json")
	if err := os.WriteFile(out, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return out
}

// change gives the first object of an image in a tool's file another class.
func change(t *testing.T, tool string, text []byte, key, was, to string) []byte {
	t.Helper()
	if tool == "cvat" {
		head, rest, _ := strings.Cut(string(text), key)
		return []byte(head + key + strings.Replace(rest, `<mask label="`+was+`"`, `<mask label="`+to+`"`, 1))
	}
	var file any
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if tool == "coco" {
		coco := file.(map[string]any)
		ids := map[string]any{}
		for _, c := range coco["categories"].([]any) {
			c := c.(map[string]any)
			ids[c["name"].(string)] = c["id"]
		}
		for _, img := range coco["images"].([]any) {
			if img := img.(map[string]any); img["file_name"] == key+".jpg" {
				i := slices.IndexFunc(coco["annotations"].([]any), func(a any) bool { return a.(map[string]any)["image_id"] == img["id"] })
				coco["annotations"].([]any)[i].(map[string]any)["category_id"] = ids[to]
			}
		}
	} else {
		for _, task := range file.([]any) {
			task := task.(map[string]any)
			if task["data"].(map[string]any)["key"] != key {
				continue
			}
			results := task["annotations"].([]any)[0].(map[string]any)["result"].([]any)
			i := slices.IndexFunc(results, func(r any) bool { return r.(map[string]any)["type"] == "rectanglelabels" })
			results[i].(map[string]any)["value"].(map[string]any)["rectanglelabels"] = []string{to}
		}
	}
	b, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A shape that cannot be read does not turn its image into one without objects.
func TestImportLeavesWhatItCannotRead(t *testing.T) {
	dir, _ := pseudoLabels(t, 10, 48, 1)
	r, err := shards.OpenReview(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	size, class := r.Size(0), r.Labels()[detection.Name].Classes[0]
	cvat := func(i int, shapes string) string {
		return fmt.Sprintf(`<image id="%d" name="%s.png" width="%d" height="%d">%s</image>`, i, r.Keys[i], size.X, size.Y, shapes)
	}
	studio := func(i int, kind, value string) string {
		return fmt.Sprintf(`{"id": %d, "data": {"key": %q}, "annotations": [{"result": [{"type": %q, "value": {%s}}]}]}`, i, r.Keys[i], kind, value)
	}
	for _, c := range []struct {
		tool, text string
		unread     []string
		replaced   int
	}{
		{"cvat", "<annotations>" + cvat(0, fmt.Sprintf(`<ellipse label=%q cx="9" cy="9" rx="3" ry="4"/>`, class)) +
			cvat(1, fmt.Sprintf(`<box label=%q xtl="1" ytl="1" xbr="9" ybr="9" rotation="30"/>`, class)) +
			cvat(2, fmt.Sprintf(`<polygon label=%q points="1,1;20,1;20,30"/>`, class)) + "</annotations>", []string{"ellipse", "turned box"}, 1},
		{"labelstudio", "[" + strings.Join([]string{
			studio(3, "ellipselabels", fmt.Sprintf(`"ellipselabels": [%q]`, class)),
			studio(4, "rectanglelabels", fmt.Sprintf(`"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 30, "rectanglelabels": [%q]`, class)),
			studio(5, "polygonlabels", fmt.Sprintf(`"points": [[10, 10], [60, 10], [60, 90]], "polygonlabels": [%q]`, class)),
		}, ",") + "]", []string{"ellipselabels", "turned box"}, 1},
	} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		n, err := Import(r, c.tool, file)
		if got := slices.Sorted(maps.Keys(n.Unread)); err != nil || !slices.Equal(got, c.unread) || n.Replaced != c.replaced || n.Kept != 0 {
			t.Errorf("%s: %+v, %v", c.tool, n, err)
		}
	}
	for i, want := range map[int]int{2: 1, 5: 1} {
		s, err := r.Sample(i, detection.Name)
		if err != nil || len(detection.Of(s)) != want || detection.Of(s)[0].Mask == nil {
			t.Errorf("image %d: %v, %v", i, detection.Of(s), err)
		}
	}
}
