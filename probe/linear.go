package probe

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/optimize"

	"must/progress"
	"must/torch"
)

// penalties are the values of the L2 penalty that are tried, from strong to weak: each fit starts
// where the one before ended. The grid is ours.
var penalties = []float64{1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6}

// A fit ends where no part of the gradient is larger than tolerance, or after so many iterations:
// that stops it early under a weak penalty, where more iterations would fit noise. The tolerance is
// scikit-learn's.
const (
	tolerance  = 1e-4
	iterations = 200
)

// fitRows is how many features are in double precision at a time.
const fitRows = 8192

// A LinearResult is what the linear probe says.
type LinearResult struct {
	L2    float64   // the penalty chosen
	Probs []float32 // [N, classes] of the images to score on
}

// Linear is multinomial logistic regression on features standardised by the mean and deviation of
// train: it minimises the mean cross entropy plus L2/2 times the sum of the squares of the weights
// (not of the biases), by L-BFGS. L2 is the one that scores best on a random tenth of train after a
// fit to the rest of it, the stronger of equals; the probe is then fitted to all of train, as
// Kornblith et al., "Do Better ImageNet Models Transfer Better?" (2019), §3.2, do.
func Linear(ctx context.Context, train, test *Features, seed uint64, d *progress.Display) (*LinearResult, error) {
	if err := agree(train, test); err != nil {
		return nil, err
	}
	bar := d.Task("linear probe", int64(len(penalties)+1), "fits")
	defer bar.Done()
	n := len(train.Class)
	scaler := newScaler(train)
	// Shuffled, so that the first tenth is a random one.
	all, err := newProblem(train, scaler, rand.New(rand.NewPCG(seed, 0)).Perm(n))
	if err != nil {
		return nil, err
	}
	defer torch.Do(all.free)
	held, rest := all.part(0, max(1, n/10)), all.part(max(1, n/10), n)
	r := &LinearResult{}
	best, w := -1., make([]float64, all.classes*(train.Dim+1))
	var start []float64
	for _, l2 := range penalties {
		if w, err = rest.fit(ctx, w, l2, tolerance, iterations); err != nil {
			return nil, err
		}
		right, err := held.accuracy(w)
		if err != nil {
			return nil, err
		}
		if right > best {
			best, r.L2, start = right, l2, w
		}
		bar.Add(1)
	}
	if w, err = all.fit(ctx, start, r.L2, tolerance, iterations); err != nil {
		return nil, err
	}
	bar.Add(1)
	scored, err := newProblem(test, scaler, identity(len(test.Class)))
	if err != nil {
		return nil, err
	}
	defer torch.Do(scored.free)
	r.Probs, err = scored.probs(w)
	return r, err
}

