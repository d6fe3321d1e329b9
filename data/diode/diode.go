// Package diode reads DIODE: photos of indoor and outdoor scenes with dense depth and surface normals
// from a laser scanner (https://diode-dataset.org).
//
//	{train,val}/{indoors,outdoor}/scene_00019/scan_00183/
//		00019_00183_indoors_000_010.png
//		00019_00183_indoors_000_010_depth.npy         768×1024×1 float32, metres
//		00019_00183_indoors_000_010_depth_mask.npy    768×1024, 1 valid
//		00019_00183_indoors_000_010_normal.npy        768×1024×3 float32; an archive of its own
package diode

import (
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/data/npy"
	depthlabel "must/task/depth"
	"must/task/normals"
)

// Names of files after the stem that they share.
const (
	imageEnd  = ".png"
	depthEnd  = "_depth.npy"
	maskEnd   = "_depth_mask.npy"
	normalEnd = "_normal.npy"
)

// The camera, in pixels of a 1024×768 image (intrinsics.txt of the devkit).
const (
	focalX, focalY   = 886.81, 927.06
	centreX, centreY = 512, 384
	fullW, fullH     = 1024, 768
)

var places = []string{"indoors", "outdoor"}

// Open reads the set in src.Path: the folder with train and val, or one of these two, depth and normals
// unpacked into the same place. src.Split is train or val, src.Set is indoors or outdoor; "" is all
// there are. Keys are paths below src.Path. Opening lists the folders; which images count is what is
// there, not a list. An image has the labels whose files lie beside it.
//
// Depth is metric; what the mask calls invalid, and what is not above 0, becomes NaN. Normals are
// stored with x right, y up and z towards the camera; they are turned into ours by negating y and z,
// made unit length, and where one points away from the camera, which no visible surface does, negated
// (the same two steps as in Metric3D's reader). (0, 0, 0) is invalid.
func Open(src data.Source) (data.Dataset, error) {
	if src.Set != "" && !slices.Contains(places, src.Set) {
		return nil, fmt.Errorf("diode: subset is %q, want indoors or outdoor", src.Set)
	}
	if src.Split != "" && src.Split != "train" && src.Split != "val" {
		return nil, data.NoPart(fmt.Errorf("diode: split is %q, but DIODE has train and val", src.Split))
	}
	d := &dataset{folder: src.Path}
	roots, err := d.roots(src.Split)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		for _, place := range places {
			if (src.Set == "" || src.Set == place) && isDir(d.path(path.Join(root, place))) {
				if err := d.walk(path.Join(root, place), 2); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(d.items) == 0 {
		return nil, data.NoPart(fmt.Errorf("%s: no images in scene and scan folders of %s for split %q and set %q", src.Path, strings.Join(roots, ", "), src.Split, src.Set))
	}
	if !d.labels.Has(depthlabel.Name) && !d.labels.Has(normals.Name) {
		return nil, fmt.Errorf("%s: no *%s and no *%s beside its %d images; unpack DIODE's archives into one folder", src.Path, depthEnd, normalEnd, len(d.items))
	}
	return d, nil
}

func isDir(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// roots returns the folders that hold places, relative to the set's.
func (d *dataset) roots(split string) ([]string, error) {
	if _, err := imagefile.ReadDir(d.folder); err != nil {
		return nil, err
	}
	holds := func(root string) bool {
		return slices.ContainsFunc(places, func(place string) bool { return isDir(d.path(path.Join(root, place))) })
	}
	if holds(".") {
		if base := filepath.Base(filepath.Clean(d.folder)); split != "" && split != base {
			return nil, fmt.Errorf("%s: split is %q, but the folder is a split itself, by its name %s: give the folder above it", d.folder, split, base)
		}
		return []string{"."}, nil
	}
	var roots []string
	for _, name := range []string{"train", "val"} {
		if (split == "" || split == name) && holds(name) {
			roots = append(roots, name)
		}
	}
	if len(roots) == 0 {
		return nil, data.NoPart(fmt.Errorf("%s: not in DIODE's layout, there is no folder %s with indoors or outdoor in it", d.folder, strings.Trim(split+" ", " ")))
	}
	return roots, nil
}

type dataset struct {
	folder string
	labels data.Labels
	items  []item
}

// An item is an image and what lies beside it.
type item struct {
	stem          string // its key
	depth, normal bool
}

func (d *dataset) path(rel string) string { return filepath.Join(d.folder, filepath.FromSlash(rel)) }

// walk lists a folder; images are levels further down: scene, scan.
func (d *dataset) walk(rel string, levels int) error {
	entries, err := imagefile.ReadDir(d.path(rel))
	if err != nil {
		return err
	}
	present := map[string]bool{}
	for _, e := range entries {
		switch {
		case e.Dir && levels > 0:
			if err := d.walk(path.Join(rel, e.Name), levels-1); err != nil {
				return err
			}
		case !e.Dir && levels == 0:
			present[e.Name] = true
		}
	}
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name, imageEnd)
		if !ok || !present[e.Name] || stem == "" {
			continue
		}
		it := item{path.Join(rel, stem), present[stem+depthEnd], present[stem+normalEnd]}
		if it.depth {
			d.labels = d.labels.With(depthlabel.Name, data.Meaning{Units: data.Metric})
		}
		if it.normal {
			d.labels = d.labels.With(normals.Name, data.Meaning{})
		}
		d.items = append(d.items, it)
	}
	return nil
}

func (d *dataset) Len() int            { return len(d.items) }
func (d *dataset) Labels() data.Labels { return d.labels }
func (d *dataset) Key(i int) string    { return d.items[i].stem }

func (d *dataset) Sample(i int) (*data.Sample, error) {
	it := d.items[i]
	s, err := imagefile.Sample(it.stem, d.path(it.stem+imageEnd))
	if err != nil {
		return nil, err
	}
	w, h := s.Image.Rect.Dx(), s.Image.Rect.Dy()
	if it.depth {
		m, err := readDepth(d.path(it.stem+depthEnd), d.path(it.stem+maskEnd), w, h)
		if err != nil {
			return nil, &data.SampleError{Key: it.stem, Err: err}
		}
		depthlabel.Set(s, m)
	}
	if it.normal {
		m, err := readNormals(d.path(it.stem+normalEnd), w, h)
		if err != nil {
			return nil, &data.SampleError{Key: it.stem, Err: err}
		}
		normals.Set(s, m)
	}
	return s, nil
}

// read returns the values of an array of h×w pixels with the given number of channels; one channel
// may be written as none.
func read(file string, w, h, channels int) ([]float32, error) {
	a, err := npy.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(a.Shape, []int{h, w, channels}) && !(channels == 1 && slices.Equal(a.Shape, []int{h, w})) {
		return nil, fmt.Errorf("%s: shape %v, but its image has %d rows of %d pixels, so it must be [%[3]d %[4]d %d]", file, a.Shape, h, w, channels)
	}
	return a.Values, nil
}

func readDepth(file, maskFile string, w, h int) (*data.Grid[float32], error) {
	depth, err := read(file, w, h, 1)
	if err != nil {
		return nil, err
	}
	mask, err := read(maskFile, w, h, 1)
	if err != nil {
		return nil, err
	}
	for i, z := range depth {
		if mask[i] == 0 || !(z > 0) || math.IsInf(float64(z), 1) {
			depth[i] = float32(math.NaN())
		}
	}
	return &data.Grid[float32]{W: w, H: h, Pix: depth}, nil
}

func readNormals(file string, w, h int) (*data.Grid[[3]float32], error) {
	v, err := read(file, w, h, 3)
	if err != nil {
		return nil, err
	}
	g := data.NewGrid[[3]float32](w, h)
	for i := range g.Pix {
		x, y, z := float64(v[3*i]), -float64(v[3*i+1]), -float64(v[3*i+2])
		length := math.Sqrt(x*x + y*y + z*z)
		if !(length > 1e-6) || math.IsInf(length, 1) {
			continue
		}
		// The ray through the middle of the pixel; a surface that it hits faces against it.
		rayX := ((float64(i%w)+0.5)*fullW/float64(w) - centreX) / focalX
		rayY := ((float64(i/w)+0.5)*fullH/float64(h) - centreY) / focalY
		if x*rayX+y*rayY+z > 0 {
			length = -length
		}
		g.Pix[i] = [3]float32{float32(x / length), float32(y / length), float32(z / length)}
	}
	return g, nil
}
