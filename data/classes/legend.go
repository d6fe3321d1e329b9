package classes

import (
	"errors"
	"fmt"
	"image"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"must/data"
	"must/data/imagefile"
)

// A Legend says what the values, or colours, of semantic maps are.
type Legend struct {
	Names []string

	class  [256]int16 // of each value: a class, void or none
	colour map[[3]uint8]uint8
}

const (
	void = -1
	none = -2
)

// NewLegend makes the legend of a list of classes: the value of each is its place, plus first. Values that void
// lists, as ParseVoid takes it, are ignored.
func NewLegend(t *Table, first int, ignored Void) (*Legend, error) {
	if len(t.Names)+first > 256 || len(t.Names) > data.Ignore {
		return nil, fmt.Errorf("%d classes are more than the %d that a map can hold", len(t.Names), data.Ignore)
	}
	l := &Legend{Names: t.Names}
	for v := range l.class {
		if l.class[v] = none; v >= first && v < first+len(t.Names) {
			l.class[v] = int16(v - first)
		}
	}
	if t.Colours != nil {
		l.colour = map[[3]uint8]uint8{}
		for i, c := range t.Colours {
			l.colour[c] = uint8(i)
		}
	}
	for _, v := range ignored.values {
		l.class[v] = void
	}
	for _, c := range ignored.colours {
		if l.colour == nil {
			l.colour = map[[3]uint8]uint8{}
		}
		l.colour[c] = data.Ignore
	}
	for _, name := range ignored.names {
		found := false
		for i, n := range t.Names {
			if strings.EqualFold(n, name) {
				found = true
				l.class[i+first] = void
				if t.Colours != nil {
					l.colour[t.Colours[i]] = data.Ignore
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("void is %q, which is neither a value, a colour nor a class", name)
		}
	}
	return l, nil
}

// A Void is what a set declares to be no class.
type Void struct {
	values  []uint8
	colours [][3]uint8
	names   []string
}

// ParseVoid reads a declaration: none, or values, names of classes and colours as 255/0/0, with commas between
// them. "" is the default, itself such a text.
func ParseVoid(s, otherwise string) (v Void, err error) {
	if s == "" {
		s = otherwise
	}
	if s == "none" {
		return v, nil
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		rgb := strings.Split(item, "/")
		n, err := strconv.Atoi(item)
		switch {
		case item == "":
		case err == nil && (n < 0 || n > 255):
			return v, fmt.Errorf("void is %d, want a value of a map, 0 to 255", n)
		case err == nil:
			v.values = append(v.values, uint8(n))
		case len(rgb) == 3:
			var c [3]uint8
			for i := range c {
				n, err := strconv.ParseUint(rgb[i], 10, 8)
				if err != nil {
					return v, fmt.Errorf("void is %q, want a colour as 255/0/0", item)
				}
				c[i] = uint8(n)
			}
			v.colours = append(v.colours, c)
		default:
			v.names = append(v.names, item)
		}
	}
	return v, nil
}

// Read reads a semantic map: of classes, data.Ignore where it is void. Grey maps hold values; so do those with a
// palette, unless the legend has colours. Its error names the file.
func (l *Legend) Read(file string) (*data.Grid[uint8], error) {
	if l.colour != nil {
		if g, err := l.colours(file); g != nil || err != nil {
			return g, err
		}
	}
	g, err := imagefile.DecodeIndex(file)
	if err != nil {
		return nil, hint(err)
	}
	for i, v := range g.Pix {
		switch c := l.class[v]; c {
		case void:
			g.Pix[i] = data.Ignore
		case none:
			return nil, fmt.Errorf("%s: pixel (%d, %d) has value %d, which is none of the %d classes: list the class, or declare it with void", file, i%g.W, i/g.W, v, len(l.Names))
		default:
			g.Pix[i] = uint8(c)
		}
	}
	return g, nil
}

// hint adds what to do about a map of colours.
func hint(err error) error {
	if !strings.Contains(err.Error(), "not colour") {
		return err
	}
	return fmt.Errorf("%w; if its colours are classes, list them in labelmap.txt beside the folders (name:red,green,blue)", err)
}

// colours reads a map of colours; nil where it is grey.
func (l *Legend) colours(file string) (*data.Grid[uint8], error) {
	img, err := imagefile.DecodeStored(file)
	if err != nil {
		return nil, err
	}
	if l.grey(img) {
		return nil, nil
	}
	g := data.NewGrid[uint8](img.Rect.Dx(), img.Rect.Dy())
	for i := range g.Pix {
		c := [3]uint8(img.Pix[4*i:])
		class, ok := l.colour[c]
		if !ok {
			return nil, fmt.Errorf("%s: pixel (%d, %d) has the colour %d,%d,%d, which is none of the %d classes: list it, or declare it with void as %[4]d/%d/%d", file, i%g.W, i/g.W, c[0], c[1], c[2], len(l.Names))
		}
		g.Pix[i] = class
	}
	return g, nil
}

// grey reports whether a map has grey pixels only, some of which are no colour of the legend.
func (l *Legend) grey(img *image.RGBA) bool {
	listed := true
	for i := 0; i < len(img.Pix); i += 4 {
		c := [3]uint8(img.Pix[i:])
		if c[0] != c[1] || c[0] != c[2] {
			return false
		}
		_, ok := l.colour[c]
		listed = listed && ok
	}
	return !listed
}

// ForMaps makes the legend of a set: of its table, or, where it is nil, of the numbers that the maps in files
// hold, which are looked through on all cores: "0" up to the largest that is not void, and none below first.
// Maps of a set without names, or with two, that hold no other values than 0 and 255 are an error unless void is
// declared: these may be two classes, or one and void.
func ForMaps(t *Table, files []string, first int, declared, otherwise string) (*Legend, error) {
	v, err := ParseVoid(declared, otherwise)
	if err != nil {
		return nil, err
	}
	var used [256]bool
	if t == nil || len(t.Names) <= 2 && t.Colours == nil && declared == "" {
		looked := files
		if t != nil {
			looked = looked[:min(len(looked), 64)]
		}
		if used, err = values(looked); err != nil && t == nil && used == ([256]bool{}) {
			return nil, fmt.Errorf("no class in its maps: %w", hint(err))
		}
	}
	most, binary := -1, used[255] && first == 0
	for value, is := range used {
		binary = binary && (!is || value == 0 || value == 255)
		if is && !slices.Contains(v.values, uint8(value)) {
			most = value
		}
	}
	switch {
	case binary && declared == "":
		return nil, errors.New("its maps have no other values than 0 and 255: declare whether 255 is void (void: 255) or a class (void: none)")
	case t != nil:
	case most < first:
		return nil, errors.New("its maps hold no class, only void")
	case binary && most == 255:
		t = &Table{Names: []string{"0", "255"}}
	case most >= data.Ignore+first:
		return nil, fmt.Errorf("its maps have values up to %d, and classes are at most %d: list them in classes.txt, or declare void", most, data.Ignore)
	default:
		t = &Table{}
		for value := first; value <= most; value++ {
			t.Names = append(t.Names, strconv.Itoa(value))
		}
	}
	l, err := NewLegend(t, first, v)
	if err == nil && len(t.Names) == 2 && first == 0 && l.class[255] == none {
		l.class[255] = 1 // of a mask of 0 and 255
	}
	return l, err
}

// values returns the values in maps, and the error of one that cannot be read.
func values(files []string) (used [256]bool, broken error) {
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(files)); i = next.Add(1) - 1 {
				g, err := imagefile.DecodeIndex(files[i])
				mu.Lock()
				if err != nil && (broken == nil || err.Error() < broken.Error()) {
					broken = err
				}
				if err == nil {
					for _, v := range g.Pix {
						used[v] = true
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return used, broken
}
