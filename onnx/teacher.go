package onnx

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"must/data"
	"must/onnx/ort"
	"must/predict"
	"must/task"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/weights"
)

// Options say how a declaration is used.
type Options struct {
	Dir     string   // that the declaration's files are relative to
	Threads int      // of ONNX Runtime; 0: 1
	Space   []string // the recipe's classes of the task, which the model's are mapped to; nil: the model's own
}

// A Teacher is an ONNX model that knows a task. It is a [predict.Predictor], computed on the CPU, and not
// safe for concurrent use.
type Teacher struct {
	SHA256 string // of the model, with its weights where they lie beside it

	d       Declaration
	plan    *plan
	session *ort.Session
	mapping *data.Mapping // nil: the classes are the model's own
	reader  task.Reader   // of the task's own; nil: this package reads the outputs
	path    string
}

// Open loads the model of a declaration and tries it on a grey image, so that what does not fit is
// told before anything is labelled. Errors name the key that is wrong and list the model's inputs and
// outputs. The caller frees the teacher.
func Open(d Declaration, o Options) (t *Teacher, err error) {
	if err := d.complete(o.Dir); err != nil {
		return nil, err
	}
	t = &Teacher{d: d, path: within(o.Dir, d.ONNX)}
	if t.reader, err = d.reader(); err != nil {
		return nil, err
	}
	if t.SHA256, err = t.d.Hash(o.Dir); err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	if t.session, err = ort.Load(t.path, ort.Options{Threads: o.Threads}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, describe(t.session.Inputs, t.session.Outputs))
			t.Free()
			t = nil
		}
	}()
	names, err := t.session.Metadata("names")
	if err != nil {
		return t, err
	}
	if err := t.d.name(names); err != nil {
		return t, err
	}
	if err := t.mapTo(o.Space); err != nil {
		return t, err
	}
	if t.plan, err = newPlan(&t.d, t.session.Inputs, t.session.Outputs); err != nil {
		return t, err
	}
	return t, t.Try()
}

// Try runs the model on a grey image.
func (t *Teacher) Try() error {
	v := t.plan.view
	if v.Fit == predict.Keep {
		v.W = max(1, int(math.Round(float64(v.W)/float64(v.Multiple)))) * v.Multiple
		v.H = v.W
	}
	grey := predict.Images{Pix: slices.Repeat([]uint8{128}, 3*v.W*v.H), N: 1, W: v.W, H: v.H}
	_, err := t.See(grey)
	return err
}

// Task is the one that the teacher knows.
func (t *Teacher) Task() string {
	if t.reader != nil {
		return t.reader.Task()
	}
	return t.d.Task
}

// mapTo maps the model's classes to a space; nil: they stay its own.
func (t *Teacher) mapTo(space []string) error {
	if space == nil && t.d.Map == nil || !t.d.hasClasses() {
		return nil
	}
	if space == nil {
		return fmt.Errorf("map: nothing to map to; declare the classes of %s under spaces of the recipe", t.d.Task)
	}
	m, err := data.MapClasses(t.d.Task, t.d.Classes.List, space, t.d.Map)
	if err != nil {
		return fmt.Errorf("map.%w", err)
	}
	if len(m.Unknown()) == len(space) {
		return fmt.Errorf("map: none of the model's classes (%q, …) is one of the recipe's (%q, …) for %s", t.d.Classes.List[0], space[0], t.d.Task)
	}
	if !m.Same() {
		t.mapping = &m
	}
	return nil
}

// Hash is the SHA-256 of the model's file. Where exporters put weights into files beside it, it is that
// of the hashes of all.
func (d *Declaration) Hash(dir string) (string, error) {
	path := within(dir, d.ONNX)
	sum, err := weights.Hash(path)
	if err != nil {
		return "", err
	}
	files, err := externalData(path)
	if err != nil {
		return "", err
	}
	for _, name := range []string{filepath.Base(path) + ".data", filepath.Base(path) + "_data"} { // named by habit, if not by the model
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), name)); err == nil && !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	for _, name := range files {
		more, err := weights.Hash(filepath.Join(filepath.Dir(path), filepath.FromSlash(name)))
		if err != nil {
			return "", fmt.Errorf("%s keeps weights in %s: %w", path, name, err)
		}
		both := sha256.Sum256([]byte(sum + more))
		sum = hex.EncodeToString(both[:])
	}
	return sum, nil
}

// located begins the entry of an external tensor that says in which file it lies: the key "location" of a
// StringStringEntryProto (onnx.proto), and the tag of its value.
var located = []byte("\x0a\x08location\x12")

// externalData lists the files beside a model that hold its weights, as the model names them.
func externalData(path string) (files []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const longest = 4096 // name
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		b, err := in.Peek(1 << 20)
		if err != nil && err != io.EOF {
			return nil, err
		}
		at := bytes.Index(b, located)
		if at < 0 {
			if err == io.EOF {
				slices.Sort(files)
				return slices.Compact(files), nil
			}
			in.Discard(len(b) - len(located) + 1)
			continue
		}
		in.Discard(at + len(located))
		n, err := binary.ReadUvarint(in)
		if err != nil || n == 0 || n > longest {
			continue
		}
		name := make([]byte, n)
		if _, err := io.ReadFull(in, name); err != nil {
			continue
		}
		if file := string(name); filepath.IsLocal(filepath.FromSlash(file)) {
			files = append(files, filepath.ToSlash(filepath.Clean(file)))
		} else {
			return nil, fmt.Errorf("%s keeps weights in %q, which is not beside it; save it anew with its weights in its folder", path, file)
		}
	}
}

