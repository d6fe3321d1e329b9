package scenes

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"image"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"

	"must/data"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

func open(t testing.TB, set, split string) data.Dataset {
	t.Helper()
	d, err := Open(data.Source{Set: set, Split: split, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sample(t testing.TB, d data.Dataset, i int) *data.Sample {
	t.Helper()
	s, err := d.Sample(i)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// digest sums up the pixels and all labels of a sample.
func digest(s *data.Sample) string {
	h := sha256.New()
	put := func(v any) {
		if err := binary.Write(h, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	put(s.Image.Pix)
	put(classification.Of(s))
	for _, o := range detection.Of(s) {
		put(o.Box)
		put(int32(o.Class))
		if o.Mask != nil {
			put(o.Mask.Pix)
		}
	}
	if segmentation.Of(s) != nil {
		put(segmentation.Of(s).Pix)
	}
	if depth.Of(s) != nil {
		for _, v := range depth.Of(s).Pix {
			if v != v { // NaNs have many bit patterns
				v = -1
			}
			put(v)
		}
	}
	if normals.Of(s) != nil {
		for _, n := range normals.Of(s).Pix {
			put([3]float32{n[0] + 0, n[1] + 0, n[2] + 0}) // no negative zeros
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// golden holds what every machine must render. A change here is a change of the embedded world:
// say so in the change log.
var golden = map[string]string{
	"objects":      "fece1d0d47a0d89f f8780fb7eeebc07e 454aee0058a004b5",
	"crowds":       "c8a9cf52ac3e580f 8b1c9777d623cf6f 25c9c73a05145575",
	"stuff":        "097fd1111deeacc6 04cc6d37f7b0ec73 6c4cfe794d2b4589",
	"ranges":       "fb04f0e61f7fae69 64c67f1c4c1b2b8b 41ffffdb2344ad54",
	"unlabelled":   "19cc8fa7d4056179 a456f8afb9bf85a0 368dc047a31da833",
	"wild":         "69213a917f0d9a17 e82b559eeca7dd6f 3233f43eafc8e670",
	"fine":         "0443b7d654970982 24c15635ac3e8464 3bb20fe1b56540fa",
	"boxes":        "9bf0c17905f76fd3 cc34a844a0492bc4 af0fef265259781d",
	"things":       "e4a573146ea43eb4 c4064a413ae6e895 eb33dbc8275800af",
	"rooms":        "f16c8b88db836c63 56ae39b6eced5963 5bb1dd249b67b79d",
	"street-depth": "32eda4a5a51de554 00f0a76e116bb605 cbc621375c40a4a2",
	"heap-normals": "42f53815abbc1aae ce4c633a66b372ff 0a7c50b344ebd4d7",
	"room-depth":   "b8ed4c9ef126c1e4 f19c6455f303a724 b7b84ca2b95bb2df",
	"room-normals": "ff3248fd38248f30 9268f3a62992d59a 8425ba056e127e23",
}

func TestSamePixelsEverywhere(t *testing.T) {
	for _, set := range Sets() {
		d := open(t, set.Name, "train")
		var sums []string
		for _, i := range []int{0, 1, 7} {
			sums = append(sums, digest(sample(t, d, i)))
		}
		if got := strings.Join(sums, " "); got != golden[set.Name] {
			t.Errorf("%q: %q,", set.Name, got)
		}
	}
}

func TestEverySetHasItsLabelsOnly(t *testing.T) {
	want := map[string]string{
		"objects": classification.Name, "crowds": detection.Name, "stuff": detection.Name + segmentation.Name,
		"ranges": depth.Name, "unlabelled": "", "fine": classification.Name, "boxes": detection.Name,
		"things": segmentation.Name, "rooms": segmentation.Name, "wild": "", "street-depth": depth.Name, "heap-normals": normals.Name, "room-depth": depth.Name, "room-normals": normals.Name,
	}
	for _, set := range Sets() {
		d := open(t, set.Name, "val")
		s := sample(t, d, 2)
		var declared, found string
		for _, task := range data.Tasks() {
			if d.Labels().Has(task) {
				declared += task
			}
			if s.Has(task) {
				found += task
			}
		}
		if declared != want[set.Name] || found != want[set.Name] {
			t.Errorf("%s: declares %q, has %q, want %q", set.Name, declared, found, want[set.Name])
		}
		if s.Key != d.Key(2) || s.Key != set.Name+"/val/000002" {
			t.Errorf("%s: key %q and %q", set.Name, s.Key, d.Key(2))
		}
		for i := 3; i < len(s.Image.Pix); i += 4 {
			if s.Image.Pix[i] != 255 {
				t.Fatalf("%s: image is not opaque", set.Name)
			}
		}
	}
	if !reflect.DeepEqual(open(t, "crowds", "val").Labels()[detection.Name].Classes, open(t, "stuff", "val").Labels()[detection.Name].Classes) {
		t.Error("crowds and stuff name different objects")
	}
}

func TestObjectsAgreeWithMasksAndMap(t *testing.T) {
	d := open(t, "stuff", "train")
	l := d.Labels()
	for i := range 40 {
		s := sample(t, d, i)
		owner := make([]int, 64*64)
		for j, o := range detection.Of(s) {
			var tight image.Rectangle
			area := 0
			for y := range 64 {
				for x := range 64 {
					if !o.Mask.At(x, y) {
						continue
					}
					tight = tight.Union(image.Rect(x, y, x+1, y+1))
					area++
					if owner[y*64+x] != 0 {
						t.Fatalf("image %d: masks overlap at %d, %d", i, x, y)
					}
					owner[y*64+x] = j + 1
				}
			}
			if box := (data.Box{X0: float64(tight.Min.X), Y0: float64(tight.Min.Y), X1: float64(tight.Max.X), Y1: float64(tight.Max.Y)}); box != o.Box || tight != o.Mask.Rect {
				t.Errorf("image %d object %d: box %v, mask spans %v", i, j, o.Box, tight)
			}
			if area != int(o.Area) || area < 64*64/100 || o.Score != 1 {
				t.Errorf("image %d object %d: area %v, mask has %d pixels, score %v", i, j, o.Area, area, o.Score)
			}
		}
		for p, c := range segmentation.Of(s).Pix {
			if c == data.Ignore {
				t.Fatalf("image %d: pixel %d has no class", i, p)
			}
			want := ""
			if owner[p] > 0 {
				want = l[detection.Name].Classes[detection.Of(s)[owner[p]-1].Class]
			} else if int(c) >= len(l[segmentation.Name].Classes)-len(l[detection.Name].Classes) {
				t.Fatalf("image %d: pixel %d is %s but belongs to no object", i, p, l[segmentation.Name].Classes[c])
			}
			if want != "" && l[segmentation.Name].Classes[c] != want {
				t.Fatalf("image %d: pixel %d is %s in the map, %s in the mask", i, p, l[segmentation.Name].Classes[c], want)
			}
		}
	}
}

// The oracle of a set has its images to the last pixel, its own labels, and those of the other source sets.
func TestOracle(t *testing.T) {
	for _, set := range []string{"objects", "crowds", "stuff", "ranges", "wild", "heap-normals"} {
		plain, all := open(t, set, "train"), open(t, set+Oracle, "train")
		if got := all.Labels().Tasks(); len(got) != 5 {
			t.Fatalf("%s has labels for %v", set, got)
		}
		for _, task := range []struct{ name, of string }{{classification.Name, "objects"}, {detection.Name, "crowds"}, {segmentation.Name, "stuff"}, {depth.Name, "ranges"}} {
			if err := all.Labels().Conflict(open(t, task.of, "train").Labels(), task.name); err != nil {
				t.Errorf("%s: %v", set, err)
			}
		}
		for i := range 12 {
			own, s := sample(t, plain, i), sample(t, all, i)
			if own.Key != s.Key || !reflect.DeepEqual(own.Image, s.Image) {
				t.Fatalf("%s, image %d: other pixels or another key", set, i)
			}
			if c := classification.Of(own); c != nil && !reflect.DeepEqual(c, classification.Of(s)) {
				t.Errorf("%s, image %d: classes %v, want %v", set, i, classification.Of(s), c)
			}
			if o := detection.Of(own); o != nil {
				var boxes, want []data.Box
				for _, o := range o {
					want = append(want, o.Box)
				}
				for _, o := range detection.Of(s) {
					if o.Crowd {
						t.Errorf("%s, image %d: %v is hidden, where nothing hidden is left", set, i, o.Box)
					}
					boxes = append(boxes, o.Box)
				}
				if !reflect.DeepEqual(boxes, want) {
					t.Errorf("%s, image %d: boxes %v, want %v", set, i, boxes, want)
				}
			}
			if m := segmentation.Of(own); m != nil && !reflect.DeepEqual(m, segmentation.Of(s)) {
				t.Errorf("%s, image %d: another map", set, i)
			}
			if !s.Has(depth.Name) || !s.Has(normals.Name) || !s.Has(detection.Name) {
				t.Errorf("%s, image %d lacks a label", set, i)
			}
		}
	}
	hidden, shown := 0, 0
	d := open(t, "wild"+Oracle, "train")
	for i := range 150 {
		for _, o := range detection.Of(sample(t, d, i)) {
			if o.Crowd {
				hidden++
			} else {
				shown++
			}
		}
	}
	if hidden == 0 || shown < 50 {
		t.Errorf("%d objects are hidden, %d shown", hidden, shown)
	}
}

// In the wild there is everything: each kind of thing and of ground, in the open and in rooms, near and far.
func TestWildHasEverything(t *testing.T) {
	seen, rooms, far := map[kind]int{}, 0, 0
	const n = 1200
	for i := range n {
		s := composeWild(newRNG(1, "wild", "train", i), i)
		for _, b := range s.bodies {
			seen[b.kind]++
		}
		for _, d := range s.back.decals {
			seen[d.kind]++
		}
		if s.back.room {
			rooms++
			for _, f := range s.back.faces {
				seen[f.kind]++
			}
		} else {
			seen[sky]++
			seen[s.back.ground[0].kind]++
			seen[s.back.ground[1].kind]++
		}
		if len(s.bodies) > 0 && s.bodies[0].pos.sub(s.cam.pos).len() > 6 {
			far++
		}
	}
	for k := range background {
		if seen[k] < n/100 {
			t.Errorf("%s is in %d of %d images", kindNames[k], seen[k], n)
		}
	}
	if rooms < n/4 || rooms > n*3/4 || far < n/20 {
		t.Errorf("%d rooms, %d wide scenes of %d", rooms, far, n)
	}
}

// No camera stands inside a thing.
func TestCamerasAreOutside(t *testing.T) {
	for _, set := range sets {
		for i := range 40 {
			s := set.compose(newRNG(2, set.name, "train", i), i)
			for _, b := range s.bodies {
				if b.kind == wall || b.kind == table {
					continue
				}
				eye := b.local(s.cam.pos)
				if eye == eye.max(b.lo).min(b.hi) {
					t.Errorf("%s, image %d: the camera is in a %s", set.name, i, kindNames[b.kind])
				}
			}
		}
	}
}

// everything is a set with all dense labels of the given scenes.
func everything(compose func(rng, int) *stage) *set {
	return &set{compose: compose, depth: true, normals: true}
}

func TestDepthMatchesGeometry(t *testing.T) {
	for i := range 20 {
		s := composeRange(newRNG(3, "depth", "test", i), i)
		for j := range s.bodies {
			s.bodies[j].frame(&s.cam)
		}
		sv := s.survey(64, func(kind) bool { return false })
		var got data.Sample
		s.label(&got, everything(nil), 64, sv)
		for p, at := range sv.spots {
			z := float64(depth.Of(&got).Pix[p])
			if at.kind == sky {
				if z == z {
					t.Fatalf("the sky has depth %v", z)
				}
				continue
			}
			onFloor := at.body < 0 && (!s.back.room || at.face == 2)
			if !onFloor || z != z {
				continue
			}
			// The camera's height over its drop per metre of depth.
			ray := s.cam.ray(float64(2*(p%64)+1)/64-1, float64(2*(p/64)+1)/64-1)
			if want := s.cam.pos.y / -ray.y; math.Abs(z-want) > 1e-5*want {
				t.Fatalf("image %d pixel %d: floor at depth %v, want %v", i, p, z, want)
			}
		}
	}
}

func TestNormalsAreTheSlopeOfDepth(t *testing.T) {
	const size = 128
	var angles []float64
	for i := range 6 {
		s := composeClutter(newRNG(4, "normals", "test", i), i)
		for j := range s.bodies {
			s.bodies[j].frame(&s.cam)
		}
		var got data.Sample
		s.label(&got, everything(nil), size, s.survey(size, func(kind) bool { return false }))
		point := func(x, y int) vec {
			z := float64(depth.Of(&got).At(x, y))
			k := s.cam.tan * z
			return vec{(float64(2*x+1)/size - 1) * k, (float64(2*y+1)/size - 1) * k, z}
		}
		for y := 1; y < size-1; y++ {
			for x := 1; x < size-1; x++ {
				n := normals.Of(&got).At(x, y)
				v := vec{float64(n[0]), float64(n[1]), float64(n[2])}
				if math.Abs(v.len()-1) > 1e-5 {
					t.Fatalf("normal %v is no unit vector", v)
				}
				if v.dot(point(x, y)) > 1e-4 {
					t.Fatalf("normal %v at %d, %d faces away from the camera", v, x, y)
				}
				z := depth.Of(&got).At(x, y)
				bend := depth.Of(&got).At(x-1, y) + depth.Of(&got).At(x+1, y) + depth.Of(&got).At(x, y-1) + depth.Of(&got).At(x, y+1) - 4*z
				if math.Abs(float64(bend)) > 0.002*float64(z) {
					continue // an edge
				}
				slope := point(x+1, y).sub(point(x-1, y)).cross(point(x, y+1).sub(point(x, y-1))).unit().neg()
				// The same holds in the mirror: x turns its sign in both.
				angles = append(angles, math.Acos(min(1, v.dot(slope)))*180/math.Pi)
			}
		}
	}
	off := 0
	for _, a := range angles {
		if a > 5 {
			off++
		}
	}
	if len(angles) < 6*size*size/2 || off > len(angles)/50 {
		t.Errorf("%d of %d normals differ from the slope of depth by more than 5°", off, len(angles))
	}
}

func TestRaysMeetSolidsFromOutside(t *testing.T) {
	for k := range kinds {
		if makers[k] == nil {
			continue
		}
		r := newRNG(5, kindNames[k], "test", 0)
		hits := 0
		for range 20 {
			m := makers[k](r)
			for range 50 {
				from := vec{r.in(-1, 1), r.in(-1, 1), r.in(-1, 1)}.unit().scale(3)
				to := vec{r.in(-0.5, 0.5), r.in(-0.5, 0.5), r.in(-0.5, 0.5)}
				d := to.sub(from)
				b := body{solid: m}
				at, piece, face := b.hit(from, d, far)
				if piece < 0 {
					continue
				}
				hits++
				p := from.along(at, d)
				n := m.parts[piece].normal(face, p)
				if n.dot(d) > 1e-3 || math.Abs(n.len()-1) > 1e-6 {
					t.Fatalf("%s: normal %v along the ray %v", kindNames[k], n, d)
				}
				const eps = 1e-5
				if p.len() > 1+eps || p != p.max(m.lo.sub(vec{eps, eps, eps})).min(m.hi.add(vec{eps, eps, eps})) {
					t.Fatalf("%s: hit at %v, outside its bounds", kindNames[k], p)
				}
			}
		}
		if hits < 100 {
			t.Errorf("%s: only %d of 1000 rays hit it", kindNames[k], hits)
		}
	}
}

func TestTrigonometry(t *testing.T) {
	for x := -3.0; x < 3; x += 0.01 {
		s, c := sincos(x)
		if math.Abs(s-math.Sin(2*math.Pi*x)) > 1e-13 || math.Abs(c-math.Cos(2*math.Pi*x)) > 1e-13 {
			t.Fatalf("sincos(%v) = %v, %v", x, s, c)
		}
	}
}

func TestImagesAreIndependent(t *testing.T) {
	seen := map[string]string{}
	for _, split := range Splits {
		d := open(t, "crowds", split)
		for i := range 10 {
			s := sample(t, d, i)
			key := string(s.Image.Pix)
			if other, ok := seen[key]; ok {
				t.Errorf("%s and %s are the same image", s.Key, other)
			}
			seen[key] = s.Key
		}
	}
	few, err := Open(data.Source{Set: "crowds", Split: "train", Seed: 1, Count: 10})
	if err != nil {
		t.Fatal(err)
	}
	if digest(sample(t, few, 9)) != digest(sample(t, open(t, "crowds", "train"), 9)) {
		t.Error("an image depends on the count")
	}
	other, err := Open(data.Source{Set: "crowds", Split: "train", Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	if digest(sample(t, few, 9)) == digest(sample(t, other, 9)) {
		t.Error("an image does not depend on the seed")
	}
}

func TestConcurrentUse(t *testing.T) {
	d := Cached(open(t, "stuff", "train"), 1<<20)
	want := make([]string, 8)
	for i := range want {
		want[i] = digest(sample(t, open(t, "stuff", "train"), i))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range want {
				s, err := d.Sample(i)
				if err != nil || digest(s) != want[i] {
					t.Errorf("sample %d differs when read concurrently (%v)", i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClassesAreBalanced(t *testing.T) {
	for _, name := range []string{"objects", "fine"} {
		d := open(t, name, "train").(*dataset)
		counts := make([]int, len(d.classes))
		for i := range 2 * len(d.classes) {
			for c, p := range classification.Of(sample(t, d, i)) {
				counts[c] += int(p)
			}
		}
		for c, n := range counts {
			if n != 2 {
				t.Errorf("%s: class %s has %d images of %d", name, d.classes[c], n, 2*len(counts))
			}
		}
	}
	for _, name := range []string{"crowds", "boxes", "things"} {
		d := open(t, name, "train").(*dataset)
		of := d.detect
		if of == nil {
			of = d.segment[1:]
		}
		counts, total, empty := map[kind]int{}, 0, 0
		const images = 300
		for i := range images {
			before := total
			for _, b := range d.compose(newRNG(1, name, "train", i), i).bodies {
				if b.kind >= ball && b.kind < table {
					counts[b.kind]++
					total++
				}
			}
			if total == before {
				empty++
			}
		}
		for _, k := range of {
			if share := float64(counts[k]*len(of)) / float64(total); share < 0.7 || share > 1.3 {
				t.Errorf("%s: %s is %.2f times as frequent as the mean", name, kindNames[k], share)
			}
		}
		if empty > images/20 {
			t.Errorf("%s: %d of %d scenes are empty", name, empty, images)
		}
	}
}

func TestEverySegmentOccurs(t *testing.T) {
	for _, name := range []string{"stuff", "things", "rooms"} {
		d := open(t, name, "val")
		classes := d.Labels()[segmentation.Name].Classes
		images := make([]int, 256)
		const n = 60
		for i := range n {
			var here [256]bool
			for _, c := range segmentation.Of(sample(t, d, i)).Pix {
				here[c] = true
			}
			for c, ok := range here {
				if ok {
					images[c]++
				}
			}
		}
		for c, class := range classes {
			if images[c] < n/12 {
				t.Errorf("%s: %s is in %d of %d images", name, class, images[c], n)
			}
		}
		if images[data.Ignore] > 0 {
			t.Errorf("%s: pixels of %d images have no class", name, images[data.Ignore])
		}
	}
}

func TestSizes(t *testing.T) {
	for _, size := range []int{MinSize, 96} {
		d, err := Open(data.Source{Set: "stuff", Split: "test", Size: size, Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		s := sample(t, d, 0)
		if s.Image.Rect != image.Rect(0, 0, size, size) || segmentation.Of(s).W != size || segmentation.Of(s).H != size {
			t.Errorf("size %d gave an image of %v", size, s.Image.Rect)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		src  data.Source
		want string
	}{
		{data.Source{Set: "crowd", Split: "train"}, `no set "crowd"; use one of objects, crowds`},
		{data.Source{Set: "crowds", Split: "valid"}, `no split "valid"; use one of train, val, test`},
		{data.Source{Set: "crowds"}, `no split ""`},
		{data.Source{Set: "crowds", Split: "val", Count: -1}, "count -1 is negative"},
		{data.Source{Set: "crowds", Split: "val", Size: 8}, "size 8 is not between 16 and 1024"},
		{data.Source{Set: "crowds", Split: "val", Size: 5000}, "size 5000 is not between"},
	} {
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%+v): %v, want %q", c.src, err, c.want)
		}
	}
	for _, i := range []int{-1, 500} {
		if _, err := Cached(open(t, "crowds", "val"), 1e6).Sample(i); err == nil {
			t.Errorf("sample %d of 500 is no error", i)
		}
	}
}

func TestCachedGivesFreshCopies(t *testing.T) {
	for _, set := range Sets() {
		ds := open(t, set.Name, "val")
		c := Cached(ds, 1<<20)
		want := sample(t, ds, 3)
		sample(t, c, 3).Image.Pix[0]++ // the first is the caller's, too
		a, b := sample(t, c, 3), sample(t, c, 3)
		if digest(a) != digest(want) || digest(b) != digest(want) || a.Key != want.Key {
			t.Errorf("%s: the cached sample differs", set.Name)
		}
		clear(a.Image.Pix)
		clear(classification.Of(a))
		for _, o := range detection.Of(a) {
			o.Mask = nil
		}
		if segmentation.Of(a) != nil {
			clear(segmentation.Of(a).Pix)
		}
		if depth.Of(a) != nil {
			clear(depth.Of(a).Pix)
		}
		if digest(b) != digest(want) || digest(sample(t, c, 3)) != digest(want) {
			t.Errorf("%s: cached samples share memory", set.Name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	ds := open(t, "ranges", "val")
	one := bytes(sample(t, ds, 0))
	if one > 30<<10 {
		t.Errorf("a depth sample takes %d bytes", one)
	}
	c := Cached(ds, 3*one).(*cached)
	for range 2 {
		for i := range 6 {
			sample(t, c, i)
		}
	}
	kept := 0
	for i := range c.kept {
		if c.kept[i].Load() != nil {
			kept++
		}
	}
	if kept != 3 || c.used != 3*one {
		t.Errorf("%d samples and %d bytes kept, want 3 and %d", kept, c.used, 3*one)
	}
}
