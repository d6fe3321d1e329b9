package scenes

import "math"

// far is the distance beyond which nothing is hit.
const far = 1e9

// A convex is the part of space inside an axis-aligned box, a quadric and half-spaces: with them
// come balls, boxes, cylinders, cones, pyramids, prisms and what is cut from them.
type convex struct {
	lo, hi vec // the box

	curved bool    // whether there is a quadric, Σ aᵢ(p−c)ᵢ² ≤ k
	a, c   vec     // one negative aᵢ makes a cone with its tip at c
	k      float64 //
	tip    int     // axis of the cone
	side   float64 // on which side of the tip the cone lies, ±1; 0: no cone

	planes []plane
}

// A plane bounds the half-space n·p ≤ d.
type plane struct {
	n vec
	d float64
}

// Faces of a convex: 0–5 are the box's (2·axis, +1 on the upper side), then the quadric's, then
// those of the planes.
const quadric = 6

// span returns where the ray o + t·d enters and leaves the solid and through which faces;
// in > out where it misses. inv is 1/d.
func (s *convex) span(o, d, inv vec) (in, out float64, fin, fout int) {
	in, out = -far, far
	a, b := float64((s.lo.x-o.x)*inv.x), float64((s.hi.x-o.x)*inv.x)
	f := 0
	if a > b {
		a, b, f = b, a, 1
	}
	in, out, fin, fout = a, b, f, 1-f
	a, b, f = float64((s.lo.y-o.y)*inv.y), float64((s.hi.y-o.y)*inv.y), 0
	if a > b {
		a, b, f = b, a, 1
	}
	if a > in {
		in, fin = a, 2+f
	}
	if b < out {
		out, fout = b, 3-f
	}
	a, b, f = float64((s.lo.z-o.z)*inv.z), float64((s.hi.z-o.z)*inv.z), 0
	if a > b {
		a, b, f = b, a, 1
	}
	if a > in {
		in, fin = a, 4+f
	}
	if b < out {
		out, fout = b, 5-f
	}
	if in > out {
		return
	}
	if s.curved {
		q, ad := o.sub(s.c), s.a.mul(d)
		qa, qb, qc := ad.dot(d), ad.dot(q), s.a.mul(q).dot(q)-s.k
		disc := float64(qb*qb) - float64(qa*qc)
		switch {
		case math.Abs(qa) < 1e-12: // parallel to the axis of a cylinder or to the side of a cone
			if math.Abs(qb) < 1e-12 {
				if qc > 0 {
					return far, -far, fin, fout
				}
			} else if t := -qc / (2 * qb); qb > 0 && t < out {
				out, fout = t, quadric
			} else if qb < 0 && t > in {
				in, fin = t, quadric
			}
		case disc < 0:
			if qa > 0 {
				return far, -far, fin, fout
			}
		default:
			root := math.Sqrt(disc)
			t0, t1 := (-qb-root)/qa, (-qb+root)/qa
			if qa < 0 { // along the cone: inside before the one root or after the other
				t0, t1 = t1, t0
				if (d.axis(s.tip) > 0) == (s.side > 0) {
					t0, t1 = t1, far
				} else {
					t0, t1 = -far, t0
				}
			}
			if t0 > in {
				in, fin = t0, quadric
			}
			if t1 < out {
				out, fout = t1, quadric
			}
		}
		if in > out {
			return
		}
	}
	for i := range s.planes {
		p := &s.planes[i]
		nd, gap := p.n.dot(d), p.d-p.n.dot(o)
		if math.Abs(nd) < 1e-12 {
			if gap < 0 {
				return far, -far, fin, fout
			}
			continue
		}
		if t := gap / nd; nd > 0 {
			if t < out {
				out, fout = t, quadric+1+i
			}
		} else if t > in {
			in, fin = t, quadric+1+i
		}
		if in > out {
			return
		}
	}
	return
}

