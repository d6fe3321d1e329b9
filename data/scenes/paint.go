package scenes

import "math"

// A pattern is how the two colours of a paint are laid out over a surface.
type pattern uint8

const (
	plain   pattern = iota
	striped         // bands across y
	checked         // cubes in two colours
	dotted          // round spots
	mottled         // clouds of noise
	grained         // rings around an axis, as in wood
	bricks          // rows with mortar, on a wall
	tiles           // squares with grout
	planks          // long boards, each in its own tone
	turf            // blades and patches
	dunes           // fine grain and ripples
	waves           // moving water
	panes           // a window: bright, with a cross of bars
	canvas          // a picture: blots on a ground
	papered         // upright bands, on a wall
)

// A paint is the look of a surface.
type paint struct {
	pattern pattern
	a, b    vec     // linear colours
	scale   float64 // periods per unit of the surface's coordinates
	shift   vec
	gloss   float64 // strength of the highlight
	glow    float64 // light that it gives itself
	mirror  float64 // how much of the sky it reflects
}

// color returns the paint's colour at q where one sample stands for a patch of the given width.
// Detail finer than the patch fades to its mean, so that it does not alias.
func (p *paint) color(q vec, width float64) vec {
	if p.pattern == plain {
		return p.a
	}
	q = q.scale(p.scale).add(p.shift)
	width = float64(width * p.scale)
	w, mean := p.weight(q, width)
	if fine := float64(width * width); p.pattern != panes {
		w = mean + (w-mean)/(1+float64(float64(fine*fine)*16))
	}
	return p.a.mix(p.b, w)
}

// weight returns how much of the second colour is at q, and its mean over the plane.
func (p *paint) weight(q vec, width float64) (w, mean float64) {
	edge := 0.5 / max(width, 0.04) // of a band, in samples
	band := func(x float64) float64 { return clamp01(float64(x*edge) + 0.5) }
	switch p.pattern {
	case striped:
		return band(triangle(q.y+float64(0.35*q.x)) - 0.5), 0.5
	case papered:
		return band(triangle(q.x) - 0.5), 0.5
	case checked:
		_, x := frac(q.x)
		_, y := frac(q.y)
		_, z := frac(q.z)
		return float64((x + y + z) & 1), 0.5
	case dotted:
		x, _ := frac(q.x)
		y, iy := frac(q.y)
		z, _ := frac(q.z + float64(float64(iy&1)/2))
		d := vec{x - 0.5, y - 0.5, z - 0.5}
		return band(0.44 - d.len()), 0.35
	case mottled:
		return smooth(float64((noise3(q)+float64(noise3(q.scale(2.3))/2)-0.75)*2) + 0.5), 0.5
	case grained:
		r := math.Sqrt(float64(q.x*q.x)+float64(q.z*q.z)) + float64(0.6*noise3(q.scale(0.7)))
		return smooth(triangle(r)), 0.5
	case bricks:
		v, row := frac(q.y)
		u, _ := frac(float64(q.x/2) + float64(float64(row&1)/2))
		joint := max(band(0.09-min(v, 1-v)), band(0.09-min(2*u, 2-2*u)))
		return joint, 0.3
	case tiles:
		u, i := frac(q.x)
		v, j := frac(q.y)
		joint := max(band(0.05-min(u, 1-u)), band(0.05-min(v, 1-v)))
		return max(joint, float64(0.25*lattice(i, j, 7))), 0.28
	case planks:
		u, i := frac(q.x)
		v, j := frac(float64(q.y/5) + lattice(i, 0, 3))
		tone := float64(0.55*lattice(i, j, 5)) + float64(0.25*noise2(float64(q.x*6), float64(q.y*0.8), 11))
		return max(tone, float64(0.9*max(band(0.05-min(u, 1-u)), band(0.02-float64(5*min(v, 1-v)))))), 0.42
	case turf:
		blades := noise2(q.x, q.y, 1) + noise2(float64(q.x*2.7), float64(q.y*2.7), 2)
		patches := noise2(float64(q.x*0.12), float64(q.y*0.12), 3)
		return clamp01(float64(0.55*(blades-1)) + float64(1.2*(patches-0.5)) + 0.5), 0.5
	case dunes:
		warp := noise2(float64(q.x*0.3), float64(q.y*0.3), 4)
		ripple := triangle(float64(q.y*0.35) + float64(2.2*warp))
		return clamp01(float64(0.5*ripple) + float64(0.5*noise2(float64(q.x*4), float64(q.y*4), 5))), 0.5
	case waves:
		return float64(noise2(float64(q.x*0.6), float64(q.y*1.6), 6)*0.6) + float64(noise2(float64(q.x*1.7), float64(q.y*4), 8)*0.4), 0.5
	case panes:
		u, _ := frac(q.x)
		v, _ := frac(q.y)
		return max(band(0.06-min(u, 1-u)), band(0.06-min(v, 1-v))), 0.3
	case canvas:
		return smooth(float64((noise2(q.x, q.y, 9)-0.5)*3) + 0.5), 0.5
	}
	return 0, 0
}

// hsv returns the linear colour of a hue in turns, a saturation and a value as a screen shows them.
func hsv(h, s, v float64) vec {
	channel := func(shift float64) float64 {
		f, _ := frac(h + shift)
		x := clamp01(math.Abs(float64(6*f)-3) - 1)
		c := float64(v * (1 - float64(s*(1-x))))
		return float64(c * c)
	}
	return vec{channel(0), channel(2.0 / 3), channel(1.0 / 3)}
}

