package torch

// EmbeddingBag returns weighted sums of rows of the table t of [rows, C]: row b of the result
// [bags, C] is the sum over i from offset[b] to offset[b+1]-1 of weight[i] · t[index[i]]. index and
// offset, which has one element more than there are bags, are both int32 or both int64; weight has
// t's type. It is a product with a sparse matrix, differentiable in t.
func (t *Tensor) EmbeddingBag(index, offset, weight *Tensor) *Tensor {
	const sum = 0
	r := call("embedding_bag", 4, t, index, offset, false, sum, false, optional(weight), true)
	for _, o := range r[1:] {
		o.Free()
	}
	return r[0]
}
