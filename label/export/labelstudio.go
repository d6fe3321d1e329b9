package export

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
	"strings"

	"must/data"
	"must/task/classification"
	"must/task/detection"
	"must/task/segmentation"
)

// Label Studio: predictions are lists of results, each of which names the control of the project's
// labelling interface that it belongs to. Coordinates are per cent of width and height. A result whose
// control or label the project lacks is not shown there, so results are made for a project's controls.

// A Control is a part of a labelling interface that predictions can fill.
type Control struct {
	Type   string // RectangleLabels, BrushLabels or Choices
	Name   string
	To     string // the object that it labels
	Labels []string
}

// An Interface is a project's labelling interface, as far as predictions need it.
type Interface struct {
	Controls []Control
	Images   map[string]string // by name of the image object: the field of a task's data that has its address
}

// ParseInterface reads a project's labelling interface, XML.
func ParseInterface(config string) (*Interface, error) {
	in := &Interface{Images: map[string]string{}}
	d := xml.NewDecoder(strings.NewReader(config))
	var open *Control
	var depth, at int
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the labelling interface is not XML: %w", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			attr := map[string]string{}
			for _, a := range t.Attr {
				attr[a.Name.Local] = a.Value
			}
			switch t.Name.Local {
			case "Image":
				in.Images[attr["name"]] = strings.TrimPrefix(attr["value"], "$")
			case "RectangleLabels", "BrushLabels", "Choices":
				in.Controls = append(in.Controls, Control{Type: t.Name.Local, Name: attr["name"], To: attr["toName"]})
				open, at = &in.Controls[len(in.Controls)-1], depth
			case "Label", "Choice":
				if open != nil {
					open.Labels = append(open.Labels, attr["value"])
				}
			}
		case xml.EndElement:
			if depth == at {
				open, at = nil, 0
			}
			depth--
		}
	}
	return in, nil
}

