package scenes

import (
	"image"
	"math"
	"slices"

	"must/data"
	depthlabel "must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// frame finds what the body can cover of the screen and where the camera is in its frame.
func (b *body) frame(c *camera) {
	b.eye = b.local(c.pos)
	b.x0, b.y0, b.x1, b.y1 = far, far, -far, -far
	for i := range 8 {
		p := b.lo
		if i&1 != 0 {
			p.x = b.hi.x
		}
		if i&2 != 0 {
			p.y = b.hi.y
		}
		if i&4 != 0 {
			p.z = b.hi.z
		}
		u, v, depth := c.project(b.pos.add(b.turn.apply(p.scale(b.radius))))
		if depth < 0.02 { // beside or behind the camera
			b.x0, b.y0, b.x1, b.y1 = -far, -far, far, far
			return
		}
		b.x0, b.y0, b.x1, b.y1 = min(b.x0, u), min(b.y0, v), max(b.x1, u), max(b.y1, v)
	}
}

// look returns what the camera sees along d = cam.ray(u, v); touched, if not nil, counts the bodies
// that the ray meets, hidden or not.
func (s *stage) look(u, v float64, d vec, touched []int) spot {
	at := s.back.hit(s.cam.pos, d)
	for i := range s.bodies {
		b := &s.bodies[i]
		if u < b.x0 || u > b.x1 || v < b.y0 || v > b.y1 {
			continue
		}
		limit := at.t
		if touched != nil {
			limit = far
		}
		t, piece, face := b.hit(b.eye, b.localDir(d), limit)
		if piece < 0 {
			continue
		}
		if touched != nil {
			touched[i]++
		}
		if t < at.t {
			at = spot{t: t, kind: b.kind, body: i, piece: piece, face: face}
		}
	}
	return at
}

// normal returns the surface's normal at a spot, towards the camera's side.
func (s *stage) normal(at spot, p vec) vec {
	if at.body < 0 {
		return s.back.normal(at.face)
	}
	b := &s.bodies[at.body]
	return b.turn.apply(b.parts[at.piece].normal(at.face, b.local(p)))
}

// A survey is what the centre of every pixel sees.
type survey struct {
	spots   []spot
	touched []int // pixels that each body would cover alone
	visible []int // and covers
}

// survey looks at the centres of size² pixels. Bodies of which less than the wanted part or number
// of pixels can be seen are taken away, so that nothing in the image lacks its label.
func (s *stage) survey(size int, tidy func(kind) bool) survey {
	for {
		sv := survey{make([]spot, size*size), make([]int, len(s.bodies)), make([]int, len(s.bodies))}
		for y := range size {
			v := float64(2*y+1)/float64(size) - 1
			for x := range size {
				u := float64(2*x+1)/float64(size) - 1
				at := s.look(u, v, s.cam.ray(u, v), sv.touched)
				if at.body >= 0 {
					sv.visible[at.body]++
				}
				sv.spots[y*size+x] = at
			}
		}
		var kept []body
		for i, b := range s.bodies {
			if !hidden(sv, i, size) || !tidy(b.kind) {
				kept = append(kept, b)
			}
		}
		if len(kept) == len(s.bodies) {
			return sv
		}
		s.bodies = kept
	}
}

// hidden reports whether less of a body can be seen than makes it worth a label.
func hidden(sv survey, i, size int) bool {
	return 100*sv.visible[i] < 35*sv.touched[i] || 100*sv.visible[i] < size*size
}

// shares tells which part of what is seen of classShapes each of them is; nil where none is seen.
func (s *stage) shares(sv survey) []float32 {
	shares, all := make([]float32, len(classShapes)), float32(0)
	for i, b := range s.bodies {
		if c := slices.Index(classShapes, b.kind); c >= 0 {
			shares[c] += float32(sv.visible[i])
			all += float32(sv.visible[i])
		}
	}
	if all == 0 {
		return nil
	}
	for c := range shares {
		shares[c] /= all
	}
	return shares
}

// samples are where in a pixel the colour is taken: a rotated grid, which softens flat and steep
// edges alike; and for each the part of the light that it looks at.
var samples = [4]struct{ x, y, lx, ly float64 }{
	{-0.125, -0.375, 0.6, 0.2}, {0.375, -0.125, -0.2, 0.6}, {-0.375, 0.125, 0.2, -0.6}, {0.125, 0.375, -0.6, -0.2},
}

// photograph renders the image.
func (s *stage) photograph(size int, grain uint32) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	pixel := 2 / float64(size)
	for y := range size {
		for x := range size {
			var sum vec
			for _, at := range samples {
				u := float64((float64(x)+0.5+at.x)*pixel) - 1
				v := float64((float64(y)+0.5+at.y)*pixel) - 1
				d := s.cam.ray(u, v)
				sum = sum.add(s.shade(s.cam.pos, d, s.look(u, v, d, nil), float64(pixel*s.cam.tan)/2, at.lx, at.ly))
			}
			c := sum.mul(s.tint).scale(s.exposure / 4)
			i := img.PixOffset(x, y)
			for k := range 3 {
				h := hash(int32(x), int32(y), int32(grain)+int32(k))
				// The sum of four bytes is near enough to a normal deviate of 148.
				n := float64(h&255+h>>8&255+h>>16&255+h>>24) - 510
				img.Pix[i+k] = develop(c.axis(k), float64(n*s.grain)/148)
			}
			img.Pix[i+3] = 255
		}
	}
	return img
}