// anyColor draws a colour of a thing; its class has no say in it.
func anyColor(r rng) vec {
	if r.chance(0.2) {
		return hsv(0, 0, r.in(0.2, 0.95))
	}
	return hsv(r.float(), r.in(0.35, 0.9), r.in(0.4, 0.95))
}

// unlike draws a colour that can be told from c.
func unlike(r rng, c vec) vec {
	for {
		a := anyColor(r)
		if d := a.sub(c); d.dot(d) > 0.12 {
			return a
		}
	}
}

// contrast draws two colours that can be told apart.
func contrast(r rng) (a, b vec) {
	a = anyColor(r)
	return a, unlike(r, a)
}

// anyPaint draws the paint of a thing of bounding radius 1 that stands before the given colour.
func anyPaint(r rng, ground vec) paint {
	p := paint{pattern: plain, gloss: pick(r, 0, 0.1, 0.35, 0.8)}
	p.a = unlike(r, ground)
	p.b = unlike(r, p.a)
	if r.chance(0.4) {
		p.pattern = pick(r, striped, checked, dotted, mottled, mottled, grained)
		p.b = p.a.mix(p.b, r.in(0.3, 1)) // the shape shall be plainer than its pattern
	}
	p.scale = r.in(1.3, 3)
	p.shift = vec{r.in(0, 50), r.in(0, 50), r.in(0, 50)}
	return p
}

// stuff draws the paint of a surface by what it is: colours vary, the structure says what it is.
func stuff(r rng, k kind) paint {
	p := paint{shift: vec{r.in(0, 90), r.in(0, 90), 0}}
	shade := func(pt pattern, scale float64, h, s, v, h2, s2, v2 float64) {
		p.pattern, p.scale, p.a, p.b = pt, scale, hsv(h, s, v), hsv(h2, s2, v2)
	}
	switch k {
	case grass:
		h, v := r.in(0.2, 0.36), r.in(0.4, 0.65)
		shade(turf, r.in(4, 7), h, r.in(0.55, 0.8), float64(v*0.6), h-r.in(0.02, 0.06), r.in(0.4, 0.7), v+0.2)
	case sand:
		h, s, v := r.in(0.07, 0.13), r.in(0.2, 0.45), r.in(0.6, 0.9)
		shade(dunes, r.in(2.5, 5), h, s+0.1, float64(v*0.75), h, s, v)
	case water:
		h := r.in(0.45, 0.62)
		shade(waves, r.in(1.2, 2.4), h, r.in(0.5, 0.9), r.in(0.15, 0.35), h, r.in(0.3, 0.6), r.in(0.4, 0.65))
		p.mirror, p.gloss = 0.55, 0.8
	case floor:
		h, v := r.in(0.03, 0.13), r.in(0.4, 0.9)
		switch r.intn(3) {
		case 0:
			shade(planks, r.in(3, 6), h, r.in(0.3, 0.7), v, h, r.in(0.4, 0.8), float64(v*0.55))
		case 1:
			shade(tiles, r.in(1.4, 3), r.float(), r.in(0, 0.25), v, r.float(), r.in(0, 0.2), float64(v*pick(r, 0.5, 0.6, 1.4)))
		default:
			a, d := r.float(), r.in(0.1, 0.45)
			shade(checked, r.in(1.2, 2.4), a, d, v, a, d, float64(v*0.65))
		}
		p.gloss = pick(r, 0, 0.15, 0.3)
	case wall:
		h, s, v := r.float(), r.in(0, 0.4), r.in(0.5, 0.95)
		switch r.intn(4) {
		case 0:
			shade(bricks, r.in(3.5, 6), r.in(0, 0.08), r.in(0.3, 0.7), r.in(0.4, 0.8), 0, 0, r.in(0.55, 0.85))
		case 1:
			shade(papered, r.in(1.5, 3.5), h, s, v, h, s, float64(v*r.in(0.75, 0.92)))
		case 2:
			shade(mottled, r.in(1.5, 3), h, s, v, h, s, float64(v*0.88))
		default:
			shade(plain, 1, h, s, v, h, s, v)
		}
	case ceiling:
		shade(plain, 1, r.in(0.08, 0.2), r.in(0, 0.12), r.in(0.8, 0.98), 0, 0, 1)
	case table, cabinet:
		if h, v := r.in(0.02, 0.12), r.in(0.3, 0.85); r.chance(0.7) {
			shade(grained, r.in(4, 9), h, r.in(0.3, 0.75), v, h, r.in(0.4, 0.8), float64(v*0.72))
		} else {
			shade(plain, 1, r.float(), r.in(0, 0.5), r.in(0.3, 0.95), 0, 0, 0)
		}
		p.gloss = r.in(0, 0.4)
	case door:
		h, s, v := r.in(0, 0.15), r.in(0.2, 0.7), r.in(0.3, 0.9)
		shade(panes, 1, h, s, v, h, s, float64(v*0.6))
	case window:
		shade(panes, 1, r.in(0.5, 0.62), r.in(0.05, 0.4), 1, 0, 0, pick(r, 0.2, 0.9))
		p.glow = r.in(0.2, 0.6)
	case picture:
		p.pattern, p.scale = canvas, r.in(3, 6)
		p.a, p.b = contrast(r)
	case rug:
		p.pattern, p.scale = pick(r, checked, striped, mottled, dotted), r.in(2, 4)
		p.a, p.b = contrast(r)
	case chair, sofa:
		h, s, v := r.float(), r.in(0.2, 0.8), r.in(0.3, 0.9)
		shade(pick(r, plain, plain, mottled, checked), r.in(5, 9), h, s, v, h, s, float64(v*0.75))
	default:
		p = anyPaint(r, vec{})
	}
	return p
}
