package torch

import "unsafe"

// Elementwise operators. Tensors of different shapes are broadcast as in PyTorch.

// Add returns t + o.
func (t *Tensor) Add(o *Tensor) *Tensor { return t.addScaled(o, 1) }

// Sub returns t - o.
func (t *Tensor) Sub(o *Tensor) *Tensor { return t.addScaled(o, -1) }

// addScaled returns t + alpha·o. The stable ABI refuses Scalar arguments, which add.Tensor has; its
// one arithmetic shim is subtract, whose alpha is a double, which integers refuse: they go by way of
// doubles, exact up to 2⁵³.
func (t *Tensor) addScaled(o *Tensor, alpha float64) *Tensor {
	inDo("add")
	if a, b := t.DType(), o.DType(); a >= Uint8 && b >= Uint8 {
		d := max(a, b)
		if d == Bool {
			d = min(a, b)
		}
		return Scoped(func() *Tensor { return t.As(Double).addScaled(o.As(Double), alpha).As(Int64).As(d) })
	}
	r := lib.subtract(t.handle("sub"), o.handle("sub"), -alpha, unsafe.Pointer(&out[0]))
	check(uintptr(r), "add", t, o)
	return wrap(out[0])
}

// AddScalar returns t + v.
func (t *Tensor) AddScalar(v float64) *Tensor { return t.Add(Scalar(v)) }

// Mul returns t · o.
func (t *Tensor) Mul(o *Tensor) *Tensor { return call1("mul.Tensor", t, o) }

// Scale returns t · v.
func (t *Tensor) Scale(v float64) *Tensor { return call1("mul.Tensor", t, Scalar(v)) }

// MulInPlace multiplies t by o, in place.
func (t *Tensor) MulInPlace(o *Tensor) *Tensor {
	call1("mul_.Tensor", t, o).Free()
	return t
}

// AddInPlace adds o to t, in place.
func (t *Tensor) AddInPlace(o *Tensor) *Tensor {
	sum := t.Add(o)
	t.Copy(sum)
	sum.Free()
	return t
}

// Lerp moves t towards o by a weight, in place: t + w·(o − t).
func (t *Tensor) Lerp(o, w *Tensor) {
	NoGrad(func() {
		Scope(func() { call1("lerp_.Tensor", t, o, w.To(t.Device())) })
	})
}

// Div returns t / o.
func (t *Tensor) Div(o *Tensor) *Tensor { return call1("div.Tensor", t, o) }

// Exp returns e^t.
func (t *Tensor) Exp() *Tensor { return call1("exp", t) }

// Log returns the natural logarithm.
func (t *Tensor) Log() *Tensor { return call1("log", t) }

// Sqrt returns the square root.
func (t *Tensor) Sqrt() *Tensor { return call1("sqrt", t) }

// Abs returns the absolute value.
func (t *Tensor) Abs() *Tensor { return call1("abs", t) }

// Neg returns -t.
func (t *Tensor) Neg() *Tensor { return call1("neg", t) }

// Sigmoid returns 1 / (1 + e^-t).
func (t *Tensor) Sigmoid() *Tensor { return call1("sigmoid", t) }

// Softplus returns log(1 + e^t), computed without overflow.
func (t *Tensor) Softplus() *Tensor { return call1("logaddexp", t, Scalar(0)) }

// Relu returns max(t, 0).
func (t *Tensor) Relu() *Tensor { return call1("relu", t) }

// ReluInPlace is Relu that overwrites t, which nothing else may need afterwards.
func (t *Tensor) ReluInPlace() *Tensor { return call1("relu_", t) }

// Gelu returns t · Φ(t).
func (t *Tensor) Gelu() *Tensor { return call1("gelu", t, "none") }

// Clamp returns t limited to [lo, hi].
func (t *Tensor) Clamp(lo, hi float64) *Tensor {
	d := t.Device()
	return call1("clamp.Tensor", t, opt{scalarOn(d, lo)}, opt{scalarOn(d, hi)})
}

// Max returns the larger of t and o, element by element.
func (t *Tensor) Max(o *Tensor) *Tensor { return call1("maximum", t, o) }

// Min returns the smaller of t and o, element by element.
func (t *Tensor) Min(o *Tensor) *Tensor { return call1("minimum", t, o) }

