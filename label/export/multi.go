package export

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"

	"must/data/npy"
	"must/label/shards"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// Multi writes labels of all tasks as the format multi has them: classes.csv with the likeliest class of every image,
// boxes/KEY.txt as [YOLO] has them, masks/KEY.png, depth/KEY.npy and normals/KEY.npy, and the names of classes beside
// them. What is unknown of an image has no file. The images belong into images/, under their keys; with Source.Images
// they are written there.
func Multi(s Source, dir string) error {
	if !slices.ContainsFunc([]string{classification.Name, detection.Name, segmentation.Name, depth.Name, normals.Name}, s.Labels.Has) {
		return fmt.Errorf("export as multi: the labels are for %v, which it has no place for", s.Labels.Tasks())
	}
	return fill(dir, func(f *folder) error {
		for name, file := range map[string]string{classification.Name: "classes.txt", detection.Name: "boxes/classes.txt", segmentation.Name: "masks/classes.txt"} {
			if s.Labels.Has(name) {
				if err := f.write(file, lines(s.Labels[name].Classes)); err != nil {
					return err
				}
			}
		}
		var table bytes.Buffer
		rows := csv.NewWriter(&table)
		if err := rows.Write([]string{"image", "class"}); err != nil {
			return err
		}
		s := s.withImages(f, "images")
		for r, err := range s.Records {
			if err != nil {
				return err
			}
			if p := classification.Of(r.Sample); p != nil {
				class := s.Labels[classification.Name].Classes[slices.Index(p, slices.Max(p))]
				if err := rows.Write([]string{s.file(r.Key), class}); err != nil {
					return err
				}
			}
			if err := s.multiFiles(f, r); err != nil {
				return err
			}
		}
		rows.Flush()
		if err := rows.Error(); err != nil || !s.Labels.Has(classification.Name) {
			return err
		}
		return f.write("classes.csv", table.Bytes())
	})
}

// multiFiles writes the files of one image.
func (s Source) multiFiles(f *folder, r shards.Record) error {
	if s.told(r) {
		text, lost := yoloLines(r)
		if lost > 0 && detection.Unknown(r.Sample) == nil && s.Partial != nil {
			s.Partial(r.Key)
		}
		if len(text) > 0 || lost == 0 { // an empty file would say that there are none
			if err := f.write("boxes/"+r.Key+".txt", text); err != nil {
				return err
			}
		}
	}
	if g := segmentation.Of(r.Sample); g != nil {
		var b bytes.Buffer
		if err := segmentation.EncodeMap(&b, g); err != nil {
			return fmt.Errorf("map of %s: %w", r.Key, err)
		}
		if err := f.write("masks/"+r.Key+".png", b.Bytes()); err != nil {
			return err
		}
	}
	if g := depth.Of(r.Sample); g != nil {
		if err := f.write("depth/"+r.Key+".npy", npy.Append(nil, npy.Float32, []int{r.H, r.W}, g.Pix)); err != nil {
			return err
		}
	}
	if g := normals.Of(r.Sample); g != nil {
		v := make([]float32, 0, 3*len(g.Pix))
		for _, n := range g.Pix {
			v = append(v, n[:]...)
		}
		return f.write("normals/"+r.Key+".npy", npy.Append(nil, npy.Float32, []int{r.H, r.W, 3}, v))
	}
	return nil
}
