// Package export writes networks for other programs: as ONNX models that are proven to compute what
// libtorch does before they are written, and as weights under torchvision's names.
package export

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"must/checkpoint"
	"must/data"
	"must/network"
	"must/onnx/graph"
	"must/task"
	"must/task/detection"
	"must/task/segmentation"
	"must/torch"
)

// Options say what a model is like.
type Options struct {
	Tasks    []string // nil: all of the network's
	Features []string // outputs that are features, see [network.Network.FeatureNames]
	Argmax   bool     // segmentation: classes and confidences, in place of all probabilities
	Raw      bool     // detection: boxes before the last suppression
	Bytes    bool     // the input is bytes; else float32 in 0 to 255
	Half     bool     // float16 inside

	Images  data.Dataset // to be proven on, those that are rendered added up to least; nil: rendered ones
	Threads int          // of ONNX Runtime; 0: those of libtorch
	Program string       // its name and version
	Origin  Origin

	inline int  // see [graph.Graph]
	engine bool // for this program's use alone: few images prove it, and outputs are as it reads them fastest
}

// An Origin tells where the weights come from; it travels in the file.
type Origin struct {
	SHA256   string              `json:"sha256"` // of the checkpoint
	Training checkpoint.Training `json:"training"`
}

func (o Options) graph() network.GraphOptions {
	return network.GraphOptions{ExportOptions: task.ExportOptions{Argmax: o.Argmax, Raw: o.Raw, Logits: o.engine}, Tasks: o.Tasks, Features: o.Features, Bytes: o.Bytes, Half: o.Half}
}

// check tells what does not go together.
func (o *Options) check(n *network.Network) error {
	if len(o.Tasks) == 0 {
		o.Tasks = n.Spec.Tasks
	}
	for _, t := range o.Tasks {
		if !slices.Contains(n.Spec.Tasks, t) {
			return fmt.Errorf("task %s: the network has %s", t, strings.Join(n.Spec.Tasks, ", "))
		}
	}
	for _, f := range o.Features {
		if names := n.FeatureNames(); !slices.Contains(names, f) {
			return fmt.Errorf("feature %s: the network has %s", f, strings.Join(names, ", "))
		}
	}
	if o.Argmax && !slices.Contains(o.Tasks, segmentation.Name) {
		return fmt.Errorf("argmax is of segmentation, and the tasks are %s", strings.Join(o.Tasks, ", "))
	}
	if o.Raw && !slices.Contains(o.Tasks, detection.Name) {
		return fmt.Errorf("raw is of detection, and the tasks are %s", strings.Join(o.Tasks, ", "))
	}
	if o.Threads == 0 {
		info, err := torch.Describe()
		if err != nil {
			return err
		}
		o.Threads = info.Threads
	}
	return nil
}

// ONNX writes a network as an ONNX model, after it was run in ONNX Runtime and gave what libtorch gives.
// Beyond the tolerance nothing is written, and the proof is returned with the error.
func ONNX(ctx context.Context, n *network.Network, path string, o Options) (*Proof, error) {
	if err := o.check(n); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	unproven := filepath.Join(dir, filepath.Base(path))
	if err := write(n, unproven, o); err != nil {
		return nil, err
	}
	proof, err := prove(ctx, n, unproven, o)
	if err != nil {
		return proof, err
	}
	if err := proof.Err(); err != nil {
		return proof, fmt.Errorf("%s is not written: %w", path, err)
	}
	// The weights beside go first: a model without them is worse than the other way round.
	for _, end := range []string{".data", ""} {
		switch err := os.Rename(unproven+end, path+end); {
		case end != "" && os.IsNotExist(err):
			if err := os.Remove(path + end); err != nil && !os.IsNotExist(err) { // of a larger model before
				return proof, err
			}
		case err != nil:
			return proof, err
		}
	}
	return proof, nil
}

func write(n *network.Network, path string, o Options) error {
	texts, err := describe(n, o)
	if err != nil {
		return err
	}
	var g *graph.Graph
	if err := torch.Do(func() { g = n.Graph(o.graph()) }); err != nil {
		return err
	}
	g.Inline = o.inline
	name, version, _ := strings.Cut(o.Program, " ")
	return g.Write(path, name, version, texts)
}
