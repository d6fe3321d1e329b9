package pth

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What Write writes, Open reads, and every array begins where torch can map it into memory.
func TestWrite(t *testing.T) {
	floats := func(v ...float32) (b []byte) {
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		return b
	}
	path := filepath.Join(t.TempDir(), "w.pth")
	entries := []Entry{
		{"layer.weight", "F32", []int64{2, 3}, floats(1, 2, 3, 4, 5, 6)},
		{"layer.bias", "F32", []int64{2}, floats(7, 8)},
		{"norm.num_batches_tracked", "I64", nil, make([]byte, 8)},
	}
	if err := Write(path, entries); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries[:2] {
		if at := strings.Index(string(b), string(e.Data)); at%64 != 0 {
			t.Errorf("%s begins at byte %d", e.Name, at)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read, _, _, err := Open(f, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got := read[e.Name]
		if got == nil || got.DType != e.DType || !slices.Equal(got.Shape, e.Shape) {
			t.Errorf("%s: %+v", e.Name, got)
		}
	}
	if err := Write(path, []Entry{{"short", "F32", []int64{3}, floats(1)}}); err == nil || !strings.Contains(err.Error(), "short") {
		t.Error(err)
	}
}