// develop turns linear light into a byte: a soft shoulder, a gamma of 2, noise.
func develop(x, noise float64) uint8 {
	x = float64(x*(1+x/6)) / (1 + float64(x*0.45))
	return uint8(float64(clamp01(math.Sqrt(x)+noise)*255) + 0.5)
}

// shade returns the light that comes from a spot along −d; width is what a sample covers at t = 1.
func (s *stage) shade(o, d vec, at spot, width, lx, ly float64) vec {
	if at.t >= far {
		return s.back.air(d)
	}
	p := o.along(at.t, d)
	n := s.normal(at, p)
	view := d.unit().neg()
	facing := max(n.dot(view), 0.02)
	width = float64(width*at.t) / max(facing, 0.12)
	surf, albedo := s.albedo(at, p, width)

	if surf.mirror > 0 { // waves tilt the normal; too far away to be seen, they only blur
		k := 0.16 / (1 + float64(float64(width*width)*4))
		n = vec{float64(k * (noise2(float64(p.x*2.2), float64(p.z*2.2), 41) - 0.5)), 1, float64(k * (noise2(float64(p.x*2.2), float64(p.z*2.2), 42) - 0.5))}.unit()
	}

	// Light from all sides: more from above, less near other bodies and in corners.
	open := s.openness(at, p, n)
	light := s.fill.scale(float64((0.78 + float64(0.22*n.y)) * open))

	to := s.sun.pos.sub(p).along(lx, s.sun.side).along(ly, s.sun.up)
	dir := to.unit()
	var shine float64
	if lambert := n.dot(dir); lambert > 0 && !s.shadowed(p.along(1e-4, n), to) {
		light = light.add(s.sun.color.scale(lambert))
		if surf.gloss > 0 {
			h := max(dir.add(view).unit().dot(n), 0)
			h = float64(h * h)
			h = float64(h * h)
			h = float64(h * h)
			h = float64(h * h)
			shine = float64(surf.gloss * h * float64(h*h))
		}
	}
	c := albedo.mul(light).along(shine, s.sun.color).along(surf.glow, albedo)

	if surf.mirror > 0 {
		r := d.along(float64(-2*d.dot(n)), n)
		r.y = max(r.y, float64(0.01*r.len()))
		m := 1 - facing
		m = float64(surf.mirror * (0.25 + float64(0.75*float64(m*m))))
		c = c.mix(s.reflection(p, r), m)
	}
	if !s.back.room { // haze
		far := float64(at.t * d.len())
		c = c.mix(s.back.low, far/(far+250))
	}
	return c
}

// albedo returns the paint at a spot and its colour there.
func (s *stage) albedo(at spot, p vec, width float64) (*paint, vec) {
	if at.body >= 0 {
		b := &s.bodies[at.body]
		paint := &b.paints[b.parts[at.piece].paint]
		return paint, paint.color(b.local(p), width/b.radius)
	}
	if !s.back.room {
		paint := &s.back.ground[at.face].paint
		return paint, paint.color(vec{p.x, p.z, 0}, width)
	}
	uv := s.back.uv(at.face, p)
	if e := at.on; e != nil {
		const border = 0.06
		if e.kind != rug && min(uv.x-e.u0, e.u1-uv.x, uv.y-e.v0, e.v1-uv.y) < border {
			return &e.paint, e.frame
		}
		return &e.paint, e.paint.color(uv, width)
	}
	paint := &s.back.faces[at.face].paint
	return paint, paint.color(uv, width)
}

// shadowed reports whether a body lies between p and p + to.
func (s *stage) shadowed(p, to vec) bool {
	for i := range s.bodies {
		if s.bodies[i].blocks(p, to) {
			return true
		}
	}
	return false
}

