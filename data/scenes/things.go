package scenes

// The solids of the downstream sets: everyday things put together from pieces, none of which has a
// counterpart in the label spaces of the source sets. Every part is painted at random.

func makeMushroom(r rng) *solid {
	h, w := r.in(0.7, 1.1), r.in(0.85, 1.05)
	cap := globe(vec{0, h, 0}, vec{w, r.in(0.55, 0.8), w})
	cap.lo.y = h - 0.08
	return newSolid(frustum(0, 0, 0, r.in(0.34, 0.42), h, 0.26), cap.painted(1))
}

func makeHouse(r rng) *solid {
	w, h, l := r.in(0.6, 0.8), r.in(0.6, 0.9), r.in(0.7, 1.1)
	top := h + r.in(0.5, 0.8)
	eave := w + 0.14
	return newSolid(
		block(-w, 0, -l, w, h, l),
		prism(-l-0.1, l+0.1, [2]float64{-eave, h}, [2]float64{eave, h}, [2]float64{0, top}).painted(1),
		block(float64(w*0.35), h, float64(l*0.3), float64(w*0.65), top+0.1, float64(l*0.6)).painted(2), // chimney
		block(-0.17, 0, l, 0.17, float64(h*0.62), l+0.03).painted(2),                                   // door
		block(w, float64(h*0.35), -0.25, w+0.03, float64(h*0.75), 0.25).painted(2),                     // windows
		block(-w-0.03, float64(h*0.35), -0.25, -w, float64(h*0.75), 0.25).painted(2))
}

func makeSnowman(r rng) *solid {
	a, b, c := 0.62, r.in(0.44, 0.5), r.in(0.28, 0.34)
	y1 := a + float64(0.75*b) + 0.3
	y2 := y1 + b + float64(0.6*c)
	ball := func(y, r float64) piece { return globe(vec{0, y, 0}, vec{r, r, r}) }
	return newSolid(ball(a, a), ball(y1, b), ball(y2, c),
		rod(1, 0, 0, y2+float64(c*0.6), y2+float64(c*0.75), float64(c*1.15)).painted(1), // hat
		rod(1, 0, 0, y2+float64(c*0.7), y2+float64(c*1.6), float64(c*0.72)).painted(1))
}

func makeMug(r rng) *solid {
	h, in := r.in(1.5, 2.1), r.in(0.8, 0.86)
	grip := r.in(0.42, 0.5)
	cup := rod(1, 0, 0, 0, h, 1).minus(rod(1, 0, 0, 0.12, h+1, in))
	handle := hoop(vec{1.08, float64(h * 0.52), 0}, 2, grip, 0.14)
	handle.lo.x = 0.97 // not into the cup
	return newSolid(cup, handle.painted(1))
}

func makeCar(r rng) *solid {
	l, w := r.in(0.95, 1.15), r.in(0.42, 0.5)
	wheel := r.in(0.2, 0.25)
	sill, belt, roof := float64(wheel*0.9), wheel+r.in(0.28, 0.36), wheel+r.in(0.62, 0.78)
	front, back := float64(l*r.in(0.35, 0.55)), -float64(l*r.in(0.6, 0.9))
	pieces := []piece{
		block(-l, sill, -w, l, belt, w),
		prism(-w+0.04, w-0.04, [2]float64{back - 0.1, belt}, [2]float64{front + 0.2, belt},
			[2]float64{front - 0.2, roof}, [2]float64{back + 0.12, roof}).painted(1),
	}
	for _, x := range []float64{-0.6, 0.6} {
		for _, z := range []float64{-w, w} {
			pieces = append(pieces, rod(2, float64(x*l), wheel, z-0.08, z+0.08, wheel).painted(2))
		}
	}
	return newSolid(pieces...)
}

