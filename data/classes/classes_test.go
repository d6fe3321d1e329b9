package classes

import (
	"image"
	"image/color"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"must/data"
	"must/data/datatest"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		file, content string
		names         []string
		colours       [][3]uint8
	}{
		"names":         {"classes.txt", "cat\n\n dog \n", []string{"cat", "dog"}, nil},
		"labelme":       {"class_names.txt", "__ignore__\n_background_\nweed\n", []string{"_background_", "weed"}, nil},
		"numbered":      {"labels.txt", "0: unlabeled\n1: person\n", []string{"unlabeled", "person"}, nil},
		"a colon":       {"classes.txt", "a: b\nc\n", []string{"a: b", "c"}, nil},
		"CVAT":          {"labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\n", []string{"background", "road"}, [][3]uint8{{}, {128, 64, 128}}},
		"CamVid":        {"label_colors.txt", "64 128 64\tAnimal\n192 0 128\t\tArchway\n", []string{"Animal", "Archway"}, [][3]uint8{{64, 128, 64}, {192, 0, 128}}},
		"a table":       {"class_dict.csv", "name,r,g,b\nAnimal, 64, 128, 64\n\"a, b\",1,2,3\n", []string{"Animal", "a, b"}, [][3]uint8{{64, 128, 64}, {1, 2, 3}}},
		"without parts": {"labelmap.txt", "sky:1,2,3\nsea:4,5,6", []string{"sky", "sea"}, [][3]uint8{{1, 2, 3}, {4, 5, 6}}},
	} {
		got, err := Parse(c.file, c.content)
		if err != nil || !slices.Equal(got.Names, c.names) || !slices.Equal(got.Colours, c.colours) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for want, c := range map[string][2]string{
		"no names":           {"classes.txt", "\n"},
		`class "a" twice`:    {"classes.txt", "a\nb\na"},
		"where 1 is due":     {"labels.txt", "0: a\n2: b"},
		"no part of":         {"labelmap.txt", "a:1,2,300::"},
		"have one colour":    {"labelmap.txt", "a:1,2,3::\nb:1,2,3::"},
		"want name, r, g, b": {"class_dict.csv", "class,red\nx,1"},
	} {
		if got, err := Parse(c[0], c[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %+v, %v", c, got, err)
		}
	}
}

func grey(v ...uint8) image.Image {
	g := image.NewGray(image.Rect(0, 0, len(v), 1))
	copy(g.Pix, v)
	return g
}

func rgb(c ...color.RGBA) image.Image {
	g := image.NewRGBA(image.Rect(0, 0, len(c), 1))
	for i, c := range c {
		g.SetRGBA(i, 0, c)
	}
	return g
}

func TestLegends(t *testing.T) {
	named := &Table{Names: []string{"sky", "sea", "void"}}
	two := &Table{Names: []string{"sky", "sea"}}
	coloured := &Table{Names: []string{"sky", "sea", "Void"}, Colours: [][3]uint8{{10, 20, 30}, {40, 50, 60}, {0, 0, 0}}}
	for name, c := range map[string]struct {
		table *Table
		maps  image.Image
		first int
		void  string
		names []string
		want  []uint8
		err   string
	}{
		"named":              {named, grey(0, 2, 1, 255), 0, "", []string{"sky", "sea", "void"}, []uint8{0, 2, 1, 255}, ""},
		"a class is void":    {named, grey(0, 2, 1), 0, "void", []string{"sky", "sea", "void"}, []uint8{0, 255, 1}, ""},
		"another value":      {named, grey(0, 7, 1), 0, "7", []string{"sky", "sea", "void"}, []uint8{0, 255, 1}, ""},
		"beyond":             {named, grey(0, 7), 0, "", nil, nil, "pixel (1, 0) has value 7, which is none of the 3 classes"},
		"255 is none":        {named, grey(0, 255), 0, "none", nil, nil, "has value 255"},
		"numbers":            {nil, grey(0, 3, 255), 0, "", []string{"0", "1", "2", "3"}, []uint8{0, 3, 255}, ""},
		"numbers from 1":     {nil, grey(0, 3, 1), 1, "0", []string{"1", "2", "3"}, []uint8{255, 2, 0}, ""},
		"a mask":             {nil, grey(0, 255), 0, "", nil, nil, "declare whether 255 is void"},
		"a named mask":       {two, grey(0, 255), 0, "", nil, nil, "declare whether 255 is void"},
		"a mask of 2":        {nil, grey(0, 255), 0, "none", []string{"0", "255"}, []uint8{0, 1}, ""},
		"a named mask of 2":  {two, grey(0, 255), 0, "none", []string{"sky", "sea"}, []uint8{0, 1}, ""},
		"a mask with void":   {nil, grey(0, 255), 0, "255", []string{"0"}, []uint8{0, 255}, ""},
		"colours":            {coloured, rgb(color.RGBA{40, 50, 60, 255}, color.RGBA{0, 0, 0, 255}), 0, "", []string{"sky", "sea", "Void"}, []uint8{1, 2}, ""},
		"a colour is void":   {coloured, rgb(color.RGBA{40, 50, 60, 255}, color.RGBA{0, 0, 0, 255}), 0, "void", []string{"sky", "sea", "Void"}, []uint8{1, 255}, ""},
		"void by its colour": {coloured, rgb(color.RGBA{40, 50, 60, 255}, color.RGBA{9, 9, 8, 255}), 0, "9/9/8", []string{"sky", "sea", "Void"}, []uint8{1, 255}, ""},
		"no such colour":     {coloured, rgb(color.RGBA{40, 50, 61, 255}), 0, "", nil, nil, "the colour 40,50,61"},
		"grey with colours":  {coloured, grey(0, 1, 2), 0, "", []string{"sky", "sea", "Void"}, []uint8{0, 1, 2}, ""},
		"colour, no legend":  {named, rgb(color.RGBA{40, 50, 61, 255}), 0, "", nil, nil, "labelmap.txt"},
		"no such void":       {named, grey(0), 0, "sand", nil, nil, `"sand"`},
	} {
		file := filepath.Join(datatest.Folder(t, map[string]string{"m.png": datatest.PNG(c.maps)}), "m.png")
		l, err := ForMaps(c.table, []string{file}, c.first, c.void, "255")
		var got *data.Grid[uint8]
		if err == nil {
			got, err = l.Read(file)
		}
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %q", name, err, c.err)
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.err == "" && (!slices.Equal(got.Pix, c.want) || !slices.Equal(l.Names, c.names)):
			t.Errorf("%s: %v of %q, want %v", name, got.Pix, l.Names, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("labelmap.txt", "a:1,2,3::\nb:4,5,6::")
	f.Add("class_dict.csv", "name,r,g,b\na,1,2,3")
	f.Add("labels.txt", "0: a\n1: b")
	f.Fuzz(func(t *testing.T, name, content string) {
		if got, err := Parse(name, content); err == nil && (len(got.Names) == 0 || got.Colours != nil && len(got.Colours) != len(got.Names)) {
			t.Errorf("%+v", got)
		}
	})
}
