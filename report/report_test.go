package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var nan = math.NaN()

// sample is a report with everything in it, from numbers that are made up.
func sample() *Report {
	rng := rand.New(rand.NewPCG(1, 2))
	r := &Report{
		Title:    "MuST: one student from four teachers",
		Subtitle: "The embedded recipe, from scratch, on one machine",
		Results: Results{
			Teachers: []Teacher{
				{"classification", "top-1", true, 0.912, 0.934},
				{"detection", "AP", true, 0.418, 0.401},
				{"segmentation", "mIoU", true, 0.733, 0.71},
				{"depth", "AbsRel", false, 0.082, 0.101},
			},
			Seconds: 812, PeakRSSMB: 1630, Version: "0.1.0", Libtorch: "2.11.0",
		},
		Facts: []Fact{{"machine", "2 cores, AVX2"}, {"seed", "1"}, {"recipe", "recipes/demo.yaml"}},
	}
	starts := []string{Scratch, "classification", "detection", "segmentation", "depth", "bit", "simclr", "moco", "mae", "multitask", MuST}
	for i, set := range []Transfer{
		{Set: "fine-grained classes", Metric: "top-1", HigherIsBetter: true},
		{Set: "detection", Metric: "AP", HigherIsBetter: true},
		{Set: "object segmentation", Metric: "mIoU", HigherIsBetter: true},
		{Set: "room segmentation", Metric: "mIoU", HigherIsBetter: true},
		{Set: "room depth", Metric: "AbsRel", HigherIsBetter: false},
		{Set: "normals", Metric: "mean angle °", HigherIsBetter: false},
	} {
		set.Scores = map[string][]float64{}
		for k, start := range starts {
			quality := 0.35 + 0.03*float64(k) + 0.12*rng.Float64()
			for range 3 {
				v := quality + 0.02*rng.Float64()
				if !set.HigherIsBetter {
					v = 0.9 - v
				}
				if i == 5 {
					v *= 60
				}
				set.Scores[start] = append(set.Scores[start], v)
			}
			r.Runs = append(r.Runs, Run{
				Name: fmt.Sprintf("%s from %s, seed 1", set.Set, start), Set: set.Set, Start: start,
				Settings: "stage: transfer\nset: " + set.Set + "\nlr: 0.03\nsteps: 600\n",
				Values:   []Fact{{set.Metric, fmt.Sprintf("%.3f", quality)}, {"loss", "0.21"}},
			})
		}
		r.Results.Transfer = append(r.Results.Transfer, set)
	}
	r.Results.Transfer[1].Scores["moco"] = []float64{0.4, nan, 0.41}
	r.Runs = append(r.Runs, Run{Name: "student", Settings: "stage: student\nweights: {depth: 0.5}\n", Values: []Fact{{"loss", "1.03"}}})

	scaling := Chart{Title: "More unlabelled data", Text: "Average over the six sets.", X: "unlabelled images", Y: "score", LogX: true}
	for _, start := range []string{Scratch, "multitask", MuST} {
		s := Series{Name: start}
		for i, n := range []float64{250, 500, 1000, 2000, 4000} {
			base := map[string]float64{Scratch: 0.4, "multitask": 0.5, MuST: 0.5 + 0.04*float64(i)}[start]
			s.Points = append(s.Points, Mean(n, base+0.02*rng.Float64(), base+0.02*rng.Float64(), base))
		}
		scaling.Series = append(scaling.Series, s)
	}
	cases := Chart{Title: "Pseudo labels added to true ones", Y: "average score", Cases: []string{"true labels only", "pseudo labels only", "true and pseudo labels"}}
	for k, set := range []string{"aligned sets", "unaligned sets"} {
		s := Series{Name: set}
		for i := range 3 {
			v := 0.4 + 0.1*float64(i) - 0.05*float64(k)
			s.Points = append(s.Points, Mean(float64(i), v, v+0.02, v-0.03))
		}
		cases.Series = append(cases.Series, s)
	}
	r.Figures = []Chart{scaling, cases}

	student := Chart{Title: "Student", Text: "Loss per task, weighted.", X: "step", LogY: true}
	for _, task := range []string{"total", "classification", "detection", "segmentation", "depth"} {
		s := Series{Name: task}
		for step := range 3000 {
			s.Points = append(s.Points, Point{X: float64(step), Y: (0.3 + float64(len(task))/20) * (0.1 + math.Exp(-float64(step)/600)) * (0.8 + 0.4*rng.Float64())})
		}
		student.Series = append(student.Series, s)
	}
	metric := Chart{Title: "Teacher: detection", X: "step", Y: "AP", Series: []Series{{"detection", []Point{{0, 0, 0}, {200, .12, 0}, {400, .27, 0}, {600, .35, 0}, {800, .41, 0}}}}}
	r.Curves = []Chart{student, metric}

	for _, task := range []string{"segmentation", "depth"} {
		for i := range 2 {
			r.Pictures = append(r.Pictures, PictureRow{task, fmt.Sprintf("ranges/%06d", i), scene(64, 1), scene(64, 2), scene(64, 3), scene(64, 4)})
		}
	}
	r.Pictures = append(r.Pictures, PictureRow{Task: "normals", Image: scene(600, 5), Truth: scene(600, 6), Teacher: (*image.RGBA)(nil), Student: scene(600, 7)})

	var sheet bytes.Buffer
	if err := png.Encode(&sheet, scene(300, 8)); err != nil {
		panic(err)
	}
	r.Labels = []Label{{"detection", "boxes", "crowds", 250, []Fact{{"f1", "0.712"}, {"precision", "0.801"}}}}
	r.Sheets = []Sheet{{"crowds", "Many objects with their boxes.", sheet.Bytes()}}
	return r
}

