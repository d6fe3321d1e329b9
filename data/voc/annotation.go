package voc

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/frame"
	"must/data/text"
)

// maxAnnotation is the largest annotation file read, in bytes; VOC's have a few thousand.
const maxAnnotation = 16 << 20

// An annotation is what an XML file says of an image, or the error of reading it.
type annotation struct {
	filename string
	w, h     int // 0: not given
	objects  []object
	err      error
}

// An object's box is 0-based and half-open, but not clipped.
type object struct {
	name      string
	box       data.Box
	boxless   bool // it has none
	difficult bool
}

func readAnnotation(file, encoding string) *annotation {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxAnnotation {
		err = fmt.Errorf("%d MB are too many for an annotation", info.Size()>>20)
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(file)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	if err != nil {
		return &annotation{err: err}
	}
	a, err := parseAnnotation(content, encoding)
	if err != nil {
		return &annotation{err: err}
	}
	return a
}

var declaration = regexp.MustCompile(`^\s*<\?xml[^>]*\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']`)

// decode returns an annotation's text: in the encoding that the set declares, or else the file, where its bytes
// are text of that.
func decode(content []byte, encoding string) (string, error) {
	if encoding == "" {
		if m := declaration.FindSubmatch(content); m != nil {
			if s, err := text.Decode(content, string(m[1])); err == nil && !strings.ContainsRune(s, '\ufffd') {
				return s, nil
			}
		}
	}
	return text.Decode(content, encoding)
}

// parseAnnotation parses an annotation. Only the objects themselves count: the parts of an object
// (head, hands) have a name and a box of their own.
func parseAnnotation(content []byte, encoding string) (*annotation, error) {
	plain, err := decode(content, encoding)
	if err != nil {
		return nil, err
	}
	var doc struct {
		XMLName  xml.Name `xml:"annotation"`
		Filename string   `xml:"filename"`
		Width    string   `xml:"size>width"`
		Height   string   `xml:"size>height"`
		Objects  []struct {
			Name      string `xml:"name"`
			Difficult string `xml:"difficult"`
			Box       *struct {
				XMin string `xml:"xmin"`
				YMin string `xml:"ymin"`
				XMax string `xml:"xmax"`
				YMax string `xml:"ymax"`
			} `xml:"bndbox"`
			Polygon *struct {
				Points []struct {
					XMLName xml.Name
					Value   string `xml:",chardata"`
				} `xml:",any"`
			} `xml:"polygon"`
		} `xml:"object"`
	}
	decoder := xml.NewDecoder(strings.NewReader(plain))
	decoder.Strict = false // paths with a bare & are common
	decoder.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return nil, fmt.Errorf("not a VOC annotation: %w", err)
	}
	a := &annotation{filename: strings.TrimSpace(doc.Filename)}
	// A size that is no number is as good as none: boxes are clipped to the image itself.
	a.w, _ = strconv.Atoi(strings.TrimSpace(doc.Width))
	a.h, _ = strconv.Atoi(strings.TrimSpace(doc.Height))
	for i, o := range doc.Objects {
		name := strings.TrimSpace(o.Name)
		if name == "" {
			return nil, fmt.Errorf("object %d has no name", i+1)
		}
		if o.Box == nil {
			// A polygon has a box; a rotated one, or a point, has not.
			made := object{name: name, boxless: true, difficult: strings.TrimSpace(o.Difficult) == "1"}
			if o.Polygon != nil {
				x := data.Box{X0: math.Inf(1), Y0: math.Inf(1), X1: math.Inf(-1), Y1: math.Inf(-1)}
				for _, p := range o.Polygon.Points {
					v, err := strconv.ParseFloat(strings.TrimSpace(p.Value), 64)
					axis := strings.ToLower(p.XMLName.Local)
					if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || axis == "" || strings.Trim(axis[1:], "0123456789") != "" {
						continue
					}
					switch axis[0] {
					case 'x':
						x.X0, x.X1 = min(x.X0, v-1), max(x.X1, v)
					case 'y':
						x.Y0, x.Y1 = min(x.Y0, v-1), max(x.Y1, v)
					}
				}
				if x.X0 < x.X1 && x.Y0 < x.Y1 && !math.IsInf(x.Area(), 0) {
					made.box, made.boxless = x, false
				}
			}
			a.objects = append(a.objects, made)
			continue
		}
		var v [4]float64
		for k, text := range []string{o.Box.XMin, o.Box.YMin, o.Box.XMax, o.Box.YMax} {
			x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("object %d, a %s: %q in its bndbox is no number", i+1, name, text)
			}
			v[k] = x
		}
		a.objects = append(a.objects, object{
			name:      name,
			box:       data.Box{X0: v[0] - 1, Y0: v[1] - 1, X1: v[2], Y1: v[3]},
			difficult: strings.TrimSpace(o.Difficult) == "1",
		})
	}
	return a, nil
}

// Boxes are annotations that lie elsewhere than in a set of VOC.
type Boxes struct {
	Classes []string // sorted

	annotations map[string]*annotation
	index       map[string]int
}

// ReadBoxes parses annotations. Without names, classes are those found.
func ReadBoxes(files, names []string, encoding string) (*Boxes, error) {
	b := &Boxes{Classes: names, annotations: map[string]*annotation{}, index: map[string]int{}}
	found := map[string]bool{}
	for _, file := range files {
		a := readAnnotation(file, encoding)
		b.annotations[file] = a
		for _, o := range a.objects {
			found[o.name] = true
		}
	}
	if names == nil {
		b.Classes = slices.Sorted(maps.Keys(found))
	}
	for i, name := range b.Classes {
		b.index[name] = i
	}
	for name := range found {
		if _, ok := b.index[name]; !ok {
			return nil, fmt.Errorf("the class %q of the annotations is none of those listed", name)
		}
	}
	return b, nil
}

// Size returns the size of the picture that an annotation is for, 0 where it does not tell.
func (b *Boxes) Size(file string) (w, h int) {
	a := b.annotations[file]
	return a.w, a.h
}

// Objects returns the objects of an annotation, and the classes that it leaves unknown.
func (b *Boxes) Objects(file string, f frame.Frame) ([]data.Object, []int, error) {
	a := b.annotations[file]
	if a.err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, a.err)
	}
	objects, unknown := a.place(b.index, f)
	return objects, unknown, nil
}

// place returns the objects in a picture's frame, and the classes that they leave unknown.
func (a *annotation) place(index map[string]int, f frame.Frame) (objects []data.Object, unknown []int) {
	objects = []data.Object{}
	for _, o := range a.objects {
		class := index[o.name]
		box := o.box.Clip(f.W, f.H)
		if o.boxless || !(box.Area() > 0) {
			unknown = append(unknown, class)
			continue
		}
		objects = append(objects, data.Object{Box: f.Box(box), Class: class, Score: 1, Crowd: o.difficult})
	}
	slices.Sort(unknown)
	return objects, slices.Compact(unknown)
}
