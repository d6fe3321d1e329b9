package metric

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"must/metric/cocojson"
	"must/metric/rle"
)

// COCOOptions say what [EvalCOCO] compares.
type COCOOptions struct {
	Masks   bool // masks (pycocotools' "segm"), not boxes
	Workers int  // goroutines; 0: one per CPU. The result is the same for any number
}

// A COCOResult is the outcome of [EvalCOCO].
type COCOResult struct {
	Images, Objects, Detections int // that were compared
	Classes                     []COCOClass
	// Warnings name what in the files was left out, or is read by pycocotools in a way that the author
	// of the files will not have meant.
	Warnings []string

	stats [len(cocoNames)]float64
}

// A COCOClass is the score of one category: AP, AP50, AP75.
type COCOClass struct {
	ID   cocojson.ID
	Name string
	ClassValue
}

// EvalCOCO compares a results file with an instances file, both in COCO's format, as pycocotools does
// (COCO.loadRes and COCOeval with its default settings), and gives the same numbers.
//
// Ids of images and categories are numbers or texts; a score may be NaN, which ranks last, or infinite.
// Truth may come as polygons, run lengths or compressed run lengths, with gaps between the ids. A result for
// an image that the truth does not list is an error, as it is there; one of an unlisted category is
// left out with a warning. If the first result has a box, the areas of all detections are those of
// their boxes, even where masks are compared; else those of their masks. Unlike there, an empty list
// of results scores 0, truth without "area" has the area of its mask or box, and a mask of another
// size than its image is an error.
func EvalCOCO(truth, results string, opt COCOOptions) (*COCOResult, error) {
	e := cocoFiles{masks: opt.Masks}
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { e.truth, errs[0] = loadCOCO(truth, opt.Masks, readCOCOTruth) })
	wg.Go(func() { e.results, errs[1] = loadCOCO(results, opt.Masks, readCOCOResults) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	workers := opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	r, err := e.evaluate(workers)
	if err != nil {
		return nil, fmt.Errorf("comparing %s with %s: %w", results, truth, err)
	}
	return r, nil
}

func loadCOCO[T any](name string, shapes bool, read func(r io.Reader, shapes bool) (T, error)) (T, error) {
	f, err := os.Open(name)
	if err != nil {
		return *new(T), err
	}
	defer f.Close()
	v, err := read(f, shapes)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return v, err
}

// Values returns the twelve numbers of COCO, named as by [Detection.Values].
func (r *COCOResult) Values() []Value {
	values := make([]Value, len(r.stats))
	for i, v := range r.stats {
		values[i] = Value{cocoNames[i], v, true}
	}
	return values
}

// Table returns the twelve lines that pycocotools prints.
func (r *COCOResult) Table() string {
	var b strings.Builder
	for i, v := range r.stats {
		title, short := "Average Precision", "(AP)"
		if i >= 6 {
			title, short = "Average Recall", "(AR)"
		}
		iou, area, dets := "0.50:0.95", "all", 100
		switch i {
		case 1:
			iou = "0.50"
		case 2:
			iou = "0.75"
		case 3, 4, 5, 9, 10, 11:
			area = [...]string{"small", "medium", "large"}[i%3]
		case 6, 7:
			dets = [...]int{1, 10}[i-6]
		}
		fmt.Fprintf(&b, " %-18s %s @[ IoU=%-9s | area=%6s | maxDets=%3d ] = %.3f\n", title, short, iou, area, dets, v)
	}
	return b.String()
}

// ByClass returns the numbers of every category and their names.
func (r *COCOResult) ByClass() (c Classes, names []string) {
	c.Unit = "objects"
	for _, class := range r.Classes {
		c.Of = append(c.Of, class.ClassValue)
		names = append(names, class.Name)
	}
	return c, names
}

// cocoFiles holds both files in memory.
type cocoFiles struct {
	masks    bool
	truth    cocoTruthFile
	results  []cocoEntry
	boxAreas bool // the area of a detection is that of its box
}

func (e *cocoFiles) evaluate(workers int) (*COCOResult, error) {
	r := &COCOResult{Images: len(e.truth.images)}
	if len(e.truth.images) == 0 || len(e.truth.categories) == 0 {
		return nil, fmt.Errorf("the truth lists %d images and %d categories: is it an instances file?",
			len(e.truth.images), len(e.truth.categories))
	}

	images, err := e.byImage(r)
	if err != nil {
		return nil, err
	}
	classes, err := e.matchAll(images, workers)
	if err != nil {
		return nil, err
	}
	scores := make([]cocoScore, len(classes))
	parallel(len(classes), workers, func(i int) { scores[i] = classes[i].score() })
	r.stats = summarize(scores)
	for i, c := range e.truth.categories {
		r.Classes = append(r.Classes, COCOClass{c.id, c.name, classes[i].class(scores[i])})
	}
	return r, nil
}

// A cocoImage is an image and what lies in it, in the order of the files.
type cocoImage struct {
	id             cocojson.ID
	h, w           int64
	truth, results []*cocoEntry
}

// byImage gives every image its entries, leaves out those of no category and counts them all.
func (e *cocoFiles) byImage(r *COCOResult) ([]cocoImage, error) {
	images, categories := e.truth.images, e.truth.categories
	e.boxAreas = len(e.results) > 0 && e.results[0].hasBox
	slices.SortFunc(images, func(a, b cocoImage) int { return a.id.Compare(b.id) })
	imageOf := make(map[cocojson.ID]*cocoImage, len(images))
	for i := range images {
		if imageOf[images[i].id] != nil {
			return nil, fmt.Errorf("the truth lists image %v twice", images[i].id)
		}
		imageOf[images[i].id] = &images[i]
	}
	slices.SortFunc(categories, func(a, b cocoCategory) int { return a.id.Compare(b.id) })
	classOf := make(map[cocojson.ID]int, len(categories))
	for i, c := range categories {
		if _, twice := classOf[c.id]; twice {
			return nil, fmt.Errorf("the truth lists category %v twice", c.id)
		}
		classOf[c.id] = i
	}

	var zeros, doubles, unranked int
	seen := make(map[int64]bool, len(e.truth.objects))
	for i := range e.truth.objects {
		o := &e.truth.objects[i]
		image := imageOf[o.image]
		class, known := classOf[o.category]
		if image == nil || !known {
			continue
		}
		o.class = class
		image.truth = append(image.truth, o)
		r.Objects++
		switch {
		case o.id == 0:
			zeros++
		case seen[o.id]:
			doubles++
		}
		seen[o.id] = true
	}
	for i := range e.results {
		o := &e.results[i]
		image := imageOf[o.image]
		if image == nil {
			return nil, fmt.Errorf("result %d is of image %v, which the truth does not list", o.id, o.image)
		}
		if o.hasBox != e.boxAreas {
			return nil, fmt.Errorf("result %d: either all results must have a bbox or none", o.id)
		}
		class, known := classOf[o.category]
		if !known {
			continue
		}
		o.class = class
		image.results = append(image.results, o)
		if math.IsNaN(o.score) {
			unranked++
		}
		r.Detections++
	}
	r.warn(len(e.truth.objects)-r.Objects, "annotations of images or categories that the truth does not list are left out")
	r.warn(len(e.results)-r.Detections, "results of categories that the truth does not list are left out")
	r.warn(zeros, "annotations have the id 0 and count as never found, as in pycocotools; number them from 1")
	r.warn(unranked, "results have the score NaN and rank last, as in pycocotools")
	r.warn(doubles, "annotations have the id of another one; pycocotools would read the last of them several times")
	return images, nil
}

func (r *COCOResult) warn(n int, text string) {
	if n > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d %s", n, text))
	}
}

