package serve

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/web"
)

// v2 adds the routes of the Open Inference Protocol, version 2, with binary tensors
// (https://github.com/kserve/open-inference-protocol, and Triton's extension).
func (s *Server) v2(handle func(string, http.HandlerFunc)) {
	ok := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) }
	handle("GET /v2/health/live", ok)
	handle("GET /v2/health/ready", func(w http.ResponseWriter, r *http.Request) {
		if s.ending.Err() != nil {
			web.Error(w, http.StatusServiceUnavailable, "the server is ending")
			return
		}
		ok(w, r)
	})
	handle("GET /v2", func(w http.ResponseWriter, r *http.Request) {
		web.JSON(w, http.StatusOK, map[string]any{"name": "must", "version": s.o.Version, "extensions": []string{"binary_tensor_data", "model_configuration"}})
	})
	for _, at := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		handle("GET "+at, s.ofModel(func(w http.ResponseWriter, g *generation, name string) {
			web.JSON(w, http.StatusOK, metadata(g, name))
		}))
		handle("GET "+at+"/ready", s.ofModel(func(w http.ResponseWriter, _ *generation, _ string) { w.WriteHeader(http.StatusOK) }))
		handle("GET "+at+"/config", s.ofModel(func(w http.ResponseWriter, g *generation, name string) {
			web.JSON(w, http.StatusOK, s.config(g, name))
		}))
		handle("POST "+at+"/infer", func(w http.ResponseWriter, r *http.Request) {
			if err := s.infer(w, r); err != nil {
				s.refuse(w, r, err)
			}
		})
	}
}

// ofModel answers what a model is, or that there is none.
func (s *Server) ofModel(f func(w http.ResponseWriter, g *generation, name string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		m := s.model(r.PathValue("model"))
		if m == nil {
			web.Error(w, http.StatusNotFound, "no model %q", r.PathValue("model"))
			return
		}
		g, release := m.acquire()
		defer release()
		if v := r.PathValue("version"); v != "" && v != version(g) {
			web.Error(w, http.StatusNotFound, "model %s has no version %q; it is at %s", m.Name, v, version(g))
			return
		}
		f(w, g, m.Name)
	}
}

// version is how the protocol names a file: the beginning of its SHA-256.
func version(g *generation) string { return g.Hash[:min(12, len(g.Hash))] }

// A tensorInfo describes an input or output.
type tensorInfo struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"` // -1: any
}

// inputName is the one input: images of any size, UINT8 or FP32 in 0…255 [N, 3, H, W], red first; or BYTES
// [N], the content of image files.
const inputName = "images"

// outputs lists what a model can answer with. Maps are in the frame of the image, boxes in its pixels.
func outputs(l data.Labels) (out []tensorInfo) {
	add := func(name, datatype string, shape ...int) { out = append(out, tensorInfo{name, datatype, shape}) }
	if l.Has(classification.Name) {
		add("classification", "FP32", -1, len(l[classification.Name].Classes))
	}
	if l.Has(detection.Name) {
		add("boxes", "FP32", -1, -1, 4)
		add("scores", "FP32", -1, -1)
		add("labels", "INT64", -1, -1)
		add("count", "INT64", -1)
		if l[detection.Name].Masks {
			add("masks", "UINT8", -1, -1, -1, -1)
		}
	}
	if l.Has(segmentation.Name) {
		add("segmentation", "UINT8", -1, -1, -1)
	}
	if l.Has(depth.Name) {
		add("depth", "FP32", -1, -1, -1)
	}
	if l.Has(normals.Name) {
		add("normals", "FP32", -1, 3, -1, -1)
	}
	add("json", "BYTES", -1)
	return out
}

// byDefault reports whether an output is given unasked: masks are large, and json says all again.
func byDefault(name string) bool { return name != "masks" && name != "json" }

func metadata(g *generation, name string) any {
	return struct {
		Name     string       `json:"name"`
		Versions []string     `json:"versions"`
		Platform string       `json:"platform"`
		Inputs   []tensorInfo `json:"inputs"`
		Outputs  []tensorInfo `json:"outputs"`
	}{name, []string{version(g)}, "must", []tensorInfo{{inputName, "UINT8", []int{-1, 3, -1, -1}}}, outputs(g.knows)}
}

