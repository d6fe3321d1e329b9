// Package task says what a task is to the rest of the house. Each task is a folder beside this file,
// named in one line of must/task/registry; nothing else names a task.
package task

import (
	"bytes"
	"image"
	"maps"
	"math/rand/v2"

	"must/data"
	"must/data/account"
	"must/metric"
	"must/model"
	"must/onnx/graph"
	"must/torch"
)

// A Task is all that is particular to a kind of label, without a network: its type is data.Label's
// counterpart for the whole. See docs/tasks.md for what a new one needs.
type Task interface {
	// Name is the task's, such as "depth". Where a method is given a name, it is that of the labels, which
	// may name a teacher too; see [data.TaskOf].
	Name() string

	// Some returns a meaning that the task can have, to check settings by.
	Some() data.Meaning

	// Check tells why a head or a set of labels cannot have a meaning.
	Check(m data.Meaning) error

	// Pyramid reports whether the head reads the feature pyramid, and not the backbone alone.
	Pyramid(m data.Meaning) bool

	// Head declares the head under b.
	Head(b model.Builder, s HeadSpec) Head

	// Threshold is the published one of pseudo labels, 0 where a threshold can be set but none is published; ok is
	// false for a task that can have none.
	Threshold() (published float64, ok bool)

	// Pseudo turns a prediction into a label: what is below the threshold is left out (objects) or ignored
	// (pixels), nil where that is all of it; soft and continuous labels stay as they are.
	Pseudo(pred data.Label, threshold float64) data.Label

	// Metric returns an empty metric for predictions of a meaning on a set of another.
	Metric(knows, of data.Meaning) Metric

	// Quality returns an empty metric for the labels that Pseudo makes of predictions, which it is given.
	Quality(knows, of data.Meaning, threshold float64) Metric

	// Aligns reports whether Metric brings predictions in other units to those of the truth.
	Aligns() bool

	// Protocols lists the published ways of scoring a set that differ from the usual one.
	Protocols() []string

	// Noise returns some label of a size×size image, to measure what training costs.
	Noise(name string, m data.Meaning, size int, rng *rand.Rand) data.Label

	// Count returns how much a label holds, such as objects or labelled pixels, 1 where it is one thing;
	// Unit names that.
	Count(l data.Label) int
	Unit() string

	// DType is that of the entries in shards, "" where they have none; Ext is the extension of their names.
	DType() string
	Ext() string

	// Store appends the entry of a label of an image of a size to buf; Load parses one.
	Store(buf *bytes.Buffer, l data.Label, m data.Meaning, dtype string, size image.Point) error
	Load(name string, b []byte, m data.Meaning, dtype string, size image.Point) (data.Label, error)

	// Counts returns the empty counts of a set's labels, for people who look at it.
	Counts(m data.Meaning) Counts

	// Outputs names the outputs of an exported graph, and Decode gives samples the predictions that outputs,
	// of no options but Argmax and Logits, hold for size×size images. Outputs of other shapes are an error.
	Outputs() []string
	Decode(name string, out Outputs, m data.Meaning, size int, preds []*data.Sample) error
}

// Counts add up what the labels of a set hold.
type Counts interface {
	Add(l data.Label)
	// Write writes them, of so many images that could be read.
	Write(w *account.Writer, images int)
}

// ImageCounts are those of the images that carry labels: all that [Plain] tells of a set.
type ImageCounts struct{ Labelled int }

// Add implements [Counts].
func (c *ImageCounts) Add(data.Label) { c.Labelled++ }

// Write implements [Counts].
func (c *ImageCounts) Write(w *account.Writer, images int) {
	w.Row("labelled", "%s", account.Share(c.Labelled, images, "images"))
}

// A Measured task has values that students learn standardised: a set's index has their moments.
type Measured interface {
	Moments(l data.Label) *data.Moments
}

// A Banded task can leave open what is neither sure to be there nor sure not to be.
type Banded interface {
	// Band is Pseudo, but what has a score from low on that stays below the threshold is in the label too, as
	// what neither trains nor counts.
	Band(pred data.Label, low, threshold float64) data.Label
}

// A Classed task tells which classes a label shows.
type Classed interface {
	// Shown returns each of them once.
	Shown(l data.Label) []int
}

// A Mapped task tells the class of every pixel: its labels have a map of them.
type Mapped interface {
	Map(l data.Label) *data.Grid[uint8]
}

// A Masked task has a value for every pixel, of which some can be left out.
type Masked interface {
	Mask(l data.Label, out func(pixel int) bool) data.Label
}

