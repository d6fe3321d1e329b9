// Command miniature writes copies of the sets of recipes/imagenet-objects365-coco.yaml into a folder,
// in the layouts of their publishers, of a few small rendered images each. The recipe runs on them to
// its end:
//
//	go run ./scripts/miniature /tmp/miniature && cd /tmp/miniature && must run RECIPE --set …
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"

	"must/data"
	"must/data/npy"
	"must/data/scenes"
	"must/data/voc"
	"must/task/classification"
	depthlabel "must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: miniature FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Samples per part, and the side of the images.
const (
	trainImages = 6
	heldImages  = 3
	side        = 96
)

// write makes datasets/ in a folder.
func write(folder string) (err error) {
	defer func() { // the makers panic with what stops them
		if e, ok := recover().(failure); ok {
			err = e.error
		}
	}()
	d := dir(filepath.Join(folder, "datasets"))
	imageNet(d.in("imagenet"))
	objects365(d.in("objects365"))
	coco(d.in("coco"))
	depthPairs(d.in("depth"))
	cifar100(d.in("cifar-100-binary"))
	pascal(d.in("VOCdevkit"))
	ade20k(d.in("ADEChallengeData2016"))
	nyu(d.in("nyu"))
	diode(d.in("diode"))
	return nil
}

type failure struct{ error }

func must[T any](v T, err error) T {
	if err != nil {
		panic(failure{err})
	}
	return v
}

// A dir is a folder to write into.
type dir string

func (d dir) in(name string) dir { return dir(filepath.Join(string(d), name)) }

func (d dir) file(name string, content []byte) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = os.WriteFile(path, content, 0o666)
	}
	must(0, err)
}

func (d dir) lines(name string, lines ...string) {
	d.file(name, []byte(strings.Join(lines, "\n")+"\n"))
}

func (d dir) json(name string, v any) { d.file(name, must(json.Marshal(v))) }

func (d dir) jpeg(name string, img image.Image) {
	var b bytes.Buffer
	must(0, jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}))
	d.file(name, b.Bytes())
}

func (d dir) png(name string, img image.Image) {
	var b bytes.Buffer
	must(0, png.Encode(&b, img))
	d.file(name, b.Bytes())
}

func (d dir) npy(name string, shape []int, v []float32) {
	d.file(name, npy.Append(nil, npy.Float32, shape, v))
}

// render returns the images of a part of a set of the world.
func render(set, part string, size int) (data.Labels, []*data.Sample) {
	n := heldImages
	if part == "train" {
		n = trainImages
	}
	ds := must(scenes.Open(data.Source{Set: set, Split: part, Count: n, Size: size}))
	var samples []*data.Sample
	for i := range ds.Len() {
		samples = append(samples, must(ds.Sample(i)))
	}
	return ds.Labels(), samples
}

func argmax(p []float32) (best int) {
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
	}
	return best
}

func imageNet(d dir) {
	ids := []string{"n01440764", "n01443537", "n01484850", "n01491361", "n01494475", "n01496331", "n01498041", "n01514668"}
	classes, _ := render("objects", "train", side)
	var names []string
	for i, c := range classes[classification.Name].Classes {
		names = append(names, ids[i]+" "+c)
	}
	d.lines("LOC_synset_mapping.txt", names...)
	for _, part := range []string{"train", "val"} {
		_, samples := render("objects", part, side)
		truth := []string{"ImageId,PredictionString"}
		for i, s := range samples {
			id := ids[argmax(classification.Of(s))]
			if part == "train" {
				d.jpeg(fmt.Sprintf("train/%s/%[1]s_%d.JPEG", id, i+1), s.Image)
				continue
			}
			name := fmt.Sprintf("ILSVRC2012_val_%08d", i+1)
			d.jpeg("val/"+name+".JPEG", s.Image)
			truth = append(truth, name+","+id+" 1 1 95 95")
		}
		if part == "val" {
			d.lines("LOC_val_solution.csv", truth...)
		}
	}
}

// instances is a file in COCO's form.
type instances struct {
	Images      []map[string]any `json:"images"`
	Annotations []map[string]any `json:"annotations"`
	Categories  []map[string]any `json:"categories"`
}

func objects365(d dir) {
	for part, patch := range map[string]string{"train": "v1/patch8/objects365_v1_", "val": "v2/patch16/objects365_v2_"} {
		l, samples := render("crowds", part, side)
		var f instances
		for c, name := range l[detection.Name].Classes {
			f.Categories = append(f.Categories, map[string]any{"id": c + 1, "name": name + " ", "supercategory": ""})
		}
		for i, s := range samples {
			file := fmt.Sprintf("%s%08d.jpg", patch, i+1)
			f.Images = append(f.Images, map[string]any{"id": i + 1, "file_name": "images/" + file, "width": side, "height": side, "license": 5, "url": ""})
			_, below, _ := strings.Cut(file, "/")
			d.jpeg(part+"/"+below, s.Image)
			for _, o := range detection.Of(s) {
				f.Annotations = append(f.Annotations, map[string]any{"id": len(f.Annotations) + 1, "image_id": i + 1, "category_id": o.Class + 1,
					"bbox": bbox(o.Box), "area": o.Box.Area(), "iscrowd": 0, "isfake": 0})
			}
		}
		// Listed, but not in the archives.
		f.Images = append(f.Images, map[string]any{"id": 908726, "file_name": "images/v2/patch16/objects365_v2_00908726.jpg", "width": side, "height": side})
		d.json("zhiyuan_objv2_"+part+".json", f)
	}
}

