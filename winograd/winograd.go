// Package winograd computes 3×3 convolutions of stride 1, padded by 1, and their gradients by the algorithm
// F(4×4, 3×3) of Lavin & Gray ("Fast Algorithms for Convolutional Neural Networks", 2016), in Go and AVX2
// assembly: 36 multiplications in place of 144 for every 4×4 outputs of a pair of channels.
//
// Maps are channels-last, [N, H, W, C] in memory, and channels are multiples of 8. A map is cut into tiles of 4×4
// outputs; a tile's 6×6 inputs become 36 values per channel (V), each of the 36 planes is a matrix product with
// the weights' own 36 values (U), and its result (M) becomes the tile's outputs. The work of a job is cut into
// tasks that any number of threads take one by one; what is computed does not depend on it.
package winograd

import (
	"math"
	"runtime"
	"sync"
	"unsafe"
)

// Kinds of tasks.
const (
	convolve = iota
	spread
	gather
	weights
	shrink
)

// A job is what workers read, in assembly too. Addresses are those of memory that whoever runs the job keeps.
// Where a name ends in Bytes, or speaks of rows, planes and taps, it counts bytes.
type job struct {
	kind    int64
	next    int64 // the task to take next
	tasks   int64
	workers int64 // that have begun

	scratch, stride int64 // the workers' memory, and how much each has

	x, y, add, bias, zeros uintptr
	u, v, m                uintptr // in a worker's scratch where it convolves: v and m count from its start
	h, w                   int64
	across, perImage       int64 // tiles
	tiles, chunk           int64 // in all, of a task
	first                  int64 // tile of a part
	inBytes, outBytes      int64 // of a pixel
	panels                 int64 // of 16 output channels
	splits, share          int64 // how many tasks share a chunk's panels, how many panels each has
	rowV, planeV           int64
	rowM, planeM           int64
	tap                    int64
	floor                  float32 // outputs are at least this
}

// A Run has workers do a job: it calls work, a C function of one argument, with job on any number of threads at
// the same time, of which none is of the Go scheduler, and returns when all calls have.
type Run func(work, job uintptr)

// A Convolution is one of maps of a size, C channels to K.
type Convolution struct {
	N, H, W, C, K int
	Workers       int // that Run has
	Run           Run // nil: goroutines
}

// Fits reports whether a convolution of so many channels can be computed here.
func Fits(in, out int) bool { return supported && in%8 == 0 && out%8 == 0 && in > 0 && out > 0 }

// Faster reports whether the convolution can be computed here, and pays. Few tiles do not make up for weights that
// are four times as many, and tiles that reach far over the edges of small maps, or few channels, not for the
// transforms.
func (c *Convolution) Faster() bool {
	return Fits(c.C, c.K) && c.C >= 16 && c.K >= 16 && c.tiles() >= 32 && 2*c.H*c.W >= 16*c.tiles()/c.N
}

func (c *Convolution) panels() int { return (c.K + 15) / 16 }
func (c *Convolution) tiles() int  { return c.N * ((c.H + 3) / 4) * ((c.W + 3) / 4) }
func up(n, multiple int) int       { return (n + multiple - 1) / multiple * multiple }
func address(v []float32) uintptr  { return uintptr(unsafe.Pointer(unsafe.SliceData(v))) }
func bytes(floats int) int64       { return int64(4 * floats) }

// skew makes the distance of two planes, in floats, an odd multiple of a cache line, so that the 36 places that
// a tile is written to are not in the same few sets of a cache.
func skew(floats int) int { return up(floats, 32) + 16 }

// UnitsLen is how many floats the transformed weights have, [36, K/16, C, 16].
func (c *Convolution) UnitsLen() int { return 36 * c.panels() * c.C * 16 }

// Transform fills u with the transform of weights w, [3, 3, C, K] in memory; turned by half a turn, if asked for.
// The gradient of a convolution's inputs is the convolution of its outputs' gradient with the turned weights,
// input and output channels exchanged.
func (c *Convolution) Transform(u, w []float32, turned bool) {
	if c.K%16 != 0 {
		clear(u)
	}
	j := job{kind: weights, tasks: int64(c.C), x: address(w), u: address(u), tap: bytes(c.C * c.K)}
	if turned {
		j.x += uintptr(8 * j.tap)
		j.tap = -j.tap
	}
	c.run(&j, 0, nil)
	runtime.KeepAlive(w)
	runtime.KeepAlive(u)
}

const (
	header = 1664    // bytes of a worker's scratch before the pixel that takes what is outside of the map
	atOnce = 96      // the most tiles of a chunk
	onChip = 1 << 20 // bytes of V and M of a chunk that caches hold
)

// plan chooses how many tiles a chunk has, and how many of its panels a task computes.
func (c *Convolution) plan() (chunk, share int) {
	tiles, panels := c.tiles(), c.panels()
	perTile := 36 * 4 * (c.C + 16*panels)
	chunk = min(max(onChip/perTile, 24), atOnce) / 6 * 6
	workers := max(1, c.Workers)
	// As many chunks as keep all workers busy to the end.
	if n := (tiles + chunk - 1) / chunk; n < 4*workers {
		n = min(up(n, workers), 4*workers)
		chunk = max(6, up((tiles+n-1)/n, 6))
	}
	n := (tiles + chunk - 1) / chunk
	tasks := (workers + n - 1) / n // of a chunk
	return chunk, (panels + tasks - 1) / tasks
}

