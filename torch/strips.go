package torch

// What is too large to be computed at once.

// SumOver returns the sum of n scalars that f computes of t. With gradients, that of t is computed at once, scalar by
// scalar, so that what a scalar needs for it is in memory for one at a time, and not until Backward.
func (t *Tensor) SumOver(n int, f func(t *Tensor, i int) *Tensor) *Tensor {
	return Scoped(func() *Tensor {
		learns, of := GradEnabled(), t.Detach()
		sum, grad := Zeros(t.DType()), of
		if learns {
			grad = of.Clone().Fill(0)
			of = of.Clone().RequireGrad(true)
			of.SetGrad(grad)
		}
		for i := range n {
			Scope(func() {
				value := f(of, i)
				if learns {
					value.Backward()
				}
				sum.Copy(sum.Add(value.Detach()))
			})
		}
		if !learns {
			return sum
		}
		linear := t.Mul(grad).Sum() // has this gradient, and another value
		return linear.Add(sum.Sub(linear.Detach()))
	})
}

// BilinearRows returns the rows from one to another, which it leaves out, of Bilinear(h, w), and computes little more.
func (t *Tensor) BilinearRows(h, w, from, to int64) *Tensor {
	rows := t.Size(2)
	if h%rows != 0 || from%(h/rows) != 0 || to%(h/rows) != 0 {
		return t.Bilinear(h, w).Narrow(2, from, to-from)
	}
	k := h / rows // a row reads those of the next one and the one before
	first, last := max(0, from/k-1), min(rows, to/k+1)
	return t.Narrow(2, first, last-first).Bilinear((last-first)*k, w).Narrow(2, from-first*k, to-from)
}