// Gt returns the truth of t > o.
func (t *Tensor) Gt(o *Tensor) *Tensor { return call1("gt.Tensor", t, o) }

// Lt returns the truth of t < o.
func (t *Tensor) Lt(o *Tensor) *Tensor { return call1("lt.Tensor", t, o) }

// Eq returns the truth of t = o.
func (t *Tensor) Eq(o *Tensor) *Tensor { return call1("eq.Tensor", t, o) }

// And returns the conjunction of two truths.
func (t *Tensor) And(o *Tensor) *Tensor { return call1("logical_and", t, o) }

// Not returns the negation of a truth.
func (t *Tensor) Not() *Tensor { return call1("logical_not", t) }

// IsFinite tells which elements are neither infinite nor NaN.
func (t *Tensor) IsFinite() *Tensor { return call1("isfinite", t) }

// Where returns a where the condition holds, else b.
func Where(cond, a, b *Tensor) *Tensor { return call1("where.self", cond, a, b) }

// Detach returns t outside the autograd graph, sharing memory.
func (t *Tensor) Detach() *Tensor { return call1("detach", t) }

// As returns t converted to another element type.
func (t *Tensor) As(d DType) *Tensor {
	return call1("to.dtype", t, dtypeArg(d), false, false, nil)
}

// Wide returns t in float32 where its type is narrower, and t itself where it is float32 or float64: the
// precision of losses and statistics, whatever that of the activations.
func (t *Tensor) Wide() *Tensor {
	if t.DType() == Double {
		return t
	}
	return t.As(Float)
}

// Clone returns a copy of t.
func (t *Tensor) Clone() *Tensor { return call1("clone", t, nil) }

// Shape operators; results share memory where they can.

// View returns t with another shape; one size may be -1.
func (t *Tensor) View(shape ...int64) *Tensor { return call1("reshape", t, shape) }

// Permute returns t with its dimensions reordered.
func (t *Tensor) Permute(dims ...int64) *Tensor { return call1("permute", t, dims) }

// Transpose exchanges two dimensions.
func (t *Tensor) Transpose(a, b int) *Tensor { return call1("transpose.int", t, a, b) }

// Narrow returns the elements start to start+n of a dimension.
func (t *Tensor) Narrow(dim int, start, n int64) *Tensor { return call1("narrow", t, dim, start, n) }

// Slice returns every step-th element of a dimension.
func (t *Tensor) Slice(dim int, step int64) *Tensor {
	return call1("slice.Tensor", t, dim, nil, nil, step)
}

// Select returns one index of a dimension, which disappears.
func (t *Tensor) Select(dim int, index int64) *Tensor { return call1("select.int", t, dim, index) }

// Unsqueeze inserts a dimension of size 1.
func (t *Tensor) Unsqueeze(dim int) *Tensor { return call1("unsqueeze", t, dim) }

// Squeeze removes a dimension of size 1.
func (t *Tensor) Squeeze(dim int) *Tensor { return call1("squeeze.dim", t, dim) }

// Expand repeats dimensions of size 1 without copying.
func (t *Tensor) Expand(shape ...int64) *Tensor { return call1("expand", t, shape, false) }

// Flatten joins the dimensions from one to another, inclusive.
func (t *Tensor) Flatten(from, to int) *Tensor { return call1("flatten.using_ints", t, from, to) }

// Contiguous returns t with row-major memory.
func (t *Tensor) Contiguous() *Tensor { return call1("contiguous", t, 0) }

// ChannelsLast returns t of [N, C, H, W] with the channels of a pixel side by side in memory: the
// layout in which convolutions are fastest on CPUs and on tensor cores. Most operators that get it
// give it on. Its shape stays as it is.
func (t *Tensor) ChannelsLast() *Tensor { return call1("contiguous", t, 2) }

// Cat joins tensors along a dimension.
func Cat(dim int, ts ...*Tensor) *Tensor { return call1("cat", ts, dim) }

// Stack joins tensors along a new dimension.
func Stack(dim int, ts ...*Tensor) *Tensor { return call1("stack", ts, dim) }

// IndexSelect returns the rows of a dimension that a 1-dimensional int64 tensor names.
func (t *Tensor) IndexSelect(dim int, index *Tensor) *Tensor {
	return call1("index_select", t, dim, index)
}

