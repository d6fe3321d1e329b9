package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"must/weights"
)

// key hashes all that a stage depends on: its settings, its sets and, through theirs, the stages and
// the files whose results it reads. What is hashed and in which order must stay, or runs that are done
// would start afresh.
func (r *Runner) key(s *Stage) string {
	h := sha256.New()
	k := hasher{r, json.NewEncoder(h)}
	k.add(s.Kind(), r.Size, r.Model, r.Detection)
	switch {
	case s.Show != nil:
		k.add(s.Show)
		k.sets(s.Show.Data, "train")
	case s.Train != nil:
		k.train(s.Train)
	case s.Label != nil:
		k.add(s.Label.Thresholds, s.Label.ShardSize)
		k.sets(s.Label.Data, "train")
		k.spaces(s.Label.Data)
		k.input(s.Label.Teachers...)
	case s.Score != nil:
		k.score(s.Score)
	case s.Transfer != nil:
		k.transfer(s.Transfer)
	case s.Probe != nil:
		k.add(s.Probe.Neighbours, r.Seed)
		k.sets([]string{s.Probe.Data}, "train", "test")
		k.starts(s.Probe.From)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// A hasher adds what a stage depends on to its key.
type hasher struct {
	*Runner
	to *json.Encoder
}

func (k hasher) add(v ...any) {
	for _, x := range v {
		if err := k.to.Encode(x); err != nil {
			panic(err) // only types that JSON knows are hashed
		}
	}
}

func (k hasher) train(t *TrainStage) {
	c, _ := k.config(t)
	k.add(c, t.Tasks, t.Weights)
	if t.Pretext != nil {
		k.add(t.Pretext)
	}
	if t.Model != nil {
		m, _ := k.model(t.Model)
		k.add(m)
	}
	k.sets(t.Data, "train", "val")
	k.spaces(t.Data)
	k.input(t.Labels, t.From)
}

func (k hasher) score(t *ScoreStage) {
	k.input(t.Student)
	for _, name := range keys(t.Teachers) {
		own := k.stage(t.Teachers[name]).Train.Data[:1]
		k.add(name)
		k.input(t.Teachers[name])
		k.sets(own, "test")
		k.spaces(own)
	}
}

func (k hasher) transfer(t *TransferStage) {
	for _, d := range t.Sets {
		c, _ := k.trainConfig(t.With, d.With)
		k.add(d.Task, c)
		k.sets([]string{d.Data}, "train", "test")
		if t.Sweep != nil {
			k.sets([]string{d.Data}, "val")
		}
	}
	k.add(t.Seeds)
	if t.Sweep != nil {
		k.add(t.Sweep)
	}
	k.starts(t.From)
}

// input adds stages, teachers of others, or files of weights.
func (k hasher) input(names ...string) {
	for _, n := range names {
		switch i := k.stage(n); {
		case i != nil:
			k.add(k.key(i))
		case k.isForeign(n):
			k.add(k.foreignKey(n)...)
		case n == "":
			k.add(n)
		default: // one that cannot be read is told of when it is needed
			sum, _ := weights.Hash(n)
			k.add(n, sum)
		}
	}
}

func (k hasher) sets(names []string, parts ...string) {
	for _, n := range names {
		d := k.Data[n]
		for _, p := range parts {
			k.add(n, d.source(p))
			if d.Holdout != 0 {
				k.add(d.Holdout)
			}
			if d.Tasks != nil {
				k.add(d.Tasks)
			}
		}
	}
}

// spaces adds the label spaces, and how sets are mapped into them.
func (k hasher) spaces(sets []string) {
	for _, task := range keys(k.Spaces) {
		k.add(task, k.Spaces[task])
		if from := k.Spaces[task].From; from != "" {
			k.sets([]string{from}, "train")
		}
		for _, n := range sets {
			k.add(k.Data[n].Map[task])
		}
	}
}

func (k hasher) starts(from map[string]*Start) {
	for _, name := range keys(from) {
		f := from[name]
		k.add(name)
		k.input(f.From)
		if f.Model != nil {
			m, _ := k.model(f.Model)
			k.add(m)
		}
		if f.With != nil {
			c, _ := k.trainConfig(f.With)
			k.add(c)
		}
	}
}
