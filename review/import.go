package review

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/label/export"
	"must/label/shards"
	"must/metric/rle"
	"must/task/classification"
	"must/task/detection"
	"must/task/segmentation"
)

// Tools are those whose files Import reads.
var Tools = []string{"labelstudio", "cvat", "coco"}

// An Imported tells what Import did.
type Imported struct {
	Kept     int // images whose labels came back as they were
	Replaced int // images with other labels
	Decided  int // images left alone, as the same had been decided before
	Unknown  []string

	// Unread says of which shapes and answers nothing could be made, such as ellipses, and how many images
	// have them. Those stay as they are: without these shapes they would say that there are no such objects.
	Unread map[string]int
}

// Import reads what came back from a tool: the labels in it take the place of the pseudo labels of the same
// image and task, and those that came back unchanged are kept. Images that the file does not have stay as
// they are; images that the set does not have are returned by name.
func Import(r *shards.Review, tool, file string) (n Imported, err error) {
	f, err := os.Open(file)
	if err != nil {
		return n, err
	}
	defer f.Close()
	in := &importer{review: r, byName: map[string]int{}, n: &n}
	n.Unread = map[string]int{}
	for i, key := range r.Keys {
		in.byName[key] = i
		base := path.Base(key)
		if _, twice := in.byName["/"+base]; twice {
			in.byName["/"+base] = -1
		} else {
			in.byName["/"+base] = i
		}
	}
	switch tool {
	case "labelstudio":
		err = in.labelStudio(f)
	case "cvat":
		err = in.cvat(f)
	case "coco":
		err = in.coco(f)
	default:
		err = fmt.Errorf("there is no tool %q; there are %s", tool, strings.Join(Tools, ", "))
	}
	if err != nil {
		return n, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

type importer struct {
	review *shards.Review
	byName map[string]int // by key, and by "/" and the last element of the key
	n      *Imported
}

// find returns the image of a file's name, by its whole path or, where that says nothing, by its last
// element.
func (in *importer) find(file string) (i int, ok bool) {
	key := strings.TrimSuffix(file, path.Ext(file))
	for _, name := range []string{key, file, "/" + path.Base(key), "/" + path.Base(file)} {
		if i, ok := in.byName[name]; ok && i >= 0 {
			return i, true
		}
	}
	in.n.Unknown = append(in.n.Unknown, file)
	return 0, false
}

// leave leaves an image as it is, for shapes of kinds that are not read.
func (in *importer) leave(kinds ...string) {
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		in.n.Unread[kind]++
	}
}

// class returns the index of a class of a task.
func (in *importer) class(task, name string) (int, error) {
	names := in.review.Labels()[task].Classes
	i := slices.Index(names, name)
	if i < 0 {
		return 0, fmt.Errorf("class %q is none of the set's %d for %s; give it one of their names", name, len(names), task)
	}
	return i, nil
}

// put decides on an image by a label that came back for some tasks.
func (in *importer) put(i int, s *data.Sample) error {
	s.Key = in.review.Keys[i]
	d := shards.Decision{Do: shards.Replace, Labels: map[string]string{}, With: map[string][]byte{}}
	same, all := true, true
	for _, task := range in.review.Tasks() {
		if !in.review.Has(i, task) {
			continue
		}
		if !s.Has(task) {
			all = false
			continue
		}
		now, err := in.review.Sample(i, task)
		if err != nil {
			return err
		}
		if alike(now, s, task) {
			continue
		}
		same = false
		b, err := in.review.Encode(i, task, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Key, err)
		}
		d.Labels[task], d.With[task] = "", b
	}
	if !same {
		in.n.Replaced++
		return in.review.Decide(i, d)
	}
	var verdict string
	in.review.Decisions(func(ds *shards.Decisions) { verdict = ds.Verdict(s.Key) })
	if verdict == shards.Keep {
		in.n.Decided++
		return nil
	}
	in.n.Kept++
	k := shards.Decision{Do: shards.Keep}
	if !all { // the file tells of these tasks only
		k.Labels = map[string]string{}
		for _, task := range in.review.Tasks() {
			if s.Has(task) {
				k.Labels[task] = ""
			}
		}
	}
	return in.review.Decide(i, k)
}

