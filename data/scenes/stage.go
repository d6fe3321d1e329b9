package scenes

import "math"

// A camera looks along fwd; its image is square and spans ±tan at depth 1.
type camera struct {
	pos              vec
	right, down, fwd vec
	tan              float64
}

// aim places a camera at pos, looking at target, turned around its axis by roll turns, with a
// field of view of fov turns.
func aim(pos, target vec, roll, fov float64) camera {
	fwd := target.sub(pos).unit()
	right := fwd.cross(vec{0, 1, 0}).unit() // x right, y down, z forward: right-handed
	down := fwd.cross(right)
	s, c := sincos(roll)
	right, down = right.scale(c).add(down.scale(s)), down.scale(c).sub(right.scale(s))
	s, c = sincos(fov / 2)
	return camera{pos, right, down, fwd, s / c}
}

// ray returns the direction through the screen point (u, v) in [−1, 1]; its length is such that t
// along it is the depth along the optical axis.
func (c *camera) ray(u, v float64) vec {
	return c.fwd.add(c.right.scale(u * c.tan)).add(c.down.scale(v * c.tan))
}

// project returns the screen point and the depth of p.
func (c *camera) project(p vec) (u, v, depth float64) {
	q := p.sub(c.pos)
	depth = q.dot(c.fwd)
	k := 1 / float64(max(depth, 1e-6)*c.tan)
	return float64(q.dot(c.right) * k), float64(q.dot(c.down) * k), depth
}

// turn moves a direction of the world into the camera's frame.
func (c *camera) turn(v vec) vec { return vec{v.dot(c.right), v.dot(c.down), v.dot(c.fwd)} }

// A surface is a kind with its paint.
type surface struct {
	kind  kind
	paint paint
}

// A decal covers a rectangle of a face of a room.
type decal struct {
	face           int // as of a convex
	u0, v0, u1, v1 float64
	surface
	frame vec // colour of a border
}

// A backdrop is what is behind the bodies: an open ground under a sky, or the inside of a room.
type backdrop struct {
	room   bool
	lo, hi vec        // of the room
	faces  [6]surface // of the room, as of a convex
	decals []decal

	ground [2]surface // of the open: two surfaces
	shore  vec        // the second lies where shore.x·x + shore.z·z − shore.y is above a wobble
	high   vec        // colour of the zenith
	low    vec        // and of the horizon
	clouds float64    // cover
	drift  float64
}

// A spot is where a ray ends.
type spot struct {
	t     float64
	kind  kind
	body  int // index, or −1 for the backdrop
	piece int // of the body
	face  int
	on    *decal
}

// hit returns where the ray ends on the backdrop; kind sky is at no distance.
func (b *backdrop) hit(o, d vec) spot {
	s := spot{t: far, kind: sky, body: -1}
	if !b.room {
		if d.y < -1e-9 {
			s.t = o.y / -d.y
			p := o.along(s.t, d)
			s.face = b.side(p)
			s.kind = b.ground[s.face].kind
		}
		return s
	}
	exit := func(from, dir, lo, hi float64, face int) {
		to := lo
		if dir > 0 {
			to, face = hi, face+1
		}
		if t := (to - from) / dir; dir != 0 && t < s.t {
			s.t, s.face = t, face
		}
	}
	exit(o.x, d.x, b.lo.x, b.hi.x, 0)
	exit(o.y, d.y, b.lo.y, b.hi.y, 2)
	exit(o.z, d.z, b.lo.z, b.hi.z, 4)
	s.kind = b.faces[s.face].kind
	if len(b.decals) == 0 {
		return s
	}
	uv := b.uv(s.face, o.along(s.t, d))
	for i := range b.decals {
		if e := &b.decals[i]; e.face == s.face && uv.x >= e.u0 && uv.x < e.u1 && uv.y >= e.v0 && uv.y < e.v1 {
			s.on, s.kind = e, e.kind
		}
	}
	return s
}

// side tells which of the two grounds is at p.
func (b *backdrop) side(p vec) int {
	if b.ground[1].kind == b.ground[0].kind {
		return 0
	}
	wobble := noise2(float64(p.x*0.5), float64(p.z*0.5), 21) + noise2(float64(p.x*1.7), float64(p.z*1.7), 22)/3
	if float64(b.shore.x*p.x)+float64(b.shore.z*p.z)-b.shore.y > wobble {
		return 1
	}
	return 0
}

// uv returns the coordinates of p on a face in metres: on walls v is the height.
func (b *backdrop) uv(face int, p vec) vec {
	switch face / 2 {
	case 0:
		return vec{p.z, p.y, 0}
	case 1:
		return vec{p.x, p.z, 0}
	}
	return vec{p.x, p.y, 0}
}

// normal returns the normal of a face, into the room or up from the ground.
func (b *backdrop) normal(face int) vec {
	if !b.room {
		return vec{0, 1, 0}
	}
	s := 1 - float64(2*(face&1))
	switch face / 2 {
	case 0:
		return vec{s, 0, 0}
	case 1:
		return vec{0, s, 0}
	}
	return vec{0, 0, s}
}

