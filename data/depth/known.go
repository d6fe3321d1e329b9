package depth

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/data/imagefile"
	"must/data/pairs"
	"must/data/text"
)

// kittiImages returns what the image of a map of KITTI's depth benchmark may be called, without extension; nil for
// what is none. The maps come apart from the raw images, which may lie in the drive's folder or in one of its day:
//
//	train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png
//	2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png
//	val_selection_cropped/groundtruth_depth/…_groundtruth_depth_0000000005_image_02.png
//	val_selection_cropped/image/…_image_0000000005_image_02.png
func kittiImages(file string) (out []string) {
	dir, stem := path.Split(strings.TrimSuffix(file, path.Ext(file)))
	dir = strings.TrimSuffix(dir, "/")
	if base, ok := strings.CutSuffix(dir, "groundtruth_depth"); ok && strings.Contains(stem, "_groundtruth_depth_") {
		return []string{base + "image/" + strings.Replace(stem, "_groundtruth_depth_", "_image_", 1)}
	}
	elements := strings.Split(dir, "/")
	n := len(elements)
	if n < 4 || elements[n-3] != "proj_depth" || elements[n-2] != "groundtruth" {
		return nil
	}
	drive, camera := elements[n-4], elements[n-1]
	above := path.Join(elements[:n-4]...)
	day := drive[:min(10, len(drive))]
	for _, at := range []string{path.Join(above, drive), path.Join(above, day, drive), path.Join(day, drive), drive, path.Join(path.Dir(above), day, drive), path.Join("raw", day, drive)} {
		out = append(out, path.Join(at, camera, "data", stem))
	}
	return out
}

// maxApart is how many seconds may lie between an image and its map, as in TUM's associate.py.
const maxApart = 0.02

// sequences reads TUM RGB-D: the folder is a sequence, with rgb.txt and depth.txt, or holds some.
func (d *dataset) sequences(split string) error {
	lists, err := imagefile.ListFunc(d.folder, func(name string) bool { return name == "rgb.txt" })
	if err != nil {
		return err
	}
	var found []pair
	for _, list := range lists {
		dir := path.Dir(list)
		images, err := d.times(list)
		if err != nil {
			return err
		}
		maps, err := d.times(path.Join(dir, "depth.txt"))
		if err != nil {
			return err
		}
		found = append(found, associate(dir, images, maps)...)
	}
	if len(found) == 0 {
		return fmt.Errorf("%s: no sequence of TUM RGB-D in it, a folder with rgb.txt and depth.txt whose times are at most %v s apart", d.folder, maxApart)
	}
	var images []string
	for _, p := range found {
		images = append(images, p.image)
	}
	keys := imagefile.Keys(images)
	in, _ := pairs.InPart(images, keys, split)
	for i, p := range found {
		if in[i] {
			d.pairs, d.keys = append(d.pairs, p), append(d.keys, keys[i])
		}
	}
	if len(d.pairs) == 0 {
		return data.NoPart(fmt.Errorf("%s: none of its %d images with depth belongs to the %s part", d.folder, len(found), split))
	}
	return nil
}

// A moment is a line of rgb.txt or depth.txt: seconds and a file.
type moment struct {
	at   float64
	file string
}

func (d *dataset) times(list string) (all []moment, err error) {
	content, err := text.ReadFileAs(d.path(list), d.encoding)
	if err != nil {
		return nil, err
	}
	for n, line := range text.Lines(content) {
		if line[0] == '#' {
			continue
		}
		fields := strings.Fields(strings.ReplaceAll(line, ",", " "))
		var at float64
		if len(fields) == 2 {
			at, err = strconv.ParseFloat(fields[0], 64)
		}
		if len(fields) != 2 || err != nil || !filepath.IsLocal(filepath.FromSlash(text.Path(fields[1]))) {
			return nil, fmt.Errorf("%s:%d: %.80q is no time in seconds and a file beside it", d.path(list), n, line)
		}
		all = append(all, moment{at, text.Path(fields[1])})
	}
	return all, nil
}

// associate pairs images and maps by time, the nearest first, each once. Images without a map are left out, as the
// sensor takes both at a time.
func associate(dir string, images, maps []moment) (found []pair) {
	slices.SortFunc(maps, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	type match struct {
		apart    float64
		image, m int
	}
	var near []match
	for i, image := range images {
		first, _ := slices.BinarySearchFunc(maps, image.at-maxApart, func(m moment, at float64) int { return cmp.Compare(m.at, at) })
		for k := first; k < len(maps) && maps[k].at <= image.at+maxApart; k++ {
			near = append(near, match{max(maps[k].at-image.at, image.at-maps[k].at), i, k})
		}
	}
	slices.SortStableFunc(near, func(a, b match) int { return cmp.Compare(a.apart, b.apart) })
	usedImage, usedMap := map[int]int{}, map[int]bool{}
	for _, m := range near {
		if _, taken := usedImage[m.image]; !taken && !usedMap[m.m] {
			usedImage[m.image], usedMap[m.m] = m.m, true
		}
	}
	for i, image := range images {
		if m, ok := usedImage[i]; ok {
			found = append(found, pair{path.Join(dir, image.file), path.Join(dir, maps[m].file)})
		}
	}
	return found
}
