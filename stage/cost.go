package stage

import (
	"github.com/dustin/go-humanize"

	"must/checkpoint"
	"must/network"
	"must/pretext"
	"must/train"
)

// A Cost is what a stage has to do.
type Cost struct {
	Text  string   // for people, all of it
	Notes []string // what else they should know
	Runs  []Run    // what takes long and is left; none: nothing is
}

// A Run is a training run, or only predictions, so many times over.
type Run struct {
	Spec     network.Spec
	Pretext  *pretext.Config // in place of the tasks
	External string          // the external teacher that predicts in place of a network
	Config   train.Config
	Steps    int
	Predict  int // images
	Times    int
	Reads    map[string]float64 // share of the images, by set
}

// Images is the work in images that pass through a network: a step's pass three times, forwards and
// twice as long backwards.
func (c Cost) Images() (n int) {
	for _, r := range c.Runs {
		n += r.Times * (3*r.Steps*r.Config.Batch + r.Predict)
	}
	return n
}

// spec returns the network of a source: a train stage's, a file's, or what an external teacher knows.
func (e *Env) spec(from string) (network.Spec, error) {
	if t, ok := find[*Train](e, from); ok {
		spec, _, _, err := t.spec(e)
		return spec, err
	}
	if e.IsExternal(from) {
		t, err := e.external(from)
		if err != nil {
			return network.Spec{}, err
		}
		defer t.Net.Free()
		return network.Spec{Tasks: t.Tasks, Labels: t.Net.Knows()}, nil
	}
	c, err := checkpoint.ReadPretrained(from)
	if err != nil {
		return network.Spec{}, err
	}
	return c.Spec, nil
}

// count says how many there are of something.
func count(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return humanize.Comma(int64(n)) + " " + of
}
