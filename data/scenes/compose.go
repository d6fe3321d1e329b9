package scenes

import (
	"math"
	"slices"
)

// The label spaces.
var (
	sourceShapes   = []kind{ball, box, cylinder, cone, ring, pyramid, capsule, cross, wedge, tube}
	classShapes    = sourceShapes[:8]
	crowdShapes    = sourceShapes[:6]
	stuffKinds     = append([]kind{sky, wall, floor, grass, sand, water, table}, crowdShapes...)
	fineShapes     = []kind{star, bowl, hourglass, arch, diamond}
	boxedThings    = []kind{mushroom, house, car}
	cutThings      = []kind{bottle, chair, rocket}
	everydayThings = []kind{mushroom, house, snowman, mug, car, tree, bottle, chair, dumbbell, lamp, robot, rocket}
	leftThings     = append([]kind{mushroom, snowman, dumbbell, robot}, fineShapes...)
	roomKinds      = []kind{wall, floor, ceiling, window, door, picture, rug, table, sofa, cabinet}
)

// fineMaterials are the surfaces that divide each of fineShapes into classes: colours vary, but for those of
// wood and stone.
var fineMaterials = []struct {
	name  string
	paint func(r rng, p *paint)
}{
	{"striped", func(r rng, p *paint) { p.pattern, p.scale = striped, r.in(1.8, 2.8) }},
	{"dotted", func(r rng, p *paint) { p.pattern, p.scale = dotted, r.in(1.8, 2.8) }},
	{"checked", func(r rng, p *paint) { p.pattern, p.scale = checked, r.in(1.8, 2.8) }},
	{"wooden", func(r rng, p *paint) {
		h, v := r.in(0.03, 0.11), r.in(0.45, 0.85)
		p.pattern, p.scale = grained, r.in(2.5, 4)
		p.a, p.b = hsv(h, r.in(0.45, 0.75), v), hsv(h, r.in(0.5, 0.8), float64(v*0.55))
	}},
	{"stone", func(r rng, p *paint) {
		h, v := r.float(), r.in(0.5, 0.85)
		p.pattern, p.scale, p.gloss = mottled, r.in(3, 5), 0
		p.a, p.b = hsv(h, r.in(0, 0.1), v), hsv(h, r.in(0, 0.1), float64(v*0.5))
	}},
}

// pose draws how a thing rests: things of everyday life stand upright, solids may also lie or lean.
func pose(r rng, k kind) rot {
	yaw := turnY(r.float())
	if k > diamond {
		return yaw
	}
	switch x := r.float(); {
	case x < 0.7:
		return yaw
	case x < 0.9:
		return yaw.after(turnZ(0.25))
	}
	return yaw.after(turnZ(r.in(-0.1, 0.1))).after(turnX(r.in(-0.1, 0.1)))
}

// thing draws a body of a kind and paints it so that it stands out from the ground.
func (s *stage) thing(r rng, k kind, radius float64) body {
	b := newBody(k, makers[k](r), pose(r, k), radius)
	for range b.solid.paints {
		b.paints = append(b.paints, anyPaint(r, s.groundColor()))
	}
	return b
}

// groundColor is the mean colour of what things stand on.
func (s *stage) groundColor() vec {
	p := &s.back.ground[0].paint
	if s.back.room {
		p = &s.back.faces[2].paint
	}
	for i := range s.bodies {
		if s.base > 0 && s.bodies[i].kind == table {
			p = &s.bodies[i].paints[0]
		}
	}
	if p.pattern == plain {
		return p.a
	}
	return p.a.mix(p.b, 0.5)
}

