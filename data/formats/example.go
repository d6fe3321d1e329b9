package formats

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"must/data"
	"must/data/npy"
)

// Example writes the smallest set of a format that works into a folder, which must not be there or be empty, and
// returns how to open it.
func Example(format, dir string) (data.Source, error) {
	f, err := Find(format)
	if err != nil {
		return data.Source{}, err
	}
	files := examples[format]
	if files == nil {
		return data.Source{}, fmt.Errorf("the sets of %s are in the program: must data show", f.Name)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return data.Source{}, fmt.Errorf("%s is not empty: name another folder", dir)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return data.Source{}, err
	}
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return data.Source{}, err
		}
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			return data.Source{}, err
		}
	}
	return data.Source{Format: format, Path: dir, Split: "train"}, nil
}

// Files lists the files of an example, sorted.
func (f Format) Files() (names []string) {
	for name := range examples[f.Name] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// The picture of all examples: a red thing, 32×24, on blue; and the thing.
const exampleW, exampleH = 64, 48

var thing = image.Rect(16, 12, 48, 36)

func photo() string {
	img := image.NewRGBA(image.Rect(0, 0, exampleW, exampleH))
	for i := range exampleW * exampleH {
		p := image.Pt(i%exampleW, i/exampleW)
		img.SetRGBA(p.X, p.Y, color.RGBA{90, 120, 150, 255})
		if p.In(thing) {
			img.SetRGBA(p.X, p.Y, color.RGBA{220, 20, 20, 255})
		}
	}
	return encoded(img)
}

// indexMap is a semantic map: the thing is of class in, all else of class out.
func indexMap(out, in uint8) string {
	img := image.NewGray(image.Rect(0, 0, exampleW, exampleH))
	for i := range img.Pix {
		if img.Pix[i] = out; image.Pt(i%exampleW, i/exampleW).In(thing) {
			img.Pix[i] = in
		}
	}
	return encoded(img)
}

// depthArray is depth in metres: the thing is at 1, all else at 3.
func depthArray(shape ...int) string {
	v := make([]float32, exampleW*exampleH)
	for i := range v {
		if v[i] = 3; image.Pt(i%exampleW, i/exampleW).In(thing) {
			v[i] = 1
		}
	}
	return string(npy.Append(nil, npy.Float32, append([]int{exampleH, exampleW}, shape...), v))
}

func encoded(img image.Image) string {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.String()
}

func archive(members ...string) string {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		if err := t.WriteHeader(&tar.Header{Name: members[i], Mode: 0o644, Size: int64(len(members[i+1]))}); err != nil {
			panic(err)
		}
		if _, err := t.Write([]byte(members[i+1])); err != nil {
			panic(err)
		}
	}
	if err := t.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func instances(file string) string {
	return fmt.Sprintf(`{"images": [{"id": 1, "file_name": "%s", "width": %d, "height": %d}],
 "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [16, 12, 32, 24], "area": 768, "iscrowd": 0,
  "segmentation": [[16, 12, 48, 12, 48, 36, 16, 36]]}],
 "categories": [{"id": 1, "name": "thing"}]}
`, file, exampleW, exampleH)
}

const voxml = `<annotation>
	<filename>a.png</filename>
	<size><width>64</width><height>48</height><depth>3</depth></size>
	<object>
		<name>thing</name>
		<bndbox><xmin>17</xmin><ymin>13</ymin><xmax>48</xmax><ymax>36</ymax></bndbox>
	</object>
</annotation>
`

func cifarRecord() string { return "\x01" + strings.Repeat("\x80", 3*32*32) }

// examples are the files of each format's smallest set.
var examples = func() map[string]map[string]string {
	p := photo()
	return map[string]map[string]string{
		"imagefolder": {"train/cat/1.png": p, "train/dog/1.png": p, "val/cat/2.png": p, "val/dog/2.png": p},
		"images":      {"a.png": p, "trip/b.png": p},
		"imagenet": {"train/n01440764/n01440764_10026.JPEG": p, "train/n01443537/n01443537_2.JPEG": p,
			"val/n01440764/ILSVRC2012_val_00000293.JPEG": p, "val/n01443537/ILSVRC2012_val_00000236.JPEG": p},
		"cifar": {"data_batch_1.bin": cifarRecord(), "data_batch_2.bin": cifarRecord(), "data_batch_3.bin": cifarRecord(), "data_batch_4.bin": cifarRecord(),
			"data_batch_5.bin": cifarRecord(), "test_batch.bin": cifarRecord(), "batches.meta.txt": "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n"},
		"coco":       {"annotations/instances_train.json": instances("a.png"), "train/a.png": p},
		"objects365": {"zhiyuan_objv2_train.json": instances("images/v1/patch0/a.png"), "train/patch0/a.png": p},
		"voc":        {"JPEGImages/a.png": p, "Annotations/a.xml": voxml, "ImageSets/Main/train.txt": "a\n"},
		"yolo": {"data.yaml": "train: images/train\nval: images/val\nnames: [thing]\n", "images/train/a.png": p, "labels/train/a.txt": "0 0.5 0.5 0.5 0.5\n",
			"images/val/b.png": p, "labels/val/b.txt": "0 0.5 0.5 0.5 0.5\n"},
		"ade20k": {"images/training/a.png": p, "annotations/training/a.png": indexMap(1, 2), "images/validation/b.png": p, "annotations/validation/b.png": indexMap(1, 2),
			"classes.txt": "wall\nthing\n"},
		"masks": {"images/train/a.png": p, "masks/train/a.png": indexMap(0, 1), "images/val/b.png": p, "masks/val/b.png": indexMap(0, 1), "classes.txt": "background\nthing\n"},
		"depth": {"images/train/a.png": p, "depth/train/a.npy": depthArray(), "images/val/b.png": p, "depth/val/b.npy": depthArray()},
		"nyu":   {"train/rgb/1.png": p, "train/depth/1.npy": depthArray(), "test/rgb/2.png": p, "test/depth/2.npy": depthArray()},
		"multi": {"images/train/a.png": p, "images/val/b.png": p, "classes.csv": "image,class\ntrain/a.png,day\nval/b.png,night\n",
			"boxes/classes.txt": "thing\n", "boxes/train/a.txt": "0 0.5 0.5 0.5 0.5\n", "boxes/val/b.txt": "",
			"masks/classes.txt": "background\nthing\n", "masks/train/a.png": indexMap(0, 1), "depth/train/a.npy": depthArray()},
		"diode": {"train/indoors/scene_00000/scan_00000/00000_00000_indoors_000_000.png": p, "train/indoors/scene_00000/scan_00000/00000_00000_indoors_000_000_depth.npy": depthArray(1),
			"train/indoors/scene_00000/scan_00000/00000_00000_indoors_000_000_depth_mask.npy": string(npy.Append(nil, npy.Float32, []int{exampleH, exampleW}, slices.Repeat([]float32{1}, exampleW*exampleH)))},
		"webdataset": {"train/train-000000.tar": archive("a.png", p, "a.cls", "0", "b.png", p, "b.cls", "1"), "train/classes.txt": "cat\ndog\n"},
	}
}()

// Listing shows the files of an example, and what is in those of text.
func (f Format) Listing() string {
	var b strings.Builder
	for _, name := range f.Files() {
		content := examples[f.Name][name]
		switch filepath.Ext(name) {
		case ".txt", ".yaml", ".csv":
			content = strings.ReplaceAll(strings.TrimRight(content, "\n"), "\n", " ⏎ ")
			if content == "" {
				content = "(empty)"
			}
			fmt.Fprintf(&b, "%-40s %s\n", name, content)
		default:
			fmt.Fprintf(&b, "%s\n", name)
		}
	}
	return b.String()
}
