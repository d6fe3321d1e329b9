package export

import (
	"cmp"
	"encoding/xml"
	"math"
	"path"

	"must/data"
	"must/label/shards"
	"must/task/detection"
)

type vocAnnotation struct {
	XMLName  xml.Name    `xml:"annotation"`
	Folder   string      `xml:"folder"`
	Filename string      `xml:"filename"`
	Size     vocSize     `xml:"size"`
	Objects  []vocObject `xml:"object"`
}

type vocSize struct {
	Width  int `xml:"width"`
	Height int `xml:"height"`
	Depth  int `xml:"depth"`
}

type vocObject struct {
	Name      string `xml:"name"`
	Pose      string `xml:"pose"`
	Truncated int    `xml:"truncated"`
	Difficult int    `xml:"difficult"`
	Box       vocBox `xml:"bndbox"`
}

// vocBox counts pixels from 1 and includes the last. Many readers take integers only.
type vocBox struct {
	X0 int `xml:"xmin"`
	Y0 int `xml:"ymin"`
	X1 int `xml:"xmax"`
	Y1 int `xml:"ymax"`
}

// VOC writes Annotations/KEY.xml, the list of keys ImageSets/Main/PART.txt, and classes.txt, as VOC
// has no place for the order of the classes. Boxes are rounded to whole pixels, of which they keep
// one at least. Crowds become difficult. Images whose objects are unknown are left out. The images
// belong into JPEGImages/; with Source.Images they are written there, and listed even if their objects
// are unknown.
func VOC(s Source, dir string) error {
	if err := s.need(detection.Name, "Pascal VOC"); err != nil {
		return err
	}
	return fill(dir, func(f *folder) error {
		if err := f.write("classes.txt", lines(s.Labels[detection.Name].Classes)); err != nil {
			return err
		}
		if err := f.root.MkdirAll("ImageSets/Main", 0o777); err != nil {
			return err
		}
		list, err := f.root.Create("ImageSets/Main/" + cmp.Or(s.Part, "train") + ".txt")
		if err != nil {
			return err
		}
		defer list.Close()
		s := s.withImages(f, "JPEGImages")
		for r, err := range s.Records {
			if err != nil {
				return err
			}
			if !s.told(r) {
				if !s.Images {
					continue
				}
				if _, err := list.WriteString(r.Key + "\n"); err != nil {
					return err
				}
				continue
			}
			b, err := xml.MarshalIndent(s.vocAnnotation(r), "", "\t")
			if err != nil {
				return err
			}
			if err := f.write("Annotations/"+r.Key+".xml", append(b, '\n')); err != nil {
				return err
			}
			if _, err := list.WriteString(r.Key + "\n"); err != nil {
				return err
			}
		}
		return list.Close()
	})
}

func (s Source) vocAnnotation(r shards.Record) vocAnnotation {
	file := s.file(r.Key)
	a := vocAnnotation{
		Folder:   path.Join("JPEGImages", path.Dir(file)),
		Filename: path.Base(file),
		Size:     vocSize{r.W, r.H, 3},
	}
	for _, o := range detection.Of(r.Sample) {
		v := vocObject{Name: s.Labels[detection.Name].Classes[o.Class], Pose: "Unspecified", Box: vocPixels(o.Box, r.W, r.H)}
		if o.Crowd {
			v.Difficult = 1
		}
		a.Objects = append(a.Objects, v)
	}
	return a
}

func vocPixels(b data.Box, w, h int) vocBox {
	span := func(a, b float64, n int) (first, last int) {
		first = min(max(int(math.Round(a))+1, 1), n)
		return first, min(max(int(math.Round(b)), first), n)
	}
	var v vocBox
	v.X0, v.X1 = span(b.X0, b.X1, w)
	v.Y0, v.Y1 = span(b.Y0, b.Y1, h)
	return v
}