// air returns the colour of the sky in the direction d.
func (b *backdrop) air(d vec) vec {
	up := d.y / d.len()
	c := b.low.mix(b.high, smooth(up*1.6))
	if b.clouds > 0 && up > 0.02 {
		x, z := d.x/(d.y+float64(0.15*d.len())), d.z/(d.y+float64(0.15*d.len()))
		n := float64(0.6*noise2(x+b.drift, z, 31)) + float64(0.4*noise2(float64(x*2.6), float64(z*2.6)+b.drift, 32))
		c = c.mix(vec{1, 1, 1}, float64(float64(smooth(float64((n-1+b.clouds)*4))*min(1, up*6))*0.85))
	}
	return c
}

// A light is a ball that shines; the sun is one far away.
type light struct {
	pos      vec
	side, up vec // its radius across the line to the target
	color    vec
}

func (s *stage) shine(pos vec, radius float64, color vec) light {
	to := pos.sub(s.target)
	side := to.cross(vec{0.3, 0.1, 1}).unit()
	return light{pos, side.scale(radius), side.cross(to).unit().scale(radius), color}
}

// A stage is a place with a camera before anything is put in it.
type stage struct {
	cam      camera
	back     backdrop
	bodies   []body
	sun      light
	fill     vec // light from all sides
	exposure float64
	tint     vec
	grain    float64 // noise of the sensor, of the full range

	base       float64 // height of the ground that things stand on
	small, big float64 // usual radii of things, metres
	size       vec     // half-extents of the ground around spot; 0: unbounded
	target     vec     // what the camera looks at
}

// view draws a camera that looks at target from the given distance, pitch and field of view in
// degrees, keeping dir turns of azimuth within ±spread.
func (s *stage) view(r rng, target vec, distance, pitch, fov, spread float64) {
	sy, cy := sincos(r.in(-spread, spread))
	sp, cp := sincos(pitch / 360)
	from := vec{float64(cp * sy), sp, float64(cp * cy)}
	s.target = target
	s.cam = aim(target.along(distance, from), target, r.in(-0.012, 0.012), fov/360)
}

// expose draws the light and what the camera makes of it.
func (s *stage) expose(r rng) {
	s.exposure = r.in(0.95, 1.5)
	s.tint = vec{r.in(0.93, 1.07), 1, r.in(0.93, 1.07)}
	s.grain = r.in(0.001, 0.01)
}

// daylight puts the sun up, mostly behind or beside the camera.
func (s *stage) daylight(r rng) {
	azimuth := s.cam.fwd.neg()
	flat := vec{azimuth.x, 0, azimuth.z}.unit()
	dir := turnY(r.in(-0.3, 0.3)).apply(flat)
	sp, cp := sincos(r.in(0.07, 0.17))
	dir = vec{float64(dir.x * cp), sp, float64(dir.z * cp)}
	s.sun = s.shine(dir.scale(300), r.in(2, 16), vec{1, r.in(0.88, 0.99), r.in(0.72, 0.95)}.scale(r.in(1.1, 1.6)))
	s.fill = s.back.high.mix(vec{1, 1, 1}, 0.5).scale(r.in(0.3, 0.5))
}

// lamplight hangs a lamp or opens a window's light in a room, above and before the target.
func (s *stage) lamplight(r rng, height float64) {
	to := s.cam.pos.sub(s.target)
	p := s.target.along(r.in(-0.1, 0.7), to)
	side := s.cam.right.scale(float64(r.in(-0.9, 0.9) * to.len()))
	p = vec{p.x + side.x, s.target.y + height, p.z + side.z}
	if s.back.room {
		m := vec{0.15, 0.15, 0.15}
		p = p.max(s.back.lo.add(m)).min(s.back.hi.sub(m))
	}
	s.sun = s.shine(p, float64(height*r.in(0.04, 0.14)), vec{1, r.in(0.85, 1), r.in(0.7, 1)}.scale(r.in(0.7, 1.05)))
	s.fill = vec{r.in(0.9, 1), 0.95, r.in(0.9, 1.05)}.scale(r.in(0.3, 0.5))
}

// outdoors is a meadow, a beach or a shore under the sky, sometimes with a wall.
func outdoors(r rng) *stage {
	first := pick(r, grass, grass, sand)
	second := pick(r, water, water, sand, grass)
	s := &stage{small: 0.32, big: 0.85}
	s.open(r, first, second)
	s.view(r, vec{0, r.in(0, 1.3), 0}, r.in(4, 8), r.in(9, 32), r.in(40, 62), 0.5)
	s.landmarks(r, 0.35)
	s.daylight(r)
	s.expose(r)
	return s
}

// plaza is a paved place under the sky.
func plaza(r rng) *stage {
	s := &stage{small: 0.5, big: 1.6}
	s.open(r, floor, pick(r, floor, grass))
	s.view(r, vec{0, r.in(0.2, 1), 0}, r.in(4, 7), r.in(6, 26), r.in(50, 72), 0.5)
	s.landmarks(r, 0.6)
	s.daylight(r)
	s.expose(r)
	return s
}

