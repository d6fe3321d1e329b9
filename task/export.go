package task

import (
	"fmt"
	"math"
	"slices"

	"must/torch"
)

// ExportOptions say what outputs are.
type ExportOptions struct {
	Argmax bool // segmentation: the best class and its probability in place of all probabilities
	Logits bool // segmentation: logits before they are resized, in place of either, which Decode resizes
	Raw    bool // detection: all boxes before suppression

	Ties float64 // Outputs for Compare, with this tolerance: they say besides what hangs on rounding; 0: they do not
}

// An Array is values of a shape, the number of images first. Integers are exact below 2²⁴.
type Array struct {
	Shape  []int64
	Values []float32
}

// Outputs are arrays by the names of a graph's outputs.
type Outputs map[string]Array

// Row returns the values of image i.
func (a Array) Row(i int) []float32 {
	n := len(a.Values) / int(a.Shape[0])
	return a.Values[i*n:][:n]
}

// ArrayOf reads a tensor.
func ArrayOf(t *torch.Tensor) Array { return Array{t.Shape(), torch.Values[float32](t)} }

// A Difference is how far an output is from what it should be.
type Difference struct {
	Output  string
	Largest float64 // difference, as a part of Range
	Range   float64 // of the output's values
	Fault   string  // what a number does not tell, such as objects that only one side has; "": nothing

	Same, Tied int    // of what is alike or not, such as objects: those that are, and those that a tie decides about
	Of         string // what it is
}

// Differ compares an output value by value.
func Differ(name string, want, got Outputs) Difference {
	d := Difference{Output: name}
	a, b := want[name], got[name]
	if !slices.Equal(a.Shape, b.Shape) {
		d.Fault = fmt.Sprintf("its shape is %v, and should be %v", b.Shape, a.Shape)
		return d
	}
	low, high := 0., 0.
	for i, v := range a.Values {
		w := float64(b.Values[i])
		if math.IsNaN(w) || math.IsInf(w, 0) {
			d.Fault = fmt.Sprintf("value %d is %v, and should be %v", i, w, v)
			return d
		}
		low, high = min(low, float64(v)), max(high, float64(v)) // a range has 0 in it
		d.Largest = max(d.Largest, math.Abs(w-float64(v)))
	}
	if d.Range = high - low; d.Range > 0 {
		d.Largest /= d.Range
	}
	return d
}

// InputName is that of an exported graph's input, [N, 3, Size, Size], red first.
const InputName = "images"

// Take returns an output of n images after checking its shape; -1 is any size.
func (out Outputs) Take(name string, n int, shape ...int) (Array, error) {
	a, ok := out[name]
	ok = ok && len(a.Shape) == len(shape)+1 && a.Shape[0] == int64(n)
	for i, want := range shape {
		ok = ok && (want < 0 || a.Shape[i+1] == int64(want))
	}
	if !ok {
		return a, fmt.Errorf("output %s has shape %v, and should be of %d images with %v each", name, a.Shape, n, shape)
	}
	return a, nil
}

// Must panics with an error of Decode, which outputs computed here do not have.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}
