package label

import (
	"fmt"
	"image"
	"testing"

	"must/data"
	"must/label/shards"
	"must/predict"
	"must/task/depth"
)

// bright is a set of images, each of its own brightness.
type bright int

func (n bright) Len() int          { return int(n) }
func (bright) Labels() data.Labels { return data.Labels{} }
func (bright) Key(i int) string    { return fmt.Sprint(i) }
func (b bright) Sample(i int) (*data.Sample, error) {
	s := &data.Sample{Key: b.Key(i), Image: image.NewRGBA(image.Rect(0, 0, 4, 4))}
	for p := range s.Image.Pix {
		s.Image.Pix[p] = uint8(i)
	}
	return s, nil
}

// far sees too large a depth in the image of brightness 3.
type far struct{}

func (far) Knows() data.Labels { return data.Labels{depth.Name: {Units: data.Metric}} }
func (far) View() predict.View { return predict.View{W: 4, H: 4, Fit: predict.Letterbox} }
func (far) Settings() []byte   { return nil }
func (far) Free()              {}
func (far) See(images predict.Images, _ ...string) (preds []*data.Sample, err error) {
	for i := range images.N {
		g := data.NewGrid[float32](4, 4)
		for p := range g.Pix {
			if g.Pix[p] = 1; images.Pix[i*3*16] == 3 {
				g.Pix[p] = 1e6 // no float16
			}
		}
		preds = append(preds, &data.Sample{Known: data.Know(depth.New(g))})
	}
	return preds, nil
}

// A label that cannot be stored is skipped and counted; the others are there.
func TestUnstorableLabel(t *testing.T) {
	dir := t.TempDir()
	sum, err := Run(t.Context(), bright(8), []Teacher{{Net: far{}, Path: "far", Hash: "1", Tasks: []string{depth.Name}}}, dir, Options{Batch: 4})
	if err != nil || sum.Images != 7 || sum.Skipped != 1 {
		t.Fatalf("%+v, %v", sum, err)
	}
	set, err := shards.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if x := set.Index(); !x.Complete || x.Skipped != 1 {
		t.Errorf("%+v", x)
	}
}
