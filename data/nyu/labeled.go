package nyu

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"must/data"
	"must/data/hdf5"
	"must/data/matfile"
	depthlabel "must/task/depth"
)

// Files of the labelled set as published.
const (
	labeledName = "nyu_depth_v2_labeled.mat"
	splitsName  = "splits.mat"
)

// labeledFile returns the labelled set, where path is it or a folder with it.
func labeledFile(path string) (string, bool) {
	if filepath.Ext(path) != ".mat" {
		path = filepath.Join(path, labeledName)
	}
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular()
}

// openLabeled opens the labelled set: 1449 images of 640×480 with depth in metres. src.Split is train (795) or
// test (654), told by splits.mat beside the file, or "" for all. src.Set is "" for depth as measured
// (rawDepths, missing where the sensor saw nothing: what scores are computed on) or "filled" for
// in-painted depth. Keys are positions in the file, from 00000, as the names that BTS's list of the test set has
// them. One image at a time is read from the file.
func openLabeled(file string, src data.Source) (data.Dataset, error) {
	variable, ok := map[string]string{"": "rawDepths", "filled": "depths"}[src.Set]
	if !ok {
		return nil, fmt.Errorf("%s: subset is %q, want \"\" for measured depth or filled for in-painted", file, src.Set)
	}
	if src.Units != "" && src.Units != data.Metric {
		return nil, fmt.Errorf("%s: units is %q, but its depth is metric: leave it out", file, src.Units)
	}
	if src.Scale != 0 && src.Scale != 1 {
		return nil, fmt.Errorf("%s: scale is %v, but its depth is in metres: leave it out", file, src.Scale)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	d := &labeled{file: file, content: f}
	if err := d.find(variable); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if d.indices, err = readSplit(filepath.Join(filepath.Dir(file), splitsName), src.Split, d.images.Shape[0]); err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

// find finds the variables and checks that they belong together. MATLAB's axes come in reverse.
func (d *labeled) find(variable string) error {
	info, err := d.content.Stat()
	if err != nil {
		return err
	}
	h, err := hdf5.Open(d.content, info.Size())
	if err != nil {
		return err
	}
	if d.images, err = h.Dataset("images"); err != nil {
		return err
	}
	if d.depths, err = h.Dataset(variable); err != nil {
		return err
	}
	i, z := d.images.Shape, d.depths.Shape
	if len(i) != 4 || i[1] != 3 || !slices.Equal(z, []int{i[0], i[2], i[3]}) {
		return fmt.Errorf("images of shape %v and %s of %v, want N×3×640×480 and N×640×480", i, variable, z)
	}
	return nil
}

// readSplit returns the positions in a split, from 0.
func readSplit(file, split string, n int) ([]int, error) {
	if split == "" {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	variable, ok := map[string]string{"train": "trainNdxs", "test": "testNdxs"}[split]
	if !ok {
		return nil, data.NoPart(fmt.Errorf("nyu: split is %q, but the labelled set has train and test", split))
	}
	vars, err := matfile.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file, but it tells train from test: fetch %s from the page of NYU Depth v2", file, splitsName)
	}
	if err != nil {
		return nil, err
	}
	var out []int
	for _, v := range vars[variable].Numbers {
		if v != float64(int(v)) || v < 1 || int(v) > n { // they count from 1
			return nil, fmt.Errorf("%s: %s names image %v of %d", file, variable, v, n)
		}
		out = append(out, int(v)-1)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no %s in it", file, variable)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

type labeled struct {
	file           string
	content        *os.File
	images, depths *hdf5.Dataset // [N, 3, W, H] of 0–255, [N, W, H] in metres
	indices        []int
}

// Close closes the file.
func (d *labeled) Close() error { return d.content.Close() }

func (d *labeled) Len() int            { return len(d.indices) }
func (d *labeled) Labels() data.Labels { return data.Labels{depthlabel.Name: {Units: data.Metric}} }
func (d *labeled) Key(i int) string    { return fmt.Sprintf("%05d", d.indices[i]) }

func (d *labeled) Sample(i int) (*data.Sample, error) {
	w, h := d.images.Shape[2], d.images.Shape[3]
	s := &data.Sample{Key: d.Key(i), Image: image.NewRGBA(image.Rect(0, 0, w, h)), Known: data.Know(depthlabel.New(data.NewGrid[float32](w, h)))}
	rgb, err := d.images.Index(d.indices[i])
	var depth []float32
	if err == nil {
		depth, err = d.depths.Index(d.indices[i])
	}
	if err != nil {
		return nil, &data.SampleError{Key: s.Key, File: d.file, Err: err}
	}
	for y := range h {
		for x := range w {
			from := x*h + y
			p := s.Image.Pix[s.Image.PixOffset(x, y):]
			p[0], p[1], p[2], p[3] = uint8(rgb[from]), uint8(rgb[w*h+from]), uint8(rgb[2*w*h+from]), 255
			depthlabel.Of(s).Set(x, y, valid(depth[from]))
		}
	}
	return s, nil
}

// valid makes NaN of what no sensor measures.
func valid(metres float32) float32 {
	if !(metres > 0) || math.IsInf(float64(metres), 1) {
		return float32(math.NaN())
	}
	return metres
}