// Scratch is how many floats of scratch Forward needs.
func (c *Convolution) Scratch() int {
	chunk, _ := c.plan()
	return max(1, c.Workers) * c.perWorker(chunk)
}

func (c *Convolution) layout(chunk int) (nowhere, rowV, planeV, rowM, planeM int) {
	rowV, rowM = c.C+16, 16*c.panels()+16
	return 16 * c.panels(), rowV, skew(chunk * rowV), rowM, skew(chunk * rowM)
}

func (c *Convolution) perWorker(chunk int) int {
	nowhere, _, planeV, _, planeM := c.layout(chunk)
	return header/4 + nowhere + 36*(planeV+planeM)
}

// An Epilogue is what follows a convolution: a bias of each output channel, the sum with a map, a ReLU.
type Epilogue struct {
	Bias, Add []float32 // or nil
	ReLU      bool
}

// Forward fills y with the convolution of x with the weights that Transform made u of.
func (c *Convolution) Forward(y, x, u, scratch []float32, e Epilogue) {
	chunk, share := c.plan()
	nowhere, rowV, planeV, rowM, planeM := c.layout(chunk)
	panels := c.panels()
	j := job{kind: convolve, x: address(x), y: address(y), u: address(u), floor: lowest}
	if e.ReLU {
		j.floor = 0
	}
	bias := make([]float32, 16*panels)
	copy(bias, e.Bias)
	j.bias = address(bias)
	if e.Add != nil {
		j.add = address(e.Add)
	}
	j.chunk, j.tiles = int64(chunk), int64(c.tiles())
	j.splits, j.share = int64((panels+share-1)/share), int64(share)
	j.tasks = (j.tiles + j.chunk - 1) / j.chunk * j.splits
	j.v = uintptr(header + 4*nowhere)
	j.m = j.v + uintptr(36*4*planeV)
	j.rowV, j.planeV, j.rowM, j.planeM = bytes(rowV), bytes(planeV), bytes(rowM), bytes(planeM)
	c.run(&j, c.perWorker(chunk), scratch)
	for _, v := range [][]float32{x, y, u, e.Add, bias, scratch} {
		runtime.KeepAlive(v)
	}
}

// GradientScratch is how many floats of scratch Gradient needs.
func (c *Convolution) GradientScratch() int {
	part := c.part()
	_, _, planeV, _, planeM := c.layout(part)
	return 36*(planeV+planeM) + 36*c.C*16*c.panels()
}

// part is how many tiles the gradient of weights reads at once: as many as have a panel of M in the nearest cache.
func (c *Convolution) part() int {
	return min(c.tiles(), 192)
}

// Gradient fills w, [3, 3, C, K] in memory, with the gradient of the weights, given the inputs and the gradient of
// the outputs.
func (c *Convolution) Gradient(w, x, y, scratch []float32) {
	const each = 4
	part, panels := c.part(), c.panels()
	_, rowV, planeV, rowM, planeM := c.layout(part)
	v, m, u := scratch[:36*planeV], scratch[36*planeV:][:36*planeM], scratch[36*(planeV+planeM):]
	for first := 0; first < c.tiles(); first += part {
		n := min(part, c.tiles()-first)
		j := job{x: address(x), y: address(y), u: address(u), v: address(v), m: address(m)}
		j.rowV, j.planeV, j.rowM, j.planeM = bytes(rowV), bytes(planeV), bytes(rowM), bytes(planeM)
		j.first, j.tiles, j.chunk = int64(first), int64(n), each
		j.kind, j.tasks = spread, int64((n+each-1)/each)
		c.run(&j, 0, nil)
		j.kind, j.tasks = gather, int64(36*panels)
		c.run(&j, 0, nil)
	}
	j := job{kind: shrink, tasks: int64(c.C), y: address(w), u: address(u), tap: bytes(c.C * c.K)}
	c.run(&j, 0, nil)
	for _, v := range [][]float32{x, y, w, scratch} {
		runtime.KeepAlive(v)
	}
}

// zeros stands for pixels outside of a map.
var zeros struct {
	sync.Mutex
	v []float32
}

// run completes a job and has it done. perWorker counts floats.
func (c *Convolution) run(j *job, perWorker int, scratch []float32) {
	zeros.Lock()
	if n := max(c.C, c.K); len(zeros.v) < n {
		zeros.v = make([]float32, n)
	}
	outside := zeros.v
	zeros.Unlock()
	workers := max(1, c.Workers)
	if perWorker == 0 {
		perWorker, scratch = header/4, make([]float32, workers*header/4)
	}
	j.next, j.workers = 0, 0
	j.zeros, j.scratch, j.stride = address(outside), int64(address(scratch)), bytes(perWorker)
	j.h, j.w = int64(c.H), int64(c.W)
	j.across = int64((c.W + 3) / 4)
	j.perImage = j.across * int64((c.H+3)/4)
	j.inBytes, j.outBytes, j.panels = bytes(c.C), bytes(c.K), int64(c.panels())
	if c.Run != nil {
		c.Run(entry(), uintptr(unsafe.Pointer(j)))
	} else {
		var wg sync.WaitGroup
		for range workers - 1 {
			wg.Go(func() { run(j) })
		}
		run(j)
		wg.Wait()
	}
	runtime.KeepAlive(j)
	runtime.KeepAlive(outside)
	runtime.KeepAlive(scratch)
}

// lowest is below all numbers.
var lowest = float32(math.Inf(-1))
