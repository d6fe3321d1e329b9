package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"must/metric"
)

// Classes are the scores of a network for one task, class by class.
type Classes struct {
	Task string  `json:"task"`
	Unit string  `json:"unit"` // what is counted
	Of   []Class `json:"classes"`
}

// A Class is what a network makes of one class.
type Class struct {
	Name      string             `json:"name"`
	Truth     int64              `json:"truth"`              // how often it is there
	Predicted int64              `json:"predicted"`          // how often it is predicted
	Values    map[string]float64 `json:"values,omitempty"`   // without those of a class that plays no part
	Mistaken  map[string]int64   `json:"mistaken,omitempty"` // its row of the confusion matrix: what else is predicted for it, "" being nothing
}

// ClassesOf names the classes of a metric's numbers.
func ClassesOf(task string, c metric.Classes, names []string) Classes {
	name := func(k int) string {
		switch {
		case k < 0:
			return ""
		case k >= len(names):
			return fmt.Sprint(k)
		}
		return names[k]
	}
	out := Classes{Task: task, Unit: c.Unit}
	for k, v := range c.Of {
		class := Class{Name: name(k), Truth: v.Truth, Predicted: v.Predicted}
		for _, value := range v.Values {
			if math.IsNaN(value.Value) || math.IsInf(value.Value, 0) {
				continue
			}
			if class.Values == nil {
				class.Values = map[string]float64{}
			}
			class.Values[value.Name] = value.Value
		}
		for other, n := range v.Mistaken {
			if class.Mistaken == nil {
				class.Mistaken = map[string]int64{}
			}
			class.Mistaken[name(other)] += n
		}
		out.Of = append(out.Of, class)
	}
	return out
}

// A classTable is Classes as the page shows them.
type classTable struct {
	Title, Unit string
	Columns     []string
	Rows        []classRow
	Matrix      *matrix
}

type classRow struct {
	Name             string
	Truth, Predicted int64
	Values           []string
	Mistaken         string
}

// A matrix is a confusion matrix: a row for each class that is there, a column for each that is predicted.
type matrix struct {
	Columns []string
	Rows    []matrixRow
}

type matrixRow struct {
	Name  string
	Cells []matrixCell
}

type matrixCell struct {
	Count int64
	Share int // of the row, in per cent
	Right bool
}

const (
	matrixSide = 20 // classes of a confusion matrix that is shown whole
	mistakes   = 3  // that a row of the table names
)

func (c Classes) table(stage string) classTable {
	t := classTable{Title: stage + ": " + c.Task, Unit: c.Unit}
	columns := map[string]bool{}
	confused := false
	for _, class := range c.Of {
		for name := range class.Values {
			columns[name] = true
		}
		confused = confused || class.Mistaken != nil
	}
	t.Columns = slices.Sorted(maps.Keys(columns))
	for _, class := range c.Of {
		row := classRow{Name: class.Name, Truth: class.Truth, Predicted: class.Predicted}
		for _, name := range t.Columns {
			if v, ok := class.Values[name]; ok {
				row.Values = append(row.Values, format(v, 3))
			} else {
				row.Values = append(row.Values, missing)
			}
		}
		others := slices.SortedFunc(maps.Keys(class.Mistaken), func(a, b string) int {
			return cmp.Or(cmp.Compare(class.Mistaken[b], class.Mistaken[a]), cmp.Compare(a, b))
		})
		var words []string
		for _, other := range others[:min(mistakes, len(others))] {
			words = append(words, fmt.Sprintf("%s (%d)", cmp.Or(other, "nothing"), class.Mistaken[other]))
		}
		row.Mistaken = strings.Join(words, ", ")
		t.Rows = append(t.Rows, row)
	}
	if confused && len(c.Of) <= matrixSide {
		t.Matrix = c.matrix()
	}
	return t
}

func (c Classes) matrix() *matrix {
	m := &matrix{}
	for _, class := range c.Of {
		m.Columns = append(m.Columns, class.Name)
	}
	if slices.ContainsFunc(c.Of, func(class Class) bool { return class.Mistaken[""] > 0 }) {
		m.Columns = append(m.Columns, "")
	}
	for k, class := range c.Of {
		right := class.Truth
		for _, n := range class.Mistaken {
			right -= n
		}
		row := matrixRow{Name: class.Name}
		for j, name := range m.Columns {
			cell := matrixCell{Count: class.Mistaken[name], Right: j == k}
			if cell.Right {
				cell.Count = right
			}
			if class.Truth > 0 {
				cell.Share = int(100 * cell.Count / class.Truth)
			}
			row.Cells = append(row.Cells, cell)
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}
