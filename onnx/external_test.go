package onnx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A model's hash tells of the files that it keeps weights in, whatever their names, near and far from
// each other in the model.
func TestHashOfExternalData(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	hash := func() string {
		sum, err := (&Declaration{ONNX: "m.onnx"}).Hash(dir)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	write("m.onnx", string(located)+"\x09weights.a"+strings.Repeat("x", 1<<20-5)+string(located)+"\x09weights.b")
	write("weights.a", "1")
	write("weights.b", "2")
	before := hash()
	write("weights.a", "one")
	after := hash()
	if after == before {
		t.Error("other weights, the same hash")
	}
	write("weights.b", "two")
	if hash() == after {
		t.Error("other weights in the second file, the same hash")
	}
	os.Remove(filepath.Join(dir, "weights.b"))
	if _, err := (&Declaration{ONNX: "m.onnx"}).Hash(dir); err == nil || !strings.Contains(err.Error(), "weights.b") {
		t.Error(err)
	}
	write("m.onnx", string(located)+"\x04../w")
	if _, err := (&Declaration{ONNX: "m.onnx"}).Hash(dir); err == nil || !strings.Contains(err.Error(), "not beside it") {
		t.Error(err)
	}
}
