// Package predictions writes what a network sees in images: JSON, pictures with every task drawn in, and
// maps as files. docs/formats-predictions.md describes the format.
package predictions

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"

	"must/atomicfile"
	"must/data"
	"must/data/imagefile"
	"must/data/npy"
	"must/draw"
	"must/label"
	"must/metric/rle"
	"must/predict"
	"must/progress"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/registry"
	"must/task/segmentation"
)

// A Prediction is the JSON of one image, described in docs/formats-predictions.md. A task that the
// network lacks is absent.
type Prediction struct {
	Image          string            `json:"image"`
	Width          int               `json:"width"`
	Height         int               `json:"height"`
	Network        string            `json:"network"` // sha256 of its file
	Classification []Likely          `json:"classification,omitempty"`
	Detection      []Found           `json:"detection,omitzero"`
	Segmentation   *SegmentationFile `json:"segmentation,omitempty"`
	Depth          *DepthFile        `json:"depth,omitempty"`
	Normals        *MapFile          `json:"normals,omitempty"`
}

// Likely is a class and its probability.
type Likely struct {
	Class       string  `json:"class"`
	Probability float32 `json:"probability"`
}

// Found is an object. Its box is x, y, width, height in pixels.
type Found struct {
	Class string     `json:"class"`
	Score float32    `json:"score"`
	Box   [4]float64 `json:"bbox"`
	Mask  *COCOMask  `json:"segmentation,omitempty"`
}

// A COCOMask is COCO's compressed run lengths.
type COCOMask struct {
	Size   [2]int `json:"size"` // height, width
	Counts string `json:"counts"`
}

// A MapFile names a file beside the JSON.
type MapFile struct {
	File string `json:"file,omitempty"`
}

// A SegmentationFile is a palette PNG of class indices, and the share of the image of every class in it.
type SegmentationFile struct {
	MapFile
	Classes []string           `json:"classes"` // by index
	Shares  map[string]float64 `json:"shares"`
}

// A DepthFile is a float32 .npy file.
type DepthFile struct {
	MapFile
	Units    string  `json:"units"`
	Nearest  float32 `json:"nearest"`
	Farthest float32 `json:"farthest"`
}

// likely is the number of classes that a prediction names.
const likely = 5

// Images is a set of image files and of folders of them. Every one has a key to name what is written
// about it.
func Images(paths []string) (data.Dataset, error) {
	d := &imageFiles{}
	seen := map[string]bool{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		folder, files := filepath.Dir(path), []string{filepath.Base(path)}
		if info.IsDir() {
			folder = path
			if files, err = imagefile.List(path); err != nil {
				return nil, err
			}
			if len(files) == 0 {
				return nil, fmt.Errorf("%s: no images in it (names ending in .jpg, .png, …)", path)
			}
		}
		for i, key := range imagefile.Keys(files) {
			unique := key
			for n := 2; seen[unique]; n++ {
				unique = key + "-" + strconv.Itoa(n)
			}
			seen[unique] = true
			d.keys = append(d.keys, unique)
			d.files = append(d.files, filepath.Join(folder, filepath.FromSlash(files[i])))
		}
	}
	return d, nil
}

type imageFiles struct{ keys, files []string }

func (d *imageFiles) Len() int            { return len(d.files) }
func (d *imageFiles) Labels() data.Labels { return data.Labels{} }
func (d *imageFiles) Key(i int) string    { return d.keys[i] }

func (d *imageFiles) Sample(i int) (*data.Sample, error) {
	return imagefile.Sample(d.keys[i], d.files[i])
}

func (d *imageFiles) Reduced(i, side int) (*data.Sample, image.Point, error) {
	return imagefile.Reduced(d.keys[i], d.files[i], side)
}

// Predict writes what a network, or an external model, sees in each image: KEY.json, KEY.png with every
// task drawn in, and maps beside them. Objects below the threshold are left out; batch is how many images
// the network sees at once, 0 for as many as usual. It returns the number of images that could not be read.
func Predict(ctx context.Context, from label.Teacher, images data.Dataset, out string, threshold float64, batch int, display *progress.Display) (broken int, err error) {
	net := from.Net
	labels := net.Knows()
	var skipped atomic.Int64
	o := predict.Options{Name: "predict", Display: display, Batch: batch, Pixels: drawnPixels, Skipped: func(err error) {
		skipped.Add(1)
		display.Logf("skipped: %v", err)
	}}
	o.Rules = func(pred *data.Sample) {
		if pred.Has(detection.Name) {
			pred.Put(registry.Get(detection.Name).Pseudo(pred.Label(detection.Name), threshold))
		}
	}
	err = predict.Look(ctx, []predict.Use{{Net: net}}, images, o, func(seen *predict.Seen) error {
		p := &Prediction{Image: seen.Sample.Key, Network: from.Hash, Width: seen.Size.X, Height: seen.Size.Y}
		if files, ok := images.(*imageFiles); ok {
			p.Image = files.files[seen.Index]
		}
		return p.write(filepath.Join(out, filepath.FromSlash(seen.Sample.Key)), seen, labels)
	})
	return int(skipped.Load()), err
}

