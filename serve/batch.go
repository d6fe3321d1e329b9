package serve

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"must/data"
)

// A job is an image that waits to be seen.
type job struct {
	item
	ctx   context.Context
	tasks []string
	done  chan result // of one, so that nobody waits for a caller that is gone
}

type result struct {
	pred *data.Sample
	err  error
}

// A generation is a model as one file had it. Its requests are seen by it even if a newer file has taken
// its place meanwhile.
type generation struct {
	*network
	jobs    chan *job
	users   sync.WaitGroup // requests under way
	coming  atomic.Int64   // images that are being decoded for it
	stopped chan struct{}
}

func newGeneration(n *network, o Options, seen func(images int, took time.Duration)) *generation {
	g := &generation{network: n, jobs: make(chan *job, o.Queue), stopped: make(chan struct{})}
	go g.run(o.MaxBatch, o.MaxWait, seen)
	return g
}

// retire frees the model when its last request is answered.
func (g *generation) retire() {
	g.users.Wait()
	close(g.jobs)
	<-g.stopped
	g.free()
}

// run forms batches. A batch goes when it is full, when its first image has waited long enough, or when
// no other image is on its way.
func (g *generation) run(most int, wait time.Duration, seen func(int, time.Duration)) {
	defer close(g.stopped)
	for first := range g.jobs {
		batch := []*job{first}
		timer := time.NewTimer(wait)
	collect:
		for len(batch) < most {
			select {
			case j := <-g.jobs:
				if j == nil { // closed
					break collect
				}
				batch = append(batch, j)
				continue
			default:
			}
			if g.coming.Load() == 0 {
				break
			}
			select {
			case j := <-g.jobs:
				if j == nil {
					break collect
				}
				batch = append(batch, j)
			case <-timer.C:
				break collect
			}
		}
		timer.Stop()
		batch = slices.DeleteFunc(batch, func(j *job) bool { return j.ctx.Err() != nil }) // cut off while they waited
		for len(batch) > 0 {
			n := 1 // models that keep an image's shape see one size at a time
			for n < len(batch) && batch[n].w == batch[0].w && batch[n].h == batch[0].h {
				n++
			}
			began := time.Now()
			g.answer(batch[:n])
			seen(n, time.Since(began))
			batch = batch[n:]
		}
	}
}

// answer sees a batch of one size. Whatever goes wrong is its requests' answer and not the server's end.
func (g *generation) answer(batch []*job) {
	items, tasks := make([]item, len(batch)), []string(nil)
	for i, j := range batch {
		items[i] = j.item
		for _, t := range j.tasks {
			if !slices.Contains(tasks, t) {
				tasks = append(tasks, t)
			}
		}
	}
	preds, err := func() (preds []*data.Sample, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the model failed: %v\n%s", p, debug.Stack())
			}
		}()
		return g.see(items, tasks)
	}()
	for i, j := range batch {
		if err != nil {
			j.done <- result{err: err}
		} else {
			j.done <- result{pred: preds[i]}
		}
	}
}
