// Package probe measures how good the features of a network are, as they are: nothing of the network
// is trained. A linear classifier and a vote of the nearest neighbours learn the classes of a set from
// the features of its training part and are scored on its test part. Any network will do, trained by
// labels, by a pretext task or not at all.
package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"must/atomicfile"
	"must/augment"
	"must/data"
	"must/data/npy"
	"must/loader"
	"must/metric"
	"must/model"
	"must/network"
	"must/progress"
	"must/task/classification"
	"must/torch"
)

// Options say how features are measured.
type Options struct {
	Seed    uint64 // of the tenth of the training part that the linear probe chooses its penalty on
	K       []int  // numbers of neighbours; nil: 20 and 200
	Batch   int    // images at once; 0: 64
	Workers int    // goroutines that decode; 0: all cores but one
	Display *progress.Display
}

// complete fills in defaults and tells what is wrong.
func (o *Options) complete() error {
	if o.K == nil {
		o.K = []int{20, 200}
	}
	if o.Batch == 0 {
		o.Batch = 64
	}
	return checkK(o.K)
}

// Scores are what features are worth.
type Scores struct {
	Train   int            `json:"train"`   // images learned from
	Test    int            `json:"test"`    // images scored on
	Skipped int            `json:"skipped"` // images that could not be read or have no class
	L2      float64        `json:"l2"`      // the linear probe's penalty
	Values  []metric.Value `json:"values"`  // linear.top1, with more than 5 classes linear.top5, and knn20.top1 and so on
}

// Run extracts the features of both parts of a set and scores them.
func Run(ctx context.Context, net *network.Network, train, test data.Dataset, o Options) (*Scores, error) {
	learned, err := Extract(ctx, net, train, "features to learn from", o)
	if err != nil {
		return nil, err
	}
	scored, err := Extract(ctx, net, test, "features to score on", o)
	if err != nil {
		return nil, err
	}
	return Score(ctx, learned, scored, o)
}

// Score learns from the features of one part and scores on those of the other.
func Score(ctx context.Context, train, test *Features, o Options) (*Scores, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Scores{Train: len(train.Class), Test: len(test.Class), Skipped: train.Skipped + test.Skipped}
	linear, err := Linear(ctx, train, test, o.Seed, o.Display)
	if err != nil {
		return nil, fmt.Errorf("linear probe: %w", err)
	}
	s.L2, s.Values = linear.L2, test.score("linear", linear.Probs)
	votes, err := KNN(ctx, train, test, o.K, Temperature, o.Display)
	if err != nil {
		return nil, fmt.Errorf("nearest neighbours: %w", err)
	}
	for i, k := range o.K {
		s.Values = append(s.Values, test.score(fmt.Sprintf("knn%d", k), votes[i])[0])
	}
	return s, nil
}

// Features are those of all images of a set that could be read and have a class.
type Features struct {
	Dim     int
	Values  []float32 // [N, Dim]
	Class   []int64   // [N], the likeliest class of each image
	Classes []string  // their names
	Skipped int       // images that could not be read or have no class
}

// Extract runs a network's backbone in evaluation mode over a set, in order, and keeps the feature of
// every image, [model.Features.Pooled]. Images are letterboxed to the network's size, as
// [predict.Run] does. Name is what the bar says.
func Extract(ctx context.Context, net *network.Network, ds data.Dataset, name string, o Options) (*Features, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	f := &Features{Classes: ds.Labels()[classification.Name].Classes}
	if f.Classes == nil {
		return nil, fmt.Errorf("%s: the set has no classes, which a probe learns", name)
	}
	l, err := loader.New(ds, loader.Options{
		Batch: o.Batch, Augment: augment.Config{Size: net.Size}, Workers: o.Workers,
		Skipped: func(err error) { o.Display.Logf("skipped: %v", err) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	bar := o.Display.Task(name, int64(ds.Len()), "images")
	defer bar.Done()
	for b, err := range l.Pass(ctx, 0, ds.Len()) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var pooled []float32
		err := torch.Do(func() {
			torch.NoGrad(func() {
				pooled = torch.Values[float32](net.Features(b.Images, b.N, model.Mode{}).Pooled().As(torch.Float))
			})
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if f.Values == nil {
			f.Dim = len(pooled) / b.N
			f.Values, f.Class = make([]float32, 0, ds.Len()*f.Dim), make([]int64, 0, ds.Len())
		}
		for i, s := range b.Samples {
			if classification.Of(s) == nil {
				f.Skipped++
				continue
			}
			v := pooled[i*f.Dim:][:f.Dim]
			if !finite(v) {
				return nil, fmt.Errorf("%s: image %s: the feature is not finite: the network's training has diverged, or its weights are damaged", name, s.Key)
			}
			f.Values = append(f.Values, v...)
			f.Class = append(f.Class, likeliest(classification.Of(s)))
		}
		bar.Add(int64(b.N))
		b.Release()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.Skipped += l.Skipped().Count
	if len(f.Class) == 0 {
		return nil, fmt.Errorf("%s: none of %d images has a class", name, ds.Len())
	}
	return f, nil
}

// Write saves features as NumPy reads them: PATH.npy, float32 of [N, Dim], and PATH-classes.npy, the
// indices of the classes as float32 of [N].
func (f *Features) Write(path string) error {
	classes := make([]float32, len(f.Class))
	for i, class := range f.Class {
		classes[i] = float32(class)
	}
	n := len(classes)
	return errors.Join(
		atomicfile.WriteFile(path+".npy", npy.Append(nil, npy.Float32, []int{n, f.Dim}, f.Values)),
		atomicfile.WriteFile(path+"-classes.npy", npy.Append(nil, npy.Float32, []int{n}, classes)))
}

func finite(v []float32) bool {
	return !slices.ContainsFunc(v, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) })
}

// likeliest returns the index of the largest probability, the first of equal ones.
func likeliest(p []float32) int64 { return int64(slices.Index(p, slices.Max(p))) }

// agree tells why features of two parts cannot be compared.
func agree(train, test *Features) error {
	if train.Dim != test.Dim {
		return fmt.Errorf("the features to learn from have %d values, those to score on %d; extract both by one network", train.Dim, test.Dim)
	}
	if len(train.Class) < 2 || len(test.Class) == 0 {
		return fmt.Errorf("%d images to learn from and %d to score on; there must be at least 2 and 1", len(train.Class), len(test.Class))
	}
	a, b := data.Labels{classification.Name: {Classes: train.Classes}}, data.Labels{classification.Name: {Classes: test.Classes}}
	return a.Conflict(b, classification.Name)
}

// score compares probabilities of [N, classes] with the classes of f.
func (f *Features) score(name string, probs []float32) []metric.Value {
	m, k := metric.NewClassification(), len(f.Classes)
	for i, class := range f.Class {
		truth := make([]float32, k)
		truth[class] = 1
		m.Add(truth, probs[i*k:][:k])
	}
	values := m.Values()[:1] // top1, top5 and what no probe is asked for
	if k > 5 {
		values = m.Values()[:2]
	}
	for i := range values {
		values[i].Name = name + "." + values[i].Name
	}
	return values
}