func makeTree(r rng) *solid {
	trunk := frustum(0, 0, 0, 0.17, 0.75, 0.13)
	if r.chance(0.5) { // a fir
		w := r.in(0.62, 0.8)
		return newSolid(trunk,
			frustum(0, 0, 0.5, w, 1.25, 0.1).painted(1),
			frustum(0, 0, 0.95, float64(w*0.78), 1.65, 0.07).painted(1),
			frustum(0, 0, 1.4, float64(w*0.55), 2.1, 0.01).painted(1))
	}
	crown := []piece{trunk}
	for i := range 4 {
		s, c := sincos(float64(float64(i)/4) + r.in(0, 0.1))
		k := r.in(0.42, 0.55)
		crown = append(crown, globe(vec{float64(0.33 * c), 1.05 + r.in(-0.1, 0.2), float64(0.33 * s)}, vec{k, k, k}).painted(1))
	}
	return newSolid(append(crown, globe(vec{0, 1.5, 0}, vec{0.5, 0.45, 0.5}).painted(1))...)
}

func makeBottle(r rng) *solid {
	w, shoulder := r.in(0.42, 0.55), r.in(1.1, 1.4)
	neck := float64(w * r.in(0.3, 0.42))
	top := shoulder + r.in(0.75, 0.95)
	return newSolid(
		rod(1, 0, 0, 0, shoulder, w),
		frustum(0, 0, shoulder, w, shoulder+0.35, neck),
		rod(1, 0, 0, shoulder+0.3, top, neck),
		rod(1, 0, 0, top-0.14, top+0.02, neck+0.05).painted(1),
		rod(1, 0, 0, float64(shoulder*0.3), float64(shoulder*0.8), w+0.012).painted(2)) // label
}

func makeChair(r rng) *solid {
	w, seat, leg := r.in(0.42, 0.5), r.in(0.75, 0.95), 0.07
	back := seat + r.in(0.75, 1.05)
	pieces := []piece{block(-w, seat, -w, w, seat+0.12, w).painted(1)}
	for _, x := range []float64{-w, w - float64(2*leg)} {
		for _, z := range []float64{-w, w - float64(2*leg)} {
			pieces = append(pieces, block(x, 0, z, x+float64(2*leg), seat, z+float64(2*leg)))
		}
	}
	if r.chance(0.5) { // a full back
		return newSolid(append(pieces, block(-w, seat, -w, w, back, -w+0.1).painted(1))...)
	}
	return newSolid(append(pieces, // two bars between posts
		block(-w, seat, -w, -w+0.12, back, -w+0.12), block(w-0.12, seat, -w, w, back, -w+0.12),
		block(-w, back-0.26, -w+0.01, w, back, -w+0.11).painted(1),
		block(-w, seat+0.3, -w+0.01, w, seat+0.48, -w+0.11).painted(1))...)
}

func makeDumbbell(r rng) *solid {
	l, k := r.in(0.75, 1), r.in(0.42, 0.55)
	bar := rod(0, k, 0, -l, l, 0.13)
	if r.chance(0.5) {
		return newSolid(bar, globe(vec{-l, k, 0}, vec{k, k, k}).painted(1), globe(vec{l, k, 0}, vec{k, k, k}).painted(1))
	}
	return newSolid(bar,
		rod(0, k, 0, -l-0.2, -l+0.2, k).painted(1), rod(0, k, 0, l-0.2, l+0.2, k).painted(1))
}

func makeLamp(r rng) *solid {
	h, w := r.in(1.5, 1.9), r.in(0.55, 0.7)
	return newSolid(
		rod(1, 0, 0, 0, 0.1, r.in(0.36, 0.46)),
		rod(1, 0, 0, 0.1, h, 0.07),
		frustum(0, 0, h-0.35, w, h+0.35, float64(w*r.in(0.45, 0.7))).painted(1))
}

func makeRobot(r rng) *solid {
	w, h := r.in(0.4, 0.5), r.in(0.7, 0.85)
	head := r.in(0.26, 0.32)
	neck := 0.55 + h + 0.1
	return newSolid(
		block(-w, 0.55, -0.28, w, 0.55+h, 0.28),
		block(-head, neck, -0.25, head, neck+float64(1.5*head), 0.25).painted(1),
		rod(1, 0, 0, 0.5+h, neck+0.05, 0.1),
		rod(1, 0, 0, neck+float64(1.5*head), neck+float64(2.3*head), 0.04), // antenna
		block(-w+0.04, 0, -0.2, -0.08, 0.56, 0.2).painted(1), block(0.08, 0, -0.2, w-0.04, 0.56, 0.2).painted(1),
		block(-w-0.22, 0.5, -0.13, -w-0.04, 0.5+h, 0.13).painted(1), block(w+0.04, 0.5, -0.13, w+0.22, 0.5+h, 0.13).painted(1),
		globe(vec{float64(head * 0.45), neck + float64(head*0.9), 0.26}, vec{0.08, 0.08, 0.08}).painted(2), // eyes
		globe(vec{float64(head * -0.45), neck + float64(head*0.9), 0.26}, vec{0.08, 0.08, 0.08}).painted(2))
}

