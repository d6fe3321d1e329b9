package label

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"must/data"
	"must/label/shards"
	"must/task"
	"must/task/registry"
)

// A Mask says, by task, in pixels of which classes a teacher's values mean nothing, since its own truth had
// none there: a teacher of depth has never been told what to say of the sky. The classes are those of an
// image's class map, the true one where it has one.
type Mask map[string][]string

// Check tells what is wrong with a mask, but for its classes.
func (m Mask) Check() error {
	for _, name := range data.Ordered(maps.Keys(m)) {
		if !registry.Has(name) {
			return fmt.Errorf("mask: no task %q; there are %s", name, strings.Join(data.Tasks(), ", "))
		}
		if _, ok := registry.Get(name).(task.Masked); !ok {
			return fmt.Errorf("mask: %s has no values for pixels that could be left out", name)
		}
	}
	return nil
}

// A masker leaves pixels out.
type masker struct {
	by   string               // task that tells the class of every pixel
	of   task.Mapped          // it
	hide map[string][256]bool // by task, the classes
}

// masker returns what masks predictions for a set, nil for nothing.
func (m Mask) masker(have data.Labels, p shards.Provenance) (*masker, error) {
	if len(m) == 0 {
		return nil, nil
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	k := &masker{hide: map[string][256]bool{}}
	var classes []string
	for _, name := range data.Tasks() {
		mapped, ok := registry.Get(name).(task.Mapped)
		if !ok {
			continue
		}
		if k.by, k.of = name, mapped; have.Has(name) {
			classes = have[name].Classes
		} else {
			classes = p.Tasks[name].Classes
		}
	}
	for name, hidden := range m {
		if _, labelled := p.Tasks[name]; !labelled {
			continue
		}
		if classes == nil {
			return nil, fmt.Errorf("mask: %s is left out by the classes of %s, for which the set %s has neither labels nor a teacher", name, k.by, p.Dataset.Name)
		}
		var in [256]bool
		for _, class := range hidden {
			at := slices.Index(classes, class)
			if at < 0 {
				return nil, fmt.Errorf("mask: %s: %s has no class %q; it has %s", name, k.by, class, strings.Join(classes, ", "))
			}
			in[at] = true
		}
		k.hide[name] = in
	}
	return k, nil
}

// apply masks a prediction for a sample.
func (k *masker) apply(sample, pred *data.Sample) {
	if k == nil {
		return
	}
	l := sample.Label(k.by)
	if l == nil {
		l = pred.Label(k.by)
	}
	if l == nil {
		return
	}
	classes := k.of.Map(l)
	for name, hidden := range k.hide {
		if p := pred.Label(name); p != nil {
			pred.Put(registry.Get(name).(task.Masked).Mask(p, func(pixel int) bool { return hidden[classes.Pix[pixel]] }))
		}
	}
}