// matchAll matches the detections of all images, in parallel over stretches of images whose tallies
// are then joined in order.
func (e *cocoFiles) matchAll(images []cocoImage, workers int) ([]cocoTally, error) {
	parts := make([][]cocoTally, workers)
	errs := make([]error, workers)
	parallel(workers, workers, func(w int) {
		m := cocoImageMatcher{files: e, tallies: make([]cocoTally, len(e.truth.categories))}
		for i := w * len(images) / workers; i < (w+1)*len(images)/workers && errs[w] == nil; i++ {
			errs[w] = m.image(&images[i])
		}
		parts[w] = m.tallies
	})
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	classes := parts[0]
	for _, part := range parts[1:] {
		for c := range classes {
			classes[c].verdicts = append(classes[c].verdicts, part[c].verdicts...)
			for a := range classes[c].positives {
				classes[c].positives[a] += part[c].positives[a]
			}
		}
	}
	return classes, nil
}

// parallel calls f(0) … f(n-1) on some goroutines.
func parallel(n, workers int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, workers) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// A cocoImageMatcher matches one image at a time; below tallies is memory to be used again.
type cocoImageMatcher struct {
	files   *cocoFiles
	tallies []cocoTally // by class

	matcher cocoMatcher
	objects []cocoTruth
	dets    []cocoDetection
	shapes  []cocoShape
	ious    []float64
}