func bbox(b data.Box) [4]float64 { return [4]float64{b.X0, b.Y0, b.W(), b.H()} }

// coco writes panoptic maps: an object is a segment, and what is left of each class is one.
func coco(d dir) {
	for _, part := range []string{"train", "val"} {
		l, samples := render("stuff", part, side)
		thing := func(class int) int { // the index of a semantic class among things, -1 for stuff
			for i, name := range l[detection.Name].Classes {
				if name == l[segmentation.Name].Classes[class] {
					return i
				}
			}
			return -1
		}
		var f instances
		for c, name := range l[segmentation.Name].Classes {
			isThing := 0
			if thing(c) >= 0 {
				isThing = 1
			}
			f.Categories = append(f.Categories, map[string]any{"id": 2*c + 1, "name": name, "supercategory": "", "isthing": isThing, "color": [3]int{c, 2 * c, 3 * c}})
		}
		for i, s := range samples {
			stem := fmt.Sprintf("%012d", i+1)
			d.jpeg(part+"2017/"+stem+".jpg", s.Image)
			f.Images = append(f.Images, map[string]any{"id": i + 1, "file_name": stem + ".jpg", "width": side, "height": side})
			segment := make([]int, side*side) // its id
			category := map[int]int{}
			for p, c := range segmentation.Of(s).Pix {
				if c != data.Ignore {
					segment[p] = 300 + int(c) // more than a byte holds
					category[segment[p]] = 2*int(c) + 1
				}
			}
			for k, o := range detection.Of(s) {
				for y := range side {
					for x := range side {
						if p := y*side + x; o.Mask.At(x, y) && segmentation.Of(s).Pix[p] != data.Ignore && thing(int(segmentation.Of(s).Pix[p])) == o.Class {
							segment[p] = 1000 + k
							category[segment[p]] = 2*int(segmentation.Of(s).Pix[p]) + 1
						}
					}
				}
			}
			img := image.NewRGBA(image.Rect(0, 0, side, side))
			bounds := map[int]image.Rectangle{}
			area := map[int]int{}
			for p, id := range segment {
				img.SetRGBA(p%side, p/side, color.RGBA{uint8(id), uint8(id >> 8), uint8(id >> 16), 255})
				if id != 0 {
					bounds[id] = bounds[id].Union(image.Rect(p%side, p/side, p%side+1, p/side+1))
					area[id]++
				}
			}
			var segments []map[string]any
			for id := range 2000 {
				if area[id] > 0 {
					r := bounds[id]
					segments = append(segments, map[string]any{"id": id, "category_id": category[id], "iscrowd": 0, "area": area[id],
						"bbox": [4]int{r.Min.X, r.Min.Y, r.Dx(), r.Dy()}})
				}
			}
			d.png(fmt.Sprintf("annotations/panoptic_%s2017/%s.png", part, stem), img)
			f.Annotations = append(f.Annotations, map[string]any{"image_id": i + 1, "file_name": stem + ".png", "segments_info": segments})
		}
		d.json("annotations/panoptic_"+part+"2017.json", f)
	}
}

func depthPairs(d dir) {
	for _, part := range []string{"train", "test"} {
		_, samples := render("ranges", part, side)
		for i, s := range samples {
			d.jpeg(fmt.Sprintf("%s/images/%04d.jpg", part, i), s.Image)
			d.npy(fmt.Sprintf("%s/depth/%04d.npy", part, i), []int{side, side}, depthlabel.Of(s).Pix)
		}
	}
}

func cifar100(d dir) {
	const side = 32
	for _, part := range []string{"train", "test"} {
		l, samples := render("fine", part, side)
		var records []byte
		for _, s := range samples {
			records = append(records, 0, uint8(argmax(classification.Of(s))))
			for channel := range 3 {
				for p := range side * side {
					records = append(records, s.Image.Pix[4*p+channel])
				}
			}
		}
		d.file(part+".bin", records)
		fine := make([]string, 100)
		for i := range fine {
			if fine[i] = fmt.Sprintf("class_%d", i); i < len(l[classification.Name].Classes) {
				fine[i] = strings.ReplaceAll(l[classification.Name].Classes[i], " ", "_")
			}
		}
		d.lines("fine_label_names.txt", fine...)
		d.lines("coarse_label_names.txt", "all")
	}
}