// A Blended task's labels can be blended as their images are, which mixup does.
type Blended interface {
	// Blend returns share·a + (1 − share)·b.
	Blend(a, b data.Label, share float64) data.Label
}

// An External task reads the outputs of models of others itself, by keys of its own in their declaration; see
// docs/onnx.md.
type External interface {
	// Reader returns what reads a model's output as the keys say.
	Reader(keys map[string]any) (Reader, error)
}

// A Reader reads the output of one model.
type Reader interface {
	// Task is the task with its teacher's name, and Meaning what the labels mean, once Read has been called.
	Task() string
	Meaning() data.Meaning

	// Read returns the labels of n images, in the frame of the input.
	Read(shape []int64, values []float32, n int) ([]data.Label, error)
}

// A HeadSpec says what a head is declared for.
type HeadSpec struct {
	Task     string // with its teacher's name, where there are several; see [data.TaskOf]
	Model    model.Config
	Meaning  data.Meaning // of its outputs
	Pooled   int64        // width of the feature of an image
	Size     int          // side of the input in pixels
	Settings any          // of the task, where it has some
}

// A Head is that of one task on a network. Forward passes run inside torch.Do.
type Head interface {
	// Name returns the task.
	Name() string

	// Targets turns the labels of augmented samples into what Loss needs. It runs on background
	// goroutines and returns nil where no sample has a label for the task.
	Targets(samples []*data.Sample, rng *rand.Rand) any

	// Loss returns the parts of the task's loss on a batch, each a scalar; their sum is the loss.
	// Images without a label take no part in it. Only labels and what was drawn for an image by Targets
	// decide what of it is compared, never the rest of the batch.
	Loss(f *model.Features, targets any, rng *rand.Rand) []Loss

	// Parts lists the names of all losses that Loss may return.
	Parts() []string

	// Predict gives one sample per image the task's label, in the frame of the network's input.
	Predict(f *model.Features, preds []*data.Sample)

	// Graph adds the head to an ONNX graph and declares its outputs: what a runtime computes of them is
	// what Outputs computes here by libtorch, up to rounding. Call Outputs in torch.Do.
	Graph(g *graph.Graph, m *model.Maps, o ExportOptions)
	Outputs(f *model.Features, o ExportOptions) Outputs

	// Compare tells how far outputs are from those wanted. What is nearer to a tie than the tolerance, a
	// part of the range, may fall on either side.
	Compare(want, got Outputs, tolerance float64) []Difference
}

// A Loss is a part of a task's loss: a mean over what is labelled. Where a batch is computed in several
// pieces, that of the whole is the mean of theirs by Count.
type Loss struct {
	Name  string
	Value *torch.Tensor // scalar; nil is 0
	Count float64       // what Value is the mean over, such as images, pixels or RoIs
}

// A Metric collects the score of one task over a set. It is not safe for concurrent use.
type Metric interface {
	// Add counts one image. A nil prediction, or one that is NaN, counts as wrong. A prediction that cannot
	// be compared with the truth, such as a map of another size, is an error.
	Add(truth, pred data.Label) error

	// Values returns the numbers so far, the one to rank by first; nil while nothing was counted.
	Values() []metric.Value
}

// A ByClass metric has numbers class by class, too.
type ByClass interface {
	Classes() metric.Classes
}

// Scores are the metric values of every task, the ranking number first.
type Scores map[string][]metric.Value

// Tasks lists the tasks that were scored, in their order.
func (s Scores) Tasks() []string { return data.Ordered(maps.Keys(s)) }

// ByName flattens scores to "task.metric".
func (s Scores) ByName() map[string]float64 {
	flat := map[string]float64{}
	for t, values := range s {
		for _, v := range values {
			flat[t+"."+v.Name] = v.Value
		}
	}
	return flat
}

// Plain has what most tasks have in common; a task embeds it and overrides what differs.
type Plain struct{}

// Counts implements [Task].
func (Plain) Counts(data.Meaning) Counts { return &ImageCounts{} }

func (Plain) Threshold() (float64, bool)                   { return 0, false }
func (Plain) Pseudo(pred data.Label, _ float64) data.Label { return pred }
func (Plain) Aligns() bool                                 { return false }
func (Plain) Protocols() []string                          { return nil }
func (Plain) Count(data.Label) int                         { return 1 }
func (Plain) Some() data.Meaning                           { return data.Meaning{Classes: []string{"some"}} }
func (Plain) Check(data.Meaning) error                     { return nil }
func (Plain) Pyramid(data.Meaning) bool                    { return true }
