package graph

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"must/onnx/graph/onnxpb"
)

func read(t *testing.T, path string) *onnxpb.ModelProto {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Only what outputs depend on is written, equal constants once, and every time the same bytes.
func TestWrite(t *testing.T) {
	build := func() *Graph {
		g := New()
		x := g.Input("x", Float, Batch, 2)
		y := g.Op("Add", nil, x, g.Scalar(1))
		g.Op("Mul", nil, y, g.Floats([]float32{5}, 1))
		y = g.Op("MatMul", nil, y, g.Weight("w", []float32{1, 2, 3, 4}, 2, 2))
		y = g.Op("MatMul", nil, y, g.Weight("w", []float32{1, 2, 3, 4}, 2, 2))
		g.Output(g.Op("Softmax", Attrs{"axis": 1}, g.Op("Add", nil, y, g.Scalar(1))), "y", Float, Batch, 2)
		return g
	}
	path := filepath.Join(t.TempDir(), "a.onnx")
	if err := build().Write(path, "must", "1", map[string]string{"b": "2", "a": "1"}); err != nil {
		t.Fatal(err)
	}
	m := read(t, path)
	if n := len(m.Graph.Node); n != 6 { // the two sums, the two products, softmax and the output's name
		t.Errorf("%d operators are written", n)
	}
	if n := len(m.Graph.Initializer); n != 2 {
		t.Errorf("%d weights and constants are written", n)
	}
	if m.OpsetImport[0].GetVersion() != 17 || m.MetadataProps[0].GetKey() != "a" {
		t.Error(m.OpsetImport, m.MetadataProps)
	}
	if d := m.Graph.Input[0].Type.GetTensorType().Shape.Dim; d[0].GetDimParam() != "N" || d[1].GetDimValue() != 2 {
		t.Error(d)
	}
	again := filepath.Join(t.TempDir(), "a.onnx")
	if err := build().Write(again, "must", "1", map[string]string{"a": "1", "b": "2"}); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(again)
	if string(a) != string(b) {
		t.Error("the same graph has other bytes")
	}
}

func TestWeightsBeside(t *testing.T) {
	g := New()
	g.Inline = 100
	w := make([]float32, 600)
	w[599] = 7
	x := g.Op("Add", nil, g.Input("x", Float, 600), g.Weight("w", w, 600))
	g.Output(g.Op("Add", nil, x, g.Scalar(1)), "y", Float, 600)
	path := filepath.Join(t.TempDir(), "a.onnx")
	for range 2 { // writing changes nothing
		if err := g.Write(path, "must", "1", nil); err != nil {
			t.Fatal(err)
		}
	}
	inside, beside := read(t, path).Graph.Initializer[0], path+".data"
	if len(inside.RawData) != 0 || inside.ExternalData[0].GetValue() != "a.onnx.data" {
		t.Error(inside)
	}
	if b, err := os.ReadFile(beside); err != nil || string(b) != string(floatBytes(w)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
