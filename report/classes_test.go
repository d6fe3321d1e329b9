package report

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"must/metric"
)

func TestClasses(t *testing.T) {
	c := ClassesOf("classification", metric.Classes{Unit: "images", Of: []metric.ClassValue{
		{Values: []metric.Value{{Name: "accuracy", Value: 0.75}}, Truth: 8, Predicted: 7, Mistaken: map[int]int64{1: 1, -1: 1}},
		{Values: []metric.Value{{Name: "accuracy", Value: 1}}, Truth: 2, Predicted: 3},
		{Values: []metric.Value{{Name: "accuracy", Value: math.NaN()}}},
	}}, []string{"cat", "dog", "cow"})
	want := []Class{
		{"cat", 8, 7, map[string]float64{"accuracy": 0.75}, map[string]int64{"dog": 1, "": 1}},
		{"dog", 2, 3, map[string]float64{"accuracy": 1}, nil},
		{"cow", 0, 0, nil, nil},
	}
	if !reflect.DeepEqual(c.Of, want) {
		t.Fatalf("%+v, want %+v", c.Of, want)
	}
	text, err := json.Marshal(Network{Stage: "train", Classes: []Classes{c}})
	if err != nil {
		t.Fatal(err)
	}
	var back Network
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back.Classes[0], c) {
		t.Errorf("%+v, %v, want %+v", back.Classes, err, c)
	}
	table := c.table("train")
	if row := table.Rows[0]; row.Mistaken != "nothing (1), dog (1)" || row.Values[0] != "0.750" || table.Rows[2].Values[0] != missing {
		t.Errorf("rows %+v", table.Rows)
	}
	m := table.Matrix
	if m == nil || len(m.Columns) != 4 {
		t.Fatalf("matrix %+v", m)
	}
	for i, counts := range [][]int64{{6, 1, 0, 1}, {0, 2, 0, 0}, {0, 0, 0, 0}} {
		for j, n := range counts {
			if cell := m.Rows[i].Cells[j]; cell.Count != n || cell.Right != (i == j) {
				t.Errorf("matrix[%d][%d] is %+v, want %d", i, j, cell, n)
			}
		}
	}
	if share := m.Rows[0].Cells[0].Share; share != 75 {
		t.Errorf("share %d, want 75", share)
	}
}
