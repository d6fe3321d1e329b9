package coco

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"must/data"
	"must/metric/cocojson"
)

// An index is what is kept of a file of labels: all but the shapes, which stay in the file and of which
// it is known where they are.
type index struct {
	images     []picture
	categories []category // by ascending id
	annotated  bool       // there is a list of annotations, be it empty

	annotations pile[annotation]
	maps        []string // of each annotation of a panoptic file: its PNG
	byImage     []uint32 // annotations, those of one image together, in the order of the file
	starts      []uint32 // where in byImage those of an image begin; one more at the end
	orphans     int      // annotations of images that are not listed
}

type picture struct {
	name string // file_name
	w, h int32  // 0: not given
}

type category struct {
	id    cocojson.ID
	name  string
	thing bool
}

// An annotation is an object, or what a panoptic file says of an image.
type annotation struct {
	box    [4]float64 // x, y, width, height
	area   float64
	offset int64  // in the file, of the segmentation or the list of segments
	length uint32 // 0: there is none
	image  int32
	class  uint16
	crowd  bool
	boxed  bool
}

// bounds returns the box, which may reach out of the image.
func (a *annotation) bounds() data.Box {
	return data.Box{X0: a.box[0], Y0: a.box[1], X1: a.box[0] + a.box[2], Y1: a.box[1] + a.box[3]}
}

// of returns the numbers of the annotations of an image.
func (x *index) of(image int) []uint32 { return x.byImage[x.starts[image]:x.starts[image+1]] }

// classes returns the names of the categories.
func (x *index) classes() []string {
	names := make([]string, len(x.categories))
	for i, c := range x.categories {
		names[i] = c.name
	}
	return names
}

// A pile is a list of millions that is never copied to grow.
type pile[T any] struct {
	blocks [][]T
}

const blockSize = 1 << 13

func (p *pile[T]) add(v T) {
	last := len(p.blocks) - 1
	if last < 0 || len(p.blocks[last]) == blockSize {
		p.blocks = append(p.blocks, make([]T, 0, blockSize))
		last++
	}
	p.blocks[last] = append(p.blocks[last], v)
}

func (p *pile[T]) at(i uint32) *T { return &p.blocks[i/blockSize][i%blockSize] }

func (p *pile[T]) len() int {
	if len(p.blocks) == 0 {
		return 0
	}
	return (len(p.blocks)-1)*blockSize + len(p.blocks[len(p.blocks)-1])
}

// An indexer reads a file whose lists may come in any order. Until all are known, images and
// categories are numbered as their ids are first seen.
type indexer struct {
	index
	panoptic bool
	imageIDs numbering
	classIDs numbering
	listed   []int32 // the numbers of images, in the order of their list
	d        *cocojson.Decoder
}

