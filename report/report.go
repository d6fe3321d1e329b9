// Package report makes one HTML file of what a recipe found: the hexagon of transfer results, a
// verdict in words, tables, curves, small pictures and the settings of every run; larger pictures lie in a
// folder beside it. The file needs no network and no script, follows the reader's light or dark setting, prints, and fits a phone.
//
// Its charts are drawn by templates of our own: none of Go's chart libraries has a scale per radar
// axis, error bars, tooltips, and colours that follow the page.
package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/image/draw"

	"must/atomicfile"
)

//go:embed page.html.tmpl
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// A Report is all that the page shows. Whatever is empty is left out, so a page can be written
// after the first stage and again after each.
type Report struct {
	Title    string
	Subtitle string
	Results  Results
	Figures  []Chart      // evidence: scaling curves and comparisons, with error bars
	Curves   []Chart      // training curves, see ReadCurve
	Pictures []PictureRow // grouped by task in the order in which tasks first come
	Sheets   []Sheet      // of data sets with their labels
	Runs     []Run        // grouped by set
	Labels   []Label      // how good the pseudo labels are
	Health   []Health     // what can be told of them without the truth
	Facts    []Fact       // machine, seed, recipe; the time, memory and versions of Results come by themselves

	Predictions []Sheet // what other networks than teachers and student see
}

// A Label says how good the pseudo labels of a teacher are for one task, by true labels that it has
// not learned from.
type Label struct {
	Task, Teacher, Set string
	Images             int
	Values             []Fact
}

// A Health tells of the pseudo labels of a set for one task: how many there are, what lacks some.
type Health struct{ Set, Task, Teacher, Text string }

// A PictureRow shows one image with what is known and predicted about it for one task, each drawn
// as a picture. Nil pictures are shown as missing.
type PictureRow struct {
	Task    string
	Name    string // of the image; may be empty
	Image   image.Image
	Truth   image.Image
	Teacher image.Image // the pseudo label
	Student image.Image
}

// A Sheet is a large picture with a title, such as the contact sheet of a data set.
type Sheet struct {
	Title string
	Text  string // may be empty
	File  []byte // PNG or JPEG
}

// A Run is one training run with all of its settings. Where Set and Start are those of a transfer
// result, the number in the table leads to it; other runs have no Set.
type Run struct {
	Name     string
	Set      string
	Start    string
	Settings string // the recipe that repeats it, YAML
	Values   []Fact // final values
}

// A Fact is a named value.
type Fact struct{ Name, Value string }