// control returns the first control of a type.
func (in *Interface) control(kind string) *Control {
	i := slices.IndexFunc(in.Controls, func(c Control) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &in.Controls[i]
}

// InterfaceFor is a labelling interface for some labels, and its XML.
func InterfaceFor(l data.Labels) (in *Interface, config string) {
	var b strings.Builder
	in = &Interface{Images: map[string]string{"image": "image"}}
	b.WriteString("<View>\n  <Image name=\"image\" value=\"$image\" zoom=\"true\"/>\n")
	add := func(kind, name, child string, labels []string) {
		in.Controls = append(in.Controls, Control{kind, name, "image", labels})
		fmt.Fprintf(&b, "  <%s name=%q toName=\"image\">\n", kind, name)
		for _, label := range labels {
			fmt.Fprintf(&b, "    <%s value=\"", child)
			xml.EscapeText(&b, []byte(label))
			b.WriteString("\"/>\n")
		}
		fmt.Fprintf(&b, "  </%s>\n", kind)
	}
	if l.Has(classification.Name) {
		add("Choices", "class", "Choice", l[classification.Name].Classes)
	}
	if l.Has(detection.Name) {
		add("RectangleLabels", "box", "Label", l[detection.Name].Classes)
	}
	if l.Has(segmentation.Name) {
		add("BrushLabels", "area", "Label", l[segmentation.Name].Classes)
	}
	b.WriteString("</View>\n")
	return in, b.String()
}

// A StudioResult is one label of an image.
type StudioResult struct {
	ID       string      `json:"id,omitempty"`
	From     string      `json:"from_name"`
	To       string      `json:"to_name"`
	Type     string      `json:"type"`
	Width    int         `json:"original_width,omitempty"`
	Height   int         `json:"original_height,omitempty"`
	Rotation float64     `json:"image_rotation"`
	Value    StudioValue `json:"value"`
	Score    float32     `json:"score,omitempty"`
}

// A StudioValue is what a result says. Coordinates are per cent of the image.
type StudioValue struct {
	X          *float64     `json:"x,omitempty"`
	Y          *float64     `json:"y,omitempty"`
	Width      *float64     `json:"width,omitempty"`
	Height     *float64     `json:"height,omitempty"`
	Rotation   *float64     `json:"rotation,omitempty"`
	Points     [][2]float64 `json:"points,omitempty"`
	Rectangles []string     `json:"rectanglelabels,omitempty"`
	Polygons   []string     `json:"polygonlabels,omitempty"`
	Choices    []string     `json:"choices,omitempty"`
	Format     string       `json:"format,omitempty"`
	RLE        []int        `json:"rle,omitempty"`
	Brushes    []string     `json:"brushlabels,omitempty"`
}

// A StudioPrediction is all that is predicted of an image.
type StudioPrediction struct {
	Version string         `json:"model_version"`
	Score   float64        `json:"score"` // mean of the results'
	Results []StudioResult `json:"result"`
}

// Predict makes Label Studio's form of labels, w×h being the image's size. Labels that the interface has
// no control or no name for would not be shown there; they are left out and returned by name.
func (in *Interface) Predict(s *data.Sample, w, h int, l data.Labels, version string) (p StudioPrediction, unknown []string) {
	p = StudioPrediction{Version: version, Results: []StudioResult{}}
	add := func(kind, label string, score float32, v StudioValue) {
		c := in.control(kind)
		if c == nil || !slices.Contains(c.Labels, label) {
			if !slices.Contains(unknown, label) {
				unknown = append(unknown, label)
			}
			return
		}
		p.Results = append(p.Results, StudioResult{
			ID: fmt.Sprintf("must-%d", len(p.Results)+1), From: c.Name, To: c.To, Type: strings.ToLower(kind), Width: w, Height: h, Value: v, Score: score,
		})
		p.Score += float64(score)
	}
	if classification.Of(s) != nil {
		best := 0
		for i, q := range classification.Of(s) {
			if q > classification.Of(s)[best] {
				best = i
			}
		}
		name := l[classification.Name].Classes[best]
		add("Choices", name, classification.Of(s)[best], StudioValue{Choices: []string{name}})
	}
	percent := func(v float64, of int) *float64 {
		v *= 100 / float64(of)
		return &v
	}
	for _, o := range detection.Of(s) {
		name := l[detection.Name].Classes[o.Class]
		add("RectangleLabels", name, o.Score, StudioValue{
			X: percent(o.Box.X0, w), Y: percent(o.Box.Y0, h), Width: percent(o.Box.W(), w), Height: percent(o.Box.H(), h),
			Rotation: new(float64), Rectangles: []string{name},
		})
	}
	if segmentation.Of(s) != nil {
		for class, name := range l[segmentation.Name].Classes {
			mask := make([]bool, len(segmentation.Of(s).Pix))
			some := false
			for i, c := range segmentation.Of(s).Pix {
				mask[i] = int(c) == class
				some = some || mask[i]
			}
			if some {
				add("BrushLabels", name, 1, StudioValue{Format: "rle", RLE: encodeBrush(mask), Brushes: []string{name}})
			}
		}
	}
	if n := len(p.Results); n > 0 {
		p.Score /= float64(n)
	}
	return p, unknown
}

// The bits of a brush: the number of bytes of an RGBA picture, a word size of 8, and four lengths of
// counts; then runs of equal bytes. It is the form of label-studio-converter's brush.py.
var brushCounts = [4]int{3, 4, 8, 16}

// encodeBrush packs a mask, row by row.
func encodeBrush(mask []bool) []int {
	var b bits
	b.put(uint32(4*len(mask)), 32)
	b.put(8-1, 5)
	for _, n := range brushCounts {
		b.put(uint32(n-1), 4)
	}
	for i := 0; i < len(mask); {
		j := i
		for j < len(mask) && mask[j] == mask[i] {
			j++
		}
		for left := 4 * (j - i); left > 0; { // four channels a pixel
			n := min(left, 1<<16)
			k := 0
			for n-1 >= 1<<brushCounts[k] {
				k++
			}
			b.put(1, 1)
			b.put(uint32(k), 2)
			b.put(uint32(n-1), brushCounts[k])
			value := uint32(0)
			if mask[i] {
				value = 255
			}
			b.put(value, 8)
			left -= n
		}
		i = j
	}
	out := make([]int, len(b.bytes))
	for i, v := range b.bytes {
		out[i] = int(v)
	}
	return out
}

// DecodeBrush unpacks the mask of a brush over w×h pixels.
func DecodeBrush(rle []int, w, h int) (*data.Mask, error) {
	b := bits{bytes: make([]byte, len(rle))}
	for i, v := range rle {
		if v < 0 || v > 255 {
			return nil, fmt.Errorf("value %d of a brush is %d, not a byte", i, v)
		}
		b.bytes[i] = byte(v)
	}
	if n := b.get(32); n != uint32(4*w*h) {
		return nil, fmt.Errorf("a brush has %d values, an image of %d×%d has %d", n, w, h, 4*w*h)
	}
	word := int(b.get(5)) + 1
	var counts [4]int
	for i := range counts {
		counts[i] = int(b.get(4)) + 1
	}
	if word > 8 {
		return nil, fmt.Errorf("a brush has values of %d bits, not of 8", word)
	}
	m := &data.Mask{Rect: image.Rect(0, 0, w, h), Pix: make([]uint8, w*h)}
	set := func(i int, v uint32) {
		if i%4 == 3 && v > 0 { // opacity
			m.Pix[i/4] = 1
		}
	}
	for i := 0; i < 4*w*h; {
		if b.over() {
			return nil, errors.New("a brush ends early")
		}
		run := b.get(1) == 1
		n := int(b.get(counts[b.get(2)])) + 1
		if i+n > 4*w*h {
			return nil, errors.New("a brush is longer than its image")
		}
		if run {
			v := b.get(word)
			for k := range n {
				set(i+k, v)
			}
		} else {
			for k := range n {
				set(i+k, b.get(word))
			}
		}
		i += n
	}
	return m, nil
}

// bits is a string of bits, the highest of a byte first.
type bits struct {
	bytes []byte
	n     int // written or read
}

func (b *bits) put(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		if b.n%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		b.bytes[b.n/8] |= byte(v>>i&1) << (7 - b.n%8)
		b.n++
	}
}