// config is Triton's model configuration, as far as clients look at it.
func (s *Server) config(g *generation, name string) any {
	type tensor struct {
		Name string `json:"name"`
		Type string `json:"data_type"`
		Dims []int  `json:"dims"`
	}
	list := func(in []tensorInfo) (out []tensor) {
		for _, t := range in {
			kind := "TYPE_" + t.Datatype
			if t.Datatype == "BYTES" {
				kind = "TYPE_STRING"
			}
			out = append(out, tensor{t.Name, kind, t.Shape})
		}
		return out
	}
	return map[string]any{
		"name": name, "platform": "must", "backend": "must", "max_batch_size": 0,
		"input": list([]tensorInfo{{inputName, "UINT8", []int{-1, 3, -1, -1}}}), "output": list(outputs(g.knows)),
	}
}

// inferRequest is the JSON of a request.
type inferRequest struct {
	ID         string      `json:"id"`
	Parameters inferParams `json:"parameters"`
	Inputs     []struct {
		Name       string          `json:"name"`
		Datatype   string          `json:"datatype"`
		Shape      []int           `json:"shape"`
		Data       json.RawMessage `json:"data"`
		Parameters inferParams     `json:"parameters"`
	} `json:"inputs"`
	Outputs []struct {
		Name       string      `json:"name"`
		Parameters inferParams `json:"parameters"`
	} `json:"outputs"`
}

// inferParams are the parameters that this server looks at; others are left alone, as the protocol wants.
type inferParams struct {
	BinarySize   *int64   `json:"binary_data_size"`
	Binary       *bool    `json:"binary_data"`
	BinaryOutput *bool    `json:"binary_data_output"`
	Threshold    *float64 `json:"threshold"`
}

// A tensor is an output. Its values are in the protocol's binary form.
type tensor struct {
	tensorInfo
	bytes  []byte
	binary bool
}

const jsonLength = "Inference-Header-Content-Length"

// infer answers a request of the protocol.
func (s *Server) infer(w http.ResponseWriter, r *http.Request) error {
	ctx, g, release, err := s.admit(r, r.PathValue("model"))
	if err != nil {
		return err
	}
	defer release()
	if v := r.PathValue("version"); v != "" && v != version(g) {
		return fail(http.StatusNotFound, "model %s has no version %q; it is at %s", r.PathValue("model"), v, version(g))
	}
	req, binary, err := s.readInfer(w, r)
	if err != nil {
		return err
	}
	questions, err := s.questions(req, binary)
	if err != nil {
		return err
	}
	wanted, err := wantedOutputs(req, g)
	if err != nil {
		return err
	}
	threshold := s.o.Threshold
	if t := req.Parameters.Threshold; t != nil {
		threshold = *t
	}
	tasks := tasksOf(wanted, g)

	answers, errs := make([]answer, len(questions)), make([]error, len(questions))
	var wg sync.WaitGroup
	for i, q := range questions {
		q.threshold, q.tasks = threshold, tasks
		wg.Go(func() {
			errs[i] = s.ask(ctx, g, q, func(a answer) error {
				answers[i] = a
				return nil
			})
		})
	}
	wg.Wait()
	for i, err := range errs {
		if f, ok := err.(*failure); ok && len(errs) > 1 {
			return fail(f.status, "image %d: %w", i, f.err)
		}
		if err != nil {
			return err
		}
	}
	for i := range wanted {
		if err := wanted[i].fill(answers); err != nil {
			return err
		}
	}
	return ignoreGone(r.Context(), writeInfer(w, req.ID, r.PathValue("model"), version(g), wanted))
}

// readInfer reads a request: JSON, and what follows it.
func (s *Server) readInfer(w http.ResponseWriter, r *http.Request) (*inferRequest, []byte, error) {
	r.Body = http.MaxBytesReader(w, r.Body, s.o.MaxBody)
	body := io.Reader(r.Body)
	var err error
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		body, err = gzip.NewReader(body)
	case "deflate":
		body, err = zlib.NewReader(body)
	default:
		return nil, nil, fail(http.StatusUnsupportedMediaType, "Content-Encoding is %q; gzip and deflate are read", r.Header.Get("Content-Encoding"))
	}
	if err != nil {
		return nil, nil, badBody(err)
	}
	content, err := io.ReadAll(io.LimitReader(body, s.o.MaxBody+1)) // what is unpacked is bounded as what comes
	if err != nil {
		return nil, nil, badBody(err)
	}
	if int64(len(content)) > s.o.MaxBody {
		return nil, nil, &http.MaxBytesError{Limit: s.o.MaxBody}
	}
	head := content
	if v := r.Header.Get(jsonLength); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > len(content) {
			return nil, nil, fail(http.StatusBadRequest, "%s is %q; it is the length of the JSON at the beginning of the %d bytes", jsonLength, v, len(content))
		}
		head = content[:n]
	}
	req := &inferRequest{}
	if err := json.Unmarshal(head, req); err != nil {
		return nil, nil, fail(http.StatusBadRequest, "the request is not the protocol's JSON: %w", err)
	}
	return req, content[len(head):], nil
}