// portrait puts one thing before the camera so that its bounding sphere fills the given part of
// the image's width.
func (s *stage) portrait(r rng, b body, fill float64) {
	s.stand(b, vec{s.target.x, s.base, s.target.z})
	c := &s.cam
	distance := b.radius / float64(fill*c.tan)
	shift := float64((1 - fill) * b.radius / fill * 0.7)
	c.pos = s.bodies[len(s.bodies)-1].pos.along(-distance, c.fwd).
		along(float64(shift*r.in(-1, 1)), c.right).along(float64(shift*r.in(-1, 1)), c.down)
	c.pos.y = max(c.pos.y, s.base+0.03)
}

// scatter stands up to n things of the kinds where the camera sees them, each covering between
// least and most of the image's width, few of them hidden by others.
func (s *stage) scatter(r rng, n int, of []kind, least, most float64) {
	for range n {
		k := pick(r, of...)
		b := s.thing(r, k, 0)
		for range 60 {
			u, v := r.in(-0.85, 0.85), r.in(-0.6, 0.9)
			d := s.cam.ray(u, v)
			if d.y > -1e-3 {
				continue
			}
			t := (s.base - s.cam.pos.y) / d.y
			at := s.cam.pos.along(t, d)
			width := float64(t * s.cam.tan)
			lo, hi := max(s.small, float64(least*width)), min(s.big, float64(most*width))
			if b.radius = r.in(lo, hi); lo > hi || !s.free(&b, at) {
				continue
			}
			s.stand(b, vec{at.x, s.base, at.z})
			last := &s.bodies[len(s.bodies)-1]
			if s.seen(last) {
				break
			}
			s.bodies = s.bodies[:len(s.bodies)-1]
		}
	}
}

// free reports whether there is dry room for the body at a point of the ground.
func (s *stage) free(b *body, at vec) bool {
	if m := float64(b.radius * 0.7); s.size.x > 0 && (math.Abs(at.x) > s.size.x-m || math.Abs(at.z) > s.size.z-m) {
		return false
	}
	if back := &s.back; back.room {
		if m := b.radius; at.x-m < back.lo.x || at.x+m > back.hi.x || at.z-m < back.lo.z {
			return false
		}
	} else if back.ground[back.side(at)].kind == water {
		return false
	}
	for i := range s.bodies {
		o := &s.bodies[i]
		d, gap := vec{at.x - o.pos.x, 0, at.z - o.pos.z}, b.radius
		switch o.kind {
		case table:
			continue
		case wall: // long and thin
			d, gap = vec{0, 0, o.turn.z.dot(d)}, gap+0.15
		default:
			gap = float64((gap + o.radius) * 0.85)
		}
		if d.dot(d) < float64(gap*gap) {
			return false
		}
	}
	return true
}

// seen reports whether most of the body is inside the image and not too much of it and of the
// others overlaps.
func (s *stage) seen(b *body) bool {
	b.frame(&s.cam)
	area := func(x0, y0, x1, y1 float64) float64 { return float64(max(0, x1-x0) * max(0, y1-y0)) }
	whole := area(b.x0, b.y0, b.x1, b.y1)
	if area(max(b.x0, -1), max(b.y0, -1), min(b.x1, 1), min(b.y1, 1)) < float64(0.7*whole) {
		return false
	}
	for i := range s.bodies[:len(s.bodies)-1] {
		o := &s.bodies[i]
		if o.kind == wall || o.kind == table {
			continue
		}
		o.frame(&s.cam)
		both := area(max(b.x0, o.x0), max(b.y0, o.y0), min(b.x1, o.x1), min(b.y1, o.y1))
		if both > float64(0.45*min(whole, area(o.x0, o.y0, o.x1, o.y1))) {
			return false
		}
	}
	return true
}

// composeObject is one solid of the class that is the index's turn.
func composeObject(r rng, index int) *stage {
	s := pick(r, outdoors, indoors, tabletop)(r)
	k := classShapes[index%len(classShapes)]
	s.portrait(r, s.thing(r, k, r.in(s.small, s.big)), r.in(0.65, 0.95))
	return s
}

