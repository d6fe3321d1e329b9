package main

import (
	"bytes"
	"os"
	"testing"

	"must/report"
)

// TestReadmeIsUpToDate fails where README.md shows other figures than the results in docs/demo.
func TestReadmeIsUpToDate(t *testing.T) {
	const root = "../.."
	old, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, runs, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	text, err := fill(old, files, runs)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, text) {
		t.Error("README.md does not show the figures of docs/demo: go run ./scripts/readme")
	}
	drawn, err := os.ReadFile(root + "/" + hexagon)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) > 0 && !bytes.Equal(drawn, report.Hexagon(runs[0])) {
		t.Errorf("%s does not show the first results of docs/demo: go run ./scripts/readme", hexagon)
	}
}

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		values []float64
		digits int
		want   string
	}{{[]float64{0.5}, 2, "0.50"}, {[]float64{0.521, 0.48}, 2, "0.48–0.52"}, {[]float64{0.501, 0.499}, 2, "0.50"}} {
		if got := span(c.values, c.digits); got != c.want {
			t.Errorf("span(%v, %d) = %s, want %s", c.values, c.digits, got, c.want)
		}
	}
}