// drawnPixels is how much of an image is kept for its picture, whose panels are far smaller.
const drawnPixels = 1 << 20

// Describe says what is predicted of an image. Its maps have no files yet.
func Describe(pred *data.Sample, l data.Labels) *Prediction {
	size := pred.Image.Rect.Size()
	p := &Prediction{Width: size.X, Height: size.Y}
	p.add(pred, l)
	return p
}

// add says what is predicted of the tasks that pred has.
func (p *Prediction) add(pred *data.Sample, l data.Labels) {
	size := pred.Image.Rect.Size()
	if classification.Of(pred) != nil {
		p.classes(classification.Of(pred), l[classification.Name].Classes)
	}
	if detection.Of(pred) != nil {
		p.Detection = []Found{}
		for _, o := range detection.Of(pred) {
			f := Found{Class: l[detection.Name].Classes[o.Class], Score: o.Score, Box: [4]float64{o.Box.X0, o.Box.Y0, o.Box.W(), o.Box.H()}}
			if o.Mask != nil {
				f.Mask = &COCOMask{[2]int{size.Y, size.X}, rle.FromMask(o.Mask, size.Y, size.X).String()}
			}
			p.Detection = append(p.Detection, f)
		}
	}
	if g := segmentation.Of(pred); g != nil {
		p.Segmentation = &SegmentationFile{Classes: l[segmentation.Name].Classes, Shares: map[string]float64{}}
		for _, class := range g.Pix {
			if int(class) < len(l[segmentation.Name].Classes) {
				p.Segmentation.Shares[l[segmentation.Name].Classes[class]] += 1 / float64(len(g.Pix))
			}
		}
	}
	if depth.Of(pred) != nil {
		near, far := draw.Range(pred, depth.Name)
		p.Depth = &DepthFile{Units: l[depth.Name].Units, Nearest: float32(near), Farthest: float32(far)}
	}
	if normals.Of(pred) != nil {
		p.Normals = &MapFile{}
	}
}

// A PredictedMap is a map of a prediction as a file.
type PredictedMap struct {
	Suffix string  // of the file's name
	Name   *string // where the prediction names the file
	Write  func(io.Writer) error
}

// Maps returns the maps that a prediction names.
func (p *Prediction) Maps(pred *data.Sample) (maps []PredictedMap) {
	if g := segmentation.Of(pred); g != nil {
		maps = append(maps, PredictedMap{".segmentation.png", &p.Segmentation.File, func(w io.Writer) error { return segmentation.EncodeMap(w, g) }})
	}
	if g := depth.Of(pred); g != nil {
		maps = append(maps, PredictedMap{".depth.npy", &p.Depth.File, func(w io.Writer) error {
			return npy.Write(w, npy.Float32, []int{g.H, g.W}, slices.Values([][]float32{g.Pix}))
		}})
	}
	if g := normals.Of(pred); g != nil {
		maps = append(maps, PredictedMap{".normals.npy", &p.Normals.File, func(w io.Writer) error {
			return npy.Write(w, npy.Float32, []int{g.H, g.W, 3}, func(yield func([]float32) bool) {
				for i := range g.Pix {
					if !yield(g.Pix[i][:]) {
						return
					}
				}
			})
		}})
	}
	return maps
}

// write writes the files of one prediction, all beginning with base.
func (p *Prediction) write(base string, seen *predict.Seen, l data.Labels) error {
	if err := os.MkdirAll(filepath.Dir(base), 0o777); err != nil {
		return err
	}
	size := seen.Size
	for _, name := range l.Tasks() { // the maps of large images one by one
		pred := seen.At(size.X, size.Y, name)
		p.add(pred, l)
		for _, m := range p.Maps(pred) {
			*m.Name = filepath.Base(base) + m.Suffix
			if err := atomicfile.Write(base+m.Suffix, m.Write); err != nil {
				return err
			}
		}
	}
	size = seen.Sample.Image.Rect.Size()
	drawn := seen.At(size.X, size.Y)
	drawn.Image = seen.Sample.Image
	if err := draw.WritePNG(base+".png", draw.Panel(drawn, l, draw.Options{Side: 384})); err != nil {
		return err
	}
	return atomicfile.WriteJSON(base+".json", p)
}

// classes names the likeliest.
func (p *Prediction) classes(distribution []float32, names []string) {
	for i, q := range distribution {
		p.Classification = append(p.Classification, Likely{names[i], q})
	}
	slices.SortStableFunc(p.Classification, func(a, b Likely) int { return cmp.Compare(b.Probability, a.Probability) })
	p.Classification = p.Classification[:min(likely, len(p.Classification))]
}
