package export

import (
	"context"
	"errors"
	"fmt"

	"must/data"
	"must/data/npy"
	"must/label/shards"
	"must/task/registry"
)

// Shards writes the true labels of a dataset as a set of label shards, which any reader of the same
// images takes as its labels. Like labelling it goes on where it was cut off. Broken samples are noted
// in it and told to skipped.
func Shards(ctx context.Context, d data.Dataset, name, dir, program string, skipped func(error)) error {
	l := d.Labels()
	p := shards.Provenance{Program: program, Dataset: shards.Identify(name, d), Tasks: map[string]shards.Task{}}
	for _, task := range l.Tasks() {
		m := l[task]
		t := shards.Task{Teacher: "true labels", Classes: m.Classes, Masks: m.Masks, Units: m.Units, Channels: m.Channels, Grid: m.Grid}
		if registry.Get(task).DType() != "" {
			t.DType = npy.Float32
		}
		p.Tasks[task] = t
	}
	w, err := shards.NewWriter(dir, d, p, shards.Options{})
	if err != nil {
		return err
	}
	for {
		s, ok, err := w.Claim(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return w.Finish()
		}
		if err := fillShard(ctx, d, s, skipped); err != nil {
			return err
		}
	}
}

func fillShard(ctx context.Context, d data.Dataset, s *shards.Shard, skipped func(error)) error {
	defer s.Close()
	for i := s.From; i < s.To; i++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sample, err := d.Sample(i)
		if _, broken := errors.AsType[*data.SampleError](err); broken {
			skipped(err)
			err = s.Skip(d.Key(i), err)
		} else if err == nil {
			err = s.Add(sample)
		}
		if err != nil {
			return fmt.Errorf("labels of %s: %w", d.Key(i), err)
		}
	}
	return s.Commit()
}
