package account

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestQuantile(t *testing.T) {
	h := NewHistogram()
	if h.Quantile(0.5) != 0 {
		t.Error("quantile of nothing")
	}
	for i := -1000; i <= 1000; i++ {
		h.Add(float32(i) / 10)
	}
	for q, want := range map[float64]float64{0: -100, 0.25: -50, 0.5: 0, 0.75: 50, 1: 100} {
		if got := h.Quantile(q); math.Abs(got-want) > 0.01*math.Abs(want)+1e-6 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 1234567: "1,234,567", -1000: "-1,000", 0.012345: "0.0123", 123.7: "124", 2.5: "2.5"} {
		if got := Number(x); got != want {
			t.Errorf("%v is %s, want %s", x, got, want)
		}
	}
	for part, want := range map[int]string{0: "0 %", 1: "< 0.01 %", 500: "0.50 %", 50000: "50.0 %", 99999: "> 99.9 %", 100000: "100 %"} {
		if got := Percent(part, 100000); got != want {
			t.Errorf("%d is %s, want %s", part, got, want)
		}
	}
}

// Of many classes the table shows the most and the least frequent ones.
func TestManyClasses(t *testing.T) {
	classes := make([]Class, 100)
	for i := range classes {
		classes[i] = Class{Name: fmt.Sprint("c", i), Images: i}
	}
	var b bytes.Buffer
	w := New(&b)
	w.Table(classes, []string{"images"}, func(c Class) []string { return []string{Thousands(c.Images)} }, func(c Class) int64 { return int64(c.Images) })
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(b.String()) {
		text.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	for _, want := range []string{"100 classes, 1 absent images\n", "\nc99 99\n", "\nc80 80\n", "\n… 75 more\n", "\nc4 4\n", "\nc0 0\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "c79") || strings.Contains(text.String(), "c5 ") {
		t.Error(text.String())
	}
}