// open lays two grounds under a sky.
func (s *stage) open(r rng, first, second kind) {
	b := &s.back
	b.ground = [2]surface{{first, stuff(r, first)}, {second, stuff(r, second)}}
	b.high = hsv(r.in(0.54, 0.62), r.in(0.4, 0.85), r.in(0.7, 1))
	b.low = b.high.mix(vec{1, r.in(0.8, 1), r.in(0.7, 1)}, r.in(0.4, 0.8))
	b.clouds, b.drift = r.in(0.2, 0.7), r.in(0, 100)
}

// landmarks lets the second ground begin beyond the target, and may build a wall there.
func (s *stage) landmarks(r rng, walled float64) {
	ahead := vec{s.cam.fwd.x, 0, s.cam.fwd.z}.unit()
	dir := turnY(r.in(-0.2, 0.2)).apply(ahead)
	s.back.shore = vec{dir.x, r.in(0, 3), dir.z}
	if !r.chance(walled) {
		return
	}
	w, h := r.in(2, 9), r.in(1.2, 3.5)
	front := rot{vec{0, 1, 0}.cross(ahead.neg()), vec{0, 1, 0}, ahead.neg()}
	at := turnY(r.in(-0.08, 0.08)).apply(ahead).scale(r.in(3, 8))
	s.build(r, wall, newSolid(block(-w, 0, -0.15, w, h, 0.15)), at, turnY(r.in(-0.12, 0.12)).after(front))
}

// indoors is a corner of a hall.
func indoors(r rng) *stage {
	s := &stage{small: 0.22, big: 0.6}
	s.view(r, vec{r.in(-0.8, 0.8), r.in(0, 0.6), r.in(-0.5, 0.8)}, r.in(2.6, 4.6), r.in(12, 38), r.in(42, 62), 0.07)
	s.hall(r, r.in(0.8, 2.2), r.in(1.6, 3.5))
	s.lamplight(r, r.in(2.2, 4.5))
	s.expose(r)
	return s
}

// tabletop is a table in a hall, seen from close by.
func tabletop(r rng) *stage {
	s := &stage{small: 0.07, big: 0.19}
	x, z, h := r.in(0.6, 1), r.in(0.4, 0.65), r.in(0.68, 0.8)
	s.base, s.size = h, vec{x, 0, z}
	s.view(r, vec{r.in(-0.2, 0.2), h + r.in(0, 0.15), r.in(-0.1, 0.1)}, r.in(0.9, 1.7), r.in(16, 42), r.in(42, 60), 0.09)
	s.hall(r, r.in(1.2, 3), r.in(1.2, 3))
	s.build(r, table, tableOf(x, z, h), vec{}, turnY(0))
	s.lamplight(r, r.in(1.2, 2.4))
	s.expose(r)
	return s
}

// studio is a bare room with a carpet or a cloth from wall to wall, lit from the side.
func studio(r rng) *stage {
	s := &stage{small: 0.3, big: 0.9}
	s.view(r, vec{0, r.in(0.1, 0.5), 0}, r.in(1.8, 3.4), r.in(5, 50), r.in(50, 75), 0.06)
	s.hall(r, r.in(1, 3), r.in(1, 3))
	p := stuff(r, rug)
	p.scale, p.b = float64(p.scale*0.6), p.a.mix(p.b, r.in(0.15, 0.6)) // quieter than a rug
	s.back.faces[2].paint = p
	s.lamplight(r, r.in(1.5, 3))
	s.fill = s.fill.scale(0.8)
	s.expose(r)
	return s
}

// hall closes the stage with walls at a margin beside the camera and deep behind the origin.
func (s *stage) hall(r rng, margin, deep float64) {
	b := &s.back
	w := max(math.Abs(s.cam.pos.x), math.Abs(s.target.x), s.size.x) + margin
	b.room, b.lo, b.hi = true, vec{-w, 0, -deep}, vec{w, 8, 9}
	walls := stuff(r, wall)
	for i := range b.faces {
		b.faces[i] = surface{wall, walls}
	}
	if r.chance(0.3) { // one wall of another colour
		b.faces[4].paint = stuff(r, wall)
	}
	b.faces[2] = surface{floor, stuff(r, floor)}
}

// A stage's bodies.

// build stands something on the floor in the size and the material that its kind has.
func (s *stage) build(r rng, k kind, m *solid, at vec, turn rot) {
	b := newBody(k, m, turn, m.radius)
	for range m.paints {
		p := stuff(r, k)
		p.scale = float64(p.scale * m.radius)
		b.paints = append(b.paints, p)
	}
	s.stand(b, at)
}

func newBody(k kind, m *solid, turn rot, radius float64) body {
	return body{solid: m, kind: k, turn: turn, radius: radius}
}

// stand adds the body with its lowest point at the height of at.
func (s *stage) stand(b body, at vec) {
	b.pos = vec{at.x, at.y + float64(b.radius*b.reach(b.turn.undo(vec{0, -1, 0}))), at.z}
	s.bodies = append(s.bodies, b)
}