// alike reports whether a label came back as it went out; tools round.
func alike(a, b *data.Sample, task string) bool {
	if a.Has(task) != b.Has(task) {
		return false
	}
	switch task {
	case classification.Name:
		return argmax(classification.Of(a)) == argmax(classification.Of(b))
	case detection.Name:
		return slices.EqualFunc(detection.Of(a), detection.Of(b), func(o, p data.Object) bool {
			near := func(x, y float64) bool { return math.Abs(x-y) < 0.02 }
			return o.Class == p.Class && near(o.Box.X0, p.Box.X0) && near(o.Box.Y0, p.Box.Y0) && near(o.Box.X1, p.Box.X1) && near(o.Box.Y1, p.Box.Y1)
		})
	case segmentation.Name:
		return slices.Equal(segmentation.Of(a).Pix, segmentation.Of(b).Pix)
	}
	return false
}

func argmax(p []float32) int {
	best := 0
	for k, v := range p {
		if v > p[best] {
			best = k
		}
	}
	return best
}

// object makes an object of what a tool knows of it.
func (in *importer) object(class string, box data.Box, score float32, m *data.Mask) (data.Object, error) {
	k, err := in.class(detection.Name, class)
	return data.Object{Box: box, Class: k, Score: score, Mask: m}, err
}

