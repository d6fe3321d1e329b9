package torch_test

import (
	"fmt"

	"must/torch"
)

func ExampleDo() {
	err := torch.Do(func() {
		x := torch.From([]float32{1, 2, 3, 4}, 2, 2)
		y := x.Mul(x).Sum()
		fmt.Println(x, y.Item())
	})
	fmt.Println(err)

	err = torch.Do(func() {
		torch.From([]float32{1, 2, 3, 4}, 2, 2).Add(torch.From([]float32{1, 2, 3}, 3))
	})
	fmt.Println(err != nil) // an *torch.Error, which names the operator and the shapes
	// Output:
	// float32[2, 2] 30
	// <nil>
	// true
}

func ExampleTensor_Backward() {
	err := torch.Do(func() {
		p := torch.NewFlat(torch.Float, [][]int64{{3}}, true)
		defer p.Free()
		torch.Load(p.Data, []float32{1, 2, 3})
		x := p.Params[0]
		x.Mul(x).Sum().Backward()
		fmt.Println(torch.Values[float32](p.Grad))
	})
	fmt.Println(err)
	// Output:
	// [2 4 6]
	// <nil>
}
