package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"must/checkpoint"
	"must/data"
	"must/data/scenes"
	"must/label"
	"must/label/export"
	backbone "must/model"
	built "must/network"
	"must/predictions"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/teacher"
	"must/torch"
	"must/web"
)

// checkpointFile writes an untrained network of all tasks; other seeds see other things.
func checkpointFile(t *testing.T, path string, seed uint64) {
	t.Helper()
	d := detection.DefaultConfig()
	d.PreNMS, d.PostNMS, d.MaxObjects = 50, 20, 5
	err := torch.DoErr(func() error {
		n, err := built.New(built.Spec{
			Model: backbone.Config{Backbone: backbone.ResNetConfig{Layers: 18, Width: 0.125}, FPN: 8, Head: 8, BoxFC: 16}, Detection: d,
			Size: 64, Mean: built.ImageNetMean, Std: built.ImageNetStd,
			Tasks: []string{classification.Name, detection.Name, segmentation.Name, depth.Name, normals.Name},
			Labels: data.Labels{
				classification.Name: {Classes: []string{"a", "b", "c"}}, detection.Name: {Classes: []string{"cup", "ball"}, Masks: true},
				segmentation.Name: {Classes: []string{"wall", "floor", "sky"}}, depth.Name: {Units: data.Metric}, normals.Name: {},
			},
		}, seed)
		if err != nil {
			return err
		}
		defer n.Free()
		return checkpoint.Save(path, n, n.Set.State(), checkpoint.Training{})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// threshold lets an untrained detector see something.
const threshold = 0.3

// pictures writes images of several shapes and formats and what must predict says of them.
func pictures(t *testing.T, model string, n int) (files []string, want []map[string]any) {
	t.Helper()
	dir, out := t.TempDir(), t.TempDir()
	ds, err := scenes.Open(data.Source{Set: "stuff", Split: "train", Count: n, Size: 96})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s, err := ds.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		crop := s.Image.SubImage(image.Rect(0, 0, 96-i%5*11, 96-i%3*17))
		var b bytes.Buffer
		name := fmt.Sprintf("p%02d.png", i)
		if i%4 == 3 {
			name = fmt.Sprintf("p%02d.jpg", i)
			err = jpeg.Encode(&b, crop, nil)
		} else {
			err = png.Encode(&b, crop)
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[i], b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	images, err := predictions.Images([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	predictFiles(t, model, images, out)
	for _, f := range files {
		name := filepath.Base(f)
		want = append(want, readJSON(t, filepath.Join(out, strings.TrimSuffix(name, filepath.Ext(name))+".json")))
	}
	return files, want
}

func predictFiles(t *testing.T, model string, images data.Dataset, out string) {
	t.Helper()
	net, err := teacher.Open(model, data.Labels{}, teacher.Engine{})
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Free([]label.Teacher{net})
	if _, err := predictions.Predict(t.Context(), net, images, out, threshold, 0, nil); err != nil {
		t.Fatal(err)
	}
}

func readJSON(t *testing.T, path string) (v map[string]any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// alike reports whether two values of JSON say the same, but for names of files and the last digits of
// numbers, which the size of a batch changes.
func alike(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return false
		}
		for _, m := range []map[string]any{a, b} {
			delete(m, "image")
			delete(m, "file")
			delete(m, "counts") // a pixel of a mask may change sides
		}
		if len(a) != len(b) {
			return false
		}
		for k := range a {
			if !alike(a[k], b[k]) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !alike(a[i], b[i]) {
				return false
			}
		}
		return true
	case float64:
		b, ok := b.(float64)
		return ok && math.Abs(a-b) <= 1e-3*max(1, math.Abs(a))
	}
	return reflect.DeepEqual(a, b)
}

func server(t *testing.T, o Options, models ...Model) (*Server, *httptest.Server) {
	t.Helper()
	s, err := New(t.Context(), models, o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(web.Guard(s, nil))
	t.Cleanup(func() { h.Close(); s.Close() })
	return s, h
}

func options() Options {
	o := Defaults()
	o.Threshold = threshold
	return o
}

func post(t *testing.T, url, kind string, body []byte) (int, []byte, http.Header) {
	t.Helper()
	r, err := http.Post(url, kind, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, b, r.Header
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPlain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net.safetensors")
	checkpointFile(t, file, 1)
	files, want := pictures(t, file, 6)
	_, h := server(t, options(), Model{"net", file})
	url := h.URL + "/models/net/predict"
	objects := 0
	for i, f := range files {
		status, b, _ := post(t, url, "image/png", read(t, f))
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil || status != 200 {
			t.Fatalf("%d %s: %v", status, b, err)
		}
		objects += len(got["detection"].([]any))
		if !alike(got, want[i]) {
			t.Errorf("%s: %v, must predict says %v", f, got, want[i])
		}
	}
	if objects == 0 {
		t.Error("no object in any picture: the test shows nothing of them")
	}

	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	part, _ := m.CreateFormFile("image", "my.png")
	part.Write(read(t, files[0]))
	m.Close()
	status, b, _ := post(t, url+"?task=depth&maps=true", m.FormDataContentType(), form.Bytes())
	var p Prediction
	if err := json.Unmarshal(b, &p); err != nil || status != 200 || p.Image != "my.png" || p.Depth == nil || p.Classification != nil || !strings.HasPrefix(p.Depth.File, "data:application/octet-stream;base64,k05VTVBZ") {
		t.Errorf("a form: %d %.300s", status, b)
	}

	status, b, head := post(t, url+"?format=png&side=64", "", read(t, files[0]))
	if img, err := png.Decode(bytes.NewReader(b)); err != nil || status != 200 || head.Get("Content-Type") != "image/png" || img.Bounds().Dx() < 6*64 {
		t.Errorf("a drawn picture: %d, %v", status, err)
	}

	status, b, _ = post(t, url+"?format=coco&name=x.png", "", read(t, files[0]))
	var coco struct {
		Images      []struct{ File_name string }
		Annotations []struct{ Score float64 }
		Categories  []struct{ Name string }
	}
	if err := json.Unmarshal(b, &coco); err != nil || status != 200 || len(coco.Images) != 1 || coco.Images[0].File_name != "x.png" || len(coco.Categories) != 2 || len(coco.Annotations) != len(want[0]["detection"].([]any)) {
		t.Errorf("COCO's form: %d %s", status, b)
	}
}

// What is wrong is told, with the right status, and harms nothing.
func TestRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net.safetensors")
	checkpointFile(t, file, 1)
	o := options()
	o.MaxBody, o.MaxPixels = 100_000, 50_000
	_, h := server(t, o, Model{"net", file})
	var large, good bytes.Buffer
	png.Encode(&large, image.NewRGBA(image.Rect(0, 0, 300, 300)))
	png.Encode(&good, image.NewRGBA(image.Rect(0, 0, 30, 30)))
	tensor := func(datatype string, shape []int, data any) []byte {
		b, _ := json.Marshal(map[string]any{"inputs": []any{map[string]any{"name": "images", "datatype": datatype, "shape": shape, "data": data}}})
		return b
	}
	for _, c := range []struct {
		path   string
		body   []byte
		status int
		text   string
	}{
		{"/models/other/predict", good.Bytes(), 404, "there are net"},
		{"/models/net/predict", nil, 400, "the file is empty"},
		{"/models/net/predict", []byte("no picture at all"), 400, "not an image"},
		{"/models/net/predict", good.Bytes()[:60], 400, "cannot be read"},
		{"/models/net/predict", large.Bytes(), 413, "300×300"},
		{"/models/net/predict", make([]byte, 200_000), 413, "--max-body"},
		{"/models/net/predict?thresold=1", good.Bytes(), 400, "thresold"},
		{"/models/net/predict?threshold=NaN", good.Bytes(), 400, "in [0, 1]"},
		{"/models/net/predict?task=colour", good.Bytes(), 400, "does not know colour"},
		{"/models/net/predict?format=bmp", good.Bytes(), 400, "json, coco or png"},
		{"/models/net/predict?format=coco&task=depth", good.Bytes(), 400, "objects"},
		{"/models/net/predict?side=9", good.Bytes(), 400, "32 to 2048"},
		{"/v2/models/net/infer", []byte("{"), 400, "JSON"},
		{"/v2/models/net/infer", []byte("{}"), 400, "called images"},
		{"/v2/models/net/versions/7/infer", []byte("{}"), 404, "version"},
		{"/v2/models/net/infer", tensor("UINT8", []int{1, 3, 2, 2}, []int{1, 2, 3}), 400, "3 bytes"},
		{"/v2/models/net/infer", tensor("UINT8", []int{1, 3, 1, 1}, []int{1, 2, 256}), 400, "no UINT8"},
		{"/v2/models/net/infer", tensor("FP32", []int{1, 3, 1, 1}, []float64{1, 2, -1}), 400, "0 to 255"},
		{"/v2/models/net/infer", tensor("UINT8", []int{1 << 40, 3, 1, 1}, []int{1, 2, 3}), 400, "1 to"},
		{"/v2/models/net/infer", tensor("UINT8", []int{1, 3, 1 << 40, 1 << 40}, []int{1, 2, 3}), 413, "pixels"},
		{"/v2/models/net/infer", tensor("BYTES", []int{2}, []string{"aGk="}), 400, "ends within"},
		{"/v2/models/net/infer", tensor("BYTES", []int{1}, []string{"aGk="}), 400, "cannot be read"},
		{"/predict", []byte(`{"tasks": [{"data": {"image": "http://127.0.0.1:9/x.png"}}]}`), 400, "--label-studio"},
		{"/predict", []byte(`{"tasks": [{"data": {"image": "/data/local-files/?d=../../etc/passwd"}}]}`), 400, "--files"},
		{"/predict", []byte(`{"tasks": [{"data": {}}]}`), 400, "no image"},
	} {
		status, b, _ := post(t, h.URL+c.path, "", c.body)
		var e struct{ Error string }
		if json.Unmarshal(b, &e); status != c.status || !strings.Contains(e.Error, c.text) {
			t.Errorf("%s with %.80q: %d %s; want %d with %q", c.path, c.body, status, b, c.status, c.text)
		}
	}
	if status, b, _ := post(t, h.URL+"/models/net/predict", "", good.Bytes()); status != 200 {
		t.Errorf("afterwards: %d %s", status, b)
	}
}

// The protocol: the same answer by JSON and by binary tensors, several images at once, unasked outputs
// left out.
func TestV2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net.safetensors")
	checkpointFile(t, file, 1)
	o := options()
	o.MaxBatch = 1 // an image's last digits depend on what it is seen with
	_, h := server(t, o, Model{"net", file})
	get := func(path string) (int, string) {
		r, err := http.Get(h.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	for path, want := range map[string]string{
		"/v2": "binary_tensor_data", "/v2/health/live": "", "/v2/health/ready": "", "/v2/models/net": `"shape":[-1,3,-1,-1]`,
		"/v2/models/net/ready": "", "/metrics": "must_requests_total", "/": "Drop a picture", "/docs": "/v2/models", "/openapi.json": `"openapi"`,
	} {
		if status, body := get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	if status, _ := get("/v2/models/other/ready"); status != 404 {
		t.Errorf("a model that is not there is ready: %d", status)
	}

	ds, err := scenes.Open(data.Source{Set: "stuff", Split: "train", Count: 2, Size: 40})
	if err != nil {
		t.Fatal(err)
	}
	var planes []byte
	for i := range 2 {
		s, _ := ds.Sample(i)
		for c := range 3 {
			for k := range 40 * 40 {
				planes = append(planes, s.Image.Pix[4*k+c])
			}
		}
	}
	values := make([]int, len(planes))
	for i, v := range planes {
		values[i] = int(v)
	}
	input := map[string]any{"name": "images", "datatype": "UINT8", "shape": []int{2, 3, 40, 40}}
	input["data"] = values
	asJSON, _ := json.Marshal(map[string]any{"id": "7", "inputs": []any{input}})
	status, b, _ := post(t, h.URL+"/v2/models/net/infer", "application/json", asJSON)
	type output struct {
		Name, Datatype string
		Shape          []int
		Data           []*float64
		Parameters     struct{ Binary_data_size int }
	}
	var first, second struct {
		ID            string
		Model_name    string
		Model_version string
		Outputs       []output
	}
	if err := json.Unmarshal(b, &first); err != nil || status != 200 || first.ID != "7" || first.Model_name != "net" || len(first.Outputs) != 8 {
		t.Fatalf("JSON: %d %.300s", status, b)
	}

	delete(input, "data")
	input["parameters"] = map[string]any{"binary_data_size": len(planes)}
	head, _ := json.Marshal(map[string]any{"inputs": []any{input}, "parameters": map[string]any{"binary_data_output": true}})
	req, _ := http.NewRequest(http.MethodPost, h.URL+"/v2/models/net/infer", bytes.NewReader(append(head, planes...)))
	req.Header.Set("Inference-Header-Content-Length", fmt.Sprint(len(head)))
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ = io.ReadAll(r.Body)
	var n int
	fmt.Sscan(r.Header.Get("Inference-Header-Content-Length"), &n)
	if err := json.Unmarshal(b[:n], &second); err != nil || len(second.Outputs) != len(first.Outputs) {
		t.Fatalf("binary: %s", b)
	}
	rest := b[n:]
	for i, o := range second.Outputs {
		part := rest[:o.Parameters.Binary_data_size]
		rest = rest[len(part):]
		j := first.Outputs[i]
		count := 1
		for _, d := range o.Shape {
			count *= d
		}
		if j.Name != o.Name || !slices.Equal(j.Shape, o.Shape) || len(j.Data) != count || o.Shape[0] != 2 {
			t.Fatalf("%s %v with %d values, in JSON %s %v", o.Name, o.Shape, len(j.Data), j.Name, j.Shape)
		}
		for k, v := range j.Data {
			var got float64
			switch o.Datatype {
			case "UINT8":
				got = float64(part[k])
			case "INT64":
				got = float64(binary.LittleEndian.Uint64(part[8*k:]))
			case "FP32":
				got = float64(math.Float32frombits(binary.LittleEndian.Uint32(part[4*k:])))
			}
			if v == nil && got == got || v != nil && math.Abs(*v-got) > 1e-3*max(1, math.Abs(got)) {
				t.Fatalf("%s[%d] is %v, in JSON %v", o.Name, k, got, v)
			}
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are of no output", len(rest))
	}
}

func TestLabelStudio(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "net.safetensors")
	checkpointFile(t, file, 1)
	files, want := pictures(t, file, 2)
	content := read(t, files[0])
	if err := os.Mkdir(filepath.Join(dir, "local"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "local", "a.png"), content, 0o666); err != nil {
		t.Fatal(err)
	}
	studio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Token secret" || r.URL.Path != "/data/upload/1/a.png" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Write(content)
	}))
	defer studio.Close()
	o := options()
	o.Files, o.Studio, o.Token = filepath.Join(dir, "local"), studio.URL, "secret"
	var log []string
	o.Log = func(format string, a ...any) { log = append(log, fmt.Sprintf(format, a...)) }
	_, h := server(t, o, Model{"net", file})

	const config = `<View><Image name="img" value="$photo"/><RectangleLabels name="rect" toName="img"><Label value="cup"/></RectangleLabels><Choices name="kind" toName="img"><Choice value="a"/><Choice value="b"/><Choice value="c"/></Choices></View>`
	setup, _ := json.Marshal(map[string]string{"project": "1", "schema": config})
	status, b, _ := post(t, h.URL+"/setup", "application/json", setup)
	if status != 200 || !strings.Contains(string(b), `"model_version":"net-`) {
		t.Errorf("setup: %d %s", status, b)
	}
	if text := strings.Join(log, "\n"); !strings.Contains(text, "ball") || !strings.Contains(text, "BrushLabels") {
		t.Errorf("classes that the project lacks are not told: %s", text)
	}

	var tasks []any
	for _, address := range []string{"data:image/png;base64," + base64.StdEncoding.EncodeToString(content), "/data/local-files/?d=a.png", "/data/upload/1/a.png"} {
		tasks = append(tasks, map[string]any{"id": len(tasks), "data": map[string]string{"photo": address}})
	}
	body, _ := json.Marshal(map[string]any{"tasks": tasks, "label_config": config})
	status, b, _ = post(t, h.URL+"/predict", "application/json", body)
	var got struct{ Results []export.StudioPrediction }
	if err := json.Unmarshal(b, &got); err != nil || status != 200 || len(got.Results) != 3 {
		t.Fatalf("%d %s", status, b)
	}
	var cups []map[string]any
	for _, o := range want[0]["detection"].([]any) {
		if o := o.(map[string]any); o["class"] == "cup" {
			cups = append(cups, o)
		}
	}
	for i, p := range got.Results {
		boxes := slices.DeleteFunc(slices.Clone(p.Results), func(r export.StudioResult) bool { return r.Type != "rectanglelabels" })
		if len(boxes) != len(cups) || len(p.Results) != len(cups)+1 || !strings.HasPrefix(p.Version, "net-") {
			t.Fatalf("task %d: %+v, want %d cups and a class", i, p, len(cups))
		}
		for k, r := range boxes {
			box := cups[k]["bbox"].([]any)
			w, height := want[0]["width"].(float64), want[0]["height"].(float64)
			if r.From != "rect" || r.To != "img" || math.Abs(*r.Value.X-100*box[0].(float64)/w) > .1 || math.Abs(*r.Value.Height-100*box[3].(float64)/height) > .1 || r.Score < threshold {
				t.Errorf("task %d: %+v, want %v", i, r, cups[k])
			}
		}
	}
	for _, address := range []string{"/data/local-files/?d=../net.safetensors", "http://example.org/a.png", "file:///etc/passwd"} {
		body, _ := json.Marshal(map[string]any{"tasks": []any{map[string]any{"data": map[string]string{"photo": address}}}, "label_config": config})
		if status, b, _ := post(t, h.URL+"/predict", "application/json", body); status != 400 {
			t.Errorf("%s: %d %s", address, status, b)
		}
	}
}

// Many clients at once, good and bad requests mixed, some cut off: no answer is lost or another's, and
// memory stays.
func TestManyClients(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net.safetensors")
	checkpointFile(t, file, 1)
	files, want := pictures(t, file, 12)
	contents := make([][]byte, len(files))
	for i, f := range files {
		contents[i] = read(t, f)
	}
	_, h := server(t, options(), Model{"net", file})
	url := h.URL + "/models/net/predict"
	const clients = 32
	requests := 2000
	if testing.Short() {
		requests = 320
	}
	var next, good, bad, cut atomic.Int64
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				k := int(next.Add(1)) - 1
				if k >= requests {
					return
				}
				if k == requests/4 {
					before = heap()
				}
				i := k % len(files)
				body, ctx, cancel := contents[i], context.Background(), func() {}
				switch {
				case k%7 == 3:
					body = body[:len(body)/2]
				case k%11 == 5: // hangs up
					ctx, cancel = context.WithTimeout(ctx, 2*time.Millisecond)
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
				r, err := client.Do(req)
				var b []byte
				if err == nil {
					b, err = io.ReadAll(r.Body)
					r.Body.Close()
				}
				hung := ctx.Err() != nil
				cancel()
				switch {
				case err != nil && hung:
					cut.Add(1)
				case err != nil:
					t.Errorf("request %d: %v", k, err)
				case k%7 == 3:
					if bad.Add(1); r.StatusCode != 400 {
						t.Errorf("request %d, half an image: %d %.200s", k, r.StatusCode, b)
					}
				default:
					var got map[string]any
					good.Add(1)
					ref := map[string]any{}
					text, _ := json.Marshal(want[i])
					json.Unmarshal(text, &ref) // alike changes its arguments
					if json.Unmarshal(b, &got); r.StatusCode != 200 || !alike(got, ref) {
						t.Errorf("request %d: %d %.300s; must predict says %v", k, r.StatusCode, b, want[i])
					}
				}
			}
		})
	}
	wg.Wait()
	if n := good.Load() + bad.Load() + cut.Load(); n != int64(requests) || good.Load() < int64(requests)/2 {
		t.Errorf("%d good, %d bad and %d cut off of %d", good.Load(), bad.Load(), cut.Load(), requests)
	}
	if after := heap(); after > before+32<<20 {
		t.Errorf("the heap grew from %d to %d MB", before>>20, after>>20)
	}
}

// More than the queue holds is told to come back, and what is within it is answered.
func TestQueueIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net.safetensors")
	checkpointFile(t, file, 1)
	o := options()
	o.Queue = 2
	s, h := server(t, o, Model{"net", file})
	var picture bytes.Buffer
	png.Encode(&picture, image.NewRGBA(image.Rect(0, 0, 30, 30)))
	for range 2 { // as requests under way do
		s.admitted <- struct{}{}
	}
	status, b, head := post(t, h.URL+"/models/net/predict", "", picture.Bytes())
	if status != 503 || head.Get("Retry-After") == "" {
		t.Errorf("beyond the queue: %d %s", status, b)
	}
	<-s.admitted
	if status, b, _ := post(t, h.URL+"/models/net/predict", "", picture.Bytes()); status != 200 {
		t.Errorf("within the queue: %d %s", status, b)
	}
	<-s.admitted
	if len(s.admitted) != 0 {
		t.Errorf("%d places are not given back", len(s.admitted))
	}
}

// A new file takes over while requests run; each answer is wholly the one's or the other's. A broken file
// changes nothing.
func TestNewFileTakesOver(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "net.safetensors"), filepath.Join(dir, "other.safetensors")
	checkpointFile(t, file, 1)
	checkpointFile(t, other, 2)
	files, want := pictures(t, file, 1)
	images, err := predictions.Images(files)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	predictFiles(t, other, images, out)
	later := readJSON(t, filepath.Join(out, "p00.json"))
	o := options()
	o.Settle = 0
	s, h := server(t, o, Model{"net", file})
	content := read(t, files[0])
	stop := make(chan struct{})
	var answers [2]atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, b, _ := post(t, h.URL+"/models/net/predict", "", content)
				var got map[string]any
				json.Unmarshal(b, &got)
				which := 0
				if got["network"] == later["network"] {
					which = 1
				}
				answers[which].Add(1)
				ref, _ := json.Marshal([]map[string]any{want[0], later}[which])
				var w map[string]any
				json.Unmarshal(ref, &w)
				if status != 200 || !alike(got, w) {
					t.Errorf("%d %.200s", status, b)
					return
				}
			}
		})
	}
	wait := func(which int) {
		for n, until := answers[which].Load()+20, time.Now().Add(time.Minute); answers[which].Load() < n && time.Now().Before(until) && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	wait(0)
	if err := os.WriteFile(file, []byte("half a file"), 0o666); err != nil {
		t.Fatal(err)
	}
	s.refresh(s.models[0])
	wait(0)
	if err := os.Rename(other, file); err != nil {
		t.Fatal(err)
	}
	s.refresh(s.models[0])
	wait(1)
	close(stop)
	wg.Wait()
	if answers[0].Load() == 0 || answers[1].Load() == 0 {
		t.Errorf("answers of the old file and of the new: %d, %d", answers[0].Load(), answers[1].Load())
	}
}