// questions makes one question of every image.
func (s *Server) questions(req *inferRequest, binary []byte) ([]question, error) {
	if len(req.Inputs) != 1 || req.Inputs[0].Name != inputName {
		return nil, fail(http.StatusBadRequest, "the request has to have one input, called %s", inputName)
	}
	in := req.Inputs[0]
	most := max(s.o.MaxBatch, 16)
	if len(in.Shape) == 0 || in.Shape[0] < 1 || in.Shape[0] > most {
		return nil, fail(http.StatusBadRequest, "input %s has shape %v; it begins with the number of images, 1 to %d", inputName, in.Shape, most)
	}
	n := in.Shape[0]
	if in.Parameters.BinarySize != nil {
		if *in.Parameters.BinarySize != int64(len(binary)) {
			return nil, fail(http.StatusBadRequest, "input %s says that it has %d bytes; %d follow the JSON", inputName, *in.Parameters.BinarySize, len(binary))
		}
	} else {
		var err error
		if binary, err = fromJSON(in.Data, in.Datatype); err != nil {
			return nil, err
		}
	}
	out := make([]question, n)
	if in.Datatype == "BYTES" {
		if len(in.Shape) > 2 || len(in.Shape) == 2 && in.Shape[1] != 1 {
			return nil, fail(http.StatusBadRequest, "input %s of BYTES has shape %v; it is [N] or [N, 1]", inputName, in.Shape)
		}
		for i := range out {
			if len(binary) < 4 || uint64(len(binary)-4) < uint64(binary32(binary)) {
				return nil, fail(http.StatusBadRequest, "input %s ends within file %d of %d; each is its length, 4 bytes of little endian, and its content", inputName, i, n)
			}
			size := int(binary32(binary))
			out[i].content, binary = binary[4:][:size], binary[4+size:]
		}
		if len(binary) > 0 {
			return nil, fail(http.StatusBadRequest, "input %s has %d bytes after its %d files", inputName, len(binary), n)
		}
		return out, nil
	}
	if len(in.Shape) != 4 || in.Shape[1] != 3 {
		return nil, fail(http.StatusBadRequest, "input %s has shape %v; it is [N, 3, H, W], or [N] files as BYTES", inputName, in.Shape)
	}
	h, w := in.Shape[2], in.Shape[3]
	if err := s.checkPixels(w, h); err != nil {
		return nil, err
	}
	width := map[string]int{"UINT8": 1, "FP32": 4}[in.Datatype]
	if width == 0 {
		return nil, fail(http.StatusBadRequest, "input %s is %s; it is UINT8 or FP32 in 0 to 255, or BYTES", inputName, in.Datatype)
	}
	if int64(len(binary)) != int64(n)*3*int64(h)*int64(w)*int64(width) {
		return nil, fail(http.StatusBadRequest, "input %s of shape %v has %d bytes of values", inputName, in.Shape, len(binary))
	}
	for i := range out {
		img, err := interleave(binary[i*3*h*w*width:][:3*h*w*width], w, h, width)
		if err != nil {
			return nil, err
		}
		out[i].img = img
	}
	return out, nil
}

func binary32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// interleave makes an image of three planes.
func interleave(planes []byte, w, h, width int) (*image.RGBA, error) {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	n := w * h
	for c := range 3 {
		plane := planes[c*n*width:][:n*width]
		for i := range n {
			if width == 1 {
				img.Pix[4*i+c] = plane[i]
				continue
			}
			v := math.Float32frombits(binary32(plane[4*i:]))
			if !(v >= 0 && v <= 255) {
				return nil, fail(http.StatusBadRequest, "input %s has the value %v; pixels are in 0 to 255", inputName, v)
			}
			img.Pix[4*i+c] = uint8(v + .5)
		}
	}
	for i := range n {
		img.Pix[4*i+3] = 255
	}
	return img, nil
}

