package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"must/atomicfile"
	"must/loader"
	"must/torch"
	"must/weights"
)

// buffers lists all flat memory that a resumed run needs, by name.
func (t *trainer) buffers() map[string]*torch.Tensor {
	m := map[string]*torch.Tensor{"parameters": t.Net.Set.Flat.Data, "statistics": t.Net.Set.Stats.Data, "momentum": t.momentum}
	if t.square != nil {
		m["square"] = t.square
	}
	if t.average != nil {
		m["average"], m["average_statistics"] = t.average, t.averageS
	}
	return m
}

// settings identify a run: a state goes on only under the settings it was made with.
func (t *trainer) settings() string {
	b, _ := json.Marshal(struct {
		Config any
		Spec   any
		Total  int
		Start  string
	}{t.Config, t.Net.Spec, t.total, t.Info.Start})
	return string(b)
}

// save writes the state, so that a killed run loses only what came after it.
func (t *trainer) save() error {
	var tensors []weights.Tensor
	for name, x := range t.buffers() {
		tensors = append(tensors, weights.FromFloat32s(name, x.Shape(), torch.Values[float32](x)))
	}
	if err := t.log.Sync(); err != nil {
		return err
	}
	return weights.Write(filepath.Join(t.Dir, stateFile), map[string]string{
		"must.step": strconv.Itoa(t.step), "must.settings": t.settings(),
		"must.seconds": fmt.Sprintf("%.1f", t.seconds+time.Since(t.started).Seconds()),
	}, tensors)
}

// load reads the state of an earlier call, if there is one.
func (t *trainer) load() error {
	path := filepath.Join(t.Dir, stateFile)
	r, err := weights.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w\nremove this file to train from the start", err)
	}
	defer r.Close()
	if r.Metadata["must.settings"] != t.settings() {
		return fmt.Errorf("%s was made under other settings; remove it to train from the start, or choose another folder", path)
	}
	for name, x := range t.buffers() {
		w, err := r.Read(name)
		if err != nil {
			return fmt.Errorf("%w\nremove this file to train from the start", err)
		}
		v, err := weights.Float32s(w)
		if err != nil || int64(len(v)) != x.Len() {
			return fmt.Errorf("%s: %s has %d values where %d are needed; remove this file to train from the start", path, name, len(v), x.Len())
		}
		torch.Load(x, v)
	}
	if t.step, err = strconv.Atoi(r.Metadata["must.step"]); err != nil {
		return fmt.Errorf("%s: step %q; remove this file to train from the start", path, r.Metadata["must.step"])
	}
	t.seconds, _ = strconv.ParseFloat(r.Metadata["must.seconds"], 64)
	return nil
}

// diverged saves the weights and the batch that gave a value that is not finite, and says so.
func (t *trainer) diverged(b *loader.Batch, what string, rec record) error {
	model, batch := filepath.Join(t.Dir, "diverged.safetensors"), filepath.Join(t.Dir, "diverged-batch.safetensors")
	if err := t.Net.Save(model, t.Net.Set.State(), t.Info); err != nil {
		return err
	}
	keys, _ := json.Marshal(func() (k []string) {
		for _, s := range b.Samples {
			k = append(k, s.Key)
		}
		return k
	}())
	shape := []int64{int64(b.N), 3, int64(b.Size), int64(b.Size)}
	if err := weights.Write(batch, map[string]string{"must.step": strconv.Itoa(t.step), "must.keys": string(keys)},
		[]weights.Tensor{{Name: "images", DType: "U8", Shape: shape, Data: b.Images}}); err != nil {
		return err
	}
	return fmt.Errorf("the %s is %w (losses %v); weights are in %s, the batch in %s; a lower lr or clip often helps",
		what, torch.ErrNotFinite, rec.Loss, model, batch)
}

// A record is a line of log.jsonl.
type record struct {
	Step       int                `json:"step"`
	LR         float64            `json:"lr,omitempty"`
	Total      float64            `json:"total,omitempty"`
	Loss       map[string]float64 `json:"loss,omitempty"`
	GradNorm   float64            `json:"grad_norm,omitempty"`
	Seconds    float64            `json:"seconds,omitempty"`
	Unlabelled bool               `json:"unlabelled,omitempty"` // no image of the batch had a label
	Scores     map[string]float64 `json:"scores,omitempty"`
}

// MarshalJSON leaves out values that JSON cannot hold.
func (r record) MarshalJSON() ([]byte, error) {
	type plain record
	for _, m := range []map[string]float64{r.Loss, r.Scores} {
		for k, v := range m {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				delete(m, k)
			}
		}
	}
	return json.Marshal(plain(r))
}

type logWriter struct {
	*os.File
	w *bufio.Writer
}

// openLog opens a log for appending after a step; lines of later steps, which a killed run left
// behind, are dropped.
func openLog(path string, step int) (*logWriter, error) {
	lines, err := ReadLog(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		for _, l := range lines {
			if l.Step <= step {
				b, err := json.Marshal(l)
				if err != nil {
					return err
				}
				if _, err := w.Write(append(b, '\n')); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	return &logWriter{f, bufio.NewWriter(f)}, nil
}

func (l *logWriter) write(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = l.w.Write(append(b, '\n'))
	return err
}

// Sync puts all lines on the disk.
func (l *logWriter) Sync() error { return errors.Join(l.w.Flush(), l.File.Sync()) }

// Close flushes and closes the log.
func (l *logWriter) Close() error { return errors.Join(l.w.Flush(), l.File.Close()) }

// ReadLog reads a log; a last line cut short is left out.
func ReadLog(path string) ([]record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []record
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var r record
		if json.Unmarshal(s.Bytes(), &r) != nil {
			break
		}
		lines = append(lines, r)
	}
	return lines, s.Err()
}