// Write writes the page; the file is whole or not there. Pictures are small in it, and where they were larger
// a click leads to the whole ones, which lie in a folder beside it, NAME-pictures. Without that folder the
// page lacks nothing but those.
func (r *Report) Write(path string) error {
	g := &gallery{folder: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + "-pictures", files: map[string][]byte{}}
	p, err := r.page(g)
	if err == nil {
		err = g.write(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write report %s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error { return pageTemplate.Execute(w, p) })
}

// A gallery is the folder of whole pictures. They are called by their content.
type gallery struct {
	folder string
	files  map[string][]byte
}

// add takes a picture and returns where the page finds it.
func (g *gallery) add(file []byte, format string) string {
	h := sha256.Sum256(file)
	name := hex.EncodeToString(h[:8]) + "." + format
	g.files[name] = file
	return g.folder + "/" + name
}

// write writes the pictures and removes those of an earlier page.
func (g *gallery) write(dir string) error {
	dir = filepath.Join(dir, g.folder)
	old, err := filepath.Glob(filepath.Join(dir, strings.Repeat("[0-9a-f]", 16)+".*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if g.files[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	if len(g.files) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for name, file := range g.files {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := atomicfile.WriteFile(path, file); err != nil {
			return err
		}
	}
	return nil
}

// The page as its template reads it.
type page struct {
	Title, Subtitle string
	Style           template.CSS
	Hexagon         template.HTML
	Verdict         []finding
	Columns         []column
	Rows            []row
	Paired          []row // what MuST is better by than each other start
	Linked          bool  // some number of Rows is a link
	Teachers        []teacherRow
	Labels          []Label
	Health          []Health
	Classes         []classTable
	Figures, Curves []figure
	Pictures        []pictureGroup
	Sheets          []sheet
	Predictions     []sheet
	Runs            []runGroup
	Facts           []Fact
}

type finding struct {
	Finding
	Mark string
}

type column struct{ Set, Metric, Arrow string }

type row struct {
	Name, Look string
	Own        bool
	Cells      []cell
}

type cell struct {
	Text, Deviation, Title, Link string
	Best                         bool
}

type teacherRow struct {
	Task, Look, Metric, Arrow, Teacher, Student, Kept string
	TeacherBest, StudentBest, Known, Low              bool
	Width                                             int // of the meter, in per cent
}

type figure struct {
	Title, Text string
	SVG         template.HTML
}

type pictureGroup struct {
	Task string
	Rows []pictureRow
}

type pictureRow struct {
	Name  string
	Cells []picture
}

type picture struct {
	Source template.URL
	Alt    string
	W, H   int
	Small  bool   // few pixels: shown as they are rather than blurred
	Whole  string // where the whole picture is; "": this is it
}

type sheet struct {
	Title, Text string
	Picture     picture
}

type runGroup struct {
	Title, Count string
	Runs         []run
}

type run struct {
	Run
	ID, Brief string
}

func (r *Report) page(g *gallery) (*page, error) {
	p := &page{
		Title: r.Title, Subtitle: r.Subtitle,
		Style:   template.CSS(theme + pageCSS),
		Hexagon: hexagon(r.Results, false),
		Figures: figures(r.Figures), Curves: figures(r.Curves),
		Labels: r.Labels, Health: r.Health,
		Facts: append(r.Results.facts(), r.Facts...),
	}
	for _, f := range r.Results.Verdict() {
		p.Verdict = append(p.Verdict, finding{f, [...]string{Note: "·", Holds: "✓", Fails: "✗"}[f.Outcome]})
	}
	for _, n := range r.Results.Networks {
		for _, c := range n.Classes {
			p.Classes = append(p.Classes, c.table(n.Stage))
		}
	}
	links := p.addRuns(r.Runs)
	p.Linked = p.addTransfer(r.Results, links)
	p.addTeachers(r.Results.Teachers)
	if err := p.addPictures(r.Pictures, g); err != nil {
		return nil, err
	}
	var err error
	if p.Sheets, err = sheetsOf(r.Sheets, g); err != nil {
		return nil, err
	}
	if p.Predictions, err = sheetsOf(r.Predictions, g); err != nil {
		return nil, err
	}
	return p, nil
}

// sheetsOf prepares sheets for the page.
func sheetsOf(in []Sheet, g *gallery) (out []sheet, err error) {
	for _, s := range in {
		img, format, err := image.Decode(bytes.NewReader(s.File))
		if err != nil {
			return nil, fmt.Errorf("sheet %q: %w; give it a PNG or JPEG file", s.Title, err)
		}
		size := img.Bounds().Size()
		if size.X <= sheetWidth {
			out = append(out, sheet{s.Title, s.Text, inline(s.File, format, size.X, size.Y, s.Title)})
			continue
		}
		p, err := shrunk(img, sheetWidth, max(1, size.Y*sheetWidth/size.X), s.Title)
		if err != nil {
			return nil, err
		}
		p.Whole = g.add(s.File, format)
		out = append(out, sheet{s.Title, s.Text, p})
	}
	return out, nil
}

// addRuns groups the runs by set and returns where the first run of each set and start is.
func (p *page) addRuns(runs []Run) map[[2]string]string {
	links := map[[2]string]string{}
	for i, r := range runs {
		title := r.Set
		if title == "" {
			title = "Before the transfer"
		}
		at := slices.IndexFunc(p.Runs, func(g runGroup) bool { return g.Title == title })
		if at < 0 {
			at = len(p.Runs)
			p.Runs = append(p.Runs, runGroup{Title: title})
		}
		entry := run{Run: r, ID: fmt.Sprint("run-", i+1)}
		if len(r.Values) > 0 {
			entry.Brief = r.Values[0].Name + " " + r.Values[0].Value
		}
		g := &p.Runs[at]
		g.Runs = append(g.Runs, entry)
		g.Count = fmt.Sprintf("%d runs", len(g.Runs))
		if len(g.Runs) == 1 {
			g.Count = "1 run"
		}
		if key := [2]string{r.Set, r.Start}; links[key] == "" {
			links[key] = entry.ID
		}
	}
	return links
}

// addTransfer makes the table of starts and sets, and reports whether any of its numbers is a link.
// Starts are its rows: baselines grow in number, sets do not.
func (p *page) addTransfer(r Results, links map[[2]string]string) (linked bool) {
	for _, t := range r.Transfer {
		p.Columns = append(p.Columns, column{t.Set, t.Metric, arrow(t.HigherIsBetter)})
	}
	ranks := r.Ranks()
	first := math.Inf(1)
	for _, rank := range ranks {
		first = min(first, rank)
	}
	for k, start := range r.Starts() {
		line := row{Name: startName(start), Look: look(start, k), Own: start == MuST}
		for _, t := range r.Transfer {
			mean, deviation := meanDeviation(t.Scores[start])
			c := cell{Text: t.number(start), Link: links[[2]string{t.Set, start}]}
			c.Best = !math.IsNaN(mean) && t.compare(start, t.best()) == 0
			if !math.IsNaN(deviation) {
				c.Deviation = fmt.Sprintf("%.*f", t.decimals(), deviation)
			}
			for i, v := range t.Scores[start] {
				if i > 0 {
					c.Title += ", "
				}
				c.Title += format(v, t.decimals()+1)
			}
			linked = linked || c.Link != ""
			line.Cells = append(line.Cells, c)
		}
		rank := cell{Text: missing}
		if v, ok := ranks[start]; ok {
			rank = cell{Text: fmt.Sprintf("%.2f", v), Best: v == first}
		}
		line.Cells = append(line.Cells, rank)
		p.Rows = append(p.Rows, line)
	}
	for k, pair := range r.paired() {
		line := row{Name: startName(pair.start), Look: look(pair.start, k)}
		for i, d := range pair.sets {
			line.Cells = append(line.Cells, cell{Text: d.text(r.Transfer[i].decimals(), 1, ""), Best: d.Sure()})
		}
		line.Cells = append(line.Cells, cell{Text: pair.all.percent(), Best: pair.all.Sure()})
		p.Paired = append(p.Paired, line)
	}
	return linked
}

func (p *page) addTeachers(teachers []Teacher) {
	for i, t := range teachers {
		kept, digits := t.Kept(), decimals(t.Teacher, t.Student)
		better := t.Student > t.Teacher == t.HigherIsBetter
		known := !math.IsNaN(t.Teacher) && !math.IsNaN(t.Student)
		line := teacherRow{
			Task: t.Task, Look: look(t.Task, i), Metric: t.Metric, Arrow: arrow(t.HigherIsBetter),
			Teacher: format(t.Teacher, digits), Student: format(t.Student, digits), Kept: percent(kept),
			TeacherBest: known && (!better || t.Student == t.Teacher), StudentBest: known && (better || t.Student == t.Teacher),
			Known: !math.IsNaN(kept), Low: kept < enough,
		}
		if line.Known {
			line.Width = int(100 * min(max(kept, 0), 1))
		}
		p.Teachers = append(p.Teachers, line)
	}
}

func (p *page) addPictures(rows []PictureRow, g *gallery) error {
	for _, r := range rows {
		at := slices.IndexFunc(p.Pictures, func(g pictureGroup) bool { return g.Task == r.Task })
		if at < 0 {
			at = len(p.Pictures)
			p.Pictures = append(p.Pictures, pictureGroup{Task: r.Task})
		}
		line := pictureRow{Name: r.Name}
		for _, c := range []struct {
			what string
			img  image.Image
		}{{"image", r.Image}, {"truth", r.Truth}, {"teacher", r.Teacher}, {"student", r.Student}} {
			pic, err := encode(c.img, g, fmt.Sprintf("%s, %s %s", r.Task, c.what, r.Name))
			if err != nil {
				return fmt.Errorf("%s of %s: %w", c.what, r.Name, err)
			}
			line.Cells = append(line.Cells, pic)
		}
		p.Pictures[at].Rows = append(p.Pictures[at].Rows, line)
	}
	return nil
}

const (
	side       = 256 // pixels of the longer side of a picture in the page
	sheetWidth = 560 // of a sheet
	largest    = 1024
	small      = 200 // below that, pixels are shown as they are
)

// encode makes a picture of an image; that of a nil or empty image has no source.
func encode(img image.Image, g *gallery, alt string) (picture, error) {
	// A nil *image.RGBA in the interface is as good as none.
	if v := reflect.ValueOf(img); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() || img.Bounds().Empty() {
		return picture{}, nil
	}
	size := img.Bounds().Size()
	long := max(size.X, size.Y)
	if long < small {
		var file bytes.Buffer
		err := png.Encode(&file, img)
		return inline(file.Bytes(), "png", size.X, size.Y, alt), err
	}
	fit := func(side int) (w, h int) { return max(1, size.X*side/long), max(1, size.Y*side/long) }
	w, h := fit(min(long, side))
	p, err := shrunk(img, w, h, alt)
	if err != nil || long <= side {
		return p, err
	}
	w, h = fit(min(long, largest))
	whole, err := asJPEG(img, w, h, 90)
	p.Whole = g.add(whole, "jpeg")
	return p, err
}

// shrunk makes a picture of w×h pixels for the page.
func shrunk(img image.Image, w, h int, alt string) (picture, error) {
	file, err := asJPEG(img, w, h, 80) // a tenth of the size of PNG
	return inline(file, "jpeg", w, h, alt), err
}

func asJPEG(img image.Image, w, h, quality int) ([]byte, error) {
	if size := img.Bounds().Size(); size.X != w || size.Y != h {
		to := image.NewRGBA(image.Rect(0, 0, w, h))
		draw.CatmullRom.Scale(to, to.Bounds(), img, img.Bounds(), draw.Src, nil)
		img = to
	}
	var file bytes.Buffer
	err := jpeg.Encode(&file, img, &jpeg.Options{Quality: quality})
	return file.Bytes(), err
}

func inline(file []byte, format string, w, h int, alt string) picture {
	source := template.URL("data:image/" + format + ";base64," + base64.StdEncoding.EncodeToString(file))
	return picture{Source: source, Alt: alt, W: w, H: h, Small: max(w, h) < small}
}

func figures(charts []Chart) []figure {
	var out []figure
	for _, c := range charts {
		if svg := c.svg(false); svg != "" {
			out = append(out, figure{c.Title, c.Text, svg})
		}
	}
	return out
}

func (r Results) facts() []Fact {
	var facts []Fact
	add := func(name, value string, known bool) {
		if known {
			facts = append(facts, Fact{name, value})
		}
	}
	add("time", time.Duration(r.Seconds*1e9).Round(time.Second).String(), r.Seconds > 0)
	add("peak memory", fmt.Sprintf("%.0f MB", r.PeakRSSMB), r.PeakRSSMB > 0)
	add("version", r.Version, r.Version != "")
	add("libtorch", r.Libtorch, r.Libtorch != "")
	return facts
}

func arrow(higherIsBetter bool) string {
	if higherIsBetter {
		return "↑"
	}
	return "↓"
}
