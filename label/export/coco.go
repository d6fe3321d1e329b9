package export

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"must/atomicfile"
	"must/metric/rle"
	"must/task/detection"
)

type cocoImage struct {
	ID     int    `json:"id"`
	File   string `json:"file_name"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

type cocoAnnotation struct {
	ID       int        `json:"id"`
	Image    int        `json:"image_id"`
	Category int        `json:"category_id"`
	Box      [4]float64 `json:"bbox"` // x, y, width, height
	Area     float64    `json:"area"`
	Crowd    int        `json:"iscrowd"`
	Score    float32    `json:"score"`
	Mask     *cocoRLE   `json:"segmentation,omitempty"`
}

type cocoRLE struct {
	Size   [2]int `json:"size"`
	Counts string `json:"counts"`
}

type cocoCategory struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// COCO writes an instances file. Category ids are class indices + 1, image and annotation ids count
// from 1 (pycocotools takes an id of 0 for "no match"). Masks are compressed run lengths; an annotation's area is
// the annotated one, else the mask's, else the box's; its score is a field that COCO does not know.
// Images whose objects are unknown are left out.
func COCO(s Source, path string) error {
	if err := s.need(detection.Name, "COCO JSON"); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return s.cocoFile(w, filepath.Dir(path)) })
}

// COCOFolder writes a part of a set as COCO lays it out: annotations/instances_PART.json and, with
// Source.Images, the images in PART.
func COCOFolder(s Source, dir string) error {
	part := cmp.Or(s.Part, "train")
	if err := s.need(detection.Name, "COCO JSON"); err != nil {
		return err
	}
	return fill(dir, func(f *folder) error {
		if err := f.root.MkdirAll("annotations", 0o777); err != nil {
			return err
		}
		return f.stream("annotations/instances_"+part+".json", func(w io.Writer) error {
			return s.withImages(f, part).cocoFile(w, f.temp)
		})
	})
}

// cocoFile writes an instances file. Images and annotations are two lists, so one of them waits in a
// file in the folder temp.
func (s Source) cocoFile(w io.Writer, temp string) error {
	images, err := os.CreateTemp(temp, ".images.*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(images.Name())
	defer images.Close()
	buffered := bufio.NewWriter(images)
	if err := s.writeCOCO(w, buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if _, err := images.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return finishCOCO(w, images)
}

// writeCOCO writes the file up to the last annotation, and the entries of the list of images.
func (s Source) writeCOCO(w, images io.Writer) error {
	categories := make([]cocoCategory, len(s.Labels[detection.Name].Classes))
	for i, name := range s.Labels[detection.Name].Classes {
		categories[i] = cocoCategory{i + 1, name}
	}
	b, err := json.Marshal(categories)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "{\"info\": {}, \"licenses\": [],\n\"categories\": %s,\n\"annotations\": [", b); err != nil {
		return err
	}
	image, annotation := 0, 0
	for r, err := range s.Records {
		if err != nil {
			return err
		}
		if !s.told(r) {
			continue
		}
		image++
		if err := item(images, image, cocoImage{image, s.file(r.Key), r.W, r.H}); err != nil {
			return err
		}
		for _, o := range detection.Of(r.Sample) {
			annotation++
			a := cocoAnnotation{
				ID: annotation, Image: image, Category: o.Class + 1, Score: o.Score,
				Box: [4]float64{o.Box.X0, o.Box.Y0, o.Box.W(), o.Box.H()}, Area: o.Box.Area(),
			}
			if o.Mask != nil {
				m := rle.FromMask(o.Mask, r.H, r.W)
				a.Area = float64(m.Area())
				a.Mask = &cocoRLE{[2]int{r.H, r.W}, m.String()}
			}
			if o.Area > 0 {
				a.Area = o.Area
			}
			if o.Crowd {
				a.Crowd = 1
			}
			if err := item(w, annotation, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// item writes the nth element of a list, n from 1.
func item(w io.Writer, n int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	comma := ","
	if n == 1 {
		comma = ""
	}
	_, err = fmt.Fprintf(w, "%s\n%s", comma, b)
	return err
}

// WriteCOCO writes an instances file of a few images, whose entries wait in memory.
func WriteCOCO(w io.Writer, s Source) error {
	if err := s.need(detection.Name, "COCO JSON"); err != nil {
		return err
	}
	var images bytes.Buffer
	if err := s.writeCOCO(w, &images); err != nil {
		return err
	}
	return finishCOCO(w, &images)
}

// finishCOCO writes what comes after the last annotation.
func finishCOCO(w io.Writer, images io.Reader) error {
	if _, err := io.WriteString(w, "],\n\"images\": ["); err != nil {
		return err
	}
	if _, err := io.Copy(w, images); err != nil {
		return err
	}
	_, err := io.WriteString(w, "]}\n")
	return err
}