func (m *cocoImageMatcher) image(image *cocoImage) error {
	truth, results := image.truth, image.results
	slices.SortStableFunc(truth, func(a, b *cocoEntry) int { return cmp.Compare(a.class, b.class) })
	slices.SortStableFunc(results, func(a, b *cocoEntry) int {
		return cmp.Or(cmp.Compare(a.class, b.class), byScore(a.score, b.score))
	})
	for len(truth)+len(results) > 0 {
		class := len(m.tallies)
		for _, entries := range [...][]*cocoEntry{truth, results} {
			if len(entries) > 0 {
				class = min(class, entries[0].class)
			}
		}
		var ts, rs []*cocoEntry
		ts, truth = cutEntries(truth, class)
		rs, results = cutEntries(results, class)
		if err := m.class(image, class, ts, rs[:min(len(rs), cocoMaxDets)]); err != nil {
			return err
		}
	}
	return nil
}

// cutEntries splits entries that begin with those of a class after these.
func cutEntries(entries []*cocoEntry, class int) (these, rest []*cocoEntry) {
	n := 0
	for n < len(entries) && entries[n].class == class {
		n++
	}
	return entries[:n], entries[n:]
}

func (m *cocoImageMatcher) class(image *cocoImage, class int, truth, results []*cocoEntry) error {
	masks, boxAreas := m.files.masks, m.files.boxAreas
	m.objects, m.dets, m.shapes, m.ious = m.objects[:0], m.dets[:0], m.shapes[:0], m.ious[:0]
	for _, t := range truth {
		s, err := t.shape(image, masks)
		if err != nil {
			return fmt.Errorf("annotation %d: %w", t.id, err)
		}
		if !t.hasArea {
			t.area = s.area
		}
		m.shapes = append(m.shapes, s)
		m.objects = append(m.objects, cocoTruth{area: t.area, crowd: t.crowd, hidden: t.id == 0})
	}
	for _, d := range results {
		var s cocoShape
		area := float64(d.box[2] * d.box[3])
		if len(truth) > 0 || !boxAreas { // else its shape plays no part
			var err error
			if s, err = d.shape(image, masks); err != nil {
				return fmt.Errorf("result %d: %w", d.id, err)
			}
		}
		if !boxAreas {
			area = s.area
		}
		m.dets = append(m.dets, cocoDetection{d.score, area})
		for t := range truth {
			if masks {
				m.ious = append(m.ious, s.maskIoU(&m.shapes[t], truth[t].crowd))
			} else {
				m.ious = append(m.ious, s.boxIoU(&m.shapes[t], truth[t].crowd))
			}
		}
	}
	m.matcher.match(&m.tallies[class], m.objects, m.dets, m.ious)
	return nil
}

// A cocoShape is what is compared: a mask, or a box x, y, width, height.
type cocoShape struct {
	box    [4]float64
	mask   rle.Mask
	bounds image.Rectangle // of the mask
	area   float64         // of the mask, or of the box if there is none
}

// boxIoU returns the intersection over union with a true box, over the area of s alone if that is of a
// crowd.
func (s *cocoShape) boxIoU(truth *cocoShape, crowd bool) float64 {
	a, b := &s.box, &truth.box
	w := min(a[0]+a[2], b[0]+b[2]) - max(a[0], b[0])
	h := min(a[1]+a[3], b[1]+b[3]) - max(a[1], b[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	// Conversions keep the compiler from fusing operations, which would round otherwise.
	both := float64(w * h)
	union := float64(a[2] * a[3])
	if !crowd {
		union = union + float64(b[2]*b[3]) - both
	}
	return both / union
}

// maskIoU is boxIoU for masks.
func (s *cocoShape) maskIoU(truth *cocoShape, crowd bool) float64 {
	if !s.bounds.Overlaps(truth.bounds) {
		return 0
	}
	both := float64(rle.Overlap(s.mask, truth.mask))
	union := s.area
	if !crowd {
		union += truth.area - both
	}
	return both / union
}