func scene(side, hue int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, side, side*3/4))
	for y := range side * 3 / 4 {
		for x := range side {
			img.Set(x, y, color.RGBA{uint8(x * 255 / side), uint8(y * 255 / side), uint8(hue * 30), 255})
		}
	}
	return img
}

// write renders the report and checks what holds for every page: it is well-formed and refers to
// nothing outside.
func write(t *testing.T, r *Report) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, b)
	html := string(b)
	for _, bad := range []string{"http:", "https:", "<script", "@import", "<link", "ZgotmplZ", "NaN", "Inf"} {
		if i := strings.Index(html, bad); i >= 0 {
			t.Errorf("the page contains %q: …%s…", bad, html[max(0, i-40):min(len(html), i+40)])
		}
	}
	for _, m := range regexp.MustCompile(`href="(report-pictures/[^"]*)"`).FindAllStringSubmatch(html, -1) {
		whole, err := os.ReadFile(filepath.Join(filepath.Dir(path), m[1]))
		if err == nil {
			_, _, err = image.Decode(bytes.NewReader(whole))
		}
		if err != nil {
			t.Errorf("a whole picture: %v", err)
		}
	}
	html = strings.ReplaceAll(html, `href="report-pictures/`, `href="#`)
	for _, m := range regexp.MustCompile(`(?:src|href|url)[=(]"?([^"#]{0,22})`).FindAllStringSubmatch(html, -1) {
		if m[1] != "" && !strings.HasPrefix(m[1], "data:image/png;") && !strings.HasPrefix(m[1], "data:image/jpeg;") {
			t.Errorf("the page refers to %q", m[1])
		}
	}
	return html
}

func wellFormed(t *testing.T, b []byte) {
	t.Helper()
	ids := map[string]bool{}
	var links []string
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				switch {
				case a.Name.Local == "id" && ids[a.Value]:
					t.Errorf("id %q is there twice", a.Value)
				case a.Name.Local == "id":
					ids[a.Value] = true
				case a.Name.Local == "href" && strings.HasPrefix(a.Value, "report-pictures/"): // write looks at these
				case a.Name.Local == "href":
					links = append(links, strings.TrimPrefix(a.Value, "#"))
				}
			}
		}
	}
	for _, l := range links {
		if !ids[l] {
			t.Errorf("link to %q leads nowhere", l)
		}
	}
}