func (b *bits) over() bool { return b.n >= 8*len(b.bytes) }

// get reads n bits; behind the end there are zeros.
func (b *bits) get(n int) (v uint32) {
	for range n {
		v <<= 1
		if !b.over() {
			v |= uint32(b.bytes[b.n/8] >> (7 - b.n%8) & 1)
		}
		b.n++
	}
	return v
}

// LabelStudio writes tasks.json, to be imported into a project, and interface.xml, the labelling interface
// that it needs. address makes the address of an image of its file, such as that of local files; depth and
// normals have no form there. Images without labels are left out.
func LabelStudio(s Source, dir, version string, address func(file string) string) error {
	in, config := InterfaceFor(s.Labels)
	if len(in.Controls) == 0 {
		return errors.New("export for Label Studio: the labels have no classification, detection or segmentation")
	}
	return fill(dir, func(f *folder) error {
		if err := f.write("interface.xml", []byte(config)); err != nil {
			return err
		}
		return f.stream("tasks.json", func(w io.Writer) error {
			n := 0
			if _, err := io.WriteString(w, "["); err != nil {
				return err
			}
			for r, err := range s.Records {
				if err != nil {
					return err
				}
				if classification.Of(r.Sample) == nil && detection.Of(r.Sample) == nil && segmentation.Of(r.Sample) == nil {
					continue
				}
				p, _ := in.Predict(r.Sample, r.W, r.H, s.Labels, version)
				n++
				if err := item(w, n, studioTask{
					Data:        map[string]string{"image": address(s.file(r.Key)), "key": r.Key},
					Predictions: []StudioPrediction{p},
				}); err != nil {
					return err
				}
			}
			_, err := io.WriteString(w, "]\n")
			return err
		})
	})
}

type studioTask struct {
	Data        map[string]string  `json:"data"`
	Predictions []StudioPrediction `json:"predictions"`
}

// LocalFiles is how Label Studio addresses files under its local root.
func LocalFiles(prefix string) func(string) string {
	return func(file string) string { return "/data/local-files/?d=" + prefix + file }
}

// stream writes a file as fn makes it.
func (f *folder) stream(name string, fn func(io.Writer) error) error {
	w, err := f.root.Create(name)
	if err != nil {
		return err
	}
	defer w.Close()
	buffered := bufio.NewWriter(w)
	if err := fn(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return w.Close()
}