// openness estimates how much of the half-space over a spot is free, from the bounding spheres of
// the bodies and the walls near by.
func (s *stage) openness(at spot, p, n vec) float64 {
	open := 1.0
	for i := range s.bodies {
		b := &s.bodies[i]
		if i == at.body || b.kind == wall {
			continue
		}
		q := b.pos.sub(p)
		d2, r := q.dot(q), float64(b.radius*0.75)
		r2 := float64(r * r)
		if d2 > float64(r2*16) {
			continue
		}
		if cos := q.dot(n) / math.Sqrt(d2); cos > 0 {
			open = float64(open * (1 - float64(cos*r2)/(d2+float64(r2*0.3))))
		}
	}
	if s.back.room {
		for axis := range 3 {
			k := 1 - math.Abs(n.axis(axis)) // not by the wall that the spot is on
			gap := min(p.axis(axis)-s.back.lo.axis(axis), s.back.hi.axis(axis)-p.axis(axis)) * 4
			open = float64(open * (1 - float64(0.35*k)/(1+float64(gap*gap))))
		}
	}
	return max(open, 0.15)
}

// reflection returns what water mirrors in the direction d: the sky, or a body under plain light.
func (s *stage) reflection(p, d vec) vec {
	limit, hit := far, spot{body: -1}
	for i := range s.bodies {
		b := &s.bodies[i]
		if t, piece, face := b.hit(b.local(p), b.localDir(d), limit); piece >= 0 {
			limit, hit = t, spot{t: t, kind: b.kind, body: i, piece: piece, face: face}
		}
	}
	if hit.body < 0 {
		return s.back.air(d)
	}
	q := p.along(hit.t, d)
	_, c := s.albedo(hit, q, 0.05)
	sun := s.sun.pos.sub(q).unit()
	return c.mul(s.fill.along(max(0, s.normal(hit, q).dot(sun)), s.sun.color))
}

// farthest is the depth in metres beyond which none is given.
const farthest = 80

// label fills in the labels that the set has.
func (s *stage) label(sample *data.Sample, set *set, size int, sv survey) {
	if set.detect != nil {
		detection.Set(sample, s.objects(set, size, sv))
	}
	if set.segment != nil {
		segmentation.Set(sample, data.NewGrid[uint8](size, size))
		for i, at := range sv.spots {
			segmentation.Of(sample).Pix[i] = set.segments[at.kind]
		}
	}
	if set.depth {
		depthlabel.Set(sample, data.NewGrid[float32](size, size))
		for i, at := range sv.spots {
			depthlabel.Of(sample).Pix[i] = float32(at.t)
			if at.t > farthest {
				depthlabel.Of(sample).Pix[i] = float32(math.NaN())
			}
		}
	}
	if set.normals {
		normals.Set(sample, data.NewGrid[[3]float32](size, size))
		for i, at := range sv.spots {
			if at.t > farthest {
				continue
			}
			u, v := float64(2*(i%size)+1)/float64(size)-1, float64(2*(i/size)+1)/float64(size)-1
			n := s.cam.turn(s.normal(at, s.cam.pos.along(at.t, s.cam.ray(u, v))))
			normals.Of(sample).Pix[i] = [3]float32{float32(n.x), float32(n.y), float32(n.z)}
		}
	}
}

// objects lists the visible bodies of the set's classes with boxes tight around their pixels.
func (s *stage) objects(set *set, size int, sv survey) []data.Object {
	out := []data.Object{}
	for i := range s.bodies {
		class := set.detects[s.bodies[i].kind]
		if class < 0 || sv.visible[i] == 0 {
			continue
		}
		r := image.Rectangle{image.Pt(size, size), image.Pt(0, 0)}
		for j, at := range sv.spots {
			if at.body == i {
				x, y := j%size, j/size
				r.Min.X, r.Min.Y = min(r.Min.X, x), min(r.Min.Y, y)
				r.Max.X, r.Max.Y = max(r.Max.X, x+1), max(r.Max.Y, y+1)
			}
		}
		o := data.Object{
			Box:   data.Box{X0: float64(r.Min.X), Y0: float64(r.Min.Y), X1: float64(r.Max.X), Y1: float64(r.Max.Y)},
			Class: class,
			Score: 1,
			Area:  float64(sv.visible[i]),
		}
		o.Crowd = set.shown && hidden(sv, i, size) // found or not, it is no fault
		if set.masks {
			o.Mask = &data.Mask{Rect: r, Pix: make([]uint8, r.Dx()*r.Dy())}
			for y := r.Min.Y; y < r.Max.Y; y++ {
				for x := r.Min.X; x < r.Max.X; x++ {
					if sv.spots[y*size+x].body == i {
						o.Mask.Pix[(y-r.Min.Y)*r.Dx()+x-r.Min.X] = 1
					}
				}
			}
		}
		out = append(out, o)
	}
	return out
}
