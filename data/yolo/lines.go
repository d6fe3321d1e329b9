package yolo

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/frame"
	"must/data/text"
	"must/metric/rle"
)

// A spec says what lines hold beyond a class and a box of four numbers. It is declared (kpt_shape in data.yaml,
// Source.Lines), or told by all lines of a set.
type spec struct {
	kind         string // declared, one of kinds; "": told
	points, dims int    // of a pose: points, and numbers of each
	polygons     bool   // lines of six numbers and more are corners
}

// The kinds of lines that can be declared.
const (
	boxScore     = "box score"
	boxID        = "box id"
	boxScoreID   = "box score id"
	polygon      = "polygon"
	polygonScore = "polygon score"
)

var kinds = []string{"box", boxScore, boxID, boxScoreID, polygon, polygonScore}

func declared(lines string) (spec, error) {
	kind := strings.Join(strings.FieldsFunc(lines, func(r rune) bool { return strings.ContainsRune(" ,+-_", r) }), " ")
	if kind != "" && !slices.Contains(kinds, kind) {
		return spec{}, fmt.Errorf("lines is %q, want what stands behind the class in them: %s (or kpt_shape in data.yaml)", lines, strings.Join(kinds, ", "))
	}
	return spec{kind: kind, polygons: strings.HasPrefix(kind, polygon)}, nil
}

// pose takes the kpt_shape of a data.yaml.
func (s *spec) pose(shape []int) error {
	switch {
	case shape == nil:
		return nil
	case len(shape) != 2 || shape[0] < 1 || shape[0] > 10000 || shape[1] != 2 && shape[1] != 3:
		return fmt.Errorf("kpt_shape is %v, want the number of points and 2 or 3 numbers of each", shape)
	case s.kind != "":
		return fmt.Errorf("lines is %q, but kpt_shape says that they are poses: leave lines out", s.kind)
	}
	s.points, s.dims = shape[0], shape[1]
	return nil
}

// evidence is what the lines of a set tell of what they hold.
type evidence struct {
	lines   map[int]int    // by how many numbers follow the class
	example map[int]string // a file and line of each
	beyond  int            // lines of six numbers and more whose first four are no box inside the image
}

func (e *evidence) read(content, file string) {
	e.lines, e.example = map[int]int{}, map[int]string{}
	for n, line := range text.Lines(content) {
		fields := strings.Fields(line)
		count := len(fields) - 1
		if line[0] == '#' || count < 4 {
			continue
		}
		if e.lines[count]++; e.example[count] == "" {
			e.example[count] = fmt.Sprintf("%s:%d", file, n)
		}
		var v [4]float64
		for i := range v {
			v[i], _ = strconv.ParseFloat(fields[1+i], 64)
		}
		const out = 0.1 // by more than rounding
		if count >= 6 && (v[0]-v[2]/2 < -out || v[0]+v[2]/2 > 1+out || v[1]-v[3]/2 < -out || v[1]+v[3]/2 > 1+out) {
			e.beyond++
		}
	}
}

func (e *evidence) add(f evidence) {
	if e.lines == nil {
		e.lines, e.example = map[int]int{}, map[int]string{}
	}
	for n, c := range f.lines {
		if e.lines[n] += c; e.example[n] == "" || f.example[n] < e.example[n] {
			e.example[n] = f.example[n]
		}
	}
	e.beyond += f.beyond
}

// tell concludes what lines hold where nothing is declared. A pose has as many numbers in all lines, of which the
// first four are a box inside the image; polygons differ in their corners, or have corners there that are no such box.
func (s *spec) tell(e evidence) error {
	if s.kind != "" || s.points > 0 {
		return nil
	}
	var long, odd []int // counts of six and more
	all, unsure := 0, 0
	for _, n := range slices.Sorted(maps.Keys(e.lines)) {
		all += e.lines[n]
		switch {
		case n < 6:
			continue
		case n%2 == 0:
			long = append(long, n)
		default:
			odd = append(odd, n)
		}
		unsure += e.lines[n]
	}
	if len(long) > 0 && (e.beyond > 0 || len(long) > 1 && long[len(long)-1] >= 8 || e.lines[4] > 0 && long[0] >= 8) {
		s.polygons = true
		return nil
	}
	if 2*unsure < all || unsure == 0 { // a few lines are errors of their images
		return nil
	}
	n := append(long, odd...)[0]
	return fmt.Errorf("%s: %w", e.example[n], undeclared(n))
}

