package torch

import "testing"

// The cost of a call, apart from what the operator computes.

func benchmark(b *testing.B, setup func() func()) {
	b.ReportAllocs()
	err := Do(func() {
		f := setup()
		Scope(f)
		for b.Loop() {
			Scope(f)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAdd(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 1)
		return func() { x.Add(x) }
	})
}

func BenchmarkMul(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 1)
		return func() { x.Mul(x) }
	})
}

func BenchmarkConv2D(b *testing.B) {
	benchmark(b, func() func() {
		x, w, c := Zeros(Float, 1, 1, 1, 1), Zeros(Float, 1, 1, 1, 1), Zeros(Float, 1)
		return func() { x.Conv2D(w, c, 1, 0, 1, 1) }
	})
}

func BenchmarkView(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 2, 3, 4)
		return func() { x.View(4, 3, 2) }
	})
}

func BenchmarkNewList3(b *testing.B) {
	benchmark(b, func() func() {
		return func() { word([]int64{1, 2, 3}) }
	})
}
func BenchmarkHandle(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 2, 3, 4)
		return func() { wrap(uintptr(handle(x))) }
	})
}
func BenchmarkDim(b *testing.B) {
	benchmark(b, func() func() {
		x := Zeros(Float, 2, 3, 4)
		return func() { x.Dim() }
	})
}
func BenchmarkDo(b *testing.B) {
	Do(func() {})
	for b.Loop() {
		Do(func() {})
	}
}