// Gather picks, along a dimension, the elements named by index, which has t's number of dimensions.
func (t *Tensor) Gather(dim int, index *Tensor) *Tensor { return call1("gather", t, dim, index, false) }

// TopK returns the k largest elements of a dimension in descending order, and their indices.
func (t *Tensor) TopK(k int64, dim int) (values, index *Tensor) {
	r := call("topk", 2, t, k, dim, true, true)
	return r[0], r[1]
}

// Sort returns a dimension sorted stably, and the indices of its elements.
func (t *Tensor) Sort(dim int, descending bool) (values, index *Tensor) {
	r := call("sort.stable", 2, t, opt{true}, dim, descending)
	return r[0], r[1]
}

// Reductions.

// Sum adds all elements, or those along dims.
func (t *Tensor) Sum(dims ...int64) *Tensor {
	if len(dims) == 0 {
		return call1("sum", t, nil)
	}
	return call1("sum.dim_IntList", t, opt{dims}, false, nil)
}

// Mean averages all elements, or those along dims.
func (t *Tensor) Mean(dims ...int64) *Tensor {
	if len(dims) == 0 {
		return call1("mean", t, nil)
	}
	return call1("mean.dim", t, opt{dims}, false, nil)
}

// MeanKeep is Mean along dims that stay as size 1.
func (t *Tensor) MeanKeep(dims ...int64) *Tensor { return call1("mean.dim", t, opt{dims}, true, nil) }

// MaxDim returns the largest element along a dimension, and its index.
func (t *Tensor) MaxDim(dim int) (values, index *Tensor) {
	r := call("max.dim", 2, t, dim, false)
	return r[0], r[1]
}

// Norm returns the Euclidean norm of all elements.
func (t *Tensor) Norm() *Tensor {
	// The general norm takes a Scalar, this one does not.
	return call1("linalg_matrix_norm.str_ord", t.View(1, t.Len()), "fro", []int64{-2, -1}, false, nil)
}

// All reports whether all elements are true.
func (t *Tensor) All() bool { return call1("all", t).Item() != 0 }

// Softmax returns the probabilities along a dimension.
func (t *Tensor) Softmax(dim int) *Tensor { return call1("softmax.int", t, dim, nil) }

// LogSoftmax returns the logarithms of [Tensor.Softmax].
func (t *Tensor) LogSoftmax(dim int) *Tensor { return call1("log_softmax.int", t, dim, nil) }

// LogSumExp returns log Σ e^t along a dimension, which disappears.
func (t *Tensor) LogSumExp(dim int) *Tensor { return call1("logsumexp", t, []int64{int64(dim)}, false) }

// Linear algebra and layers.

// MatMul returns the matrix product, batched as in PyTorch.
func (t *Tensor) MatMul(o *Tensor) *Tensor { return call1("matmul", t, o) }

// Linear returns t·wᵀ + b for t of [N, in] and w of [out, in]; b may be nil.
func (t *Tensor) Linear(w, b *Tensor) *Tensor { return call1("linear", t, w, optional(b)) }

// Conv2D convolves t of [N, C, H, W] with w of [out, C/groups, k, k]; b may be nil.
func (t *Tensor) Conv2D(w, b *Tensor, stride, padding, dilation, groups int64) *Tensor {
	if winogradFits(t, w, stride, padding, dilation, groups) {
		return winogradConv2D(t, w, b)
	}
	return call1("conv2d", t, w, optional(b), []int64{stride, stride}, []int64{padding, padding}, []int64{dilation, dilation}, groups)
}

// ConvTranspose2D is the transposed convolution of t of [N, C, H, W] with w of [C, out, k, k].
func (t *Tensor) ConvTranspose2D(w, b *Tensor, stride, padding int64) *Tensor {
	return call1("conv_transpose2d.input", t, w, optional(b), []int64{stride, stride}, []int64{padding, padding}, []int64{0, 0}, 1, []int64{1, 1})
}

// BatchNorm normalises the channels of t of [N, C, …]. In training it uses the batch's statistics
// and updates mean and variance in place by the momentum; otherwise it uses those.
func (t *Tensor) BatchNorm(w, b, mean, variance *Tensor, training bool, momentum, eps float64) *Tensor {
	return call1("batch_norm", t, optional(w), optional(b), optional(mean), optional(variance), training, momentum, eps, true)
}

