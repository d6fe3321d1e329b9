package coco

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"must/data"
	"must/data/frame"
	"must/data/imagefile"
	"must/task/segmentation"
)

// setStuff makes maps, drawn from the masks of all annotations, the labels.
func (d *Dataset) setStuff() error {
	if len(d.index.categories) > data.Ignore {
		return fmt.Errorf("%d categories are more than the %d that a map can hold", len(d.index.categories), data.Ignore)
	}
	d.label = (*Dataset).regions
	d.labels = d.labels.With(segmentation.Name, data.Meaning{Classes: d.index.classes()})
	return nil
}

// regions gives a sample its map. Where regions overlap, the later counts.
func (d *Dataset) regions(at int, s *data.Sample, f frame.Frame) (err error) {
	w, h := f.W, f.H
	segmentation.Set(s, data.NewGrid[uint8](w, h))
	for i := range segmentation.Of(s).Pix {
		segmentation.Of(s).Pix[i] = data.Ignore
	}
	for _, n := range d.index.of(at) {
		a := d.index.annotations.at(n)
		if a.length == 0 {
			continue
		}
		m, err := d.mask(a, w, h)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		for i, v := range m.Pix {
			if v != 0 {
				segmentation.Of(s).Set(m.Rect.Min.X+i%m.Rect.Dx(), m.Rect.Min.Y+i/m.Rect.Dx(), uint8(a.class))
			}
		}
	}
	m, err := frame.Grid(f, segmentation.Of(s))
	segmentation.Set(s, m)
	return err
}

// findMaps returns the folder of a split's PNG maps under root, "" if there is none.
func findMaps(root, split string) (string, error) {
	var found []string
	for _, above := range []string{"stuffthingmaps", "stuffthingmaps_trainval2017", "annotations"} {
		entries, err := imagefile.ReadDir(filepath.Join(root, above))
		if err != nil {
			continue
		}
		for _, e := range entries {
			// The folders of panoptic maps have longer names.
			if e.Dir && len(words(e.Name)) == 1 && (split == "" && splitOf(e.Name, "") != "" || split != "" && splitOf(e.Name, split) == split) {
				found = append(found, filepath.Join(root, above, e.Name))
			}
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s: several folders of maps, %s: choose by split", root, strings.Join(found, ", "))
}

// mapped is a folder of maps and its images.
type mapped struct {
	images, maps string // folders
	files        []string
	pictures     map[string][]string // images of a key
	frame        string
	counts       frame.Counts
}

// openMaps reads the images that have a map.
func openMaps(maps string, src data.Source) (data.Dataset, error) {
	d := &mapped{images: src.Images, maps: maps, frame: src.Frame}
	if d.images == "" {
		for _, dir := range []string{"", "images"} {
			if dir = filepath.Join(src.Path, dir, filepath.Base(maps)); isDir(dir) {
				d.images = dir
			}
		}
		if d.images == "" {
			return nil, fmt.Errorf("%s: no folder %s with the images of the maps in %s", src.Path, filepath.Base(maps), maps)
		}
	}
	files, err := imagefile.List(maps)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		// Other programs leave maps of their own numbering beside these.
		if path.Ext(f) == ".png" && !strings.HasSuffix(f, "_labelTrainIds.png") {
			d.files = append(d.files, f)
		}
	}
	if len(d.files) == 0 {
		return nil, fmt.Errorf("%s: no PNG maps in it", maps)
	}
	pictures, err := imagefile.List(d.images)
	if err != nil {
		return nil, err
	}
	d.pictures = make(map[string][]string, len(pictures))
	for _, p := range pictures {
		stem := strings.TrimSuffix(p, path.Ext(p))
		d.pictures[stem] = append(d.pictures[stem], p)
	}
	return d, nil
}

// Notes tells of turned pictures.
func (d *mapped) Notes() []string     { return d.counts.Notes() }
func (d *mapped) Len() int            { return len(d.files) }
func (d *mapped) Labels() data.Labels { return data.Labels{segmentation.Name: {Classes: StuffThings}} }
func (d *mapped) Key(i int) string    { return strings.TrimSuffix(d.files[i], ".png") }

func (d *mapped) Sample(i int) (*data.Sample, error) {
	key := d.Key(i)
	pictures := d.pictures[key]
	switch len(pictures) {
	case 0:
		return nil, &data.SampleError{Key: key, Err: fmt.Errorf("no image of that name in %s", d.images)}
	case 1:
	default:
		return nil, &data.SampleError{Key: key, Err: fmt.Errorf("its map could be of %s", strings.Join(pictures, " or "))}
	}
	mapFile := filepath.Join(d.maps, filepath.FromSlash(d.files[i]))
	g, err := imagefile.DecodeIndex(mapFile)
	if err != nil {
		return nil, &data.SampleError{Key: key, Err: err}
	}
	s, f, err := frame.Sample(key, filepath.Join(d.images, filepath.FromSlash(pictures[0])), d.frame, g.W, g.H, &d.counts)
	if err != nil {
		return nil, err
	}
	for p, v := range g.Pix {
		if v == data.Ignore {
			continue
		}
		class := stuffClass[v]
		if class == data.Ignore {
			return nil, &data.SampleError{Key: key, File: mapFile, Err: fmt.Errorf("pixel (%d, %d) is %d, which COCO-Stuff does not use", p%g.W, p/g.W, v)}
		}
		g.Pix[p] = class
	}
	m, err := frame.Grid(f, g)
	if err != nil {
		return nil, &data.SampleError{Key: key, File: mapFile, Err: err}
	}
	segmentation.Set(s, m)
	return s, nil
}