// fromJSON brings the values of a JSON input, nested or flat, to the binary form.
func fromJSON(b json.RawMessage, datatype string) ([]byte, error) {
	if len(b) == 0 {
		return nil, fail(http.StatusBadRequest, "input %s has neither data nor binary_data_size", inputName)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	out := make([]byte, 0, len(b)/2)
	for {
		t, err := d.Token()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fail(http.StatusBadRequest, "input %s: %w", inputName, err)
		}
		switch t := t.(type) {
		case json.Delim:
			continue
		case json.Number:
			v, err := t.Float64()
			if err != nil || datatype == "UINT8" && (v != math.Trunc(v) || v < 0 || v > 255) {
				return nil, fail(http.StatusBadRequest, "input %s has the value %s, which is no %s", inputName, t, datatype)
			}
			switch datatype {
			case "UINT8":
				out = append(out, uint8(v))
				continue
			case "FP32":
				out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
				continue
			}
		case string: // JSON has no bytes: base64
			if datatype == "BYTES" {
				file, err := base64.StdEncoding.DecodeString(t)
				if err != nil {
					return nil, fail(http.StatusBadRequest, "input %s: BYTES in JSON are files in base64: %w", inputName, err)
				}
				out = append(binary.LittleEndian.AppendUint32(out, uint32(len(file))), file...)
				continue
			}
		}
		return nil, fail(http.StatusBadRequest, "input %s has the value %v, which is no %s", inputName, t, datatype)
	}
}

// wantedOutputs lists the outputs to give and in which form.
func wantedOutputs(req *inferRequest, g *generation) ([]tensor, error) {
	all := outputs(g.knows)
	binaryByDefault := req.Parameters.BinaryOutput != nil && *req.Parameters.BinaryOutput
	var out []tensor
	for _, o := range req.Outputs {
		i := slices.IndexFunc(all, func(t tensorInfo) bool { return t.Name == o.Name })
		if i < 0 {
			var names []string
			for _, t := range all {
				names = append(names, t.Name)
			}
			return nil, fail(http.StatusBadRequest, "the model has no output %q; it has %s", o.Name, strings.Join(names, ", "))
		}
		binary := binaryByDefault
		if o.Parameters.Binary != nil {
			binary = *o.Parameters.Binary
		}
		out = append(out, tensor{tensorInfo: all[i], binary: binary})
	}
	if len(req.Outputs) == 0 {
		for _, t := range all {
			if byDefault(t.Name) {
				out = append(out, tensor{tensorInfo: t, binary: binaryByDefault})
			}
		}
	}
	return out, nil
}

// tasksOf lists the tasks that outputs need.
func tasksOf(wanted []tensor, g *generation) (tasks []string) {
	for _, t := range wanted {
		if t.Name == "json" {
			return nil
		}
		of := t.Name
		if slices.Contains([]string{"boxes", "scores", "labels", "count", "masks"}, of) {
			of = detection.Name
		}
		if !slices.Contains(tasks, of) {
			tasks = append(tasks, of)
		}
	}
	return tasks
}