// Knows are the classes or units of the declared task, in the recipe's terms.
func (t *Teacher) Knows() data.Labels {
	if t.reader != nil {
		return data.Labels{t.Task(): t.reader.Meaning()}
	}
	names := t.d.Classes.List
	if t.mapping != nil {
		names = t.mapping.To
	}
	switch t.d.Task {
	case classification.Name:
		return data.Labels{classification.Name: {Classes: names}}
	case detection.Name:
		return data.Labels{detection.Name: {Classes: names, Masks: slices.Contains(t.plan.roles, "masks")}}
	case segmentation.Name:
		return data.Labels{segmentation.Name: {Classes: names}}
	case depth.Name:
		return data.Labels{depth.Name: {Units: t.d.Units}}
	}
	return data.Labels{normals.Name: {}}
}

// View is what the model takes.
func (t *Teacher) View() predict.View { return t.plan.view }

// Settings is the declaration, with what was left to custom, and the mapping of its classes.
func (t *Teacher) Settings() []byte {
	b, err := json.Marshal(struct {
		Declaration
		Mapping *data.Mapping `json:",omitempty"`
	}{t.d, t.mapping})
	if err != nil {
		panic(err) // a checked declaration has only finite numbers
	}
	return b
}

// Free releases the model.
func (t *Teacher) Free() { t.session.Close() }

// See returns what the model sees in each image, in the frame of its input.
func (t *Teacher) See(images predict.Images, tasks ...string) ([]*data.Sample, error) {
	preds := newSamples(images.N)
	if len(tasks) > 0 && !slices.Contains(tasks, t.Task()) {
		return preds, nil
	}
	step := t.plan.batch
	if step == 0 {
		step = images.N
	}
	size := 3 * images.H * images.W
	for from := 0; from < images.N; from += step {
		n := min(step, images.N-from)
		out, err := t.run(images.Pix[from*size:][:n*size], step, images.H, images.W)
		if err != nil {
			return nil, err
		}
		if err := t.decode(out, frame{images.W, images.H}, preds[from:from+n]); err != nil {
			return nil, fmt.Errorf("%s: %w", t.path, err)
		}
	}
	return preds, nil
}

func newSamples(n int) []*data.Sample {
	samples := make([]*data.Sample, n)
	for i := range samples {
		samples[i] = &data.Sample{}
	}
	return samples
}

// run computes the outputs for planar images, made up to n by black ones.
func (t *Teacher) run(pix []uint8, n, h, w int) ([]ort.Tensor, error) {
	p := t.plan
	inputs := make([]ort.Tensor, len(p.feeds))
	for i, what := range p.feeds {
		port := t.session.Inputs[i]
		switch what {
		case image:
			inputs[i] = p.images(pix, t.d.normalisation(port.Type), n, h, w)
		case canvas:
			inputs[i] = constant(port, n, float32(h), float32(w))
		case ones:
			inputs[i] = constant(port, n, 1)
			if shape := port.Shape; len(shape) >= 3 { // a mask over pixels
				inputs[i].Shape = []int64{int64(n), int64(h), int64(w)}
				inputs[i].Values = slices.Repeat([]float32{1}, n*h*w)
			}
		}
	}
	out, err := t.session.Run(inputs, p.outputs...)
	if err != nil && n > 1 && p.batch == 0 { // it did one when it was opened
		return nil, fmt.Errorf("%s leaves open how many images it takes, and fails with %d: it was exported for one at a time; declare batch: 1 (%w)", t.path, n, err)
	}
	if err != nil {
		return nil, err
	}
	for i, o := range out {
		if len(o.Values) > 0 && !slices.ContainsFunc(o.Values, finite) {
			return nil, fmt.Errorf("%s: every value of output %s is infinite or no number: the model is damaged, or mean, std and range are not those that it was trained with", t.path, p.outputs[i])
		}
	}
	return out, nil
}

func finite(v float32) bool { return v-v == 0 }

// constant repeats values over the images of a batch.
func constant(port ort.Port, n int, values ...float32) ort.Tensor {
	if len(port.Shape) < 2 {
		return ort.Tensor{Shape: []int64{int64(len(values))}, Values: values}
	}
	return ort.Tensor{Shape: []int64{int64(n), int64(len(values))}, Values: slices.Repeat(values, n)}
}

// normalisation is a factor and an addend per channel of the model.
type normalisation struct {
	channel  [3]int // of the image, red first
	mul, add [3]float32
}

func (d *Declaration) normalisation(t ort.Type) (n normalisation) {
	white := d.Range
	if white == 0 {
		if white = 1; t == ort.Uint8 {
			white = 255
		}
	}
	for c := range 3 {
		n.channel[c] = c
		if d.Channel == "BGR" {
			n.channel[c] = 2 - c
		}
		mean, std := 0., 1.
		if d.Mean != nil {
			mean = d.Mean[c]
		}
		if d.Std != nil {
			std = d.Std[c]
		}
		n.mul[c], n.add[c] = float32(white/255/std), float32(-mean/std)
	}
	return n
}

// images turns planar bytes, [·, 3, h, w], into the input.
func (p *plan) images(pix []uint8, norm normalisation, n, h, w int) ort.Tensor {
	plane := h * w
	t := ort.Tensor{Shape: []int64{int64(n), 3, int64(h), int64(w)}, Values: make([]float32, n*3*plane)}
	step, channel := 1, plane
	if p.last {
		t.Shape = []int64{int64(n), int64(h), int64(w), 3}
		step, channel = 3, 1
	}
	if p.single {
		t.Shape = t.Shape[1:]
	}
	for i := range len(pix) / (3 * plane) {
		for c := range 3 {
			from := pix[(3*i+norm.channel[c])*plane:][:plane]
			to := t.Values[3*i*plane+c*channel:]
			for k, v := range from {
				to[k*step] = float32(v)*norm.mul[c] + norm.add[c]
			}
		}
	}
	return t
}