// coco reads an instances file; its scores stay, an object without one is true.
func (in *importer) coco(r io.Reader) error {
	var file struct {
		Images []struct {
			ID     int64  `json:"id"`
			File   string `json:"file_name"`
			Width  int    `json:"width"`
			Height int    `json:"height"`
		} `json:"images"`
		Categories []struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
		} `json:"categories"`
		Annotations []struct {
			Image    int64           `json:"image_id"`
			Category int64           `json:"category_id"`
			Box      [4]float64      `json:"bbox"`
			Score    *float32        `json:"score"`
			Crowd    int             `json:"iscrowd"`
			Mask     json.RawMessage `json:"segmentation"`
		} `json:"annotations"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return fmt.Errorf("it is no instances file of COCO's: %w", err)
	}
	if file.Images == nil || file.Categories == nil {
		return errors.New("it is no instances file of COCO's: it has no images or no categories")
	}
	names := map[int64]string{}
	for _, c := range file.Categories {
		names[c.ID] = c.Name
	}
	of := map[int64][]int{}
	for k, a := range file.Annotations {
		of[a.Image] = append(of[a.Image], k)
	}
	for _, img := range file.Images {
		i, ok := in.find(img.File)
		if !ok {
			continue
		}
		if size := in.review.Size(i); (img.Width != 0 || img.Height != 0) && (img.Width != size.X || img.Height != size.Y) {
			return fmt.Errorf("%s is %d×%d there and %d×%d here", img.File, img.Width, img.Height, size.X, size.Y)
		}
		objects := []data.Object{}
		for _, k := range of[img.ID] {
			a := file.Annotations[k]
			score := float32(1)
			if a.Score != nil {
				score = *a.Score
			}
			var m *data.Mask
			if len(a.Mask) > 0 && string(a.Mask) != "null" && string(a.Mask) != "[]" {
				size := in.review.Size(i)
				packed, err := rle.FromJSON(a.Mask, size.Y, size.X)
				if err != nil {
					return fmt.Errorf("annotation %d of %s: %w", k, img.File, err)
				}
				m = packed.Mask()
			}
			b := data.Box{X0: a.Box[0], Y0: a.Box[1], X1: a.Box[0] + a.Box[2], Y1: a.Box[1] + a.Box[3]}
			if a.Box == [4]float64{} && m != nil { // left out, as it follows
				b = tight(m)
			}
			o, err := in.object(names[a.Category], b, score, m)
			if err != nil {
				return fmt.Errorf("annotation %d of %s: %w", k, img.File, err)
			}
			o.Crowd = a.Crowd != 0
			objects = append(objects, o)
		}
		if err := in.put(i, &data.Sample{Known: data.Know(detection.New(objects))}); err != nil {
			return err
		}
	}
	return nil
}

func polygonMask(polygons [][]float64, size image.Point) (*data.Mask, error) {
	m, err := rle.FromPolygons(polygons, size.Y, size.X)
	if err != nil {
		return nil, err
	}
	return m.Mask(), nil
}

// cvat reads CVAT's form for images.
func (in *importer) cvat(r io.Reader) error {
	d := xml.NewDecoder(r)
	some := false
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			if !some {
				return errors.New("it is no file of CVAT's for images: it has no <image>")
			}
			return nil
		}
		if err != nil {
			return err
		}
		start, ok := t.(xml.StartElement)
		if !ok || start.Name.Local != "image" {
			continue
		}
		var img export.CVATImage
		if err := d.DecodeElement(&img, &start); err != nil {
			return err
		}
		some = true
		if i, ok := in.find(img.Name); ok {
			if err := in.cvatImage(i, img); err != nil {
				return fmt.Errorf("image %s: %w", img.Name, err)
			}
		}
	}
}

func (in *importer) cvatImage(i int, img export.CVATImage) error {
	size := in.review.Size(i)
	if img.Width != size.X || img.Height != size.Y {
		return fmt.Errorf("it is %d×%d there and %d×%d here", img.Width, img.Height, size.X, size.Y)
	}
	var unread []string
	for _, o := range img.Others {
		unread = append(unread, o.XMLName.Local)
	}
	for _, b := range img.Boxes {
		if b.Rotation != 0 {
			unread = append(unread, "turned box")
		}
	}
	if in.review.Has(i, classification.Name) && len(img.Tags) > 1 {
		unread = append(unread, "several tags")
	}
	if unread != nil {
		in.leave(unread...)
		return nil
	}
	s := &data.Sample{}
	type placed struct {
		z int
		o data.Object
	}
	var list []placed
	add := func(shape export.CVATShape, box data.Box, m *data.Mask) error {
		score := float32(1)
		for _, a := range shape.Attributes {
			if v, err := strconv.ParseFloat(a.Value, 32); a.Name == "score" && err == nil && v >= 0 && v <= 1 {
				score = float32(v)
			}
		}
		o, err := in.object(shape.Label, box, score, m)
		list = append(list, placed{shape.Z, o})
		return err
	}
	if in.review.Has(i, detection.Name) {
		for _, b := range img.Boxes {
			if err := add(b.CVATShape, data.Box{X0: b.X0, Y0: b.Y0, X1: b.X1, Y1: b.Y1}, nil); err != nil {
				return err
			}
		}
		for _, m := range img.Masks {
			mask, err := cvatMask(m, size)
			if err != nil {
				return err
			}
			if err := add(m.CVATShape, in.boxOf(i, m.Label, mask), mask); err != nil {
				return err
			}
		}
		for _, p := range img.Polygons {
			mask, err := cvatPolygon(p.Points, size)
			if err != nil {
				return err
			}
			if err := add(p.CVATShape, tight(mask), mask); err != nil {
				return err
			}
		}
		slices.SortStableFunc(list, func(a, b placed) int { return a.z - b.z })
		objects := []data.Object{}
		for _, p := range list {
			objects = append(objects, p.o)
		}
		detection.Set(s, objects)
	}
	if in.review.Has(i, classification.Name) && len(img.Tags) == 1 {
		class, err := in.class(classification.Name, img.Tags[0].Label)
		if err != nil {
			return err
		}
		p := make([]float32, len(in.review.Labels()[classification.Name].Classes))
		p[class] = 1
		classification.Set(s, p)
	}
	return in.put(i, s)
}

// boxOf is the box of a mask: that of the object which went out with this very mask, as a detector's box is
// not just its mask's, or else the smallest.
func (in *importer) boxOf(i int, class string, m *data.Mask) data.Box {
	if now, err := in.review.Sample(i, detection.Name); err == nil {
		for _, o := range detection.Of(now) {
			if o.Mask != nil && o.Mask.Rect == m.Rect && slices.Equal(o.Mask.Pix, m.Pix) {
				return o.Box
			}
		}
	}
	return tight(m)
}

// tight is the smallest box around a mask.
func tight(m *data.Mask) data.Box {
	r := rle.FromMask(m, m.Rect.Max.Y, m.Rect.Max.X).Bounds()
	return data.Box{X0: float64(r.Min.X), Y0: float64(r.Min.Y), X1: float64(r.Max.X), Y1: float64(r.Max.Y)}
}

func cvatMask(m export.CVATMask, size image.Point) (*data.Mask, error) {
	r := image.Rect(m.Left, m.Top, m.Left+m.Width, m.Top+m.Height)
	if m.Width < 1 || m.Height < 1 || !r.In(image.Rectangle{Max: size}) {
		return nil, fmt.Errorf("a mask covers %v of an image of %d×%d", r, size.X, size.Y)
	}
	out := &data.Mask{Rect: r, Pix: make([]uint8, r.Dx()*r.Dy())}
	at, value := 0, uint8(0)
	for word := range strings.SplitSeq(m.RLE, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 0 || n > len(out.Pix)-at {
			return nil, fmt.Errorf("a mask of %d×%d has a run %q", m.Width, m.Height, word)
		}
		for k := range n {
			out.Pix[at+k] = value
		}
		at, value = at+n, 1-value
	}
	return out, nil
}

func cvatPolygon(points string, size image.Point) (*data.Mask, error) {
	var flat []float64
	for pair := range strings.SplitSeq(points, ";") {
		x, y, _ := strings.Cut(pair, ",")
		for _, text := range []string{x, y} {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return nil, fmt.Errorf("a polygon has the point %q", pair)
			}
			flat = append(flat, v)
		}
	}
	return polygonMask([][]float64{flat}, size)
}

// labelStudio reads a project's export, JSON: of every task the last annotation that was not skipped.
func (in *importer) labelStudio(r io.Reader) error {
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("it is no export of Label Studio's in JSON: a list of tasks; JSON-MIN is another form")
	}
	for d.More() {
		var task struct {
			ID          int64          `json:"id"`
			Data        map[string]any `json:"data"`
			Annotations []struct {
				Cancelled bool                  `json:"was_cancelled"`
				Results   []export.StudioResult `json:"result"`
			} `json:"annotations"`
		}
		if err := d.Decode(&task); err != nil {
			return fmt.Errorf("a task is not as Label Studio's: %w", err)
		}
		i, ok := in.studioImage(task.Data)
		if !ok {
			continue
		}
		for _, a := range slices.Backward(task.Annotations) {
			if a.Cancelled {
				continue
			}
			if err := in.studioTask(i, a.Results); err != nil {
				return fmt.Errorf("task %d: %w", task.ID, err)
			}
			break
		}
	}
	return nil
}

// studioImage finds the image of a task by the key that went out with it, or by an address in its data.
func (in *importer) studioImage(fields map[string]any) (int, bool) {
	if key, ok := fields["key"].(string); ok {
		if i, ok := in.byName[key]; ok {
			return i, true
		}
	}
	for _, v := range fields {
		text, ok := v.(string)
		if !ok {
			continue
		}
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		file := strings.TrimPrefix(u.Path, "/")
		if d := u.Query().Get("d"); d != "" {
			file = d
		}
		if file != "" {
			return in.find(file)
		}
	}
	in.n.Unknown = append(in.n.Unknown, fmt.Sprint(fields))
	return 0, false
}

func (in *importer) studioTask(i int, results []export.StudioResult) error {
	size := in.review.Size(i)
	s := &data.Sample{}
	for _, task := range []string{detection.Name, segmentation.Name} {
		if in.review.Has(i, task) { // none left is an answer too
			if task == detection.Name {
				detection.Set(s, []data.Object{})
			} else {
				g := data.NewGrid[uint8](size.X, size.Y)
				for k := range g.Pix {
					g.Pix[k] = data.Ignore
				}
				segmentation.Set(s, g)
			}
		}
	}
	var unread []string
	for _, r := range results {
		if kind := in.unread(i, r); kind != "" {
			unread = append(unread, kind)
		}
	}
	if unread != nil {
		in.leave(unread...)
		return nil
	}
	for _, r := range results {
		if (r.Width != 0 || r.Height != 0) && (r.Width != size.X || r.Height != size.Y) {
			return fmt.Errorf("its image is %d×%d there and %d×%d here", r.Width, r.Height, size.X, size.Y)
		}
		if err := in.studioResult(i, s, r); err != nil {
			return err
		}
	}
	return in.put(i, s)
}

// unread names the kind of a result about a label of the set of which nothing can be made.
func (in *importer) unread(i int, r export.StudioResult) string {
	has := func(task string) bool { return in.review.Has(i, task) }
	switch v := r.Value; r.Type {
	case "choices":
		if has(classification.Name) && len(v.Choices) != 1 {
			return fmt.Sprintf("%d choices", len(v.Choices))
		}
	case "rectanglelabels":
		switch {
		case !has(detection.Name):
		case len(v.Rectangles) != 1 || v.X == nil || v.Y == nil || v.Width == nil || v.Height == nil:
			return "box without one label"
		case v.Rotation != nil && *v.Rotation != 0:
			return "turned box"
		}
	case "polygonlabels":
		if has(detection.Name) && len(v.Polygons) != 1 {
			return "polygon without one label"
		}
	case "brushlabels":
		if !has(segmentation.Name) && has(detection.Name) || has(segmentation.Name) && len(v.Brushes) != 1 {
			return "brush"
		}
	case "ellipselabels", "keypointlabels", "vectorlabels", "bitmasklabels", "rectangle", "polygon", "ellipse", "keypoint", "brush":
		return r.Type
	}
	return "" // read, or about something else, such as a text
}

func (in *importer) studioResult(i int, s *data.Sample, r export.StudioResult) error {
	size := in.review.Size(i)
	v := r.Value
	score := r.Score
	if score == 0 {
		score = 1 // a person's
	}
	switch r.Type {
	case "choices":
		if !in.review.Has(i, classification.Name) {
			return nil
		}
		class, err := in.class(classification.Name, v.Choices[0])
		if err != nil {
			return err
		}
		p := make([]float32, len(in.review.Labels()[classification.Name].Classes))
		p[class] = 1
		classification.Set(s, p)
	case "rectanglelabels":
		if detection.Of(s) == nil {
			return nil
		}
		kx, ky := float64(size.X)/100, float64(size.Y)/100
		o, err := in.object(v.Rectangles[0], data.Box{X0: *v.X * kx, Y0: *v.Y * ky, X1: (*v.X + *v.Width) * kx, Y1: (*v.Y + *v.Height) * ky}, score, nil)
		if err != nil {
			return err
		}
		now, err := in.review.Sample(i, detection.Name)
		if err != nil {
			return err
		}
		for _, k := range detection.Of(now) { // a box that was left alone has its mask and score still
			if alike(&data.Sample{Known: data.Know(detection.New([]data.Object{k}))}, &data.Sample{Known: data.Know(detection.New([]data.Object{o}))}, detection.Name) {
				o = k
			}
		}
		detection.Set(s, append(detection.Of(s), o))
	case "polygonlabels":
		if detection.Of(s) == nil {
			return nil
		}
		var flat []float64
		for _, p := range v.Points {
			flat = append(flat, p[0]*float64(size.X)/100, p[1]*float64(size.Y)/100)
		}
		m, err := polygonMask([][]float64{flat}, size)
		if err != nil {
			return err
		}
		o, err := in.object(v.Polygons[0], tight(m), score, m)
		if err != nil {
			return err
		}
		detection.Set(s, append(detection.Of(s), o))
	case "brushlabels":
		if segmentation.Of(s) == nil {
			return nil
		}
		class, err := in.class(segmentation.Name, v.Brushes[0])
		if err != nil {
			return err
		}
		m, err := export.DecodeBrush(v.RLE, size.X, size.Y)
		if err != nil {
			return err
		}
		pix := segmentation.Of(s).Pix
		for k, on := range m.Pix {
			if on != 0 {
				pix[k] = uint8(class)
			}
		}
	}
	return nil
}