func composeCrowd(r rng, _ int) *stage {
	s := pick(r, outdoors, outdoors, indoors, tabletop)(r)
	s.scatter(r, r.between(2, 6), crowdShapes, 0.28, 0.8)
	return s
}

func composeStuff(r rng, _ int) *stage {
	s := pick(r, outdoors, outdoors, outdoors, indoors, tabletop)(r)
	s.scatter(r, r.between(1, 4), crowdShapes, 0.28, 0.8)
	return s
}

func composeRange(r rng, _ int) *stage {
	s := pick(r, outdoors, indoors, indoors, tabletop)(r)
	s.scatter(r, r.between(2, 7), sourceShapes, 0.14, 0.75)
	return s
}

func composeAny(r rng, _ int) *stage {
	return pick(r, composeObject, composeCrowd, composeStuff, composeRange)(r, r.intn(len(classShapes)))
}

func composeFine(r rng, index int) *stage {
	class := index % (len(fineShapes) * len(fineMaterials))
	s := pick(r, plaza, studio, studio)(r)
	b := s.thing(r, fineShapes[class/len(fineMaterials)], r.in(s.small, s.big))
	// Seen from its edge or its base no shape could be told from another.
	back := vec{s.cam.fwd.x, 0, s.cam.fwd.z}.unit().neg()
	b.turn = turnY(r.in(-0.14, 0.14)).after(rot{vec{0, 1, 0}.cross(back), vec{0, 1, 0}, back}).after(turnZ(r.in(-0.04, 0.04)))
	for i := range b.paints {
		p := &b.paints[i]
		p.b = unlike(r, p.a)
		fineMaterials[class%len(fineMaterials)].paint(r, p)
	}
	s.portrait(r, b, r.in(0.6, 0.95))
	return s
}

func composeBoxed(r rng, _ int) *stage {
	s := pick(r, plaza, plaza, studio)(r)
	s.scatter(r, r.between(1, 3), boxedThings, 0.5, 1)
	return s
}

func composeCut(r rng, _ int) *stage {
	s := pick(r, plaza, studio, studio)(r)
	s.scatter(r, r.between(1, 2), cutThings, 0.6, 1.2)
	return s
}

func composeRoom(r rng, _ int) *stage { return furnished(r, r.in(58, 72)) }

// composeClutter is a furnished room with things left on its floor.
func composeClutter(r rng, _ int) *stage {
	s := furnished(r, r.in(62, 80))
	s.scatter(r, r.between(1, 4), leftThings, 0.1, 0.5)
	return s
}

