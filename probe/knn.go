package probe

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"must/progress"
	"must/torch"
)

// Temperature is that of the field's k-NN evaluations: Wu et al., "Unsupervised Feature Learning via
// Non-Parametric Instance Discrimination" (2018), §3.4, and those after it.
const Temperature = 0.07

// Similarities are computed in blocks of so many images to score on and to learn from.
const scoreRows, learnRows = 512, 8192

// KNN lets the k images to learn from that are most similar to an image vote for its class: the
// similarity s is the cosine of the angle between features, a vote weighs exp(s / temperature). It
// returns the shares of the votes for each of ks, [N, classes]. Of images equally similar, the
// earlier ones vote; where there are fewer than k, all do.
func KNN(ctx context.Context, train, test *Features, ks []int, temperature float64, d *progress.Display) ([][]float32, error) {
	if err := agree(train, test); err != nil {
		return nil, err
	}
	if err := checkK(ks); err != nil {
		return nil, err
	}
	if !(temperature > 0) {
		return nil, fmt.Errorf("temperature is %v; it must be positive", temperature)
	}
	near, err := neighbours(ctx, train, test, slices.Max(ks), d)
	if err != nil {
		return nil, err
	}
	classes := len(train.Classes)
	shares := make([][]float32, len(ks))
	for i, k := range ks {
		for _, n := range near {
			votes, sum := make([]float64, classes), 0.
			for _, v := range n[:min(k, len(n))] {
				// Relative to the nearest, so that no temperature overflows.
				w := math.Exp(float64(v.similarity-n[0].similarity) / temperature)
				votes[train.Class[v.index]] += w
				sum += w
			}
			for _, v := range votes {
				shares[i] = append(shares[i], float32(v/sum))
			}
		}
	}
	return shares, nil
}

func checkK(ks []int) error {
	if len(ks) == 0 || slices.Min(ks) < 1 || slices.Max(ks) > 1e5 {
		return fmt.Errorf("numbers of neighbours are %v; each must be between 1 and 100000", ks)
	}
	return nil
}

// A neighbour is an image to learn from.
type neighbour struct {
	similarity float32
	index      int32
}

// neighbours returns the k images of train nearest to each of test, the nearest first.
func neighbours(ctx context.Context, train, test *Features, k int, d *progress.Display) ([][]neighbour, error) {
	learn, score, dim := len(train.Class), len(test.Class), train.Dim
	found := make([]nearest, score)
	for i := range found {
		found[i] = nearest{k: min(k, learn), least: float32(math.Inf(-1))}
	}
	directions := unit(test.Values, dim)
	block := make([]float32, min(learnRows, learn)*min(scoreRows, score))
	bar := d.Task("nearest neighbours", int64(learn), "images")
	defer bar.Done()
	for from := 0; from < learn; from += learnRows {
		n := min(learnRows, learn-from)
		err := torch.DoErr(func() error {
			learned := torch.From(unit(train.Values[from*dim:][:n*dim], dim), int64(n), int64(dim))
			for at := 0; at < score; at += scoreRows {
				if err := ctx.Err(); err != nil {
					return err
				}
				m := min(scoreRows, score-at)
				similar := block[:m*n]
				torch.NoGrad(func() {
					torch.Scope(func() {
						x := torch.From(directions[at*dim:][:m*dim], int64(m), int64(dim))
						torch.CopyTo(similar, x.Linear(learned, nil))
					})
				})
				eachRow(m, func(i int) { found[at+i].offer(similar[i*n:][:n], from) })
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		bar.Add(int64(n))
	}
	near := make([][]neighbour, score)
	for i := range found {
		found[i].trim()
		near[i] = found[i].list
	}
	return near, nil
}

// eachRow calls f for every row, on all cores.
func eachRow(rows int, f func(i int)) {
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < rows; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}

// unit scales rows to length 1; rows of zeros stay.
func unit(v []float32, dim int) []float32 {
	out := make([]float32, len(v))
	for from := 0; from < len(v); from += dim {
		square := 0.
		for _, x := range v[from:][:dim] {
			square += float64(x) * float64(x)
		}
		scale := 1 / math.Max(math.Sqrt(square), 1e-12)
		for i, x := range v[from:][:dim] {
			out[from+i] = float32(float64(x) * scale)
		}
	}
	return out
}

// nearest collects the k most similar of the images offered to it, of which up to as many again wait
// to be dropped.
type nearest struct {
	k     int
	list  []neighbour
	least float32 // what is not more similar than this is not among the k
}

// offer takes the similarities of the images from index first on; later calls bring later images.
func (n *nearest) offer(similar []float32, first int) {
	for i, s := range similar {
		if s > n.least {
			if n.list = append(n.list, neighbour{s, int32(first + i)}); len(n.list) == 2*n.k {
				n.trim()
			}
		}
	}
}

func (n *nearest) trim() {
	slices.SortFunc(n.list, func(a, b neighbour) int {
		return cmp.Or(cmp.Compare(b.similarity, a.similarity), cmp.Compare(a.index, b.index))
	})
	if len(n.list) >= n.k {
		n.list = n.list[:n.k]
		n.least = n.list[n.k-1].similarity
	}
}