// undeclared is the error of lines that could be several things.
func undeclared(n int) error {
	switch {
	case n%2 == 1:
		return fmt.Errorf("%d numbers behind the class are neither a box nor pairs of corners: declare what they are, by kpt_shape in data.yaml (poses) or lines: polygon score", n)
	case n == 6:
		return fmt.Errorf("%d numbers behind the class may be 3 corners, a box and a point, or a box, a score and the number of a track, and no other line tells: declare what they are, by lines: polygon, kpt_shape in data.yaml, or lines: box score id", n)
	}
	return fmt.Errorf("%d numbers behind the class may be %d corners, or a box and the points of a pose, and no other line tells: declare what they are, by lines: polygon or kpt_shape in data.yaml", n, n/2)
}

// slack is how far outside of the image a coordinate may be by its maker's rounding.
const slack = 0.01

// parse reads the objects of a file of labels, and the classes that it leaves unknown.
func (s spec) parse(content string, classes int, f frame.Frame) (objects []data.Object, unknown []int, err error) {
	objects = []data.Object{}
	err = s.each(content, classes, func(class int, v []float64) error {
		o := data.Object{Class: class, Score: 1}
		if n := s.scoreAt(len(v)); n >= 0 {
			o.Score = float32(v[n])
		}
		box, xy := s.shape(v)
		fw, fh := float64(f.W), float64(f.H)
		o.Box = data.Box{X0: box.X0 * fw, Y0: box.Y0 * fh, X1: box.X1 * fw, Y1: box.Y1 * fh}
		if xy != nil {
			pixels := make([]float64, len(xy))
			for i := range xy {
				pixels[i] = xy[i] * []float64{fw, fh}[i%2]
			}
			m, err := rle.FromPolygon(pixels, f.H, f.W)
			if err != nil {
				return err
			}
			o.Mask = f.Mask(m.Mask())
		}
		if o.Box = o.Box.Clip(f.W, f.H); !(o.Box.Area() > 0) {
			unknown = append(unknown, class)
			return nil
		}
		o.Box = f.Box(o.Box)
		objects = append(objects, o)
		return nil
	})
	slices.Sort(unknown)
	return objects, slices.Compact(unknown), err
}

// losses counts the objects without area, and lines that repeat one before.
func (s spec) losses(content string, classes int) (lost, twice int, err error) {
	seen := map[string]bool{}
	err = s.each(content, classes, func(_ int, v []float64) error {
		if box, _ := s.shape(v); !(box.Area() > 0) {
			lost++
		}
		return nil
	})
	for _, line := range text.Lines(content) {
		if seen[line] {
			twice++
		}
		seen[line] = true
	}
	return lost, twice, err
}