func makeRocket(r rng) *solid {
	w, h := r.in(0.32, 0.4), r.in(1.1, 1.4)
	fin := float64(w * r.in(1.9, 2.3))
	pieces := []piece{
		rod(1, 0, 0, 0.25, h, w),
		frustum(0, 0, h, w, h+r.in(0.55, 0.75), 0.01).painted(1),
		frustum(0, 0, 0.1, float64(w*0.75), 0.25, float64(w*0.5)).painted(2),
		globe(vec{0, float64(h * 0.7), w}, vec{0.14, 0.14, 0.06}).painted(2), // porthole
	}
	for i := range 2 {
		wing := prism(-0.04, 0.04, [2]float64{-fin, 0}, [2]float64{fin, 0}, [2]float64{0, 1.05})
		if i == 1 { // across the first: x and z change places
			wing = prismX(-0.04, 0.04, [2]float64{-fin, 0}, [2]float64{fin, 0}, [2]float64{0, 1.05})
		}
		pieces = append(pieces, wing.painted(1))
	}
	return newSolid(pieces...)
}

// prismX extrudes a convex polygon of the (z, y) plane along x.
func prismX(x0, x1 float64, zy ...[2]float64) piece {
	p := prism(x0, x1, zy...)
	swap := func(v vec) vec { return vec{v.z, v.y, v.x} }
	p.lo, p.hi = swap(p.lo), swap(p.hi)
	for i := range p.planes {
		p.planes[i].n = swap(p.planes[i].n)
	}
	for i := range p.hull {
		p.hull[i].c = swap(p.hull[i].c)
	}
	return p
}

// Furniture, modelled in metres: see furnish.

func makeTable(r rng) *solid { return tableOf(r.in(0.5, 0.9), r.in(0.35, 0.55), r.in(0.68, 0.78)) }

// tableOf is a table of half-width x, half-depth z and height h.
func tableOf(x, z, h float64) *solid {
	pieces := []piece{block(-x, h-0.06, -z, x, h, z)}
	for _, sx := range []float64{-1, 1} {
		for _, sz := range []float64{-1, 1} {
			lx, lz := float64(sx*(x-0.07)), float64(sz*(z-0.07))
			pieces = append(pieces, block(lx-0.04, 0, lz-0.04, lx+0.04, h-0.06, lz+0.04).painted(1))
		}
	}
	return newSolid(pieces...)
}

func makeSofa(r rng) *solid {
	w, deep := r.in(0.7, 1.1), 0.42
	return newSolid(
		block(-w, 0.06, -deep, w, 0.42, deep),
		block(-w, 0.42, -deep, w, r.in(0.75, 0.95), -deep+0.22),
		block(-w-0.16, 0.06, -deep, -w, 0.6, deep).painted(1),
		block(w, 0.06, -deep, w+0.16, 0.6, deep).painted(1))
}

func makeCabinet(r rng) *solid {
	w, h, deep := r.in(0.35, 0.7), r.in(0.9, 1.9), r.in(0.2, 0.3)
	pieces := []piece{block(-w, 0, -deep, w, h, deep)}
	for _, x := range []float64{-w / 2, w / 2} { // two doors with a knob each
		k := float64(w/2) - 0.03
		pieces = append(pieces, block(x-k, 0.06, deep, x+k, h-0.06, deep+0.02).painted(1),
			globe(vec{float64(x * 0.25), h / 2, deep + 0.04}, vec{0.03, 0.03, 0.03}))
	}
	return newSolid(pieces...)
}
