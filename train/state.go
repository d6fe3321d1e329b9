package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"must/atomicfile"
	"must/checkpoint"
	"must/loader"
	"must/network"
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
	if t.Pretext != nil {
		for name, x := range t.Pretext.State() {
			m["pretext."+name] = x
		}
	}
	return m
}

// settings identify a run: a state goes on only under the settings it was made with.
func (t *trainer) settings() string {
	c := t.Config
	c.SaveEvery, c.EvalEvery, c.Accumulate = 0, 0, 0 // do not change what is computed
	var pretext any
	if t.Pretext != nil {
		pretext = t.Pretext.Settings()
	}
	b, err := json.Marshal(struct {
		Config  Config
		Spec    network.Spec
		Samples int
		Total   int
		Start   string
		Pretext any `json:",omitempty"`
	}{c, t.Net.Spec, t.Train.Len(), t.total, t.Info.Start, pretext})
	if err != nil {
		panic(err) // Config.Check and Spec.Check let nothing through that JSON cannot hold
	}
	return string(b)
}

// save writes the state, so that a killed run loses only what came after it.
func (t *trainer) save() error {
	var tensors []weights.Tensor
	for name, x := range t.buffers() {
		tensors = append(tensors, weights.FromFloat32s(name, x.Shape(), torch.Values[float32](x)))
	}
	if err := t.log.f.Sync(); err != nil {
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
// With several processes the one does it whose part of the batch it was.
func (t *trainer) diverged(pieces []*loader.Batch, what string, rec Record, own *torch.Tensor) error {
	rank, err := t.culprit(torch.Values[float32](own))
	if err != nil {
		return err
	}
	if rank != t.World.Number() {
		t.World.Barrier() // until the one that tells has ended all
		return fmt.Errorf("the %s is %w in process %d", what, torch.ErrNotFinite, rank)
	}
	model, batch := filepath.Join(t.Dir, "diverged.safetensors"), filepath.Join(t.Dir, "diverged-batch.safetensors")
	if err := checkpoint.Save(model, t.Net, t.Net.Set.State(), t.Info); err != nil {
		return err
	}
	keys, _ := json.Marshal(func() (k []string) {
		for _, b := range pieces {
			for _, s := range b.Samples {
				k = append(k, s.Key)
			}
		}
		return k
	}())
	shape, images := []int64{0, 3, int64(pieces[0].Size), int64(pieces[0].Size)}, []uint8(nil)
	for _, b := range pieces {
		shape[0] += int64(b.N)
		images = append(images, b.Images...)
	}
	if err := weights.Write(batch, map[string]string{"must.step": strconv.Itoa(t.step), "must.keys": string(keys)},
		[]weights.Tensor{{Name: "images", DType: "U8", Shape: shape, Data: images}}); err != nil {
		return err
	}
	return fmt.Errorf("the %s is %w (losses %v); weights are in %s, the batch in %s; a lower lr or clip often helps",
		what, torch.ErrNotFinite, rec.Loss, model, batch)
}

// A Record is a line of a run's log: a step, or the scores after one.
type Record struct {
	Step       int                `json:"step"`
	LR         float64            `json:"lr,omitempty"`
	Total      float64            `json:"total,omitempty"`
	Loss       map[string]float64 `json:"loss,omitempty"`
	GradNorm   float64            `json:"grad_norm,omitempty"`
	Seconds    float64            `json:"seconds,omitempty"`
	Talked     float64            `json:"talked,omitempty"`     // of the seconds, those in which several processes summed and waited for each other
	Waited     float64            `json:"waited,omitempty"`     // seconds before the step in which there was no batch yet
	Unlabelled bool               `json:"unlabelled,omitempty"` // no image of the batch had a label
	Scores     map[string]float64 `json:"scores,omitempty"`
}

// MarshalJSON leaves out values that JSON cannot hold.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	for _, m := range []map[string]float64{r.Loss, r.Scores} {
		maps.DeleteFunc(m, func(_ string, v float64) bool { return !finite(v) })
	}
	return json.Marshal(plain(r))
}

// A logWriter appends to a log. Every line is written at once, so that a killed run leaves all it did.
type logWriter struct {
	f       *os.File
	tracked *tracked // nil: nobody else is told
	last    Record   // that was written
}

// openLog opens a log for appending after a step; lines of later steps, which a killed run left
// behind, are dropped.
func openLog(path string, step int) (*logWriter, error) {
	lines, err := ReadLog(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		for _, l := range lines {
			if l.Step > step {
				break
			}
			if err := e.Encode(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &logWriter{f: f}, nil
}

// write appends a line; nil, the log of a process that is not the first, takes none.
func (l *logWriter) write(r Record) error {
	if l == nil {
		return nil
	}
	l.last = r
	if err := json.NewEncoder(l.f).Encode(r); err != nil {
		return err
	}
	if l.tracked == nil {
		return nil
	}
	return l.tracked.record(r)
}

// ReadLog reads a log up to its end or to a line that was cut short.
func ReadLog(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []Record
	for d := json.NewDecoder(f); ; {
		var r Record
		if d.Decode(&r) != nil {
			return lines, nil
		}
		lines = append(lines, r)
	}
}