// GroupNorm normalises groups of channels of t of [N, C, …].
func (t *Tensor) GroupNorm(groups int64, w, b *Tensor, eps float64) *Tensor {
	return call1("group_norm", t, groups, optional(w), optional(b), eps, true)
}

// LayerNorm normalises the last dimension.
func (t *Tensor) LayerNorm(w, b *Tensor, eps float64) *Tensor {
	return call1("layer_norm", t, []int64{w.Len()}, opt{w}, optional(b), eps, true)
}

// MaxPool2D takes the largest element of each k×k window.
func (t *Tensor) MaxPool2D(k, stride, padding int64) *Tensor {
	return call1("max_pool2d", t, []int64{k, k}, []int64{stride, stride}, []int64{padding, padding}, []int64{1, 1}, false)
}

// AvgPool2D averages k×k windows that do not overlap; the last ones may be cut by the edge and are the
// mean of what they hold (ceil_mode, count_include_pad false).
func (t *Tensor) AvgPool2D(k int64) *Tensor {
	return call1("avg_pool2d", t, []int64{k, k}, []int64{k, k}, []int64{0, 0}, true, false, nil)
}

// Bilinear resizes [N, C, H, W] to h×w with half-pixel centres (align_corners false).
func (t *Tensor) Bilinear(h, w int64) *Tensor {
	return call1("upsample_bilinear2d", t, []int64{h, w}, false, nil, nil)
}

// Bicubic resizes [N, C, H, W] to h×w with half-pixel centres (align_corners false), without
// antialiasing.
func (t *Tensor) Bicubic(h, w int64) *Tensor {
	return call1("upsample_bicubic2d", t, []int64{h, w}, false, nil, nil)
}

// Nearest resizes [N, C, H, W] to h×w by repeating pixels.
func (t *Tensor) Nearest(h, w int64) *Tensor {
	return call1("upsample_nearest2d", t, []int64{h, w}, nil, nil)
}

// Pad puts n rows and columns of zeros around [N, C, H, W].
func (t *Tensor) Pad(n int64) *Tensor {
	return call1("pad", t, []int64{n, n, n, n}, "constant", nil)
}

// GridSample reads [N, C, H, W] at the points of a grid of [N, h, w, 2] with x and y in [-1, 1]:
// bilinear, clamped to the border, corners aligned.
func (t *Tensor) GridSample(grid *Tensor) *Tensor {
	return call1("grid_sampler_2d", t, grid, 0, 1, true)
}

// Attention is softmax(q·kᵀ/√d)·v for tensors of [N, heads, length, d].
func Attention(q, k, v *Tensor) *Tensor {
	return call1("scaled_dot_product_attention", q, k, v, nil, 0.0, false, nil, false)
}

// A Reduction says what a loss does with the losses of its elements.
type Reduction int

// The reductions of PyTorch's losses.
const (
	None Reduction = iota
	Mean
	Sum
)

// CrossEntropy compares logits of [N, C, …] with class indices of [N, …] (int64), where ignore
// does not count, or with distributions of [N, C, …]. Mean averages over what counts; it is NaN
// where nothing does.
func (t *Tensor) CrossEntropy(target *Tensor, r Reduction, ignore int64) *Tensor {
	return call1("cross_entropy_loss", t, target, nil, int(r), ignore, 0.0)
}

// SmoothL1 is Huber's loss divided by beta.
func (t *Tensor) SmoothL1(target *Tensor, r Reduction, beta float64) *Tensor {
	return call1("smooth_l1_loss", t, target, int(r), beta)
}

// L1 is the absolute error.
func (t *Tensor) L1(target *Tensor, r Reduction) *Tensor { return call1("l1_loss", t, target, int(r)) }

// BCEWithLogits is binary cross entropy between logits and targets in [0, 1].
func (t *Tensor) BCEWithLogits(target *Tensor, r Reduction) *Tensor {
	return call1("binary_cross_entropy_with_logits", t, target, nil, nil, int(r))
}

// CosineSimilarity is the cosine of the angle between vectors along a dimension.
func CosineSimilarity(a, b *Tensor, dim int) *Tensor {
	return call1("cosine_similarity", a, b, dim, 1e-8)
}