// furnished is a living room seen from one of its ends.
func furnished(r rng, fov float64) *stage {
	s := &stage{small: 0.15, big: 0.35}
	b := &s.back
	w, l, h := r.in(1.5, 2.4), r.in(1.6, 2.5), r.in(2.3, 2.9)
	b.room, b.lo, b.hi = true, vec{-w, 0, -l}, vec{w, h, l}
	walls := stuff(r, wall)
	for i := range b.faces {
		b.faces[i] = surface{wall, walls}
	}
	if r.chance(0.3) {
		b.faces[4].paint = stuff(r, wall)
	}
	b.faces[2], b.faces[3] = surface{floor, stuff(r, floor)}, surface{ceiling, stuff(r, ceiling)}
	eye := vec{float64(w * r.in(-0.75, 0.75)), r.in(1.1, 1.75), float64(l * r.in(0.8, 0.95))}
	s.target = vec{float64(w * r.in(-0.5, 0.5)), r.in(0.5, 1.1), float64(l * r.in(-0.8, -0.3))}
	s.cam = aim(eye, s.target, r.in(-0.012, 0.012), fov/360)

	// A door, windows and pictures on the three walls in view, each in its own stretch of wall.
	for _, face := range r.shuffled([]int{0, 1, 4}) {
		half := l
		if face == 4 {
			half = w
		}
		split := float64(half * r.in(-0.3, 0.3))
		for i, span := range [][2]float64{{-half + 0.1, split}, {split, half - 0.1}} {
			if face != 4 && i == 1 && r.chance(0.5) {
				continue // beside the camera
			}
			s.hang(r, face, span[0], span[1], h)
		}
	}
	if r.chance(0.7) {
		x, z := float64(w*r.in(-0.3, 0.3)), float64(l*r.in(-0.4, 0.2))
		rw, rl := r.in(0.5, 1), r.in(0.4, 0.9)
		p := stuff(r, rug)
		b.decals = append(b.decals, decal{2, x - rw, z - rl, x + rw, z + rl, surface{rug, p}, p.b})
	}
	s.lamplight(r, r.in(1.4, 2.2))
	s.fill = s.fill.scale(1.3) // walls all around
	s.expose(r)

	// Furniture along the walls, then a table with chairs.
	for _, k := range []kind{sofa, cabinet, pick(r, sofa, cabinet)} {
		m := makers[k](r)
		deep := float64(m.radius*m.hi.z) + 0.03
		along := float64(m.radius * m.hi.x)
		for range 8 {
			var at vec
			var turn rot
			switch r.intn(3) {
			case 0:
				at, turn = vec{float64((w - along) * r.in(-1, 1)), 0, -l + deep}, turnY(0)
			case 1:
				at, turn = vec{-w + deep, 0, float64((l - along) * r.in(-1, 0.4))}, turnY(0.25)
			case 2:
				at, turn = vec{w - deep, 0, float64((l - along) * r.in(-1, 0.4))}, turnY(-0.25)
			}
			if s.clear(at, along+0.1) {
				s.build(r, k, m, at, turn)
				break
			}
		}
	}
	for range 8 {
		at := vec{float64(w * r.in(-0.5, 0.5)), 0, float64(l * r.in(-0.6, 0.3))}
		if s.clear(at, 0.8) {
			s.build(r, table, makeTable(r), at, turnY(pick(r, 0, 0.25)+r.in(-0.03, 0.03)))
			break
		}
	}
	return s
}

// clear reports whether furniture of the given half-width fits at a point of the floor.
func (s *stage) clear(at vec, half float64) bool {
	flat := func(p vec) vec { return vec{p.x - at.x, 0, p.z - at.z} }
	if flat(s.cam.pos).len() < half+0.7 {
		return false
	}
	for i := range s.bodies {
		o := &s.bodies[i]
		if flat(o.pos).len() < half+float64(o.radius*max(o.hi.x, o.hi.z)) {
			return false
		}
	}
	return true
}

// hang puts a door, a window, a picture or nothing on a stretch of wall.
func (s *stage) hang(r rng, face int, u0, u1, height float64) {
	var k kind
	var w, h, v float64
	switch x := r.float(); {
	case x < 0.3:
		k, w, h, v = door, r.in(0.75, 1), r.in(1.9, 2.1), 0
	case x < 0.65:
		k, w, h, v = window, r.in(0.8, 1.4), r.in(0.9, 1.3), r.in(0.8, 0.95)
	case x < 0.9:
		k, w, h, v = picture, r.in(0.45, 0.9), r.in(0.4, 0.8), r.in(1.15, 1.4)
	default:
		return
	}
	if w > u1-u0 || v+h > height {
		return
	}
	u := r.in(u0, u1-w)
	p := stuff(r, k)
	frame := hsv(r.in(0.05, 0.12), r.in(0, 0.6), r.in(0.15, 1))
	switch k {
	case window, door: // two panes wide, two high, or one door
		n := 2.0
		if k == door {
			n = 1
		}
		p.scale = n / w
		p.shift = vec{-float64(u * p.scale), -float64(v * p.scale), 0}
	}
	s.back.decals = append(s.back.decals, decal{face, u, v, u + w, v + h, surface{k, p}, frame})
}