// Pictures are small in the page, and whole beside it: those of the last page only.
func TestPicturesAreSmall(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.html")
	photo := image.NewRGBA(image.Rect(0, 0, 1500, 1200))
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range photo.Pix {
		photo.Pix[i] = uint8(rng.IntN(256)) | 1
	}
	var sheet bytes.Buffer
	if err := png.Encode(&sheet, photo); err != nil {
		t.Fatal(err)
	}
	r := &Report{Pictures: []PictureRow{{Task: "depth", Image: photo, Truth: photo}}, Sheets: []Sheet{{"noise", "", sheet.Bytes()}}}
	whole := func() int {
		if err := r.Write(path); err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "report-pictures", "*"))
		return len(files)
	}
	if n := whole(); n != 2 { // the same picture twice, and the sheet
		t.Errorf("%d whole pictures", n)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 700_000 { // noise: the most that a picture can take
		t.Errorf("the page has %d bytes: %v", info.Size(), err)
	}
	r.Sheets = nil
	if n := whole(); n != 1 {
		t.Errorf("%d whole pictures are left of the page before", n)
	}
}

func TestWrite(t *testing.T) {
	html := write(t, sample())
	for _, want := range []string{
		"<title>MuST: one student from four teachers</title>",
		`<svg class="chart hexagon"`,
		"Transfer to sets never seen before",
		"fine-grained classes<small>top-1 ↑</small>",
		"room depth<small>AbsRel ↓</small>",
		`depth<small class="soft">AbsRel ↓</small>`,
		"81.1\u00a0%", // the student's depth: 0.082 / 0.101
		"peak memory</dt><dd>1630 MB",
		"13m32s",
		"weights: {depth: 0.5}",
		"More unlabelled data",
		"What teacher and student see",
		"How good the pseudo labels are",
		"<span>f1 0.712</span> <span>precision 0.801</span>",
		"SimCLR",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(html, "<polygon"); n != 4 {
		t.Errorf("%d rings", n)
	}
	if n := strings.Count(html, `<svg class="chart"`); n != 4 {
		t.Errorf("%d charts, want 2 of evidence and 2 of training", n)
	}
	if n := strings.Count(html, "<img "); n != 5*4-1+1 {
		t.Errorf("%d pictures", n)
	}
	if n := strings.Count(html, `<div class="run"`); n != 6*11+1 {
		t.Errorf("%d runs", n)
	}
	if other := write(t, sample()); other != html {
		t.Error("the same report gives another page")
	}
}

func TestEmptyReport(t *testing.T) {
	html := write(t, &Report{Title: "so far nothing"})
	if strings.Contains(html, "<section") {
		t.Error("an empty report has sections")
	}
	// The first minute of a demo: pictures only.
	html = write(t, &Report{Title: "sets", Sheets: sample().Sheets})
	if strings.Count(html, "<section") != 1 {
		t.Error("a report of sheets has other sections")
	}
}

func TestForeignText(t *testing.T) {
	evil := `</style></svg><script>alert("1")</script>&amp; <b title='x'>`
	r := sample()
	r.Title, r.Subtitle = evil, evil
	r.Results.Transfer[0].Set, r.Results.Transfer[0].Metric = evil, evil
	r.Results.Transfer[1].Scores[evil] = []float64{1e12}
	r.Results.Teachers[0] = Teacher{evil, evil, true, nan, math.Inf(1)}
	r.Figures[0] = Chart{evil, evil, evil, evil, false, false, nil, []Series{{evil, []Point{{0, 1, 0}, {1, nan, 0}, {2, math.Inf(1), nan}}}}}
	r.Figures[1].Cases[0] = strings.Repeat(evil, 40)
	r.Pictures[0].Name, r.Pictures[0].Task = evil, evil
	r.Sheets[0].Title = evil
	r.Runs[0] = Run{evil, evil, evil, strings.Repeat(evil, 1000), []Fact{{evil, evil}}}
	r.Facts = []Fact{{evil, evil}}
	html := write(t, r)
	if strings.Contains(html, "<b title") {
		t.Error("text was not escaped")
	}
}

func TestBrokenSheet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	err := (&Report{Sheets: []Sheet{{Title: "crowds", File: []byte("no picture")}}}).Write(path)
	if err == nil || !strings.Contains(err.Error(), `sheet "crowds"`) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a page was written")
	}
}
