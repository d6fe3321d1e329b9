package imagefile

import (
	"image"
	"image/color"
	"runtime/debug"
	"sync"
)

// budget bounds the memory of images that are being decoded at the same time, by bytes and not by
// images: one that is larger than all of it is decoded alone.
var budget = gate{free: 256 << 20}

// large is the size in bytes from which on garbage is given back to the system before an image is
// decoded: the collector would let it grow to the size of what is in use.
const large = 64 << 20

// bytes returns the memory that decoding takes: the decoder's own image, and the one of 4 bytes a pixel, of which
// each of d×d becomes one.
func (f format) bytes(c image.Config, d int) int64 {
	pixels := int64(c.Width) * int64(c.Height)
	return pixels*f.own(c) + 4*pixels/int64(d*d)
}

// own returns how many bytes a pixel takes in a decoder.
func (f format) own(c image.Config) int64 {
	if _, ok := c.ColorModel.(color.Palette); ok {
		return 1
	}
	switch {
	case f.name == heifName:
		return heifBytes(c)
	case f.name == "JPEG":
		return 3
	case f.name == "GIF", c.ColorModel == color.GrayModel:
		return 1
	case c.ColorModel == color.RGBA64Model, c.ColorModel == color.NRGBA64Model:
		return 8
	case c.ColorModel == color.Gray16Model:
		return 2
	}
	return 4
}

// A gate lets as many through at once as their bytes allow.
type gate struct {
	mu    sync.Mutex
	moved sync.Cond
	free  int64
	users int
}

// take waits for its turn and returns what ends it.
func (g *gate) take(bytes int64) (done func()) {
	g.mu.Lock()
	g.moved.L = &g.mu
	for g.users > 0 && bytes > g.free {
		g.moved.Wait()
	}
	g.free -= bytes
	g.users++
	g.mu.Unlock()
	if bytes >= large {
		debug.FreeOSMemory()
	}
	return func() {
		g.mu.Lock()
		g.free += bytes
		g.users--
		g.mu.Unlock()
		g.moved.Broadcast()
	}
}