// composeStreet is a street in a town: houses and trees on both sides, cars between them.
func composeStreet(r rng, _ int) *stage {
	s := &stage{small: 0.6, big: 6}
	s.open(r, floor, pick(r, floor, grass, sand))
	s.back.ground[0].paint.scale = float64(s.back.ground[0].paint.scale * 0.5)
	s.view(r, vec{r.in(-1.5, 1.5), r.in(0.8, 2), -8}, r.in(10, 14), r.in(2, 9), r.in(48, 70), 0.03)
	s.landmarks(r, 0)
	s.daylight(r)
	s.expose(r)
	half := r.in(3.2, 5)
	put := func(k kind, radius, x, z, turn float64) {
		b := s.thing(r, k, radius)
		b.turn = turnY(turn)
		if at := (vec{x, 0, z}); s.free(&b, at) {
			s.stand(b, at)
		}
	}
	for _, side := range []float64{-1, 1} {
		for z := r.in(-3, 0); z > -45; z -= r.in(5, 9) {
			if k := pick(r, house, house, house, tree); k == house {
				radius := r.in(2.6, 4.4)
				put(k, radius, float64(side*(half+float64(radius*0.75))), z, float64(side*-0.25)+r.in(-0.03, 0.03))
			} else {
				put(k, r.in(1.4, 2.4), float64(side*(half+r.in(0.3, 2))), z, r.float())
			}
		}
	}
	for range r.between(1, 4) {
		put(car, r.in(1.5, 2.1), float64(half*r.in(-0.75, 0.75)), r.in(-22, -1), pick(r, 0.25, 0.75)+r.in(-0.04, 0.04))
	}
	for range r.between(0, 2) {
		put(pick(r, robot, snowman, lamp), r.in(0.7, 1.1), float64(half*r.in(-0.95, 0.95)), r.in(-9, 0), r.float())
	}
	return s
}

// composeHeap is a heap of things thrown together, seen from close above.
func composeHeap(r rng, _ int) *stage {
	s := &stage{small: 0.1, big: 0.3}
	s.view(r, vec{0, r.in(0.05, 0.2), 0}, r.in(1.3, 2.1), r.in(28, 75), r.in(40, 60), 0.5)
	s.hall(r, r.in(1.5, 3), r.in(2.5, 4))
	s.lamplight(r, r.in(1.4, 2.6))
	s.expose(r)
	for i := range r.between(8, 14) {
		k := pick(r, leftThings...)
		b := s.thing(r, k, r.in(0.14, 0.3))
		b.turn = turnY(r.float()).after(turnZ(r.float())).after(turnX(r.float()))
		sin, cos := sincos(r.float())
		out, high := r.in(0, 0.65), 0.0
		if i > 6 { // on those that lie there
			out, high = float64(out*0.6), r.in(0.1, 0.3)
		}
		s.stand(b, vec{float64(out * cos), high, float64(out * sin)})
	}
	return s
}

// composeWild is anything: the scenes of all sets, downstream ones among them, and mixtures that no set has.
func composeWild(r rng, _ int) *stage {
	return pick(r, composeAny, composeFine, composeBoxed, composeCut, composeRoom, composeClutter, composeStreet, composeHeap,
		composeMixed, composeMixed)(r, r.intn(1000))
}

// composeMixed is any place with any things, one of them before the camera or several about.
func composeMixed(r rng, _ int) *stage {
	s := pick(r, outdoors, plaza, indoors, tabletop, studio)(r)
	all := slices.Concat(sourceShapes, fineShapes, everydayThings)
	if r.chance(0.35) {
		b := s.thing(r, pick(r, all...), r.in(s.small, s.big))
		if r.chance(0.5) {
			for i := range b.paints {
				p := &b.paints[i]
				p.b = unlike(r, p.a)
				fineMaterials[r.intn(len(fineMaterials))].paint(r, p)
			}
		}
		s.portrait(r, b, r.in(0.6, 0.95))
		return s
	}
	s.scatter(r, r.between(1, 6), all, 0.2, 1)
	return s
}
