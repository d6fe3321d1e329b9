package export

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"must/atomicfile"
	"must/data"
	"must/task/classification"
	"must/task/detection"
)

// CVAT's form for images, version 1.1
// (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/).

// A CVATImage is an image and its shapes.
type CVATImage struct {
	XMLName  xml.Name      `xml:"image"`
	ID       int           `xml:"id,attr"`
	Name     string        `xml:"name,attr"`
	Width    int           `xml:"width,attr"`
	Height   int           `xml:"height,attr"`
	Boxes    []CVATBox     `xml:"box"`
	Masks    []CVATMask    `xml:"mask"`
	Polygons []CVATPolygon `xml:"polygon"`
	Tags     []CVATTag     `xml:"tag"`
	Others   []CVATOther   `xml:",any"`
}

// A CVATOther is a shape of another kind, such as an ellipse.
type CVATOther struct{ XMLName xml.Name }

// A CVATShape is what all shapes have.
type CVATShape struct {
	Label      string          `xml:"label,attr"`
	Source     string          `xml:"source,attr"`
	Occluded   int             `xml:"occluded,attr"`
	Z          int             `xml:"z_order,attr"`
	Attributes []CVATAttribute `xml:"attribute"`
}

// A CVATAttribute is a named value of a shape.
type CVATAttribute struct {
	Name  string `xml:"name,attr"`
	Value string `xml:",chardata"`
}

// A CVATBox spans two corners.
type CVATBox struct {
	CVATShape
	X0 float64 `xml:"xtl,attr"`
	Y0 float64 `xml:"ytl,attr"`
	X1 float64 `xml:"xbr,attr"`
	Y1 float64 `xml:"ybr,attr"`

	Rotation float64 `xml:"rotation,attr,omitempty"` // degrees
}

// A CVATMask is run lengths within a rectangle, row by row, zeros first.
type CVATMask struct {
	CVATShape
	RLE    string `xml:"rle,attr"`
	Left   int    `xml:"left,attr"`
	Top    int    `xml:"top,attr"`
	Width  int    `xml:"width,attr"`
	Height int    `xml:"height,attr"`
}

// A CVATPolygon has points "x,y;x,y;…".
type CVATPolygon struct {
	CVATShape
	Points string `xml:"points,attr"`
}

// A CVATTag is a class of the whole image.
type CVATTag struct {
	Label      string          `xml:"label,attr"`
	Source     string          `xml:"source,attr"`
	Attributes []CVATAttribute `xml:"attribute"`
}

// cvatMeta says which labels, with which attributes, a project needs for shapes to show.
type cvatMeta struct {
	XMLName xml.Name    `xml:"meta"`
	Labels  []cvatLabel `xml:"task>labels>label"`
}

type cvatLabel struct {
	Name      string `xml:"name"`
	Type      string `xml:"type"`
	Attribute struct {
		Name    string `xml:"name"`
		Mutable string `xml:"mutable"`
		Input   string `xml:"input_type"`
		Default string `xml:"default_value"`
		Values  string `xml:"values"`
	} `xml:"attributes>attribute"`
}

func metaOf(l data.Labels) (m cvatMeta) {
	seen := map[string]bool{}
	for _, task := range []string{detection.Name, classification.Name} {
		for _, class := range l[task].Classes {
			if seen[class] {
				continue
			}
			seen[class] = true
			label := cvatLabel{Name: class, Type: "any"}
			a := &label.Attribute
			a.Name, a.Mutable, a.Input = "score", "False", "text"
			m.Labels = append(m.Labels, label)
		}
	}
	return m
}

// score is the attribute of a shape.
func score(v float32) []CVATAttribute {
	return []CVATAttribute{{"score", strconv.FormatFloat(float64(v), 'f', 4, 32)}}
}

// CVAT writes annotations in CVAT's form: an object with a mask as a mask, another as a box, its score as
// the attribute "score", which the project's labels have to have for it to show; a class as a tag. What a
// project needs is said at the beginning. Images
// with neither are left out.
func CVAT(s Source, path string) error {
	if !s.Labels.Has(detection.Name) && !s.Labels.Has(classification.Name) {
		return fmt.Errorf("export for CVAT: the labels have no detection or classification")
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		if _, err := io.WriteString(w, xml.Header+"<annotations>\n<version>1.1</version>\n"); err != nil {
			return err
		}
		meta, err := xml.MarshalIndent(metaOf(s.Labels), "", " ")
		if err != nil {
			return err
		}
		if _, err := w.Write(append(meta, '\n')); err != nil {
			return err
		}
		n := 0
		for r, err := range s.Records {
			if err != nil {
				return err
			}
			objects, p := detection.Of(r.Sample), classification.Of(r.Sample)
			if objects == nil && p == nil {
				continue
			}
			img := CVATImage{ID: n, Name: s.file(r.Key), Width: r.W, Height: r.H}
			n++
			if p != nil {
				best := 0
				for k, q := range p {
					if q > p[best] {
						best = k
					}
				}
				img.Tags = []CVATTag{{s.Labels[classification.Name].Classes[best], "auto", score(p[best])}}
			}
			for z, o := range objects {
				shape := CVATShape{Label: s.Labels[detection.Name].Classes[o.Class], Source: "auto", Z: z, Attributes: score(o.Score)}
				if o.Mask == nil || o.Mask.Rect.Empty() {
					img.Boxes = append(img.Boxes, CVATBox{shape, o.Box.X0, o.Box.Y0, o.Box.X1, o.Box.Y1, 0})
					continue
				}
				m := o.Mask
				img.Masks = append(img.Masks, CVATMask{shape, runs(m.Pix), m.Rect.Min.X, m.Rect.Min.Y, m.Rect.Dx(), m.Rect.Dy()})
			}
			b, err := xml.MarshalIndent(img, "", " ")
			if err != nil {
				return err
			}
			if _, err := w.Write(append(b, '\n')); err != nil {
				return err
			}
		}
		_, err = io.WriteString(w, "</annotations>\n")
		return err
	})
}

// runs writes the lengths of runs of zeros and ones in turn.
func runs(pix []uint8) string {
	var words []string
	n, now := 0, uint8(0)
	for _, v := range pix {
		if v != now {
			words, n, now = append(words, strconv.Itoa(n)), 0, v
		}
		n++
	}
	return strings.Join(append(words, strconv.Itoa(n)), ", ")
}