// readIndex reads a file of instances, or a panoptic one, through a window of so many bytes.
func readIndex(r io.Reader, panoptic bool, window int) (*index, error) {
	x := &indexer{panoptic: panoptic, imageIDs: newNumbering(), classIDs: newNumbering(), d: cocojson.NewDecoder()}
	err := cocojson.Lists(r, window, func(list string) func([]byte, int64) error {
		switch list {
		case "images":
			return x.readImage
		case "categories":
			return x.readCategory
		case "annotations":
			x.annotated = true
			return x.readAnnotation
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(x.images) == 0 {
		return nil, errors.New(`it lists no "images"`)
	}
	if err := x.resolve(); err != nil {
		return nil, err
	}
	return &x.index, nil
}

// A numbering counts ids as they appear.
type numbering struct {
	of    map[int64]int32
	texts map[string]int32
	ids   []cocojson.ID
}

func newNumbering() numbering { return numbering{of: map[int64]int32{}, texts: map[string]int32{}} }

func (n *numbering) number(id cocojson.ID) int32 {
	var i int32
	var ok bool
	if id.Text != "" {
		i, ok = n.texts[id.Text]
	} else {
		i, ok = n.of[id.Number]
	}
	if ok {
		return i
	}
	i = int32(len(n.ids))
	if id.Text != "" {
		n.texts[id.Text] = i
	} else {
		n.of[id.Number] = i
	}
	n.ids = append(n.ids, id)
	return i
}

func (x *indexer) readImage(item []byte, _ int64) error {
	x.d.ResetBytes(item)
	i, err := x.d.Image("id", "file_name")
	if err != nil {
		return err
	}
	if i.Width < 0 || i.Height < 0 || i.Width > math.MaxInt32 || i.Height > math.MaxInt32 {
		return fmt.Errorf("an image of %d×%d pixels", i.Width, i.Height)
	}
	x.images = append(x.images, picture{i.Name, int32(i.Width), int32(i.Height)})
	x.listed = append(x.listed, x.imageIDs.number(i.ID))
	return nil
}

func (x *indexer) readCategory(item []byte, _ int64) error {
	x.d.ResetBytes(item)
	c, err := x.d.Category("id", "name")
	x.categories = append(x.categories, category{c.ID, strings.TrimSpace(c.Name), c.Thing}) // Objects365 has names with spaces behind
	return err
}

func (x *indexer) readAnnotation(item []byte, at int64) error {
	// The decoder's values are slices of item, so their capacity tells where in it they begin.
	item = item[:len(item):len(item)]
	x.d.ResetBytes(item)
	required := []string{"image_id", "category_id"}
	if x.panoptic {
		required = []string{"image_id", "file_name", "segments_info"}
	}
	got, err := x.d.Annotation(required...)
	if err != nil {
		return err
	}
	a := annotation{box: got.Box, boxed: got.HasBox, area: got.Area, crowd: got.Crowd, image: x.imageIDs.number(got.Image)}
	shape := got.Shape
	if x.panoptic {
		shape = got.Segments
		x.maps = append(x.maps, got.File)
	} else {
		class := x.classIDs.number(got.Category)
		if class > math.MaxUint16 {
			return fmt.Errorf("more than %d categories", math.MaxUint16)
		}
		a.class = uint16(class)
	}
	if x.panoptic || len(bytes.Trim(shape, "[]{} \t\r\n")) > 0 {
		a.offset, a.length = at+int64(len(item)-cap(shape)), uint32(len(shape))
	}
	if x.annotations.len() == math.MaxUint32 {
		return errors.New("too many annotations")
	}
	x.annotations.add(a)
	return nil
}

// resolve turns numbers into indices of images and categories, and groups the annotations by image.
func (x *indexer) resolve() error {
	image := make([]int32, len(x.imageIDs.ids)) // index in images by number
	for i := range image {
		image[i] = -1
	}
	for i, n := range x.listed {
		if image[n] >= 0 {
			return fmt.Errorf("it lists two images of id %v, %q and %q", x.imageIDs.ids[n], x.images[image[n]].name, x.images[i].name)
		}
		image[n] = int32(i)
	}
	slices.SortStableFunc(x.categories, func(a, b category) int { return a.id.Compare(b.id) })
	class := make([]int, len(x.classIDs.ids)) // index in categories by number
	for n, id := range x.classIDs.ids {
		i, ok := slices.BinarySearchFunc(x.categories, id, func(c category, id cocojson.ID) int { return c.id.Compare(id) })
		if !ok {
			return fmt.Errorf("it has annotations of category_id %v, which its \"categories\" do not list", id)
		}
		class[n] = i
	}
	for i, c := range x.categories[:max(0, len(x.categories)-1)] {
		if next := x.categories[i+1]; c.id == next.id {
			return fmt.Errorf("it lists two categories of id %v, %q and %q", c.id, c.name, next.name)
		}
	}

	x.starts = make([]uint32, len(x.images)+1)
	for i := range uint32(x.annotations.len()) {
		a := x.annotations.at(i)
		if len(class) > 0 {
			a.class = uint16(class[a.class])
		}
		if a.image = image[a.image]; a.image < 0 {
			x.orphans++
		} else {
			x.starts[a.image+1]++
		}
	}
	for i := range x.images {
		x.starts[i+1] += x.starts[i]
	}
	x.byImage = make([]uint32, x.annotations.len()-x.orphans)
	next := slices.Clone(x.starts)
	for i := range uint32(x.annotations.len()) {
		if image := x.annotations.at(i).image; image >= 0 {
			x.byImage[next[image]] = i
			next[image]++
		}
	}
	return nil
}
