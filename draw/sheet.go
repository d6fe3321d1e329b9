package draw

import (
	"fmt"
	"image"
	"image/color"
	stddraw "image/draw"
	"slices"

	"must/data"
)

// A Tile is one picture of a grid, with a line of text over it.
type Tile struct {
	Caption string
	Image   image.Image
}

var (
	paper = color.RGBA{255, 255, 255, 255}
	ink   = color.RGBA{34, 40, 49, 255}
	faint = color.RGBA{110, 118, 129, 255}
)

const margin = 10

// Grid lays tiles out in rows of the given number of columns on white paper, under a title if there is one.
func Grid(title string, columns int, tiles ...Tile) *image.RGBA {
	return grid(title, "", columns, tiles, nil)
}

// legend names the colours of a semantic map's classes.
type legend []string

// grid is Grid with a second line under the title and a legend at the bottom.
func grid(title, about string, columns int, tiles []Tile, classes legend) *image.RGBA {
	columns = max(1, min(columns, len(tiles)))
	var w, h int
	captions := false
	for _, t := range tiles {
		w, h = max(w, t.Image.Bounds().Dx()), max(h, t.Image.Bounds().Dy())
		captions = captions || t.Caption != ""
	}
	big, small := newWriter(20), newWriter(13)
	caption := 0
	if captions {
		caption = small.height + 4
	}
	width := margin + columns*(w+margin)
	top := margin
	if title != "" {
		top += big.height + 4
	}
	if about != "" {
		top += small.height + 6
	}
	rows := (len(tiles) + columns - 1) / columns
	bottom := top + rows*(caption+h+margin)
	places, depth := classes.layout(small, width)

	c := image.NewRGBA(image.Rect(0, 0, width, bottom+depth))
	stddraw.Draw(c, c.Rect, image.NewUniform(paper), image.Point{}, stddraw.Src)
	y := margin
	if title != "" {
		big.write(c, margin, y-2, big.fit(title, width-2*margin), ink)
		y += big.height + 4
	}
	if about != "" {
		small.write(c, margin, y-2, small.fit(about, width-2*margin), faint)
	}
	for i, t := range tiles {
		x, y := margin+i%columns*(w+margin), top+i/columns*(caption+h+margin)
		small.write(c, x, y, small.fit(t.Caption, w), ink)
		b := t.Image.Bounds()
		stddraw.Draw(c, b.Sub(b.Min).Add(image.Pt(x, y+caption)), t.Image, b.Min, stddraw.Over)
	}
	for i, p := range places {
		at := image.Rect(0, 0, small.height-2, small.height-2).Add(p).Add(image.Pt(0, bottom))
		stddraw.Draw(c, at, image.NewUniform(SegmentColor(i, classes)), image.Point{}, stddraw.Src)
		small.write(c, at.Max.X+4, at.Min.Y-1, classes[i], ink)
	}
	return c
}

// layout returns where each class goes in lines of the given width, and the height of all lines.
func (l legend) layout(w *writer, width int) (places []image.Point, height int) {
	x, y := margin, 0
	for _, class := range l {
		need := w.height + 2 + w.width(class) + 14
		if x+need > width && x > margin {
			x, y = margin, y+w.height+6
		}
		places = append(places, image.Pt(x, y))
		x += need
	}
	if len(l) > 0 {
		height = y + w.height + margin
	}
	return places, height
}

// Panel shows the image of s beside a picture of each label that it has.
func Panel(s *data.Sample, l data.Labels, o Options) *image.RGBA {
	tiles := []Tile{{"image", Image(s, o)}}
	for _, label := range s.Known {
		tiles = append(tiles, Tile{titleOf(label.Task()), Overlay(s, l, label.Task(), o)})
	}
	return grid(o.Title, "", len(tiles), tiles, nil)
}

// ContactSheet shows the first n samples of a dataset with all their labels drawn in: classes and
// boxes into the image, a map of any kind beside it. A sample that cannot be read is shown as an
// empty tile with its error; it is an error if none can.
func ContactSheet(ds data.Dataset, n int, o Options) (*image.RGBA, error) {
	n = min(n, ds.Len())
	if n <= 0 {
		return nil, fmt.Errorf("draw: a contact sheet needs at least one sample; the dataset has %d", ds.Len())
	}
	l := ds.Labels()
	var tiles []Tile
	var failed error
	read := 0
	var maps, over []string
	var classes legend
	for _, task := range l.Tasks() {
		style := styleOf(task)
		if style.Over {
			over = append(over, task)
		} else {
			maps = append(maps, task)
		}
		if style.Legend {
			classes = l[task].Classes
		}
	}
	slices.Reverse(over) // the first lies on top
	for i := range n {
		s, err := ds.Sample(i)
		if err != nil {
			failed = err
			tiles = append(tiles, Tile{err.Error(), blank(o.side())})
			for range maps {
				tiles = append(tiles, Tile{"", blank(o.side())})
			}
			continue
		}
		read++
		c := newCanvas(s, o)
		for _, task := range over {
			c.label(s, l, task, o)
		}
		tiles = append(tiles, Tile{s.Key, c.RGBA})
		for _, task := range maps {
			tiles = append(tiles, Tile{titleOf(task), Overlay(s, l, task, o)})
		}
	}
	if read == 0 {
		return nil, fmt.Errorf("draw: no sample of the contact sheet can be read: %w", failed)
	}
	strip := 1 + len(maps)
	columns := max(1, 6/strip) * strip
	return grid(o.Title, summary(ds), columns, tiles, classes), nil
}

// blank is the tile of a sample that cannot be read.
func blank(side int) image.Image {
	c := image.NewRGBA(image.Rect(0, 0, side, side))
	stddraw.Draw(c, c.Rect, image.NewUniform(Void), image.Point{}, stddraw.Src)
	return c
}

// summary says in a line what a dataset holds.
func summary(ds data.Dataset) string {
	out := fmt.Sprintf("%d images", ds.Len())
	l := ds.Labels()
	for _, task := range l.Tasks() {
		if f := styleOf(task).Summary; f != nil {
			out += " · " + f(l[task])
		}
	}
	if len(l) == 0 {
		out += " · no labels"
	}
	return out
}

// titleOf is that of a task's picture.
func titleOf(task string) string {
	if t := styleOf(task).Title; t != "" && data.TaskOf(task) == task {
		return t
	}
	return task
}
