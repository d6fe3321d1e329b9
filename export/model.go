package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"must/data"
	"must/onnx/ort"
	"must/predict"
	"must/task"
	"must/task/detection"
	"must/task/registry"
	"must/weights"
)

// A Model is an exported network in ONNX Runtime. It is a [predict.Predictor] and not safe for concurrent
// use.
type Model struct {
	Description
	SHA256 string // of the file

	session *ort.Session
	path    string
	device  bool     // not the CPU
	tasks   []string // that can be decoded
}

// Open loads a model that this program exported. Its metadata says all that is needed; a file that does
// not fit them is an error. The caller frees the model.
func Open(path string, threads int) (m *Model, err error) {
	m, err = open(path, ort.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	if err := m.Try(); err != nil {
		m.Free()
		return nil, err
	}
	return m, nil
}

// open is Open without the model being tried.
func open(path string, o ort.Options) (m *Model, err error) {
	defer func() {
		if err != nil {
			if m != nil {
				m.Free()
			}
			m, err = nil, fmt.Errorf("%s: %w", path, err)
		}
	}()
	m = &Model{path: path, device: o.CUDA || o.TensorRT}
	if m.SHA256, err = weights.Hash(path); err != nil {
		return nil, err
	}
	if m.session, err = ort.Load(path, o); err != nil {
		return nil, err
	}
	text, err := m.session.Metadata(metadataKey)
	if err != nil {
		return m, err
	}
	if text == "" {
		return m, fmt.Errorf("no export of this program (no %s in its metadata); a model of others is declared in a .teacher.yaml, see docs/onnx.md", metadataKey)
	}
	if err := json.Unmarshal([]byte(text), &m.Description); err != nil {
		return m, fmt.Errorf("metadata %s: %w", metadataKey, err)
	}
	if m.Format != format {
		return m, fmt.Errorf("export of format %d; this program reads %d", m.Format, format)
	}
	if err := m.Spec.Check(); err != nil {
		return m, fmt.Errorf("metadata %s: %w", metadataKey, err)
	}
	for _, t := range m.Spec.Tasks {
		if !(m.Raw && t == detection.Name) {
			m.tasks = append(m.tasks, t)
		}
	}
	if m.tasks == nil {
		return m, errors.New("it leaves suppression to others (--raw), so that it has no task to predict")
	}
	size := int64(m.Spec.Size)
	if in := m.session.Inputs; len(in) != 1 || in[0].Name != task.InputName || !slices.Equal(in[0].Shape, []int64{-1, 3, size, size}) {
		return m, fmt.Errorf("its input is not %s [N, 3, %d, %d]", task.InputName, size, size)
	}
	return m, nil
}

// Try runs the model on a grey image.
func (m *Model) Try() error {
	size := m.Spec.Size
	_, err := m.See(predict.Images{Pix: slices.Repeat([]uint8{128}, 3*size*size), N: 1, H: size, W: size})
	return err
}

// Knows are the labels of the model's tasks.
func (m *Model) Knows() data.Labels { return m.Spec.Labels.Only(m.tasks...) }

// Tasks lists them.
func (m *Model) Tasks() []string { return m.tasks }

// View is a letterbox of the network's size.
func (m *Model) View() predict.View {
	return predict.View{W: m.Spec.Size, H: m.Spec.Size, Fit: predict.Letterbox}
}

// Settings is the network's specification.
func (m *Model) Settings() []byte { return m.Spec.Settings() }

// Free releases the model.
func (m *Model) Free() {
	if m.session != nil {
		m.session.Close()
	}
}

// See returns what the model sees in each image.
func (m *Model) See(images predict.Images, tasks ...string) ([]*data.Sample, error) {
	if len(tasks) == 0 {
		tasks = m.tasks
	}
	tasks = slices.DeleteFunc(slices.Clone(tasks), func(t string) bool { return !slices.Contains(m.tasks, t) })
	preds := make([]*data.Sample, images.N)
	for i := range preds {
		preds[i] = &data.Sample{}
	}
	see := func(from int, images predict.Images) error {
		out, err := m.run(images, tasks)
		if err == nil {
			err = m.decode(out, tasks, preds[from:from+images.N])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		return nil
	}
	if m.device {
		return preds, see(0, images)
	}
	for from, part := range images.Parts() {
		if err := see(from, part); err != nil {
			return nil, err
		}
	}
	return preds, nil
}

func (m *Model) decode(out task.Outputs, tasks []string, preds []*data.Sample) error {
	for _, name := range tasks {
		if err := registry.Get(name).Decode(name, out, m.Spec.Labels[name], m.Spec.Size, preds); err != nil {
			return err
		}
	}
	return nil
}

// run computes the outputs of tasks.
func (m *Model) run(images predict.Images, tasks []string) (task.Outputs, error) {
	var names []string
	for _, o := range m.session.Outputs {
		if t := registry.OutputOf(o.Name); slices.Contains(tasks, t) {
			names = append(names, o.Name)
		}
	}
	return runIn(m.session, images, names)
}
