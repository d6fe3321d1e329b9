package label

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"must/strict"
)

// Thresholds are by task.
type Thresholds map[string]Threshold

// A Threshold is the least score of what becomes a label. What stays below it and reaches Low is left open.
// In a recipe it is one number, or two where they differ: [0.1, 0.5].
type Threshold [2]float64

// UnmarshalYAML reads one number or two.
func (t *Threshold) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.SequenceNode); ok {
		var both []float64
		err := strict.Decode(n, &both)
		if err == nil && len(both) != 2 {
			err = fmt.Errorf("a threshold is one number, or two: from the first one on what stays below the second is left open")
		}
		copy(t[:], both)
		return err
	}
	err := strict.Decode(n, &t[1])
	t[0] = t[1]
	return err
}

// MarshalYAML writes what UnmarshalYAML reads.
func (t Threshold) MarshalYAML() (any, error) {
	if t[0] == t[1] {
		return t[1], nil
	}
	return []float64{t[0], t[1]}, nil
}

// Least are the scores of labels.
func (t Thresholds) Least() map[string]float64 {
	least := map[string]float64{}
	for task, v := range t {
		least[task] = v[1]
	}
	return least
}

// Open are those from which on what is no label is left open, of the tasks that leave anything open.
func (t Thresholds) Open() map[string]float64 {
	open := map[string]float64{}
	for task, v := range t {
		if v[0] != v[1] {
			open[task] = v[0]
		}
	}
	return open
}
