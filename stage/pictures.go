package stage

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strconv"

	"must/data"
	"must/draw"
	"must/predict"
	"must/task/detection"
	"must/task/registry"
)

// Pictures of a stage lie in <stage>/pictures, those of a transfer set in <stage>/<set>/pictures, as
// <task>-<i>-<what>.png; what is the image, the truth, or who sees it.
const (
	pictureFolder  = "pictures"
	imagePicture   = "image"
	truthPicture   = "truth"
	teacherPicture = "teacher"
	studentPicture = "student"
	trainedPicture = "prediction" // of a train stage on its validation part
)

// Numbers of images and their sides in pixels.
const (
	stageImages, stageSide       = 4, 256
	transferImages, transferSide = 2, 160
	pretextSide                  = 128
)

// A viewer is a network whose predictions are drawn. Thresholds are those of pseudo labels; for a
// task without one, what the network says is drawn as it is.
type viewer struct {
	name       string
	net        predict.Predictor
	thresholds map[string]float64
}

// shown are the thresholds for predictions that are no labels: only objects that a detector is more
// sure of than not.
var shown = map[string]float64{detection.Name: 0.5}

// pictures draws n images spread over a set: themselves, their truth for the task, and what each
// network sees.
func pictures(ctx context.Context, dir string, ds data.Dataset, name string, n, side int, viewers ...viewer) error {
	chosen := spread(ds, name, n)
	save := func(i int, what string, img image.Image) error {
		return draw.WritePNG(picturePath(dir, name, i, what), img)
	}
	for _, v := range viewers {
		uses := []predict.Use{{Net: v.net, Tasks: []string{name}}}
		err := predict.Run(ctx, uses, chosen, predict.Options{Batch: n}, func(i int, truth, pred *data.Sample) error {
			o := draw.Options{Side: side}
			o.Near, o.Far = draw.Range(truth, name)
			if err := save(i, imagePicture, draw.Image(truth, o)); err != nil {
				return err
			}
			if err := save(i, truthPicture, draw.Overlay(truth, ds.Labels(), name, o)); err != nil {
				return err
			}
			if t, ok := v.thresholds[name]; ok && pred.Has(name) {
				registry.Pseudo(pred, name, t)
			}
			pred.Image = truth.Image
			return save(i, v.name, draw.Overlay(pred, v.net.Knows(), name, o))
		})
		if err != nil {
			return fmt.Errorf("pictures of %s: %w", name, err)
		}
	}
	return nil
}

func picturePath(dir, task string, i int, what string) string {
	return filepath.Join(dir, task+"-"+strconv.Itoa(i)+"-"+what+".png")
}

// readPicture returns a picture, nil where there is none.
func readPicture(dir, task string, i int, what string) image.Image {
	f, err := os.Open(picturePath(dir, task, i, what))
	if err != nil {
		return nil
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		return nil
	}
	return img
}

// spread returns n samples at even distances, or the next one each that has something to show for
// the task.
func spread(ds data.Dataset, name string, n int) data.Dataset {
	const tries = 10
	n = min(n, ds.Len())
	s := some{Dataset: ds}
	for i := range n {
		from, to := i*ds.Len()/n, (i+1)*ds.Len()/n
		at := from
		for k := from; k < min(from+tries, to); k++ {
			if c, err := ds.Sample(k); err == nil && c.Has(name) && registry.Get(name).Count(c.Label(name)) > 0 {
				at = k
				break
			}
		}
		s.index = append(s.index, at)
	}
	return s
}

type some struct {
	data.Dataset
	index []int
}

func (s some) Len() int                           { return len(s.index) }
func (s some) Key(i int) string                   { return s.Dataset.Key(s.index[i]) }
func (s some) Sample(i int) (*data.Sample, error) { return s.Dataset.Sample(s.index[i]) }

// pictureSheet lays the pictures of a folder out, one group of columns per image; nil where there are none.
func pictureSheet(dir, name string, n, images int, columns ...string) ([]byte, error) {
	var tiles []draw.Tile
	for i := range n {
		if readPicture(dir, name, i, imagePicture) == nil {
			continue
		}
		for _, what := range columns {
			if img := readPicture(dir, name, i, what); img != nil {
				tiles = append(tiles, draw.Tile{Caption: what, Image: img})
			}
		}
	}
	if tiles == nil {
		return nil, nil
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, draw.Grid("", images*len(columns), tiles...), draw.JPEG)
	return b.Bytes(), err
}
