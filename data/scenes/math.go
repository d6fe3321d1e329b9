package scenes

import (
	"math"
	"math/rand/v2"
)

// Pixels are the same on every machine, so nothing here may depend on how a processor rounds:
// only + − × ÷ and square roots, which IEEE 754 defines to the last bit, and every product is
// rounded by an explicit conversion before it is added to or returned, because compilers for arm64
// and others fuse x*y + z into one operation otherwise, also across inlined calls. To check, this
// must print nothing:
//
//	GOARCH=arm64 go build -gcflags=-S ./data/scenes 2>&1 | grep -E 'FN?M(ADD|SUB)'

// A vec is a point, a direction or a linear colour.
type vec struct{ x, y, z float64 }

func (a vec) add(b vec) vec              { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec              { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) mul(b vec) vec              { return vec{float64(a.x * b.x), float64(a.y * b.y), float64(a.z * b.z)} }
func (a vec) scale(s float64) vec        { return vec{float64(a.x * s), float64(a.y * s), float64(a.z * s)} }
func (a vec) dot(b vec) float64          { return float64(a.x*b.x) + float64(a.y*b.y) + float64(a.z*b.z) }
func (a vec) along(t float64, d vec) vec { return a.add(d.scale(t)) }
func (a vec) len() float64               { return math.Sqrt(a.dot(a)) }
func (a vec) unit() vec                  { return a.scale(1 / a.len()) }
func (a vec) neg() vec                   { return vec{-a.x, -a.y, -a.z} }
func (a vec) mix(b vec, w float64) vec   { return a.scale(1 - w).add(b.scale(w)) }
func (a vec) min(b vec) vec              { return vec{min(a.x, b.x), min(a.y, b.y), min(a.z, b.z)} }
func (a vec) max(b vec) vec              { return vec{max(a.x, b.x), max(a.y, b.y), max(a.z, b.z)} }

func (a vec) cross(b vec) vec {
	return vec{
		float64(a.y*b.z) - float64(a.z*b.y),
		float64(a.z*b.x) - float64(a.x*b.z),
		float64(a.x*b.y) - float64(a.y*b.x),
	}
}

func (a vec) axis(i int) float64 {
	switch i {
	case 0:
		return a.x
	case 1:
		return a.y
	}
	return a.z
}

// A rot is a rotation: its columns are the axes of the turned frame.
type rot struct{ x, y, z vec }

func (m rot) apply(v vec) vec { return m.x.scale(v.x).add(m.y.scale(v.y)).add(m.z.scale(v.z)) }
func (m rot) undo(v vec) vec  { return vec{m.x.dot(v), m.y.dot(v), m.z.dot(v)} }
func (m rot) after(n rot) rot { return rot{m.apply(n.x), m.apply(n.y), m.apply(n.z)} }

func turnX(turns float64) rot {
	s, c := sincos(turns)
	return rot{vec{1, 0, 0}, vec{0, c, s}, vec{0, -s, c}}
}

func turnY(turns float64) rot {
	s, c := sincos(turns)
	return rot{vec{c, 0, -s}, vec{0, 1, 0}, vec{s, 0, c}}
}

func turnZ(turns float64) rot {
	s, c := sincos(turns)
	return rot{vec{c, s, 0}, vec{-s, c, 0}, vec{0, 0, 1}}
}

// sincos returns the sine and cosine of an angle in turns (1 = 360°) by their Taylor polynomials
// on an eighth of a turn, good to 1e-13.
func sincos(turns float64) (s, c float64) {
	quarters := math.Floor(float64(turns*4) + 0.5)
	x := float64((turns - float64(quarters/4)) * (2 * math.Pi)) // exact difference, |x| ≤ π/4
	x2 := float64(x * x)
	s, c = 1, 1
	for k := 14.0; k >= 2; k -= 2 {
		s = 1 - float64(x2*s)/float64(k*(k+1))
		c = 1 - float64(x2*c)/float64(k*(k-1))
	}
	s = float64(s * x)
	switch int(quarters) & 3 {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}

func clamp01(x float64) float64 { return min(max(x, 0), 1) }

// smooth is the smoothstep of x between 0 and 1.
func smooth(x float64) float64 {
	x = clamp01(x)
	return float64(float64(x*x) * (3 - float64(2*x)))
}

// frac returns the fractional part and the cell of x.
func frac(x float64) (f float64, cell int32) {
	fl := math.Floor(x)
	return x - fl, int32(int64(fl))
}

// triangle is a wave of period 1 between 0 and 1, 0 at the integers.
func triangle(x float64) float64 {
	f, _ := frac(x)
	return 1 - math.Abs(float64(2*f)-1)
}

// hash mixes lattice coordinates into 32 random bits.
func hash(x, y, z int32) uint32 {
	h := uint32(x)*0x8da6b343 ^ uint32(y)*0xd8163841 ^ uint32(z)*0xcb1ab31f
	h = (h ^ h>>15) * 0x2c1b3c6d
	h = (h ^ h>>12) * 0x297a2d39
	return h ^ h>>15
}

// lattice is hash as a number in [0, 1).
func lattice(x, y, z int32) float64 { return float64(float64(hash(x, y, z)) / (1 << 32)) }

// noise2 is value noise on the plane, in [0, 1).
func noise2(x, y float64, seed int32) float64 {
	fx, ix := frac(x)
	fy, iy := frac(y)
	u, v := smooth(fx), smooth(fy)
	a := lerp(lattice(ix, iy, seed), lattice(ix+1, iy, seed), u)
	b := lerp(lattice(ix, iy+1, seed), lattice(ix+1, iy+1, seed), u)
	return lerp(a, b, v)
}

// noise3 is value noise in space, in [0, 1).
func noise3(p vec) float64 {
	fz, iz := frac(p.z)
	a := noise2(p.x, p.y, iz)
	b := noise2(p.x, p.y, iz+1)
	return lerp(a, b, smooth(fz))
}

func lerp(a, b, w float64) float64 { return float64(a*(1-w)) + float64(b*w) }

// An rng draws the parameters of one image. It reads the bits of PCG itself, because the standard
// library promises the stream of the generator and not what its convenience methods make of it.
type rng struct{ pcg *rand.PCG }

// newRNG returns the generator of one image: nothing but its arguments decides its stream.
func newRNG(seed uint64, set, split string, index int) rng {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(set + "/" + split) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rng{rand.NewPCG(seed^h, h*uint64(2*index+1)^uint64(index))}
}

func (r rng) float() float64            { return float64(float64(r.pcg.Uint64()>>11) / (1 << 53)) }
func (r rng) in(lo, hi float64) float64 { return lerp(lo, hi, r.float()) }
func (r rng) intn(n int) int            { return int(r.pcg.Uint64() >> 33 % uint64(n)) }
func (r rng) between(lo, hi int) int    { return lo + r.intn(hi-lo+1) }
func (r rng) chance(p float64) bool     { return r.float() < p }

func pick[T any](r rng, of ...T) T { return of[r.intn(len(of))] }

func (r rng) shuffled(of []int) []int {
	for i := len(of) - 1; i > 0; i-- {
		j := r.intn(i + 1)
		of[i], of[j] = of[j], of[i]
	}
	return of
}
