package scenes

import "math"

// A piece is a part with the hull that bounds it.
type piece struct {
	part
	hull []ellipsoid
}

// painted gives the piece another paint than the first.
func (p piece) painted(i int) piece {
	p.paint = i
	return p
}

// minus cuts the other piece out.
func (p piece) minus(q piece) piece {
	p.hole = &q.convex
	return p
}

func point(x, y, z float64) ellipsoid { return ellipsoid{c: vec{x, y, z}} }

// enclose makes a piece from its hull; the box around it is part of the solid.
func enclose(hull ...ellipsoid) piece {
	var p piece
	p.hull = hull
	p.lo, p.hi = bounds(hull)
	return p
}

// block is an axis-aligned box between two corners.
func block(x0, y0, z0, x1, y1, z1 float64) piece {
	return enclose(point(x0, y0, z0), point(x1, y0, z0), point(x0, y0, z1), point(x1, y0, z1),
		point(x0, y1, z0), point(x1, y1, z0), point(x0, y1, z1), point(x1, y1, z1))
}

// globe is an ellipsoid.
func globe(c, r vec) piece {
	p := enclose(ellipsoid{c: c, r: r})
	p.curved, p.c, p.k = true, c, 1
	// k stays in units of length² when the piece is moved, so a is a ratio of radii.
	m := max(r.x, r.y, r.z)
	p.k = float64(m * m)
	x, y, z := m/r.x, m/r.y, m/r.z
	p.a = vec{float64(x * x), float64(y * y), float64(z * z)}
	return p
}

// rod is a cylinder of radius r between two heights along an axis (0: x, 1: y, 2: z) through (u, v)
// of the two other axes in the order x, y, z.
func rod(axis int, u, v, from, to, r float64) piece {
	at := func(h float64) ellipsoid {
		switch axis {
		case 0:
			return ellipsoid{c: vec{h, u, v}, r: vec{0, r, r}}
		case 1:
			return ellipsoid{c: vec{u, h, v}, r: vec{r, 0, r}}
		}
		return ellipsoid{c: vec{u, v, h}, r: vec{r, r, 0}}
	}
	a, b := at(from), at(to)
	p := enclose(a, b)
	p.curved, p.c, p.k = true, a.c, float64(r*r)
	p.a = a.r.scale(1 / r)
	return p
}

// frustum is a round cone from radius r0 at height y0 to radius r1 at height y1 > y0, upright at (x, z).
func frustum(x, z, y0, r0, y1, r1 float64) piece {
	p := enclose(ellipsoid{c: vec{x, y0, z}, r: vec{r0, 0, r0}}, ellipsoid{c: vec{x, y1, z}, r: vec{r1, 0, r1}})
	slope := (r0 - r1) / (y1 - y0)
	p.curved, p.tip, p.side = true, 1, -1
	if slope < 0 {
		p.side = 1
	}
	p.c = vec{x, y0 + r0/slope, z}
	p.a = vec{1, -float64(slope * slope), 1}
	return p
}

// hoop is a torus.
func hoop(c vec, axis int, major, minor float64) piece {
	disc := vec{major, 0, major}
	if axis == 2 {
		disc = vec{major, major, 0}
	}
	p := enclose(ellipsoid{c, disc, minor})
	p.torus = &torus{c, axis, major, minor}
	return p
}

// spire is a pyramid over an n-sided base of radius r at height y0 with its tip at height y1, above
// or below, of which the part whole of its height is left standing.
func spire(n int, r, y0, y1, whole float64) piece {
	top := lerp(y0, y1, whole)
	var hull []ellipsoid
	var planes []plane
	for i := range n {
		s, c := sincos(float64(i)/float64(n) + 1/float64(2*n))
		hull = append(hull, point(float64(r*c), y0, float64(r*s)))
		k := float64(r * (1 - whole))
		hull = append(hull, point(float64(k*c), top, float64(k*s)))
		// The side between this corner and the next, at the apothem r·cos(π/n).
		s, c = sincos(float64(i+1) / float64(n))
		_, cosHalf := sincos(1 / float64(2*n))
		apothem := float64(r * cosHalf)
		h := math.Abs(y1 - y0)
		up := apothem
		if y1 < y0 {
			up = -apothem
		}
		m := vec{float64(h * c), up, float64(h * s)}.unit()
		planes = append(planes, plane{m, m.dot(vec{0, y1, 0})})
	}
	p := enclose(hull...)
	p.planes = planes
	return p
}