// normal returns the outward normal of a face at p.
func (s *convex) normal(face int, p vec) vec {
	switch face {
	case 0:
		return vec{-1, 0, 0}
	case 1:
		return vec{1, 0, 0}
	case 2:
		return vec{0, -1, 0}
	case 3:
		return vec{0, 1, 0}
	case 4:
		return vec{0, 0, -1}
	case 5:
		return vec{0, 0, 1}
	case quadric:
		return s.a.mul(p.sub(s.c)).unit()
	}
	return s.planes[face-quadric-1].n
}

// A part is one piece of a solid: a convex, a convex with a hole, or a torus.
type part struct {
	convex
	hole  *convex // taken out of the convex
	torus *torus  // in place of the convex, whose box bounds it
	paint int     // index into the paints of the body
}

// A torus of radius major around an axis through c.
type torus struct {
	c            vec
	axis         int // 1: y, 2: z
	major, minor float64
}

// gap returns the distance from p to the surface, negative inside, and the vector to p from the
// nearest point of the torus' core.
func (t *torus) gap(p vec) (float64, vec) {
	q := p.sub(t.c)
	var ring vec
	if t.axis == 1 {
		ring = vec{q.x, 0, q.z}
	} else {
		ring = vec{q.x, q.y, 0}
	}
	l := ring.len()
	if l == 0 {
		return t.major - t.minor, q
	}
	spoke := q.sub(ring.scale(t.major / l))
	return spoke.len() - t.minor, spoke
}

// hit marches along the ray from in to out by the distance that is certainly free.
func (t *torus) hit(o, d vec, in, out float64) (float64, bool) {
	pace := 1 / d.len()
	for at, step := max(in, 1e-6), 0; at < out && step < 96; step++ {
		gap, _ := t.gap(o.along(at, d))
		if gap < 1e-6 {
			return at, true
		}
		at += float64(gap * pace)
	}
	return 0, false
}

// hit returns the nearest point after t = 1e-6 at which the ray meets the part, and an opaque
// token for normal.
func (p *part) hit(o, d, inv vec) (t float64, face int, ok bool) {
	in, out, fin, _ := p.span(o, d, inv)
	if in > out || out <= 1e-6 {
		return 0, 0, false
	}
	if p.torus != nil {
		t, ok = p.torus.hit(o, d, in, out)
		return t, 0, ok
	}
	if p.hole != nil {
		if hin, hout, _, hf := p.hole.span(o, d, inv); hin < hout && hin <= in && hout > in {
			if hout >= out {
				return 0, 0, false
			}
			in, fin = hout, ^hf // seen from inside the hole
		}
	}
	// A ray that starts inside the part sees nothing of it: cameras and lights stay outside.
	return in, fin, in > 1e-6
}

// normal returns the normal at p of the face that hit reported.
func (p *part) normal(face int, at vec) vec {
	switch {
	case p.torus != nil:
		_, spoke := p.torus.gap(at)
		return spoke.unit()
	case face < 0:
		return p.hole.normal(^face, at).neg()
	}
	return p.convex.normal(face, at)
}

// An ellipsoid, swollen by pad, of which a hull is made: a point, a disc or a ball.
type ellipsoid struct {
	c, r vec
	pad  float64
}

// A solid is a shape in its own frame, y up, its bounding sphere of radius 1 around the origin.
type solid struct {
	parts  []part
	hull   []ellipsoid // the solid lies inside their convex hull
	lo, hi vec
	paints int
	radius float64 // of the bounding sphere as it was modelled
}

// reach returns how far the solid extends along the unit vector d.
func (s *solid) reach(d vec) float64 {
	best := -far
	for _, e := range s.hull {
		best = max(best, e.c.dot(d)+e.r.mul(d).len()+e.pad)
	}
	return best
}

