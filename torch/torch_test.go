package torch

import (
	"math"
	"testing"
)

func TestFirst(t *testing.T) {
	err := Do(func() {
		x := From([]float32{1, 2, 3, 4}, 2, 2)
		y := x.Mul(x).AddScalar(1).Sum()
		if y.Item() != 34 {
			t.Errorf("got %v", y.Item())
		}
		f := NewFlat([][]int64{{4, 3, 3, 3}, {4}}, true)
		w, b := f.Params[0], f.Params[1]
		Load(w, make([]float32, 108))
		for i := 0; i < 5; i++ {
			Scope(func() {
				in := Full(Float, 0.5, 2, 3, 8, 8)
				l := in.Conv2D(w, b, 1, 1, 1, 1).AddScalar(-1).Abs().Mean()
				l.Backward()
				t.Log(l.Item(), f.Grad.Norm().Item())
				m := Zeros(Float, f.Data.Len())
				StepSGD(f.Data, f.Grad, m, 0.1, 0.9, 0, false, true)
				f.Grad.Fill(0)
			})
		}
		f.Free()
	})
	if err != nil {
		t.Fatal(err)
	}
	err = Do(func() { From([]float32{1}, 1).MatMul(From([]float32{1, 2}, 2)) })
	t.Log(err)
	if err == nil {
		t.Fatal("no error")
	}
	_ = math.Pi
}
