package export

import (
	"fmt"

	"github.com/goccy/go-yaml"

	"must/data/yolo"
	"must/label/shards"
	"must/task/detection"
)

type yoloConfig struct {
	Path  string   `yaml:"path"`
	Train string   `yaml:"train"`
	Val   string   `yaml:"val"`
	Names []string `yaml:"names"`
}

// YOLO writes labels/KEY.txt with a line "class x y width height" for each object, center and size as
// fractions of the image's, and data.yaml with the names. An image without objects has an empty file, one
// whose objects are unknown, or crowds all of them, has none. Crowds are left out. Labels lie where the field's
// programs look for them: of a key with a folder images in it, beside that folder. The images belong into images/ beside
// labels/, under their keys; with Source.Images they are written there.
func YOLO(s Source, dir string) error {
	if err := s.need(detection.Name, "YOLO"); err != nil {
		return err
	}
	config, err := yaml.Marshal(yoloConfig{".", "images", "images", s.Labels[detection.Name].Classes})
	if err != nil {
		return err
	}
	return fill(dir, func(f *folder) error {
		if err := f.write("data.yaml", config); err != nil {
			return err
		}
		for r, err := range s.withImages(f, "images").Records {
			if err != nil {
				return err
			}
			if !s.told(r) {
				continue
			}
			text, lost := yoloLines(r)
			if len(text) == 0 && lost > 0 { // an empty file would say that there are none
				continue
			}
			if lost > 0 && detection.Unknown(r.Sample) == nil && s.Partial != nil {
				s.Partial(r.Key)
			}
			if err := f.write(yolo.LabelFile("images/"+r.Key+".png"), text); err != nil {
				return err
			}
		}
		return nil
	})
}

// yoloLines returns the lines of an image, and how many objects have none.
func yoloLines(r shards.Record) (b []byte, lost int) {
	w, h := float64(r.W), float64(r.H)
	for _, o := range detection.Of(r.Sample) {
		box := o.Box.Clip(r.W, r.H)
		if o.Crowd || box.Area() == 0 {
			lost++
			continue
		}
		b = fmt.Appendf(b, "%d %.8g %.8g %.8g %.8g\n", o.Class, (box.X0+box.X1)/2/w, (box.Y0+box.Y1)/2/h, box.W()/w, box.H()/h)
	}
	return b, lost
}