// newSolid normalises parts that were modelled at any size and place.
func newSolid(pieces ...piece) *solid {
	s := &solid{}
	for _, p := range pieces {
		s.parts = append(s.parts, p.part)
		s.hull = append(s.hull, p.hull...)
		s.paints = max(s.paints, p.paint+1)
	}
	lo, hi := bounds(s.hull)
	c := lo.add(hi).scale(0.5)
	radius := 0.0
	for _, e := range s.hull {
		d := e.c.sub(c)
		corner := vec{math.Abs(d.x), math.Abs(d.y), math.Abs(d.z)}.add(e.r).len()
		radius = max(radius, min(corner, d.len()+max(e.r.x, e.r.y, e.r.z))+e.pad)
	}
	s.radius = radius
	k := 1 / radius
	for i := range s.parts {
		s.parts[i].move(c, k)
	}
	for i := range s.hull {
		e := &s.hull[i]
		e.c, e.r, e.pad = e.c.sub(c).scale(k), e.r.scale(k), float64(e.pad*k)
	}
	s.lo, s.hi = lo.sub(c).scale(k), hi.sub(c).scale(k)
	return s
}

func bounds(hull []ellipsoid) (lo, hi vec) {
	lo, hi = vec{far, far, far}, vec{-far, -far, -far}
	for _, e := range hull {
		r := e.r.add(vec{e.pad, e.pad, e.pad})
		lo, hi = lo.min(e.c.sub(r)), hi.max(e.c.add(r))
	}
	return lo, hi
}

// move shifts the part by −c and scales it by k.
func (p *part) move(c vec, k float64) {
	p.convex.move(c, k)
	if p.hole != nil {
		p.hole.move(c, k)
	}
	if t := p.torus; t != nil {
		t.c, t.major, t.minor = t.c.sub(c).scale(k), float64(t.major*k), float64(t.minor*k)
	}
}

func (s *convex) move(c vec, k float64) {
	s.lo, s.hi, s.c = s.lo.sub(c).scale(k), s.hi.sub(c).scale(k), s.c.sub(c).scale(k)
	s.k = float64(s.k*k) * k
	for i := range s.planes {
		p := &s.planes[i]
		p.d = float64((p.d - p.n.dot(c)) * k)
	}
}

// A body is a solid in the world.
type body struct {
	*solid
	kind   kind
	pos    vec
	turn   rot
	radius float64 // of the bounding sphere, metres
	paints []paint

	eye vec // the camera in the body's frame

	x0, y0, x1, y1 float64 // what it can cover of the screen, in [−1, 1]
}

// local moves a point of the world into the frame of the solid.
func (b *body) local(p vec) vec { return b.turn.undo(p.sub(b.pos)).scale(1 / b.radius) }

// localDir moves a direction of the world into the frame of the solid, where t stays the same.
func (b *body) localDir(d vec) vec { return b.turn.undo(d).scale(1 / b.radius) }

// hit returns where the ray, given in the body's frame, first meets it before limit.
func (b *body) hit(o, d vec, limit float64) (t float64, piece, face int) {
	t, piece = limit, -1
	inv := inverse(d)
	for i := range b.parts {
		if at, f, ok := b.parts[i].hit(o, d, inv); ok && at < t {
			t, piece, face = at, i, f
		}
	}
	return t, piece, face
}

// blocks reports whether the body is in the way between p and p + d.
func (b *body) blocks(p, d vec) bool {
	q := b.pos.sub(p)
	along, dd := q.dot(d), d.dot(d)
	if along < 0 {
		return false
	}
	if float64((q.dot(q)-float64(b.radius*b.radius))*dd) > float64(along*along) {
		return false
	}
	_, piece, _ := b.hit(b.local(p), b.localDir(d), 1)
	return piece >= 0
}

// inverse returns 1/d, with zeros nudged so that no NaN arises.
func inverse(d vec) vec {
	const tiny = 1e-12
	nudge := func(x float64) float64 {
		if math.Abs(x) < tiny {
			return 1 / tiny
		}
		return 1 / x
	}
	return vec{nudge(d.x), nudge(d.y), nudge(d.z)}
}
