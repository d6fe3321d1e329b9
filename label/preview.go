package label

import (
	"context"
	"errors"
	"image"

	"must/data"
	"must/draw"
	"must/predict"
)

// Preview draws n images, spread over a set, with the labels that [Run] would give them, and with the
// true ones that they have, as a contact sheet.
func Preview(ctx context.Context, ds data.Dataset, teachers []Teacher, n int, o Options) (*image.RGBA, error) {
	o, err := o.complete(ds, teachers)
	if err != nil {
		return nil, err
	}
	ds = data.Spread(ds, n)
	provenance, uses, err := plan(ds, teachers, o)
	if err != nil {
		return nil, err
	}
	sheet := &labelled{labels: ds.Labels().Join(provenance.Labels())}
	passing := predict.Options{Batch: o.Batch, Workers: o.Workers, Name: "preview", Display: o.Display, Rules: rules(uses, o),
		Skipped: func(err error) { o.Display.Logf("skipped: %v", err) }}
	err = predict.Run(ctx, uses, ds, passing, func(_ int, s, pred *data.Sample) error {
		data.Lack(s, ds.Labels(), pred)
		data.Fill(s, ds.Labels(), pred)
		sheet.samples = append(sheet.samples, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return draw.ContactSheet(sheet, n, draw.Options{Title: o.Name})
}

// labelled is a set of samples in memory.
type labelled struct {
	labels  data.Labels
	samples []*data.Sample
}

func (l *labelled) Len() int            { return len(l.samples) }
func (l *labelled) Labels() data.Labels { return l.labels }
func (l *labelled) Key(i int) string    { return l.samples[i].Key }

func (l *labelled) Sample(i int) (*data.Sample, error) {
	if i < 0 || i >= len(l.samples) {
		return nil, errors.New("no such sample")
	}
	return l.samples[i], nil
}