// pascal writes boxes into both years and maps into the later one. Classes bear VOC's names.
func pascal(d dir) {
	for year, parts := range map[string]map[string]string{"2007": {"trainval": "train", "test": "test"}, "2012": {"trainval": "train"}} {
		d := d.in("VOC" + year)
		n := 0
		for list, part := range parts {
			_, samples := render("boxes", part, side)
			var ids []string
			for _, s := range samples {
				n++
				id := fmt.Sprintf("%s_%06d", year, n)
				ids = append(ids, id)
				d.jpeg("JPEGImages/"+id+".jpg", s.Image)
				var x strings.Builder
				fmt.Fprintf(&x, "<annotation>\n\t<filename>%s.jpg</filename>\n\t<size><width>%d</width><height>%[2]d</height><depth>3</depth></size>\n", id, side)
				for _, o := range detection.Of(s) {
					fmt.Fprintf(&x, "\t<object><name>%s</name><difficult>0</difficult><bndbox><xmin>%.0f</xmin><ymin>%.0f</ymin><xmax>%.0f</xmax><ymax>%.0f</ymax></bndbox></object>\n",
						voc.Classes[o.Class], math.Floor(o.Box.X0)+1, math.Floor(o.Box.Y0)+1, math.Ceil(o.Box.X1), math.Ceil(o.Box.Y1))
				}
				d.file("Annotations/"+id+".xml", []byte(x.String()+"</annotation>\n"))
			}
			d.lines("ImageSets/Main/"+list+".txt", ids...)
		}
	}
	d = d.in("VOC2012")
	for _, part := range []string{"train", "val"} {
		_, samples := render("things", part, side)
		var ids []string
		for i, s := range samples {
			id := fmt.Sprintf("2012_%s%d", part, i)
			ids = append(ids, id)
			d.jpeg("JPEGImages/"+id+".jpg", s.Image)
			d.png("SegmentationClass/"+id+".png", &image.Paletted{Pix: segmentation.Of(s).Pix, Stride: side, Rect: s.Image.Rect, Palette: palette()})
		}
		d.lines("ImageSets/Segmentation/"+part+".txt", ids...)
	}
}

// palette has as many colours as pixels may have values.
func palette() color.Palette {
	p := make(color.Palette, 256)
	for i := range p {
		p[i] = color.RGBA{uint8(i * 67), uint8(i * 131), uint8(i), 255}
	}
	return p
}

func ade20k(d dir) {
	for folder, part := range map[string]string{"training": "train", "validation": "val"} {
		l, samples := render("rooms", part, side)
		info := []string{"Idx\tRatio\tTrain\tVal\tStuff\tName"}
		for i, name := range l[segmentation.Name].Classes {
			info = append(info, fmt.Sprintf("%d\t0.1\t1\t1\t0\t%s, thing", i+1, name))
		}
		d.lines("objectInfo150.txt", info...)
		for i, s := range samples {
			stem := fmt.Sprintf("%s/ADE_%s_%08d", folder, part, i+1)
			d.jpeg("images/"+stem+".jpg", s.Image)
			grey := image.NewGray(s.Image.Rect)
			for p, c := range segmentation.Of(s).Pix {
				grey.Pix[p] = c + 1 // 255 becomes 0, other
			}
			d.png("annotations/"+stem+".png", grey)
		}
	}
}

// nyu writes BTS's files: millimetres, and lists.
func nyu(d dir) {
	for _, part := range []string{"train", "test"} {
		root := map[string]string{"train": "sync", "test": "official_splits/test"}[part]
		_, samples := render("room-depth", part, side)
		var list []string
		for i, s := range samples {
			rgb, depth := fmt.Sprintf("kitchen_0028/rgb_%05d.jpg", i), fmt.Sprintf("kitchen_0028/sync_depth_%05d.png", i)
			list = append(list, fmt.Sprintf("/%s /%s 518.8579", rgb, depth))
			d.jpeg(root+"/"+rgb, s.Image)
			grey := image.NewGray16(s.Image.Rect)
			for p, z := range depthlabel.Of(s).Pix {
				if z == z {
					grey.SetGray16(p%side, p/side, color.Gray16{uint16(math.Round(float64(z) * 1000))})
				}
			}
			d.png(root+"/"+depth, grey)
		}
		d.lines("nyudepthv2_"+part+"_files_with_gt.txt", list...)
	}
}

func diode(d dir) {
	for _, part := range []string{"train", "val"} {
		_, samples := render("room-normals", part, side)
		for i, s := range samples {
			stem := fmt.Sprintf("%s/indoors/scene_%05d/scan_%05d/%05[2]d_%05[3]d_indoors_000_%03d", part, i/2, i, 10*i)
			d.png(stem+".png", s.Image)
			var v []float32
			for _, n := range normals.Of(s).Pix {
				v = append(v, n[0], 0-n[1], 0-n[2]) // y up, z towards the camera
			}
			d.npy(stem+"_normal.npy", []int{side, side, 3}, v)
		}
	}
}
