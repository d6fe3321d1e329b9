package masks

import (
	"image"
	"image/color"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
	"must/task/segmentation"
)

func grey(v ...uint8) string {
	g := image.NewGray(image.Rect(0, 0, len(v), 1))
	copy(g.Pix, v)
	return datatest.PNG(g)
}

func colours(c ...color.RGBA) string {
	g := image.NewRGBA(image.Rect(0, 0, len(c), 1))
	for i, c := range c {
		g.SetRGBA(i, 0, c)
	}
	return datatest.PNG(g)
}

// Layouts as people have them: for each key its map, nil for unlabelled.
func TestLayouts(t *testing.T) {
	const photo, ign = "png 2×1", data.Ignore
	road, sky := color.RGBA{128, 64, 128, 255}, color.RGBA{70, 130, 180, 255}
	for name, c := range map[string]struct {
		files   map[string]string
		src     data.Source
		classes string
		want    map[string][]uint8
	}{
		"folders": {map[string]string{"images/a.jpg": photo, "images/b.jpg": photo, "masks/a.png": grey(1, 2), "classes.txt": "x\ny\nz\n"}, data.Source{},
			"x y z", map[string][]uint8{"a": {1, 2}, "b": nil}},
		"numbers": {map[string]string{"images/a.jpg": photo, "labels/a.png": grey(3, 255)}, data.Source{}, "0 1 2 3", map[string][]uint8{"a": {3, ign}}},
		"CamVid": {map[string]string{"train/a.png": photo, "trainannot/a.png": grey(0, 1), "val/b.png": photo, "valannot/b.png": grey(1, 0), "label_colors.txt": "128 64 128 Road\n70 130 180 Sky\n"},
			data.Source{Split: "val"}, "Road Sky", map[string][]uint8{"val/b": {1, 0}}},
		"CamVid's colours": {map[string]string{"images/a.png": photo, "labels/a_L.png": colours(sky, road), "label_colors.txt": "128 64 128 Road\n70 130 180 Sky\n"},
			data.Source{}, "Road Sky", map[string][]uint8{"a": {1, 0}}},
		"Cityscapes": {map[string]string{"leftImg8bit/train/x/x_1_leftImg8bit.png": photo, "gtFine/train/x/x_1_gtFine_labelIds.png": grey(2, 0), "gtFine/train/x/x_1_gtFine_color.png": colours(sky, road),
			"gtFine/train/x/x_1_gtFine_instanceIds.png": "png 2×1"}, data.Source{Split: "train"}, "0 1 2", map[string][]uint8{"train/x/x_1_leftImg8bit": {2, 0}}},
		"CVAT": {map[string]string{"JPEGImages/a.jpg": photo, "SegmentationClass/a.png": colours(road, color.RGBA{0, 0, 0, 255}), "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\n"},
			data.Source{Void: "background"}, "background road", map[string][]uint8{"a": {1, ign}}},
		"endings":    {map[string]string{"a.jpg": photo, "a_mask.png": grey(0, 1), "b.jpg": photo}, data.Source{}, "0 1", map[string][]uint8{"a": {0, 1}, "b": nil}},
		"named":      {map[string]string{"images/a.jpg": photo, "images/a.png": photo, "masks/a.jpg.png": grey(0, 1)}, data.Source{}, "0 1", map[string][]uint8{"a.jpg": {0, 1}, "a.png": nil}},
		"unclear":    {map[string]string{"images/a.jpg": photo, "images/a.png": photo, "masks/a.png": grey(0, 1), "images/b.jpg": photo, "masks/b.png": grey(1, 0)}, data.Source{}, "0 1", map[string][]uint8{"a.jpg": nil, "a.png": nil, "b": {1, 0}}},
		"two folder": {map[string]string{"images/x/a.jpg": photo, "images/y/a.jpg": photo, "masks/y/a.png": grey(0, 1)}, data.Source{}, "0 1", map[string][]uint8{"x/a": nil, "y/a": {0, 1}}},
		"parts":      {map[string]string{"images/train/a.jpg": photo, "masks/train/a.png": grey(0, 1), "images/valid/b.jpg": photo, "masks/valid/b.png": grey(0, 2)}, data.Source{Split: "val"}, "0 1 2", map[string][]uint8{"valid/b": {0, 2}}},
		"binary":     {map[string]string{"images/a.jpg": photo, "masks/a.png": grey(0, 255)}, data.Source{Void: "none"}, "0 255", map[string][]uint8{"a": {0, 1}}},
	} {
		c.src.Path = datatest.Folder(t, c.files)
		d, err := Open(c.src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.Join(d.Labels()[segmentation.Name].Classes, " "); got != c.classes || d.Len() != len(c.want) {
			t.Errorf("%s: classes %q, %d images", name, got, d.Len())
		}
		for i := range d.Len() {
			want, ok := c.want[d.Key(i)]
			s, err := d.Sample(i)
			if err != nil || !ok || (segmentation.Of(s) != nil) != (want != nil) || want != nil && !slices.Equal(segmentation.Of(s).Pix, want) || data.Carries(d, i, segmentation.Name) != (want != nil) {
				t.Errorf("%s: %s: %+v, %v, want %v", name, d.Key(i), s, err, want)
			}
		}
	}
}

// The maps alone, as our export writes them, with their images elsewhere.
func TestMapsElsewhere(t *testing.T) {
	dir := datatest.Folder(t, map[string]string{"photos/x/a.jpg": "png 2×1", "photos/b.jpg": "png 2×1", "maps/x/a.png": grey(1, 255), "maps/classes.txt": "sky\nsea\n"})
	d, err := Open(data.Source{Path: filepath.Join(dir, "maps"), Images: filepath.Join(dir, "photos")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Len() {
		if s, err := d.Sample(i); err != nil || (s.Key == "x/a") != (segmentation.Of(s) != nil) {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, c := range map[string]struct {
		files map[string]string
		src   data.Source
	}{
		"none of its 1 images has a map": {files: map[string]string{"images/a.jpg": "png 2×1", "masks/b.png": grey(0, 1)}},
		"masks/a.jpg is no map: a JPEG":  {files: map[string]string{"images/a.jpg": "png 2×1", "masks/a.jpg": "png 2×1"}},
		"declare whether 255 is void":    {files: map[string]string{"images/a.jpg": "png 2×1", "masks/a.png": grey(0, 255)}},
		"belongs to the test part":       {files: map[string]string{"train/images/a.jpg": "png 2×1", "train/masks/a.png": grey(0, 1)}, src: data.Source{Split: "test"}},
		"split is":                       {src: data.Source{Split: "minival"}},
		"want a value of a map":          {files: map[string]string{"images/a.jpg": "png 2×1", "masks/a.png": grey(0, 1)}, src: data.Source{Void: "256"}},
	} {
		c.src.Path = datatest.Folder(t, c.files)
		if _, err := Open(c.src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// A map of another size than its image is not guessed at.
	dir := datatest.Folder(t, map[string]string{"images/a.jpg": "png 4×2", "masks/a.png": grey(0, 1)})
	d, err := Open(data.Source{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Sample(0); err == nil || !strings.Contains(err.Error(), "4×2 pixels, but its labels are for 2×1") {
		t.Error(err)
	}
	if d, err = Open(data.Source{Path: dir, Frame: "resized"}); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Sample(0); err != nil || !slices.Equal(segmentation.Of(s).Pix, []uint8{0, 0, 1, 1, 0, 0, 1, 1}) {
		t.Errorf("%+v, %v", s, err)
	}
}