func identity(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// A scaler makes features of mean 0 and deviation 1.
type scaler struct{ mean, deviation []float64 }

func newScaler(f *Features) scaler {
	n := float64(len(f.Class))
	s := scaler{make([]float64, f.Dim), make([]float64, f.Dim)}
	for i, v := range f.Values {
		s.mean[i%f.Dim] += float64(v) / n
	}
	for i, v := range f.Values {
		d := float64(v) - s.mean[i%f.Dim]
		s.deviation[i%f.Dim] += d * d / n
	}
	for i, v := range s.deviation {
		if s.deviation[i] = math.Sqrt(v); s.deviation[i] < 1e-7*math.Abs(s.mean[i]) || v == 0 { // constant but for rounding
			s.deviation[i] = 1
		}
	}
	return s
}

// A problem is standardised features and their classes, or a part of them. Weights are a vector of
// [classes, dim] and then the biases.
type problem struct {
	x            *torch.Tensor // [n, dim] float32, of the whole
	y            []int64       // of the whole
	from, to     int           // the part
	dim, classes int
}

// newProblem takes features in an order. The caller frees it.
func newProblem(f *Features, s scaler, order []int) (problem, error) {
	p := problem{dim: f.Dim, classes: len(f.Classes), to: len(order)}
	x := make([]float32, 0, len(order)*f.Dim)
	for _, i := range order {
		for j, v := range f.Values[i*f.Dim:][:f.Dim] {
			x = append(x, float32((float64(v)-s.mean[j])/s.deviation[j]))
		}
		p.y = append(p.y, f.Class[i])
	}
	err := torch.Do(func() { p.x = torch.From(x, int64(len(order)), int64(f.Dim)).Keep() })
	return p, err
}

func (p problem) free() { p.x.Free() }

func (p problem) part(from, to int) problem {
	p.from, p.to = from, to
	return p
}

// blocks hands logits of some features at a time to f, which need not free them. Features and weights
// are in double precision.
func (p problem) blocks(weight, bias *torch.Tensor, f func(logits *torch.Tensor, y []int64)) {
	for from := p.from; from < p.to; from += fitRows {
		n := min(fitRows, p.to-from)
		torch.Scope(func() {
			x := p.x.Narrow(0, int64(from), int64(n)).As(torch.Double)
			f(x.Linear(weight, bias), p.y[from:][:n])
		})
	}
}

func (p problem) parameters(w []float64) (weight, bias *torch.Tensor) {
	k, c := int64(p.classes), int64(p.dim)
	return torch.From(w[:k*c], k, c), torch.From(w[k*c:], k)
}

// loss returns the mean cross entropy plus the penalty, and its gradient.
func (p problem) loss(w []float64, l2 float64) (loss float64, gradient []float64, err error) {
	err = torch.Do(func() {
		weight, bias := p.parameters(w)
		dw, db := torch.Zeros(torch.Double, weight.Shape()...), torch.Zeros(torch.Double, bias.Shape()...)
		weight.RequireGrad(true).SetGrad(dw)
		bias.RequireGrad(true).SetGrad(db)
		p.blocks(weight, bias, func(logits *torch.Tensor, y []int64) {
			l := logits.CrossEntropy(torch.From(y, int64(len(y))), torch.Sum, -100)
			l.Backward()
			loss += l.Item()
		})
		gradient = append(torch.Values[float64](dw), torch.Values[float64](db)...)
	})
	n := float64(p.to - p.from)
	loss /= n
	for i := range gradient {
		gradient[i] /= n
		if v := w[i]; i < p.classes*p.dim {
			gradient[i] += l2 * v
			loss += l2 / 2 * v * v
		}
	}
	return loss, gradient, err
}

// fit returns the weights that minimise the loss, from a start.
func (p problem) fit(ctx context.Context, start []float64, l2, tolerance float64, iterations int) ([]float64, error) {
	var at, gradient []float64 // of the last evaluation
	loss, failed := 0., error(nil)
	evaluate := func(w []float64) {
		if !slices.Equal(at, w) && failed == nil {
			at = append(at[:0], w...)
			loss, gradient, failed = p.loss(w, l2)
		}
	}
	r, err := optimize.Minimize(optimize.Problem{
		Func: func(w []float64) float64 { evaluate(w); return loss },
		Grad: func(g, w []float64) { evaluate(w); copy(g, gradient) },
		Status: func() (optimize.Status, error) {
			if err := cmp.Or(failed, ctx.Err()); err != nil {
				return optimize.Failure, err
			}
			return optimize.NotTerminated, nil
		},
	}, start, &optimize.Settings{
		GradientThreshold: tolerance, MajorIterations: iterations, Converger: optimize.NeverTerminate{},
	}, &optimize.LBFGS{})
	// Where no step lowers the loss any more but by rounding, the minimum is reached.
	if errors.Is(err, optimize.ErrLinesearcherFailure) || errors.Is(err, optimize.ErrNoProgress) {
		err = nil
	}
	if err := cmp.Or(failed, ctx.Err(), err); err != nil {
		return nil, err
	}
	return r.X, nil
}

// probs returns the probabilities of the classes, [n, classes].
func (p problem) probs(w []float64) (probs []float32, err error) {
	err = torch.Do(func() {
		torch.NoGrad(func() {
			weight, bias := p.parameters(w)
			p.blocks(weight, bias, func(logits *torch.Tensor, _ []int64) {
				probs = append(probs, torch.Values[float32](logits.Softmax(1).As(torch.Float))...)
			})
		})
	})
	return probs, err
}

// accuracy is the share of the features whose likeliest class is theirs.
func (p problem) accuracy(w []float64) (float64, error) {
	probs, err := p.probs(w)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, class := range p.y[p.from:p.to] {
		if likeliest(probs[i*p.classes:][:p.classes]) == class {
			right++
		}
	}
	return float64(right) / float64(p.to-p.from), nil
}
