package coco

import (
	"fmt"
	"image"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-faster/jx"

	"must/data"
	"must/data/frame"
	"must/data/imagefile"
	"must/metric/cocojson"
	"must/task/detection"
	"must/task/segmentation"
)

// setPanoptic makes the maps and things of a panoptic file the labels.
func (d *Dataset) setPanoptic(file string) error {
	d.label = (*Dataset).segments
	x := d.index
	if len(x.categories) > data.Ignore {
		return fmt.Errorf("%d categories are more than the %d that a map can hold", len(x.categories), data.Ignore)
	}
	for i := range x.images {
		if len(x.of(i)) > 1 {
			return fmt.Errorf("it has two annotations for the image %q", d.paths[i])
		}
	}
	for i, name := range x.maps {
		if name = path.Clean(name); name == "." || !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("the file_name %q of annotation %d is no path inside the folder of maps", x.maps[i], i)
		}
	}
	d.labels = d.labels.With(segmentation.Name, data.Meaning{Classes: x.classes()})
	things := data.Meaning{Masks: true}
	for _, c := range x.categories {
		if c.thing {
			things.Classes = append(things.Classes, c.name)
		}
	}
	if things.Classes != nil {
		d.labels = d.labels.With(detection.Name, things)
	}
	stem := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	for _, dir := range []string{filepath.Dir(file), filepath.Dir(filepath.Dir(file))} {
		if d.maps = filepath.Join(dir, stem); isDir(d.maps) {
			return nil
		}
	}
	return fmt.Errorf("no folder %s of PNG maps beside it: unpack %[1]s.zip there", stem)
}

// segments gives a sample its panoptic map.
func (d *Dataset) segments(at int, s *data.Sample, f frame.Frame) error {
	annotations := d.index.of(at)
	if len(annotations) == 0 {
		return nil
	}
	text, err := d.shape(d.index.annotations.at(annotations[0]))
	if err != nil {
		return err
	}
	segments, err := d.readSegments(text)
	if err != nil {
		return fmt.Errorf("%s: %w", d.file.Name(), err)
	}
	file := filepath.Join(d.maps, filepath.FromSlash(d.index.maps[annotations[0]]))
	img, err := imagefile.DecodeStored(file)
	if err != nil {
		return err
	}
	size := image.Pt(f.W, f.H)
	if img.Rect.Size() != size {
		return fmt.Errorf("%s: the map has %d×%d pixels, its image %d×%d", file, img.Rect.Dx(), img.Rect.Dy(), size.X, size.Y)
	}

	of := make([]int32, size.X*size.Y) // segment of each pixel, -1 for none
	segmentation.Set(s, data.NewGrid[uint8](size.X, size.Y))
	last, lastID := -1, uint32(0)
	for i := range of {
		rgb := img.Pix[4*i:][:3]
		if id := uint32(rgb[0]) | uint32(rgb[1])<<8 | uint32(rgb[2])<<16; id != lastID {
			last, lastID = slices.IndexFunc(segments, func(s segment) bool { return s.id == id }), id
			if last < 0 && id != 0 {
				return fmt.Errorf("%s: pixel (%d, %d) is of segment %d, which %s does not list", file, i%size.X, i/size.X, id, d.file.Name())
			}
		}
		of[i] = int32(last)
		if last < 0 {
			segmentation.Of(s).Pix[i] = data.Ignore
			continue
		}
		segmentation.Of(s).Pix[i] = uint8(segments[last].class)
		p := image.Pt(i%size.X, i/size.X)
		segments[last].extent = segments[last].extent.Union(image.Rectangle{Min: p, Max: p.Add(image.Pt(1, 1))})
	}
	m, err := frame.Grid(f, segmentation.Of(s))
	segmentation.Set(s, m)
	if err != nil || d.labels[detection.Name].Classes == nil {
		return err
	}
	detection.Set(s, []data.Object{})
	for n, g := range segments {
		box := g.annotation.bounds().Clip(size.X, size.Y)
		switch {
		case g.thing < 0:
			continue
		case box.Area() == 0 || g.extent.Empty():
			detection.SetUnknown(s, append(detection.Unknown(s), g.thing))
			continue
		}
		m := &data.Mask{Rect: g.extent, Pix: make([]uint8, g.extent.Dx()*g.extent.Dy())}
		for i := range m.Pix {
			x, y := g.extent.Min.X+i%g.extent.Dx(), g.extent.Min.Y+i/g.extent.Dx()
			if of[y*size.X+x] == int32(n) {
				m.Pix[i] = 1
			}
		}
		detection.Set(s, append(detection.Of(s), data.Object{Box: f.Box(box), Class: g.thing, Score: 1, Mask: f.Mask(m), Area: f.Area(g.area), Crowd: g.crowd}))
	}
	slices.Sort(detection.Unknown(s))
	detection.SetUnknown(s, slices.Compact(detection.Unknown(s)))
	return nil
}

// A segment is a part of a panoptic map.
type segment struct {
	annotation
	id     uint32
	class  int             // of the map
	thing  int             // class as an object, -1 for stuff
	extent image.Rectangle // of its pixels
}

// readSegments reads the segments_info of an image.
func (d *Dataset) readSegments(text []byte) ([]segment, error) {
	j := cocojson.Decoder{Decoder: jx.DecodeBytes(text)}
	var all []segment
	err := j.Arr(func(*jx.Decoder) error {
		got, err := j.Annotation("id", "category_id")
		if err != nil {
			return err
		}
		id, err := got.ID.Int()
		if err != nil {
			return err
		}
		g := segment{annotation: annotation{box: got.Box, boxed: got.HasBox, area: got.Area, crowd: got.Crowd}}
		if id <= 0 || id >= 1<<24 {
			return fmt.Errorf("segment id %d is no colour", id)
		}
		g.id = uint32(id)
		g.class, g.thing = -1, -1
		things := 0
		for i, c := range d.index.categories {
			if c.id == got.Category {
				g.class = i
				if c.thing {
					g.thing = things
				}
			}
			if c.thing {
				things++
			}
		}
		if g.class < 0 {
			return fmt.Errorf(`segment %d is of category_id %v, which "categories" does not list`, id, got.Category)
		}
		all = append(all, g)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("segments_info: %w", err)
	}
	return all, nil
}
