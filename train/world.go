package train

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"must/torch"
)

// With several processes each computes its part of every batch. Parameters, statistics and the optimizer's
// memory are the same bytes in all of them before and after every step; what decides how to go on is made the
// same too. So rank 0 alone logs, saves and scores, and a state holds nothing of how many there were.

// several reports whether this is one of several processes.
func (t *trainer) several() bool { return t.World.Count() > 1 }

// sum replaces the elements of x, float32, by their sums over all processes.
func (t *trainer) sum(x *torch.Tensor) error {
	if !t.several() || x.Len() == 0 {
		return nil
	}
	began := time.Now()
	defer func() { t.talked += time.Since(began) }()
	return t.World.AllReduce(x.Pointer(), int(x.Len()))
}

// copyFirst replaces the elements of x by those of rank 0.
func (t *trainer) copyFirst(x *torch.Tensor) error {
	if !t.several() || x.Len() == 0 {
		return nil
	}
	began := time.Now()
	defer func() { t.talked += time.Since(began) }()
	return t.World.Broadcast(x.Pointer(), int(x.Len())*x.DType().Size())
}

// share gives all processes rank 0's state.
func (t *trainer) share() error {
	if !t.several() {
		return nil
	}
	if err := t.World.Barrier(); err != nil { // some build their network sooner
		return err
	}
	step := torch.From([]int64{int64(t.step)}, 1)
	if err := t.copyFirst(step); err != nil {
		return err
	}
	t.step = int(step.Item())
	buffers := t.buffers()
	for _, name := range slices.Sorted(maps.Keys(buffers)) {
		if err := t.copyFirst(buffers[name]); err != nil {
			return err
		}
	}
	return nil
}

// lead has rank 0 do something for all, while the others wait without using the processor. It reports whether
// rank 0 was asked to stop over it.
func (t *trainer) lead(ctx context.Context, f func() error) (stopped bool, err error) {
	if !t.World.Leads() {
		more, err := t.World.Next(&stopped)
		if err == nil && !more {
			err = errors.New("process 0 has ended")
		}
		return stopped, err
	}
	if err := f(); err != nil && ctx.Err() == nil {
		return false, err
	}
	stopped = ctx.Err() != nil
	return stopped, t.World.Order(stopped)
}

// culprit returns the lowest rank whose own part of a loss is not finite; 0 where none is.
func (t *trainer) culprit(own []float32) (rank int, err error) {
	if !t.several() {
		return 0, nil
	}
	flags := make([]float32, t.World.Count())
	if slices.ContainsFunc(own, func(v float32) bool { return !finite(float64(v)) }) {
		flags[t.World.Number()] = 1
	}
	x := torch.From(flags, int64(len(flags)))
	if err := t.sum(x); err != nil {
		return 0, err
	}
	return max(0, slices.IndexFunc(torch.Values[float32](x), func(v float32) bool { return v > 0 })), nil
}

// gather returns the union of numbers that processes found, up to 2⁴⁸ each.
func (t *trainer) gather(found []int) (all []int, err error) {
	if !t.several() {
		return found, nil
	}
	err = torch.DoErr(func() error {
		counts := make([]float32, t.World.Count())
		counts[t.World.Number()] = float32(len(found))
		x := torch.From(counts, int64(len(counts)))
		if err := t.sum(x); err != nil {
			return err
		}
		first, total := 0, 0
		for rank, n := range torch.Values[float32](x) {
			if total += int(n); rank < t.World.Number() {
				first += int(n)
			}
		}
		// A float32 holds 24 bits exactly: each number is two, and each process fills in its own.
		halves := make([]float32, 2*total)
		for i, v := range found {
			halves[2*(first+i)], halves[2*(first+i)+1] = float32(v>>24), float32(v&0xffffff)
		}
		x = torch.From(halves, int64(len(halves)))
		if err := t.sum(x); err != nil {
			return err
		}
		for pair := range slices.Chunk(torch.Values[float32](x), 2) {
			all = append(all, int(pair[0])<<24|int(pair[1]))
		}
		return nil
	})
	slices.Sort(all)
	return slices.Compact(all), err
}
