package shards

import (
	"fmt"

	"must/data"
)

// Merge returns base with what is unknown in it filled in from the labels in dir, by the rules of
// [data.Fill]: a sample keeps its true labels; a task it has none for gets the pseudo label, where
// there is one, and a true label gets the classes that it does not tell of. Samples are matched by key,
// so base may also be a part of what was labelled, or more. A task that both label must mean the same
// in both.
func Merge(base data.Dataset, dir string) (data.Dataset, error) {
	set, err := Open(dir)
	if err != nil {
		return nil, err
	}
	l := base.Labels()
	for _, task := range l.Tasks() {
		if err := l.Conflict(set.Labels(), task); err != nil {
			return nil, fmt.Errorf("labels in %s do not go with those of the dataset: %w; label with a teacher of the dataset's own classes and units", dir, err)
		}
	}
	m := &merged{Dataset: base, set: set, labels: l.Join(set.Labels()), own: l, offsets: map[string][]int64{}}
	if err := m.locate(); err != nil {
		return nil, err
	}
	return m, nil
}

type merged struct {
	data.Dataset
	set     *Set
	labels  data.Labels
	own     data.Labels        // of the base
	slots   []int32            // by sample of the base: its index among the labelled ones, -1: not among them
	offsets map[string][]int64 // by task and index among the labelled: where its member begins, -1: none
}

func (m *merged) Unwrap() data.Dataset { return m.Dataset }

// Notes says which images the labels are not of, and what people decided about them.
func (m *merged) Notes() []string {
	notes := data.Notes(m.Dataset)
	found := 0
	for _, slot := range m.slots {
		if slot >= 0 {
			found++
		}
	}
	if found < m.Len() {
		notes = append(notes, fmt.Sprintf("labels in %s are of %d images, %d of which are among the %d here: to label these, give the same part and number of images (--split, --count)",
			m.set.dir, m.set.index.Dataset.Samples, found, m.Len()))
	}
	if c := m.set.decisions.Counts(); c.Images > 0 {
		notes = append(notes, fmt.Sprintf("labels in %s: decisions on %d images are obeyed (%s)", m.set.dir, c.Images, c))
	}
	return notes
}

// locate fills in slots and offsets: 4 bytes a sample and 8 a sample and task. Keys are held only
// where base is not exactly what was labelled.
func (m *merged) locate() error {
	x := m.set.index
	same := Identify("", m.Dataset).SHA256 == x.Dataset.SHA256
	m.slots = make([]int32, m.Len())
	for i := range m.slots {
		if m.slots[i] = -1; same {
			m.slots[i] = int32(i)
		}
	}
	for _, task := range x.tasks() {
		m.offsets[task] = make([]int64, 0, x.Dataset.Samples)
	}
	found, next := same, 0
	for f, err := range m.set.manifests() {
		if err != nil {
			return err
		}
		for _, task := range x.tasks() {
			m.offsets[task] = append(m.offsets[task], f.Offsets[task]...)
		}
		// A part of what was labelled has its order: then no table of keys is needed.
		for i := 0; !same && i < len(f.Keys) && next < m.Len(); i++ {
			if f.Keys[i] == m.Key(next) {
				m.slots[next], found = int32(f.From+i), true
				next++
			}
		}
	}
	if !same && next < m.Len() {
		some, err := m.lookUp()
		if err != nil {
			return err
		}
		found = found || some
	}
	if !found && m.Len() > 0 {
		return fmt.Errorf("labels in %s are of other images (%s): none has a key of the dataset, such as %s",
			m.set.dir, x.Dataset.Name, m.Key(0))
	}
	return nil
}

// lookUp finds the samples that have no slot yet by a table of their keys.
func (m *merged) lookUp() (found bool, err error) {
	at := map[string]int32{}
	for i, slot := range m.slots {
		if slot < 0 {
			at[m.Key(i)] = int32(i)
		}
	}
	for f, err := range m.set.manifests() {
		if err != nil {
			return false, err
		}
		for i, key := range f.Keys {
			if j, ok := at[key]; ok {
				m.slots[j], found = int32(f.From+i), true
			}
		}
	}
	return found, nil
}

func (m *merged) Labels() data.Labels { return m.labels }

// Carries tells of true labels and of pseudo labels.
func (m *merged) Carries(i int, task string) bool {
	if data.Carries(m.Dataset, i, task) {
		return true
	}
	at, ok := m.offsets[task]
	return ok && m.slots[i] >= 0 && at[m.slots[i]] >= 0
}

func (m *merged) Sample(i int) (*data.Sample, error) {
	s, err := m.Dataset.Sample(i)
	if err != nil || m.slots[i] < 0 {
		return s, err
	}
	slot := int(m.slots[i])
	pseudo := &data.Sample{Key: s.Key}
	for _, task := range m.set.index.tasks() {
		if s.Has(task) && m.own[task].Unknown == nil {
			continue
		}
		shard := m.set.index.Shards[slot/m.set.index.ShardSize].Name
		if err := m.set.read(pseudo, task, shard, m.offsets[task][slot], s.Image.Bounds().Size()); err != nil {
			return nil, err
		}
	}
	data.Fill(s, m.own, pseudo)
	return s, nil
}
