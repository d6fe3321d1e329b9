package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Labels says which tasks a dataset has labels for and what their values mean. A task that is absent has
// none. It is not changed in place once others may hold it: [Labels.With] returns a copy.
type Labels map[string]Meaning

// A Meaning says what the labels of a task mean. Which of it applies is the task's to say.
type Meaning struct {
	Classes []string // names, by index (of objects without a background)
	Units   string   // of values
	Masks   bool     // objects carry masks

	Channels int      // values of a cell, where labels are grids of vectors
	Grid     int      // cells of a side of such a grid
	Moments  *Moments // of the values by channel, where they are known

	// Protocol names the published way of scoring the set, one of registry.Protocols(); "": the task's usual one.
	Protocol string

	// Unknown lists the classes (by index, ascending) that the set's labels do not tell of, as its own
	// classes are others, see [Remap]: an image may show them without its label saying so. For a task of
	// which an image has one class, a list, even if empty, says that some images have none therefore.
	Unknown []int
}

// Has reports whether there are labels for the task.
func (l Labels) Has(task string) bool {
	_, ok := l[task]
	return ok
}

// Tasks lists the tasks that there are labels for, in their order.
func (l Labels) Tasks() []string { return Ordered(maps.Keys(l)) }

// With returns l with another meaning of a task.
func (l Labels) With(task string, m Meaning) Labels {
	l = maps.Clone(l)
	if l == nil {
		l = Labels{}
	}
	l[task] = m
	return l
}

// Only returns l with some of its tasks.
func (l Labels) Only(tasks ...string) Labels {
	out := Labels{}
	for task, m := range l {
		if slices.Contains(tasks, task) {
			out[task] = m
		}
	}
	return out
}

// Plain returns l without what holds for the labels of one set only, as it is for a network.
func (l Labels) Plain() Labels {
	out := Labels{}
	for task, m := range l {
		m.Protocol, m.Unknown = "", nil
		out[task] = m
	}
	return out
}

// Conflict returns an error where both l and m have labels for the task but their values do not
// mean the same, and nil otherwise.
func (l Labels) Conflict(m Labels, task string) error {
	if !l.Has(task) || !m.Has(task) {
		return nil
	}
	a, b := l[task], m[task]
	if err := conflict(task, a.Classes, b.Classes); err != nil {
		return err
	}
	if f := kinds[TaskOf(task)].Conflict; f != nil {
		return f(a, b)
	}
	if a.Units != b.Units {
		return fmt.Errorf("%s: one is in %s, the other in %s", task, a.Units, b.Units)
	}
	return nil
}

func conflict(task string, a, b []string) error {
	if slices.Equal(a, b) {
		return nil
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Errorf("%s: class %d is %q in one and %q in the other (%d and %d classes)",
				task, i, a[i], b[i], len(a), len(b))
		}
	}
	return fmt.Errorf("%s: one has %d classes, the other %d", task, len(a), len(b))
}

// Join returns l with the tasks that only m has added. Of a task that both have, those classes stay
// unknown that neither tells of.
func (l Labels) Join(m Labels) Labels {
	out := Labels{}
	for task, a := range l {
		if b, both := m[task]; both {
			a.Masks = a.Masks || b.Masks
			a.Unknown = common(a.Unknown, b.Unknown)
			a.Moments = a.Moments.Pool(b.Moments)
		}
		out[task] = a
	}
	for task, b := range m {
		if !l.Has(task) {
			out[task] = b
		}
	}
	return out
}

// common returns the elements of a that are in b too; nil for none.
func common(a, b []int) (both []int) {
	for _, x := range a {
		if slices.Contains(b, x) {
			both = append(both, x)
		}
	}
	return both
}

// masksKey is the member beside the task whose objects have masks.
const masksKey = "masks"

// vectors is the member of a task whose labels are grids of vectors.
type vectors struct {
	Channels int      `json:"channels"`
	Grid     int      `json:"grid"`
	Moments  *Moments `json:"moments,omitempty"`
}

// MarshalJSON writes an object with a member for each task, in their order: its class names, or its
// units, or true. What a set says of its own labels only, Protocol and Unknown, is not in it.
func (l Labels) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // who encodes the whole decides
	separator := "{"
	member := func(key string, v any) error {
		b.WriteString(separator)
		separator = ","
		if err := e.Encode(key); err != nil {
			return err
		}
		b.WriteByte(':')
		return e.Encode(v)
	}
	for _, task := range l.Tasks() {
		m := l[task]
		var v any = true
		switch {
		case len(m.Classes) > 0:
			v = m.Classes
		case m.Units != "":
			v = m.Units
		case m.Channels > 0:
			v = vectors{m.Channels, m.Grid, m.Moments}
		}
		if err := member(task, v); err != nil {
			return nil, err
		}
		if m.Masks {
			if err := member(masksKey, true); err != nil {
				return nil, err
			}
		}
	}
	if b.Len() == 0 {
		return []byte("{}"), nil
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON wrote. Members that it does not know are passed over.
func (l *Labels) UnmarshalJSON(b []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	out := Labels{}
	masks := false
	for key, value := range members {
		if key == masksKey {
			if err := json.Unmarshal(value, &masks); err != nil {
				return fmt.Errorf("labels: %s: %w", key, err)
			}
			continue
		}
		if _, known := kinds[TaskOf(key)]; !known {
			continue
		}
		m, ok, err := parseMeaning(value)
		if err != nil {
			return fmt.Errorf("labels: %s: %w", key, err)
		}
		if ok {
			out[key] = m
		}
	}
	for task, m := range out {
		if kinds[TaskOf(task)].Masks {
			m.Masks = masks
			out[task] = m
		}
	}
	*l = out
	return nil
}

// parseMeaning tells by the kind of JSON value what it is.
func parseMeaning(b json.RawMessage) (m Meaning, ok bool, err error) {
	switch b = bytes.TrimSpace(b); b[0] {
	case '[':
		err = json.Unmarshal(b, &m.Classes)
		return m, len(m.Classes) > 0, err
	case '"':
		err = json.Unmarshal(b, &m.Units)
		return m, m.Units != "", err
	case 't', 'f', 'n':
		err = json.Unmarshal(b, &ok)
		return m, ok, err
	}
	var v vectors
	err = json.Unmarshal(b, &v)
	if err == nil && (v.Channels < 1 || v.Grid < 1) {
		err = errors.New("it is neither class names nor units nor true nor a grid of vectors")
	}
	if err == nil {
		err = v.Moments.check(v.Channels)
	}
	return Meaning{Channels: v.Channels, Grid: v.Grid, Moments: v.Moments}, err == nil, err
}