// prism extrudes a convex polygon, counter-clockwise in (x, y), from z0 to z1.
func prism(z0, z1 float64, xy ...[2]float64) piece {
	var hull []ellipsoid
	var planes []plane
	for i, a := range xy {
		b := xy[(i+1)%len(xy)]
		hull = append(hull, point(a[0], a[1], z0), point(a[0], a[1], z1))
		n := vec{b[1] - a[1], a[0] - b[0], 0}.unit()
		planes = append(planes, plane{n, n.dot(vec{a[0], a[1], 0})})
	}
	p := enclose(hull...)
	p.planes = planes
	return p
}

// The solids of the source sets.

func makeBall(r rng) *solid { return newSolid(globe(vec{}, vec{1, r.in(0.85, 1.1), 1})) }

func makeBox(r rng) *solid {
	x, y, z := r.in(0.55, 1), r.in(0.55, 1), r.in(0.55, 1)
	return newSolid(block(-x, -y, -z, x, y, z))
}

func makeCylinder(r rng) *solid { return newSolid(rod(1, 0, 0, 0, r.in(1.3, 2.8), 1)) }

func makeCone(r rng) *solid { return newSolid(frustum(0, 0, 0, 1, r.in(1.5, 2.6), 0.001)) }

func makeRing(r rng) *solid { return newSolid(hoop(vec{}, 1, 1, r.in(0.26, 0.42))) }

func makePyramid(r rng) *solid {
	return newSolid(spire(pick(r, 3, 4, 4), 1, 0, r.in(1.1, 1.9), 1))
}

func makeCapsule(r rng) *solid {
	h := r.in(0.9, 1.5)
	return newSolid(rod(1, 0, 0, -h, h, 1), globe(vec{0, -h, 0}, vec{1, 1, 1}), globe(vec{0, h, 0}, vec{1, 1, 1}))
}

func makeWedge(r rng) *solid {
	x, y, z := r.in(0.8, 1.2), r.in(0.9, 1.5), r.in(0.6, 1.1)
	return newSolid(prism(-z, z, [2]float64{-x, 0}, [2]float64{x, 0}, [2]float64{r.in(-x, 0), y}))
}

func makeCross(r rng) *solid {
	arm, deep := r.in(0.26, 0.38), r.in(0.25, 0.4)
	return newSolid(block(-1, -arm, -deep, 1, arm, deep), block(-arm, arm, -deep, arm, 1, deep),
		block(-arm, -1, -deep, arm, -arm, deep))
}

func makeTube(r rng) *solid {
	h, in := r.in(0.5, 0.95), r.in(0.66, 0.8)
	return newSolid(rod(1, 0, 0, 0, h, 1).minus(rod(1, 0, 0, -1, h+1, in)))
}

// The solids of the fine-grained set.

func makeStar(r rng) *solid {
	deep := r.in(0.22, 0.35)
	triangle := func(turn float64) piece {
		var xy [][2]float64
		for i := range 3 {
			s, c := sincos(turn + float64(i)/3)
			xy = append(xy, [2]float64{c, s})
		}
		return prism(-deep, deep, xy...)
	}
	return newSolid(triangle(0.25), triangle(0.75))
}

func makeBowl(r rng) *solid {
	in := r.in(0.78, 0.86)
	half := func(r float64) piece {
		p := globe(vec{0, 1, 0}, vec{r, r, r})
		p.hi.y = 1
		p.hull = []ellipsoid{{c: vec{0, 1, 0}, r: vec{r, 0, r}}, point(0, 1-r, 0)}
		return p
	}
	outer, hollow := half(1), half(in)
	hollow.hi.y = 1.5
	foot := rod(1, 0, 0, -0.12, 0.08, 0.45)
	return newSolid(outer.minus(hollow), foot)
}

func makeHourglass(r rng) *solid {
	h, waist := r.in(0.9, 1.3), r.in(0.2, 0.38)
	return newSolid(frustum(0, 0, -h, 0.85, 0, waist), frustum(0, 0, 0, waist, h, 0.85))
}

func makeArch(r rng) *solid {
	w, h, deep := r.in(0.9, 1.1), r.in(1.2, 1.7), r.in(0.3, 0.5)
	in := float64(w * r.in(0.58, 0.7))
	// The round hole and the gap below it are two pieces, so the arch is two pillars and a bridge.
	return newSolid(
		block(-w, h-in, -deep, w, h+0.35, deep).minus(rod(2, 0, h-in, -2, 2, in)),
		block(-w, 0, -deep, -in, h-in, deep), block(in, 0, -deep, w, h-in, deep))
}

func makeDiamond(r rng) *solid {
	n, h := pick(r, 5, 6), r.in(1.1, 1.4)
	return newSolid(spire(n, 1, 0, -h, 1), spire(n, 1, 0, float64(h*1.2), r.in(0.4, 0.55)))
}