// each calls object with the class and the checked numbers of each line; of lines that are alike, once.
func (s spec) each(content string, classes int, object func(class int, v []float64) error) error {
	seen := map[string]bool{}
	for n, line := range text.Lines(content) {
		if line[0] == '#' || seen[line] {
			continue
		}
		seen[line] = true
		class, v, err := s.line(strings.Fields(line), classes)
		if err == nil {
			err = object(class, v)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// line reads a line and checks what it holds.
func (s spec) line(fields []string, classes int) (class int, v []float64, err error) {
	v = make([]float64, len(fields))
	for i, f := range fields {
		if v[i], err = strconv.ParseFloat(f, 64); err != nil || math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
			if strings.ContainsAny(f, ",;") {
				return 0, nil, fmt.Errorf("%q is no number: want numbers with blanks between them", f)
			}
			return 0, nil, fmt.Errorf("%q is no number", f)
		}
	}
	if v[0] != math.Trunc(v[0]) || v[0] < 0 || int(min(v[0], 1e6)) >= classes {
		return 0, nil, fmt.Errorf("class %s of %d (0 to %d)", fields[0], classes, classes-1)
	}
	class, v = int(v[0]), v[1:]
	if err := s.count(v, fields[1:]); err != nil {
		return 0, nil, err
	}
	coordinates := len(v)
	switch {
	case s.points > 0 || len(v) < 6 || s.kind == boxScoreID:
		coordinates = 4
	case s.kind == polygonScore && len(v)%2 == 1:
		coordinates--
	}
	for i, x := range v[:coordinates] {
		if x < -slack || x > 1+slack {
			return 0, nil, fmt.Errorf("%s is not between 0 and 1: coordinates are fractions of the image", fields[1+i])
		}
	}
	if at := s.scoreAt(len(v)); at >= 0 && !(v[at] >= 0 && v[at] <= 1) {
		return 0, nil, fmt.Errorf("%s is no score between 0 and 1; if it is the number of a track, declare lines: box id", fields[1+at])
	}
	return class, v, nil
}

// count refuses lines that hold something else than what was declared or told.
func (s spec) count(v []float64, fields []string) error {
	n := len(v)
	if n < 4 {
		return fmt.Errorf("%d numbers: want a class and a box, x y width height", n+1)
	}
	if s.points > 0 {
		if want := 4 + s.points*s.dims; n != 4 && n != want && n != want+1 {
			return fmt.Errorf("%d numbers behind the class: by kpt_shape [%d, %d] a box and its points are %d", n, s.points, s.dims, want)
		}
		return nil
	}
	ok := n == 4
	switch s.kind {
	case "":
		ok = n == 4 || n == 5 || s.polygons && n%2 == 0
		if n == 5 && (v[4] == 0 || v[4] > 1 && v[4] == math.Trunc(v[4])) {
			return fmt.Errorf("%s behind the box is no score of an object: if it is the number of a track, declare lines: box id", fields[4])
		}
	case boxScore, boxID:
		ok = n == 4 || n == 5
	case boxScoreID:
		ok = n == 4 || n == 5 || n == 6
	case polygon:
		ok = n == 4 || n >= 6 && n%2 == 0
	case polygonScore:
		ok = n == 4 || n == 5 || n >= 7 && n%2 == 1
	}
	if ok {
		return nil
	}
	if s.kind == "" {
		return undeclared(n)
	}
	return fmt.Errorf("%d numbers behind the class do not go with lines: %s", n, s.kind)
}

// scoreAt returns where among n numbers the score is, -1: nowhere.
func (s spec) scoreAt(n int) int {
	switch {
	case s.points > 0 || s.kind == boxID || s.kind == polygon || s.kind == "box" || n < 5:
		return -1
	case s.kind == polygonScore && n > 5:
		return n - 1
	case s.kind == boxScoreID || n == 5:
		return 4
	}
	return -1
}

// shape returns the box, in fractions and clipped to the image, and the corners of a polygon.
func (s spec) shape(v []float64) (box data.Box, xy []float64) {
	n := len(v)
	if n < 6 || s.points > 0 || s.kind == boxScoreID {
		return data.Box{X0: v[0] - v[2]/2, Y0: v[1] - v[3]/2, X1: v[0] + v[2]/2, Y1: v[1] + v[3]/2}.Clip(1, 1), nil
	}
	xy = v[:n-n%2]
	box = data.Box{X0: math.Inf(1), Y0: math.Inf(1), X1: math.Inf(-1), Y1: math.Inf(-1)}
	for i := 0; i < len(xy); i += 2 {
		box = data.Box{X0: min(box.X0, xy[i]), Y0: min(box.Y0, xy[i+1]), X1: max(box.X1, xy[i]), Y1: max(box.Y1, xy[i+1])}
	}
	return box.Clip(1, 1), xy
}