// fill gives a tensor its values and shape. Lists of objects are padded with zeros to the longest.
func (t *tensor) fill(answers []answer) error {
	most := 0
	for _, a := range answers {
		most = max(most, len(detection.Of(a.Sample)))
	}
	n, size := len(answers), answers[0].size
	perObject := func(values int, f func(o data.Object) []byte, width int) {
		for _, a := range answers {
			for _, o := range detection.Of(a.Sample) {
				t.bytes = append(t.bytes, f(o)...)
			}
			t.bytes = append(t.bytes, make([]byte, (most-len(detection.Of(a.Sample)))*values*width)...)
		}
	}
	switch t.Name {
	case "segmentation", "depth", "normals", "masks":
		for _, a := range answers {
			if a.size != size {
				return fail(http.StatusBadRequest, "the images have sizes %v and %v; output %s of several needs one size: send them one by one, or name other outputs", size, a.size, t.Name)
			}
		}
	}
	switch t.Name {
	case "classification":
		t.Shape = []int{n, t.Shape[1]}
		for _, a := range answers {
			t.bytes = append(t.bytes, float32s(classification.Of(a.Sample))...)
		}
	case "boxes":
		t.Shape = []int{n, most, 4}
		perObject(4, func(o data.Object) []byte {
			return float32s([]float32{float32(o.Box.X0), float32(o.Box.Y0), float32(o.Box.X1), float32(o.Box.Y1)})
		}, 4)
	case "scores":
		t.Shape = []int{n, most}
		perObject(1, func(o data.Object) []byte { return float32s([]float32{o.Score}) }, 4)
	case "labels":
		t.Shape = []int{n, most}
		perObject(1, func(o data.Object) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(o.Class)) }, 8)
	case "count":
		t.Shape = []int{n}
		for _, a := range answers {
			t.bytes = binary.LittleEndian.AppendUint64(t.bytes, uint64(len(detection.Of(a.Sample))))
		}
	case "masks":
		t.Shape = []int{n, most, size.Y, size.X}
		perObject(size.X*size.Y, func(o data.Object) []byte {
			m := make([]byte, size.X*size.Y)
			if o.Mask != nil {
				r := o.Mask.Rect.Intersect(image.Rectangle{Max: size})
				for y := r.Min.Y; y < r.Max.Y; y++ {
					for x := r.Min.X; x < r.Max.X; x++ {
						if o.Mask.At(x, y) {
							m[y*size.X+x] = 1
						}
					}
				}
			}
			return m
		}, 1)
	case "segmentation":
		t.Shape = []int{n, size.Y, size.X}
		for _, a := range answers {
			t.bytes = append(t.bytes, segmentation.Of(a.Sample).Pix...)
		}
	case "depth":
		t.Shape = []int{n, size.Y, size.X}
		for _, a := range answers {
			t.bytes = append(t.bytes, float32s(depth.Of(a.Sample).Pix)...)
		}
	case "normals":
		t.Shape = []int{n, 3, size.Y, size.X}
		plane := make([]float32, size.X*size.Y)
		for _, a := range answers {
			for c := range 3 {
				for i, v := range normals.Of(a.Sample).Pix {
					plane[i] = v[c]
				}
				t.bytes = append(t.bytes, float32s(plane)...)
			}
		}
	case "json":
		t.Shape = []int{n}
		for _, a := range answers {
			var b bytes.Buffer
			if err := encodeJSON(&b, a.describe()); err != nil {
				return err
			}
			text := bytes.TrimSpace(b.Bytes())
			t.bytes = append(binary.LittleEndian.AppendUint32(t.bytes, uint32(len(text))), text...)
		}
	}
	return nil
}

func float32s(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// values is the flat list of a tensor's values for JSON, which cannot hold NaN: those become null.
func (t *tensor) values() any {
	switch t.Datatype {
	case "UINT8":
		out := make([]int, len(t.bytes))
		for i, v := range t.bytes {
			out[i] = int(v)
		}
		return out
	case "INT64":
		out := make([]uint64, len(t.bytes)/8)
		for i := range out {
			out[i] = binary.LittleEndian.Uint64(t.bytes[8*i:])
		}
		return out
	case "FP32":
		out := make([]*float32, len(t.bytes)/4)
		for i := range out {
			if v := math.Float32frombits(binary32(t.bytes[4*i:])); v == v {
				out[i] = &v
			}
		}
		return out
	}
	out := []string{}
	for b := t.bytes; len(b) >= 4; {
		size := int(binary32(b))
		out, b = append(out, string(b[4:][:size])), b[4+size:]
	}
	return out
}

// writeInfer writes a response: JSON, and behind it the values of the outputs in binary form.
func writeInfer(w http.ResponseWriter, id, name, version string, outputs []tensor) error {
	type output struct {
		tensorInfo
		Parameters map[string]any `json:"parameters,omitempty"`
		Data       any            `json:"data,omitempty"`
	}
	head := struct {
		ID      string   `json:"id,omitempty"`
		Name    string   `json:"model_name"`
		Version string   `json:"model_version"`
		Outputs []output `json:"outputs"`
	}{id, name, version, []output{}}
	total, binary := 0, false
	for _, t := range outputs {
		binary = binary || t.binary
		o := output{tensorInfo: t.tensorInfo}
		if t.binary {
			o.Parameters = map[string]any{"binary_data_size": len(t.bytes)}
			total += len(t.bytes)
		} else {
			o.Data = t.values()
		}
		head.Outputs = append(head.Outputs, o)
	}
	b, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("the answer cannot be written: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	if binary {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set(jsonLength, strconv.Itoa(len(b)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+total))
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, t := range outputs {
		if t.binary {
			if _, err := w.Write(t.bytes); err != nil {
				return err
			}
		}
	}
	return nil
}
