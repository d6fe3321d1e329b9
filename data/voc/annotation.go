package voc

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"must/data"
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
	difficult bool
}

func readAnnotation(file string) *annotation {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxAnnotation {
		err = fmt.Errorf("%d MB are too many for an annotation", info.Size()>>20)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	if err != nil {
		return &annotation{err: err}
	}
	a, err := parseAnnotation(text)
	if err != nil {
		return &annotation{err: err}
	}
	return a
}

// parseAnnotation parses an annotation. Only the objects themselves count: the parts of an object
// (head, hands) have a name and a box of their own.
func parseAnnotation(text []byte) (*annotation, error) {
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
		} `xml:"object"`
	}
	decoder := xml.NewDecoder(bytes.NewReader(text))
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
			return nil, fmt.Errorf("object %d, a %s, has no bndbox", i+1, name)
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