// What is under way when the server is to end is answered; new calls are not taken.
func TestEndsAfterWhatIsUnderWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net.safetensors")
	checkpointFile(t, file, 1)
	ctx, end := context.WithCancel(t.Context())
	s, err := New(ctx, []Model{{"net", file}}, options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := web.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- web.Serve(ctx, l, s, web.Options{Log: t.Logf}) }()

	var picture bytes.Buffer
	png.Encode(&picture, image.NewRGBA(image.Rect(0, 0, 30, 30)))
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /models/net/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", picture.Len())
	for len(s.admitted) == 0 { // its head has arrived
		time.Sleep(time.Millisecond)
	}
	end()
	select {
	case err := <-ended:
		t.Fatalf("it ended with a request under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	c.Write(picture.Bytes())
	b := make([]byte, 12)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "HTTP/1.1 200" {
		t.Errorf("%q %v", b, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestParseModel(t *testing.T) {
	for arg, want := range map[string]Model{
		"student.safetensors":                {"student", "student.safetensors"},
		"out/demo/student/model.safetensors": {"student", "out/demo/student/model.safetensors"},
		"out/voc/train/model.safetensors":    {"voc", "out/voc/train/model.safetensors"},
		"midas.teacher.yaml":                 {"midas", "midas.teacher.yaml"},
		"a=b/c.safetensors":                  {"a", "b/c.safetensors"},
	} {
		if got, err := ParseModel(arg); err != nil || got != want {
			t.Errorf("%s: %v %v", arg, got, err)
		}
	}
	if _, err := ParseModel("a/b=c"); err == nil {
		t.Error("a name with a slash is taken")
	}
}
